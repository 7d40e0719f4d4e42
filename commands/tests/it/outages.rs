//! Postgres goes away, at any moment: senders are told, and nothing is lost, doubled or reordered.

use std::time::{Duration, Instant};

use commands::control::{CommandOutcome, Submission, SubmitError};

use crate::{
    log::fold_from_the_beginning,
    support::{
        Postgres, control, eventually,
        orders::{create, create_many},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_down_commands_are_refused_at_once_and_reads_of_the_state_go_on() {
    let mut postgres = Postgres::start().await;
    let control = control(&postgres).await;
    create_many(&control, "before", 3).await;
    postgres.stop();
    let started = Instant::now();
    let refused = control
        .submit(create("during"))
        .await
        .expect_err("Postgres is down");
    assert!(matches!(refused, SubmitError::Unavailable), "{refused:?}");
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(control.state().virtual_accounts().len(), 3);

    postgres.resume().await;
    eventually("commands work again", || async {
        control.submit(create("after")).await.is_ok()
    })
    .await;
    assert_eq!(
        fold_from_the_beginning(&control).await.state_digest(),
        control.state().state_digest()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_killed_in_the_middle_of_work_loses_no_answered_command_and_doubles_none() {
    let mut postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let mut sent = tokio::task::JoinSet::new();
    for sender in 0..8 {
        let control = control.clone();
        sent.spawn(async move {
            let mut answers: Vec<(Submission, Result<CommandOutcome, SubmitError>)> = Vec::new();
            for number in 0..200 {
                let order = create(&format!("sender-{sender}-{number}"));
                let answer = control.submit(order.clone()).await;
                let failed = answer.is_err();
                answers.push((order, answer));
                if failed {
                    break;
                }
            }
            answers
        });
    }
    eventually("work is under way", || async {
        control.head().position > 100
    })
    .await;
    postgres.kill().await;
    postgres.resume().await;
    let answers: Vec<_> = sent.join_all().await.into_iter().flatten().collect();
    eventually("commands work again", || async {
        control.submit(create("probe")).await.is_ok()
    })
    .await;

    for (order, answer) in &answers {
        // Whatever was answered: sent again, the command is done once.
        let again = control
            .submit(order.clone())
            .await
            .expect("it is done by now");
        if let Ok(first) = answer {
            assert_eq!(
                (again.position, &again.events),
                (first.position, &first.events)
            );
        }
    }
    let folded = fold_from_the_beginning(&control).await;
    assert_eq!(folded.state_digest(), control.state().state_digest());
    assert_eq!(folded.virtual_accounts().len(), answers.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_in_the_middle_of_a_batch_leaves_the_log_whole() {
    let postgres = Postgres::start().await;
    for life in 0..5_u64 {
        let url = (postgres.url("sluice_service"), postgres.url("sluice_owner"));
        // A runtime that is dropped is as good as a process that is killed: nothing more is sent.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let before = runtime.spawn(async move {
            let options = commands::control::ControlOptions {
                postgres_url: url.0,
                postgres_owner_url: Some(url.1),
                nats: None,
                relay: false,
            };
            let control = commands::control::Control::start(options)
                .await
                .expect("the control starts");
            for number in 0..500 {
                let control = control.clone();
                tokio::spawn(async move {
                    control
                        .submit(create(&format!("life-{life}-{number}")))
                        .await
                });
            }
            control
        });
        let control = before.await.expect("it starts");
        eventually("work is under way", || async {
            control.head().position > 20 * (life + 1)
        })
        .await;
        runtime.shutdown_background();
    }
    let control = control(&postgres).await;
    let folded = fold_from_the_beginning(&control).await;
    assert_eq!(folded.position(), control.head().position);
    assert_eq!(
        folded.virtual_accounts().len() as u64,
        folded.position() - 1,
        "one event each, none twice"
    );
}

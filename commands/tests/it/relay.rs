//! The relay on a real NATS: sequence = position, whatever goes away, comes back, or is run twice.

use std::time::Duration;

use commands::{
    control::{Control, SubmitError},
    log,
    relay::{self, RelayError},
};
use events_schema::{
    envelope::{Envelope, Epoch, EventRow},
    subjects,
};

use crate::{
    log::fold_from_the_beginning,
    support::{
        Nats, PATIENCE, Postgres, control, control_with_relay, eventually,
        orders::{create, create_many},
    },
};

/// What a failover to a standby that lagged does to the log: all after position 11 is gone.
const LOSE_THE_TAIL: &str = "DELETE FROM events WHERE position > 11;
    UPDATE log_head SET position = 11, hash = (SELECT hash FROM events WHERE position = 11),
        recorded_at = (SELECT recorded_at FROM events WHERE position = 11)";

/// Everything that `EVENTS` holds, in order.
async fn published(nats: &Nats) -> Vec<(Epoch, Envelope)> {
    let stream = nats
        .jetstream()
        .await
        .get_stream("EVENTS")
        .await
        .expect("it exists");
    let (mut rows, mut ended) = (Vec::new(), true);
    let mut last_cause = None;
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream
            .get_raw_message(sequence)
            .await
            .expect("nothing is ever deleted");
        let (epoch, row) = EventRow::parse(&message.payload).expect("a row");
        assert_eq!(
            message.subject.as_str(),
            format!("events.{}", row.stream.aggregate())
        );
        assert_eq!(
            ended,
            last_cause != Some(row.cause),
            "the last event of each command says so, before position {sequence}"
        );
        last_cause = Some(row.cause);
        ended = message.headers.get(subjects::COMMAND_END).is_some();
        rows.push((epoch, row));
    }
    assert!(ended, "nothing follows of the last command");
    rows
}

/// Waits until all is published, and compares `EVENTS` with the log row by row.
async fn events_is_the_log(control: &Control, nats: &Nats) {
    let head = control.head();
    eventually("everything is published", || async {
        nats.last_sequence().await == Some(head.position)
    })
    .await;
    let rows: Vec<Envelope> = published(nats)
        .await
        .into_iter()
        .map(|(_, row)| row)
        .collect();
    assert_eq!(
        rows,
        control
            .events_after(0, 100_000)
            .await
            .expect("Postgres answers")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_published_once_at_its_position() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..500 {
        let control = control.clone();
        all.spawn(async move {
            control
                .submit(create(&format!("account-{number}")))
                .await
                .expect("a fresh name")
        });
    }
    all.join_all().await;
    events_is_the_log(&control, &nats).await;
    assert!(
        published(&nats)
            .await
            .iter()
            .all(|(epoch, _)| Some(*epoch) == control.head().epoch)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_again_goes_on_where_the_stream_ends() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    for life in 0..3 {
        let control = control_with_relay(&postgres, &nats).await;
        create_many(&control, &format!("life-{life}"), 20).await;
        if life == 2 {
            events_is_the_log(&control, &nats).await;
        }
        control.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_being_away_delays_no_append_and_what_was_appended_meanwhile_is_published_later() {
    let (postgres, mut nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "before", 5).await;
    nats.kill();
    let started = std::time::Instant::now();
    create_many(&control, "during", 50).await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    nats.resume().await;
    events_is_the_log(&control, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_and_appends_while_nats_is_away() {
    let (postgres, mut nats) = (Postgres::start().await, Nats::start().await);
    nats.kill();
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "during", 5).await;
    nats.resume().await;
    events_is_the_log(&control, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_is_written_again_from_the_log() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "before", 30).await;
    events_is_the_log(&control, &nats).await;
    nats.jetstream()
        .await
        .delete_stream("EVENTS")
        .await
        .expect("NATS answers");
    // Nothing is appended: the relay finds out by itself.
    eventually("the stream is back", || async {
        nats.last_sequence().await == Some(31)
    })
    .await;
    create_many(&control, "after", 5).await;
    events_is_the_log(&control, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_tail_gets_it_again() {
    let (postgres, mut nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "kept", 30).await;
    events_is_the_log(&control, &nats).await;
    nats.kill();
    nats.copy_store("store", "old");
    nats.resume().await;
    create_many(&control, "lost", 30).await;
    events_is_the_log(&control, &nats).await;
    nats.kill();
    nats.copy_store("old", "store");
    nats.resume().await;
    eventually("the tail is back", || async {
        nats.last_sequence().await == Some(61)
    })
    .await;
    events_is_the_log(&control, &nats).await;
    nats.kill();
    nats.forget_everything();
    nats.resume().await;
    eventually("all is back", || async {
        nats.last_sequence().await == Some(61)
    })
    .await;
    events_is_the_log(&control, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_services_one_publishes_and_the_other_takes_over() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let one = control_with_relay(&postgres, &nats).await;
    eventually("one leads", || async { one.relay_status().leading }).await;
    let two = control_with_relay(&postgres, &nats).await;
    create_many(&two, "by-two", 10).await;
    eventually("one publishes", || async {
        one.relay_status().published == Some(11)
    })
    .await;
    assert!(!two.relay_status().leading);
    one.stop().await;
    create_many(&two, "alone", 10).await;
    events_is_the_log(&two, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_started_by_hand_stops_and_says_why() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "before", 10).await;
    events_is_the_log(&control, &nats).await;
    let pool = log::open_pool(&postgres.url("sluice_service"))
        .await
        .expect("Postgres answers");
    let stopped = relay::run_alone(pool.clone(), nats.client().await, true).await;
    assert!(matches!(stopped, RelayError::NotElected), "{stopped}");

    // Without asking to be elected both publish: the stream takes each event once, and refuses one of the two.
    let by_hand = tokio::spawn(relay::run_alone(pool, nats.client().await, false));
    let mut number = 0;
    while !by_hand.is_finished() {
        create_many(&control, &format!("round-{number}"), 5).await;
        number += 1;
        assert!(number < 2_000, "the two never met");
        eventually("this process goes on", || async {
            control.relay_status().published == Some(control.head().position)
                || by_hand.is_finished()
        })
        .await;
        if control.relay_status().waiting_for.is_some() {
            break;
        }
    }
    by_hand.abort();
    events_is_the_log(&control, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_tail_gets_it_back_from_the_stream_before_anything_is_appended() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "account", 20).await;
    events_is_the_log(&control, &nats).await;
    let (head, digest) = (control.head(), control.state().state_digest());
    control.stop().await;
    postgres.tamper(LOSE_THE_TAIL).await;

    let again = control_with_relay(&postgres, &nats).await;
    eventually("the tail is back", || async { again.head() == head }).await;
    assert_eq!(again.state().state_digest(), digest);
    again.submit(create("after")).await.expect("appends go on");
    events_is_the_log(&again, &nats).await;
    assert_eq!(
        fold_from_the_beginning(&again).await.state_digest(),
        again.state().state_digest()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_beside_a_full_stream_is_filled_from_it() {
    let (first, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&first, &nats).await;
    create_many(&control, "account", 2_500).await;
    events_is_the_log_quickly(&control).await;
    let head = control.head();
    control.stop().await;
    let second = Postgres::start().await;
    let again = control_with_relay(&second, &nats).await;
    assert_eq!(again.head(), head);
}

/// Waits until the comparison with `EVENTS` has stopped appends: while NATS does not answer, they go on.
async fn has_stopped(control: &Control) {
    eventually("appends are stopped", || async {
        control.appends_stopped().is_some()
    })
    .await;
}

async fn events_is_the_log_quickly(control: &Control) {
    let head = control.head().position;
    eventually("everything is published", || async {
        control.relay_status().published == Some(head)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_log_takes_no_commands_until_an_operator_starts_a_new_epoch() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "account", 20).await;
    events_is_the_log(&control, &nats).await;
    control.stop().await;
    postgres.tamper(LOSE_THE_TAIL).await;
    // An old backup knows nothing of what was published later.
    postgres
        .tamper("DELETE FROM seen_heads WHERE position > 11")
        .await;
    // Somebody goes on with the short log, without looking at the stream.
    let blind = crate::support::control(&postgres).await;
    create_many(&blind, "other", 3).await;
    blind.stop().await;

    let stopped = control_with_relay(&postgres, &nats).await;
    has_stopped(&stopped).await;
    let refused = stopped
        .submit(create("refused"))
        .await
        .expect_err("the log is forked");
    let SubmitError::Stopped(reason) = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        reason.contains("position 12") && reason.contains("start-epoch"),
        "{reason}"
    );
    assert_eq!(
        nats.last_sequence().await,
        Some(21),
        "nothing is published over the other history"
    );

    let (old, replica) = (
        stopped.head().epoch.expect("it has begun"),
        control_with_relay(&postgres, &nats).await,
    );
    has_stopped(&replica).await;
    stopped
        .start_epoch(Some("the backup is right".into()))
        .await
        .expect("an operator decides");
    // By whichever of the two relays is elected.
    eventually("the stream is written anew", || async {
        nats.last_sequence().await == Some(15) && stopped.appends_stopped().is_none()
    })
    .await;
    stopped
        .submit(create("accepted"))
        .await
        .expect("appends go on");
    eventually("the replica goes on too", || async {
        replica.appends_stopped().is_none()
    })
    .await;
    events_is_the_log(&stopped, &nats).await;
    let now = stopped.head().epoch.expect("it has begun");
    assert!(now.seconds > old.seconds);
    assert!(
        published(&nats)
            .await
            .iter()
            .all(|(epoch, _)| *epoch == now)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_tail_together_with_the_stream_takes_no_commands_until_a_new_epoch() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "account", 20).await;
    eventually("the head is kept", || async {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM seen_heads")
            .fetch_one(control.pool())
            .await
            .expect("Postgres answers");
        last == Some(21)
    })
    .await;
    control.stop().await;
    postgres.tamper(LOSE_THE_TAIL).await;
    nats.jetstream()
        .await
        .delete_stream("EVENTS")
        .await
        .expect("NATS answers");

    let stopped = control_with_relay(&postgres, &nats).await;
    let refused = stopped
        .submit(create("refused"))
        .await
        .expect_err("events are missing");
    // Heads are kept about once a second: the first that is missing need not be the last.
    let said = refused.to_string();
    let names = |position: u64| said.contains(&format!("position {position} "));
    assert!(
        (12..=21).any(names) && said.contains("start-epoch"),
        "{said}"
    );
    stopped
        .start_epoch(Some("there is no better copy".into()))
        .await
        .expect("an operator decides");
    stopped
        .submit(create("accepted"))
        .await
        .expect("appends go on");
    events_is_the_log(&stopped, &nats).await;
    // What the operator has given up is no longer missed.
    let report = stopped.verify().await.expect("the log can be read");
    assert!(report.ok, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_deployments_stream_is_never_written_to() {
    let (ours, theirs, nats) = (
        Postgres::start().await,
        Postgres::start().await,
        Nats::start().await,
    );
    let them = control_with_relay(&theirs, &nats).await;
    create_many(&them, "theirs", 5).await;
    events_is_the_log(&them, &nats).await;
    let blind = control(&ours).await;
    create_many(&blind, "ours", 10).await;
    let their_epoch = them.head().epoch.expect("it has begun").seconds;
    // Neither a younger log nor an epoch that was started before their last event is a decision about their stream.
    while blind.head().epoch.expect("it has begun").seconds <= their_epoch {
        let why = Some("another matter".to_owned());
        blind.start_epoch(why).await.expect("an operator decides");
    }
    let last = blind.head().position;
    blind.stop().await;
    them.submit(create("later")).await.expect("a fresh name");
    events_is_the_log(&them, &nats).await;
    let us = control_with_relay(&ours, &nats).await;
    has_stopped(&us).await;
    let refused = us
        .submit(create("more"))
        .await
        .expect_err("the stream is of another log");
    assert!(refused.to_string().contains("position 1 "), "{refused}");
    assert_eq!(us.head().position, last);
    events_is_the_log(&them, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_does_not_end_the_relay() {
    let (mut postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = control_with_relay(&postgres, &nats).await;
    create_many(&control, "before", 5).await;
    postgres.kill().await;
    postgres.resume().await;
    eventually("commands work again", || async {
        control.submit(create("after")).await.is_ok()
    })
    .await;
    tokio::time::timeout(PATIENCE, events_is_the_log(&control, &nats))
        .await
        .expect("it goes on");
}

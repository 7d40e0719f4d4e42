//! The log on a real Postgres: gapless, nothing lost, nothing twice, whoever appends.

use std::{collections::BTreeSet, time::Duration};

use commands::{
    control::{Control, Person, PersonChange, SubmitError},
    domain::{Command, Fingerprints, UserCommand, VirtualAccountCommand},
    fresh,
    log::{self, read},
};
use events_schema::{
    envelope::GENESIS,
    events::{Aggregate, Stream},
    secrets::KeyedHash,
    state::Organisation,
};

use crate::support::{
    PATIENCE, Postgres, control,
    orders::{create, create_many, submission},
};

/// Reads the whole log, checks its chain, and folds it.
pub(crate) async fn fold_from_the_beginning(control: &Control) -> Organisation {
    let (mut state, mut hash) = (Organisation::default(), GENESIS);
    loop {
        let page = control
            .events_after(state.position(), 500)
            .await
            .expect("Postgres answers");
        if page.is_empty() {
            return state;
        }
        for row in page {
            row.check_follows(state.position(), &hash)
                .expect("an unbroken chain");
            state.apply(&row).expect("a known event");
            hash = row.hash;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_becomes_a_log_whose_first_event_is_its_initialisation() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    assert_eq!(control.head().position, 1);
    let first = control
        .event(1)
        .await
        .expect("Postgres answers")
        .expect("there is one");
    assert_eq!(
        (
            first.kind.as_str(),
            first.stream,
            first.actor.to_string().as_str()
        ),
        ("log_initialised", Stream::Log, "system:init")
    );
    assert_eq!(first.prev_hash, GENESIS);
    assert_eq!(control.head().epoch, control.state().epoch());
    control.stop().await;

    let again = crate::support::control(&postgres).await;
    assert_eq!(again.head().position, 1, "a second start adds nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_in_the_state_and_in_the_history_with_who_when_and_why() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let mut events = control.subscribe();
    let order = create("ci");
    let outcome = control.submit(order.clone()).await.expect("a fresh name");
    assert_eq!(
        (outcome.position, outcome.made, outcome.replayed),
        (2, order.makes(), false)
    );
    assert_eq!(outcome.events[0].kind, "virtual_account_created");

    assert!(
        control
            .state()
            .virtual_account_named(&"ci".parse().expect("a name"))
            .is_some()
    );
    let row = control
        .event(2)
        .await
        .expect("Postgres answers")
        .expect("it was appended");
    assert_eq!(
        (row.cause, row.why.as_deref()),
        (order.command_id, Some("because"))
    );
    assert_eq!(row.stream.aggregate(), Aggregate::VirtualAccount);
    let told = tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("told")
        .expect("told");
    assert_eq!(told.envelope, row);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_id_gives_the_same_answer_and_another_body_under_it_is_refused() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let order = create("ci");
    let first = control.submit(order.clone()).await.expect("a fresh name");

    // Sent again: the shell made another id for what would be made, and the body is the same.
    let mut again = order.clone();
    again.orders = create("ci").orders;
    let second = control
        .submit(again.clone())
        .await
        .expect("the answer given before");
    assert_eq!(
        (
            second.position,
            &second.events,
            &second.made,
            second.replayed
        ),
        (first.position, &first.events, &first.made, true)
    );

    let mut other_body = again.clone();
    other_body.request_hash = [7; 32];
    assert!(matches!(
        control.submit(other_body).await,
        Err(SubmitError::CommandIdReused)
    ));
    let mut other_sender = again;
    other_sender.actor = events_schema::actor::Actor::Operator(fresh::id());
    assert!(matches!(
        control.submit(other_sender).await,
        Err(SubmitError::CommandIdReused)
    ));
    assert_eq!(control.head().position, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_command_changes_nothing_and_a_needless_one_yields_no_event() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let order = create("ci");
    let Command::VirtualAccount(id, _) = order.orders[0].command else {
        unreachable!("it is one")
    };
    control.submit(order).await.expect("a fresh name");
    let refused = control
        .submit(create("ci"))
        .await
        .expect_err("the name is taken");
    assert_eq!(
        refused.to_string(),
        "There is already a virtual account named 'ci'."
    );
    assert_eq!(refused.outcome().status, 409);

    let enable = submission(Command::VirtualAccount(id, VirtualAccountCommand::Enable));
    let outcome = control.submit(enable).await.expect("it is enabled");
    assert_eq!((outcome.position, outcome.events.len()), (2, 0));
    assert_eq!(control.head().position, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beside_the_log_are_written_with_the_command_or_not_at_all() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let email = KeyedHash::of("k1", &[1; 32], b"bob@example.com");
    let add = |email: &KeyedHash| {
        let id = fresh::id();
        let mut order = submission(Command::User(
            id,
            UserCommand::Add {
                email: Fingerprints {
                    active: email.clone(),
                    former: Vec::new(),
                },
            },
        ));
        let person = Person {
            id: id.uuid(),
            email: "bob@example.com".into(),
            name: "Bob".into(),
        };
        order.orders[0].side.person = Some(PersonChange::Put(person));
        (id.uuid(), order)
    };
    let (bob, order) = add(&email);
    control.submit(order).await.expect("a fresh address");
    let (twin, order) = add(&email);
    control
        .submit(order)
        .await
        .expect_err("the address is taken");
    let people = control
        .people(&[bob, twin])
        .await
        .expect("Postgres answers");
    assert_eq!(people.keys().collect::<Vec<_>>(), [&bob]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_that_the_database_refuses_does_not_take_others_with_it() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let mut bad = create("bad");
    bad.why = Some("a NUL, which Postgres does not take: \0".into());
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (control, order) = (control.clone(), create(&format!("good-{number}")));
        all.spawn(async move { control.submit(order).await });
    }
    let refused = control.submit(bad).await;
    assert!(
        matches!(refused, Err(SubmitError::Unavailable)),
        "{refused:?}"
    );
    assert!(all.join_all().await.iter().all(Result::is_ok));
    assert_eq!(control.head().position, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_race_append_without_gaps_and_lose_nothing() {
    const EACH: usize = 300;
    let postgres = Postgres::start().await;
    let (one, two) = (control(&postgres).await, control(&postgres).await);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..EACH {
        for (which, control) in [("one", &one), ("two", &two)] {
            let (control, order) = (control.clone(), create(&format!("{which}-{number}")));
            all.spawn(async move { control.submit(order).await.expect("a fresh name").position });
        }
    }
    let positions: BTreeSet<u64> = all.join_all().await.into_iter().collect();
    let last = 1 + 2 * EACH as u64;
    assert_eq!(
        positions,
        (2..=last).collect(),
        "each command has a position of its own, and none is left out"
    );

    let folded = fold_from_the_beginning(&one).await;
    for control in [&one, &two] {
        let live = control.at_least(last, PATIENCE).await.expect("both follow");
        assert_eq!(live.state.state_digest(), folded.state_digest());
        assert_eq!(
            live.head.hash,
            read::head(control.pool())
                .await
                .expect("Postgres answers")
                .hash
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_cannot_both_take_the_same_name() {
    let postgres = Postgres::start().await;
    let (one, two) = (control(&postgres).await, control(&postgres).await);
    for number in 0..50 {
        let name = format!("name-{number}");
        let (first, second) = tokio::join!(one.submit(create(&name)), two.submit(create(&name)));
        assert!(first.is_ok() != second.is_ok(), "{first:?} and {second:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_writes_the_other_shows_within_a_moment() {
    let postgres = Postgres::start().await;
    let (one, two) = (control(&postgres).await, control(&postgres).await);
    let outcome = one.submit(create("ci")).await.expect("a fresh name");
    two.at_least(outcome.position, Duration::from_secs(2))
        .await
        .expect("it follows");
    let never = two
        .at_least(outcome.position + 1, Duration::from_millis(10))
        .await
        .expect_err("nobody writes that");
    assert_eq!(never.reached, outcome.position);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_a_checkpoint_gives_the_same_state_as_the_whole_log() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    create_many(&control, "before", 50).await;
    let live = control.live();
    log::checkpoint::write(control.pool(), live.state.clone(), live.head.hash)
        .await
        .expect("Postgres answers");
    create_many(&control, "after", 10).await;
    let digest = fold_from_the_beginning(&control).await.state_digest();
    control.stop().await;

    let again = crate::support::control(&postgres).await;
    assert_eq!(again.state().state_digest(), digest);
    assert_eq!(again.head().position, 61);
    let found = log::checkpoint::newest(again.pool(), 55)
        .await
        .expect("Postgres answers")
        .expect("there is one");
    assert_eq!(found.state.position(), 51);
    let kept = log::checkpoint::digest(again.pool(), 51).await;
    assert_eq!(
        kept.expect("Postgres answers"),
        Some(found.state.state_digest())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_changed_or_is_of_another_log_is_passed_over() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    create_many(&control, "some", 5).await;
    let live = control.live();
    log::checkpoint::write(control.pool(), live.state.clone(), live.head.hash)
        .await
        .expect("Postgres answers");
    control.stop().await;
    for damage in [
        "UPDATE checkpoints SET hash = decode(repeat('01', 32), 'hex')",
        "UPDATE checkpoints SET digest = decode(repeat('01', 32), 'hex')",
        "UPDATE checkpoint_parts SET bytes = set_byte(bytes, 200, get_byte(bytes, 200) # 1)",
        "UPDATE checkpoint_parts SET bytes = substr(bytes, 1, 400)",
        "UPDATE checkpoint_parts SET bytes = ''",
        "DELETE FROM checkpoint_parts",
    ] {
        postgres.tamper(damage).await;
        let again = crate::support::control(&postgres).await;
        assert_eq!(
            again.state().state_digest(),
            live.state.state_digest(),
            "{damage}"
        );
        again.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_as_of_any_position_is_what_it_was_then() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let mut digests = vec![
        Organisation::default().state_digest(),
        control.state().state_digest(),
    ];
    for number in 0..20 {
        control
            .submit(create(&format!("account-{number}")))
            .await
            .expect("a fresh name");
        digests.push(control.state().state_digest());
    }
    for (position, digest) in digests.iter().enumerate() {
        let state = control
            .state_at(position as u64)
            .await
            .expect("Postgres answers")
            .expect("within the log");
        assert_eq!(state.state_digest(), *digest, "at {position}");
    }
    assert!(
        control
            .state_at(digests.len() as u64)
            .await
            .expect("Postgres answers")
            .is_none()
    );
    let row = control
        .event(7)
        .await
        .expect("Postgres answers")
        .expect("within the log");
    let at = control
        .position_at(row.recorded_at)
        .await
        .expect("Postgres answers");
    assert!(at >= 7, "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_may_neither_change_nor_remove_an_event() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    for (role, sql) in [
        ("sluice_service", "UPDATE events SET why = 'x'"),
        ("sluice_service", "DELETE FROM events"),
        ("sluice_service", "TRUNCATE events"),
        ("sluice_service", "DELETE FROM log_head"),
        ("sluice_owner", "UPDATE events SET why = 'x'"),
        ("sluice_owner", "DELETE FROM events"),
        ("sluice_owner", "TRUNCATE events"),
        ("sluice_reader", "SELECT * FROM events"),
    ] {
        let mut connection = postgres.connect(role).await;
        sqlx::raw_sql(sql)
            .execute(&mut connection)
            .await
            .expect_err(sql);
    }
    assert_eq!(control.head().position, 1);
}

/// A role is refused because it has no right to that.
async fn has_no_right(postgres: &Postgres, role: &str, sql: &str) {
    /// `insufficient_privilege`
    const NO_RIGHT: &str = "42501";
    let mut connection = postgres.connect(role).await;
    let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await;
    let error = refused.expect_err(sql);
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some(NO_RIGHT), "{role}: {sql}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_writes_nowhere_and_nobody_but_the_owner_changes_the_schema() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    let mut owner = postgres.connect("sluice_owner").await;
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, min(column_name::text) FROM information_schema.columns \
         WHERE table_schema = 'public' GROUP BY table_name",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the owner sees its tables");
    assert!(tables.len() >= 10, "{tables:?}");
    for (table, column) in &tables {
        for sql in [
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
            has_no_right(&postgres, "sluice_reader", &sql).await;
        }
        for role in ["sluice_reader", "sluice_service"] {
            has_no_right(&postgres, role, &format!("DROP TABLE {table}")).await;
            let disable = format!("ALTER TABLE {table} DISABLE TRIGGER ALL");
            has_no_right(&postgres, role, &disable).await;
        }
    }
    for role in ["sluice_reader", "sluice_service"] {
        has_no_right(&postgres, role, "CREATE TABLE mine (a int)").await;
        has_no_right(&postgres, role, "CREATE ROLE mine").await;
        has_no_right(&postgres, role, "SET ROLE sluice_owner").await;
    }
    for table in ["events", "command_results"] {
        has_no_right(&postgres, "sluice_service", &format!("DELETE FROM {table}")).await;
    }
    assert_eq!(control.head().position, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_filtered_and_paged_newest_first() {
    let postgres = Postgres::start().await;
    let control = control(&postgres).await;
    create_many(&control, "account", 9).await;
    let positions = |rows: Vec<events_schema::envelope::Envelope>| {
        rows.iter().map(|row| row.position).collect::<Vec<_>>()
    };
    let filter = commands::control::HistoryFilter {
        aggregate: Some(Aggregate::VirtualAccount),
        kind: Some("virtual_account_created".into()),
        actor: Some(events_schema::actor::Actor::System(
            events_schema::actor::System::CommandLine,
        )),
        ..Default::default()
    };
    let first = control
        .events(&filter, None, 4)
        .await
        .expect("Postgres answers");
    let second = control
        .events(&filter, Some(first[3].position), 100)
        .await
        .expect("Postgres answers");
    assert_eq!(
        (positions(first.clone()), positions(second)),
        (vec![10, 9, 8, 7], vec![6, 5, 4, 3, 2])
    );
    let of_one = commands::control::HistoryFilter {
        stream: Some(first[0].stream),
        ..Default::default()
    };
    assert_eq!(
        positions(
            control
                .events(&of_one, None, 100)
                .await
                .expect("Postgres answers")
        ),
        [10]
    );
    let later = commands::control::HistoryFilter {
        from: Some(first[0].recorded_at.plus_micros(1)),
        ..Default::default()
    };
    assert_eq!(
        positions(
            control
                .events(&later, None, 100)
                .await
                .expect("Postgres answers")
        ),
        Vec::<u64>::new()
    );
}

//! `verify` names what was done to the log, also where chain and head were computed again.

use commands::control::Control;
use events_schema::{
    api::history::VerifyReport,
    envelope::{Envelope, GENESIS},
};

use crate::support::{Nats, Postgres, control_with_relay, eventually, orders::create_many};

/// A log of 31 events, all of them published, and nothing that runs on it.
async fn a_log(postgres: &Postgres, nats: &Nats) -> Control {
    let control = control_with_relay(postgres, nats).await;
    create_many(&control, "account", 30).await;
    eventually("everything is published", || async {
        control.relay_status().published == Some(31)
    })
    .await;
    let report = control.verify().await.expect("it can be checked");
    assert!(
        report.ok && report.rows == 31 && report.compared_with_events == 31,
        "{report:?}"
    );
    control.stop().await;
    control
}

/// Damages the log, and checks what a fresh `verify`, which holds no state of its own, says.
async fn check(damage: &'static str, recompute: bool, position: u64, says: &str) {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = a_log(&postgres, &nats).await;
    postgres.tamper(damage).await;
    if recompute {
        recompute_chain(&postgres, &control).await;
    }
    let client = nats.client().await;
    let report = commands::verify::verify(control.pool(), Some(&client), None)
        .await
        .expect("it can be checked");
    let found = first(&report);
    assert!(
        !report.ok && found.0 == position && found.1.contains(says),
        "{damage}: {report:?}"
    );
}

fn first(report: &VerifyReport) -> (u64, String) {
    report
        .findings
        .first()
        .map(|finding| (finding.position, finding.detail.clone()))
        .unwrap_or_default()
}

/// What an attacker who owns the database does: a new chain over what is there, and a head that fits.
async fn recompute_chain(postgres: &Postgres, control: &Control) {
    let rows = control
        .events_after(0, 1_000)
        .await
        .expect("Postgres answers");
    let (mut hash, mut chained) = (GENESIS, Vec::<Envelope>::new());
    for mut row in rows {
        row.prev_hash = hash;
        row.hash = row.computed_hash();
        hash = row.hash;
        chained.push(row);
    }
    let mut connection = postgres.connect("postgres").await;
    sqlx::raw_sql("SET session_replication_role = replica")
        .execute(&mut connection)
        .await
        .expect("a superuser may");
    for row in &chained {
        sqlx::query("UPDATE events SET prev_hash = $2, hash = $3 WHERE position = $1")
            .bind(i64::try_from(row.position).expect("small"))
            .bind(row.prev_hash.to_vec())
            .bind(row.hash.to_vec())
            .execute(&mut connection)
            .await
            .expect("a superuser may");
    }
    sqlx::query("UPDATE log_head SET position = $1, hash = $2")
        .bind(i64::try_from(chained.len()).expect("small"))
        .bind(hash.to_vec())
        .execute(&mut connection)
        .await
        .expect("a superuser may");
}

const EDIT: &str = "UPDATE events SET payload = '{\"name\":\"mallory\"}' WHERE position = 12";
const EDIT_TIME: &str =
    "UPDATE events SET recorded_at = recorded_at - interval '1 microsecond' WHERE position = 12";
const EDIT_ACTOR: &str =
    "UPDATE events SET actor = 'operator:00000000000000000000000000000000' WHERE position = 12";
const DROP: &str = "DELETE FROM events WHERE position = 12";
const DROP_AND_CLOSE_THE_GAP: &str = "DELETE FROM events WHERE position = 12;
    UPDATE events SET position = -position WHERE position > 12;
    UPDATE events SET position = -position - 1 WHERE position < 0";
const DROP_LAST: &str = "DELETE FROM events WHERE position = 31";
const SWAP: &str = "UPDATE events SET position = 1000 WHERE position = 12;
    UPDATE events SET position = 12 WHERE position = 13;
    UPDATE events SET position = 13 WHERE position = 1000";

const NO_CHECKS: &str = "ALTER TABLE events DROP CONSTRAINT events_position_check;";

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_row_is_named() {
    check(EDIT, false, 12, "was changed").await;
    check(EDIT_TIME, false, 12, "was changed").await;
    check(EDIT_ACTOR, false, 12, "was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_row_is_named_also_when_the_chain_was_computed_again() {
    check(EDIT, true, 12, "is another event").await;
    check(EDIT_TIME, true, 12, "is another event").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_row_is_named() {
    check(DROP, false, 12, "is missing").await;
    check(DROP_LAST, false, 31, "is missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_row_is_named_also_when_the_chain_was_computed_again() {
    let closed = format!("{NO_CHECKS}{DROP_AND_CLOSE_THE_GAP}");
    check(
        Box::leak(closed.into_boxed_str()),
        true,
        12,
        "is another event",
    )
    .await;
    check(DROP_LAST, true, 31, "is missing from the log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_rows_are_named_with_and_without_a_new_chain() {
    check(SWAP, false, 12, "").await;
    check(SWAP, true, 12, "is another event").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_or_a_column_that_nobody_writes_is_named() {
    check(
        "UPDATE log_head SET hash = decode(repeat('01', 32), 'hex')",
        false,
        31,
        "another hash",
    )
    .await;
    check("UPDATE log_head SET position = 40", false, 32, "is missing").await;
    check(
        "UPDATE events SET actor = 'mallory' WHERE position = 12",
        false,
        12,
        "'actor'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_the_events_do_not_add_up_to_is_named() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = a_log(&postgres, &nats).await;
    let live = control.live();
    commands::log::checkpoint::write(control.pool(), live.state.clone(), live.head.hash)
        .await
        .expect("Postgres answers");
    let client = nats.client().await;
    let report = commands::verify::verify(control.pool(), Some(&client), Some(&live))
        .await
        .expect("it can be checked");
    assert!(report.ok, "{report:?}");
    postgres
        .tamper(
            "UPDATE checkpoint_parts SET bytes = set_byte(bytes, 200, get_byte(bytes, 200) # 1)",
        )
        .await;
    let report = commands::verify::verify(control.pool(), Some(&client), Some(&live))
        .await
        .expect("it can be checked");
    assert!(
        first(&report).0 == 31 && first(&report).1.contains("checkpoint"),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_whose_log_is_changed_under_it_stops_appending_and_says_so() {
    for damage in [DROP_LAST, EDIT] {
        let (postgres, nats) = (Postgres::start().await, Nats::start().await);
        let control = control_with_relay(&postgres, &nats).await;
        create_many(&control, "account", 30).await;
        eventually("everything is published", || async {
            control.relay_status().published == Some(31)
        })
        .await;
        postgres.tamper(damage).await;
        recompute_chain(&postgres, &control).await;
        eventually("appends stop", || async {
            control.appends_stopped().is_some()
        })
        .await;
        let report = control.verify().await.expect("it can be checked");
        assert_eq!(
            first(&report).0,
            if damage == EDIT { 12 } else { 31 },
            "{report:?}"
        );
        assert!(
            control
                .submit(crate::support::orders::create("more"))
                .await
                .is_err()
        );
    }
}

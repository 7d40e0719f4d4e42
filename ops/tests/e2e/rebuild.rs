//! Every store but Postgres can be thrown away, and each can be built again while everything runs.

use std::fs;

use serde_json::Value;

use crate::crash::{agrees, are_recorded_once, wait_for_work};
use crate::load::Load;
use crate::stack::{Session, Stack, block_on, said, sluice, wait_until};

/// Commands and chats that must succeed.
const SOME: u64 = 20;

#[test]
fn without_streams_ledger_and_views_the_same_state_is_served_again() {
    let mut stack = Stack::up();
    let before = block_on(async {
        let session = stack.sign_in().await;
        stack.chat("Hello").await.expect("the gateway answers");
        (session.status().await, session.live_gateways().await)
    });
    stack.down();
    for folder in ["nats", "clickhouse", "gateway"] {
        fs::remove_dir_all(stack.data().join(folder)).expect("the folder was there");
    }
    stack.up_again();

    block_on(async {
        let session = stack.sign_in().await;
        let (status, gateways) = before;
        let after = session.status().await;
        assert_eq!(after.position, status.position);
        assert_eq!(after.state_digest, status.state_digest);
        let [gateway] = &gateways[..] else {
            panic!("one gateway was expected: {gateways:?}");
        };
        wait_until("a gateway serves the same entries", || async {
            let live = session.live_gateways().await;
            let same = live.iter().any(|now| {
                now.report.entries_digest == gateway.report.entries_digest
                    && now.report.position == after.position
                    && !now.report.unproven
            });
            same.then_some(()).ok_or_else(|| format!("{live:?}"))
        })
        .await;

        // The key from before works, and the ledger says since when it has records.
        let answer = stack
            .chat("Hello again")
            .await
            .expect("the gateway answers");
        assert!(answer.status.is_success(), "{}", answer.text());
        wait_until("the ledger says since when it has records", || async {
            let status = session.status().await;
            status
                .ledger_since
                .map(|_| ())
                .ok_or_else(|| format!("{:?}", status.ledger_error))
        })
        .await;
    });
}

/// Runs `sluice rebuild` while commands and chats go on, of which none may fail; returns what it says.
async fn rebuild_under_load(stack: &Stack, session: &Session, what: &str) -> Value {
    let load = Load::start(stack, session).await;
    wait_for_work(&load, (SOME, SOME)).await;
    let data = stack.data().display().to_string();
    let args = ["rebuild", what, "--data", &data].map(str::to_owned);
    let output = tokio::task::spawn_blocking(move || sluice(&args.each_ref().map(String::as_str)))
        .await
        .expect("the tool runs");
    assert!(output.status.success(), "{}", said(&output));
    let (commands, chats) = load.done();
    wait_for_work(&load, (commands + SOME, chats + SOME)).await;
    let (position, chats) = load.finish().await;
    assert_eq!(chats.failed, Vec::<String>::new());
    agrees(stack, session, position).await;
    are_recorded_once(stack, &chats).await;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

#[test]
fn an_audit_trail_that_was_damaged_is_rebuilt_from_events_while_everything_runs() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        wait_until("the audit trail has begun", || async {
            let rows = stack.ledger("SELECT count() FROM admin_events").await;
            (rows > 5)
                .then_some(())
                .ok_or_else(|| format!("{rows} rows"))
        })
        .await;
        let damage = [
            "ALTER TABLE admin_events DELETE WHERE position = 2 SETTINGS mutations_sync = 1",
            "ALTER TABLE admin_events UPDATE actor = 'nobody' WHERE position = 3 SETTINGS mutations_sync = 1",
        ];
        for statement in damage {
            stack.change_ledger(statement).await;
        }
        let said = rebuild_under_load(&stack, &session, "audit").await;
        assert_eq!(said["differed"], 2, "{said}");
        let position = session.status().await.position;
        wait_until("the audit trail has every event once", || async {
            let rows = stack
                .ledger("SELECT count() FROM admin_events FINAL WHERE actor != 'nobody'")
                .await;
            (rows == position)
                .then_some(())
                .ok_or_else(|| format!("{rows} of {position}"))
        })
        .await;
    });
}

#[test]
fn a_rollup_that_was_damaged_is_rebuilt_from_the_requests_while_everything_runs() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        for _ in 0..3 {
            stack.chat("Hello").await.expect("the gateway answers");
        }
        wait_until("the ledger has the requests", || async {
            let rows = stack.ledger("SELECT count() FROM requests").await;
            (rows >= 3)
                .then_some(())
                .ok_or_else(|| format!("{rows} rows"))
        })
        .await;
        stack
            .change_ledger("INSERT INTO usage_1m (minute, owner, target, requests) VALUES ('2026-01-01 00:00:00', 'x', 'y', 5)")
            .await;
        stack
            .change_ledger("INSERT INTO usage_1m (minute, owner, target, requests) SELECT minute, owner, target, 7 FROM usage_1m WHERE owner != 'x' LIMIT 1")
            .await;
        let said = rebuild_under_load(&stack, &session, "ledger").await;
        assert!(said["differed"].as_u64() >= Some(1), "{said}");
        // The worker goes on behind the exchange, also when it is killed at once.
        stack.signal("projections", nix::sys::signal::Signal::SIGKILL);
        let load = Load::start(&stack, &session).await;
        wait_for_work(&load, (SOME, SOME)).await;
        let (_, chats) = load.finish().await;
        are_recorded_once(&stack, &chats).await;
        // What lay before the first request is taken over: the requests cannot say that it was not so.
        wait_until("requests and rollup agree", || async {
            let requests = stack.ledger("SELECT count() FROM requests").await;
            let rolled = stack
                .ledger("SELECT toUInt64(sum(requests)) FROM usage_1m WHERE owner != 'x'")
                .await;
            (requests == rolled)
                .then_some(())
                .ok_or_else(|| format!("{requests} and {rolled}"))
        })
        .await;
    });
}

#[test]
fn all_snapshots_are_sent_again_and_no_gateway_serves_anything_else() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let before = session.live_gateways().await;
        let said = rebuild_under_load(&stack, &session, "snapshots").await;
        assert_eq!(said["differed"], 0, "{said}");
        assert!(said["built"].as_u64() > Some(5), "{said}");
        if let Some(digest) = said["digest_before"].as_str() {
            assert_eq!(said["digest_after"], digest, "{said}");
        }
        let after = session.live_gateways().await;
        assert_eq!(after.len(), before.len());
        assert!(
            after
                .iter()
                .all(|gateway| gateway.report.refused_entries == 0),
            "{after:?}"
        );
    });
}

//! `kill -9` of each process in the middle of work: whatever dies, history stays whole, every replica
//! agrees on it, and request records are neither doubled nor lost.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::load::{Chats, Load};
use crate::stack::{PATIENCE, Session, Stack, block_on, said, wait_until};

/// Commands and chats that must succeed before and after the blow.
const SOME: u64 = 20;

/// How long a process that stands still lets others wait.
const STANDSTILL: std::time::Duration = std::time::Duration::from_secs(5);

/// Kills `service` with -9 while commands and chats go on, waits until both go on again, and checks
/// that everything agrees.
async fn survives_the_death_of(stack: &Stack, session: &Session, service: &str) -> Chats {
    let load = Load::start(stack, session).await;
    wait_for_work(&load, (SOME, SOME)).await;
    let before = stack.service(service)["restarts"]
        .as_u64()
        .unwrap_or_default();
    stack.signal(service, Signal::SIGKILL);
    let killed = Instant::now();

    wait_until(&format!("{service} is started again"), || async {
        let state = stack.service(service);
        let again = state["restarts"].as_u64() > Some(before) && state["ready"] == true;
        again
            .then_some(())
            .ok_or_else(|| state["why_not"].to_string())
    })
    .await;
    eprintln!(
        "{service} was ready again after {} ms",
        killed.elapsed().as_millis()
    );
    let (commands, chats) = load.done();
    wait_for_work(&load, (commands + SOME, chats + SOME)).await;
    let (position, chats) = load.finish().await;
    agrees(stack, session, position).await;
    chats
}

pub(crate) async fn wait_for_work(load: &Load, (commands, chats): (u64, u64)) {
    wait_until("commands and chats go on", || async {
        let done = load.done();
        let enough = done.0 >= commands && done.1 >= chats;
        enough
            .then_some(())
            .ok_or_else(|| format!("{done:?} of {:?}", (commands, chats)))
    })
    .await;
}

/// The log, its stream and the gateways are at one position, with one digest, and `verify` passes.
pub(crate) async fn agrees(stack: &Stack, session: &Session, at_least: u64) {
    wait_until(
        "position, EVENTS, count(*) and the gateways agree",
        || async {
            let status = session.status().await;
            let pool = stack.postgres().await;
            let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM events")
                .fetch_one(&pool)
                .await
                .expect("Postgres answers");
            let rows = u64::try_from(rows).expect("a count");
            let sequence = stack.events_sequence().await;
            let gateways = session.live_gateways().await;
            let served: Vec<(u64, bool)> = gateways
                .iter()
                .map(|gateway| (gateway.report.position, gateway.report.unproven))
                .collect();
            let agreed = status.position >= at_least
                && rows == status.position
                && sequence == status.position
                && served == [(status.position, false)];
            agreed.then_some(()).ok_or_else(|| {
                format!(
                    "position {}, rows {rows}, EVENTS {sequence}, gateways {served:?}",
                    status.position
                )
            })
        },
    )
    .await;
    let verified = stack.commands_cli("verify");
    assert!(verified.status.success(), "{}", said(&verified));
}

/// The ledger has every one of these requests exactly once.
pub(crate) async fn are_recorded_once(stack: &Stack, chats: &Chats) {
    let ids: Vec<String> = chats.answered.iter().map(|id| format!("'{id}'")).collect();
    let all = u64::try_from(ids.len()).expect("a count");
    let question = format!(
        "SELECT count() FROM requests WHERE request IN ({})",
        ids.join(",")
    );
    wait_until("the ledger has every request", || async {
        let found = stack.try_ledger(&question).await?;
        if found >= all {
            Ok(())
        } else {
            Err(format!("{found} of {all}"))
        }
    })
    .await;
    assert_eq!(stack.ledger(&question).await, all);
    assert_eq!(
        stack
            .ledger("SELECT toUInt64(count() - uniqExact(request)) FROM requests")
            .await,
        0
    );
}

#[test]
fn killing_any_process_in_the_middle_of_work_loses_nothing() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        for service in ["commands", "projections", "nats", "postgres", "clickhouse"] {
            let chats = survives_the_death_of(&stack, &session, service).await;
            assert_eq!(
                chats.failed,
                Vec::<String>::new(),
                "requests failed without {service}"
            );
            are_recorded_once(&stack, &chats).await;
        }
    });
}

#[test]
fn killing_the_gateway_loses_at_most_what_was_in_its_ring_and_shows_how_much() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let chats = survives_the_death_of(&stack, &session, "gateway").await;
        // Every request of both lives is in the ledger or in a gap: what was answered and is not recorded is counted.
        let ids: Vec<String> = chats.answered.iter().map(|id| format!("'{id}'")).collect();
        let recorded = format!(
            "SELECT count() FROM requests WHERE request IN ({})",
            ids.join(",")
        );
        let gaps = "SELECT toUInt64(sum(last_number - first_number + 1)) FROM ledger_gaps";
        let all = u64::try_from(ids.len()).expect("a count");
        wait_until("what is not recorded is a gap", || async {
            let (recorded, lost) = (stack.ledger(&recorded).await, stack.ledger(gaps).await);
            let missing = all - recorded;
            // The one that was under way may have been counted and not answered.
            if lost == missing || lost == missing + 1 {
                Ok(())
            } else {
                Err(format!(
                    "{recorded} recorded, {lost} in gaps, {all} answered"
                ))
            }
        })
        .await;
        assert_eq!(
            stack
                .ledger("SELECT toUInt64(count() - uniqExact(request)) FROM requests")
                .await,
            0
        );
    });
}

#[test]
fn requests_go_on_while_nats_stands_still() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let load = Load::start(&stack, &session).await;
        wait_for_work(&load, (SOME, SOME)).await;
        stack.signal("nats", Signal::SIGSTOP);
        let stopped = Instant::now();
        let (_, before) = load.done();
        wait_until("requests go on for a while", || async {
            let (_, chats) = load.done();
            let long = stopped.elapsed() >= STANDSTILL && chats > before + SOME;
            long.then_some(()).ok_or_else(|| format!("{chats} chats"))
        })
        .await;
        stack.signal("nats", Signal::SIGCONT);
        assert!(stopped.elapsed() < PATIENCE);
        let (commands, chats) = load.done();
        wait_for_work(&load, (commands + SOME, chats + SOME)).await;
        let (position, chats) = load.finish().await;
        assert_eq!(chats.failed, Vec::<String>::new());
        agrees(&stack, &session, position).await;
        are_recorded_once(&stack, &chats).await;
    });
}

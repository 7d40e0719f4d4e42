//! One part of the system is away, or damaged, while the others go on: what users see meanwhile, and that it heals.

use std::fs;
use std::time::Instant;

use events_schema::api::Page;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::KeyItem;
use http::StatusCode;
use nix::sys::signal::Signal;

use crate::crash::{agrees, are_recorded_once, wait_for_work};
use crate::load::Load;
use crate::stack::{Session, Stack, block_on, wait_for, wait_until};

/// Commands and chats that must succeed.
const SOME: u64 = 20;

/// An answer that says that something is away comes within this: nobody waits for what is not there.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(8);

/// A key of the example.
async fn some_key(session: &Session) -> KeyItem {
    let page: Page<KeyItem> = session.get("/keys?limit=1").await;
    page.items.into_iter().next().expect("the example has keys")
}

async fn chats_go_on(stack: &Stack) {
    for number in 0..SOME {
        let answer = stack.chat(&format!("Question {number}")).await;
        let answer = answer.expect("the gateway answers");
        assert!(answer.status.is_success(), "{}", answer.text());
    }
}

#[test]
fn while_postgres_is_down_commands_say_so_and_gateways_and_projections_go_on() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let key = some_key(&session).await;
        let relabel = |label: &str| NewCommand::RelabelKey {
            key: key.id,
            label: label.into(),
        };
        let before = session.status().await;

        let down = stack.without("postgres");
        let asked = Instant::now();
        let id = "00000000000000000000000000000001";
        let refused = session.try_command(id, relabel("during")).await;
        let refused = refused.map(|answer| answer.position);
        let why = refused.expect_err("nothing can be written");
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        assert!(why.starts_with("503"), "{why}");
        assert!(
            why.contains("log_unavailable") || why.contains("outcome_unknown"),
            "{why}"
        );

        chats_go_on(&stack).await;
        // What was recorded meanwhile is in the ledger: the projections need Postgres for new credentials only.
        wait_until("the ledger goes on", || async {
            let found = stack.ledger("SELECT count() FROM requests").await;
            (found >= SOME)
                .then_some(())
                .ok_or_else(|| format!("{found} requests"))
        })
        .await;
        drop(down);

        wait_until("commands go on", || async {
            session.try_command(id, relabel("during")).await.map(|_| ())
        })
        .await;
        let after = session.status().await;
        assert_eq!(after.position, before.position + 1);
        agrees(&stack, &session, after.position).await;
    });
}

#[test]
fn while_clickhouse_is_down_records_wait_the_api_says_so_and_nothing_else_notices() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let load = Load::start(&stack, &session).await;
        wait_for_work(&load, (SOME, SOME)).await;

        let down = stack.without("clickhouse");
        wait_until("the status says that the ledger is away", || async {
            let status = session.status().await;
            status
                .ledger_error
                .map(|_| ())
                .ok_or_else(|| "no error".into())
        })
        .await;
        let asked = Instant::now();
        let dashboard = session
            .try_get("/analytics/summary?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z")
            .await;
        let dashboard = dashboard.expect("the API answers");
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        assert_eq!(
            dashboard.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            dashboard.text()
        );
        assert!(
            dashboard.text().contains("ledger_unavailable"),
            "{}",
            dashboard.text()
        );
        let (commands, chats) = load.done();
        wait_for_work(&load, (commands + SOME, chats + SOME)).await;
        drop(down);

        let (position, chats) = load.finish().await;
        assert_eq!(chats.failed, Vec::<String>::new());
        agrees(&stack, &session, position).await;
        are_recorded_once(&stack, &chats).await;
    });
}

#[test]
fn streams_that_are_deleted_under_everybody_come_back_and_gateways_follow() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let jetstream = stack.info.jetstream().await;
        for stream in ["EVENTS", "SNAPSHOTS", "USAGE"] {
            let load = Load::start(&stack, &session).await;
            wait_for_work(&load, (SOME, SOME)).await;
            jetstream
                .delete_stream(stream)
                .await
                .expect("the stream was there");
            wait_until(&format!("{stream} is there again"), || async {
                let stream = jetstream.get_stream(stream).await;
                stream.map(|_| ()).map_err(|error| error.to_string())
            })
            .await;
            let (commands, chats) = load.done();
            wait_for_work(&load, (commands + SOME, chats + SOME)).await;
            let (position, chats) = load.finish().await;
            assert_eq!(chats.failed, Vec::<String>::new());
            agrees(&stack, &session, position).await;
            // What `USAGE` held and nobody had read yet goes with it: of that there is no second copy.
            if stream != "USAGE" {
                are_recorded_once(&stack, &chats).await;
            }
        }
    });
}

#[test]
fn an_entry_that_a_stranger_wrote_is_refused_reported_and_written_over() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let key = some_key(&session).await;
        let before = session.live_gateways().await;
        let jetstream = stack.info.jetstream().await;
        let subject = format!("snap.v1.key.{}", key.id);
        let sent = jetstream
            .publish(subject.clone(), "not an entry of ours".into())
            .await
            .expect("NATS takes it");
        let sent = sent.await.expect("the stream keeps it");

        wait_until("the gateway reports that it refused an entry", || async {
            let gateways = session.live_gateways().await;
            let refused: u64 = gateways.iter().map(|it| it.report.refused_entries).sum();
            (refused > 0)
                .then_some(())
                .ok_or_else(|| format!("{gateways:?}"))
        })
        .await;
        chats_go_on(&stack).await;
        wait_until("the publisher has written over it", || async {
            let stream = jetstream
                .get_stream("SNAPSHOTS")
                .await
                .map_err(|error| error.to_string())?;
            let last = stream.get_last_raw_message_by_subject(&subject).await;
            let last = last.map_err(|error| error.to_string())?;
            (last.sequence > sent.sequence)
                .then_some(())
                .ok_or_else(|| format!("{last:?}"))
        })
        .await;
        wait_until("the gateway serves the same entries as before", || async {
            let now = session.live_gateways().await;
            let same = now.len() == before.len()
                && now.iter().zip(&before).all(|(now, before)| {
                    now.report.entries_digest == before.report.entries_digest
                        && !now.report.unproven
                });
            same.then_some(()).ok_or_else(|| format!("{now:?}"))
        })
        .await;
    });
}

/// A part that is down until this is dropped: its process was killed, and the supervisor stands still.
pub(crate) struct Down<'a> {
    stack: &'a Stack,
}

impl Stack {
    /// Kills a process and keeps the supervisor from starting it again. Processes of its own, such as those that serve a
    /// connection to Postgres each, notice that it is gone and end as well: that is waited for.
    pub(crate) fn without(&self, name: &str) -> Down<'_> {
        self.signal_supervisor(Signal::SIGSTOP);
        let children = children_of(self.pid(name));
        self.signal(name, Signal::SIGKILL);
        wait_for("what it had started has ended", || {
            // One that nobody has asked about yet has ended all the same.
            let runs = |pid: &i32| state_and_parent(*pid).is_some_and(|(state, _)| state != 'Z');
            (!children.iter().any(runs)).then_some(())
        });
        Down { stack: self }
    }
}

/// The processes that another one has started.
fn children_of(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("Linux has it");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| state_and_parent(*pid).is_some_and(|(_, of)| of == parent);
    pids.filter(is_child).collect()
}

/// A process's state and the process that has started it; `None`: it is gone.
fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`, where the name may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.stack.signal_supervisor(Signal::SIGCONT);
    }
}

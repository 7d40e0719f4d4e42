//! The audit trail holds every event once, and does not go on from another history.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config as StreamConfig;
use events_schema::actor::{Actor, System};
use events_schema::envelope::{Envelope, Epoch, EventRow, GENESIS};
use events_schema::events::Stream;
use events_schema::id::Id;
use events_schema::subjects;
use events_schema::time::Timestamp;
use projections::audit::{self, Config, Status};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::servers::{ClickHouse, Nats, eventually};

const ROWS: &str = "SELECT count() FROM admin_events";
const POSITIONS: &str = "SELECT uniqExact(position) FROM admin_events";

/// An audit worker inside the test; aborting it is like killing it.
struct Worker {
    task: JoinHandle<()>,
    stop: CancellationToken,
    status: Arc<Status>,
}

impl Worker {
    async fn start(nats: &Nats, clickhouse: &ClickHouse) -> Self {
        let status = Arc::new(Status::default());
        let config = Config {
            jetstream: nats.jetstream().await,
            warehouse: clickhouse.warehouse(),
            status: Arc::clone(&status),
        };
        let stop = CancellationToken::new();
        Self {
            task: tokio::spawn(audit::run(config, stop.clone())),
            stop,
            status,
        }
    }

    async fn kill(self) {
        self.task.abort();
        // An aborted task ends with an error, which says so.
        let _ = self.task.await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends in order");
    }
}

/// A log that is published as the relay does.
struct Log {
    jetstream: Context,
    position: u64,
    hash: [u8; 32],
}

impl Log {
    async fn new(nats: &Nats) -> Self {
        let jetstream = nats.jetstream().await;
        let config = StreamConfig {
            name: subjects::EVENTS.to_owned(),
            subjects: vec![subjects::EVENTS_SUBJECTS.to_owned()],
            ..StreamConfig::default()
        };
        jetstream
            .create_stream(config)
            .await
            .expect("EVENTS is made");
        Self {
            jetstream,
            position: 0,
            hash: GENESIS,
        }
    }

    async fn append(&mut self, count: u64, why: &str) {
        for _ in 0..count {
            let mut envelope = Envelope {
                position: self.position + 1,
                event_id: Id::from_uuid(Uuid::from_u128(u128::from(self.position))),
                stream: Stream::Log,
                stream_version: self.position + 1,
                kind: "log_initialised".to_owned(),
                schema_version: 1,
                recorded_at: Timestamp::MIN,
                actor: Actor::System(System::Init),
                cause: Id::from_uuid(Uuid::from_u128(2)),
                correlation: Uuid::from_u128(3),
                why: Some(why.to_owned()),
                payload: "{\"a\":1}".to_owned(),
                prev_hash: self.hash,
                hash: GENESIS,
            };
            envelope.hash = envelope.computed_hash();
            (self.position, self.hash) = (envelope.position, envelope.hash);
            let epoch = Epoch {
                seconds: 1,
                id: Uuid::from_u128(1),
            };
            let row = EventRow::new(epoch, envelope).expect("JSON").to_json();
            let sent = self
                .jetstream
                .publish("events.log", row.into())
                .await
                .expect("sent");
            assert_eq!(sent.await.expect("stored").sequence, self.position);
        }
    }
}

#[tokio::test]
async fn every_event_is_there_once_whenever_the_worker_is_killed() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    for round in 1..=4_u64 {
        let worker = Worker::start(&nats, &clickhouse).await;
        log.append(25, "because").await;
        if round.is_multiple_of(2) {
            clickhouse.becomes(ROWS, 25 * round).await;
        }
        worker.kill().await;
    }
    let worker = Worker::start(&nats, &clickhouse).await;
    clickhouse.becomes(POSITIONS, 100).await;
    clickhouse.becomes(ROWS, 100).await;
    clickhouse.becomes("SELECT max(position) FROM admin_events WHERE why = 'because' AND payload = '{\"a\":1}'", 100).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_log_that_has_forked_is_reported_and_not_followed() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    log.append(5, "first").await;
    let worker = Worker::start(&nats, &clickhouse).await;
    clickhouse.becomes(ROWS, 5).await;
    worker.kill().await;
    log.jetstream
        .delete_stream(subjects::EVENTS)
        .await
        .expect("deleted");
    let mut other = Log::new(&nats).await;
    other.append(3, "second").await;
    let worker = Worker::start(&nats, &clickhouse).await;
    let trouble = eventually("it waits", async || worker.status.trouble()).await;
    assert!(
        trouble.contains("before the audit trail's position 5"),
        "{trouble}"
    );
    other.append(4, "second").await;
    eventually("it sees the fork", async || {
        worker
            .status
            .trouble()
            .filter(|trouble| trouble.contains("forked"))
    })
    .await;
    assert_eq!(clickhouse.number(ROWS).await, Some(5));
    worker.stop().await;
}

#[tokio::test]
async fn of_two_workers_one_stands_by_and_takes_over_when_the_other_is_gone() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    let first = Worker::start(&nats, &clickhouse).await;
    log.append(5, "because").await;
    clickhouse.becomes(ROWS, 5).await;
    let second = Worker::start(&nats, &clickhouse).await;
    eventually("the second stands by", async || {
        second.status.standby.load(Ordering::Relaxed).then_some(())
    })
    .await;
    first.kill().await;
    log.append(5, "because").await;
    clickhouse.becomes(ROWS, 10).await;
    assert_eq!(clickhouse.number(POSITIONS).await, Some(10));
    second.stop().await;
}

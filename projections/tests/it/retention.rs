//! Requests and sums are kept for as long as the settings say, whatever was away or made anew meanwhile.

use async_nats::jetstream::{Context, stream::Config as StreamConfig};
use events_schema::{
    actor::{Actor, System},
    envelope::{Envelope, Epoch, EventRow, GENESIS},
    events::{Event, SettingsEvent, codec},
    id::Id,
    subjects,
    time::Timestamp,
};
use projections::{audit, retention};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ledger::Worker as Ledger;
use crate::servers::{ClickHouse, Nats, eventually};

const REQUESTS_KEPT: &str = "SELECT toUInt64(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) FROM system.tables \
    WHERE database = currentDatabase() AND name = 'requests'";
const SUMS_KEPT: &str = "SELECT toUInt64(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) FROM system.tables \
    WHERE database = currentDatabase() AND name = 'usage_1m'";
const OLD: &str = "SELECT count() FROM requests WHERE received_at < now() - INTERVAL 100 DAY";
const YOUNG: &str = "SELECT count() FROM requests WHERE received_at > now() - INTERVAL 10 DAY";

/// Audit trail and retention, working inside the test.
struct Workers {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    async fn start(nats: &Nats, clickhouse: &ClickHouse) -> Self {
        let stop = CancellationToken::new();
        let retention = config(nats, clickhouse).await;
        let audit = audit::Config {
            jetstream: nats.jetstream().await,
            warehouse: clickhouse.warehouse(),
            status: std::sync::Arc::default(),
        };
        let tasks = vec![
            tokio::spawn(audit::run(audit, stop.clone())),
            tokio::spawn(retention::run(retention, stop.clone())),
        ];
        Self { stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("it ends in order");
        }
    }
}

async fn config(nats: &Nats, clickhouse: &ClickHouse) -> retention::Config {
    retention::Config {
        jetstream: nats.jetstream().await,
        warehouse: clickhouse.warehouse(),
    }
}

/// A log of settings, published as the relay does.
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

    async fn keep(&mut self, requests_days: u32, sums_days: u32) {
        self.append(SettingsEvent::RetentionChanged {
            requests_days,
            sums_days,
        })
        .await;
    }

    async fn append(&mut self, event: SettingsEvent) {
        let event = Event::Settings(event);
        let encoded = codec::encode(&event);
        let mut envelope = Envelope {
            position: self.position + 1,
            event_id: Id::from_uuid(Uuid::from_u128(u128::from(self.position))),
            stream: event.stream(),
            stream_version: self.position + 1,
            kind: encoded.kind,
            schema_version: encoded.schema_version,
            recorded_at: Timestamp::MIN,
            actor: Actor::System(System::CommandLine),
            cause: Id::from_uuid(Uuid::from_u128(2)),
            correlation: Uuid::from_u128(3),
            why: None,
            payload: encoded.payload,
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
        let subject = subjects::events(event.stream().aggregate());
        let sent = self.jetstream.publish(subject, row.into()).await;
        let stored = sent.expect("sent").await;
        assert_eq!(stored.expect("stored").sequence, self.position);
    }
}

/// How long `USAGE` keeps its messages, in days.
async fn usage_days(nats: &Nats) -> Option<u64> {
    let stream = nats.jetstream().await.get_stream(subjects::USAGE).await;
    Some(stream.ok()?.cached_info().config.max_age.as_secs() / 86_400)
}

/// One request of today, and one of 200 days ago.
async fn two_requests(clickhouse: &ClickHouse) {
    for days in [0, 200] {
        let insert = format!(
            "INSERT INTO requests (request, received_at, owner) VALUES (generateUUIDv4(), now() - INTERVAL {days} DAY, 'o')"
        );
        clickhouse.execute(&insert).await;
    }
}

#[tokio::test]
async fn rows_are_kept_as_the_settings_say_and_what_is_older_goes() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    let name = Some("Acme".parse().expect("a name"));
    log.append(SettingsEvent::OrganisationRenamed { name })
        .await;
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let workers = Workers::start(&nats, &clickhouse).await;
    clickhouse.becomes(REQUESTS_KEPT, 400).await;
    clickhouse.becomes(SUMS_KEPT, 1_200).await;
    two_requests(&clickhouse).await;
    assert_eq!(clickhouse.number(OLD).await, Some(1));

    log.keep(30, 365).await;
    clickhouse.becomes(REQUESTS_KEPT, 30).await;
    clickhouse.becomes(SUMS_KEPT, 365).await;
    clickhouse.becomes(OLD, 0).await;
    assert_eq!(clickhouse.number(YOUNG).await, Some(1));
    clickhouse
        .becomes("SELECT sum(requests) FROM usage_1m", 2)
        .await;
    eventually("USAGE forgets before the ledger does", async || {
        (usage_days(&nats).await? == 23).then_some(())
    })
    .await;

    // For longer again: what there is stays.
    log.keep(800, 800).await;
    clickhouse.becomes(REQUESTS_KEPT, 800).await;
    clickhouse.becomes(SUMS_KEPT, 800).await;
    assert_eq!(clickhouse.number(YOUNG).await, Some(1));
    eventually("USAGE waits as long as it may", async || {
        (usage_days(&nats).await? == 90).then_some(())
    })
    .await;
    workers.stop().await;
    ledger.stop().await;
}

#[tokio::test]
async fn a_change_arrives_when_clickhouse_was_away_and_when_a_table_was_made_anew() {
    let (nats, mut clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    log.keep(100, 200).await;
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let workers = Workers::start(&nats, &clickhouse).await;
    clickhouse.becomes(REQUESTS_KEPT, 100).await;

    clickhouse.kill();
    log.keep(60, 120).await;
    clickhouse.resume();
    clickhouse.becomes(REQUESTS_KEPT, 60).await;
    clickhouse.becomes(SUMS_KEPT, 120).await;

    // As a rebuild of the rollup from before the change would leave it.
    clickhouse
        .execute("ALTER TABLE usage_1m MODIFY TTL minute + INTERVAL 1200 DAY")
        .await;
    clickhouse.becomes(SUMS_KEPT, 120).await;
    workers.stop().await;
    ledger.stop().await;
}

#[tokio::test]
async fn a_trail_that_is_being_filled_again_is_not_believed_before_its_end() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    for (requests, sums) in [(30, 365), (500, 600)] {
        log.keep(requests, sums).await;
    }
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let workers = Workers::start(&nats, &clickhouse).await;
    clickhouse.becomes(REQUESTS_KEPT, 500).await;
    two_requests(&clickhouse).await;
    workers.stop().await;

    // The trail as it is in the middle of being filled again: only what was valid once stands in it.
    clickhouse
        .execute("ALTER TABLE admin_events DELETE WHERE position > 1 SETTINGS mutations_sync = 1")
        .await;
    let (config, mut end) = (config(&nats, &clickhouse).await, None);
    for _ in 0..3 {
        let believed = retention::look(&config, &mut end).await;
        assert!(!believed.expect("all servers answer"));
    }
    assert_eq!(end, Some(2));
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(500));
    let workers = Workers::start(&nats, &clickhouse).await;
    clickhouse
        .becomes("SELECT uniqExact(position) FROM admin_events", 2)
        .await;
    let believed = retention::look(&config, &mut end).await;
    assert!(believed.expect("all servers answer"), "it is whole");
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(500));
    assert_eq!(clickhouse.number(OLD).await, Some(1), "nothing was deleted");
    workers.stop().await;
    ledger.stop().await;
}

//! Requests and sums are kept for as long as the settings say, whatever was away or made anew meanwhile.

use std::{fs, path::Path};

use async_nats::jetstream::{Context, stream::Config as StreamConfig};
use events_schema::{
    actor::{Actor, System},
    envelope::{Envelope, Epoch, EventRow, GENESIS},
    events::{Event, SettingsEvent, codec},
    id::Id,
    subjects,
    time::Timestamp,
};
use projections::{
    audit, clock,
    log_head::{Head, LogHead},
    rebuild,
    retention::{self, LookError},
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ledger::{REQUESTS, ROLLED, Worker as Ledger, publish};
use crate::servers::{ClickHouse, Nats, eventually, new_database};

const REQUESTS_KEPT: &str = "SELECT toUInt64(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) FROM system.tables \
    WHERE database = currentDatabase() AND name = 'requests'";
const SUMS_KEPT: &str = "SELECT toUInt64(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) FROM system.tables \
    WHERE database = currentDatabase() AND name = 'usage_1m'";
const OLD: &str = "SELECT count() FROM requests WHERE received_at < now() - INTERVAL 100 DAY";
const YOUNG: &str = "SELECT count() FROM requests WHERE received_at > now() - INTERVAL 10 DAY";

/// Audit trail and retention, working inside the test.
pub(crate) struct Workers {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    async fn start(nats: &Nats, clickhouse: &ClickHouse, log: &Log) -> Self {
        let mut workers = Self::start_audit(nats, clickhouse).await;
        let retention = config(nats, clickhouse, log).await;
        let retention = retention::run(retention, workers.stop.clone());
        workers.tasks.push(tokio::spawn(retention));
        workers
    }

    /// The audit trail alone: the test looks by itself.
    pub(crate) async fn start_audit(nats: &Nats, clickhouse: &ClickHouse) -> Self {
        let stop = CancellationToken::new();
        let audit = audit::Config {
            jetstream: nats.jetstream().await,
            warehouse: clickhouse.warehouse(),
            status: std::sync::Arc::default(),
        };
        let tasks = vec![tokio::spawn(audit::run(audit, stop.clone()))];
        Self { stop, tasks }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("it ends in order");
        }
    }
}

async fn config(nats: &Nats, clickhouse: &ClickHouse, log: &Log) -> retention::Config {
    retention::Config {
        jetstream: nats.jetstream().await,
        warehouse: clickhouse.warehouse(),
        log_head: LogHead::new(log.url.parse().expect("a URL")),
        now: clock::now,
    }
}

/// A log of settings, and what else tests append: its head in Postgres as `commands` keeps it, its events published as the relay
/// does.
pub(crate) struct Log {
    jetstream: Context,
    postgres: PgConnection,
    pub(crate) url: String,
    pub(crate) position: u64,
    pub(crate) hash: [u8; 32],
    /// What was published, to be published again.
    rows: Vec<(String, Vec<u8>)>,
}

impl Log {
    pub(crate) async fn new(nats: &Nats) -> Self {
        let url = new_database().await;
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../commands/migrations");
        let all = fs::read_to_string(migrations.join("0001_log.sql")).expect("the log's tables");
        let begin = all.find("CREATE TABLE log_head").expect("the table");
        let end = all.find("-- The truth.").expect("what comes next");
        let mut postgres = PgConnection::connect(&url).await.expect("it is there");
        let table = sqlx::AssertSqlSafe(all[begin..end].to_owned());
        postgres.execute(table).await.expect("a new table");
        let log = Self {
            jetstream: nats.jetstream().await,
            postgres,
            url,
            position: 0,
            hash: GENESIS,
            rows: Vec::new(),
        };
        log.make_events().await;
        log
    }

    /// Makes an empty `EVENTS`.
    async fn make_events(&self) {
        let config = StreamConfig {
            name: subjects::EVENTS.to_owned(),
            subjects: vec![subjects::EVENTS_SUBJECTS.to_owned()],
            ..StreamConfig::default()
        };
        let made = self.jetstream.create_stream(config).await;
        made.expect("EVENTS is made");
    }

    /// Loses `EVENTS`, and begins it again.
    async fn lose_events(&self) {
        let gone = self.jetstream.delete_stream(subjects::EVENTS).await;
        gone.expect("deleted");
        self.make_events().await;
    }

    /// Publishes the event at this position again.
    async fn relay_again(&self, position: u64) {
        let at = usize::try_from(position - 1).expect("few");
        let (subject, row) = self.rows[at].clone();
        let sent = self.jetstream.publish(subject, row.into()).await;
        let stored = sent.expect("sent").await;
        assert_eq!(stored.expect("stored").sequence, position);
    }

    /// Lets the log end there.
    pub(crate) async fn end_at(&mut self, position: u64, hash: [u8; 32]) {
        let update = sqlx::query("UPDATE log_head SET position = $1, hash = $2")
            .bind(i64::try_from(position).expect("few"))
            .bind(hash.as_slice());
        update.execute(&mut self.postgres).await.expect("updated");
    }

    async fn keep(&mut self, requests_days: u32, sums_days: u32) {
        self.append(SettingsEvent::RetentionChanged {
            requests_days,
            sums_days,
        })
        .await;
    }

    async fn append(&mut self, event: SettingsEvent) {
        self.append_event(Event::Settings(event)).await;
    }

    pub(crate) async fn append_event(&mut self, event: Event) {
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
        self.rows.push((subject, row));
        self.end_at(self.position, self.hash).await;
        self.relay_again(self.position).await;
    }
}

/// How long `USAGE` keeps its messages, in days.
async fn usage_days(nats: &Nats) -> Option<u64> {
    let stream = nats.jetstream().await.get_stream(subjects::USAGE).await;
    Some(stream.ok()?.cached_info().config.max_age.as_secs() / 86_400)
}

/// One request of today, and one of 200 days ago.
async fn two_requests(clickhouse: &ClickHouse) {
    // The last table is there, and so is the view that adds them up.
    clickhouse
        .becomes("SELECT count() FROM ledger_retention WHERE days = 1", 0)
        .await;
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
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    clickhouse.becomes(REQUESTS_KEPT, 400).await;
    clickhouse.becomes(SUMS_KEPT, 1_200).await;
    two_requests(&clickhouse).await;
    assert_eq!(clickhouse.number(OLD).await, Some(1));

    log.keep(30, 365).await;
    clickhouse.becomes(REQUESTS_KEPT, 30).await;
    clickhouse.becomes(SUMS_KEPT, 365).await;
    let of_corrections = |kept: &str, of: &str, table: &str| kept.replace(of, table);
    let kept = of_corrections(REQUESTS_KEPT, "'requests'", "'cost_corrections'");
    clickhouse.becomes(&kept, 30).await;
    let kept = of_corrections(SUMS_KEPT, "'usage_1m'", "'cost_corrections_1m'");
    clickhouse.becomes(&kept, 365).await;
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
    let workers = Workers::start(&nats, &clickhouse, &log).await;
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
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    clickhouse.becomes(REQUESTS_KEPT, 500).await;
    two_requests(&clickhouse).await;
    workers.stop().await;

    // The trail as it is in the middle of being filled again: only what was valid once stands in it.
    clickhouse
        .execute("ALTER TABLE admin_events DELETE WHERE position > 1 SETTINGS mutations_sync = 1")
        .await;
    let (config, mut before) = (config(&nats, &clickhouse, &log).await, None);
    is_not_believed(&config, &mut before).await;
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(500));
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    clickhouse
        .becomes("SELECT uniqExact(position) FROM admin_events", 2)
        .await;
    let believed = retention::look(&config, &mut before).await;
    assert!(believed.expect("all servers answer"), "it is whole");
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(500));
    assert_eq!(clickhouse.number(OLD).await, Some(1), "nothing was deleted");
    workers.stop().await;
    ledger.stop().await;
}

/// Several looks do not believe the trail.
async fn is_not_believed(config: &retention::Config, before: &mut Option<Head>) {
    for _ in 0..3 {
        let believed = retention::look(config, before).await;
        assert!(!believed.expect("all servers answer"));
    }
}

#[tokio::test]
async fn a_trail_that_is_filled_again_together_with_events_is_not_believed_before_the_logs_end() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    log.keep(30, 365).await;
    log.keep(3_650, 3_650).await;
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    clickhouse.becomes(REQUESTS_KEPT, 3_650).await;
    two_requests(&clickhouse).await;
    workers.stop().await;

    // NATS and the trail were lost; the relay begins, and the trail keeps pace with it.
    log.lose_events().await;
    clickhouse.execute("TRUNCATE TABLE admin_events").await;
    let (config, mut before) = (config(&nats, &clickhouse, &log).await, None);
    is_not_believed(&config, &mut before).await;
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    log.relay_again(1).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 1)
        .await;
    is_not_believed(&config, &mut before).await;
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(3_650));
    log.relay_again(2).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 2)
        .await;
    let believed = retention::look(&config, &mut before).await;
    assert!(believed.expect("all servers answer"), "it is whole");
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(3_650));
    assert_eq!(clickhouse.number(OLD).await, Some(1), "nothing was deleted");
    workers.stop().await;
    ledger.stop().await;
}

#[tokio::test]
async fn a_trail_of_another_log_is_not_believed() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    log.keep(500, 600).await;
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    clickhouse.becomes(REQUESTS_KEPT, 500).await;
    workers.stop().await;
    let first = log.hash;
    // What was decided last is lost with Postgres' tail; the trail has it.
    log.keep(30, 365).await;
    let audit = Workers::start_audit(&nats, &clickhouse).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 2)
        .await;
    let config = config(&nats, &clickhouse, &log).await;
    for (position, hash, what) in [
        (0, GENESIS, "an empty log"),
        (1, first, "shorter than the trail"),
        (2, [7; 32], "forked"),
        (3, [7; 32], "forked, and longer"),
    ] {
        log.end_at(position, hash).await;
        let mut before = None;
        is_not_believed(&config, &mut before).await;
        assert_eq!(before.map(|it| it.position), Some(position), "{what}");
        assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(500), "{what}");
    }
    // It was the trail's own log after all.
    log.end_at(2, log.hash).await;
    let believed = retention::look(&config, &mut None).await;
    assert!(believed.expect("all servers answer"));
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(30));
    audit.stop().await;
    ledger.stop().await;
}

#[tokio::test]
async fn a_trail_that_holds_where_the_log_ended_before_is_believed_so_far() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    log.keep(500, 600).await;
    let audit = Workers::start_audit(&nats, &clickhouse).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 1)
        .await;
    let (config, mut before) = (config(&nats, &clickhouse, &log).await, None);
    let believed = retention::look(&config, &mut before).await;
    assert!(believed.expect("all servers answer"));
    // The log goes on all the time, and the trail comes after it.
    clickhouse
        .execute("ALTER TABLE requests MODIFY TTL toDateTime(received_at) + INTERVAL 900 DAY")
        .await;
    log.end_at(2, [7; 32]).await;
    let believed = retention::look(&config, &mut before).await;
    assert!(believed.expect("all servers answer"));
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(500));
    let believed = retention::look(&config, &mut before).await;
    assert!(!believed.expect("all servers answer"), "it does not come");
    audit.stop().await;
}

#[tokio::test]
async fn nothing_is_changed_for_lack_of_a_decision_or_of_postgres() {
    const FOREVER: &str =
        "ALTER TABLE requests MODIFY TTL toDateTime(received_at) + INTERVAL 3650 DAY";
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    let name = Some("Acme".parse().expect("a name"));
    log.append(SettingsEvent::OrganisationRenamed { name })
        .await;
    let audit = Workers::start_audit(&nats, &clickhouse).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 1)
        .await;
    clickhouse.execute(FOREVER).await;
    let mut config = config(&nats, &clickhouse, &log).await;
    let believed = retention::look(&config, &mut None).await;
    assert!(believed.expect("all servers answer"));
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(3_650));

    log.keep(30, 365).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 2)
        .await;
    let there = config.log_head;
    let nobody = "postgres://nobody@127.0.0.1:1/none";
    config.log_head = LogHead::new(nobody.parse().expect("a URL"));
    let mut before = None;
    let refused = retention::look(&config, &mut before).await;
    assert!(matches!(refused, Err(LookError::LogHead(_))), "{refused:?}");
    assert_eq!(before, None);
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(3_650));
    config.log_head = there;
    let believed = retention::look(&config, &mut before).await;
    assert!(believed.expect("all servers answer"));
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(30));
    audit.stop().await;
}

#[tokio::test]
async fn usage_keeps_what_the_ledger_has_not_read() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    log.keep(14, 365).await;
    let audit = Workers::start_audit(&nats, &clickhouse).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 1)
        .await;
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let jetstream = nats.jetstream().await;
    publish(&jetstream, 1, 1..4).await;
    clickhouse.becomes(REQUESTS, 3).await;
    // ClickHouse's part stops here, and two hours go by.
    ledger.stop().await;
    publish(&jetstream, 1, 4..6).await;
    let mut config = config(&nats, &clickhouse, &log).await;
    config.now = in_two_hours;
    let unread = retention::look(&config, &mut None).await;
    assert!(matches!(unread, Err(LookError::Unread)), "{unread:?}");
    assert_eq!(clickhouse.number(REQUESTS_KEPT).await, Some(14));
    assert_eq!(usage_days(&nats).await, Some(90));

    // It keeps pace again: what waits is of this moment.
    config.now = clock::now;
    let believed = retention::look(&config, &mut None).await;
    assert!(believed.expect("all servers answer"));
    assert_eq!(usage_days(&nats).await, Some(7));

    // For longer it is at once, whatever waits.
    config.now = in_two_hours;
    log.keep(60, 365).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 2)
        .await;
    let believed = retention::look(&config, &mut None).await;
    assert!(believed.expect("all servers answer"));
    assert_eq!(usage_days(&nats).await, Some(53));

    // All is read.
    log.keep(14, 365).await;
    clickhouse
        .becomes("SELECT count() FROM admin_events", 3)
        .await;
    let ledger = Ledger::start(&nats, &clickhouse, 2).await;
    clickhouse.becomes(REQUESTS, 5).await;
    eventually("nothing waits", async || {
        retention::look(&config, &mut None).await.ok()
    })
    .await;
    assert_eq!(usage_days(&nats).await, Some(7));
    ledger.stop().await;
    audit.stop().await;
}

#[tokio::test]
async fn sums_outlive_their_requests_in_a_rebuild_however_late_retention_was_changed() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut log = Log::new(&nats).await;
    let ledger = Ledger::start(&nats, &clickhouse, 1).await;
    let workers = Workers::start(&nats, &clickhouse, &log).await;
    clickhouse.becomes(REQUESTS_KEPT, 400).await;
    two_requests(&clickhouse).await;
    log.keep(30, 3_650).await;
    clickhouse.becomes(REQUESTS_KEPT, 30).await;
    clickhouse.becomes(OLD, 0).await;
    // The event is of long ago, the change of now.
    log.keep(800, 3_650).await;
    clickhouse.becomes(REQUESTS_KEPT, 800).await;
    clickhouse.becomes(SUMS_KEPT, 3_650).await;
    // A record that comes late makes requests begin before what was deleted.
    clickhouse
        .execute(
            "INSERT INTO requests (request, received_at, owner) VALUES (generateUUIDv4(), now() - INTERVAL 201 DAY, 'o')",
        )
        .await;
    clickhouse.becomes(ROLLED, 3).await;
    let (jetstream, warehouse) = (nats.jetstream().await, clickhouse.warehouse());
    let stop = CancellationToken::new();
    let rebuilt = rebuild::ledger::rebuild(&jetstream, &warehouse, &stop, &|_| {}).await;
    assert_eq!(rebuilt.expect("it is rebuilt").differed, 0);
    assert_eq!(clickhouse.number(ROLLED).await, Some(3));
    workers.stop().await;
    ledger.stop().await;
}

fn in_two_hours() -> Timestamp {
    let micros = clock::now().micros() + 2 * 3_600 * 1_000_000;
    Timestamp::from_micros(micros).expect("in range")
}

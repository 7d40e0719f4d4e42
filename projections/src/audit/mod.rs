//! The audit trail: every event of the log as a row of `admin_events`, once, in order.
//!
//! The position to go on from is the highest in ClickHouse. Before anything is added, the event there
//! must be the one on `EVENTS`: a trail that has forked is reported, and never continued silently.
//!
//! Any number of workers may run: one works, the others stand by. Should two work at once all the
//! same, a position may be written twice until ClickHouse merges the two rows, which are alike.

mod row;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use events_schema::envelope::{ChainError, EventRow, InvalidRow};
use events_schema::subjects;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::row::AuditRow;
pub(crate) use self::row::Head;
use crate::feed::{Feed, FeedError, Limits, Turn, acknowledge, sequence, stand_by};
use crate::status::{Metrics, Part};
use crate::warehouse::{Warehouse, WarehouseError, within};

/// The consumer's name on `EVENTS`.
pub(crate) const CONSUMER: &str = "audit";
/// Where the trail is.
const TABLE: &str = "admin_events";
/// A batch: changes by people arrive one by one, an import by the thousand.
const LIMITS: Limits = Limits {
    messages: 2_000,
    bytes: 8 << 20,
    wait: Duration::from_millis(100),
};
/// Between a session that failed and the next.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What the worker works with.
pub struct Config {
    /// JetStream.
    pub jetstream: Context,
    /// ClickHouse.
    pub warehouse: Warehouse,
    /// Where the worker counts.
    pub status: Arc<Status>,
}

/// How far the audit trail is.
#[derive(Debug, Default)]
pub struct Status {
    /// The last position in ClickHouse.
    pub position: AtomicU64,
    /// Whether another worker is at work.
    pub standby: AtomicBool,
    /// Whether anything is known yet: whether it works, waits or stands by.
    begun: AtomicBool,
    trouble: Mutex<Option<String>>,
}

// === impl Status ===

impl Status {
    /// What keeps the worker from working, if something does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Another worker is at work, and nothing is in the way.
    fn stand_by(&self) {
        self.standby.store(true, Ordering::Relaxed);
        self.set_trouble(None);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        self.begun.store(true, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The worker on the status page.
pub struct AuditPart(pub Arc<Status>);

impl Part for AuditPart {
    fn name(&self) -> &'static str {
        "audit trail"
    }

    fn ready(&self) -> Result<(), String> {
        if !self.0.begun.load(Ordering::Relaxed) {
            return Err("begins".to_owned());
        }
        self.0.trouble().map_or(Ok(()), Err)
    }

    fn metrics(&self, out: &mut Metrics) {
        let position = self.0.position.load(Ordering::Relaxed);
        out.gauge(
            "sluice_audit_position",
            "The position of the history in the audit trail.",
            position,
        );
        out.gauge(
            "sluice_audit_standby",
            "1 while another worker is at work.",
            u64::from(self.0.standby.load(Ordering::Relaxed)),
        );
        out.gauge(
            "sluice_audit_working",
            "0 while something is in the way.",
            u64::from(self.ready().is_ok()),
        );
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(
        "EVENTS ends at {end}, before the audit trail's position {position}: waiting for the relay"
    )]
    Shorter { end: u64, position: u64 },
    #[error("the audit trail and EVENTS differ at position {position}: the log has forked")]
    Forked { position: u64 },
    #[error("the message at sequence {sequence} of EVENTS is no event")]
    Unreadable {
        sequence: u64,
        #[source]
        source: InvalidRow,
    },
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("another audit worker has moved the trail to position {position}")]
    Another { position: u64 },
}

/// Works until `stop`.
pub async fn run(config: Config, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Err(error) = session(&config, &stop).await else {
            return;
        };
        let trouble = crate::feed::chain(&error);
        if config.status.trouble().as_deref() != Some(&trouble) {
            tracing::warn!(error = trouble, "the audit trail waits");
        }
        config.status.set_trouble(Some(trouble));
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(RETRY_PAUSE) => {}
        }
    }
}

async fn session(config: &Config, stop: &CancellationToken) -> Result<(), SessionError> {
    config.warehouse.migrate().await?;
    let stream = config
        .jetstream
        .get_stream(subjects::EVENTS)
        .await
        .map_err(FeedError::of("asking for the stream EVENTS"))?;
    let turn = stand_by(&stream, CONSUMER, stop, || config.status.stand_by()).await?;
    if turn == Turn::Stop {
        return Ok(());
    }
    config.status.standby.store(false, Ordering::Relaxed);
    let mut head = read_head(&config.warehouse, TABLE).await?;
    check_same(&stream, &head).await?;
    config
        .status
        .position
        .store(head.position, Ordering::Relaxed);
    let mut feed = Feed::open(
        &stream,
        subjects::EVENTS_SUBJECTS,
        CONSUMER,
        head.position + 1,
    )
    .await?;
    if config.status.trouble().is_some() {
        tracing::info!(position = head.position, "the audit trail goes on");
    }
    config.status.set_trouble(None);
    while let Some(messages) = feed.gather(LIMITS, stop).await? {
        let found = read_head(&config.warehouse, TABLE).await?;
        if found != head {
            let position = found.position;
            return Err(SessionError::Another { position });
        }
        head = append(&config.warehouse, TABLE, &messages, &head).await?;
        config
            .status
            .position
            .store(head.position, Ordering::Relaxed);
        if let Some(last) = messages.last() {
            acknowledge(last).await?;
        }
    }
    Ok(())
}

/// Where the trail in this table ends.
pub(crate) async fn read_head(warehouse: &Warehouse, table: &str) -> Result<Head, WarehouseError> {
    let sql = format!("SELECT ?fields FROM {table} ORDER BY position DESC LIMIT 1");
    let head = within(
        "reading the audit trail's end",
        warehouse.client().query(&sql).fetch_optional(),
    )
    .await?;
    Ok(head.unwrap_or_else(Head::genesis))
}

/// Up to which position the trail has come.
pub(crate) async fn position(warehouse: &Warehouse) -> Result<u64, WarehouseError> {
    read_head(warehouse, TABLE).await.map(|head| head.position)
}

/// Whether the event at this position of the trail has this hash, in hexadecimal digits; `false` where there is none. A row
/// may stand twice until ClickHouse merges the two: both must.
pub(crate) async fn holds(
    warehouse: &Warehouse,
    position: u64,
    hash: &str,
) -> Result<bool, WarehouseError> {
    let sql = format!("SELECT DISTINCT hash FROM {TABLE} WHERE position = {{position:UInt64}}");
    let query = warehouse.client().query(&sql).param("position", position);
    let doing = "comparing the audit trail with the log";
    let there: Vec<String> = within(doing, query.fetch_all()).await?;
    Ok(there == [hash])
}

/// The event that the trail ends with must be on `EVENTS`.
async fn check_same(stream: &Stream, head: &Head) -> Result<(), SessionError> {
    let position = head.position;
    if position == 0 {
        return Ok(());
    }
    let info = stream
        .get_info()
        .await
        .map_err(FeedError::of("asking for the stream EVENTS"))?;
    let end = info.state.last_sequence;
    if end < position {
        return Err(SessionError::Shorter { end, position });
    }
    let raw = stream
        .get_raw_message(position)
        .await
        .map_err(FeedError::of("reading an event"))?;
    let (_, envelope) =
        EventRow::parse(&raw.payload).map_err(|source| SessionError::Unreadable {
            sequence: position,
            source,
        })?;
    if hex::encode(envelope.hash) == head.hash {
        Ok(())
    } else {
        Err(SessionError::Forked { position })
    }
}

/// Adds events to a table and returns its new end.
pub(crate) async fn append(
    warehouse: &Warehouse,
    table: &str,
    messages: &[Message],
    head: &Head,
) -> Result<Head, SessionError> {
    let mut rows = Vec::with_capacity(messages.len());
    let mut position = head.position;
    let mut hash = head.hash_bytes();
    for message in messages {
        let sequence = sequence(message)?;
        let (epoch, envelope) = EventRow::parse(&message.payload)
            .map_err(|source| SessionError::Unreadable { sequence, source })?;
        envelope.check_follows(position, &hash)?;
        position = envelope.position;
        hash = envelope.hash;
        rows.push(AuditRow::new(epoch, envelope));
    }
    let token = format!("{}-{position}:{}", head.position + 1, hex::encode(hash));
    let client = warehouse
        .client()
        .clone()
        .with_setting("insert_deduplicate", "1")
        .with_setting("insert_deduplication_token", token);
    within("inserting events", async {
        let mut insert = client.insert::<AuditRow>(table).await?;
        for row in &rows {
            insert.write(row).await?;
        }
        insert.end().await
    })
    .await?;
    Ok(Head {
        position,
        hash: hex::encode(hash),
    })
}

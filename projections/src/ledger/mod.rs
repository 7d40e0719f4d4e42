//! The ledger worker: request records from `USAGE` into ClickHouse, each counted once.
//!
//! A batch is a run of messages. Its range and content hash are written to `ledger_batches` before it
//! is inserted; after a crash that very batch comes first, with the same deduplication token, so it
//! counts once in `requests` and in the rollup whatever had been done of it. Across batches, a
//! record's number in its gateway's incarnation decides whether it was counted before.
//!
//! While one batch is written the next one is read: what it holds needs nothing of what ClickHouse answers. Its place is claimed only
//! when the one before it is in the tables, so that no more than one can ever be in doubt.
//!
//! Any number of workers may run: one works, the others stand by. Should two work at once all the
//! same, they cannot both claim a batch's place, and the one that came second begins again.
//!
//! Whatever fails ends the session; the next one begins with what ClickHouse knows. So while
//! ClickHouse is down, records wait in `USAGE`.

mod batch;
pub(crate) mod pass;
mod row;
mod status;
mod store;
mod streams;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use events_schema::{subjects, time::Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::batch::{Batch, Marks, Message, content_hash};
use self::status::add;
use self::store::{Intent, Store};
use crate::feed::{Feed, FeedError, Limits, Turn, acknowledge, chain, sequence, stand_by};
use crate::warehouse::{Warehouse, WarehouseError};

pub(crate) use self::row::{as_pair, budget_text};
pub use self::status::{LedgerPart, Status};
pub(crate) use self::streams::{UsageKept, keep_usage_for};

/// The consumer's name on `USAGE`.
pub(crate) const CONSUMER: &str = "ledger";
/// A batch: records are in the dashboard within a quarter of a second, and a busy hour makes a few
/// thousand parts, not a hundred thousand.
const LIMITS: Limits = Limits {
    messages: 512,
    bytes: 16 << 20,
    wait: Duration::from_millis(250),
};
/// Between a session that failed and the next.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The space of `USAGE` on the server's disk: a day of 1,000 requests a second.
pub const USAGE_BYTES: i64 = 8 << 30;

/// What the worker works with.
pub struct Config {
    /// JetStream.
    pub jetstream: Context,
    /// ClickHouse.
    pub warehouse: Warehouse,
    /// The bound of `USAGE` when it is made, in bytes: [`USAGE_BYTES`].
    pub usage_bytes: i64,
    /// How many servers of a cluster keep it.
    pub replicas: usize,
    /// Reads the clock.
    pub now: fn() -> Timestamp,
    /// This process, at random.
    pub worker: Uuid,
    /// Where the worker counts.
    pub status: Arc<Status>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("another ledger worker has claimed batch {ordinal}")]
    Another { ordinal: u64 },
}

/// Works until `stop`.
pub async fn run(config: Config, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let ended = work(&config, &stop).await;
        match ended {
            Ok(()) => return,
            Err(error @ SessionError::Another { .. }) => {
                tracing::info!(
                    error = chain(&error),
                    "the ledger leaves the work to another"
                );
            }
            Err(error @ (SessionError::Warehouse(_) | SessionError::Feed(_))) => {
                let trouble = chain(&error);
                if config.status.trouble().as_deref() != Some(&trouble) {
                    tracing::warn!(error = trouble, "the ledger waits");
                }
                config.status.set_trouble(Some(trouble));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(RETRY_PAUSE) => {}
        }
    }
}

/// What is read of `USAGE`, from a known state on.
struct Reader {
    feed: Feed,
    marks: Marks,
}

/// A run of messages, and what it holds.
struct Run {
    /// To acknowledge all of them.
    last: async_nats::jetstream::Message,
    messages: Vec<Message>,
    hash: String,
    batch: Batch,
}

/// What is written to ClickHouse, from a known state to the first failure.
struct Writer<'c> {
    config: &'c Config,
    store: Store,
    newest: Option<Intent>,
}

/// Works from what ClickHouse knows to the first failure, or until `stop`.
async fn work(config: &Config, stop: &CancellationToken) -> Result<(), SessionError> {
    let store = Store::new(config.warehouse.clone());
    store.prepare().await?;
    let stream = streams::ensure(config).await?;
    let turn = stand_by(&stream, CONSUMER, stop, || config.status.stand_by()).await?;
    if turn == Turn::Stop {
        return Ok(());
    }
    config.status.standby.store(false, Ordering::Relaxed);
    let newest = store.newest_intent().await?;
    let before = newest.as_ref().map_or(u64::MAX, |intent| intent.ordinal);
    let marks = store.marks(before).await?;
    let mut writer = Writer {
        config,
        store,
        newest,
    };
    let (start, marks) = writer.replay(&stream, marks).await?;
    let feed = Feed::open(&stream, subjects::USAGE_SUBJECTS, CONSUMER, start).await?;
    if config.status.trouble().is_some() {
        tracing::info!(start, "the ledger goes on");
    }
    config.status.set_trouble(None);
    let mut reader = Reader { feed, marks };
    let mut run = reader.read(stop).await?;
    while let Some(read) = run {
        ((), run) = tokio::try_join!(writer.add(read), reader.read(stop))?;
    }
    Ok(())
}

// === impl Reader ===

impl Reader {
    /// Waits for the next run of messages, and reads what they hold. `None` when it is time to stop.
    async fn read(&mut self, stop: &CancellationToken) -> Result<Option<Run>, SessionError> {
        let Some(gathered) = self.feed.gather(LIMITS, stop).await? else {
            return Ok(None);
        };
        let mut messages = Vec::with_capacity(gathered.len());
        for message in &gathered {
            messages.push(Message {
                sequence: sequence(message)?,
                subject: message.subject.to_string(),
                payload: message.payload.clone(),
            });
        }
        let mut marks = std::mem::take(&mut self.marks);
        let reading = tokio::task::spawn_blocking(move || {
            let hash = content_hash(&messages);
            let batch = marks.take(&messages);
            (marks, messages, hash, batch)
        });
        let (marks, messages, hash, batch) =
            reading.await.expect("reading messages does not panic");
        self.marks = marks;
        let last = gathered.into_iter().next_back();
        Ok(last.map(|last| Run {
            last,
            messages,
            hash,
            batch,
        }))
    }
}

// === impl Writer ===

impl Writer<'_> {
    /// Inserts the newest batch again, after which `marks` are those of the ones before it: whatever was done of it counts once.
    /// Returns where to go on, and with which marks.
    async fn replay(
        &self,
        stream: &Stream,
        mut marks: Marks,
    ) -> Result<(u64, Marks), SessionError> {
        let Some(intent) = self.newest.clone() else {
            return Ok((1, marks));
        };
        let messages =
            streams::read_range(stream, intent.first_sequence, intent.last_sequence).await?;
        if content_hash(&messages) == intent.hash {
            let batch = marks.take(&messages);
            self.insert(&intent, &messages, batch).await?;
            add(&self.config.status.replayed, 1_u64);
            return Ok((intent.last_sequence + 1, marks));
        }
        // `USAGE` lost its tail, was made anew, or has dropped the batch for want of space. What is new in it
        // may stand anywhere, so all of it is read; the marks tell what was counted already.
        let mended = self.store.mend(&intent).await?;
        tracing::warn!(
            batch = intent.token(),
            mended_minutes = mended,
            "USAGE no longer holds the newest batch: it is read from its beginning"
        );
        Ok((1, self.store.marks(u64::MAX).await?))
    }

    /// Writes a batch's identity, inserts it, and acknowledges it.
    async fn add(&mut self, run: Run) -> Result<(), SessionError> {
        let Run {
            last,
            messages,
            hash,
            batch,
        } = run;
        let (Some(first), Some(end)) = (messages.first(), messages.last()) else {
            return Ok(());
        };
        let intent = Intent {
            ordinal: self.newest.as_ref().map_or(1, |newest| newest.ordinal + 1),
            first_sequence: first.sequence,
            last_sequence: end.sequence,
            hash,
            worker: self.config.worker.as_u64_pair(),
        };
        let claimed = self.store.claim(&intent).await?;
        if claimed.as_ref() != Some(&intent) {
            let ordinal = claimed.map_or(intent.ordinal, |other| other.ordinal);
            return Err(SessionError::Another { ordinal });
        }
        self.newest = claimed;
        self.insert(&intent, &messages, batch).await?;
        Ok(acknowledge(&last).await?)
    }

    async fn insert(
        &self,
        intent: &Intent,
        messages: &[Message],
        mut batch: Batch,
    ) -> Result<(), SessionError> {
        for row in &mut batch.rows {
            row.ledger_batch = intent.ordinal;
        }
        self.store.insert(intent, &batch).await?;
        for poison in &batch.poison {
            if let Some(message) = messages
                .iter()
                .find(|message| message.sequence == poison.sequence)
            {
                streams::bury(&self.config.jetstream, message, &poison.reason).await?;
            }
            tracing::warn!(
                sequence = poison.sequence,
                reason = poison.reason,
                "a message of USAGE is no batch of records"
            );
        }
        for gap in &batch.gaps {
            let (gateway, records) = (gap.gateway, gap.records());
            tracing::warn!(%gateway, records, first = gap.first_number, "records of a gateway never came");
            add(&self.config.status.lost, records);
        }
        let status = &self.config.status;
        add(&status.rows, batch.rows.len());
        add(&status.batches, 1_u64);
        add(&status.repeated, batch.repeated);
        add(&status.dead, batch.poison.len());
        status
            .last_sequence
            .store(intent.last_sequence, Ordering::Relaxed);
        Ok(())
    }
}

//! Keeps what the ledger counts for as long as the organisation's settings say, in ClickHouse and in `USAGE`.
//!
//! What the settings say is read from the audit trail, and compared with what the tables do, again and again: so a change
//! arrives also where ClickHouse was away, or where a table was made anew. Any number of processes may do that.
//!
//! A trail is believed only when it holds the head of the log itself (see [`crate::trail`]): what is deleted for another does not
//! come back. Where nothing was ever decided, tables stay as they are.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use events_schema::{state::Retention, time::Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::feed::{FeedError, chain};
use crate::ledger::{self, UsageKept};
use crate::log_head::{Head, LogHead, LogHeadError};
use crate::trail::{self, TrailError};
use crate::warehouse::{Kept, RetentionError, Warehouse, WarehouseError};

/// How often tables and settings are compared: some small questions to ClickHouse, and one to Postgres.
const LOOK: Duration = Duration::from_secs(2);

/// What the worker works with.
pub struct Config {
    /// JetStream.
    pub jetstream: Context,
    /// ClickHouse.
    pub warehouse: Warehouse,
    /// Postgres.
    pub log_head: LogHead,
    /// Reads the clock.
    pub now: fn() -> Timestamp,
}

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// What the settings say cannot be read.
    #[error(transparent)]
    Settings(#[from] RetentionError),
    /// ClickHouse did not do its part.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// Postgres did not say where the log ends.
    #[error("reading where the log ends")]
    LogHead(#[from] LogHeadError),
    /// NATS did not do its part.
    #[error("{0}")]
    Feed(String),
    /// `USAGE` holds what the ledger has not read.
    #[error("USAGE keeps its messages for longer until the ledger has read what waits")]
    Unread,
}

impl From<TrailError> for LookError {
    fn from(error: TrailError) -> Self {
        match error {
            TrailError::Warehouse(error) => Self::Warehouse(error),
            TrailError::LogHead(error) => Self::LogHead(error),
        }
    }
}

impl From<FeedError> for LookError {
    fn from(error: FeedError) -> Self {
        Self::Feed(chain(&error))
    }
}

/// Works until `stop`.
pub async fn run(config: Config, stop: CancellationToken) {
    let (mut before, mut trouble) = (None, None);
    while !stop.is_cancelled() {
        match look(&config, &mut before).await {
            Ok(_) => trouble = None,
            Err(error) => {
                let said = chain(&error);
                if trouble.as_ref() != Some(&said) {
                    tracing::warn!(
                        error = said,
                        "how long the ledger is kept could not be seen to"
                    );
                }
                trouble = Some(said);
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// One comparison. `before`: where the log ended at the one before; at a busy moment the trail has come so far and no
/// further. Returns whether the trail could be believed, and so whether tables and `USAGE` are now as the settings say
/// (`USAGE` may take longer, see [`crate::ledger`]).
///
/// # Errors
/// See [`LookError`]; what was not changed is changed at the next one.
pub async fn look(config: &Config, before: &mut Option<Head>) -> Result<bool, LookError> {
    if before.is_none() {
        // This may come before there are tables.
        config.warehouse.migrate().await?;
    }
    let believed = trail::believed(&config.warehouse, &config.log_head, before).await?;
    if let Some(end) = believed {
        settle(config, end).await?;
    }
    Ok(believed.is_some())
}

/// Lets tables and `USAGE` keep what they hold as was decided last, up to the position `end`.
async fn settle(config: &Config, end: u64) -> Result<(), LookError> {
    let Some(retention) = config.warehouse.retention_decided(end).await? else {
        return Ok(());
    };
    let Retention {
        requests_days,
        sums_days,
    } = retention;
    let now = (config.now)();
    for table in config.warehouse.keep_for(retention, now).await? {
        tracing::info!(
            table,
            requests_days,
            sums_days,
            "rows are kept for another time"
        );
    }
    match ledger::keep_usage_for(&config.jetstream, requests_days, now).await? {
        UsageKept::AsAsked => Ok(()),
        UsageKept::Longer => Err(LookError::Unread),
    }
}

/// Whether the answer was that there is no such stream.
pub(crate) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    const NO_SUCH_STREAM: async_nats::jetstream::ErrorCode =
        async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND;
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == NO_SUCH_STREAM)
}

/// The second from which on requests are whole: see [`events_schema::ledger::whole_since`].
pub(crate) fn whole_since(kept: &[Kept]) -> u32 {
    let kept = kept.iter().map(|it| events_schema::ledger::Kept {
        days: it.days,
        until: it.until,
    });
    events_schema::ledger::whole_since(kept)
}

//! Keeps what the ledger counts for as long as the organisation's settings say, in ClickHouse and in `USAGE`.
//!
//! What the settings say is read from the audit trail, and compared with what the tables do, again and again: so a change
//! arrives also where ClickHouse was away, or where a table was made anew. Any number of processes may do that.
//!
//! A trail is believed only when it holds the head of the log itself, as Postgres says it, and no further than that. One
//! that is being filled again passes through what was valid once; one that is longer than the log, or has forked, tells of
//! decisions that nobody took; and what is deleted for either does not come back. Where nothing was ever decided, tables
//! stay as they are.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use events_schema::{state::Retention, time::Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::feed::{FeedError, chain};
use crate::ledger::{self, UsageKept};
use crate::log_head::{Head, LogHead, LogHeadError};
use crate::warehouse::{Kept, RetentionError, Warehouse, WarehouseError};

/// How often tables and settings are compared: some small questions to ClickHouse, and one to Postgres.
const LOOK: Duration = Duration::from_secs(2);

/// A day, in seconds.
const DAY: i64 = 24 * 3_600;

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
    let warehouse = &config.warehouse;
    let before_that = before.take();
    if before_that.is_none() {
        // This may come before there are tables.
        warehouse.migrate().await?;
    }
    // The trail first: it follows the log, so it cannot be longer.
    let end = audit::position(warehouse).await?;
    let now = config.log_head.read().await?;
    *before = Some(now.clone());
    if end > now.position {
        return Ok(false);
    }
    for head in [Some(now), before_that].into_iter().flatten() {
        if audit::holds(warehouse, head.position, &head.hash).await? {
            settle(config, head.position).await?;
            return Ok(true);
        }
    }
    Ok(false)
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

/// The second from which on requests are whole: none of them was deleted for its age, for however long they were `kept`
/// until now. A request that was past its time at any time may be gone or not, in whatever order its part was merged; the
/// last two days before that are left out, since a change takes its time, and two clocks are never quite the same.
pub(crate) fn whole_since(kept: &[Kept]) -> u32 {
    let edges = kept
        .iter()
        .map(|Kept { days, until }| until / 1_000_000 - i64::from(*days) * DAY);
    let edge = edges.max().unwrap_or_default() + 2 * DAY;
    u32::try_from(edge - edge.rem_euclid(DAY)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kept: &[(i64, u32)], expected: i64) {
        let kept: Vec<_> = kept
            .iter()
            .map(|(until, days)| Kept {
                days: *days,
                until: (20_000 + until) * DAY * 1_000_000,
            })
            .collect();
        let since = i64::from(whole_since(&kept));
        assert_eq!(since / DAY - 20_000, expected, "{kept:?}");
        assert_eq!(since % DAY, 0);
    }

    #[test]
    fn requests_are_whole_since_the_last_that_was_ever_past_its_time() {
        check(&[(0, 400)], -398);
        check(&[(-1, 400), (0, 30)], -28);
        // What was deleted while it was kept for 30 days is not there because it is kept for longer now.
        check(&[(-100, 400), (-1, 30), (0, 800)], -29);
        check(&[(-100, 400), (-99, 30), (0, 800)], -127);
        check(&[(-900, 400), (-800, 800), (0, 3_650)], -1_298);
        // Nobody knows.
        check(&[(-5, 0), (0, 400)], -3);
    }
}

//! Keeps what the ledger counts for as long as the organisation's settings say, in ClickHouse and in `USAGE`.
//!
//! What the settings say is read from the audit trail, and compared with what the tables do, again and again: so a change
//! arrives also where ClickHouse was away, or where a table was made anew. Any number of processes may do that.
//!
//! A trail is believed only when it has reached the end of `EVENTS`. One that is being filled again passes through what
//! was valid once, and what is deleted for a setting of last year does not come back.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use events_schema::{state::Retention, subjects, time::Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::feed::{FeedError, chain};
use crate::ledger;
use crate::warehouse::{Decided, RetentionError, Warehouse, WarehouseError};

/// How often tables and settings are compared: three small questions to ClickHouse.
const LOOK: Duration = Duration::from_secs(2);

/// A day, in seconds.
const DAY: i64 = 24 * 3_600;

/// What the worker works with.
pub struct Config {
    /// JetStream.
    pub jetstream: Context,
    /// ClickHouse.
    pub warehouse: Warehouse,
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
    /// NATS did not do its part.
    #[error("{0}")]
    Feed(String),
}

impl From<FeedError> for LookError {
    fn from(error: FeedError) -> Self {
        Self::Feed(chain(&error))
    }
}

/// Works until `stop`.
pub async fn run(config: Config, stop: CancellationToken) {
    let (mut end, mut trouble) = (None, None);
    while !stop.is_cancelled() {
        match look(&config, &mut end).await {
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

/// One comparison. `end`: where `EVENTS` ended at the one before, which the trail must have reached. Returns whether it had,
/// and so whether tables and `USAGE` are now as the settings say.
///
/// # Errors
/// See [`LookError`]; what was not changed is changed at the next one.
pub async fn look(config: &Config, end: &mut Option<u64>) -> Result<bool, LookError> {
    let Config {
        jetstream,
        warehouse,
    } = config;
    let Some(now) = end_of_events(jetstream).await? else {
        return Ok(false);
    };
    let Some(before) = end.replace(now) else {
        // A first one may come before there are tables.
        warehouse.migrate().await?;
        return Ok(false);
    };
    if audit::position(warehouse).await? < before {
        return Ok(false);
    }
    let decided = warehouse.retention_decisions().await?;
    let retention = decided
        .last()
        .map_or_else(Retention::default, |it| it.retention);
    for table in warehouse.keep_for(retention).await? {
        let Retention {
            requests_days,
            sums_days,
        } = retention;
        tracing::info!(
            table,
            requests_days,
            sums_days,
            "rows are kept for another time"
        );
    }
    ledger::keep_usage_for(jetstream, retention.requests_days).await?;
    Ok(true)
}

/// The sequence of the last event; `None` before there are any.
async fn end_of_events(jetstream: &Context) -> Result<Option<u64>, FeedError> {
    match jetstream.get_stream(subjects::EVENTS).await {
        Ok(stream) => Ok(Some(stream.cached_info().state.last_sequence)),
        Err(error) if is_missing(&error.kind()) => Ok(None),
        Err(error) => Err(FeedError::of("asking for the stream EVENTS")(error)),
    }
}

/// Whether the answer was that there is no such stream.
pub(crate) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    const NO_SUCH_STREAM: async_nats::jetstream::ErrorCode =
        async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND;
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == NO_SUCH_STREAM)
}

/// The second from which on requests are whole: none of them was deleted for its age, whatever was decided about it and
/// when. A request that was past its time at any time may be gone or not, in whatever order its part was merged; the last
/// two days before that are left out, since a decision may have come late, and merging takes its time.
pub(crate) fn whole_since(decided: &[Decided], now: Timestamp) -> u32 {
    let first = Retention::default();
    let before = std::iter::once(first).chain(decided.iter().map(|it| it.retention));
    let until = decided.iter().map(|it| it.at).chain([now]);
    let edges = before.zip(until).map(|(retention, until)| {
        until.micros() / 1_000_000 - i64::from(retention.requests_days) * DAY
    });
    let edge = edges.max().unwrap_or_default() + 2 * DAY;
    u32::try_from(edge - edge.rem_euclid(DAY)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: i64) -> Timestamp {
        Timestamp::from_micros((20_000 + days) * DAY * 1_000_000).expect("in range")
    }

    fn check(decided: &[(i64, u32)], now: i64, expected: i64) {
        let decided: Vec<_> = decided
            .iter()
            .map(|(at, requests_days)| Decided {
                at: day(*at),
                retention: Retention {
                    requests_days: *requests_days,
                    sums_days: 1_200,
                },
            })
            .collect();
        let since = i64::from(whole_since(&decided, day(now)));
        assert_eq!(since / DAY - 20_000, expected, "{decided:?}");
        assert_eq!(since % DAY, 0);
    }

    #[test]
    fn requests_are_whole_since_the_last_that_was_ever_past_its_time() {
        check(&[], 0, -398);
        check(&[(-1, 30)], 0, -28);
        // What was deleted while it was kept for 30 days is not there because it is kept for longer now.
        check(&[(-100, 30), (-1, 800)], 0, -29);
        check(&[(-100, 30), (-99, 800)], 0, -127);
        check(&[(-900, 800), (-800, 3_650)], 0, -1_298);
    }
}

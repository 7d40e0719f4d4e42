//! The log against `EVENTS`, before anything is appended over a new connection.
//!
//! Postgres can lose its tail (a failover to a standby that lagged, an old backup). `EVENTS` has a copy of every
//! row, at the sequence that is its position. So: a log that is shorter but on the same chain gets its missing rows
//! back, byte for byte; a log on another chain is a fork, and nothing is appended until an operator starts a new
//! epoch. An `EVENTS` that ended before that decision is one that the operator gave up: the relay writes it anew.

use std::time::Duration;

use async_nats::{
    connection::State,
    jetstream::{
        self, ErrorCode,
        consumer::{DeliverPolicy, pull},
        context::GetStreamErrorKind,
        stream::Stream,
    },
};
use events_schema::{
    envelope::{Envelope, Epoch, EventRow},
    events::{Event, LogEvent},
    subjects,
};
use futures_util::StreamExt;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{LogError, ReadError, read, rows};
use crate::control::Head;

/// How long to wait for NATS before going on without it: appends never wait for it longer.
const NATS_TIMEOUT: Duration = Duration::from_secs(2);

/// How many rows are taken back at a time.
const RESTORE_BATCH: usize = 1_000;

/// What `EVENTS` says of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assessment {
    /// NATS cannot be asked.
    Unknown,
    /// There is no stream, or nothing in it.
    Absent,
    /// The log has all that the stream has, and it is the same.
    Agrees {
        /// The stream's last sequence.
        last: u64,
    },
    /// The stream goes on where the log ends.
    LogShorter {
        /// The stream's last sequence.
        last: u64,
    },
    /// They differ, and an operator has started a higher epoch since: the stream was given up.
    Superseded,
    /// They differ.
    Fork {
        /// The first position at which they do.
        position: u64,
    },
}

/// `EVENTS` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// NATS did not answer, or not as it should.
    #[error("EVENTS cannot be read: {0}")]
    Nats(String),
    /// Postgres did not.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ReadError> for CompareError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

fn nats(error: impl std::fmt::Display) -> CompareError {
    CompareError::Nats(error.to_string())
}

/// JetStream with bounds on everything: no request waits longer than this.
#[must_use]
pub fn jetstream_of(client: &async_nats::Client) -> jetstream::Context {
    jetstream::context::ContextBuilder::new()
        .timeout(NATS_TIMEOUT)
        .max_ack_inflight(2_048)
        .build(client.clone())
}

/// The stream `EVENTS`, if it exists.
///
/// # Errors
/// When NATS does not answer.
pub async fn events_stream(jetstream: &jetstream::Context) -> Result<Option<Stream>, CompareError> {
    let asked = tokio::time::timeout(NATS_TIMEOUT, jetstream.get_stream(subjects::EVENTS)).await;
    match asked.map_err(|_| CompareError::Nats("NATS does not answer".into()))? {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause)
                if cause.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(nats(error)),
        },
    }
}

/// The row at this sequence: its epoch and envelope; `None` when the stream has no readable row there.
///
/// # Errors
/// When NATS does not answer.
pub async fn row_at(
    stream: &Stream,
    sequence: u64,
) -> Result<Option<(Epoch, Envelope)>, CompareError> {
    let message = stream.get_raw_message(sequence).await.map_err(nats)?;
    Ok(EventRow::parse(&message.payload)
        .ok()
        .filter(|(_, row)| row.position == sequence))
}

/// Compares `EVENTS` with the log. Only the last common row need be looked at: the chain vouches for the rest.
///
/// # Errors
/// When one of the two cannot be read.
pub async fn assess(
    connection: &mut PgConnection,
    client: &async_nats::Client,
) -> Result<Assessment, CompareError> {
    let connected = tokio::time::timeout(NATS_TIMEOUT, client.flush()).await;
    if connected.is_err() || client.connection_state() != State::Connected {
        return Ok(Assessment::Unknown);
    }
    let Some(stream) = events_stream(&jetstream_of(client)).await? else {
        return Ok(Assessment::Absent);
    };
    let last = stream.cached_info().state.last_sequence;
    let head = read::head(&mut *connection).await?;
    if last == 0 {
        return Ok(Assessment::Absent);
    }
    let common = last.min(head.position);
    let agrees = common == 0 || agrees_at(connection, &stream, common).await?;
    match (agrees, last > head.position) {
        (true, false) => Ok(Assessment::Agrees { last }),
        (true, true) => Ok(Assessment::LogShorter { last }),
        (false, _) if is_superseded(connection, &stream, last).await? => Ok(Assessment::Superseded),
        (false, _) => Ok(Assessment::Fork {
            position: first_difference(connection, &stream, common).await?,
        }),
    }
}

async fn agrees_at(
    connection: &mut PgConnection,
    stream: &Stream,
    position: u64,
) -> Result<bool, CompareError> {
    let ours = read::hash_at(&mut *connection, position).await?;
    let theirs = row_at(stream, position).await?.map(|(_, row)| row.hash);
    Ok(ours.is_some() && ours == theirs)
}

/// Whether an operator gave the stream up: decided, after its last event, that the log goes on without it. That the
/// log is younger is not enough: the stream may be another deployment's.
async fn is_superseded(
    connection: &mut PgConnection,
    stream: &Stream,
    last: u64,
) -> Result<bool, CompareError> {
    let Some((theirs, last_row)) = row_at(stream, last).await? else {
        return Ok(false);
    };
    let Some(newest) = read::newest_of_the_log(connection).await? else {
        return Ok(false);
    };
    let event = newest.event().map_err(|source| LogError::Decode {
        position: newest.position,
        source,
    })?;
    Ok(match event {
        Event::Log(LogEvent::EpochStarted { epoch }) => {
            epoch.seconds > theirs.seconds && last_row.recorded_at <= newest.recorded_at
        }
        Event::Log(LogEvent::LogInitialised { .. })
        | Event::ProviderAccount(..)
        | Event::Model(..)
        | Event::VirtualModel(..)
        | Event::User(..)
        | Event::VirtualAccount(..)
        | Event::Key(..)
        | Event::Grant(..)
        | Event::Operator(..)
        | Event::Team(..)
        | Event::RateLimitPolicy(..)
        | Event::BudgetPolicy(..)
        | Event::BudgetAlert(..)
        | Event::Settings(_) => false,
    })
}

/// The first position that differs, by halving: chains that differ at a position differ ever after.
async fn first_difference(
    connection: &mut PgConnection,
    stream: &Stream,
    common: u64,
) -> Result<u64, CompareError> {
    let (mut same, mut differs) = (0, common);
    while differs - same > 1 {
        let middle = same + (differs - same) / 2;
        if agrees_at(connection, stream, middle).await? {
            same = middle;
        } else {
            differs = middle;
        }
    }
    Ok(differs)
}

/// The first position at which a head was published in the log's epoch that the log has no more, or has otherwise;
/// `None`: it has all of them. Finds a tail that is gone also where `EVENTS` is gone with it.
///
/// # Errors
/// When Postgres cannot be read.
pub async fn missing_head(connection: &mut PgConnection) -> Result<Option<u64>, ReadError> {
    let missing: Option<i64> = sqlx::query_scalar(
        "SELECT s.position FROM seen_heads s
         WHERE s.epoch = (SELECT epoch FROM log_head)
           AND NOT EXISTS (SELECT FROM events e WHERE e.position = s.position AND e.hash = s.hash)
         ORDER BY s.position LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .map_err(ReadError::doing(
        "comparing the log with its published heads",
    ))?;
    Ok(missing.map(rows::to_u64))
}

/// Takes the rows up to `last` back from `EVENTS`, verbatim. Returns how many.
///
/// # Errors
/// When one of the two cannot be read or written, or the stream's rows do not follow from the log's.
pub async fn restore(
    connection: &mut PgConnection,
    client: &async_nats::Client,
    last: u64,
) -> Result<u64, CompareError> {
    let Some(stream) = events_stream(&jetstream_of(client)).await? else {
        return Ok(0);
    };
    let failed = ReadError::doing("taking rows back from EVENTS");
    let mut transaction = connection.begin().await.map_err(failed)?;
    let mut head = read::locked_head(&mut *transaction).await?;
    let before = head.position;
    let consumer = stream.create_consumer(pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: head.position + 1,
        },
        ..pull::OrderedConfig::default()
    });
    let mut messages = consumer
        .await
        .map_err(nats)?
        .messages()
        .await
        .map_err(nats)?;
    while head.position < last {
        let mut batch = Vec::new();
        while head.position < last && batch.len() < RESTORE_BATCH {
            let message = tokio::time::timeout(NATS_TIMEOUT, messages.next())
                .await
                .map_err(nats)?;
            let message = message
                .ok_or_else(|| nats("the stream ended"))?
                .map_err(nats)?;
            let (epoch, row) = EventRow::parse(&message.payload).map_err(nats)?;
            row.check_follows(head.position, &head.hash)
                .map_err(LogError::Chain)?;
            head = Head {
                position: row.position,
                hash: row.hash,
                epoch: Some(epoch),
                recorded_at: Some(row.recorded_at),
                configured_at: row.position,
            };
            batch.push(row);
        }
        rows::insert(&mut *transaction, &batch)
            .await
            .map_err(ReadError::doing("taking rows back from EVENTS"))?;
    }
    write_head(&mut transaction, &head)
        .await
        .map_err(ReadError::doing("taking rows back from EVENTS"))?;
    transaction
        .commit()
        .await
        .map_err(ReadError::doing("taking rows back from EVENTS"))?;
    Ok(head.position - before)
}

/// Moves the head; its row is locked.
async fn write_head(
    transaction: &mut Transaction<'_, Postgres>,
    head: &Head,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE log_head SET position = $1, hash = $2, epoch = $3,
         recorded_at = 'epoch'::timestamptz + $4 * interval '1 microsecond'",
    )
    .bind(rows::to_i64(head.position))
    .bind(head.hash.to_vec())
    .bind(head.epoch.map(|epoch| epoch.to_string()))
    .bind(head.recorded_at.map(|time| time.micros()))
    .execute(&mut **transaction)
    .await
    .map(|_| ())
}

//! `verify`: is the log what it was?
//!
//! The chain is computed again from position 1. A chain alone can be recomputed by whoever owns the database, so
//! every row is also compared with its copy in `EVENTS`, with heads that were published before, with the state that
//! this process holds, and the fold with its checkpoints. What does not agree is named by its position.

mod walk;

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use events_schema::{
    api::history::{VerifyFinding, VerifyReport},
    envelope::EventRow,
};
use futures_util::StreamExt;
use sqlx::{Connection, PgPool};

use crate::{
    control::{Head, Live},
    log::{
        LogError, ReadError,
        compare::{self, CompareError},
        read,
        rows::{self, to_u64},
    },
};

/// How long the next message of `EVENTS` is waited for.
const NATS_TIMEOUT: Duration = Duration::from_secs(5);

/// More findings than anybody reads.
const MOST_FINDINGS: usize = 100;

/// The log could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Postgres cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// `EVENTS` cannot be read. An answer without it would vouch for too little.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<VerifyFinding>);

impl Findings {
    fn add(&mut self, position: u64, detail: impl Into<String>) {
        if self.0.len() < MOST_FINDINGS {
            self.0.push(VerifyFinding {
                position,
                detail: detail.into(),
            });
        }
    }
}

/// Checks the log. Without `nats` it is not compared with `EVENTS`; `live` is what this process holds, if it does.
///
/// # Errors
/// When something cannot be read; what does not agree is in the report.
pub async fn verify(
    pool: &PgPool,
    nats: Option<&async_nats::Client>,
    live: Option<&Live>,
) -> Result<VerifyReport, VerifyError> {
    // Read before the log is: what the stream has by now, the log must have by then.
    let stream = match nats {
        Some(nats) => compare::events_stream(&compare::jetstream_of(nats)).await?,
        None => None,
    };
    let published = stream
        .as_ref()
        .map_or(0, |stream| stream.cached_info().state.last_sequence);

    let mut connection = pool
        .acquire()
        .await
        .map_err(ReadError::doing("connecting"))?;
    let mut transaction = connection
        .begin()
        .await
        .map_err(ReadError::doing("beginning to verify"))?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *transaction)
        .await
        .map_err(ReadError::doing("beginning to verify"))?;
    // A page of a long log is folded between two statements.
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = '120s'")
        .execute(&mut *transaction)
        .await
        .map_err(ReadError::doing("beginning to verify"))?;

    let mut findings = Findings::default();
    let head = read::head(&mut *transaction).await?;
    let walk = walk::walk(&mut transaction, live, &mut findings).await?;
    check_head(&head, &walk, &mut findings);
    let heads = check_seen_heads(&mut transaction, &walk, live, &mut findings).await?;
    transaction
        .rollback()
        .await
        .map_err(ReadError::doing("ending to verify"))?;
    let compared = match &stream {
        Some(stream) => check_events(stream, published, &walk, &mut findings).await?,
        None => 0,
    };

    findings.0.sort_by_key(|finding| finding.position);
    Ok(VerifyReport {
        ok: findings.0.is_empty(),
        position: head.position,
        hash: hex::encode(head.hash),
        rows: walk.rows,
        compared_with_events: compared,
        compared_with_heads: heads,
        findings: findings.0,
    })
}

fn check_head(head: &Head, walk: &walk::Walk, findings: &mut Findings) {
    let last = walk.hashes.len() as u64;
    if head.position > last {
        findings.add(
            last + 1,
            format!(
                "is missing: the log's head is at {}, its last row at {last}",
                head.position
            ),
        );
    } else if head.position < last {
        findings.add(
            head.position + 1,
            format!("lies behind the log's head, which is at {}", head.position),
        );
    } else if walk.hash_at(last).is_some_and(|hash| hash != head.hash) {
        findings.add(last, "has another hash than the log's head");
    }
}

/// What a given-up epoch published from the position on at which the present one began, the operator has given up with it.
const SEEN_HEADS: &str = "SELECT position, hash FROM seen_heads
    WHERE epoch = (SELECT epoch FROM log_head)
       OR position < coalesce(
           (SELECT position FROM events WHERE stream = 'log' ORDER BY stream_version DESC LIMIT 1), 0)
    ORDER BY position";

/// Compares the log with the heads that were published and with the one that this process holds. Returns how many.
async fn check_seen_heads(
    connection: &mut sqlx::PgConnection,
    walk: &walk::Walk,
    live: Option<&Live>,
    findings: &mut Findings,
) -> Result<u64, ReadError> {
    let seen: Vec<(i64, Vec<u8>)> = sqlx::query_as(SEEN_HEADS)
        .fetch_all(connection)
        .await
        .map_err(ReadError::doing("reading published heads"))?;
    let seen = seen
        .into_iter()
        .filter_map(|(position, hash)| Some((to_u64(position), rows::hash(&hash)?)));
    let held = live
        .map(|live| (live.head.position, live.head.hash))
        .filter(|(position, _)| *position > 0);
    let heads: Vec<(u64, [u8; 32])> = seen.chain(held).collect();
    let differs = heads
        .iter()
        .find(|(position, hash)| walk.hash_at(*position) != Some(*hash));
    if let Some((position, _)) = differs {
        findings.add(
            *position,
            "is missing, or has another hash than when it was seen as the log's head",
        );
    }
    Ok(heads.len() as u64)
}

/// Compares each row with its copy. Returns up to which position.
async fn check_events(
    stream: &async_nats::jetstream::stream::Stream,
    published: u64,
    walk: &walk::Walk,
    findings: &mut Findings,
) -> Result<u64, CompareError> {
    if published == 0 {
        return Ok(0);
    }
    let failed = |error: &dyn std::fmt::Display| CompareError::Nats(error.to_string());
    let consumer = stream.create_consumer(pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: 1 },
        ..pull::OrderedConfig::default()
    });
    let consumer = consumer.await.map_err(|error| failed(&error))?;
    let mut messages = consumer.messages().await.map_err(|error| failed(&error))?;
    for position in 1..=published {
        let next = tokio::time::timeout(NATS_TIMEOUT, messages.next())
            .await
            .map_err(|error| failed(&error))?;
        let message = next
            .ok_or_else(|| failed(&"the stream ended"))?
            .map_err(|error| failed(&error))?;
        let row = EventRow::parse(&message.payload).ok().map(|(_, row)| row);
        let Some(row) =
            row.filter(|row| row.position == position && row.computed_hash() == row.hash)
        else {
            findings.add(position, "was changed in EVENTS");
            return Ok(position);
        };
        match walk.hash_at(position) {
            Some(ours) if ours == row.hash => {}
            Some(_) => {
                findings.add(
                    position,
                    "is another event in the log than in EVENTS, and so is what follows",
                );
                return Ok(position);
            }
            None => {
                findings.add(position, "is missing from the log: EVENTS has it");
                return Ok(position);
            }
        }
    }
    Ok(published)
}

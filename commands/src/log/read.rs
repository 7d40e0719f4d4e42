//! Reading the history. Positions are gapless and in the order of commits, so "what comes after position n" is
//! all that a reader needs to say.

use std::collections::HashMap;

use events_schema::{actor::Actor, envelope::Envelope, time::Timestamp};
use sqlx::{Executor, PgPool, Postgres, Row};
use uuid::Uuid;

use super::{
    EMPTY, ReadError,
    rows::{self, columns, to_i64, to_u64},
};
use crate::control::{Head, HistoryFilter, Person};

/// How many rows are read at a time.
pub const PAGE: u32 = 2_000;

const HISTORY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events
 WHERE ($1::bigint IS NULL OR position < $1)
   AND ($2::text IS NULL OR aggregate = $2)
   AND ($3::text IS NULL OR stream = $3)
   AND ($4::text IS NULL OR actor = $4 OR actor LIKE $4 || '/token:%')
   AND ($5::text IS NULL OR kind = $5)
   AND ($6::bigint IS NULL OR recorded_at >= 'epoch'::timestamptz + $6 * interval '1 microsecond')
   AND ($7::bigint IS NULL OR recorded_at < 'epoch'::timestamptz + $7 * interval '1 microsecond')
 ORDER BY position DESC LIMIT $8"
);

const BETWEEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3"
);

const NEWEST_OF_THE_LOG: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events WHERE stream = 'log' ORDER BY stream_version DESC LIMIT 1"
);

const HEAD: &str = "SELECT position, hash, epoch, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM log_head";
const LOCKED_HEAD: &str = "SELECT position, hash, epoch, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM log_head FOR UPDATE";

/// At most `limit` events below `before`, the newest first.
///
/// # Errors
/// See [`ReadError`].
pub async fn history(
    pool: &PgPool,
    filter: &HistoryFilter,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Envelope>, ReadError> {
    let HistoryFilter {
        aggregate,
        stream,
        actor,
        kind,
        from,
        to,
    } = filter;
    let found = sqlx::query(HISTORY)
        .bind(before.map(to_i64))
        .bind(aggregate.map(|it| it.as_str()))
        .bind(stream.map(|it| it.to_string()))
        .bind(actor.as_ref().map(Actor::to_string))
        .bind(kind.as_deref())
        .bind(from.map(Timestamp::micros))
        .bind(to.map(Timestamp::micros))
        .bind(i64::from(limit))
        .persistent(false)
        .fetch_all(pool)
        .await
        .map_err(ReadError::doing("reading the history"))?;
    found.iter().map(rows::read).collect()
}

/// At most `limit` events after `position`, the oldest first.
///
/// # Errors
/// See [`ReadError`].
pub async fn after(pool: &PgPool, position: u64, limit: u32) -> Result<Vec<Envelope>, ReadError> {
    between(pool, position, u64::MAX, limit).await
}

/// At most `limit` events after `position` and up to `last`, the oldest first.
///
/// # Errors
/// See [`ReadError`].
pub async fn between<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
    position: u64,
    last: u64,
    limit: u32,
) -> Result<Vec<Envelope>, ReadError> {
    let found = sqlx::query(BETWEEN)
        .bind(to_i64(position))
        .bind(to_i64(last))
        .bind(i64::from(limit))
        .fetch_all(executor)
        .await
        .map_err(ReadError::doing("reading the log"))?;
    found.iter().map(rows::read).collect()
}

/// The event at `position`.
///
/// # Errors
/// See [`ReadError`].
pub async fn one<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
    position: u64,
) -> Result<Option<Envelope>, ReadError> {
    let Some(before) = position.checked_sub(1) else {
        return Ok(None);
    };
    Ok(between(executor, before, position, 1).await?.pop())
}

/// The last event of the log itself: the one that began its epoch.
///
/// # Errors
/// See [`ReadError`].
pub async fn newest_of_the_log<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
) -> Result<Option<Envelope>, ReadError> {
    let found = sqlx::query(NEWEST_OF_THE_LOG)
        .fetch_optional(executor)
        .await
        .map_err(ReadError::doing("reading the event that began the epoch"))?;
    found.as_ref().map(rows::read).transpose()
}

/// The hash of the event at `position`.
///
/// # Errors
/// See [`ReadError`].
pub async fn hash_at<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
    position: u64,
) -> Result<Option<[u8; 32]>, ReadError> {
    let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM events WHERE position = $1")
        .bind(to_i64(position))
        .fetch_optional(executor)
        .await
        .map_err(ReadError::doing("reading a hash"))?;
    Ok(found.as_deref().and_then(rows::hash))
}

/// The head of the log, as the database has it.
///
/// # Errors
/// See [`ReadError`].
pub async fn head<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
) -> Result<Head, ReadError> {
    read_head(executor, HEAD).await
}

/// The head, locked until the transaction ends: whoever appends waits here.
pub(crate) async fn locked_head<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
) -> Result<Head, ReadError> {
    read_head(executor, LOCKED_HEAD).await
}

async fn read_head<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
    sql: &'static str,
) -> Result<Head, ReadError> {
    let row = sqlx::query(sql)
        .fetch_optional(executor)
        .await
        .map_err(ReadError::doing("reading the head"))?;
    let Some(row) = row else { return Ok(EMPTY) };
    let position = to_u64(
        row.try_get(0)
            .map_err(ReadError::doing("reading the head"))?,
    );
    let bad = |column| ReadError::Column { position, column };
    let epoch: Option<&str> = row.try_get(2).map_err(|_| bad("epoch"))?;
    let recorded: Option<i64> = row.try_get(3).map_err(|_| bad("recorded_at"))?;
    Ok(Head {
        position,
        configured_at: position,
        hash: rows::hash(row.try_get(1).map_err(|_| bad("hash"))?).ok_or_else(|| bad("hash"))?,
        epoch: epoch
            .map(str::parse)
            .transpose()
            .map_err(|_| bad("epoch"))?,
        recorded_at: recorded
            .map(Timestamp::from_micros)
            .transpose()
            .map_err(|_| bad("recorded_at"))?,
    })
}

/// The position of the last event recorded at or before `time`; 0 when there is none.
///
/// # Errors
/// See [`ReadError`].
pub async fn position_at(pool: &PgPool, time: Timestamp) -> Result<u64, ReadError> {
    let sql = "SELECT position FROM events \
               WHERE recorded_at <= 'epoch'::timestamptz + $1 * interval '1 microsecond' \
               ORDER BY recorded_at DESC, position DESC LIMIT 1";
    let found: Option<i64> = sqlx::query_scalar(sql)
        .bind(time.micros())
        .fetch_optional(pool)
        .await
        .map_err(ReadError::doing("finding a position by its time"))?;
    Ok(found.map_or(0, to_u64))
}

/// The people among these ids who were not erased.
///
/// # Errors
/// See [`ReadError`].
pub async fn people(pool: &PgPool, ids: &[Uuid]) -> Result<HashMap<Uuid, Person>, ReadError> {
    let found: Vec<(Uuid, String, String)> =
        sqlx::query_as("SELECT id, email, name FROM people WHERE id = ANY($1)")
            .bind(ids)
            .fetch_all(pool)
            .await
            .map_err(ReadError::doing("reading people"))?;
    Ok(found
        .into_iter()
        .map(|(id, email, name)| (id, Person { id, email, name }))
        .collect())
}

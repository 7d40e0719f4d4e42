//! How an envelope stands in the table `events`.

use events_schema::{
    envelope::Envelope,
    id::{CommandId, EventId},
    time::Timestamp,
};
use sqlx::{
    Executor, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::ReadError;

/// The columns, in the order in which [`read`] takes them. Times as microseconds: `extract` gives a numeric, so
/// nothing is rounded.
macro_rules! columns {
    () => {
        "position, event_id, stream, stream_version, kind, schema_version, \
         (extract(epoch FROM recorded_at) * 1000000)::bigint, \
         actor, cause, correlation, why, payload, prev_hash, hash"
    };
}
pub(crate) use columns;

/// Inserts the rows of the parameters `$1` to `$14`, where a condition holds.
macro_rules! insert_events {
    ($($condition:literal)?) => {
        concat!("INSERT INTO events (position, event_id, stream, stream_version, kind, schema_version, recorded_at,
     actor, cause, correlation, why, payload, prev_hash, hash)
 SELECT position, event_id, stream, stream_version, kind, schema_version,
     'epoch'::timestamptz + recorded_us * interval '1 microsecond',
     actor, cause, correlation, why, payload, prev_hash, hash
 FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::integer[], $7::bigint[], $8::text[],
     $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::bytea[], $14::bytea[])
     AS t (position, event_id, stream, stream_version, kind, schema_version, recorded_us, actor, cause, correlation,
         why, payload, prev_hash, hash)
", $($condition,)? " ORDER BY position")
    };
}
pub(crate) use insert_events;

/// A position as Postgres has it. The log would take ages to pass what fits.
pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that Postgres checks to be positive.
pub(crate) fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Reads a row of [`columns`].
pub(crate) fn read(row: &PgRow) -> Result<Envelope, ReadError> {
    let position = to_u64(get(row, 0, 0, "position")?);
    let bad = |column| ReadError::Column { position, column };
    Ok(Envelope {
        position,
        event_id: EventId::from_uuid(get(row, 1, position, "event_id")?),
        stream: get::<&str>(row, 2, position, "stream")?
            .parse()
            .map_err(|_| bad("stream"))?,
        stream_version: to_u64(get(row, 3, position, "stream_version")?),
        kind: get(row, 4, position, "kind")?,
        schema_version: u16::try_from(get::<i32>(row, 5, position, "schema_version")?)
            .map_err(|_| bad("schema_version"))?,
        recorded_at: Timestamp::from_micros(get(row, 6, position, "recorded_at")?)
            .map_err(|_| bad("recorded_at"))?,
        actor: get::<&str>(row, 7, position, "actor")?
            .parse()
            .map_err(|_| bad("actor"))?,
        cause: CommandId::from_uuid(get(row, 8, position, "cause")?),
        correlation: get(row, 9, position, "correlation")?,
        why: get(row, 10, position, "why")?,
        payload: get(row, 11, position, "payload")?,
        prev_hash: hash(get(row, 12, position, "prev_hash")?).ok_or_else(|| bad("prev_hash"))?,
        hash: hash(get(row, 13, position, "hash")?).ok_or_else(|| bad("hash"))?,
    })
}

fn get<'r, T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(
    row: &'r PgRow,
    index: usize,
    position: u64,
    column: &'static str,
) -> Result<T, ReadError> {
    row.try_get(index)
        .map_err(|_| ReadError::Column { position, column })
}

/// Thirty-two bytes, if these are as many.
pub(crate) fn hash(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// Writes rows, all at once.
pub(crate) async fn insert<'c, E: Executor<'c, Database = Postgres>>(
    executor: E,
    envelopes: &[Envelope],
) -> Result<(), sqlx::Error> {
    bound(sqlx::query(insert_events!()), envelopes)
        .execute(executor)
        .await
        .map(|_| ())
}

/// Gives [`insert_events`] its parameters; further ones begin at `$15`.
pub(crate) fn bound<'q>(
    query: Query<'q, Postgres, PgArguments>,
    envelopes: &[Envelope],
) -> Query<'q, Postgres, PgArguments> {
    let uuids = |of: fn(&Envelope) -> Uuid| envelopes.iter().map(of).collect::<Vec<_>>();
    let numbers = |of: fn(&Envelope) -> i64| envelopes.iter().map(of).collect::<Vec<_>>();
    let texts = |of: fn(&Envelope) -> String| envelopes.iter().map(of).collect::<Vec<_>>();
    let hashes = |of: fn(&Envelope) -> Vec<u8>| envelopes.iter().map(of).collect::<Vec<_>>();
    query
        .bind(numbers(|it| to_i64(it.position)))
        .bind(uuids(|it| it.event_id.uuid()))
        .bind(texts(|it| it.stream.to_string()))
        .bind(numbers(|it| to_i64(it.stream_version)))
        .bind(texts(|it| it.kind.clone()))
        .bind(
            envelopes
                .iter()
                .map(|it| i32::from(it.schema_version))
                .collect::<Vec<_>>(),
        )
        .bind(numbers(|it| it.recorded_at.micros()))
        .bind(texts(|it| it.actor.to_string()))
        .bind(uuids(|it| it.cause.uuid()))
        .bind(uuids(|it| it.correlation))
        .bind(
            envelopes
                .iter()
                .map(|it| it.why.clone())
                .collect::<Vec<_>>(),
        )
        .bind(texts(|it| it.payload.clone()))
        .bind(hashes(|it| it.prev_hash.to_vec()))
        .bind(hashes(|it| it.hash.to_vec()))
}

//! The fold, kept so that a start need not read the whole log.
//!
//! A checkpoint is only ever a shortcut: one of another fold version, or whose hash is not that of the log at its
//! position, is passed over.

use events_schema::state::{Checkpoint, FOLD_VERSION, Organisation, StateDigest};
use sqlx::{PgPool, Row};

use super::{
    ReadError,
    rows::{self, to_i64, to_u64},
};

/// Enough to start quickly, and few enough that writing the whole state does not matter.
pub(super) const EVERY_EVENTS: u64 = 20_000;

/// How many are kept.
const KEEP: i64 = 3;

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Found {
    /// The state.
    pub state: Organisation,
    /// The hash of its last event.
    pub hash: [u8; 32],
    /// The digest that the state had when it was written.
    pub digest: StateDigest,
}

const NEWEST: &str = "SELECT c.position, c.hash, c.digest, c.state FROM checkpoints c
 JOIN events e ON e.position = c.position AND e.hash = c.hash
 WHERE c.fold_version = $1 AND c.position <= $2 ORDER BY c.position DESC LIMIT 1";

/// The newest checkpoint at or below `position` that this version can use.
///
/// # Errors
/// See [`ReadError`].
pub async fn newest(pool: &PgPool, position: u64) -> Result<Option<Found>, ReadError> {
    let row = sqlx::query(NEWEST)
        .bind(i32::from(FOLD_VERSION))
        .bind(to_i64(position))
        .fetch_optional(pool)
        .await
        .map_err(ReadError::doing("reading the newest checkpoint"))?;
    let Some(row) = row else { return Ok(None) };
    let reading = || ReadError::doing("reading the newest checkpoint");
    let at = to_u64(row.try_get(0).map_err(reading())?);
    let hash = rows::hash(row.try_get(1).map_err(reading())?);
    let digest = rows::hash(row.try_get(2).map_err(reading())?);
    let text: &str = row.try_get(3).map_err(reading())?;
    let state = serde_json::from_str::<Checkpoint>(text)
        .ok()
        .and_then(|it| Organisation::from_checkpoint(it).ok());
    match (state, hash, digest) {
        (Some(state), Some(hash), Some(digest)) if state.position() == at => Ok(Some(Found {
            state,
            hash,
            digest: StateDigest(digest),
        })),
        _ => {
            tracing::warn!(
                position = at,
                "passing over a checkpoint that cannot be read"
            );
            Ok(None)
        }
    }
}

/// Writes a checkpoint and removes old ones.
///
/// # Errors
/// See [`ReadError`].
pub async fn write(pool: &PgPool, state: Organisation, hash: [u8; 32]) -> Result<(), ReadError> {
    let position = state.position();
    let made = tokio::task::spawn_blocking(move || {
        let text = serde_json::to_string(&state.checkpoint())
            .expect("the state holds nothing that JSON cannot");
        (state.state_digest(), text)
    });
    let Ok((digest, text)) = made.await else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO checkpoints (fold_version, position, hash, digest, state) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (fold_version, position) DO UPDATE
         SET hash = excluded.hash, digest = excluded.digest, state = excluded.state",
    )
    .bind(i32::from(FOLD_VERSION))
    .bind(to_i64(position))
    .bind(hash.to_vec())
    .bind(digest.0.to_vec())
    .bind(text)
    .execute(pool)
    .await
    .map_err(ReadError::doing("writing a checkpoint"))?;
    sqlx::query(
        "DELETE FROM checkpoints WHERE (fold_version, position) NOT IN
         (SELECT fold_version, position FROM checkpoints ORDER BY fold_version DESC, position DESC LIMIT $1)",
    )
    .bind(KEEP)
    .execute(pool)
    .await
    .map_err(ReadError::doing("removing old checkpoints"))?;
    tracing::debug!(position, "wrote a checkpoint");
    Ok(())
}

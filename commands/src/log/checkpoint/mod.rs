//! The fold, kept so that a start need not read the whole log.
//!
//! A checkpoint is only ever a shortcut: one of another fold version, whose hash is not that of the log at its
//! position, or that is not what was written, is passed over.

mod pieces;

use bytes::Bytes;
use events_schema::state::{FOLD_VERSION, Organisation, StateDigest};
use futures_util::TryStreamExt as _;
use sqlx::{Executor, PgPool, Postgres, Row};
use tokio::{sync::mpsc, task};

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
}

const NEWEST: &str = "SELECT c.position, c.hash, c.digest FROM checkpoints c
 JOIN events e ON e.position = c.position AND e.hash = c.hash
 WHERE c.fold_version = $1 AND c.position <= $2 ORDER BY c.position DESC LIMIT 1";

const PARTS: &str =
    "SELECT bytes FROM checkpoint_parts WHERE fold_version = $1 AND position = $2 ORDER BY part";

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
    let (pieces, received) = mpsc::channel(pieces::QUEUE);
    let read = task::spawn_blocking(move || pieces::read(received));
    feed(pool, at, pieces).await?;
    match (read.await, hash, digest) {
        (Ok(Ok((state, found))), Some(hash), Some(digest))
            if state.position() == at && found.0 == digest =>
        {
            Ok(Some(Found { state, hash }))
        }
        (Ok(Err(error)), _, _) => {
            tracing::warn!(position = at, %error, "passing over a checkpoint");
            Ok(None)
        }
        (Ok(Ok(_)) | Err(_), _, _) => {
            tracing::warn!(
                position = at,
                "passing over a checkpoint that is not what was written"
            );
            Ok(None)
        }
    }
}

/// The digest of the text that a checkpoint holds: that of its state, if it is what was written. `None` where it holds
/// nothing that can be read.
///
/// # Errors
/// See [`ReadError`].
pub async fn digest(
    connection: impl Executor<'_, Database = Postgres>,
    position: u64,
) -> Result<Option<StateDigest>, ReadError> {
    let (pieces, received) = mpsc::channel(pieces::QUEUE);
    let read = task::spawn_blocking(move || pieces::digest(received));
    feed(connection, position, pieces).await?;
    Ok(read.await.ok().and_then(Result::ok))
}

/// Sends a checkpoint's pieces, as long as somebody takes them.
async fn feed(
    executor: impl Executor<'_, Database = Postgres>,
    position: u64,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), ReadError> {
    let reading = || ReadError::doing("reading a checkpoint");
    let mut rows = sqlx::query(PARTS)
        .bind(i32::from(FOLD_VERSION))
        .bind(to_i64(position))
        .fetch(executor);
    while let Some(row) = rows.try_next().await.map_err(reading())? {
        let piece: Vec<u8> = row.try_get(0).map_err(reading())?;
        if pieces.send(piece.into()).await.is_err() {
            break;
        }
    }
    Ok(())
}

const WRITE_PART: &str = "INSERT INTO checkpoint_parts (fold_version, position, part, bytes)
 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

const WRITE: &str = "INSERT INTO checkpoints (fold_version, position, hash, digest)
 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

const REMOVE: &str = "DELETE FROM checkpoints WHERE (fold_version, position) NOT IN
 (SELECT fold_version, position FROM checkpoints ORDER BY fold_version DESC, position DESC LIMIT $1)";

/// Writes a checkpoint, unless there is one of this position, and removes old ones. Another replica that writes the same
/// one at the same time writes the same bytes.
///
/// # Errors
/// See [`ReadError`].
pub async fn write(pool: &PgPool, state: Organisation, hash: [u8; 32]) -> Result<(), ReadError> {
    let writing = || ReadError::doing("writing a checkpoint");
    let (version, position) = (i32::from(FOLD_VERSION), to_i64(state.position()));
    let (sender, mut pieces) = mpsc::channel(pieces::QUEUE);
    let written = task::spawn_blocking(move || pieces::write(&state, sender));
    let mut transaction = pool.begin().await.map_err(writing())?;
    let mut part = 0;
    while let Some(piece) = pieces.recv().await {
        sqlx::query(WRITE_PART)
            .bind(version)
            .bind(position)
            .bind(part)
            .bind(piece)
            .execute(&mut *transaction)
            .await
            .map_err(writing())?;
        part += 1;
    }
    // Without a digest the pieces are not whole, and go with the transaction.
    let Ok(Ok(digest)) = written.await else {
        return Ok(());
    };
    sqlx::query(WRITE)
        .bind(version)
        .bind(position)
        .bind(hash.to_vec())
        .bind(digest.0.to_vec())
        .execute(&mut *transaction)
        .await
        .map_err(writing())?;
    sqlx::query(REMOVE)
        .bind(KEEP)
        .execute(&mut *transaction)
        .await
        .map_err(ReadError::doing("removing old checkpoints"))?;
    transaction.commit().await.map_err(writing())?;
    tracing::debug!(position, part, "wrote a checkpoint");
    Ok(())
}

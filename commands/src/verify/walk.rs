//! The walk through the log: chain, stream versions and fold, from position 1.

use std::collections::BTreeMap;

use events_schema::{
    envelope::{ChainError, Envelope, GENESIS},
    state::{FOLD_VERSION, Organisation},
};
use sqlx::PgConnection;
use tokio::task;

use super::Findings;
use crate::{
    control::Live,
    log::{
        ReadError, checkpoint,
        read::PAGE,
        rows::{self, columns, to_i64, to_u64},
    },
};

const ROWS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events WHERE position > $1 ORDER BY position LIMIT $2"
);

/// What the walk has seen.
#[derive(Debug)]
pub(super) struct Walk {
    /// How many rows there are.
    pub(super) rows: u64,
    /// Each position's hash; `None` where a row is missing or cannot be read. 32 bytes an event.
    pub(super) hashes: Vec<Option<[u8; 32]>>,
    last: (u64, [u8; 32]),
    /// Kept up while nothing was found: a fold over a broken log proves nothing.
    state: Option<Organisation>,
}

impl Walk {
    /// The hash of the row at this position.
    pub(super) fn hash_at(&self, position: u64) -> Option<[u8; 32]> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.hashes.get(index).copied().flatten()
    }

    fn note(&mut self, position: u64, hash: Option<[u8; 32]>) {
        if let Ok(index) = usize::try_from(position.saturating_sub(1)) {
            if self.hashes.len() <= index {
                self.hashes.resize(index + 1, None);
            }
            self.hashes[index] = hash;
        }
    }
}

pub(super) async fn walk(
    connection: &mut PgConnection,
    live: Option<&Live>,
    findings: &mut Findings,
) -> Result<Walk, ReadError> {
    let checkpoints = checkpoints(connection).await?;
    let mut walk = Walk {
        rows: 0,
        hashes: Vec::new(),
        last: (0, GENESIS),
        state: Some(Organisation::default()),
    };
    let mut from = 0;
    loop {
        let page = sqlx::query(ROWS)
            .bind(to_i64(from))
            .bind(i64::from(PAGE))
            .fetch_all(&mut *connection)
            .await
            .map_err(ReadError::doing("reading the log"))?;
        if page.is_empty() {
            return Ok(walk);
        }
        for row in &page {
            walk.rows += 1;
            match rows::read(row) {
                Ok(envelope) => {
                    from = envelope.position;
                    step(&mut walk, &envelope, findings);
                    compare_live(&walk, live, findings);
                    if let Some(digest) = checkpoints.get(&envelope.position) {
                        compare_checkpoint(connection, &walk, digest, findings).await?;
                    }
                }
                Err(ReadError::Column { position, column }) => {
                    from = position;
                    walk.state = None;
                    walk.note(position, None);
                    findings.add(
                        position,
                        format!("holds in its column '{column}' what nobody writes there"),
                    );
                }
                Err(error @ ReadError::Database { .. }) => return Err(error),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Checks one row against the one before it, and folds it in.
fn step(walk: &mut Walk, envelope: &Envelope, findings: &mut Findings) {
    let (position, hash) = walk.last;
    if let Err(error) = envelope.check_follows(position, &hash) {
        walk.state = None;
        let detail = match &error {
            ChainError::Gap { found, .. } => format!("is missing: the next row is {found}"),
            ChainError::PrevHash { .. } => "does not follow from the event before it".to_owned(),
            ChainError::Hash { .. } => "was changed after it was written".to_owned(),
        };
        findings.add(error.position(), detail);
    }
    // What a row contains decides, not what it claims to hash to.
    walk.note(envelope.position, Some(envelope.computed_hash()));
    walk.last = (envelope.position, envelope.hash);
    let Some(state) = &mut walk.state else { return };
    if state.stream_version(envelope.stream) + 1 != envelope.stream_version {
        findings.add(
            envelope.position,
            format!("is not the next event of {}", envelope.stream),
        );
    }
    if let Err(error) = state.apply(envelope) {
        findings.add(envelope.position, error.to_string());
        walk.state = None;
    }
}

/// Compares the fold with the state that this process holds, where there is one here.
fn compare_live(walk: &Walk, live: Option<&Live>, findings: &mut Findings) {
    let Some(state) = &walk.state else { return };
    if live.is_some_and(|live| live.head.position == state.position() && live.state != *state) {
        findings.add(
            state.position(),
            "adds up to another state than the one in this process' memory",
        );
    }
}

/// Compares the fold with a checkpoint of its position: with the digest that was noted for it, and with what it holds.
async fn compare_checkpoint(
    connection: &mut PgConnection,
    walk: &Walk,
    noted: &[u8],
    findings: &mut Findings,
) -> Result<(), ReadError> {
    let Some(state) = walk.state.clone() else {
        return Ok(());
    };
    let position = state.position();
    let held = checkpoint::digest(connection, position).await?;
    let folded = task::spawn_blocking(move || state.state_digest())
        .await
        .ok();
    if held != folded || folded.is_none_or(|digest| digest.0 != noted) {
        findings.add(
            position,
            "has a checkpoint that is not what the events add up to",
        );
    }
    Ok(())
}

/// The digest that was noted for each checkpoint, by position.
async fn checkpoints(connection: &mut PgConnection) -> Result<BTreeMap<u64, Vec<u8>>, ReadError> {
    let sql = "SELECT position, digest FROM checkpoints WHERE fold_version = $1";
    let found: Vec<(i64, Vec<u8>)> = sqlx::query_as(sql)
        .bind(i32::from(FOLD_VERSION))
        .fetch_all(connection)
        .await
        .map_err(ReadError::doing("reading checkpoints"))?;
    Ok(found
        .into_iter()
        .map(|(position, digest)| (to_u64(position), digest))
        .collect())
}

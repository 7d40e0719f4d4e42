//! The walk through the log: chain, stream versions and fold, from position 1.

use std::collections::BTreeMap;

use events_schema::{
    envelope::{ChainError, Envelope, GENESIS},
    state::{Checkpoint, FOLD_VERSION, Organisation, StateDigest},
};
use sqlx::PgConnection;

use super::Findings;
use crate::{
    control::Live,
    log::{
        ReadError,
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

/// A checkpoint to be compared with the fold on the way.
struct Kept {
    digest: Vec<u8>,
    state: String,
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
                    compare_fold(&walk, &checkpoints, live, findings);
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

/// Compares the fold with a checkpoint, and with the state that this process holds, where there is one here.
fn compare_fold(
    walk: &Walk,
    checkpoints: &BTreeMap<u64, Kept>,
    live: Option<&Live>,
    findings: &mut Findings,
) {
    let Some(state) = &walk.state else { return };
    if let Some(kept) = checkpoints.get(&state.position())
        && !is_state_of(kept, state.state_digest())
    {
        findings.add(
            state.position(),
            "has a checkpoint that is not what the events add up to",
        );
    }
    if live.is_some_and(|live| live.head.position == state.position() && live.state != *state) {
        findings.add(
            state.position(),
            "adds up to another state than the one in this process' memory",
        );
    }
}

fn is_state_of(kept: &Kept, digest: StateDigest) -> bool {
    let state = serde_json::from_str::<Checkpoint>(&kept.state).ok();
    let state = state.and_then(|checkpoint| Organisation::from_checkpoint(checkpoint).ok());
    kept.digest == digest.0 && state.is_some_and(|state| state.state_digest() == digest)
}

async fn checkpoints(connection: &mut PgConnection) -> Result<BTreeMap<u64, Kept>, ReadError> {
    let sql = "SELECT position, digest, state FROM checkpoints WHERE fold_version = $1";
    let found: Vec<(i64, Vec<u8>, String)> = sqlx::query_as(sql)
        .bind(i32::from(FOLD_VERSION))
        .fetch_all(connection)
        .await
        .map_err(ReadError::doing("reading checkpoints"))?;
    Ok(found
        .into_iter()
        .map(|(position, digest, state)| (to_u64(position), Kept { digest, state }))
        .collect())
}

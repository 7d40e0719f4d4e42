//! Sealed credentials: read from Postgres, once for each reference, and never opened here.
//!
//! A reference's ciphertext never changes, so what was read is kept. Reading goes on in a task of its own: a Postgres
//! that is slow, as it may be for a first connection, is waited for shortly and heard later; one that is away costs one
//! short wait. Meanwhile the entries that need it wait, and everything else goes on.

use std::{collections::HashMap, future::pending, time::Duration};

use events_schema::{id::SecretId, secrets::SealedRef, snapshot::entries::SealedCredential};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// How long one reading may take before Postgres counts as away. It goes on while everything else does.
const READING: Duration = Duration::from_secs(10);

type Reference = (SecretId, u32);

/// What is known of a credential.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// There is none, or it was shredded.
    None,
    /// This is it.
    Sealed(SealedCredential),
}

/// Reads and keeps sealed credentials.
pub(super) struct Credentials {
    pool: PgPool,
    known: HashMap<Reference, Known>,
    /// How long somebody waits who needs one.
    patience: Duration,
    /// What is being read: one at a time.
    reading: JoinSet<(Reference, Result<Known, sqlx::Error>)>,
    /// Whether Postgres did not answer in time: nobody waits for it until it does.
    away: bool,
}

impl Credentials {
    /// For who publishes while others wait: 400 ms.
    pub(super) const SHORTLY: Duration = Duration::from_millis(400);
    /// For who cannot do without.
    pub(super) const PATIENTLY: Duration = READING;

    /// Prepares to read from `postgres`; connects at the first look. Who needs a credential waits for `patience`.
    pub(super) fn new(postgres: PgConnectOptions, patience: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(READING)
            .connect_lazy_with(postgres);
        Self {
            pool,
            known: HashMap::new(),
            patience,
            reading: JoinSet::new(),
            away: false,
        }
    }

    /// Whether Postgres did not answer in time the last time.
    pub(super) const fn away(&self) -> bool {
        self.away
    }

    /// Forgets a credential that was shredded.
    pub(super) fn forget(&mut self, reference: &SealedRef) {
        self.known.remove(&(reference.id, reference.version));
    }

    /// What is known of this credential; `None`: nothing yet, and it is being read.
    pub(super) async fn find(&mut self, reference: &SealedRef) -> Option<Known> {
        let at = (reference.id, reference.version);
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(known) = self.known.get(&at) {
                return Some(known.clone());
            }
            if self.reading.is_empty() {
                self.reading.spawn(read(self.pool.clone(), at));
            }
            if self.away {
                return None;
            }
            match timeout_at(deadline, self.arrived()).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => {
                    tracing::warn!(
                        "Postgres takes its time: provider accounts that need a credential from it wait"
                    );
                    self.away = true;
                }
            }
        }
    }

    /// Waits for what is being read; for ever, where there is nothing. Returns whether it could be read.
    pub(super) async fn arrived(&mut self) -> bool {
        let error = match self.reading.join_next().await {
            None => pending().await,
            Some(Ok((at, Ok(known)))) => {
                self.known.insert(at, known);
                self.away = false;
                return true;
            }
            Some(Ok((_, Err(error)))) => error.to_string(),
            Some(Err(error)) => error.to_string(),
        };
        tracing::warn!(%error, "Postgres is away: provider accounts that need a credential from it wait");
        self.away = true;
        false
    }
}

async fn read(pool: PgPool, at: Reference) -> (Reference, Result<Known, sqlx::Error>) {
    let (id, version) = at;
    let row = sqlx::query_as(
        "SELECT sealing_key, sealed FROM sealed_secrets WHERE id = $1 AND version = $2",
    )
    .bind(id.uuid())
    .bind(i32::try_from(version).unwrap_or(i32::MAX))
    .fetch_optional(&pool)
    .await;
    let known = row.map(|row: Option<(String, Vec<u8>)>| match row {
        Some((key, sealed)) => Known::Sealed(SealedCredential { key, sealed }),
        None => Known::None,
    });
    (at, known)
}

//! Sealed credentials: read from Postgres, once for each reference, and never opened here.
//!
//! A reference's ciphertext never changes, so what was read is kept. When Postgres is away the entries that need it
//! wait, and everything else goes on: only the first look at an absent Postgres costs a short wait.

use std::{collections::HashMap, time::Duration};

use events_schema::{id::SecretId, secrets::SealedRef, snapshot::entries::SealedCredential};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

/// How long one look may take; beyond it Postgres counts as away.
const LOOK: Duration = Duration::from_millis(400);

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
    known: HashMap<(SecretId, u32), Known>,
    away: bool,
}

impl Credentials {
    /// Prepares to read from `postgres`; connects at the first look.
    pub(super) fn new(postgres: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LOOK)
            .connect_lazy_with(postgres);
        Self {
            pool,
            known: HashMap::new(),
            away: false,
        }
    }

    /// Whether Postgres was away at the last look.
    pub(super) const fn away(&self) -> bool {
        self.away
    }

    /// Allows another look after Postgres was away.
    pub(super) const fn look_again(&mut self) {
        self.away = false;
    }

    /// Forgets a credential that was shredded.
    pub(super) fn forget(&mut self, reference: &SealedRef) {
        self.known.remove(&(reference.id, reference.version));
    }

    /// What is known of this credential; `None` when Postgres is away.
    pub(super) async fn find(&mut self, reference: &SealedRef) -> Option<Known> {
        let at = (reference.id, reference.version);
        if let Some(known) = self.known.get(&at) {
            return Some(known.clone());
        }
        if self.away {
            return None;
        }
        match timeout(LOOK, self.read(reference)).await {
            Ok(Ok(known)) => {
                self.known.insert(at, known.clone());
                Some(known)
            }
            Ok(Err(error)) => self.lose(&error),
            Err(elapsed) => self.lose(&elapsed),
        }
    }

    fn lose(&mut self, error: &dyn std::fmt::Display) -> Option<Known> {
        tracing::warn!(%error, "Postgres is away: provider accounts that need a credential from it wait");
        self.away = true;
        None
    }

    async fn read(&self, reference: &SealedRef) -> Result<Known, sqlx::Error> {
        let row: Option<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT sealing_key, sealed FROM sealed_secrets WHERE id = $1 AND version = $2",
        )
        .bind(reference.id.uuid())
        .bind(i32::try_from(reference.version).unwrap_or(i32::MAX))
        .fetch_optional(&self.pool)
        .await?;
        Ok(match row {
            Some((key, sealed)) => Known::Sealed(SealedCredential { key, sealed }),
            None => Known::None,
        })
    }
}

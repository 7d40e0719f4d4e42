//! Where the log ends, read from the log itself: what follows from it is compared with that.

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{error::Elapsed, timeout};

/// How long one look may take; beyond it Postgres counts as away.
const LOOK: Duration = Duration::from_secs(5);

/// The last event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its position; 0 before the first.
    pub position: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// Why it is not known where the log ends.
#[derive(Debug, thiserror::Error)]
pub enum LogHeadError {
    /// Postgres said no, or is away.
    #[error("Postgres")]
    Postgres(#[from] sqlx::Error),
    /// It took too long.
    #[error("Postgres: no answer within {} s", LOOK.as_secs())]
    Late(#[from] Elapsed),
}

/// Asks Postgres for the log's end.
#[derive(Debug, Clone)]
pub struct LogHead(PgPool);

// === impl LogHead ===

impl LogHead {
    /// Prepares to read from `postgres`; connects at the first look.
    #[must_use]
    pub fn new(postgres: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LOOK)
            .connect_lazy_with(postgres);
        Self(pool)
    }

    /// The log's end, now.
    ///
    /// # Errors
    /// When Postgres does not say.
    pub async fn read(&self) -> Result<Head, LogHeadError> {
        let query = sqlx::query_as("SELECT position, hash FROM log_head");
        let (position, hash): (i64, Vec<u8>) = timeout(LOOK, query.fetch_one(&self.0)).await??;
        Ok(Head {
            // No position is negative.
            position: u64::try_from(position).unwrap_or_default(),
            hash: hex::encode(hash),
        })
    }
}

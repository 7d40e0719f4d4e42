//! The log in Postgres: the truth.
//!
//! - [`append`]: the one task of a process that writes to the log, in batches, and follows what others write;
//! - [`batch`]: one such batch, from lock to commit;
//! - [`compare`]: the log against `EVENTS`, on each new connection;
//! - [`read`], [`rows`]: the history, and how a row is written and read;
//! - [`checkpoint`]: the fold, kept so that a start need not read everything;
//! - [`migrations`]: the tables.

pub mod append;
mod batch;
pub mod checkpoint;
pub mod compare;
mod handle;
mod migrations;
pub mod read;
pub mod rows;
mod side;

use std::{str::FromStr, time::Duration};

use events_schema::{
    envelope::{ChainError, GENESIS},
    events::DecodeError,
    state::Organisation,
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub(crate) use self::batch::try_out;
pub use self::{
    handle::{LogHandle, start},
    migrations::migrate,
};
use crate::control::Head;

/// On which channel each append notifies.
pub const CHANNEL: &str = "sluice_log";

/// Connections for reading and for tables beside the log.
const POOL_CONNECTIONS: u32 = 10;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What was being read could not be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database refused, or is away.
    #[error("{doing} failed")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A column holds what this code never writes.
    #[error("the column '{column}' at position {position} holds what nobody writes there")]
    Column {
        /// The row.
        position: u64,
        /// The column.
        column: &'static str,
    },
}

impl ReadError {
    /// Names what was being done when the database failed.
    pub fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

/// The log could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It holds an event that this code cannot read.
    #[error("the event at position {position} cannot be read: {source}")]
    Decode {
        /// The event's position.
        position: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// Its chain is broken.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL of the database is not one.
    #[error("the Postgres URL is not understood: {0}")]
    Url(String),
    /// The database cannot be reached.
    #[error("Postgres cannot be reached: {0}")]
    Connect(#[source] sqlx::Error),
    /// A migration failed.
    #[error("migration {version} ({name}) failed: {source}")]
    Migration {
        /// Its number.
        version: i32,
        /// Its name.
        name: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database was migrated by a newer version of Sluice.
    #[error("the database has migration {0}, which this version of Sluice does not know")]
    NewerDatabase(i32),
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
    /// The appender's thread cannot be had.
    #[error("the appender's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// The log before its first event.
pub(crate) const EMPTY: Head = Head {
    position: 0,
    hash: GENESIS,
    epoch: None,
    recorded_at: None,
    configured_at: 0,
};

/// How the service connects: never waits long for a lock, never sits on one.
pub(crate) fn connect_options(url: &str) -> Result<PgConnectOptions, StartError> {
    let options =
        PgConnectOptions::from_str(url).map_err(|error| StartError::Url(error.to_string()))?;
    Ok(options.application_name("sluice-commands").options([
        ("lock_timeout", "2000ms"),
        ("idle_in_transaction_session_timeout", "5000ms"),
        ("statement_timeout", "60000ms"),
    ]))
}

/// A pool for reading, and for tables beside the log.
pub(crate) async fn connect_pool(options: PgConnectOptions) -> Result<PgPool, StartError> {
    let pool = PgPoolOptions::new()
        .max_connections(POOL_CONNECTIONS)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_with(options)
        .await;
    pool.map_err(StartError::Connect)
}

/// Opens a pool by hand, for tools that only read.
///
/// # Errors
/// See [`StartError`].
pub async fn open_pool(url: &str) -> Result<PgPool, StartError> {
    connect_pool(connect_options(url)?).await
}

/// The state as of `position`; `None` past the end of the log.
///
/// # Errors
/// See [`LogError`].
pub async fn state_at(pool: &PgPool, position: u64) -> Result<Option<Organisation>, LogError> {
    let (mut state, mut hash) = match checkpoint::newest(pool, position).await? {
        Some(found) => (found.state, found.hash),
        None => (Organisation::default(), GENESIS),
    };
    while state.position() < position {
        let rows = read::between(pool, state.position(), position, read::PAGE).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for row in rows {
            row.check_follows(state.position(), &hash)?;
            state.apply(&row).map_err(|source| LogError::Decode {
                position: row.position,
                source,
            })?;
            hash = row.hash;
        }
    }
    Ok(Some(state))
}

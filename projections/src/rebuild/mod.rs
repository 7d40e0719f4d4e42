//! Building again what follows from something else: beside what is live, compared with it, then put in its place.
//!
//! | what | from | put in place by |
//! |---|---|---|
//! | `audit` | `EVENTS` | exchanging `admin_events` |
//! | `ledger` | `requests` and `cost_corrections`, of which the rollups follow | exchanging `usage_1m` and `cost_corrections_1m` |
//! | `snapshots` | `EVENTS`, and the sealed credentials in Postgres | sending every entry again, fenced like any publisher |
//!
//! `requests` itself follows from `USAGE`, for as long as that holds its messages: 90 days and 8 GiB. Without the table
//! the ledger worker reads all of it again by itself. What is older is in `requests` and nowhere else, and so is the
//! time before `requests` begins in `usage_1m`, which is taken over as it is.

pub mod audit;
pub mod ledger;
mod pause;

use crate::feed::FeedError;
use crate::warehouse::WarehouseError;

/// Tries, each disturbed by a worker that began anew, before it is given up.
const TRIES: u32 = 5;

/// What a rebuild came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many rows, or entries, were built.
    pub built: u64,
    /// How many of those that were live were not there, or differed, or had to go.
    pub differed: u64,
}

/// Why nothing was put in place.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// ClickHouse did not do its part.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// NATS did not do its part.
    #[error("{0}")]
    Feed(String),
    /// The history cannot be read.
    #[error("the history cannot be followed: {0}")]
    History(String),
    /// The worker that corrects costs could not be stopped.
    #[error("letting corrections of prices begin anew: {0}")]
    Corrections(String),
    /// A worker did not come to rest.
    #[error("the worker does not come to rest: nothing was changed")]
    Restless,
    /// Somebody asked for the end.
    #[error("broken off: nothing was changed")]
    BrokenOff,
}

impl From<FeedError> for RebuildError {
    fn from(error: FeedError) -> Self {
        Self::Feed(crate::feed::chain(&error))
    }
}

/// Takes lines about how far the work is.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

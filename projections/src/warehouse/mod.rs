//! ClickHouse, where the ledger and the audit trail live: the connection, and the tables.
//!
//! Everything here can be deleted: the audit trail is rebuilt from `EVENTS`, the ledger from what
//! `USAGE` still holds.

mod beside;
mod migrations;
mod retention;
mod rollup;

pub(crate) use self::retention::Decided;
pub use self::retention::RetentionError;

use std::future::Future;
use std::time::Duration;

use clickhouse::Client;
use tokio::time::timeout;

/// A statement that takes longer than this has lost its server: an insert of one batch takes
/// milliseconds, reading all marks of a large ledger some seconds.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to ClickHouse.
#[derive(Clone)]
pub struct Warehouse {
    client: Client,
}

/// Why ClickHouse did not do something.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The URL cannot be used.
    #[error("a ClickHouse URL is http://[user:password@]host:port, not {0}")]
    Url(String),
    /// It answered with an error, or not at all.
    #[error("ClickHouse: {doing}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: clickhouse::error::Error,
    },
    /// It took too long.
    #[error("ClickHouse: {doing}: no answer within {} s", STATEMENT_TIMEOUT.as_secs())]
    Late {
        /// What was being done.
        doing: &'static str,
    },
}

// === impl Warehouse ===

impl Warehouse {
    /// Prepares to connect to `http://[user:password@]host:port`; connects at the first statement.
    ///
    /// # Errors
    /// [`WarehouseError::Url`]
    pub fn new(url: &str) -> Result<Self, WarehouseError> {
        let wrong = || WarehouseError::Url(without_password(url));
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let (credentials, host) = match authority.as_str().rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority.as_str()),
        };
        let mut client = Client::default().with_url(format!("{scheme}://{host}"));
        if let Some(credentials) = credentials {
            let (user, password) = credentials.split_once(':').ok_or_else(wrong)?;
            client = client.with_user(user).with_password(password);
        }
        // Its answer to an insert must mean that the rows are stored.
        client = client.with_setting("async_insert", "0");
        Ok(Self { client })
    }

    /// The client, for queries of one's own.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Makes whatever table is missing.
    ///
    /// # Errors
    /// What ClickHouse said.
    pub async fn migrate(&self) -> Result<(), WarehouseError> {
        for statement in migrations::statements() {
            within("making a table", self.client.query(&statement).execute()).await?;
        }
        Ok(())
    }
}

/// Waits for one statement, and says what it was for when it fails.
///
/// # Errors
/// What ClickHouse said, or that it said nothing in time.
pub async fn within<T>(
    doing: &'static str,
    statement: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, WarehouseError> {
    match timeout(STATEMENT_TIMEOUT, statement).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(WarehouseError::Refused { doing, source }),
        Err(_) => Err(WarehouseError::Late { doing }),
    }
}

fn without_password(url: &str) -> String {
    url.rsplit_once('@')
        .map_or_else(|| url.to_owned(), |(_, host)| format!("…@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_named_without_its_password() {
        for url in [
            "localhost:7704",
            "http://user@host:1",
            "",
            "user:secret@host:1/x y",
        ] {
            let Err(error) = Warehouse::new(url) else {
                panic!("{url} was taken")
            };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for url in [
            "http://127.0.0.1:7704",
            "http://default:secret@127.0.0.1:7704",
        ] {
            assert!(Warehouse::new(url).is_ok(), "{url}");
        }
    }
}

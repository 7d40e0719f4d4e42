//! ClickHouse, where the ledger and the audit trail live: the connection, and the tables.
//!
//! Everything here can be deleted: the audit trail is rebuilt from `EVENTS`, the ledger from what
//! `USAGE` still holds.

mod beside;
mod migrations;
mod retention;
mod rollup;

pub(crate) use self::retention::Kept;
pub use self::retention::RetentionError;

use std::future::Future;
use std::time::Duration;

use clickhouse::Client;
use events_schema::address::Address;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tokio::time::timeout;

use crate::trust::{self, Trust, TrustError};

/// A statement that takes longer than this has lost its server: an insert of one batch takes
/// milliseconds, reading all marks of a large ledger some seconds.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A dead connection is noticed after this.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// An idle connection is closed before the server does it, which waits 3 s.
const IDLE: Duration = Duration::from_secs(2);

/// A connection to ClickHouse.
#[derive(Clone)]
pub struct Warehouse {
    client: Client,
}

/// Why ClickHouse did not do something.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The URL cannot be used.
    #[error("a ClickHouse URL is http[s]://[user:password@]host:port")]
    Url,
    /// Nobody can be trusted.
    #[error("connecting to ClickHouse over TLS")]
    Trust(#[from] TrustError),
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
    /// Prepares to connect to `http[s]://[user:password@]host:port`; connects at the first statement.
    ///
    /// # Errors
    /// [`WarehouseError::Url`], [`WarehouseError::Trust`]
    pub fn new(url: &str, trust: &Trust) -> Result<Self, WarehouseError> {
        let address: Address = url.parse().map_err(|_| WarehouseError::Url)?;
        if !["http", "https"].contains(&address.scheme()) {
            return Err(WarehouseError::Url);
        }
        let mut http = HttpConnector::new();
        http.set_keepalive(Some(TCP_KEEPALIVE));
        let connector = trust::connector(trust, address.is_encrypted(), http)?;
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let mut client = Client::with_http_client(http).with_url(address.to_string());
        if let Some(who) = address.credentials() {
            if address.is_readable_on_the_way() {
                tracing::warn!(server = %address, "the password for ClickHouse can be read on the way there: use https://");
            }
            client = client.with_user(&who.user).with_password(&who.password);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_named_without_its_password() {
        for url in [
            "localhost:7704",
            "nats://default:secret@host:1",
            "",
            "user:secret@host:1/x y",
        ] {
            let Err(error) = Warehouse::new(url, &Trust::default()) else {
                panic!("{url} was taken")
            };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for url in [
            "http://127.0.0.1:7704",
            "http://default:secret@127.0.0.1:7704",
        ] {
            assert!(Warehouse::new(url, &Trust::default()).is_ok(), "{url}");
        }
    }
}

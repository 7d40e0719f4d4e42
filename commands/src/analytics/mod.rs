//! The dashboard's questions to the ledger in ClickHouse.
//!
//! Sums come from the rollup `usage_1m`, so time ranges are whole minutes there: the minute in which a
//! range begins belongs to it, and so does the one in which it ends. Single requests come from `requests`.
//! Before the ledger has made its tables, it has no records: that is an answer, not an error.
//!
//! Names of people are not in ClickHouse; whoever answers a client adds them.

mod counters;
mod refusals;
mod repricing;
mod requests;
mod sql;
mod sums;

use std::{future::Future, time::Duration};

use clickhouse::Client;
use events_schema::{address::Address, time::Timestamp};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tokio::time::timeout;

pub use self::{
    counters::{CountedPer, CountedRow, MOST_BUDGETS, MOST_POLICIES},
    refusals::RefusalFilter,
    repricing::Proposal,
    requests::{RequestFilter, RequestPage, RequestRecord},
};
use crate::trust::{self, Trust, TrustError};

/// A question that takes longer is given up: someone looks at an empty chart meanwhile.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest time range: the longest that the settings let the ledger keep requests, 3,650 days.
const MAX_RANGE_SECONDS: u64 = 3_650 * 86_400;
/// The most steps in one chart: a screen has no more columns.
const MAX_STEPS: u64 = 2_000;
/// The most requests in one page.
pub const MAX_PAGE: u32 = 500;
/// A dead connection is noticed after this.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// An idle connection is closed before the server does it, which waits 3 s.
const IDLE: Duration = Duration::from_secs(2);
/// `UNKNOWN_TABLE`, as ClickHouse says it.
const UNKNOWN_TABLE: &str = "Code: 60.";

/// Asks the ledger.
#[derive(Clone)]
pub struct Analytics {
    client: Client,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    /// The URL cannot be used.
    #[error("a ClickHouse URL is http[s]://[user:password@]host:port")]
    Url,
    /// Nobody can be trusted.
    #[error("connecting to ClickHouse over TLS")]
    Trust(#[from] TrustError),
    /// The question makes no sense; the field is that of the query.
    #[error("{problem}")]
    Question {
        /// Which parameter.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// ClickHouse answered with an error, or not at all.
    #[error("the ledger cannot be asked now")]
    Unavailable(#[source] clickhouse::error::Error),
    /// It took too long.
    #[error("the ledger did not answer within {} seconds", QUESTION_TIMEOUT.as_secs())]
    Late,
    /// A row holds what this version does not know.
    #[error("the ledger holds a request that this version cannot read: {0}")]
    Unreadable(String),
}

// === impl AnalyticsError ===

impl AnalyticsError {
    fn question(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Question {
            field,
            problem: problem.into(),
        }
    }
}

// === impl Analytics ===

impl Analytics {
    /// Prepares to ask the ClickHouse at `http[s]://[user:password@]host:port`; connects at the first question.
    ///
    /// # Errors
    /// [`AnalyticsError::Url`], [`AnalyticsError::Trust`]
    pub fn new(url: &str, trust: &Trust) -> Result<Self, AnalyticsError> {
        let address: Address = url.parse().map_err(|_| AnalyticsError::Url)?;
        if !["http", "https"].contains(&address.scheme()) {
            return Err(AnalyticsError::Url);
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
        Ok(Self { client })
    }

    /// Since when the ledger has records: the oldest request's arrival. `None`: it has none.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn records_since(&self) -> Result<Option<Timestamp>, AnalyticsError> {
        let query = self
            .client
            .query("SELECT count(), toUnixTimestamp64Micro(min(received_at)) FROM requests");
        let (count, oldest) = or_empty(ask(query.fetch_one::<(u64, i64)>()).await, || (0, 0))?;
        Ok((count > 0).then(|| Timestamp::from_micros(oldest).unwrap_or(Timestamp::MIN)))
    }
}

/// A time range of a question, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

// === impl Range ===

impl Range {
    fn new(from: Timestamp, to: Timestamp) -> Result<Self, AnalyticsError> {
        if to <= from {
            return Err(AnalyticsError::question(
                "to",
                "the range must end after it begins",
            ));
        }
        if to.micros_since(from) / 1_000_000 > MAX_RANGE_SECONDS {
            let problem = format!(
                "the range is longer than {} days",
                MAX_RANGE_SECONDS / 86_400
            );
            return Err(AnalyticsError::question("from", problem));
        }
        Ok(Self { from, to })
    }
}

/// Waits for an answer.
async fn ask<T>(
    question: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, AnalyticsError> {
    match timeout(QUESTION_TIMEOUT, question).await {
        Ok(answer) => answer.map_err(AnalyticsError::Unavailable),
        Err(_) => Err(AnalyticsError::Late),
    }
}

/// Without its tables, the ledger is empty.
fn or_empty<T>(
    answer: Result<T, AnalyticsError>,
    empty: impl FnOnce() -> T,
) -> Result<T, AnalyticsError> {
    match answer {
        Err(AnalyticsError::Unavailable(clickhouse::error::Error::BadResponse(said)))
            if said.contains(UNKNOWN_TABLE) =>
        {
            Ok(empty())
        }
        answer => answer,
    }
}

//! Single requests, newest first, page by page.

use std::collections::BTreeMap;

use clickhouse::{Row, query::Query};
use events_schema::{
    api::analytics::RequestItem,
    money::NanoUsd,
    time::Timestamp,
    usage::{Endpoint, Outcome, Tokens},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{Analytics, AnalyticsError, MAX_PAGE, Range, ask, or_empty, sql};

/// Which requests are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFilter {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Of this owner: `user:<id>` or `virtual_account:<id>`.
    pub owner: Option<String>,
    /// Made with this key, by its id.
    pub key: Option<String>,
    /// Answered by this model, by its full name.
    pub target: Option<String>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// How many at most: 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// Some requests, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestPage {
    /// The requests.
    pub items: Vec<RequestItem>,
    /// Where the next page begins; `None`: this was the last.
    pub next_cursor: Option<String>,
}

#[derive(Debug, Row, Deserialize)]
struct RequestRow {
    request: (u64, u64),
    received_at: i64,
    gateway: (u64, u64),
    position: u64,
    endpoint: String,
    streamed: bool,
    key: String,
    owner: String,
    requested_model: String,
    target: String,
    attempts: String,
    outcome: String,
    status: u16,
    error_code: String,
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_tokens: u64,
    tokens_estimated: bool,
    cost: Option<u64>,
    duration_us: u64,
    first_byte_us: Option<u64>,
    metadata: Vec<(String, String)>,
}

/// The last request of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    received_at: i64,
    request: Uuid,
}

// === impl Analytics ===

impl Analytics {
    /// A page of requests.
    ///
    /// # Errors
    /// When the question makes no sense, or ClickHouse does not answer.
    pub async fn requests(&self, filter: &RequestFilter) -> Result<RequestPage, AnalyticsError> {
        let range = Range::new(filter.from, filter.to)?;
        if !(1..=MAX_PAGE).contains(&filter.limit) {
            return Err(AnalyticsError::question(
                "limit",
                format!("a page has 1 to {MAX_PAGE} requests"),
            ));
        }
        let cursor = filter.cursor.as_deref().map(Cursor::parse).transpose()?;
        // One more than asked for tells whether there is another page.
        let query = filter
            .query(self, range, cursor)
            .param("limit", filter.limit + 1);
        let mut rows: Vec<RequestRow> = or_empty(ask(query.fetch_all()).await, Vec::new)?;
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| has_more)
            .map(|row| Cursor::of(row).to_string());
        let items = rows
            .into_iter()
            .map(RequestRow::item)
            .collect::<Result<_, _>>()?;
        Ok(RequestPage { items, next_cursor })
    }
}

// === impl RequestFilter ===

impl RequestFilter {
    fn query(&self, analytics: &Analytics, range: Range, cursor: Option<Cursor>) -> Query {
        let mut conditions = Vec::new();
        let mut values: Vec<(&str, &str)> = Vec::new();
        for (name, value, condition) in [
            ("owner", self.owner.as_deref(), "owner = {owner:String}"),
            ("key", self.key.as_deref(), "key = {key:String}"),
            ("target", self.target.as_deref(), "target = {target:String}"),
            (
                "outcome",
                self.outcome.map(Outcome::as_str),
                "outcome = {outcome:String}",
            ),
        ] {
            if let Some(value) = value {
                conditions.push(condition);
                values.push((name, value));
            }
        }
        if cursor.is_some() {
            conditions.push(
                "(received_at, request) < (fromUnixTimestamp64Micro({last_time:Int64}, 'UTC'), {last_request:UUID})",
            );
        }
        let mut query = analytics.client.query(&sql::requests(&conditions));
        query = query
            .param("from", range.from.micros())
            .param("to", range.to.micros());
        for (name, value) in values {
            query = query.param(name, value);
        }
        match cursor {
            Some(Cursor {
                received_at,
                request,
            }) => query
                .param("last_time", received_at)
                .param("last_request", request.to_string()),
            None => query,
        }
    }
}

// === impl RequestRow ===

impl RequestRow {
    fn item(self) -> Result<RequestItem, AnalyticsError> {
        let request = uuid(self.request);
        let unreadable =
            |what: &str| AnalyticsError::Unreadable(format!("{request} has an unknown {what}"));
        let endpoint = [Endpoint::ChatCompletions, Endpoint::Embeddings]
            .into_iter()
            .find(|endpoint| endpoint.as_str() == self.endpoint)
            .ok_or_else(|| unreadable("endpoint"))?;
        let outcome = Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == self.outcome)
            .ok_or_else(|| unreadable("outcome"))?;
        Ok(RequestItem {
            request,
            received_at: Timestamp::from_micros(self.received_at)
                .map_err(|_| unreadable("time"))?,
            endpoint,
            streamed: self.streamed,
            key: some(self.key),
            owner: some(self.owner),
            owner_name: None,
            requested_model: self.requested_model,
            target: some(self.target),
            attempts: serde_json::from_str(&self.attempts)
                .map_err(|_| unreadable("list of attempts"))?,
            outcome,
            status: self.status,
            error_code: some(self.error_code),
            tokens: Tokens {
                input: self.input_tokens,
                cached_input: self.cached_input_tokens,
                output: self.output_tokens,
                reasoning: self.reasoning_tokens,
                estimated: self.tokens_estimated,
            },
            cost: self.cost.map(NanoUsd::new),
            duration_us: self.duration_us,
            first_byte_us: self.first_byte_us,
            position: self.position,
            gateway: uuid(self.gateway),
            metadata: BTreeMap::from_iter(self.metadata),
        })
    }
}

/// ClickHouse's binary form of a UUID.
fn uuid((high, low): (u64, u64)) -> Uuid {
    Uuid::from_u64_pair(high, low)
}

/// What does not apply is empty in the table.
fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

// === impl Cursor ===

impl Cursor {
    fn of(row: &RequestRow) -> Self {
        Self {
            received_at: row.received_at,
            request: uuid(row.request),
        }
    }

    fn parse(text: &str) -> Result<Self, AnalyticsError> {
        let parts = text.split_once('-').and_then(|(time, request)| {
            Some(Self {
                received_at: time.parse().ok()?,
                request: Uuid::try_parse(request).ok()?,
            })
        });
        parts.ok_or_else(|| {
            AnalyticsError::question("cursor", "this is no cursor of a page of requests")
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.received_at, self.request.as_simple())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back() {
        let cursor = Cursor {
            received_at: 1_795_348_800_000_001,
            request: Uuid::from_u128(7),
        };
        assert_eq!(
            Cursor::parse(&cursor.to_string()).expect("a cursor"),
            cursor
        );
        for wrong in ["", "1", "x-00000000000000000000000000000007", "1-x"] {
            assert!(Cursor::parse(wrong).is_err(), "{wrong}");
        }
    }
}

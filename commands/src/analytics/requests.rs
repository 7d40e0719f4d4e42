//! Single requests, newest first, page by page.

use std::{borrow::Cow, collections::BTreeMap};

use clickhouse::{Row, query::Query};
use events_schema::{
    api::analytics::{CostCorrection, RequestItem},
    envelope::Epoch,
    id::ModelId,
    money::NanoUsd,
    time::Timestamp,
    usage::{Endpoint, LimitSeen, Outcome, RoutingGrounds, Tokens},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{Analytics, AnalyticsError, MAX_PAGE, Range, ask, or_empty, repricing::nanos, sql};

/// The hexadecimal digits of an id.
const ID_DIGITS: usize = 32;
/// Before which of them a hyphen stands.
const HYPHENS: [usize; 4] = [8, 12, 16, 20];
/// How far a request's arrival may be from the time in its id, in microseconds: both are read from one clock, within
/// one request.
const NEAR_MICROS: i64 = 3_600_000_000;
/// The year 2100, in microseconds since 1970: no request arrives later.
const LATEST_MICROS: i64 = 4_102_444_800_000_000;

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
    /// Asked for this model, by the name that the caller gave.
    pub requested_model: Option<String>,
    /// Answered by this model, by its full name.
    pub target: Option<String>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// That did not end well, or did.
    pub failed: Option<bool>,
    /// Refused with this code.
    pub error_code: Option<String>,
    /// Of which a limit of this policy, or key, was exceeded: `rate_limit_policy:<id>`, `budget_policy:<id>` or `key:<id>`.
    pub exceeded: Option<String>,
    /// That a policy would have refused that only audits, or that none would have.
    pub audited: Option<bool>,
    /// Answered with this HTTP status.
    pub status: Option<u16>,
    /// For which a stream was asked, or was not.
    pub streamed: Option<bool>,
    /// Through this gateway.
    pub gateway: Option<Uuid>,
    /// Whose id begins with these hexadecimal digits; hyphens do not count.
    pub request: Option<String>,
    /// How many at most: 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A request with what the list does not show.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    /// What the list shows.
    pub item: RequestItem,
    /// What the model's name stood for: `<aggregate>:<id>`.
    pub resolved: Option<String>,
    /// The model that answered.
    pub answered_by: Option<ModelId>,
    /// What else the choice among targets depended on.
    pub routing: Option<RoutingGrounds>,
    /// The counters of budgets for which it counted: `<policy>:<segment>`.
    pub budgets: Vec<String>,
    /// How limits and budgets stood that were asked.
    pub limits: Vec<LimitSeen>,
    /// The rules that fired.
    pub rules: Vec<String>,
    /// The seed of the choice among targets.
    pub seed: u64,
    /// The epoch of the configuration that decided on it.
    pub epoch: Option<Epoch>,
    /// Where the gateway runs.
    pub region: String,
    /// The life of the gateway's process.
    pub incarnation: Uuid,
    /// The record's number in that life.
    pub number: u64,
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
    cache_write_input_tokens: Option<u64>,
    audio_input_tokens: Option<u64>,
    output_tokens: u64,
    reasoning_tokens: u64,
    audio_output_tokens: Option<u64>,
    tokens_estimated: bool,
    cost: Option<u64>,
    duration_us: u64,
    first_byte_us: Option<u64>,
    metadata: Vec<(String, String)>,
}

/// The columns of `requests` that [`RequestRow`] has not.
#[derive(Debug, Row, Deserialize)]
struct RestRow {
    incarnation: (u64, u64),
    number: u64,
    region: String,
    epoch: String,
    resolved: String,
    answered_by: String,
    routing: String,
    budgets: Vec<String>,
    limits: String,
    rules: Vec<String>,
    seed: u64,
}

/// What corrections of prices make of a request.
#[derive(Debug, Clone, Copy, Row, Deserialize)]
struct CorrectionRow {
    which: (u64, u64),
    all_amount: i128,
    /// That of the correction that holds; 0: none does any more.
    last_position: u64,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    /// The name of its parameter.
    name: &'static str,
    /// The condition, which names the parameter.
    sql: Cow<'static, str>,
    /// The parameter's value.
    value: String,
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
            .query(self, range, cursor)?
            .param("limit", filter.limit + 1);
        let mut rows: Vec<RequestRow> = or_empty(ask(query.fetch_all()).await, Vec::new)?;
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| has_more)
            .map(|row| Cursor::of(row).to_string());
        let mut items = rows
            .into_iter()
            .map(RequestRow::item)
            .collect::<Result<Vec<_>, _>>()?;
        self.correct(&mut items).await?;
        Ok(RequestPage { items, next_cursor })
    }

    /// Puts in what requests cost by corrections of their prices.
    async fn correct(&self, items: &mut [RequestItem]) -> Result<(), AnalyticsError> {
        let times = || items.iter().map(|it| it.received_at);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Ok(());
        };
        let these: Vec<String> = items.iter().map(|it| it.request.to_string()).collect();
        let query = self
            .client
            .query(&sql::corrections())
            .param("from", first.micros())
            .param("to", last.plus_micros(1).micros())
            .param("these", these);
        let rows = or_empty(ask(query.fetch_all::<CorrectionRow>()).await, Vec::new)?;
        let rows: BTreeMap<Uuid, CorrectionRow> =
            rows.into_iter().map(|row| (uuid(row.which), row)).collect();
        for item in items {
            if let Some(row) = rows.get(&item.request) {
                row.correct(item);
            }
        }
        Ok(())
    }

    /// The request of this id; `None`: the ledger has none, or no longer.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or holds what this version does not know.
    pub async fn request(&self, id: Uuid) -> Result<Option<RequestRecord>, AnalyticsError> {
        let (from, to) = arrival(id);
        let sql = sql::requests(&[sql::IS_REQUEST]);
        let asked = || {
            self.client
                .query(&sql)
                .param("from", from)
                .param("to", to)
                .param("request", id.to_string())
                .param("limit", 1)
        };
        let (row, rest) = (asked(), asked());
        let (row, rest) = tokio::try_join!(
            async { or_empty(ask(row.fetch_optional::<RequestRow>()).await, || None) },
            async { or_empty(ask(rest.fetch_optional::<RestRow>()).await, || None) },
        )?;
        let found = row.zip(rest).map(|(row, rest)| rest.record(row));
        let Some(mut record) = found.transpose()? else {
            return Ok(None);
        };
        self.correct(std::slice::from_mut(&mut record.item)).await?;
        Ok(Some(record))
    }
}

// === impl CorrectionRow ===

impl CorrectionRow {
    fn correct(&self, item: &mut RequestItem) {
        if self.last_position == 0 {
            return;
        }
        let first_cost = item.cost;
        let first = i128::from(first_cost.unwrap_or_default().nanos());
        item.cost = Some(nanos(first.saturating_add(self.all_amount)));
        item.correction = Some(CostCorrection {
            position: self.last_position,
            first_cost,
        });
    }
}

// === impl RequestFilter ===

impl RequestFilter {
    /// What must hold: each condition with the name and the value of its parameter.
    fn conditions(&self) -> Result<Vec<Condition>, AnalyticsError> {
        let request = self.request.as_deref().map(id_prefix).transpose()?;
        let outcome = self.outcome.map(|outcome| outcome.as_str().to_owned());
        let text = |value: Option<bool>| value.map(|value| value.to_string());
        let all = [
            ("owner", "owner = {owner:String}", self.owner.clone()),
            ("key", "key = {key:String}", self.key.clone()),
            (
                "requested_model",
                "requested_model = {requested_model:String}",
                self.requested_model.clone(),
            ),
            ("target", "target = {target:String}", self.target.clone()),
            ("outcome", "outcome = {outcome:String}", outcome),
            (
                "failed",
                "(outcome != 'success') = {failed:Bool}",
                text(self.failed),
            ),
            (
                "error_code",
                "error_code = {error_code:String}",
                self.error_code.clone(),
            ),
            (
                "status",
                "status = {status:UInt16}",
                self.status.map(|status| status.to_string()),
            ),
            (
                "streamed",
                "streamed = {streamed:Bool}",
                text(self.streamed),
            ),
            (
                "gateway",
                "gateway = {gateway:UUID}",
                self.gateway.map(|gateway| gateway.to_string()),
            ),
            (
                "request",
                "startsWith(toString(request), {request:String})",
                request,
            ),
            ("exceeded", sql::WAS_EXCEEDED, self.exceeded.clone()),
        ];
        let audited = (
            "audited",
            Cow::Owned(sql::was_audited()),
            text(self.audited),
        );
        let all = all.map(|(name, sql, value)| (name, Cow::Borrowed(sql), value));
        let wanted = all.into_iter().chain([audited]);
        let wanted = wanted.filter_map(|(name, sql, value)| {
            Some(Condition {
                name,
                sql,
                value: value?,
            })
        });
        Ok(wanted.collect())
    }

    fn query(
        &self,
        analytics: &Analytics,
        range: Range,
        cursor: Option<Cursor>,
    ) -> Result<Query, AnalyticsError> {
        let conditions = self.conditions()?;
        let mut all: Vec<&str> = conditions.iter().map(|it| &*it.sql).collect();
        if cursor.is_some() {
            all.push(
                "(received_at, request) < (fromUnixTimestamp64Micro({last_time:Int64}, 'UTC'), {last_request:UUID})",
            );
        }
        let mut query = analytics.client.query(&sql::requests(&all));
        query = query
            .param("from", range.from.micros())
            .param("to", range.to.micros());
        for Condition {
            name,
            sql: _,
            value,
        } in conditions
        {
            query = query.param(name, value);
        }
        Ok(match cursor {
            Some(Cursor {
                received_at,
                request,
            }) => query
                .param("last_time", received_at)
                .param("last_request", request.to_string()),
            None => query,
        })
    }
}

/// The beginning of an id, as ClickHouse writes ids.
fn id_prefix(text: &str) -> Result<String, AnalyticsError> {
    let digits: String = text
        .chars()
        .filter(|digit| *digit != '-')
        .map(|digit| digit.to_ascii_lowercase())
        .collect();
    if !(1..=ID_DIGITS).contains(&digits.len()) || !digits.chars().all(|it| it.is_ascii_hexdigit())
    {
        return Err(AnalyticsError::question(
            "request",
            "an id, or the beginning of one, is 1 to 32 hexadecimal digits",
        ));
    }
    let mut prefix = String::with_capacity(digits.len() + HYPHENS.len());
    for (at, digit) in digits.chars().enumerate() {
        if HYPHENS.contains(&at) {
            prefix.push('-');
        }
        prefix.push(digit);
    }
    Ok(prefix)
}

/// When a request with this id can have arrived, in microseconds since 1970: an id of version 7 tells the time.
fn arrival(id: Uuid) -> (i64, i64) {
    let told = id.get_timestamp().filter(|_| id.get_version_num() == 7);
    let Some((seconds, nanos)) = told.map(|time| time.to_unix()) else {
        return (0, LATEST_MICROS);
    };
    let micros = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(LATEST_MICROS);
    let micros = micros
        .saturating_add(i64::from(nanos / 1_000))
        .clamp(0, LATEST_MICROS);
    (
        (micros - NEAR_MICROS).max(0),
        (micros + NEAR_MICROS).min(LATEST_MICROS),
    )
}

// === impl RequestRow ===

impl RequestRow {
    fn item(self) -> Result<RequestItem, AnalyticsError> {
        let request = uuid(self.request);
        let unreadable =
            |what: &str| AnalyticsError::Unreadable(format!("{request} has an unknown {what}"));
        let endpoint = Endpoint::ALL
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
                cache_write_input: self.cache_write_input_tokens,
                audio_input: self.audio_input_tokens,
                audio_output: self.audio_output_tokens,
            },
            cost: self.cost.map(NanoUsd::new),
            correction: None,
            duration_us: self.duration_us,
            first_byte_us: self.first_byte_us,
            position: self.position,
            gateway: uuid(self.gateway),
            metadata: BTreeMap::from_iter(self.metadata),
        })
    }
}

// === impl RestRow ===

impl RestRow {
    fn record(self, row: RequestRow) -> Result<RequestRecord, AnalyticsError> {
        let item = row.item()?;
        let unreadable = |what: &str| {
            AnalyticsError::Unreadable(format!("{} has an unknown {what}", item.request))
        };
        let epoch = some(self.epoch).map(|epoch| epoch.parse());
        let answered_by = some(self.answered_by).map(|model| model.parse());
        Ok(RequestRecord {
            resolved: some(self.resolved),
            answered_by: answered_by.transpose().map_err(|_| unreadable("model"))?,
            rules: self.rules,
            budgets: self.budgets,
            limits: some(self.limits)
                .map(|json| serde_json::from_str(&json))
                .transpose()
                .map_err(|_| unreadable("limit"))?
                .unwrap_or_default(),
            routing: some(self.routing)
                .map(|json| serde_json::from_str(&json))
                .transpose()
                .map_err(|_| unreadable("routing"))?,
            seed: self.seed,
            epoch: epoch.transpose().map_err(|_| unreadable("epoch"))?,
            region: self.region,
            incarnation: uuid(self.incarnation),
            number: self.number,
            item,
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

    fn filter() -> RequestFilter {
        RequestFilter {
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            owner: None,
            key: None,
            requested_model: None,
            target: None,
            outcome: None,
            failed: None,
            error_code: None,
            exceeded: None,
            audited: None,
            status: None,
            streamed: None,
            gateway: None,
            request: None,
            limit: 1,
            cursor: None,
        }
    }

    #[test]
    fn values_go_in_as_parameters_and_never_as_text() {
        assert_eq!(filter().conditions().expect("no question"), []);
        let nasty = Some("' OR 1 = 1 --".to_owned());
        let everything = RequestFilter {
            owner: nasty.clone(),
            key: nasty.clone(),
            requested_model: nasty.clone(),
            target: nasty.clone(),
            error_code: nasty.clone(),
            exceeded: nasty,
            audited: Some(true),
            outcome: Some(Outcome::StreamCut),
            failed: Some(true),
            status: Some(503),
            streamed: Some(false),
            gateway: Some(Uuid::from_u128(7)),
            request: Some("0".to_owned()),
            ..filter()
        };
        let conditions = everything.conditions().expect("conditions");
        assert_eq!(conditions.len(), 13);
        for Condition { name, sql, value } in conditions {
            assert!(sql.contains(&format!("{{{name}:")), "{sql}");
            assert!(!value.is_empty() && !sql.contains("OR 1"), "{sql}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_written_as_clickhouse_writes_ids() {
        let id = Uuid::from_u128(0x0193_7c4e_8a00_7000_8000_0123_4567_89ab);
        let (plain, hyphenated) = (id.simple().to_string(), id.to_string());
        for digits in 1..=32 {
            let prefix = id_prefix(&plain[..digits].to_uppercase()).expect("a beginning");
            assert!(hyphenated.starts_with(&prefix), "{prefix}");
        }
        assert_eq!(id_prefix(&hyphenated).expect("an id"), hyphenated);
        for wrong in ["", "-", "x", "0 OR 1", &"0".repeat(33)] {
            assert!(id_prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_of_version_7_tells_when_the_request_arrived() {
        let millis = 1_795_348_800_123_u128;
        let id = Uuid::from_u128(millis << 80 | 7 << 76 | 2 << 62);
        let micros = 1_795_348_800_123_000;
        assert_eq!(arrival(id), (micros - NEAR_MICROS, micros + NEAR_MICROS));
        for other in [Uuid::nil(), Uuid::from_u128(4 << 76 | 2 << 62 | 1 << 100)] {
            assert_eq!(arrival(other), (0, LATEST_MICROS));
        }
    }
}

//! What the ledger's rows have of what policies keep counters of: behind most counters stands a hash, and the rows know of what.

use std::collections::BTreeSet;

use clickhouse::Row;
use serde::Deserialize;

use super::{Analytics, AnalyticsError, Range, ask, or_empty};

/// How many counters of budgets are asked for in one question: their names fill 35 KiB.
pub const MOST_BUDGETS: usize = 500;
/// Of how many rate-limit policies is asked in one question.
pub const MOST_POLICIES: usize = 100;
/// How many requests the days have at least, the newest, that are looked through for the counters of budgets, if there are so many: a
/// counter that no request names is looked for in all of them.
const MOST_BUDGETED: u32 = 10_000_000;
/// How many requests are looked through for the counters of rate limits, and how many different values of theirs are told: beyond,
/// some counters go without a name.
const MOST_REQUESTS: u32 = 1_000_000;
const MOST_VALUES: u32 = 20_000;

/// What a request had of what may have a counter of its own; empty where it is not asked for, or there is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct CountedRow {
    /// Where it counted: `<policy>:<segment>` at a budget, `rate_limit_policy:<id>` at a rate limit.
    pub counter: String,
    /// Whose it was: `user:<id>` or `virtual_account:<id>`.
    pub whose: String,
    /// With which key.
    pub with_key: String,
    /// What it asked for: `<aggregate>:<id>`.
    pub wanted: String,
    /// The model that answered, or was tried last.
    pub answered: String,
    /// What its caller said about it.
    pub said: Vec<(String, String)>,
}

/// What a rate-limit policy keeps counters of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedPer {
    /// The policy, as records name it: `rate_limit_policy:<id>`.
    pub rule: String,
    /// Whether it matters whose a request is.
    pub owner: bool,
    /// Whether it matters with which key.
    pub key: bool,
    /// Whether it matters what for.
    pub model: bool,
    /// Which keys of the metadata matter.
    pub metadata: Vec<String>,
}

impl Analytics {
    /// For each of these counters of budgets, written `<policy>:<segment>`, a request of a time that counted there; at most
    /// [`MOST_BUDGETS`] are asked for. It stops looking when it has found one for each, and does not look at days that are older than
    /// the newest with [`MOST_BUDGETED`] requests.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub(crate) async fn counted_at_budgets(
        &self,
        range: Range,
        counters: &BTreeSet<String>,
    ) -> Result<Vec<CountedRow>, AnalyticsError> {
        let wanted: Vec<&String> = counters.iter().take(MOST_BUDGETS).collect();
        let query = self
            .client
            .query(AT_BUDGETS)
            .param("from", range.from.micros())
            .param("to", range.to.micros())
            .param("requests", MOST_BUDGETED)
            .param("limit", wanted.len())
            .param("wanted", wanted);
        or_empty(ask(query.fetch_all()).await, Vec::new)
    }

    /// What different requests of a time had of what these rate-limit policies keep counters of; at most [`MOST_POLICIES`] are asked
    /// for.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub(crate) async fn counted_at_rate_limits(
        &self,
        range: Range,
        policies: &[CountedPer],
    ) -> Result<Vec<CountedRow>, AnalyticsError> {
        let policies = &policies[..policies.len().min(MOST_POLICIES)];
        let those = |of: fn(&CountedPer) -> bool| -> Vec<&String> {
            let those = policies.iter().filter(|it| of(it));
            those.map(|it| &it.rule).collect()
        };
        let keys = policies.iter().flat_map(|it| {
            let rule = &it.rule;
            it.metadata.iter().map(move |key| format!("{rule}/{key}"))
        });
        let query = self
            .client
            .query(AT_RATE_LIMITS)
            .param("from", range.from.micros())
            .param("to", range.to.micros())
            .param("policies", those(|_| true))
            .param("by_owner", those(|it| it.owner))
            .param("by_key", those(|it| it.key))
            .param("by_model", those(|it| it.model))
            .param("by_metadata", keys.collect::<Vec<_>>())
            .param("requests", MOST_REQUESTS)
            .param("limit", MOST_VALUES);
        or_empty(ask(query.fetch_all()).await, Vec::new)
    }
}

/// Parameters `from` and `to` in microseconds, `requests`, `wanted` and how many those are. How many requests a day has is told
/// without reading any, since the table is cut by day; and days are passed over as a whole. An order by time, and a limit, would read
/// the whole time to find the newest.
const AT_BUDGETS: &str = "SELECT counter, owner AS whose, key AS with_key, resolved AS wanted, answered_by AS answered, \
     arrayMap(it -> (it, metadata[it]), mapKeys(metadata)) AS said \
     FROM requests ARRAY JOIN budgets AS counter \
     WHERE received_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') \
     AND received_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC') \
     AND toYYYYMMDD(received_at) >= (SELECT min(day) FROM \
     (SELECT day, sum(counted) OVER (ORDER BY day DESC) - counted AS newer FROM \
     (SELECT toYYYYMMDD(received_at) AS day, count() AS counted FROM requests GROUP BY day)) \
     WHERE newer < {requests:UInt32}) \
     AND counter IN (SELECT arrayJoin({wanted:Array(String)})) \
     LIMIT 1 BY counter LIMIT {limit:UInt32}";

/// Parameters `from` and `to` in microseconds, `policies` and which of them depend on what, `requests` and `limit`: it stops at so many
/// requests, and values.
const AT_RATE_LIMITS: &str = "SELECT DISTINCT counter, \
     if(has({by_owner:Array(String)}, counter), owner, '') AS whose, \
     if(has({by_key:Array(String)}, counter), key, '') AS with_key, \
     if(has({by_model:Array(String)}, counter), resolved, '') AS wanted, \
     if(has({by_model:Array(String)}, counter), answered_by, '') AS answered, \
     arrayMap(it -> (it, metadata[it]), \
     arrayFilter(it -> has({by_metadata:Array(String)}, concat(counter, '/', it)), mapKeys(metadata))) AS said \
     FROM (SELECT rules, owner, key, resolved, answered_by, metadata FROM requests \
     WHERE received_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') \
     AND received_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC') \
     AND hasAny(rules, {policies:Array(String)}) LIMIT {requests:UInt32}) \
     ARRAY JOIN arrayIntersect(rules, {policies:Array(String)}) AS counter \
     LIMIT {limit:UInt32}";

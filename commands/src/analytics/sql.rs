//! The text of the questions. Values go in as bound parameters, never as text.

use events_schema::api::analytics::GroupBy;

/// The columns of [`super::sums::SumRow`]. The names differ from the columns' own, so that ClickHouse
/// does not take one for the other. There is no quantile of nothing: it is said to be 0.
const SUMS: &str = "sum(requests) AS all_requests, sum(errors) AS all_errors, sum(input_tokens) AS all_input, \
     sum(output_tokens) AS all_output, sum(cost) AS all_cost, \
     arrayMap(q -> if(isNaN(q), 0, toUInt64(q)), quantilesTDigestMerge(0.5, 0.95, 0.99)(durations)) AS quantiles";

const IN_RANGE: &str =
    "minute >= toDateTime({from:UInt32}, 'UTC') AND minute < toDateTime({to:UInt32}, 'UTC')";

/// Groups in a chart; the rest are one more.
pub(super) const MAX_GROUPS: usize = 12;

/// The key of all groups beyond [`MAX_GROUPS`]: no full model name or owner's id looks like this.
pub(super) const OTHER: &str = "other";

/// Sums over a range: parameters `from` and `to`, in seconds.
pub(super) fn total() -> String {
    format!("SELECT '' AS key, toUInt64(0) AS step, {SUMS} FROM usage_1m WHERE {IN_RANGE}")
}

/// Sums by group over a range, the one with the most requests first.
pub(super) fn groups(by: GroupBy) -> String {
    let key = key(by);
    format!(
        "SELECT {key} AS key, toUInt64(0) AS step, {SUMS} FROM usage_1m WHERE {IN_RANGE} \
         GROUP BY key ORDER BY key = '{OTHER}', all_requests DESC, key"
    )
}

/// Sums by group and step: parameters also `step_seconds`. Steps are counted from `from`.
pub(super) fn steps(by: GroupBy) -> String {
    let key = key(by);
    format!(
        "SELECT {key} AS key, \
         toUInt64(intDiv(toUnixTimestamp(minute) - {{from:UInt32}}, {{step_seconds:UInt32}})) AS step, {SUMS} \
         FROM usage_1m WHERE {IN_RANGE} GROUP BY key, step"
    )
}

/// What a row belongs to: one of the largest groups, or the rest.
fn key(by: GroupBy) -> String {
    let column = match by {
        GroupBy::None => return "''".to_owned(),
        GroupBy::Model => "target",
        GroupBy::Owner => "owner",
    };
    format!(
        "if(toString({column}) IN (SELECT toString({column}) AS large FROM usage_1m WHERE {IN_RANGE} \
         GROUP BY large ORDER BY sum(requests) DESC, large LIMIT {MAX_GROUPS}), toString({column}), '{OTHER}')"
    )
}

/// That it is one request: parameter `request`.
pub(super) const IS_REQUEST: &str = "request = {request:UUID}";

/// Requests of a range, newest first: parameters `from` and `to` in microseconds, `limit`, and those of
/// the conditions.
pub(super) fn requests(conditions: &[&str]) -> String {
    let mut sql = "SELECT ?fields FROM requests \
         WHERE received_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') \
         AND received_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC')"
        .to_owned();
    for condition in conditions {
        sql.push_str(" AND ");
        sql.push_str(condition);
    }
    sql.push_str(" ORDER BY received_at DESC, request DESC LIMIT {limit:UInt32}");
    sql
}

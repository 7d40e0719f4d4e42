//! The text of the questions. Values go in as bound parameters, never as text.

use events_schema::{api::analytics::GroupBy, ledger};

/// The columns of [`super::sums::SumRow`]. The names differ from the columns' own, so that ClickHouse
/// does not take one for the other. There is no quantile of nothing: it is said to be 0.
const SUMS: &str = "sum(requests) AS all_requests, sum(errors) AS all_errors, sum(input_tokens) AS all_input, \
     sum(output_tokens) AS all_output, sum(cost) AS all_cost, \
     arrayMap(q -> if(isNaN(q), 0, toUInt64(q)), quantilesTDigestMerge(0.5, 0.95, 0.99)(durations)) AS quantiles";

/// The columns of [`super::sums::CorrectionRow`].
const CORRECTIONS: &str = "sum(amount) AS all_amount";

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

/// What corrections of prices add to [`total`], with the same parameters.
pub(super) fn corrections_in_total() -> String {
    format!(
        "SELECT '' AS key, toUInt64(0) AS step, {CORRECTIONS} FROM corrections_1m WHERE {IN_RANGE}"
    )
}

/// What corrections of prices add to [`groups`], with the same parameters.
pub(super) fn corrections_in_groups(by: GroupBy) -> String {
    let key = key(by);
    format!(
        "SELECT {key} AS key, toUInt64(0) AS step, {CORRECTIONS} FROM corrections_1m WHERE {IN_RANGE} GROUP BY key"
    )
}

/// What corrections of prices add to [`steps`], with the same parameters.
pub(super) fn corrections_in_steps(by: GroupBy) -> String {
    let key = key(by);
    format!(
        "SELECT {key} AS key, \
         toUInt64(intDiv(toUnixTimestamp(minute) - {{from:UInt32}}, {{step_seconds:UInt32}})) AS step, {CORRECTIONS} \
         FROM corrections_1m WHERE {IN_RANGE} GROUP BY key, step"
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

/// That a request arrived in the range: parameters `from` and `to`, in microseconds.
const ARRIVED: &str = "received_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') \
     AND received_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC')";

/// Whose policy would have refused a request that only audits: `<kind>:<id>`.
const AUDITED: &str = "arrayDistinct(arrayMap(it -> substring(it, length('audit:') + 1), \
     arrayFilter(it -> startsWith(it, 'audit:'), rules)))";

/// That a limit of one policy, or key, was exceeded: parameter `exceeded`.
pub(super) const WAS_EXCEEDED: &str = "has(exceeded, {exceeded:String})";

/// That a policy would have refused it that only audits, or that none would have: parameter `audited`.
pub(super) fn was_audited() -> String {
    format!("notEmpty({AUDITED}) = {{audited:Bool}}")
}

/// That a request was refused by a gateway itself.
const WAS_REFUSED: &str =
    "outcome IN ('limit_exceeded', 'unauthenticated', 'forbidden', 'unknown_model')";

/// The requests of a range in whose way something stood, once for each such thing: `(by, effect)`. Parameters `from` and `to`,
/// and that of the owner.
///
/// Who refused is who the caller was told of. What else was exceeded at the same time refused nothing, since no more than
/// one refusal is told; whether it only audits is known of those alone that were let through.
fn hits(of_owner: bool) -> String {
    let owner = owner(of_owner);
    let told = "multiIf(outcome != 'limit_exceeded', '-', \
         error_code = 'rate_limit_exceeded', \
         if(hasAny(rules, ['key:requests_per_minute', 'key:tokens_per_minute']), 'key:', 'rate_limit_policy:'), \
         error_code = 'rate_limit_unavailable', 'rate_limit_policy:', \
         error_code IN ('insufficient_quota', 'request_exceeds_budget', 'budget_lease_pending', 'budget_unavailable'), 'budget_policy:', '-')";
    let refusing = format!("arrayFilter(it -> startsWith(it, {told}), stood)");
    let code = "[if(error_code = '', toString(outcome), toString(error_code))]";
    format!(
        "SELECT owner, received_at, request, arrayJoin(arrayConcat(\
         arrayMap(it -> (it, 'audited'), audited), \
         arrayMap(it -> (it, 'diverted'), if({WAS_REFUSED}, emptyArrayString(), stood)), \
         arrayMap(it -> (it, 'refused'), multiIf(NOT {WAS_REFUSED}, emptyArrayString(), \
         notEmpty({refusing}), {refusing}, {code})))) AS hit \
         FROM (SELECT owner, received_at, request, outcome, error_code, rules, {AUDITED} AS audited, \
         arrayFilter(it -> NOT has(audited, it), exceeded) AS stood FROM requests \
         WHERE {ARRIVED}{owner} AND ({WAS_REFUSED} OR notEmpty(exceeded) OR notEmpty({AUDITED})))"
    )
}

const fn owner(of_owner: bool) -> &'static str {
    if of_owner {
        " AND owner = {owner:String}"
    } else {
        ""
    }
}

/// What stood in the way of requests, by what, how and whose: parameters `from` and `to` in microseconds, `limit`, and those
/// that are asked for of `owner`, `by` and `effect`.
pub(super) fn refusals(of_owner: bool, by: bool, effect: bool) -> String {
    let by = if by { " AND hit.1 = {by:String}" } else { "" };
    let effect = if effect {
        " AND hit.2 = {effect:String}"
    } else {
        ""
    };
    format!(
        "SELECT hit.1 AS by_what, hit.2 AS did, owner AS whose, count() AS counted, \
         toUnixTimestamp64Micro(max(received_at)) AS last_at, argMax(request, (received_at, request)) AS last_request \
         FROM ({hits}) WHERE 1{by}{effect} GROUP BY by_what, did, whose \
         ORDER BY counted DESC, by_what, did, whose LIMIT {{limit:UInt32}}",
        hits = hits(of_owner)
    )
}

/// How many requests there were in a range, and how many of them something stood in the way of: parameters `from` and `to` in
/// microseconds, and `owner` where one is asked for.
pub(super) fn refused_in_all(of_owner: bool) -> String {
    let owner = owner(of_owner);
    format!(
        "SELECT count() AS counted, countIf({WAS_REFUSED}) AS refused, countIf(notEmpty({AUDITED})) AS audited, \
         countIf(NOT {WAS_REFUSED} AND notEmpty(arrayFilter(it -> NOT has({AUDITED}, it), exceeded))) \
         AS diverted FROM requests WHERE {ARRIVED}{owner}"
    )
}

/// Requests of a range, newest first: parameters `from` and `to` in microseconds, `limit`, and those of
/// the conditions.
pub(super) fn requests(conditions: &[&str]) -> String {
    let mut sql = format!("SELECT ?fields FROM requests WHERE {ARRIVED}");
    for condition in conditions {
        sql.push_str(" AND ");
        sql.push_str(condition);
    }
    sql.push_str(" ORDER BY received_at DESC, request DESC LIMIT {limit:UInt32}");
    sql
}

/// The corrections of requests: parameters `from` and `to` in microseconds, and `these`, the requests' ids.
pub(super) fn corrections() -> String {
    format!(
        "SELECT request AS which, sum(amount) AS all_amount, argMax(position, ordinal) AS last_position \
         FROM corrections WHERE {ARRIVED} AND request IN {{these:Array(UUID)}} GROUP BY which"
    )
}

/// The requests that a correction of a price would change, each with what it costs before and after: parameters `from` and `to` in
/// microseconds, `model`, the three parts of the price, and the lists of [`ledger::RepricedLists`].
fn repriced() -> String {
    let before = ledger::corrected_cost_sql("place");
    let after = ledger::cost_sql("{input:UInt64}", "{cached_input:UInt64}", "{output:UInt64}");
    format!(
        "SELECT received_at, owner, {before} AS before, {after} AS after, \
         isNull(cost) AND place = 0 AND after > 0 AS no_price, input_tokens = 0 AND output_tokens = 0 AS no_tokens \
         FROM (SELECT *, {which} AS place FROM requests WHERE answered_by = {{model:String}} AND {ARRIVED})",
        which = ledger::WHICH
    )
}

/// What a correction of a price would change in all: the columns of [`super::repricing::TotalRow`].
pub(super) fn repricing() -> String {
    format!(
        "SELECT count() AS counted, sum(before) AS all_before, sum(after) AS all_after, \
         countIf(no_price) AS without_price, countIf(no_tokens) AS without_tokens FROM ({})",
        repriced()
    )
}

/// What a correction of a price would change in each part: the columns of [`super::repricing::PartRow`].
pub(super) fn repricing_by(part: &str, order: &str, bounded: bool) -> String {
    let limit = if bounded { " LIMIT {limit:UInt32}" } else { "" };
    format!(
        "SELECT {part} AS part, count() AS counted, sum(before) AS all_before, sum(after) AS all_after \
         FROM ({}) GROUP BY part ORDER BY {order}{limit}",
        repriced()
    )
}

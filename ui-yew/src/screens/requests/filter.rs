//! Which requests are shown: what stands in the address, as a question to the control plane. Pure.

use chrono::{DateTime, Duration, Utc};
use events_schema::time::Timestamp;

use crate::query::Query;
use crate::range::Range;
use crate::widgets::moment;
use crate::widgets::paging::encode;

/// The time range, where the address names none.
pub(super) const DEFAULT_RANGE: Range = Range::Day;

/// What the address calls a range between two moments.
pub(super) const BETWEEN: &str = "between";

/// How far back a range goes that has no beginning, in days: a day less than the longest that may be asked for. How
/// long the ledger keeps requests is a setting, and may be less or more.
const FARTHEST_DAYS: i64 = 399;

/// The filters that go to the control plane under the names that they have in the address.
const PASSED_ON: [&str; 13] = [
    "owner",
    "key",
    "target",
    "requested_model",
    "outcome",
    "failed",
    "status",
    "streamed",
    "gateway",
    "request",
    "error_code",
    "exceeded",
    "audited",
];

/// What filters, besides the time.
pub(super) fn filters(query: &Query) -> usize {
    PASSED_ON
        .iter()
        .filter(|name| !query.get(name).trim().is_empty())
        .count()
}

/// The query of a list of requests, from `from=`.
pub(super) fn question(query: &Query, now: DateTime<Utc>) -> String {
    let mut text = time(query, now);
    for name in PASSED_ON {
        let value = query.get(name).trim();
        if !value.is_empty() {
            text.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    text
}

fn time(query: &Query, now: DateTime<Utc>) -> String {
    if query.get("range") != BETWEEN {
        let range = Range::named(query.get("range")).unwrap_or(DEFAULT_RANGE);
        return range.window(now).query();
    }
    let named = |name: &str| moment::parse(query.get(name)).flatten();
    let moment = |time: DateTime<Utc>| Timestamp::from_chrono(time).unwrap_or(Timestamp::MAX);
    let to = named("to").unwrap_or_else(|| moment(now));
    let from =
        named("from").unwrap_or_else(|| moment(to.to_chrono() - Duration::days(FARTHEST_DAYS)));
    format!(
        "from={}&to={}",
        encode(&from.to_string()),
        encode(&to.to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-22T12:00:30Z".parse().expect("a time")
    }

    fn check(query: &str, expected: &str) {
        assert_eq!(question(&Query::parse(query), now()), expected);
    }

    #[test]
    fn only_what_is_chosen_is_asked_for() {
        let day = "from=2026-11-21T12%3A20%3A00.000000Z&to=2026-11-22T12%3A20%3A00.000000Z";
        check("", day);
        check("?range=nonsense&colour=blue", day);
        check(
            "?owner=user%3A00&failed=true&requested_model=%20chat%20&status=",
            &format!("{day}&owner=user%3A00&requested_model=chat&failed=true"),
        );
        assert_eq!(filters(&Query::parse("?range=1h&owner=a&status=500")), 2);
    }

    #[test]
    fn a_range_between_two_moments_has_ends_even_where_one_is_not_named() {
        check(
            "?range=between&from=2026-11-20T10:00&to=2026-11-20T11:00",
            "from=2026-11-20T10%3A00%3A00.000000Z&to=2026-11-20T11%3A00%3A00.000000Z",
        );
        check(
            "?range=between",
            "from=2025-10-19T12%3A00%3A30.000000Z&to=2026-11-22T12%3A00%3A30.000000Z",
        );
    }
}

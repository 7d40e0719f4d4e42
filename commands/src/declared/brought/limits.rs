//! `gateway-rate-limiting-config`: rules that say how many requests or tokens may be used in a while. Each becomes a rate-limit
//! policy that is called by its `id`, in the order of the file: the first that matches a request applies.

use events_schema::events::{LimitUnit, LimitWindow, RateLimit};

use super::{
    super::read::Fault,
    Brought,
    form::{At, number, only},
    policies::{self, Ids, Units},
};

/// Which field says what has a counter of its own.
const PER: &str = "rate_limit_applies_per";

/// What is counted, and in which time.
pub(in crate::declared) const UNITS: [(&str, (LimitUnit, LimitWindow)); 6] = [
    (
        "requests_per_minute",
        (LimitUnit::Requests, LimitWindow::Minute),
    ),
    (
        "requests_per_hour",
        (LimitUnit::Requests, LimitWindow::Hour),
    ),
    ("requests_per_day", (LimitUnit::Requests, LimitWindow::Day)),
    (
        "tokens_per_minute",
        (LimitUnit::Tokens, LimitWindow::Minute),
    ),
    ("tokens_per_hour", (LimitUnit::Tokens, LimitWindow::Hour)),
    ("tokens_per_day", (LimitUnit::Tokens, LimitWindow::Day)),
];

pub(super) fn read<'d>(
    at: &At<'d>,
    ids: &mut Ids,
    brought: &mut Brought<'d>,
    faults: &mut Vec<Fault>,
) {
    let units = Units {
        names: &UNITS,
        amount: limit,
    };
    let rules = brought.rate_limit_policies.get_or_insert_default();
    policies::document(at, faults, |rule, faults| {
        let known: Vec<_> = policies::FIELDS.into_iter().chain([PER]).collect();
        only(rule, &known, faults);
        rules.extend(ids.policy(rule, PER, &units, faults));
    });
}

fn limit((unit, window): (LimitUnit, LimitWindow), at: &At<'_>) -> Result<RateLimit, String> {
    match number(at)? {
        0 => Err("A limit is at least 1.".to_owned()),
        limit => Ok(RateLimit {
            unit,
            window,
            limit,
        }),
    }
}

//! In words, how a limit stood that was asked about a request, and what it said.

use events_schema::events::{LimitMode, LimitWhenCutOff};
use events_schema::usage::{CounterSeen, Instead, LimitMeasure, LimitOf, LimitPeriod, LimitSeen};

use crate::format;

/// One sentence, that says why.
pub(super) fn told(limit: &LimitSeen) -> String {
    let amount = |amount: u64| match limit.measure {
        LimitMeasure::Requests | LimitMeasure::Tokens => format::count(amount),
        LimitMeasure::Cost => format::usd(amount),
    };
    let unit = match limit.measure {
        LimitMeasure::Requests => " requests",
        LimitMeasure::Tokens => " tokens",
        LimitMeasure::Cost => "",
    };
    let window = match limit.period {
        LimitPeriod::Minute => "a minute",
        LimitPeriod::Hour => "an hour",
        LimitPeriod::Day => "a day",
        LimitPeriod::Week => "a week",
        LimitPeriod::Month => "a month",
        LimitPeriod::Quarter => "a quarter",
        LimitPeriod::AtATime => "at a time",
    };
    let whose = match limit.of {
        LimitOf::Key(_) => "The key's limit",
        LimitOf::RateLimitPolicy(_) => "The rate limit",
        LimitOf::BudgetPolicy(_) => "The budget",
    };
    let stood = match limit.counter {
        CounterSeen::Shared {
            own,
            known,
            share,
            cut_off,
            free,
        } => {
            let free = free.map_or_else(String::new, |free| {
                format!(
                    ", of which {} had just ended and were kept for the next",
                    amount(free)
                )
            });
            let percent = u128::from(share) * 100 / (1 << 32);
            let used = if limit.period == LimitPeriod::AtATime {
                "under way"
            } else {
                "used"
            };
            let went_by = match cut_off.map(silent) {
                None => format!("its share of the rest was {percent} %"),
                Some(came_to) => {
                    format!("nothing had been heard of the others for ten seconds: {came_to}")
                }
            };
            format!(
                "all gateways were known to have {used} {}, this one {} more{free}, and {went_by}",
                amount(known),
                amount(own)
            )
        }
        CounterSeen::Leased {
            ceiling,
            taken,
            committed,
            cut_off,
            included: _,
        } => {
            let all = committed.map_or_else(String::new, |committed| {
                format!(" of {} that were spent or lent in all", amount(committed))
            });
            let silent = if cut_off {
                ", and nobody had lent for ten seconds"
            } else {
                ""
            };
            format!(
                "this gateway might spend {}{all}, and had spent {}{silent}",
                amount(ceiling),
                amount(taken)
            )
        }
    };
    // Records of before modes were told of do not say whether a limit that was exceeded refused anything.
    let verdict = match (limit.exceeded, limit.mode) {
        (false, _) => "let through",
        (true, Some(LimitMode::Enforce)) => "refused",
        (true, Some(LimitMode::Audit)) => "only audits, and would have refused",
        (true, None) => "had no room for",
    };
    let instead = limit.instead.map_or("", why);
    format!(
        "{whose} of {}{unit} {window} {verdict} what this request was taken to need, {}: {stood}{instead}.",
        amount(limit.most),
        amount(limit.cost)
    )
}

/// What decided where the numbers did not.
const fn why(instead: Instead) -> &'static str {
    match instead {
        Instead::Open => "; nobody lent any more, and its policy lets everything through then",
        Instead::Closed => "; nobody lent any more, and its policy lets nothing through then",
        Instead::Unanswered => {
            "; nobody answered about a lease in time, and its policy lets everything through then"
        }
        Instead::Ended => "; its lease had ended, and no other had come",
        Instead::Full => "; all gateways were told that nothing is left",
        Instead::Left => "; the gateway was about to end",
    }
}

/// What a limit does at a gateway that is cut off.
const fn silent(then: LimitWhenCutOff) -> &'static str {
    match then {
        LimitWhenCutOff::Alone => "it kept the limit by itself",
        LimitWhenCutOff::Open => "its policy lets everything through then",
        LimitWhenCutOff::Closed => "its policy lets nothing through then",
    }
}

#[cfg(test)]
mod tests {
    use events_schema::id::{BudgetPolicyId, RateLimitPolicyId};
    use uuid::Uuid;

    use super::*;

    fn seen(of: LimitOf, measure: LimitMeasure, counter: CounterSeen) -> LimitSeen {
        LimitSeen {
            of,
            segment: Uuid::nil(),
            measure,
            period: LimitPeriod::Day,
            most: 2_000_000_000,
            cost: 1_000_000_000,
            counter,
            exceeded: true,
            mode: Some(LimitMode::Enforce),
            instead: None,
        }
    }

    #[test]
    fn what_only_audits_is_not_said_to_have_refused() {
        let counter = CounterSeen::Shared {
            own: 3,
            known: 5,
            share: 1 << 31,
            cut_off: None,
            free: None,
        };
        let of = LimitOf::RateLimitPolicy(RateLimitPolicyId::from_uuid(Uuid::nil()));
        let enforced = seen(of, LimitMeasure::Requests, counter);
        let says = |exceeded, mode, verdict: &str| {
            let told = told(&LimitSeen {
                exceeded,
                mode,
                ..enforced
            });
            let begins = format!(
                "The rate limit of 2,000,000,000 requests a day {verdict} what this request"
            );
            assert!(told.starts_with(&begins), "{told}");
        };
        let [enforces, audits] = [LimitMode::Enforce, LimitMode::Audit].map(Some);
        says(true, enforces, "refused");
        says(true, audits, "only audits, and would have refused");
        says(true, None, "had no room for");
        says(false, audits, "let through");
    }

    #[test]
    fn a_shared_limit_tells_what_was_known_and_whose_share_it_was() {
        let counter = CounterSeen::Shared {
            own: 3,
            known: 5,
            share: 1 << 31,
            cut_off: None,
            free: None,
        };
        let of = LimitOf::RateLimitPolicy(RateLimitPolicyId::from_uuid(Uuid::nil()));
        let told = told(&seen(of, LimitMeasure::Tokens, counter));
        assert!(
            told.starts_with("The rate limit of 2,000,000,000 tokens a day refused"),
            "{told}"
        );
        assert!(told.contains("used 5, this one 3 more"), "{told}");
        assert!(told.ends_with("was 50 %."), "{told}");
    }

    #[test]
    fn what_decided_in_the_place_of_numbers_is_told() {
        let counter = CounterSeen::Shared {
            own: 3,
            known: 5,
            share: 1 << 31,
            cut_off: None,
            free: Some(2),
        };
        let of = LimitOf::RateLimitPolicy(RateLimitPolicyId::from_uuid(Uuid::nil()));
        let told = told(&LimitSeen {
            instead: Some(Instead::Full),
            ..seen(of, LimitMeasure::Requests, counter)
        });
        assert!(told.contains(" requests a day refused "), "{told}");
        assert!(told.contains("3 more, of which 2 had just ended"), "{told}");
        assert!(told.ends_with("that nothing is left."), "{told}");
    }

    #[test]
    fn a_gateway_that_was_cut_off_tells_what_it_went_by_instead_of_its_share() {
        let of = LimitOf::RateLimitPolicy(RateLimitPolicyId::from_uuid(Uuid::nil()));
        let ends = |cut_off, expected: &str| {
            let counter = CounterSeen::Shared {
                own: 3,
                known: 5,
                share: 1 << 31,
                cut_off: Some(cut_off),
                free: None,
            };
            let told = told(&seen(of, LimitMeasure::Requests, counter));
            assert!(told.ends_with(expected), "{told}");
        };
        let closed = "3 more, and nothing had been heard of the others for ten seconds: its policy lets nothing through then.";
        ends(LimitWhenCutOff::Closed, closed);
        ends(LimitWhenCutOff::Open, "lets everything through then.");
        ends(LimitWhenCutOff::Alone, ": it kept the limit by itself.");
    }

    #[test]
    fn a_budget_tells_its_lease_in_dollars() {
        let counter = CounterSeen::Leased {
            ceiling: 500_000_000,
            taken: 400_000_000,
            committed: Some(2_000_000_000),
            cut_off: false,
            included: None,
        };
        let of = LimitOf::BudgetPolicy(BudgetPolicyId::from_uuid(Uuid::nil()));
        let told = told(&seen(of, LimitMeasure::Cost, counter));
        let spent = format!("had spent {}.", format::usd(400_000_000));
        assert!(told.ends_with(&spent), "{told}");
    }
}

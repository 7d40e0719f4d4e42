//! How a limit, or a budget, that refuses is told.

use std::fmt;

use events_schema::{money::NanoUsd, usage::Outcome};
use gateway_policy::{
    Measure,
    limits::{lease::Why, period::Period},
};
use http::StatusCode;

use super::{Row, SERVER};
use crate::limits::{By, Overspent, Refused};

/// As `OpenAI` tells rate limits; one that cannot be checked is no fault of the caller's.
pub(super) const fn limited_row(refused: &Refused) -> Row {
    if refused.is_cut_off {
        return Row {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: SERVER,
            code: "rate_limit_unavailable",
            outcome: Outcome::LimitExceeded,
        };
    }
    Row {
        status: StatusCode::TOO_MANY_REQUESTS,
        kind: match refused.measure {
            Measure::Requests => "requests",
            Measure::Tokens => "tokens",
            Measure::Cost => "cost",
        },
        code: "rate_limit_exceeded",
        outcome: Outcome::LimitExceeded,
    }
}

/// As `OpenAI` says that an account has spent what it may.
pub(super) fn overspent_row(why: Why) -> Row {
    let row = |status, kind, code| Row {
        status,
        kind,
        code,
        outcome: Outcome::LimitExceeded,
    };
    match why {
        Why::UsedUp => row(
            StatusCode::TOO_MANY_REQUESTS,
            "insufficient_quota",
            "insufficient_quota",
        ),
        Why::TooLarge { .. } => row(
            StatusCode::TOO_MANY_REQUESTS,
            "insufficient_quota",
            "request_exceeds_budget",
        ),
        Why::Lacks | Why::Held => row(
            StatusCode::TOO_MANY_REQUESTS,
            "requests",
            "budget_lease_pending",
        ),
        Why::CutOff => row(
            StatusCode::SERVICE_UNAVAILABLE,
            SERVER,
            "budget_unavailable",
        ),
    }
}

const fn period_name(period: Period) -> &'static str {
    match period {
        Period::SlidingMinute | Period::Minute => "minute",
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Quarter => "quarter",
        Period::AtATime => "time",
    }
}

/// An amount of what a limit counts: `$5.00`, or `600 requests`.
struct Amount(u64, Measure);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(amount, measure) = self;
        match measure {
            Measure::Requests => write!(f, "{amount} requests"),
            Measure::Tokens => write!(f, "{amount} tokens"),
            Measure::Cost => write!(f, "${}", NanoUsd::new(*amount).to_dollars()),
        }
    }
}

pub(super) fn fmt_limited(refused: &Refused, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if refused.is_cut_off {
        return fmt_cut_off(refused, f);
    }
    match &refused.by {
        By::Key => f.write_str("Rate limit reached for this API key")?,
        By::Policy(name) => write!(f, "Rate limit of the policy '{name}' reached")?,
    }
    let amount = Amount(refused.most, refused.measure);
    if refused.period.is_at_a_time() {
        return write!(
            f,
            ": {amount} at a time. Please try again when one of them has ended."
        );
    }
    write!(f, ": {amount} per {}.", period_name(refused.period))?;
    match refused.retry_after_us {
        Some(us) => write!(
            f,
            " Please try again in {} seconds.",
            us.div_ceil(1_000_000)
        ),
        None => f.write_str(" It lets nothing through."),
    }
}

/// Of limits only those of policies may be closed.
fn fmt_cut_off(refused: &Refused, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let amount = Amount(refused.most, refused.measure);
    f.write_str("The rate limit")?;
    if let By::Policy(name) = &refused.by {
        write!(f, " of the policy '{name}'")?;
    }
    let time = if refused.period.is_at_a_time() {
        "at a time".to_owned()
    } else {
        format!("per {}", period_name(refused.period))
    };
    write!(
        f,
        " ({amount} {time}) cannot be checked: this gateway has lost its connection to the other gateways, and the policy lets nothing through then. Please try again soon."
    )
}

pub(super) fn fmt_overspent(overspent: &Overspent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Overspent {
        policy,
        measure,
        period,
        most,
        why,
        resets_at,
        reset_us: _,
    } = overspent;
    let (amount, period) = (Amount(*most, *measure), period_name(*period));
    let resets_at = resets_at.to_string();
    let (day, _) = resets_at.split_once('T').unwrap_or((&resets_at, ""));
    match why {
        Why::UsedUp => write!(
            f,
            "The budget of the policy '{policy}' is used up: {amount} per {period}. It begins anew on {day} at 00:00 UTC."
        ),
        Why::TooLarge { cost, left } => {
            f.write_str("This request may take ")?;
            if cost > most {
                f.write_str("more than all")?;
            } else {
                write!(f, "up to {}", Amount(*cost, *measure))?;
            }
            let left = Amount(*left, *measure);
            write!(
                f,
                " of the budget of the policy '{policy}' ({amount} per {period}), of which {left} is left. A shorter prompt or a lower bound on the answer ('max_tokens') may fit; the budget begins anew on {day} at 00:00 UTC."
            )
        }
        Why::Lacks | Why::Held => write!(
            f,
            "The rest of the budget of the policy '{policy}' ({amount} per {period}) is held for requests that are under way, here or at other gateways. Please try again in 1 second."
        ),
        Why::CutOff => write!(
            f,
            "The budget of the policy '{policy}' ({amount} per {period}) cannot be checked: this gateway has lost its connection to the other gateways, and the policy lets nothing through then. Please try again soon."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::check, *};
    use crate::failure::Failure;

    #[test]
    fn limits_say_whose_they_are_and_when_to_come_back() {
        let refused = Refused {
            by: By::Key,
            measure: Measure::Tokens,
            period: Period::SlidingMinute,
            most: 7,
            retry_after_us: Some(1_000_001),
            is_cut_off: false,
        };
        check(
            &Failure::Limited(refused.clone()),
            429,
            r#""tokens" | "rate_limit_exceeded" | null | "Rate limit reached for this API key: 7 tokens per minute. Please try again in 2 seconds.""#,
        );
        check(
            &Failure::Limited(Refused {
                by: By::Policy("research".into()),
                period: Period::Hour,
                ..refused.clone()
            }),
            429,
            r#""tokens" | "rate_limit_exceeded" | null | "Rate limit of the policy 'research' reached: 7 tokens per hour. Please try again in 2 seconds.""#,
        );
        check(
            &Failure::Limited(Refused {
                by: By::Policy("research".into()),
                measure: Measure::Requests,
                period: Period::AtATime,
                ..refused
            }),
            429,
            r#""requests" | "rate_limit_exceeded" | null | "Rate limit of the policy 'research' reached: 7 requests at a time. Please try again when one of them has ended.""#,
        );
    }

    #[test]
    fn a_limit_that_cannot_be_checked_is_no_fault_of_the_callers() {
        let refused = Failure::Limited(Refused {
            by: By::Policy("research".into()),
            measure: Measure::Tokens,
            period: Period::Hour,
            most: 7,
            retry_after_us: Some(1_000_000),
            is_cut_off: true,
        });
        check(
            &refused,
            503,
            r#""server_error" | "rate_limit_unavailable" | null | "The rate limit of the policy 'research' (7 tokens per hour) cannot be checked: this gateway has lost its connection to the other gateways, and the policy lets nothing through then. Please try again soon.""#,
        );
        assert_eq!(
            (refused.retry_after_seconds(), refused.is_final()),
            (Some(1), false)
        );
    }

    #[test]
    fn budgets_say_how_much_they_are_and_when_they_begin_anew() {
        let overspent = |why| {
            Failure::Overspent(Overspent {
                policy: "research".into(),
                measure: Measure::Cost,
                period: Period::Month,
                most: 50_000_000_000,
                why,
                resets_at: "2026-12-01T00:00:00Z".parse().expect("a time"),
                reset_us: 86_400_000_001,
            })
        };
        check(
            &overspent(Why::UsedUp),
            429,
            r#""insufficient_quota" | "insufficient_quota" | null | "The budget of the policy 'research' is used up: $50.00 per month. It begins anew on 2026-12-01 at 00:00 UTC.""#,
        );
        check(
            &overspent(Why::TooLarge {
                cost: 1_250_000_000,
                left: 40_000_000,
            }),
            429,
            r#""insufficient_quota" | "request_exceeds_budget" | null | "This request may take up to $1.25 of the budget of the policy 'research' ($50.00 per month), of which $0.04 is left. A shorter prompt or a lower bound on the answer ('max_tokens') may fit; the budget begins anew on 2026-12-01 at 00:00 UTC.""#,
        );
        let more_than_all = overspent(Why::TooLarge {
            cost: 50_000_000_001,
            left: 50_000_000_000,
        });
        assert!(
            more_than_all
                .message("any")
                .starts_with("This request may take more than all of the budget of the policy 'research' ($50.00 per month), of which $50.00 is left. ")
        );
        check(
            &overspent(Why::Lacks),
            429,
            r#""requests" | "budget_lease_pending" | null | "The rest of the budget of the policy 'research' ($50.00 per month) is held for requests that are under way, here or at other gateways. Please try again in 1 second.""#,
        );
        check(
            &overspent(Why::CutOff),
            503,
            r#""server_error" | "budget_unavailable" | null | "The budget of the policy 'research' ($50.00 per month) cannot be checked: this gateway has lost its connection to the other gateways, and the policy lets nothing through then. Please try again soon.""#,
        );
        let too_large = Why::TooLarge { cost: 2, left: 1 };
        let each = [Why::UsedUp, too_large, Why::Lacks, Why::Held, Why::CutOff];
        let retry = each.map(|why| {
            let failure = overspent(why);
            (failure.retry_after_seconds(), failure.is_final())
        });
        assert_eq!(
            retry,
            [
                (Some(86_401), true),
                (None, true),
                (Some(1), false),
                (Some(1), false),
                (Some(1), false)
            ]
        );
    }
}

//! Rate-limit policies as a `gateway-rate-limiting-config`.

use std::collections::HashMap;

use events_schema::{
    events::{LimitMode, LimitWhenCutOff, RateLimit},
    state::Organisation,
};
use uuid::Uuid;

use super::{
    ERASED, Taken,
    rules::{self, Amount, Limits, Rule, Told},
};
use crate::{
    control::Person,
    declared::{brought::RATE_LIMIT_UNITS, document::RateLimitPolicy, export::Names},
};

/// The document, in YAML, in the order in which the policies apply.
#[must_use]
pub fn rate_limits(state: &Organisation, people: &HashMap<Uuid, Person>) -> String {
    let names = Names::of(state, people);
    let mut policies: Vec<_> = state.rate_limit_policies().values().collect();
    policies.sort_by_key(|it| (it.order, it.life.created_at, it.id));
    let mut taken = Taken::default();
    for policy in policies {
        let named = names
            .rate_limit_policy(policy)
            .ok_or_else(|| ERASED.to_owned());
        let rule = named.and_then(|policy| rule(state, policy));
        if rule.is_ok() {
            match policy.rule.when_cut_off {
                LimitWhenCutOff::Alone => {}
                LimitWhenCutOff::Open => taken.note(
                    &policy.name,
                    "a gateway that is cut off lets all its requests through",
                ),
                LimitWhenCutOff::Closed => taken.note(
                    &policy.name,
                    "a gateway that is cut off refuses its requests",
                ),
            }
        }
        taken.put(&policy.name, rule);
    }
    taken.written("rate-limits", "gateway-rate-limiting-config")
}

fn rule(state: &Organisation, policy: RateLimitPolicy) -> Result<Rule, String> {
    let RateLimitPolicy {
        name,
        order: _,
        when,
        applies_per,
        limits,
        overrides,
        mode,
        when_cut_off: _,
        disabled,
    } = policy;
    let overrides = overrides.into_iter();
    let overrides = overrides.map(|it| -> Result<_, String> { Ok((it.of, amounts(&it.limits)?)) });
    let told = Told {
        name,
        when,
        applies_per,
        limits: amounts(&limits)?,
        overrides: overrides.collect::<Result<_, String>>()?,
        disabled,
    };
    let (mut rule, per) = rules::rule(state, told)?;
    rule.rate_limit_applies_per = per;
    rule.mode = (mode == LimitMode::Audit).then_some(mode);
    Ok(rule)
}

/// Each by what its unit is called.
///
/// # Errors
/// When one of them has no name.
fn amounts(limits: &[RateLimit]) -> Result<Limits, String> {
    let named = limits.iter().map(|limit| -> Result<_, String> {
        let mut units = RATE_LIMIT_UNITS.iter();
        let unit = units.find(|(_, unit)| *unit == (limit.unit, limit.window));
        let (name, _) = unit.ok_or("it limits how many requests are under way at a time")?;
        Ok((*name, Amount::Count(limit.limit)))
    });
    named.collect()
}

//! Rate-limit policies as a `gateway-rate-limiting-config`.

use std::collections::{BTreeSet, HashMap};

use events_schema::{
    events::RateLimit,
    state::{Organisation, RateLimitPolicy},
};
use uuid::Uuid;

use super::{
    Config, Left,
    rules::{self, Amount, Limits, Rule, Told},
    written,
};
use crate::{
    control::Person,
    declared::{brought::RATE_LIMIT_UNITS, export::Names},
};

/// The document, in YAML, in the order in which the policies apply.
#[must_use]
pub fn rate_limits(state: &Organisation, people: &HashMap<Uuid, Person>) -> String {
    let names = Names::of(state, people);
    let mut policies: Vec<_> = state.rate_limit_policies().values().collect();
    policies.sort_by_key(|it| (it.order, it.life.created_at, it.id));
    let (mut rules, mut left) = (Vec::new(), Vec::new());
    for policy in policies {
        match rule(state, &names, policy) {
            Ok(rule) => rules.push(rule),
            Err(why) => left.push(Left {
                name: policy.name.to_string(),
                why,
            }),
        }
    }
    let config = Config {
        name: "rate-limits",
        r#type: "gateway-rate-limiting-config",
        rules,
    };
    written(&config, &left)
}

fn rule(
    state: &Organisation,
    names: &Names<'_>,
    policy: &RateLimitPolicy,
) -> Result<Rule, String> {
    let RateLimitPolicy {
        id: _,
        life: _,
        name,
        order: _,
        rule,
        disabled,
    } = policy;
    let overrides = rule.overrides.iter().filter_map(|it| {
        let other = names.other_limits(it)?;
        Some((other.of, limits(&other.limits)))
    });
    let told = Told {
        name: name.clone(),
        when: names.when(&rule.when),
        applies_per: rule.applies_per.clone(),
        limits: limits(&rule.limits),
        overrides: overrides.collect(),
        mode: rule.mode,
        disabled: *disabled,
    };
    rules::rule(state, told)
}

/// Each by what its unit is called. All units have a name.
fn limits(limits: &BTreeSet<RateLimit>) -> Limits {
    let named = limits.iter().filter_map(|limit| {
        let mut units = RATE_LIMIT_UNITS.iter();
        let unit = units.find(|(_, unit)| *unit == (limit.unit, limit.window));
        unit.map(|(name, _)| (*name, Amount::Count(limit.limit)))
    });
    named.collect()
}

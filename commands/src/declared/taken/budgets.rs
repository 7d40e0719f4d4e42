//! Budget policies as a `gateway-budget-config`.

use std::collections::HashMap;

use events_schema::{
    events::{LimitMode, WhenCutOff},
    money::NanoUsd,
    state::Organisation,
};
use uuid::Uuid;

use super::{
    ERASED, Taken,
    rules::{self, Alerts, Amount, Limits, Rule, Told},
};
use crate::{
    control::Person,
    declared::{
        brought::{BUDGET_UNITS, Counts},
        document::{BudgetLimit, BudgetPolicy},
        export::Names,
    },
};

/// The document, in YAML, in the order in which the policies decide.
#[must_use]
pub fn budgets(state: &Organisation, people: &HashMap<Uuid, Person>) -> String {
    let names = Names::of(state, people);
    let mut policies: Vec<_> = state.budget_policies().values().collect();
    policies.sort_by_key(|it| (it.order, it.life.created_at, it.id));
    let mut taken = Taken::default();
    for policy in policies {
        let named = names.budget_policy(policy).ok_or_else(|| ERASED.to_owned());
        let rule = named.and_then(|policy| rule(state, policy));
        if rule.is_ok() && policy.rule.when_cut_off == WhenCutOff::Closed {
            taken.note(
                &policy.name,
                "a gateway that is cut off refuses its requests",
            );
        }
        taken.put(&policy.name, rule);
    }
    taken.written("budget-controls", "gateway-budget-config")
}

fn rule(state: &Organisation, policy: BudgetPolicy) -> Result<Rule, String> {
    let BudgetPolicy {
        name,
        order: _,
        when,
        applies_per,
        limits,
        overrides,
        mode,
        when_cut_off: _,
        alerts,
        disabled,
    } = policy;
    let overrides = overrides.into_iter();
    let told = Told {
        name,
        when,
        applies_per,
        limits: amounts(&limits),
        overrides: overrides.map(|it| (it.of, amounts(&it.limits))).collect(),
        disabled,
    };
    let (mut rule, per) = rules::rule(state, told)?;
    rule.budget_applies_per = per;
    rule.audit_mode = (mode == LimitMode::Audit).then_some(true);
    rule.alerts = (!alerts.is_empty()).then_some(Alerts { thresholds: alerts });
    Ok(rule)
}

/// Each by what its unit is called. All units have a name.
fn amounts(limits: &[BudgetLimit]) -> Limits {
    let named = limits.iter().filter_map(|limit| {
        let BudgetLimit {
            cost,
            tokens,
            window,
        } = limit;
        let cost = cost
            .as_deref()
            .and_then(|it| NanoUsd::from_dollars(it).ok());
        let (counts, amount) = match (cost, tokens) {
            (Some(cost), _) => (Counts::Cost, Amount::Cost(cost)),
            (None, tokens) => (Counts::Tokens, Amount::Count((*tokens)?)),
        };
        let mut units = BUDGET_UNITS.iter();
        let unit = units.find(|(_, unit)| *unit == (counts, *window));
        unit.map(|(name, _)| (*name, amount))
    });
    named.collect()
}

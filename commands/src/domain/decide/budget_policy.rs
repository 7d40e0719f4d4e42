//! What commands for budget policies do.

use std::collections::BTreeSet;

use events_schema::{
    events::{
        Aggregate, BudgetAmount, BudgetLimit, BudgetPolicyEvent as E, BudgetRule, BudgetWindow,
        Event, Stream,
    },
    id::BudgetPolicyId,
    names::Slug,
    state::Organisation,
};

use super::{
    Decision, is_fresh,
    rules::{Limit, MOST_POLICIES, Rule},
    when,
};
use crate::domain::{
    command::BudgetPolicyCommand as C,
    rejection::{PolicyFault, Rejection},
};

/// Each is told to operators by itself.
const MOST_ALERTS: usize = 8;

pub(super) fn decide(state: &Organisation, id: BudgetPolicyId, command: &C) -> Decision {
    let event = |event| Event::BudgetPolicy(id, event);
    let known = || {
        state
            .budget_policies()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::BudgetPolicy))
    };
    match command {
        C::Create { name, order, rule } => {
            is_fresh(state, Stream::BudgetPolicy(id))?;
            name_is_free(state, id, name)?;
            if state.budget_policies().len() >= MOST_POLICIES {
                return Err(Rejection::Policy(PolicyFault::TooMany("budget policies")));
            }
            can_be_followed(state, rule)?;
            Ok(vec![event(E::BudgetPolicyCreated {
                name: name.clone(),
                order: *order,
                rule: rule.clone(),
            })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, name)?;
            Ok(when(it.name != *name, || {
                event(E::BudgetPolicyRenamed { name: name.clone() })
            }))
        }
        C::Move { order } => Ok(when(known()?.order != *order, || {
            event(E::BudgetPolicyMoved { order: *order })
        })),
        C::ChangeRule { rule } => {
            let it = known()?;
            can_be_followed(state, rule)?;
            Ok(when(it.rule != *rule, || {
                event(E::BudgetRuleChanged { rule: rule.clone() })
            }))
        }
        C::Disable => Ok(when(!known()?.disabled, || {
            event(E::BudgetPolicyDisabled {})
        })),
        C::Enable => Ok(when(known()?.disabled, || event(E::BudgetPolicyEnabled {}))),
        C::Delete => {
            known()?;
            Ok(vec![event(E::BudgetPolicyDeleted {})])
        }
    }
}

fn name_is_free(state: &Organisation, id: BudgetPolicyId, name: &Slug) -> Result<(), Rejection> {
    match state.budget_policy_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::BudgetPolicy,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
}

fn can_be_followed(state: &Organisation, rule: &BudgetRule) -> Result<(), Rejection> {
    let BudgetRule {
        when,
        applies_per,
        limits,
        overrides,
        mode: _,
        when_cut_off: _,
        alerts,
    } = rule;
    thresholds_hold(alerts)?;
    Rule {
        when,
        applies_per,
        limits,
        overrides,
    }
    .can_be_followed(state)
}

fn thresholds_hold(alerts: &BTreeSet<u8>) -> Result<(), Rejection> {
    if alerts.len() > MOST_ALERTS {
        return Err(Rejection::Policy(PolicyFault::Alerts(alerts.len())));
    }
    match alerts.iter().find(|percent| !(1..=100).contains(*percent)) {
        Some(percent) => Err(Rejection::Policy(PolicyFault::Threshold(*percent))),
        None => Ok(()),
    }
}

impl Limit for BudgetLimit {
    fn kind(&self) -> (&'static str, &'static str) {
        let amount = match self.amount {
            BudgetAmount::Cost(_) => "cost",
            BudgetAmount::Tokens(_) => "tokens",
        };
        let window = match self.window {
            BudgetWindow::Day => "a day",
            BudgetWindow::Week => "a week",
            BudgetWindow::Month => "a month",
            BudgetWindow::Quarter => "a quarter",
        };
        (amount, window)
    }

    fn most(&self) -> u64 {
        match self.amount {
            BudgetAmount::Cost(cost) => cost.nanos(),
            BudgetAmount::Tokens(tokens) => tokens,
        }
    }

    fn can_be_counted(&self) -> bool {
        true
    }
}

//! What commands for budget policies do.

use events_schema::{
    events::{Aggregate, BudgetPolicyEvent as E, BudgetRule, Event, Stream},
    id::BudgetPolicyId,
    names::Slug,
    state::Organisation,
};
use gateway_policy::rules::fault::check_budget;

use super::{
    Decision, is_fresh,
    rules::{MOST_POLICIES, names_what_exists},
    when,
};
use crate::domain::{
    command::BudgetPolicyCommand as C,
    rejection::{PolicyFault, Rejection},
};

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
    check_budget(rule).map_err(PolicyFault::Rule)?;
    let (window, kept) = (
        rule.longest_days(),
        state.settings().retention.requests_days,
    );
    if kept < window {
        return Err(PolicyFault::KeptTooShort { window, kept }.into());
    }
    names_what_exists(state, &rule.when, &rule.overrides)
}

//! What commands for rate-limit policies do.

use events_schema::{
    events::{Aggregate, Event, RateLimitPolicyEvent as E, RateLimitRule, Stream},
    id::RateLimitPolicyId,
    names::Slug,
    state::Organisation,
};
use gateway_policy::rules::fault::check_rate_limit;

use super::{
    Decision, is_fresh,
    rules::{MOST_POLICIES, names_what_exists},
    when,
};
use crate::domain::{
    command::RateLimitPolicyCommand as C,
    rejection::{PolicyFault, Rejection},
};

pub(super) fn decide(state: &Organisation, id: RateLimitPolicyId, command: &C) -> Decision {
    let event = |event| Event::RateLimitPolicy(id, event);
    let known = || {
        state
            .rate_limit_policies()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::RateLimitPolicy))
    };
    match command {
        C::Create { name, order, rule } => {
            is_fresh(state, Stream::RateLimitPolicy(id))?;
            name_is_free(state, id, name)?;
            if state.rate_limit_policies().len() >= MOST_POLICIES {
                return Err(Rejection::Policy(PolicyFault::TooMany(
                    "rate-limit policies",
                )));
            }
            can_be_followed(state, rule)?;
            Ok(vec![event(E::RateLimitPolicyCreated {
                name: name.clone(),
                order: *order,
                rule: rule.clone(),
            })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, name)?;
            Ok(when(it.name != *name, || {
                event(E::RateLimitPolicyRenamed { name: name.clone() })
            }))
        }
        C::Move { order } => Ok(when(known()?.order != *order, || {
            event(E::RateLimitPolicyMoved { order: *order })
        })),
        C::ChangeRule { rule } => {
            let it = known()?;
            can_be_followed(state, rule)?;
            Ok(when(it.rule != *rule, || {
                event(E::RateLimitRuleChanged { rule: rule.clone() })
            }))
        }
        C::Disable => Ok(when(!known()?.disabled, || {
            event(E::RateLimitPolicyDisabled {})
        })),
        C::Enable => Ok(when(known()?.disabled, || {
            event(E::RateLimitPolicyEnabled {})
        })),
        C::Delete => {
            known()?;
            Ok(vec![event(E::RateLimitPolicyDeleted {})])
        }
    }
}

fn name_is_free(state: &Organisation, id: RateLimitPolicyId, name: &Slug) -> Result<(), Rejection> {
    match state.rate_limit_policy_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::RateLimitPolicy,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
}

fn can_be_followed(state: &Organisation, rule: &RateLimitRule) -> Result<(), Rejection> {
    check_rate_limit(rule).map_err(PolicyFault::Rule)?;
    names_what_exists(state, &rule.when, &rule.overrides)
}

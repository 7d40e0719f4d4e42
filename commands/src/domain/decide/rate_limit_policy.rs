//! What commands for rate-limit policies do. A policy is stored here and checked; what enforces it is not part of
//! the rules of configuration.

use events_schema::{
    events::{
        Aggregate, Event, LimitedModels, LimitedSubject, LimitedSubjects, ModelRef,
        RateLimitPolicyEvent as E, RateLimitRule, Stream,
    },
    id::RateLimitPolicyId,
    names::Slug,
    state::Organisation,
};

use super::{Decision, access::model_exists, is_fresh, when};
use crate::domain::{
    command::RateLimitPolicyCommand as C,
    rejection::{PolicyFault, Rejection},
};

/// Every request is compared with them, one after another.
const MOST_POLICIES: usize = 1_000;
/// As in a grant.
const MOST_LISTED: usize = 1_000;
/// How many conditions on metadata there may be: as many as a request can carry.
pub(super) const MOST_CONDITIONS: usize = 16;
/// How long a value of such a condition may be, in characters: as long as what a request can carry.
pub(super) const LONGEST_VALUE: usize = 128;
/// The more segments, the more counters.
const MOST_SEGMENTS: usize = 2;

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
                return Err(Rejection::Policy(PolicyFault::TooMany));
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
    let RateLimitRule {
        subjects,
        models,
        metadata,
        applies_per,
        unit: _,
        window: _,
        limit,
        mode: _,
    } = rule;
    if *limit == 0 {
        return Err(Rejection::Policy(PolicyFault::NoLimit));
    }
    if applies_per.len() > MOST_SEGMENTS {
        return Err(Rejection::Policy(PolicyFault::Segments(applies_per.len())));
    }
    if metadata.len() > MOST_CONDITIONS {
        return Err(Rejection::Policy(PolicyFault::Conditions(metadata.len())));
    }
    let too_long = |value: &&String| value.chars().count() > LONGEST_VALUE;
    if metadata.values().any(|value| too_long(&value)) {
        return Err(Rejection::Policy(PolicyFault::LongValue));
    }
    subjects_exist(state, subjects)?;
    models_exist(state, models)
}

fn listed(count: usize, field: &'static str) -> Result<(), Rejection> {
    if (1..=MOST_LISTED).contains(&count) {
        Ok(())
    } else {
        Err(Rejection::Policy(PolicyFault::Listed { count, field }))
    }
}

fn subjects_exist(state: &Organisation, subjects: &LimitedSubjects) -> Result<(), Rejection> {
    let subjects = match subjects {
        LimitedSubjects::All => return Ok(()),
        LimitedSubjects::Listed(subjects) => subjects,
    };
    listed(subjects.len(), "rule.subjects")?;
    let missing = subjects.iter().find_map(|subject| match subject {
        LimitedSubject::User(id) if !state.users().contains_key(id) => {
            Some((Aggregate::User, id.to_string()))
        }
        LimitedSubject::Team(id) if !state.teams().contains_key(id) => {
            Some((Aggregate::Team, id.to_string()))
        }
        LimitedSubject::VirtualAccount(id) if !state.virtual_accounts().contains_key(id) => {
            Some((Aggregate::VirtualAccount, id.to_string()))
        }
        LimitedSubject::User(_) | LimitedSubject::Team(_) | LimitedSubject::VirtualAccount(_) => {
            None
        }
    });
    match missing {
        None => Ok(()),
        Some((what, id)) => Err(Rejection::MissingReference {
            what,
            id,
            field: "rule.subjects",
        }),
    }
}

fn models_exist(state: &Organisation, models: &LimitedModels) -> Result<(), Rejection> {
    let models = match models {
        LimitedModels::All => return Ok(()),
        LimitedModels::Listed(models) => models,
    };
    listed(models.len(), "rule.models")?;
    models
        .iter()
        .try_for_each(|model: &ModelRef| model_exists(state, *model, "rule.models"))
}

//! What commands for rate-limit policies do.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        Aggregate, Choice, Event, LimitOverride, LimitSegment, LimitUnit, LimitWindow,
        LimitedSubject, ModelRef, RateLimit, RateLimitPolicyEvent as E, RateLimitRule,
        SegmentValue, Stream, Subject,
    },
    id::RateLimitPolicyId,
    names::{MetadataKey, Slug},
    state::Organisation,
};

use super::{
    Decision,
    access::{model_exists, subject_exists},
    is_fresh, when,
};
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
/// Each is looked at for every request.
const MOST_LIMITS: usize = 8;

const OVERRIDES: &str = "rule.overrides";

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
        when,
        applies_per,
        limits,
        overrides,
        mode: _,
    } = rule;
    if applies_per.len() > MOST_SEGMENTS {
        return fault(PolicyFault::Segments(applies_per.len()));
    }
    limits_hold(limits)?;
    if overrides.len() > MOST_LISTED {
        return fault(PolicyFault::Overrides(overrides.len()));
    }
    let mut of: Vec<_> = overrides.iter().map(|it| &it.of).collect();
    of.dedup();
    if of.len() < overrides.len() {
        return fault(PolicyFault::OverrideTwice);
    }
    for other in overrides {
        is_of_a_counter(state, applies_per, other)?;
    }
    conditions_can_be_met(&when.metadata)?;
    subjects_exist(state, &when.subjects)?;
    named(&when.models, "rule.when.models")?;
    when.models
        .named()
        .try_for_each(|model| model_exists(state, *model, "rule.when.models"))
}

const fn fault<T>(fault: PolicyFault) -> Result<T, Rejection> {
    Err(Rejection::Policy(fault))
}

/// They are in order, so that two of one unit and window stand beside each other.
fn limits_hold(limits: &BTreeSet<RateLimit>) -> Result<(), Rejection> {
    if !(1..=MOST_LIMITS).contains(&limits.len()) {
        return fault(PolicyFault::Limits(limits.len()));
    }
    if limits.iter().any(|it| it.limit == 0) {
        return fault(PolicyFault::NoLimit);
    }
    let kinds = || limits.iter().map(|it| (it.unit, it.window));
    match kinds().zip(kinds().skip(1)).find(|(one, next)| one == next) {
        None => Ok(()),
        Some(((unit, window), _)) => {
            let unit = match unit {
                LimitUnit::Requests => "requests",
                LimitUnit::Tokens => "tokens",
            };
            let window = match window {
                LimitWindow::Minute => "a minute",
                LimitWindow::Hour => "an hour",
                LimitWindow::Day => "a day",
            };
            fault(PolicyFault::LimitTwice(format!("{unit} {window}")))
        }
    }
}

fn is_of_a_counter(
    state: &Organisation,
    applies_per: &BTreeSet<LimitSegment>,
    other: &LimitOverride,
) -> Result<(), Rejection> {
    let segments: BTreeSet<_> = other.of.iter().map(SegmentValue::segment).collect();
    if segments != *applies_per || segments.len() != other.of.len() || segments.is_empty() {
        let per: Vec<_> = applies_per.iter().map(segment_name).collect();
        return fault(PolicyFault::OverrideOf(per.join(", ")));
    }
    limits_hold(&other.limits)?;
    other.of.iter().try_for_each(|value| match value {
        SegmentValue::User(id) => subject_exists(state, Subject::User(*id), OVERRIDES),
        SegmentValue::VirtualAccount(id) => {
            subject_exists(state, Subject::VirtualAccount(*id), OVERRIDES)
        }
        SegmentValue::Model(ModelRef::ProviderAccount(_)) => fault(PolicyFault::OverrideOfAccount),
        SegmentValue::Model(model) => model_exists(state, *model, OVERRIDES),
        SegmentValue::Metadata { value, .. } => can_be_had(value),
    })
}

fn segment_name(segment: &LimitSegment) -> String {
    match segment {
        LimitSegment::User => "user".to_owned(),
        LimitSegment::VirtualAccount => "virtual account".to_owned(),
        LimitSegment::Model => "model".to_owned(),
        LimitSegment::Metadata(key) => key.to_string(),
    }
}

fn conditions_can_be_met(
    conditions: &BTreeMap<MetadataKey, Choice<String>>,
) -> Result<(), Rejection> {
    if conditions.len() > MOST_CONDITIONS {
        return fault(PolicyFault::Conditions(conditions.len()));
    }
    for values in conditions.values() {
        named(values, "rule.when.metadata")?;
        values.named().try_for_each(|value| can_be_had(value))?;
    }
    Ok(())
}

fn can_be_had(value: &str) -> Result<(), Rejection> {
    if value.chars().count() > LONGEST_VALUE {
        return fault(PolicyFault::LongValue);
    }
    Ok(())
}

fn named<T: Ord>(choice: &Choice<T>, field: &'static str) -> Result<(), Rejection> {
    let count = choice.within.len().max(choice.not_in.len());
    if count > MOST_LISTED {
        return fault(PolicyFault::Listed { count, field });
    }
    Ok(())
}

fn subjects_exist(
    state: &Organisation,
    subjects: &Choice<LimitedSubject>,
) -> Result<(), Rejection> {
    let field = "rule.when.subjects";
    named(subjects, field)?;
    subjects
        .named()
        .try_for_each(|subject| subject_exists(state, (*subject).into(), field))
}

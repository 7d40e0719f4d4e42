//! What rules of rate-limit policies and of budget policies must be, so that they can be followed.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        Choice, LimitSegment, LimitedSubject, ModelRef, Override, SegmentValue, Subject, When,
    },
    names::MetadataKey,
    state::Organisation,
};

use super::access::{model_exists, subject_exists};
use crate::domain::rejection::{PolicyFault, Rejection};

/// How many policies of each sort there may be. However many there are, a gateway looks only at those that name what a request
/// has; but it puts all of them together anew whenever one changes, and keeps them in memory.
pub(super) const MOST_POLICIES: usize = 10_000;
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

/// One of a rule's limits.
pub(super) trait Limit: Ord {
    /// What it counts, and in which time, in words: of each there is one.
    fn kind(&self) -> (&'static str, &'static str);

    /// How much of it may be used in that time.
    fn most(&self) -> u64;

    /// Whether there is such a count.
    fn can_be_counted(&self) -> bool;
}

/// What all rules have.
pub(super) struct Rule<'r, L: Ord> {
    pub(super) when: &'r When,
    pub(super) applies_per: &'r BTreeSet<LimitSegment>,
    pub(super) limits: &'r BTreeSet<L>,
    pub(super) overrides: &'r BTreeSet<Override<L>>,
}

impl<L: Limit> Rule<'_, L> {
    /// Whether it can be followed, and all that it names is there.
    pub(super) fn can_be_followed(&self, state: &Organisation) -> Result<(), Rejection> {
        let Self {
            when,
            applies_per,
            limits,
            overrides,
        } = *self;
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
            is_of_a_counter(state, applies_per, &other.of)?;
            limits_hold(&other.limits)?;
        }
        conditions_can_be_met(&when.metadata)?;
        subjects_exist(state, &when.subjects)?;
        named(&when.models, "rule.when.models")?;
        when.models
            .named()
            .try_for_each(|model| model_exists(state, *model, "rule.when.models"))
    }
}

const fn fault<T>(fault: PolicyFault) -> Result<T, Rejection> {
    Err(Rejection::Policy(fault))
}

fn limits_hold<L: Limit>(limits: &BTreeSet<L>) -> Result<(), Rejection> {
    if !(1..=MOST_LIMITS).contains(&limits.len()) {
        return fault(PolicyFault::Limits(limits.len()));
    }
    if limits.iter().any(|it| it.most() == 0) {
        return fault(PolicyFault::NoLimit);
    }
    if !limits.iter().all(Limit::can_be_counted) {
        return fault(PolicyFault::TokensAtATime);
    }
    let mut kinds = BTreeSet::new();
    match limits.iter().map(Limit::kind).find(|it| !kinds.insert(*it)) {
        None => Ok(()),
        Some((unit, window)) => fault(PolicyFault::LimitTwice(format!("{unit} {window}"))),
    }
}

fn is_of_a_counter(
    state: &Organisation,
    applies_per: &BTreeSet<LimitSegment>,
    of: &BTreeSet<SegmentValue>,
) -> Result<(), Rejection> {
    let segments: BTreeSet<_> = of.iter().map(SegmentValue::segment).collect();
    if segments != *applies_per || segments.len() != of.len() || segments.is_empty() {
        let per: Vec<_> = applies_per.iter().map(segment_name).collect();
        return fault(PolicyFault::OverrideOf(per.join(", ")));
    }
    of.iter().try_for_each(|value| match value {
        SegmentValue::User(id) => subject_exists(state, Subject::User(*id), OVERRIDES),
        SegmentValue::VirtualAccount(id) => {
            subject_exists(state, Subject::VirtualAccount(*id), OVERRIDES)
        }
        SegmentValue::Model(ModelRef::ProviderAccount(_)) => fault(PolicyFault::OverrideOfAccount),
        SegmentValue::Model(model) => model_exists(state, *model, OVERRIDES),
        SegmentValue::Metadata { value, .. } => can_be_had(value),
        SegmentValue::Team(id) => subject_exists(state, Subject::Team(*id), OVERRIDES),
    })
}

fn segment_name(segment: &LimitSegment) -> String {
    match segment {
        LimitSegment::User => "user".to_owned(),
        LimitSegment::VirtualAccount => "virtual account".to_owned(),
        LimitSegment::Model => "model".to_owned(),
        LimitSegment::Metadata(key) => key.to_string(),
        LimitSegment::Team => "team".to_owned(),
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

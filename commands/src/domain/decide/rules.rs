//! What rules of rate-limit policies and of budget policies must be, so that they can be followed: what the rule alone says is
//! `gateway-policy`'s to check, and the console checks it by the same lines; what it names must be there.

use std::collections::BTreeSet;

use events_schema::{
    events::{Choice, LimitedSubject, Override, SegmentValue, Subject, When},
    state::Organisation,
};

use super::access::{model_exists, subject_exists};
use crate::domain::rejection::Rejection;

/// How many policies of each sort there may be. However many there are, a gateway looks only at those that name what a request
/// has; but it puts all of them together anew whenever one changes, and keeps them in memory.
pub(super) const MOST_POLICIES: usize = 10_000;

const OVERRIDES: &str = "rule.overrides";

/// Whether all that a rule names is there.
pub(super) fn names_what_exists<L: Ord>(
    state: &Organisation,
    when: &When,
    overrides: &BTreeSet<Override<L>>,
) -> Result<(), Rejection> {
    for other in overrides {
        values_exist(state, &other.of)?;
    }
    subjects_exist(state, &when.subjects)?;
    when.models
        .named()
        .try_for_each(|model| model_exists(state, *model, "rule.when.models"))
}

fn values_exist(state: &Organisation, of: &BTreeSet<SegmentValue>) -> Result<(), Rejection> {
    of.iter().try_for_each(|value| match value {
        SegmentValue::User(id) => subject_exists(state, Subject::User(*id), OVERRIDES),
        SegmentValue::VirtualAccount(id) => {
            subject_exists(state, Subject::VirtualAccount(*id), OVERRIDES)
        }
        SegmentValue::Model(model) => model_exists(state, *model, OVERRIDES),
        SegmentValue::Metadata { .. } => Ok(()),
        SegmentValue::Team(id) => subject_exists(state, Subject::Team(*id), OVERRIDES),
    })
}

fn subjects_exist(
    state: &Organisation,
    subjects: &Choice<LimitedSubject>,
) -> Result<(), Rejection> {
    let field = "rule.when.subjects";
    subjects
        .named()
        .try_for_each(|subject| subject_exists(state, (*subject).into(), field))
}

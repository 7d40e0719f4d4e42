//! From the entries of policies to rules that are ready to be looked up.

use events_schema::snapshot::{
    entries::ArchivedModelRefEntry,
    limits::{
        ArchivedLimitOverrideEntry, ArchivedLimitUnitEntry, ArchivedLimitWindowEntry,
        ArchivedLimitedSubjectEntry, ArchivedRateLimitEntry, ArchivedRateLimitPolicyEntry,
        ArchivedSegmentEntry, ArchivedSegmentValueEntry,
    },
};
use rkyv::{string::ArchivedString, vec::ArchivedVec};

use super::{
    ACCOUNT, Choice, MODEL, Rule, RuleLimit, Rules, Segment, TEAM, Tagged, USER, VIRTUAL_ACCOUNT,
    VIRTUAL_MODEL,
    index::{self, Index},
    segment::{self, Value},
};
use crate::{
    EntryId,
    limits::{Measure, period::Period},
};

pub(super) fn compile<'p>(
    policies: impl IntoIterator<Item = &'p ArchivedRateLimitPolicyEntry>,
) -> Rules {
    let mut policies: Vec<_> = policies.into_iter().filter(|it| !it.disabled).collect();
    policies.sort_by_key(|it| (it.order.to_native(), it.created_at_us.to_native(), it.id));
    let rules: Box<[Rule]> = policies.into_iter().map(rule).collect();
    let (mut by_subject, mut by_model, mut by_value) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut by_target) = (Vec::new(), Vec::new());
    for (at, rule) in (0_u32..).zip(&rules) {
        let under = |keys: &[Tagged]| -> Vec<(u64, u32)> {
            keys.iter().map(|key| (index::of_id(*key), at)).collect()
        };
        by_target.extend(under(&rule.models.within));
        let wanted = rule.metadata.iter().find(|(_, it)| !it.within.is_empty());
        if !rule.subjects.within.is_empty() {
            by_subject.extend(under(&rule.subjects.within));
        } else if !rule.models.within.is_empty() {
            by_model.extend(under(&rule.models.within));
        } else if let Some((key, values)) = wanted {
            let values = values.within.iter();
            by_value.extend(values.map(|value| (index::of_text(key, value), at)));
        } else {
            rest.push(at);
        }
    }
    Rules {
        rules,
        by_subject: Index::new(by_subject),
        by_model: Index::new(by_model),
        by_value: Index::new(by_value),
        rest: rest.into(),
        by_target: Index::new(by_target),
    }
}

fn rule(policy: &ArchivedRateLimitPolicyEntry) -> Rule {
    let metadata = policy.metadata.iter().map(|it| {
        let values = choice(&it.within, &it.not_in, text);
        (text(&it.key), values)
    });
    let per: Box<[Segment]> = policy.applies_per.iter().map(per).collect();
    let overrides = policy.overrides.iter();
    let mut overrides: Vec<_> = overrides.map(|it| other_limits(&per, it)).collect();
    overrides.sort_by_key(|(of, _)| *of);
    Rule {
        id: policy.id,
        name: policy.name.as_str().into(),
        audits: policy.audits,
        subjects: choice(&policy.subjects_in, &policy.subjects_not_in, subject),
        models: choice(&policy.models_in, &policy.models_not_in, model),
        metadata: metadata.collect(),
        limits: policy.limits.iter().map(limit).collect(),
        overrides: overrides.into(),
        per,
    }
}

fn choice<E, T: Ord>(
    within: &ArchivedVec<E>,
    not_in: &ArchivedVec<E>,
    of: impl Fn(&E) -> T,
) -> Choice<T> {
    let sorted = |entries: &ArchivedVec<E>| {
        let mut sorted: Vec<T> = entries.iter().map(&of).collect();
        sorted.sort();
        sorted.into_boxed_slice()
    };
    Choice {
        within: sorted(within),
        not_in: sorted(not_in),
    }
}

fn text(text: &ArchivedString) -> Box<str> {
    text.as_str().into()
}

const fn subject(subject: &ArchivedLimitedSubjectEntry) -> Tagged {
    match subject {
        ArchivedLimitedSubjectEntry::User(id) => (USER, *id),
        ArchivedLimitedSubjectEntry::Team(id) => (TEAM, *id),
        ArchivedLimitedSubjectEntry::VirtualAccount(id) => (VIRTUAL_ACCOUNT, *id),
    }
}

const fn model(model: &ArchivedModelRefEntry) -> Tagged {
    match model {
        // Nothing is called so: a rule for all models names none.
        ArchivedModelRefEntry::All => (0, [0; 16]),
        ArchivedModelRefEntry::Model(id) => (MODEL, *id),
        ArchivedModelRefEntry::VirtualModel(id) => (VIRTUAL_MODEL, *id),
        ArchivedModelRefEntry::ProviderAccount(id) => (ACCOUNT, *id),
    }
}

fn per(segment: &ArchivedSegmentEntry) -> Segment {
    match segment {
        ArchivedSegmentEntry::User => Segment::User,
        ArchivedSegmentEntry::VirtualAccount => Segment::VirtualAccount,
        ArchivedSegmentEntry::Model => Segment::Model,
        ArchivedSegmentEntry::Metadata(key) => Segment::Metadata(text(key)),
        ArchivedSegmentEntry::Team => Segment::Team,
    }
}

fn limit(limit: &ArchivedRateLimitEntry) -> RuleLimit {
    RuleLimit {
        measure: match limit.unit {
            ArchivedLimitUnitEntry::Requests => Measure::Requests,
            ArchivedLimitUnitEntry::Tokens => Measure::Tokens,
        },
        period: match limit.window {
            ArchivedLimitWindowEntry::Minute => Period::SlidingMinute,
            ArchivedLimitWindowEntry::Hour => Period::Hour,
            ArchivedLimitWindowEntry::Day => Period::Day,
        },
        most: limit.most.to_native(),
    }
}

fn other_limits(
    per: &[Segment],
    other: &ArchivedLimitOverrideEntry,
) -> (EntryId, Box<[RuleLimit]>) {
    let value = |segment: &Segment| {
        let of = other.of.iter().find_map(|value| of_segment(segment, value));
        of.unwrap_or(Value::Absent)
    };
    let limits = other.limits.iter().map(limit).collect();
    (segment::of(per, value), limits)
}

/// What is said of a segment; `None`: it is said of another.
fn of_segment<'v>(segment: &Segment, value: &'v ArchivedSegmentValueEntry) -> Option<Value<'v>> {
    use ArchivedSegmentValueEntry as V;
    match (segment, value) {
        (Segment::User, V::User(id))
        | (Segment::VirtualAccount, V::VirtualAccount(id))
        | (Segment::Team, V::Team(id)) => Some(Value::Id(*id)),
        (Segment::Model, V::Model(of)) => Some(Value::Id(model(of).1)),
        (Segment::Metadata(key), V::Metadata(of, value)) if **key == **of => {
            Some(Value::Text(value))
        }
        (
            Segment::User
            | Segment::VirtualAccount
            | Segment::Model
            | Segment::Metadata(_)
            | Segment::Team,
            V::User(_) | V::VirtualAccount(_) | V::Model(_) | V::Metadata(..) | V::Team(_),
        ) => None,
    }
}

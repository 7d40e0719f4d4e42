//! From the entries of policies to rules that are ready to be looked up.

use events_schema::{
    events::{BudgetAmount, BudgetLimit, BudgetWindow},
    snapshot::{
        budgets::{
            ArchivedBudgetLimitEntry, ArchivedBudgetPolicyEntry, ArchivedBudgetUnitEntry,
            ArchivedBudgetWindowEntry,
        },
        entries::ArchivedModelRefEntry,
        limits::{
            ArchivedLimitUnitEntry, ArchivedLimitWindowEntry, ArchivedLimitedSubjectEntry,
            ArchivedMetadataConditionEntry, ArchivedRateLimitEntry, ArchivedRateLimitPolicyEntry,
            ArchivedSegmentEntry, ArchivedSegmentValueEntry, ArchivedWhenCutOffEntry,
        },
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
    limits::{Measure, counter::WhenCutOff, period::Period},
};

/// A policy of either kind.
pub(super) struct Policy<'p> {
    id: EntryId,
    name: &'p ArchivedString,
    /// Where it stands: its number, and when it was made.
    order: (u32, i64),
    subjects: Listed<'p, ArchivedLimitedSubjectEntry>,
    models: Listed<'p, ArchivedModelRefEntry>,
    metadata: &'p ArchivedVec<ArchivedMetadataConditionEntry>,
    applies_per: &'p ArchivedVec<ArchivedSegmentEntry>,
    limits: Box<[RuleLimit]>,
    overrides: Vec<(&'p ArchivedVec<ArchivedSegmentValueEntry>, Box<[RuleLimit]>)>,
    audits: bool,
    when_cut_off: WhenCutOff,
    disabled: bool,
}

/// Some of all there are, and those that are left out.
type Listed<'p, E> = (&'p ArchivedVec<E>, &'p ArchivedVec<E>);

impl<'p> Policy<'p> {
    pub(super) fn of_rate_limit(policy: &'p ArchivedRateLimitPolicyEntry) -> Self {
        let ArchivedRateLimitPolicyEntry {
            id,
            name,
            order,
            created_at_us,
            subjects_in,
            subjects_not_in,
            models_in,
            models_not_in,
            metadata,
            applies_per,
            limits,
            overrides,
            audits,
            disabled,
            when_cut_off,
        } = policy;
        let of = |limits: &ArchivedVec<_>| limits.iter().map(rate_limit).collect();
        Self {
            id: *id,
            name,
            order: (order.to_native(), created_at_us.to_native()),
            subjects: (subjects_in, subjects_not_in),
            models: (models_in, models_not_in),
            metadata,
            applies_per,
            limits: of(limits),
            overrides: overrides
                .iter()
                .map(|it| (&it.of, of(&it.limits)))
                .collect(),
            audits: *audits,
            when_cut_off: match when_cut_off {
                ArchivedWhenCutOffEntry::Alone => WhenCutOff::Alone,
                ArchivedWhenCutOffEntry::Open => WhenCutOff::Open,
                ArchivedWhenCutOffEntry::Closed => WhenCutOff::Closed,
            },
            disabled: *disabled,
        }
    }

    pub(super) fn of_budget(policy: &'p ArchivedBudgetPolicyEntry) -> Self {
        let ArchivedBudgetPolicyEntry {
            id,
            name,
            order,
            created_at_us,
            subjects_in,
            subjects_not_in,
            models_in,
            models_not_in,
            metadata,
            applies_per,
            limits,
            overrides,
            audits,
            closed_when_cut_off,
            // Who is told of them has the sums of all gateways.
            alerts: _,
            disabled,
        } = policy;
        let of = |limits: &ArchivedVec<_>| limits.iter().map(budget).collect();
        Self {
            id: *id,
            name,
            order: (order.to_native(), created_at_us.to_native()),
            subjects: (subjects_in, subjects_not_in),
            models: (models_in, models_not_in),
            metadata,
            applies_per,
            limits: of(limits),
            overrides: overrides
                .iter()
                .map(|it| (&it.of, of(&it.limits)))
                .collect(),
            audits: *audits,
            when_cut_off: if *closed_when_cut_off {
                WhenCutOff::Closed
            } else {
                WhenCutOff::Open
            },
            disabled: *disabled,
        }
    }

    fn rule(self) -> Rule {
        let metadata = self.metadata.iter().map(|it| {
            let values = choice((&it.within, &it.not_in), text);
            (text(&it.key), values)
        });
        let per: Box<[Segment]> = self.applies_per.iter().map(per).collect();
        let overrides = self.overrides.into_iter();
        let mut overrides: Vec<_> = overrides
            .map(|(of, limits)| (counter(&per, of), limits))
            .collect();
        overrides.sort_by_key(|(of, _)| *of);
        Rule {
            id: self.id,
            name: self.name.as_str().into(),
            audits: self.audits,
            when_cut_off: self.when_cut_off,
            subjects: choice(self.subjects, subject),
            models: choice(self.models, model),
            metadata: metadata.collect(),
            limits: self.limits,
            overrides: overrides.into(),
            per,
        }
    }
}

pub(super) fn compile<'p>(policies: impl Iterator<Item = Policy<'p>>) -> Rules {
    let mut policies: Vec<_> = policies.filter(|it| !it.disabled).collect();
    policies.sort_by_key(|it| (it.order, it.id));
    let rules: Box<[Rule]> = policies.into_iter().map(Policy::rule).collect();
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

fn choice<E, T: Ord>((within, not_in): Listed<'_, E>, of: impl Fn(&E) -> T) -> Choice<T> {
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
        ArchivedSegmentEntry::Key => Segment::Key,
    }
}

fn rate_limit(limit: &ArchivedRateLimitEntry) -> RuleLimit {
    RuleLimit {
        measure: match limit.unit {
            ArchivedLimitUnitEntry::Requests => Measure::Requests,
            ArchivedLimitUnitEntry::Tokens => Measure::Tokens,
        },
        period: match limit.window {
            ArchivedLimitWindowEntry::Minute => Period::SlidingMinute,
            ArchivedLimitWindowEntry::Hour => Period::Hour,
            ArchivedLimitWindowEntry::Day => Period::Day,
            ArchivedLimitWindowEntry::AtATime => Period::AtATime,
        },
        most: limit.most.to_native(),
    }
}

fn budget(limit: &ArchivedBudgetLimitEntry) -> RuleLimit {
    RuleLimit {
        measure: match limit.amount {
            ArchivedBudgetUnitEntry::Cost => Measure::Cost,
            ArchivedBudgetUnitEntry::Tokens => Measure::Tokens,
        },
        period: match limit.window {
            ArchivedBudgetWindowEntry::Day => Period::Day,
            ArchivedBudgetWindowEntry::Week => Period::Week,
            ArchivedBudgetWindowEntry::Month => Period::Month,
            ArchivedBudgetWindowEntry::Quarter => Period::Quarter,
        },
        most: limit.most.to_native(),
    }
}

impl From<BudgetLimit> for RuleLimit {
    fn from(limit: BudgetLimit) -> Self {
        Self {
            measure: match limit.amount {
                BudgetAmount::Cost(_) => Measure::Cost,
                BudgetAmount::Tokens(_) => Measure::Tokens,
            },
            period: match limit.window {
                BudgetWindow::Day => Period::Day,
                BudgetWindow::Week => Period::Week,
                BudgetWindow::Month => Period::Month,
                BudgetWindow::Quarter => Period::Quarter,
            },
            most: limit.amount.number(),
        }
    }
}

/// The counter of all of these.
fn counter(per: &[Segment], values: &ArchivedVec<ArchivedSegmentValueEntry>) -> EntryId {
    segment::of(per, |segment| {
        let of = values.iter().find_map(|value| of_segment(segment, value));
        of.unwrap_or(Value::Absent)
    })
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
            | Segment::Team
            | Segment::Key,
            V::User(_) | V::VirtualAccount(_) | V::Model(_) | V::Metadata(..) | V::Team(_),
        ) => None,
    }
}

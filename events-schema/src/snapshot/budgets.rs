//! The entry of a budget policy.

use rkyv::{Archive, Serialize};

use super::{
    entries::ModelRefEntry,
    limits::{
        LimitedSubjectEntry, MetadataConditionEntry, SegmentEntry, SegmentValueEntry, condition,
        model, segment, segment_value, subject,
    },
};
use crate::{
    events::{
        BudgetAmount, BudgetLimit, BudgetOverride, BudgetRule, BudgetWindow, LimitMode, When,
        WhenCutOff,
    },
    state::BudgetPolicy,
};

/// A budget policy.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct BudgetPolicyEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Where it stands among the budget policies: the one with the smallest number that matches a request decides, and all
    /// that match it count.
    pub order: u32,
    /// When it was made, in microseconds since 1970: of two with the same number the older one decides.
    pub created_at_us: i64,
    /// Whose requests it matches, in order; empty: everybody's.
    pub subjects_in: Vec<LimitedSubjectEntry>,
    /// But not theirs.
    pub subjects_not_in: Vec<LimitedSubjectEntry>,
    /// To which models, in order; empty: to all.
    pub models_in: Vec<ModelRefEntry>,
    /// But not to these.
    pub models_not_in: Vec<ModelRefEntry>,
    /// With which metadata, in the order of the keys.
    pub metadata: Vec<MetadataConditionEntry>,
    /// What has a budget of its own.
    pub applies_per: Vec<SegmentEntry>,
    /// How much may be used.
    pub limits: Vec<BudgetLimitEntry>,
    /// Other limits for some.
    pub overrides: Vec<BudgetOverrideEntry>,
    /// Whether nothing is refused, and what would have been is noted.
    pub audits: bool,
    /// Whether a gateway refuses requests while nobody deals out any more of the budget; else it lets them through.
    pub closed_when_cut_off: bool,
    /// At how many percent of a limit operators are told, in order.
    pub alerts: Vec<u8>,
    /// Whether it matches no request.
    pub disabled: bool,
}

/// How much may be used in a window.
#[derive(Debug, Clone, Copy, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct BudgetLimitEntry {
    /// Of what.
    pub amount: BudgetUnitEntry,
    /// In which time.
    pub window: BudgetWindowEntry,
    /// How much: nano-dollars, or tokens.
    pub most: u64,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum BudgetUnitEntry {
    /// Money, in nano-dollars.
    Cost,
    /// Tokens, input and output together.
    Tokens,
}

/// In which time a budget counts: by the calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum BudgetWindowEntry {
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// Three months, from the first of January, April, July or October.
    Quarter,
}

/// Limits that apply in place of a policy's.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct BudgetOverrideEntry {
    /// For the budget of all of these.
    pub of: Vec<SegmentValueEntry>,
    /// The limits.
    pub limits: Vec<BudgetLimitEntry>,
}

impl From<&BudgetPolicy> for BudgetPolicyEntry {
    /// As it is published.
    fn from(policy: &BudgetPolicy) -> Self {
        budget_policy(policy)
    }
}

pub(super) fn budget_policy(policy: &BudgetPolicy) -> BudgetPolicyEntry {
    let BudgetPolicy {
        id,
        life,
        name,
        order,
        rule,
        disabled,
    } = policy;
    let BudgetRule {
        when,
        applies_per,
        limits,
        overrides,
        mode,
        when_cut_off,
        alerts,
    } = rule;
    let When {
        subjects,
        models,
        metadata,
    } = when;
    BudgetPolicyEntry {
        id: id.bytes(),
        name: name.to_string(),
        order: *order,
        created_at_us: life.created_at.micros(),
        subjects_in: subjects.within.iter().map(subject).collect(),
        subjects_not_in: subjects.not_in.iter().map(subject).collect(),
        models_in: models.within.iter().map(model).collect(),
        models_not_in: models.not_in.iter().map(model).collect(),
        metadata: metadata.iter().map(condition).collect(),
        applies_per: applies_per.iter().map(segment).collect(),
        limits: limits.iter().map(limit).collect(),
        overrides: overrides.iter().map(other_limits).collect(),
        audits: *mode == LimitMode::Audit,
        closed_when_cut_off: *when_cut_off == WhenCutOff::Closed,
        alerts: alerts.iter().copied().collect(),
        disabled: *disabled,
    }
}

const fn limit(limit: &BudgetLimit) -> BudgetLimitEntry {
    let (amount, most) = match limit.amount {
        BudgetAmount::Cost(cost) => (BudgetUnitEntry::Cost, cost.nanos()),
        BudgetAmount::Tokens(tokens) => (BudgetUnitEntry::Tokens, tokens),
    };
    BudgetLimitEntry {
        amount,
        window: match limit.window {
            BudgetWindow::Day => BudgetWindowEntry::Day,
            BudgetWindow::Week => BudgetWindowEntry::Week,
            BudgetWindow::Month => BudgetWindowEntry::Month,
            BudgetWindow::Quarter => BudgetWindowEntry::Quarter,
        },
        most,
    }
}

fn other_limits(it: &BudgetOverride) -> BudgetOverrideEntry {
    BudgetOverrideEntry {
        of: it.of.iter().map(segment_value).collect(),
        limits: it.limits.iter().map(limit).collect(),
    }
}

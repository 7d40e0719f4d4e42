//! The entry of a rate-limit policy, and what it has in common with a budget policy's.

use rkyv::{Archive, Serialize};

use super::entries::ModelRefEntry;
use crate::{
    events::{
        Choice, LimitMode, LimitOverride, LimitSegment, LimitUnit, LimitWhenCutOff, LimitWindow,
        LimitedSubject, ModelRef, RateLimit, RateLimitRule, SegmentValue, When,
    },
    names::MetadataKey,
    state::RateLimitPolicy,
};

/// A rate-limit policy.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct RateLimitPolicyEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Where it stands among the policies: the one with the smallest number that matches a request applies.
    pub order: u32,
    /// When it was made, in microseconds since 1970: of two with the same number the older one applies.
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
    /// What has a counter of its own.
    pub applies_per: Vec<SegmentEntry>,
    /// How much may be used.
    pub limits: Vec<RateLimitEntry>,
    /// Other limits for some.
    pub overrides: Vec<LimitOverrideEntry>,
    /// Whether nothing is refused, and what would have been is noted.
    pub audits: bool,
    /// Whether it matches no request.
    pub disabled: bool,
    /// What a gateway does that is cut off for too long. In archives of before there was a choice a zero stands here, which says
    /// what gateways did then; and readers of before do not look at it, and do that.
    pub when_cut_off: WhenCutOffEntry,
}

/// What a gateway does with a limit that has been cut off for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum WhenCutOffEntry {
    /// It keeps the limit by itself.
    Alone,
    /// It lets everything through.
    Open,
    /// It lets nothing through.
    Closed,
}

/// What the metadata of a request must have.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct MetadataConditionEntry {
    /// Under which key.
    pub key: String,
    /// One of these values, in order; empty: any, or none.
    pub within: Vec<String>,
    /// But none of these.
    pub not_in: Vec<String>,
}

/// Somebody whose requests a policy matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum LimitedSubjectEntry {
    /// A user.
    User([u8; 16]),
    /// All members of a team.
    Team([u8; 16]),
    /// A virtual account.
    VirtualAccount([u8; 16]),
}

/// What has a counter of its own.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub enum SegmentEntry {
    /// Each user.
    User,
    /// Each virtual account.
    VirtualAccount,
    /// Each model.
    Model,
    /// Each value of this key of the metadata.
    Metadata(String),
    /// Each team of the caller that the policy names among those whose requests it matches; each of the caller's teams where
    /// it names none.
    Team,
    /// Each key.
    Key,
}

/// How much of something may be used in a time.
#[derive(Debug, Clone, Copy, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct RateLimitEntry {
    /// What is counted.
    pub unit: LimitUnitEntry,
    /// In which time.
    pub window: LimitWindowEntry,
    /// How much of it.
    pub most: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum LimitUnitEntry {
    /// Requests.
    Requests,
    /// Tokens, input and output together.
    Tokens,
}

/// In which time it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum LimitWindowEntry {
    /// The last 50 to 60 seconds, in slots of ten.
    Minute,
    /// An hour of the clock, UTC.
    Hour,
    /// A day, UTC.
    Day,
    /// No time: requests count as long as they are under way.
    AtATime,
}

/// Limits that apply in place of a policy's.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct LimitOverrideEntry {
    /// For the counter of all of these.
    pub of: Vec<SegmentValueEntry>,
    /// The limits.
    pub limits: Vec<RateLimitEntry>,
}

/// One of those that have a counter of their own.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub enum SegmentValueEntry {
    /// A user.
    User([u8; 16]),
    /// A virtual account.
    VirtualAccount([u8; 16]),
    /// A model, a virtual model, or all models of an account together.
    Model(ModelRefEntry),
    /// A value of a key of the metadata.
    Metadata(String, String),
    /// A team.
    Team([u8; 16]),
}

impl From<&RateLimitPolicy> for RateLimitPolicyEntry {
    /// As it is published.
    fn from(policy: &RateLimitPolicy) -> Self {
        rate_limit_policy(policy)
    }
}

pub(super) fn rate_limit_policy(policy: &RateLimitPolicy) -> RateLimitPolicyEntry {
    let RateLimitPolicy {
        id,
        life,
        name,
        order,
        rule,
        disabled,
    } = policy;
    let RateLimitRule {
        when,
        applies_per,
        limits,
        overrides,
        mode,
        when_cut_off,
    } = rule;
    let When {
        subjects,
        models,
        metadata,
    } = when;
    RateLimitPolicyEntry {
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
        disabled: *disabled,
        when_cut_off: match when_cut_off {
            LimitWhenCutOff::Alone => WhenCutOffEntry::Alone,
            LimitWhenCutOff::Open => WhenCutOffEntry::Open,
            LimitWhenCutOff::Closed => WhenCutOffEntry::Closed,
        },
    }
}

pub(super) const fn subject(subject: &LimitedSubject) -> LimitedSubjectEntry {
    match *subject {
        LimitedSubject::User(id) => LimitedSubjectEntry::User(id.bytes()),
        LimitedSubject::Team(id) => LimitedSubjectEntry::Team(id.bytes()),
        LimitedSubject::VirtualAccount(id) => LimitedSubjectEntry::VirtualAccount(id.bytes()),
    }
}

pub(super) const fn model(model: &ModelRef) -> ModelRefEntry {
    match *model {
        ModelRef::Model(id) => ModelRefEntry::Model(id.bytes()),
        ModelRef::VirtualModel(id) => ModelRefEntry::VirtualModel(id.bytes()),
        ModelRef::ProviderAccount(id) => ModelRefEntry::ProviderAccount(id.bytes()),
    }
}

pub(super) fn condition((key, values): (&MetadataKey, &Choice<String>)) -> MetadataConditionEntry {
    MetadataConditionEntry {
        key: key.to_string(),
        within: values.within.iter().cloned().collect(),
        not_in: values.not_in.iter().cloned().collect(),
    }
}

pub(super) fn segment(segment: &LimitSegment) -> SegmentEntry {
    match segment {
        LimitSegment::User => SegmentEntry::User,
        LimitSegment::VirtualAccount => SegmentEntry::VirtualAccount,
        LimitSegment::Model => SegmentEntry::Model,
        LimitSegment::Metadata(key) => SegmentEntry::Metadata(key.to_string()),
        LimitSegment::Team => SegmentEntry::Team,
        LimitSegment::Key => SegmentEntry::Key,
    }
}

pub(super) fn segment_value(value: &SegmentValue) -> SegmentValueEntry {
    match value {
        SegmentValue::User(id) => SegmentValueEntry::User(id.bytes()),
        SegmentValue::VirtualAccount(id) => SegmentValueEntry::VirtualAccount(id.bytes()),
        SegmentValue::Model(of) => SegmentValueEntry::Model(model(of)),
        SegmentValue::Metadata { key, value } => {
            SegmentValueEntry::Metadata(key.to_string(), value.clone())
        }
        SegmentValue::Team(id) => SegmentValueEntry::Team(id.bytes()),
    }
}

const fn limit(limit: &RateLimit) -> RateLimitEntry {
    RateLimitEntry {
        unit: match limit.unit {
            LimitUnit::Requests => LimitUnitEntry::Requests,
            LimitUnit::Tokens => LimitUnitEntry::Tokens,
        },
        window: match limit.window {
            LimitWindow::Minute => LimitWindowEntry::Minute,
            LimitWindow::Hour => LimitWindowEntry::Hour,
            LimitWindow::Day => LimitWindowEntry::Day,
            LimitWindow::AtATime => LimitWindowEntry::AtATime,
        },
        most: limit.limit,
    }
}

fn other_limits(it: &LimitOverride) -> LimitOverrideEntry {
    LimitOverrideEntry {
        of: it.of.iter().map(segment_value).collect(),
        limits: it.limits.iter().map(limit).collect(),
    }
}

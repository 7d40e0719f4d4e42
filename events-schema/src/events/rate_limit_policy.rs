//! Events of rate-limit policies: stored rules on how much may be used in a while.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ModelRef, Subject, codec::Upcaster};
use crate::{
    id::{TeamId, UserId, VirtualAccountId},
    names::{MetadataKey, Slug},
};

/// What a policy limits, and to how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimitRule {
    /// Which requests it matches.
    pub when: When,
    /// What has a counter of its own; at most two. Empty: all matching requests share one.
    pub applies_per: BTreeSet<LimitSegment>,
    /// How much may be used, in which time; one to eight, of each unit and window one.
    pub limits: BTreeSet<RateLimit>,
    /// Other limits for some of what has a counter of its own; at most 1,000.
    pub overrides: BTreeSet<LimitOverride>,
    /// What happens above a limit.
    pub mode: LimitMode,
}

/// Which requests a policy matches: those that meet all conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Whose requests.
    pub subjects: Choice<LimitedSubject>,
    /// Requests to which models.
    pub models: Choice<ModelRef>,
    /// Requests with which metadata; at most 16 keys, values of at most 128 characters. A request without a key has none
    /// of its values.
    pub metadata: BTreeMap<MetadataKey, Choice<String>>,
}

/// Some of all there are; at most 1,000 are named on each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct Choice<T: Ord> {
    /// These; empty: all.
    #[serde(rename = "in")]
    pub within: BTreeSet<T>,
    /// But none of these.
    pub not_in: BTreeSet<T>,
}

/// Somebody whose requests a policy matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitedSubject {
    /// A user.
    User(UserId),
    /// All members of a team.
    Team(TeamId),
    /// A virtual account.
    VirtualAccount(VirtualAccountId),
}

impl From<LimitedSubject> for Subject {
    fn from(subject: LimitedSubject) -> Self {
        match subject {
            LimitedSubject::User(id) => Self::User(id),
            LimitedSubject::Team(id) => Self::Team(id),
            LimitedSubject::VirtualAccount(id) => Self::VirtualAccount(id),
        }
    }
}

/// How much of something may be used in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// What is counted.
    pub unit: LimitUnit,
    /// In which time.
    pub window: LimitWindow,
    /// How much of it may be used in that time; at least 1.
    pub limit: u64,
}

/// Limits that apply in place of a rule's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitOverride {
    /// Where they do: for the counter of these, all of which the rule applies per; of each kind one at most.
    pub of: BTreeSet<SegmentValue>,
    /// The limits; as those of a rule.
    pub limits: BTreeSet<RateLimit>,
}

/// One of those that have a counter of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SegmentValue {
    /// A user.
    User(UserId),
    /// A virtual account.
    VirtualAccount(VirtualAccountId),
    /// A model, or a virtual model.
    Model(ModelRef),
    /// A value of a key of the metadata.
    Metadata {
        /// The key.
        key: MetadataKey,
        /// The value; at most 128 characters.
        value: String,
    },
}

impl<T: Ord> Choice<T> {
    /// All there are.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            within: BTreeSet::new(),
            not_in: BTreeSet::new(),
        }
    }

    /// These alone.
    pub fn only(these: impl IntoIterator<Item = T>) -> Self {
        Self {
            within: these.into_iter().collect(),
            not_in: BTreeSet::new(),
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.within.is_empty() && self.not_in.is_empty()
    }

    /// All that is named, on either side.
    pub fn named(&self) -> impl Iterator<Item = &T> {
        self.within.iter().chain(&self.not_in)
    }
}

impl<T: Ord> Default for Choice<T> {
    fn default() -> Self {
        Self::all()
    }
}

impl SegmentValue {
    /// What it is one of.
    #[must_use]
    pub fn segment(&self) -> LimitSegment {
        match self {
            Self::User(_) => LimitSegment::User,
            Self::VirtualAccount(_) => LimitSegment::VirtualAccount,
            Self::Model(_) => LimitSegment::Model,
            Self::Metadata { key, .. } => LimitSegment::Metadata(key.clone()),
        }
    }
}

/// What has a counter of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitSegment {
    /// Each user.
    User,
    /// Each virtual account.
    VirtualAccount,
    /// Each model.
    Model,
    /// Each value of this key of the metadata.
    Metadata(MetadataKey),
}

/// What a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitUnit {
    /// Requests.
    Requests,
    /// Tokens, input and output together.
    Tokens,
}

/// In which time a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitWindow {
    /// Any 60 seconds.
    Minute,
    /// An hour of the clock, UTC.
    Hour,
    /// A day, UTC.
    Day,
}

/// What happens above a policy's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitMode {
    /// Requests are refused.
    Enforce,
    /// Nothing but a note of what would have been refused.
    Audit,
}

/// What happens to a rate-limit policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RateLimitPolicyEvent {
    /// A policy was made.
    RateLimitPolicyCreated {
        /// Its name.
        name: Slug,
        /// Where it stands among the policies: the one with the smallest number that matches a request applies; of those
        /// with the same number, the oldest.
        order: u32,
        /// What it limits.
        rule: RateLimitRule,
    },
    /// It was given another name.
    RateLimitPolicyRenamed {
        /// The new name.
        name: Slug,
    },
    /// It stands elsewhere among the policies.
    RateLimitPolicyMoved {
        /// Where it stands now.
        order: u32,
    },
    /// It limits something else, or to another amount.
    RateLimitRuleChanged {
        /// What it limits now.
        rule: RateLimitRule,
    },
    /// It matches no request any more.
    RateLimitPolicyDisabled {},
    /// It matches requests again.
    RateLimitPolicyEnabled {},
    /// It is gone.
    RateLimitPolicyDeleted {},
}

// === what was written before ===

/// Version 1 knew one limit, and of subjects and models all or a list.
pub(super) const CREATED_V1: Upcaster = Upcaster {
    kind: "rate_limit_policy_created",
    from: 1,
    apply: |text| {
        let CreatedV1 { name, order, rule } = serde_json::from_str(text)?;
        let rule = rule.into();
        serde_json::to_string(&Created { name, order, rule })
    },
};

/// As [`CREATED_V1`].
pub(super) const CHANGED_V1: Upcaster = Upcaster {
    kind: "rate_limit_rule_changed",
    from: 1,
    apply: |text| {
        let ChangedV1 { rule } = serde_json::from_str(text)?;
        let rule = rule.into();
        serde_json::to_string(&Changed { rule })
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreatedV1 {
    name: Slug,
    order: u32,
    rule: RuleV1,
}

#[derive(Serialize)]
struct Created {
    name: Slug,
    order: u32,
    rule: RateLimitRule,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangedV1 {
    rule: RuleV1,
}

#[derive(Serialize)]
struct Changed {
    rule: RateLimitRule,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleV1 {
    subjects: ListV1<LimitedSubject>,
    models: ListV1<ModelRef>,
    metadata: BTreeMap<MetadataKey, String>,
    applies_per: BTreeSet<LimitSegment>,
    unit: LimitUnit,
    window: LimitWindow,
    limit: u64,
    mode: LimitMode,
}

#[derive(Deserialize)]
#[serde(
    rename_all = "snake_case",
    bound(deserialize = "T: Ord + Deserialize<'de>")
)]
enum ListV1<T: Ord> {
    All,
    Listed(BTreeSet<T>),
}

impl From<RuleV1> for RateLimitRule {
    fn from(rule: RuleV1) -> Self {
        let RuleV1 {
            subjects,
            models,
            metadata,
            applies_per,
            unit,
            window,
            limit,
            mode,
        } = rule;
        let metadata = metadata.into_iter();
        Self {
            when: When {
                subjects: subjects.into(),
                models: models.into(),
                metadata: metadata
                    .map(|(key, value)| (key, Choice::only([value])))
                    .collect(),
            },
            applies_per,
            limits: BTreeSet::from([RateLimit {
                unit,
                window,
                limit,
            }]),
            overrides: BTreeSet::new(),
            mode,
        }
    }
}

impl<T: Ord> From<ListV1<T>> for Choice<T> {
    fn from(list: ListV1<T>) -> Self {
        match list {
            ListV1::All => Self::all(),
            ListV1::Listed(these) => Self::only(these),
        }
    }
}

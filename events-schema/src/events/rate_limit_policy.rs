//! Events of rate-limit policies: stored rules on how much may be used in a while.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    ModelRef,
    codec::Upcaster,
    policy::{Choice, LimitMode, LimitSegment, LimitedSubject, Override, When},
};
use crate::names::{MetadataKey, Slug};

/// What a policy limits, and to how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimitRule {
    /// Which requests it matches.
    pub when: When,
    /// What has a counter of its own; at most two. Empty: all matching requests share one.
    pub applies_per: BTreeSet<LimitSegment>,
    /// How much may be used, in which time, and how much may be under way; one to eight, of each unit and window one.
    pub limits: BTreeSet<RateLimit>,
    /// Other limits for some of what has a counter of its own; at most 1,000.
    pub overrides: BTreeSet<Override<RateLimit>>,
    /// What happens above a limit.
    pub mode: LimitMode,
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
    /// How much of it may be used in that time, or be under way at a time; at least 1.
    pub limit: u64,
}

/// Limits that apply in place of a rule's.
pub type LimitOverride = Override<RateLimit>;

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
    /// The last 50 to 60 seconds, in slots of ten.
    Minute,
    /// An hour of the clock, UTC.
    Hour,
    /// A day, UTC.
    Day,
    /// No time: requests count as long as they are under way. Only requests do.
    AtATime,
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

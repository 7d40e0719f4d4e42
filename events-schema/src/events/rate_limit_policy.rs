//! Events of rate-limit policies: stored rules on how much may be used in a while.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

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
    /// What a gateway does that has heard nothing of the others for more than ten seconds.
    pub when_cut_off: LimitWhenCutOff,
}

/// What a gateway does with a limit once it has heard nothing of what the others admit for more than ten seconds: the aggregator is
/// away, or the gateway is cut off from it. Until then it goes by its share of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitWhenCutOff {
    /// It keeps the limit by itself: of gateways that are cut off each lets through as much as the limit, and no more.
    Alone,
    /// It lets every request through, and counts it: no limit holds.
    Open,
    /// It refuses every request.
    Closed,
}

impl LimitWhenCutOff {
    /// What gateways do with limits of which nobody has said anything else: those of keys, and of policies from before there was
    /// a choice.
    pub const USUAL: Self = Self::Alone;
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
    apply: created::<RuleV1, RuleV2>,
};

/// As [`CREATED_V1`].
pub(super) const CHANGED_V1: Upcaster = Upcaster {
    kind: "rate_limit_rule_changed",
    from: 1,
    apply: changed::<RuleV1, RuleV2>,
};

/// Version 2 knew no choice of what a gateway does that is cut off: each kept the limit by itself.
pub(super) const CREATED_V2: Upcaster = Upcaster {
    kind: "rate_limit_policy_created",
    from: 2,
    apply: created::<RuleV2, RateLimitRule>,
};

/// As [`CREATED_V2`].
pub(super) const CHANGED_V2: Upcaster = Upcaster {
    kind: "rate_limit_rule_changed",
    from: 2,
    apply: changed::<RuleV2, RateLimitRule>,
};

fn created<Before, After>(text: &str) -> Result<String, serde_json::Error>
where
    Before: DeserializeOwned + Into<After>,
    After: Serialize,
{
    let Created { name, order, rule }: Created<Before> = serde_json::from_str(text)?;
    let rule: After = rule.into();
    serde_json::to_string(&Created { name, order, rule })
}

fn changed<Before, After>(text: &str) -> Result<String, serde_json::Error>
where
    Before: DeserializeOwned + Into<After>,
    After: Serialize,
{
    let Changed { rule }: Changed<Before> = serde_json::from_str(text)?;
    let rule: After = rule.into();
    serde_json::to_string(&Changed { rule })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Created<R> {
    name: Slug,
    order: u32,
    rule: R,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed<R> {
    rule: R,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleV2 {
    when: When,
    applies_per: BTreeSet<LimitSegment>,
    limits: BTreeSet<RateLimit>,
    overrides: BTreeSet<Override<RateLimit>>,
    mode: LimitMode,
}

impl From<RuleV1> for RuleV2 {
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

impl From<RuleV2> for RateLimitRule {
    fn from(rule: RuleV2) -> Self {
        let RuleV2 {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = rule;
        Self {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off: LimitWhenCutOff::USUAL,
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

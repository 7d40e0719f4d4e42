//! Events of rate-limit policies: stored rules on how much may be used in a while.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ModelRef;
use crate::{
    id::{TeamId, UserId, VirtualAccountId},
    names::{MetadataKey, Slug},
};

/// What a policy limits, and to how much. Conditions that are all met make it match a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimitRule {
    /// Whose requests.
    pub subjects: LimitedSubjects,
    /// Requests to which models.
    pub models: LimitedModels,
    /// Requests with all of this metadata; at most 16 conditions, values of at most 128 characters.
    pub metadata: BTreeMap<MetadataKey, String>,
    /// What has a counter of its own; at most two. Empty: all matching requests share one.
    pub applies_per: BTreeSet<LimitSegment>,
    /// What is counted.
    pub unit: LimitUnit,
    /// In which time.
    pub window: LimitWindow,
    /// How much of it may be used in that time; at least 1.
    pub limit: u64,
    /// What happens above it.
    pub mode: LimitMode,
}

/// Whose requests a policy matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitedSubjects {
    /// Everybody's.
    All,
    /// Theirs; at least one, at most 1,000.
    Listed(BTreeSet<LimitedSubject>),
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

/// Requests to which models a policy matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitedModels {
    /// To all.
    All,
    /// To these; at least one, at most 1,000.
    Listed(BTreeSet<ModelRef>),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitUnit {
    /// Requests.
    Requests,
    /// Tokens, input and output together.
    Tokens,
}

/// In which time a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

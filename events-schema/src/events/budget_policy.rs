//! Events of budget policies: stored rules on how much may be spent, or how many tokens used, by the calendar.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy::{LimitMode, LimitSegment, Override, When};
use crate::{money::NanoUsd, names::Slug};

/// What a budget policy limits, and to how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BudgetRule {
    /// Which requests it matches.
    pub when: When,
    /// What has a budget of its own; at most two. Empty: all matching requests share one.
    pub applies_per: BTreeSet<LimitSegment>,
    /// How much may be used, in which time; one to eight, of cost and of tokens one for each window.
    pub limits: BTreeSet<BudgetLimit>,
    /// Other limits for some of what has a budget of its own; at most 1,000.
    pub overrides: BTreeSet<Override<BudgetLimit>>,
    /// What happens above a limit.
    pub mode: LimitMode,
    /// What a gateway does that has not heard for long how much of the budget it may use.
    pub when_cut_off: WhenCutOff,
    /// At how many percent of a limit operators are told, 1 to 100; at most eight.
    #[cfg_attr(feature = "openapi", schema(maximum = 100))]
    pub alerts: BTreeSet<u8>,
}

impl BudgetRule {
    /// Its limits, for all and for some.
    pub fn all_limits(&self) -> impl Iterator<Item = &BudgetLimit> {
        let others = self.overrides.iter().flat_map(|it| &it.limits);
        self.limits.iter().chain(others)
    }

    /// Whether it has this limit, for all or for some.
    #[must_use]
    pub fn has_limit(&self, limit: &BudgetLimit) -> bool {
        self.all_limits().any(|it| it == limit)
    }

    /// For how many days requests must be kept so that what was used in any of its windows can be added up from them.
    #[must_use]
    pub fn longest_days(&self) -> u32 {
        let days = self.all_limits().map(|it| it.window.longest_days());
        days.max().unwrap_or(0)
    }
}

/// How much may be used in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BudgetLimit {
    /// How much of what; at least 1.
    pub amount: BudgetAmount,
    /// In which time. A request's usage belongs to the window in which the request arrived.
    pub window: BudgetWindow,
}

/// Limits that apply in place of a budget rule's.
pub type BudgetOverride = Override<BudgetLimit>;

/// An amount of what a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BudgetAmount {
    /// Money, by the models' prices.
    Cost(NanoUsd),
    /// Tokens, input and output together.
    Tokens(u64),
}

impl BudgetAmount {
    /// So many of the same unit: nano-dollars, or tokens.
    #[must_use]
    pub const fn of_same_unit(self, number: u64) -> Self {
        match self {
            Self::Cost(_) => Self::Cost(NanoUsd::new(number)),
            Self::Tokens(_) => Self::Tokens(number),
        }
    }

    /// How much: nano-dollars, or tokens.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Cost(cost) => cost.nanos(),
            Self::Tokens(tokens) => tokens,
        }
    }
}

/// In which time a budget counts: by the calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BudgetWindow {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// Three months, from the first of January, April, July or October.
    Quarter,
}

impl BudgetWindow {
    /// How many days the longest of its windows has.
    #[must_use]
    pub const fn longest_days(self) -> u32 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 31,
            Self::Quarter => 92,
        }
    }
}

/// What a gateway does once it may use nothing more of a budget only because nobody deals out any more of it: the aggregator
/// is away, or the gateway is cut off from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenCutOff {
    /// It lets requests through, and counts what they use.
    Open,
    /// It refuses them.
    Closed,
}

/// What happens to a budget policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BudgetPolicyEvent {
    /// A policy was made.
    BudgetPolicyCreated {
        /// Its name.
        name: Slug,
        /// Where it stands among the budget policies: of those that match a request, the one with the smallest number decides,
        /// of those with the same number the oldest; all of them count what it uses.
        order: u32,
        /// What it limits.
        rule: BudgetRule,
    },
    /// It was given another name.
    BudgetPolicyRenamed {
        /// The new name.
        name: Slug,
    },
    /// It stands elsewhere among the policies.
    BudgetPolicyMoved {
        /// Where it stands now.
        order: u32,
    },
    /// It limits something else, or to another amount.
    BudgetRuleChanged {
        /// What it limits now.
        rule: BudgetRule,
    },
    /// It matches no request any more.
    BudgetPolicyDisabled {},
    /// It matches requests again.
    BudgetPolicyEnabled {},
    /// It is gone.
    BudgetPolicyDeleted {},
}

//! How limits and budgets stand.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    events::{BudgetAmount, BudgetLimit},
    id::BudgetPolicyId,
    money::NanoUsd,
    time::Timestamp,
    usage::{LimitOf, LimitPeriod},
};

/// How limits and budgets stand over all gateways: answer of `GET /limit-usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitUsage {
    /// When it was told how rate limits stand; `None`: nobody who deals them out has been heard of late.
    pub rates_at: Option<Timestamp>,
    /// How many counters rate limits have, those that are not listed among them.
    pub rates: u64,
    /// When it was told how budgets stand; `None`: nobody who lends them has been heard of late.
    pub budgets_at: Option<Timestamp>,
    /// How many counters budgets have, those that are not listed among them.
    pub budgets: u64,
    /// Those that are used most, as a part of their limits, first; at most 1,000 of rate limits and as many of budgets.
    pub items: Vec<LimitUsageItem>,
}

/// How one counter stands in its window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitUsageItem {
    /// Whose limit it is.
    pub of: LimitOf,
    /// The policy's name, or the key's label; `None`: it is gone.
    pub name: Option<String>,
    /// Which of its counters; zeros: it has one for all.
    pub segment: Uuid,
    /// Whose counter that is, or what of: of a user, a team, a virtual account, a model or a key its name, of the metadata `key=value`, of
    /// two things both. `None`: it is that of all requests, or nobody knows: no request that counted there was found in the ledger.
    pub segment_name: Option<String>,
    /// In which time it counts.
    pub period: LimitPeriod,
    /// When its window began; where it counts what is under way, when it was told.
    pub began_at: Timestamp,
    /// When its window ends; of one that slides, when all of it is free again if nothing more is used; where it counts what is
    /// under way, when it was told.
    pub ends_at: Timestamp,
    /// How much it lets through.
    pub limit: LimitAmount,
    /// How much is used.
    pub used: LimitAmount,
    /// Whether more may be used than is known: after a loss, until the records of all requests have been counted, and of gateways
    /// that died or are cut off, until theirs have.
    pub is_lower_bound: bool,
    /// How much of that is above the limit.
    pub overshot: LimitAmount,
    /// How much more is lent to gateways, or may be used by requests under way.
    pub held: LimitAmount,
    /// What requests asked for and were refused.
    pub refused: LimitAmount,
    /// How much is used and held of the limit, in percent.
    pub percent: u64,
    /// The highest threshold of which an alert was raised in this window, in percent; `None`: of none, or it is no budget's.
    pub alert: Option<u8>,
}

/// Which thresholds a counter of a budget has reached in its window: item of `GET /budget-alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetAlertItem {
    /// The budget policy.
    pub policy: BudgetPolicyId,
    /// Its name.
    pub policy_name: String,
    /// Which of its counters; zeros: it has one for all.
    pub segment: Uuid,
    /// Whose counter that is, or what of: of a user, a team, a virtual account, a model or a key its name, of the metadata `key=value`, of
    /// two things both. `None`: it is that of all requests, or nobody knows: no request that counted there was found in the ledger.
    pub segment_name: Option<String>,
    /// Of which limit.
    pub limit: BudgetLimit,
    /// When its window began.
    pub began_at: Timestamp,
    /// When its window ends.
    pub ends_at: Timestamp,
    /// The highest threshold that was reached, in percent.
    pub threshold: u8,
    /// All that were reached.
    pub thresholds: BTreeSet<u8>,
    /// How much was used when it was seen that the newest is reached.
    pub used: BudgetAmount,
    /// When that was recorded.
    pub raised_at: Timestamp,
    /// The position of its event, `budget_alert_raised`.
    pub position: u64,
}

/// An amount of what a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitAmount {
    /// Requests.
    Requests(u64),
    /// Input and output tokens.
    Tokens(u64),
    /// Money.
    Cost(NanoUsd),
}

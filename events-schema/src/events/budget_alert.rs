//! Events of budget alerts: what a budget has used of its limits.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::budget_policy::{BudgetAmount, BudgetLimit};
use crate::time::Timestamp;

/// What is told of a budget policy's use. Each policy has a stream of its own for it, so that its own history stays the history
/// of what people did to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BudgetAlertEvent {
    /// A threshold was reached: told once in each window of each of the policy's counters, and once more when the limit is
    /// another.
    BudgetAlertRaised {
        /// Which of the policy's counters, as request records name it: an id, or a hash; zeros: it has one for all.
        segment: Uuid,
        /// Of which of the policy's limits, as it was then.
        limit: BudgetLimit,
        /// When the window began.
        began_at: Timestamp,
        /// When it ends.
        ends_at: Timestamp,
        /// The threshold, in percent of the limit.
        threshold: u8,
        /// How much was used when it was seen that the threshold is reached; of what the limit is of.
        used: BudgetAmount,
    },
}

//! Policies that never apply, or never decide: one before them matches all that they match.

use events_schema::{
    events::Stream,
    id::{BudgetPolicyId, RateLimitPolicyId},
    state::Organisation,
};
use gateway_policy::Rules;

/// A policy that is the first for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreached {
    pub(crate) policy: Stream,
    /// The name of the first that takes all of its requests.
    pub(crate) behind: String,
    /// What to say of it.
    pub(crate) told: String,
}

/// All of a state, found by the rules that gateways follow. A budget that only counts in any case is none of them.
pub(crate) fn unreached(state: &Organisation) -> Vec<Unreached> {
    let limits = Rules::of_rate_limits(state);
    let limits = limits.unreachable().map(|(rule, before)| Unreached {
        policy: Stream::RateLimitPolicy(RateLimitPolicyId::from_bytes(rule.id)),
        behind: before.name.to_string(),
        told: format!(
            "The rate-limit policy '{}' can match no request: '{}' before it matches all of its.",
            rule.name, before.name
        ),
    });
    let budgets = Rules::of_budgets(state);
    let budgets = budgets.unreachable().filter(|(rule, _)| !rule.audits);
    let budgets = budgets.map(|(rule, before)| Unreached {
        policy: Stream::BudgetPolicy(BudgetPolicyId::from_bytes(rule.id)),
        behind: before.name.to_string(),
        told: format!(
            "The budget policy '{}' can refuse no request, and only counts: '{}' before it matches all of its, and decides.",
            rule.name, before.name
        ),
    });
    limits.chain(budgets).collect()
}

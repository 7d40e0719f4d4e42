//! Which thresholds of budgets are told of.

use std::collections::BTreeSet;

use events_schema::{
    events::{BudgetAlertEvent, BudgetLimit, Event},
    id::BudgetPolicyId,
    state::Organisation,
};

use crate::domain::command::{BudgetAlertCommand as C, BudgetUse};

/// An event for each threshold that is reached and was not told of in this window, the lowest first.
pub(super) fn decide(state: &Organisation, id: BudgetPolicyId, command: &C) -> Vec<Event> {
    let C::Raise(reached) = command;
    let BudgetUse {
        segment,
        limit,
        began_at,
        ends_at,
        used,
        at,
    } = *reached;
    // Who adds up may not know yet that the policy was changed.
    let policy = state.budget_policies().get(&id);
    let Some(policy) = policy.filter(|it| !it.disabled && it.rule.has_limit(&limit)) else {
        return Vec::new();
    };
    if state.has_forgotten_alerts_of(ends_at) {
        return Vec::new();
    }
    let told = state
        .budget_alert(&reached.key(id))
        .map(|it| &it.thresholds);
    // Of counters that a policy has one of there are no more than policies.
    let is_for_all = segment.is_nil();
    if told.is_none() && !is_for_all && !state.has_room_for_alerts(at) {
        return Vec::new();
    }
    let is_told = |percent: &u8| told.is_some_and(|it: &BTreeSet<u8>| it.contains(percent));
    let due = policy.rule.alerts.iter().copied();
    let due = due.filter(|percent| is_reached(*percent, used, limit) && !is_told(percent));
    let event = |threshold| {
        Event::BudgetAlert(
            id,
            BudgetAlertEvent::BudgetAlertRaised {
                segment,
                limit,
                began_at,
                ends_at,
                threshold,
                used: limit.amount.of_same_unit(used),
            },
        )
    };
    due.map(event).collect()
}

fn is_reached(percent: u8, used: u64, limit: BudgetLimit) -> bool {
    u128::from(used) * 100 >= u128::from(limit.amount.number()) * u128::from(percent)
}

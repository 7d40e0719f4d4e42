//! What limits and budgets said to a request: for its record, and what they hold for it until its end.

use std::mem::take;

use events_schema::{
    id::{BudgetPolicyId, RateLimitPolicyId},
    usage::BudgetCharge,
};
use gateway_policy::{EntryId, Measure, limits::message::CounterId};

use super::{Exchange, Tried, named};
use crate::{
    count::lacking::Lacking,
    limits::{Admitted, Asked, By, Decided, Outcome, Refused, Reservation, Settled},
};

/// Of so many limits a record tells how they stood, those first that were exceeded: a request may be tried several hundred times, and
/// a record has to fit into a message.
const MOST_TOLD: usize = 256;

impl Exchange {
    /// Limits and budgets have decided on it, or on an attempt: notes what the record says of that. What waits is decided on
    /// again.
    pub fn decided_by(&self, asked: &Asked<'_>, decided: &mut Decided) {
        if matches!(decided.outcome, Outcome::Waits(_)) {
            return;
        }
        let mut rules = self.rules.borrow_mut();
        let mut fired = |rule: String| {
            // Attempts at one target are decided on by the same ones.
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        };
        if let Some(rule) = asked.rule() {
            fired(rate_limit_policy(rule.id));
        }
        if let Some(rule) = asked.decider() {
            fired(budget_policy(rule.id));
        }
        let (limit, budget) = asked.uncounted();
        let limit = limit.map(|rule| rate_limit_policy(rule.id));
        let budget = budget.map(|rule| budget_policy(rule.id));
        for rule in [limit, budget].into_iter().flatten() {
            self.worker.metrics.uncounted_limits.add(1);
            fired(format!("uncounted:{rule}"));
        }
        match &decided.outcome {
            Outcome::Admitted(admitted) => {
                let limit = admitted.audited.map(rate_limit_policy);
                let budget = admitted.audited_budget.map(budget_policy);
                let audited = [limit, budget].into_iter().flatten();
                audited.for_each(|rule| fired(format!("audit:{rule}")));
            }
            Outcome::Refused(refused) => of_key(refused)
                .into_iter()
                .for_each(|rule| fired(rule.to_owned())),
            // Which policies apply has been told.
            Outcome::Overspent(_) | Outcome::Waits(_) => {}
        }
        let mut limits = self.limits.borrow_mut();
        if limits.is_empty() {
            *limits = take(&mut decided.seen);
        } else {
            limits.append(&mut decided.seen);
        }
        if limits.len() > MOST_TOLD {
            limits.sort_by_key(|it| !it.exceeded);
            limits.truncate(MOST_TOLD);
        }
    }

    /// Limits and budgets have admitted it.
    pub fn reserved(&mut self, admitted: Admitted) {
        self.reservation = Some(admitted.reservation);
    }

    /// It waits for the lease of a budget.
    pub fn waits_for_lease(&self) {
        self.worker.metrics.lease_waits.add(1);
    }

    /// The limits and budgets of its target have admitted an attempt.
    pub fn attempt_reserved(&self, at: usize, reservation: Reservation) {
        if let Some(tried) = self.attempts.borrow_mut().get_mut(at) {
            tried.reservation = Some(reservation);
        }
    }

    /// Whether an attempt that is under way counts at a counter of what is under way. A request is one, however many of its
    /// attempts are under way.
    #[must_use]
    pub fn counts_at(&self, counter: &CounterId) -> bool {
        let attempts = self.attempts.borrow();
        let mut held = attempts.iter().filter_map(|it| it.reservation.as_ref());
        held.any(|it| it.is_under_way_at(counter))
    }

    /// An attempt is not under way any more: what it was charged for that goes on with another one of the request, where that
    /// counts at the same, or comes back.
    pub(super) fn attempt_is_over(&self, at: usize) {
        let mut attempts = self.attempts.borrow_mut();
        let Some(mut over) = attempts.get_mut(at).and_then(|it| it.reservation.take()) else {
            return;
        };
        let others = || attempts.iter().filter_map(|it| it.reservation.as_ref());
        let goes_on = |counter: &CounterId| others().any(|it| it.is_under_way_at(counter));
        let mut rest = over.is_over(&self.worker.shared.limits, goes_on);
        for other in attempts.iter_mut().filter_map(|it| it.reservation.as_mut()) {
            other.goes_on_with(&mut rest);
        }
        if let Some(tried) = attempts.get_mut(at) {
            tried.reservation = Some(over);
        }
    }

    /// Settles what was reserved: of the request, and of the attempt whose use is the request's, by what was used; limits of other
    /// attempts by what they used, and their budgets by nothing, since that is no cost of the request. Where its tokens are yet
    /// to be counted, its budgets wait for that. Returns the budgets at which it counts.
    pub(super) fn settle(
        &mut self,
        attempts: &mut [Tried],
        charged: Option<usize>,
        used: Settled,
        mut lacking: Option<&mut Lacking>,
    ) -> Vec<BudgetCharge> {
        let limits = &self.worker.shared.limits;
        let mut budgets = Vec::new();
        let mut counts = |reservation: Reservation| {
            budgets.extend(reservation.budgets());
            match &mut lacking {
                Some(lacking) => lacking
                    .unsettled
                    .extend(reservation.settle_later(limits, used)),
                None => reservation.settle(limits, used),
            }
        };
        if let Some(reservation) = self.reservation.take() {
            counts(reservation);
        }
        for (at, tried) in attempts.iter_mut().enumerate() {
            let Some(reservation) = tried.reservation.take() else {
                continue;
            };
            if charged == Some(at) {
                counts(reservation);
            } else {
                let tokens = tried.attempt.tokens.unwrap_or_default();
                let tokens = tokens.input.saturating_add(tokens.output);
                reservation
                    .settle_limits(limits, tokens)
                    .settle(limits, Settled::default());
            }
        }
        budgets
    }
}

fn rate_limit_policy(id: EntryId) -> String {
    named("rate_limit_policy:", RateLimitPolicyId::from_bytes(id))
}

fn budget_policy(id: EntryId) -> String {
    named("budget_policy:", BudgetPolicyId::from_bytes(id))
}

/// The key's own limit that refused, in the record's words.
const fn of_key(refused: &Refused) -> Option<&'static str> {
    match (&refused.by, refused.measure) {
        (By::Key, Measure::Requests) => Some("key:requests_per_minute"),
        (By::Key, Measure::Tokens) => Some("key:tokens_per_minute"),
        // Which policy applies has been told, and keys have no limits of money.
        (By::Policy(_), _) | (By::Key, Measure::Cost) => None,
    }
}

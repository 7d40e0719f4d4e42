//! About which budgets the ledger is to be asked, and which of its answers are too old. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use gateway_policy::limits::lease::BudgetId;

/// What the ledger is to be asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// What it has not answered, and since when that is so.
    open: BTreeMap<BudgetId, Instant>,
    /// Of these, what came up since it was asked last: what it answers to that may be from before.
    newer: BTreeSet<BudgetId>,
}

impl Questions {
    /// The ledger is to be asked about a budget, also if it is being asked: that answer may be older.
    pub(super) fn about(&mut self, budget: BudgetId, now: Instant) {
        self.open.entry(budget).or_insert(now);
        self.newer.insert(budget);
    }

    /// The ledger is being asked from now on, about some or all of these.
    pub(super) fn ask(&mut self) {
        self.newer.clear();
    }

    /// What is to be asked, and since when.
    pub(super) fn open(&self) -> impl Iterator<Item = (&BudgetId, &Instant)> {
        self.open.iter()
    }

    /// Whether something is to be asked about a budget.
    pub(super) fn is_open(&self, budget: &BudgetId) -> bool {
        self.open.contains_key(budget)
    }

    /// The ledger has answered about a budget. Says whether that holds: else it is to be asked once more.
    pub(super) fn answered(&mut self, budget: &BudgetId) -> bool {
        let holds = !self.newer.contains(budget);
        if holds {
            self.open.remove(budget);
        }
        holds
    }

    /// A budget's window is over.
    pub(super) fn forget(&mut self, budget: &BudgetId) {
        self.open.remove(budget);
        self.newer.remove(budget);
    }
}

#[cfg(test)]
mod tests {
    use gateway_policy::limits::{
        Measure,
        message::CounterId,
        period::{Period, SlotNumber},
    };

    use super::*;

    fn budget(rule: u8) -> BudgetId {
        BudgetId {
            counter: CounterId {
                rule: [rule; 16],
                measure: Measure::Cost,
                period: Period::Day,
                segment: [0; 16],
            },
            slot: SlotNumber(1),
        }
    }

    #[test]
    fn an_answer_to_what_was_asked_before_a_budget_came_up_again_does_not_hold() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        let [one, other] = [1, 2].map(budget);
        questions.about(one, now);
        questions.about(other, now);
        questions.ask();
        // While the ledger adds up, it turns out that one counts something else.
        questions.about(one, now);
        assert!(!questions.answered(&one));
        assert!(questions.is_open(&one), "nothing is known of it");
        assert!(questions.answered(&other));
        assert!(!questions.is_open(&other));
        questions.ask();
        assert!(questions.answered(&one));
        assert!(!questions.is_open(&one));
    }

    #[test]
    fn after_a_question_that_failed_the_next_answer_holds() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        questions.about(budget(1), now);
        questions.ask();
        questions.about(budget(1), now);
        questions.ask();
        assert!(questions.answered(&budget(1)));
    }

    #[test]
    fn a_budget_has_waited_since_it_was_to_be_asked_about_first() {
        let (mut questions, first) = (Questions::default(), Instant::now());
        questions.about(budget(1), first);
        questions.about(budget(1), first + std::time::Duration::from_secs(1));
        assert!(questions.open().eq([(&budget(1), &first)]));
        questions.forget(&budget(1));
        assert!(questions.open().next().is_none());
    }
}

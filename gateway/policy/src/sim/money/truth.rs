//! What was truly spent of budgets, which nobody in the simulated world knows as a whole; and the properties that must hold.

use std::collections::BTreeMap;

use crate::{limits::lease::BudgetRecord, sim::truth::Verdict};

/// What an incarnation has spent of a budget, and may spend.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// By requests that have ended.
    pub(super) settled: u64,
    /// What is reserved for those under way.
    pub(super) open: u64,
    /// By how much requests cost more than was reserved for them.
    pub(super) debts: u64,
    /// What was taken without a lease, of a budget that is open while nobody lends, or refuses nothing.
    pub(super) unlent: u64,
    /// What it may spend in all, as it was written down last.
    pub(super) ceiling: u64,
    /// The same when all that was written down was lost.
    pub(super) ceiling_lost: u64,
}

/// What was spent of one budget, and may be.
#[derive(Debug, Clone, Default)]
pub(super) struct OfBudget {
    /// Whose budget, by its place among the setup's.
    pub(super) at: usize,
    pub(super) lives: BTreeMap<u32, Spent>,
    /// What somebody might still spend of whom the treasury knew nothing when it began to lend: all that was written down had been
    /// lost.
    pub(super) unknown: u64,
}

// === impl Spent ===

impl Spent {
    pub(super) const fn taken(&self) -> u64 {
        self.settled + self.open
    }

    /// What it may spend at most by leases that were ever told, since what was written down last or before all that was lost.
    pub(super) fn may_spend(&self) -> u64 {
        self.ceiling.max(self.ceiling_lost)
    }

    pub(super) const fn settle(&mut self, reserved: u64, actual: u64) {
        self.open -= reserved;
        self.settled += actual;
        self.debts += actual.saturating_sub(reserved);
    }
}

// === impl OfBudget ===

impl OfBudget {
    pub(super) fn settled(&self) -> u64 {
        self.lives.values().map(|it| it.settled).sum()
    }

    /// Those who have spent something.
    pub(super) fn spenders(&self) -> impl Iterator<Item = u32> {
        let spenders = self.lives.iter().filter(|(_, it)| it.settled > 0);
        spenders.map(|(life, _)| *life)
    }
}

// === the properties ===

fn holds(holds: bool, numbers: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(numbers()) }
}

/// What may be spent of a budget by what is written down, and what is spent beyond, is no more than the budget ever was (`most`, less
/// what counts as spent beside), and by how much requests cost more than was reserved. What is spent is no more than that either.
///
/// An open budget is overspent by what was taken while nobody lent. Where the records were lost, also by what those might still
/// spend of whom nothing was known.
pub(super) fn leases_and_spent_never_above_the_budget(most: u64, of: &OfBudget) -> Verdict {
    let lives = of.lives.values();
    let bound = lives.clone().map(|it| it.debts + it.unlent).sum::<u64>() + of.unknown + most;
    let exposed: u64 = lives.map(|it| it.ceiling.max(it.taken())).sum();
    holds(exposed <= bound, || format!("{exposed} of {bound}: {of:?}"))
}

/// No gateway takes more than is written down for it, but for what requests cost above what was reserved.
pub(super) fn nobody_spends_more_than_is_written_down(life: u32, it: &Spent) -> Verdict {
    let may = it.may_spend() + it.debts + it.unlent;
    holds(it.taken() <= may, || format!("life {life}: {it:?}"))
}

/// What the treasury lends leaves no more committed than the least that a gateway it hears knows the budget to be; where that is
/// less than is committed already, and where the ledger is awaited, nothing is lent.
pub(super) fn only_what_is_left_is_lent(
    before: u64,
    after: u64,
    most: u64,
    awaits_ledger: bool,
) -> Verdict {
    let bound = if awaits_ledger {
        before
    } else {
        before.max(most)
    };
    holds(after <= bound, || {
        format!(
            "{before} were committed, {after} are, of {most}; awaits the ledger: {awaits_ledger}"
        )
    })
}

/// Nothing is lent to a gateway that has not been heard for the lifetime of a lease: it may be dead.
pub(super) fn nothing_is_lent_to_the_silent(record: &BudgetRecord, to_silent: bool) -> Verdict {
    holds(!to_silent, || format!("{record:?}"))
}

/// What a gateway says to remain of its lease is what it has not spent of it, or nothing.
pub(super) fn remaining_is_never_negative(remaining: u64, taken: u64, ceiling: u64) -> Verdict {
    holds(remaining == 0 || remaining + taken == ceiling, || {
        format!("{remaining} remain of {ceiling} when {taken} are taken")
    })
}

/// When all has been heard and all records have arrived, what is said to be spent is what was: exactly, unless something
/// of it may not be known (`is_lacking`), and no more than that ever.
pub(super) fn no_count_is_lost_after_convergence(
    said: u64,
    spent: u64,
    is_lacking: bool,
) -> Verdict {
    let is_right = said == spent || (is_lacking && said < spent);
    holds(is_right, || {
        format!("{said} is said, {spent} were spent; something may be lacking: {is_lacking}")
    })
}

/// What is said to be exact is.
pub(super) fn only_what_is_exact_is_said_to_be(is_lower_bound: bool, is_lacking: bool) -> Verdict {
    holds(is_lower_bound == is_lacking, || {
        format!("said to be a lower bound: {is_lower_bound}, records are lost: {is_lacking}")
    })
}

/// When nobody has asked for anything for the lifetime of a lease, all that is not spent is there to be lent.
pub(super) fn what_is_not_spent_comes_back(committed: u64, spent: u64) -> Verdict {
    holds(committed == spent, || {
        format!("{committed} are committed when {spent} are spent")
    })
}

/// What counts as spent is committed.
pub(super) fn what_is_spent_is_committed(committed: u64, spent: u64) -> Verdict {
    holds(spent <= committed, || {
        format!("{spent} are spent, {committed} are committed")
    })
}

/// Once the network is whole, requests that fit into what is left are granted in bounded time, also beside one that does
/// not fit: that takes nothing away. `waiting`: what those asked for that are not.
pub(super) fn what_fits_is_granted_in_time(left: u64, waiting: &[u64]) -> Verdict {
    holds(waiting.is_empty(), || {
        format!("{left} were left, and {waiting:?} not granted")
    })
}

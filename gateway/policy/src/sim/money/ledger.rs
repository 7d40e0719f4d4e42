//! The ledger of requests: what has arrived of gateways' records, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Message, World, incarnation, life_of, office::Whose};
use crate::limits::{lease::BudgetId, message::Incarnation};

/// What an incarnation has spent of each budget, as far as its records have arrived.
pub(super) type Sums = BTreeMap<BudgetId, u64>;

/// What the ledger says of a budget: what each has spent, and what counts beside.
pub(super) type Said = (BudgetId, BTreeMap<u32, u64>, i64);

/// When the ledger has not answered for so many steps, what is known without it has to do.
const GIVE_UP: u64 = 100;
/// Between two questions to a ledger that does not answer.
const ASK_AGAIN: u64 = 20;
/// How often the ledger is asked about the dead.
pub(super) const SETTLE: u64 = 100;

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) spent: BTreeMap<u32, Sums>,
    /// Those of whom all has arrived.
    pub(super) ended: BTreeSet<u32>,
    /// Those of whom something never will.
    pub(super) lost: BTreeSet<u32>,
    /// Until which step it does not answer.
    pub(super) silent_until: u64,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn loses(&mut self, life: u32) {
        self.lost.insert(life);
    }

    /// Amounts only grow: of two that arrive the larger holds.
    pub(super) fn arrived(&mut self, life: u32, sums: Sums, is_all: bool) {
        let known = self.spent.entry(life).or_default();
        for (budget, sum) in sums {
            let known = known.entry(budget).or_default();
            *known = sum.max(*known);
        }
        if is_all {
            self.ended.insert(life);
        }
    }

    pub(super) fn of(&self, budget: &BudgetId) -> BTreeMap<u32, u64> {
        let spent = self.spent.iter();
        let spent = spent.filter_map(|(life, sums)| Some((*life, *sums.get(budget)?)));
        spent.collect()
    }

    pub(super) fn of_one(&self, life: u32, budget: &BudgetId) -> u64 {
        let sums = self.spent.get(&life);
        sums.and_then(|sums| sums.get(budget)).copied().unwrap_or(0)
    }
}

impl World<'_> {
    /// What an incarnation has spent until now, on its way to the ledger.
    pub(super) fn records_of(&self, life: u32) -> Message {
        Message::Records(life, self.sums(life))
    }

    fn sums(&self, life: u32) -> Sums {
        let of = self.truth.iter();
        let of = of.filter_map(|(budget, of)| Some((*budget, of.lives.get(&life)?.settled)));
        of.collect()
    }

    /// The last records of the dead arrive, when it is their time.
    pub(super) fn bring_late_records(&mut self) {
        let (step, is_calm) = (self.step, self.is_calm);
        let is_due = |(at, _): &mut (u64, u32)| is_calm || *at <= step;
        let due: Vec<(u64, u32)> = self.late.extract_if(.., is_due).collect();
        for (_, life) in due {
            let sums = self.sums(life);
            self.ledger.arrived(life, sums, true);
        }
    }

    // --- questions

    pub(super) fn ask_the_ledger(&mut self, whose: Whose) {
        let (step, is_silent) = (self.step, self.ledger.silent_until > self.step);
        let Some(session) = self.session(whose) else {
            return;
        };
        if session.is_asking || session.unasked.is_empty() || step < session.ask_at {
            return;
        }
        if is_silent {
            session.ask_at = step + ASK_AGAIN;
            return;
        }
        session.is_asking = true;
        let asked: Vec<BudgetId> = session.unasked.keys().copied().collect();
        let said = asked.into_iter().map(|budget| {
            let beside = self.now[usize::from(budget.counter.rule[0])].beside;
            (budget, self.ledger.of(&budget), beside)
        });
        let said: Vec<Said> = said.collect();
        self.send_surely(Message::Said(whose, said));
    }

    pub(super) fn ledger_said(&mut self, whose: Whose, said: Vec<Said>) {
        let step = self.step;
        if let Some(session) = self.session(whose) {
            session.is_asking = false;
        }
        for (budget, spent, beside) in said {
            self.is_awaited_no_more(whose, &budget, &spent);
            let Some(session) = self.session(whose) else {
                return;
            };
            session.unasked.remove(&budget);
            let now = session.steady(step);
            session.treasury.adjusted(&budget, beside, now);
            let known = session.known.entry(budget).or_default();
            known.extend(spent.keys());
            let spent = spent.into_iter();
            let spent = spent.map(|(life, spent)| (incarnation(life), spent));
            session.treasury.ledger_said(&budget, spent, now);
        }
        if let Some(session) = self.session(whose) {
            for budget in std::mem::take(&mut session.ask_again) {
                session.unasked.entry(budget).or_insert(step);
            }
        }
    }

    /// Lends without the ledger what has waited for it too long.
    pub(super) fn give_up(&mut self, whose: Whose) {
        let step = self.step;
        let Some(session) = self.session(whose) else {
            return;
        };
        let late = session.unasked.iter();
        let late = late.filter(|(_, since)| *since + GIVE_UP < step);
        let late: Vec<BudgetId> = late.map(|(budget, _)| *budget).collect();
        for budget in late {
            self.is_awaited_no_more(whose, &budget, &BTreeMap::new());
            // Nor is it known what counts beside.
            let least = &mut self.now[usize::from(budget.counter.rule[0])].least_beside;
            *least = (*least).min(0);
            if let Some(session) = self.session(whose) {
                let now = session.steady(step);
                session.treasury.ledger_said(&budget, [], now);
            }
        }
    }

    /// From now on it is lent: what those may still spend of whom nothing is known is not kept for them.
    fn is_awaited_no_more(
        &mut self,
        whose: Whose,
        budget: &BudgetId,
        recorded: &BTreeMap<u32, u64>,
    ) {
        let Some(session) = self.session(whose) else {
            return;
        };
        if !session.awaited.remove(budget) {
            return;
        }
        let Some(of) = self.truth.get_mut(budget) else {
            return;
        };
        let treasury = &self.centres[whose.0]
            .session
            .as_ref()
            .map(|it| &it.treasury);
        let unknown = of.lives.iter().map(|(life, it)| {
            let known = treasury.and_then(|it| it.lease(incarnation(*life), budget));
            let known = known.map_or(0, |lease| lease.ceiling);
            let recorded = recorded.get(life).copied().unwrap_or(0);
            it.may_spend().saturating_sub(known.max(recorded))
        });
        of.unknown += unknown.sum::<u64>();
    }

    /// Asks the ledger about gateways that have been silent for longer than their leases last.
    pub(super) fn settle_the_dead(&mut self, whose: Whose) {
        let step = self.step;
        if !step.is_multiple_of(SETTLE) || self.ledger.silent_until > step {
            return;
        }
        let Some(session) = self.session(whose) else {
            return;
        };
        let silent: Vec<(BudgetId, Incarnation)> =
            session.treasury.silent(session.steady(step)).collect();
        let dead = silent.into_iter().filter_map(|(budget, whose)| {
            let life = life_of(whose).filter(|life| self.ledger.ended.contains(life))?;
            Some((budget, life, self.ledger.of_one(life, &budget)))
        });
        let dead: Vec<(BudgetId, u32, u64)> = dead.collect();
        if !dead.is_empty() {
            self.send_surely(Message::Dead(whose, dead));
        }
    }

    pub(super) fn records_arrived(&mut self, whose: Whose, dead: &[(BudgetId, u32, u64)]) {
        let step = self.step;
        let Some(session) = self.session(whose) else {
            return;
        };
        let now = session.steady(step);
        for (budget, life, spent) in dead {
            let treasury = &mut session.treasury;
            // Where its lease has not ended yet, or is being written, it is said again.
            let _ = treasury.records_arrived(incarnation(*life), budget, *spent, now);
        }
    }
}

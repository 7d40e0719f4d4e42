//! The end: nothing goes wrong any more. What is known then is compared with what was spent, and what is left is asked for.

use super::{
    BudgetSetup, Message, STEP_US, World,
    ledger::SETTLE,
    office::Session,
    truth::{
        OfBudget, no_count_is_lost_after_convergence, only_what_is_exact_is_said_to_be,
        what_fits_is_granted_in_time, what_is_not_spent_comes_back,
    },
};
use crate::{
    limits::lease::{BudgetId, LEASE_LIFETIME_US, Role},
    sim::truth::Breach,
};

/// The lifetime of a lease, in steps.
const LIFETIME: u64 = LEASE_LIFETIME_US / STEP_US;

/// How long everything is calm before it is compared: what is under way has ended, leases that nobody needs are given back, and the
/// dead are settled.
const CALM: u64 = LIFETIME + 3 * SETTLE + 120;

/// In so many steps is granted what fits: two seconds, with reports, an answer of the ledger, and the writing down.
const SOON: u64 = 40;

impl World<'_> {
    pub(super) fn calm_down(&mut self) -> Result<(), Breach> {
        self.is_calm = true;
        self.ledger.silent_until = 0;
        for node in &mut self.nodes {
            node.cut_until = 0;
        }
        // What everyone learns of last.
        for at in 0..self.nodes.len() {
            for budget in 0..self.now.len() {
                let (life, most) = (self.nodes[at].life, self.now[budget].most);
                self.after(1, Message::Learn(at, life, budget, most));
            }
        }
        self.go_on_for(CALM)?;
        self.is_converged()?;
        // Whoever takes office next asks the ledger, in which all records are by now: also those of gateways of which nobody had heard.
        self.end_office();
        self.go_on_for(2 * SOON)?;
        self.everything_is_known()?;
        self.what_is_left_can_be_had()
    }

    fn go_on_for(&mut self, steps: u64) -> Result<(), Breach> {
        (0..steps).try_for_each(|_| self.go_on())
    }

    fn session_in_office(&self) -> Result<&Session, Breach> {
        let session = self.centres[self.holder].session.as_ref();
        session.ok_or_else(|| Breach {
            property: "somebody_lends",
            at_us: self.step * STEP_US,
            numbers: String::new(),
        })
    }

    fn is_converged(&self) -> Result<(), Breach> {
        let session = self.session_in_office()?;
        for (budget, standing) in session.treasury.standings(session.steady(self.step)) {
            let Some(of) = self.truth.get(&budget) else {
                continue;
            };
            let is_lower_bound = session.knows_one_of(&budget, &self.ledger.lost);
            let verdict = only_what_is_exact_is_said_to_be(standing.is_lower_bound, is_lower_bound);
            self.check("only_what_is_exact_is_said_to_be", verdict)?;
            let is_lacking = self.has_lost(of) || !session.knows(&budget, of.spenders());
            let spent = self.counts_as_spent(of);
            let verdict = no_count_is_lost_after_convergence(standing.spent, spent, is_lacking);
            self.check("no_count_is_lost_after_convergence", verdict)?;
            if !is_lower_bound {
                let verdict = what_is_not_spent_comes_back(standing.committed, standing.spent);
                self.check("what_is_not_spent_comes_back", verdict)?;
            }
        }
        Ok(())
    }

    fn everything_is_known(&self) -> Result<(), Breach> {
        let session = self.session_in_office()?;
        for (budget, standing) in session.treasury.standings(session.steady(self.step)) {
            if let Some(of) = self.truth.get(&budget) {
                let (spent, is_lacking) = (self.counts_as_spent(of), self.has_lost(of));
                let verdict = no_count_is_lost_after_convergence(standing.spent, spent, is_lacking);
                self.check("no_count_is_lost_after_convergence", verdict)?;
            }
        }
        Ok(())
    }

    fn counts_as_spent(&self, of: &OfBudget) -> u64 {
        of.settled().saturating_add_signed(self.now[of.at].beside)
    }

    /// Whether records are lost for good of somebody who has spent something.
    fn has_lost(&self, of: &OfBudget) -> bool {
        of.spenders().any(|life| self.ledger.lost.contains(&life))
    }

    /// What is left of the budgets that decide.
    fn left(&self) -> u64 {
        let session = self.centres[self.holder].session.as_ref();
        let left = self.setup.budgets.iter().enumerate().map(|(at, it)| {
            if !matches!(it.role, Role::Decides { .. }) {
                return u64::MAX;
            }
            let counter = self.setup.counter(at);
            let budget = BudgetId {
                counter,
                slot: counter.period.slot_at(self.wall(0)),
            };
            let treasury = session.map(|it| &it.treasury);
            let known = treasury.filter(|it| it.budgets().any(|known| *known == budget));
            let committed = known.map(|it| it.committed(&budget));
            // What it has not heard of, since nothing of it is written down any more, the ledger knows.
            let of = self.truth.get(&budget).cloned().unwrap_or(OfBudget {
                at,
                ..OfBudget::default()
            });
            let committed = committed.unwrap_or_else(|| self.counts_as_spent(&of));
            self.now[at].most.saturating_sub(committed)
        });
        left.min().unwrap_or(0)
    }

    fn what_is_left_can_be_had(&mut self) -> Result<(), Breach> {
        let there = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_there());
        let mut there: Vec<usize> = there.collect();
        if self.dice.per_mille(300) {
            there.push(self.add_node());
        }
        // All of it, while another asks for more than that.
        let left = self.left();
        if left == 0 || there.is_empty() {
            return Ok(());
        }
        let (one, other) = (self.dice.choose(&there), self.dice.choose(&there));
        let too_much = self.dice.between(left + 1, 4 * left + 2);
        self.ask(other, too_much, too_much, None)?;
        // What does not fit into one budget may be lent to it of another: until that comes back.
        let decide = |it: &&BudgetSetup| matches!(it.role, Role::Decides { .. });
        let is_one = self.setup.budgets.iter().filter(decide).count() == 1;
        let within = if is_one { SOON } else { LIFETIME + 2 * SOON };
        self.ask_soon(left, &[(one, left)], left / 2, within)?;
        // It goes on with small ones: what it does not need comes back though.
        let unneeded = left - left / 2;
        let others = there.iter().copied().filter(|at| *at != one);
        let others: Vec<usize> = others.collect();
        if unneeded > 8 * (4 * LIFETIME) && !others.is_empty() && self.dice.per_mille(100) {
            for _ in 0..3 * LIFETIME {
                self.ask(one, 1, 1, None)?;
                self.go_on()?;
            }
            let each = unneeded / 4 / others.len() as u64;
            let all: Vec<_> = others.iter().map(|at| (*at, each)).collect();
            self.ask_soon(unneeded / 4, &all, each, SOON)?;
        }
        // Everyone asks at once.
        self.go_on_for(LIFETIME + SOON)?;
        let left = self.left();
        let many = there
            .len()
            .min(usize::try_from(left / 2).unwrap_or(usize::MAX));
        let each = left / 2 / many.max(1) as u64;
        let all: Vec<_> = there[..many].iter().map(|at| (*at, each)).collect();
        self.ask_soon(left, &all, each, SOON)
    }

    /// Each of these asks for so much, again and again until it has it.
    fn ask_soon(
        &mut self,
        left: u64,
        asked: &[(usize, u64)],
        actual: u64,
        within: u64,
    ) -> Result<(), Breach> {
        self.probes = asked.iter().map(|(_, cost)| *cost).collect();
        for step in 0..within {
            for (probe, (at, cost)) in asked.iter().enumerate() {
                if self.probes[probe] > 0 && !self.nodes[*at].is_waiting_for(probe) {
                    self.ask(*at, *cost, actual, Some(probe))?;
                }
            }
            if self.probes.iter().all(|it| *it == 0) {
                break;
            }
            if step + 1 < within {
                self.go_on()?;
            }
        }
        let waiting = self.probes.iter().copied().filter(|it| *it > 0);
        let waiting: Vec<u64> = waiting.collect();
        let verdict = what_fits_is_granted_in_time(left, &waiting);
        self.check("what_fits_is_granted_in_time", verdict)
    }
}

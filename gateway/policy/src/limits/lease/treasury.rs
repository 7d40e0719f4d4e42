//! All leases of all budgets: what is lent, to whom, and what comes back. Only whoever is in office plans.

use std::collections::{BTreeMap, BTreeSet};

use super::{BudgetId, BudgetRecord, LEASE_LIFETIME_US, Lease, LeaseRow, PurseReport, PurseRow};
use crate::limits::message::{Incarnation, Steady};

/// A gateway is lent what it asks for in so many times the time between two plans.
const AHEAD: u64 = 16;

/// A gateway that has not been heard for so long does not come back soon, and neither do its records, which arrive within seconds of
/// its next start: in microseconds. What was lent to it is then told as spent, so that refusals do not say to wait for it.
const GONE_US: u64 = 5 * 60 * 1_000_000;

/// Under which what counts as spent without any gateway's having spent it is written down, like a lease: the nil UUID, which no
/// gateway has.
const BESIDE: Incarnation = Incarnation([0; 16]);

/// What is known of one incarnation's lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Loan {
    /// What the gateway may know of: it is written down.
    told: Lease,
    /// What is being written down.
    planned: Lease,
    said: PurseReport,
    /// How much the budget is, as it knows it; 0: it has not said.
    most: u64,
    asked_before: u64,
    /// When it reported last; `None`: not in this office.
    received_at: Option<Steady>,
    /// When it became known here.
    known_since: Steady,
    /// What the ledger says that it has spent.
    recorded: u64,
    /// It is dead, and all its records have arrived: what it has spent is `recorded`.
    is_over: bool,
}

/// One budget's leases.
#[derive(Debug, Clone, Default)]
struct Budget {
    loans: BTreeMap<Incarnation, Loan>,
    /// By how much less is spent than the loans say.
    credit: u64,
    /// The last that anybody said of how much it is.
    most: u64,
    /// A record of it is being written.
    is_being_written: bool,
    /// Nothing is lent until the ledger has said what was spent before.
    awaits_ledger: bool,
}

/// How a budget stands, over all gateways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetStanding {
    /// How much it is.
    pub most: u64,
    /// What is spent, as far as is known.
    pub spent: u64,
    /// What requests under way may spend.
    pub open: u64,
    /// What is spent, or lent and may be spent.
    pub committed: u64,
    /// What requests were refused.
    pub refused: u64,
    /// Whether more may have been spent: the ledger has not answered yet, or somebody has spent who is not heard and of whom records
    /// may be under way.
    pub is_lower_bound: bool,
}

/// All leases of all budgets.
#[derive(Debug, Clone, Default)]
pub struct Treasury {
    budgets: BTreeMap<BudgetId, Budget>,
    /// Of which something is to be planned.
    stirred: BTreeSet<BudgetId>,
}

// === impl Loan ===

impl Loan {
    /// What counts as spent of the budget.
    fn committed(&self) -> u64 {
        let spent = if self.is_over {
            self.recorded
        } else {
            self.said.taken().max(self.recorded)
        };
        let ceiling = self.told.ceiling.max(self.planned.ceiling);
        ceiling.max(spent)
    }

    /// What it has spent, as far as is known.
    fn spent(&self) -> u64 {
        self.said.settled.max(self.recorded)
    }

    /// Whether it may still spend of its lease.
    fn is_alive(&self, now: Steady) -> bool {
        self.silent_us(now) <= LEASE_LIFETIME_US
    }

    /// Whether its records are not to be expected soon.
    fn is_gone(&self, now: Steady) -> bool {
        self.silent_us(now) > GONE_US
    }

    fn silent_us(&self, now: Steady) -> u64 {
        now.us_since(self.received_at.unwrap_or(self.known_since))
    }

    /// Whether it asked for something that was not planned.
    const fn asks(&self) -> bool {
        self.said.asked != self.asked_before
    }

    /// The ceiling that it is to have since the gateway, or its death, gives something back. Of a death what was spent is
    /// written down even where it is more.
    fn given_back(&self) -> Option<u64> {
        let Lease { version, ceiling } = self.said.lease;
        if self.is_over {
            Some(self.recorded).filter(|spent| *spent != self.told.ceiling)
        } else {
            let is_newest = version == self.told.version;
            Some(ceiling).filter(|ceiling| is_newest && *ceiling < self.told.ceiling)
        }
    }

    /// The next lease, which is to be written down.
    const fn plan(&mut self, ceiling: u64) {
        self.planned = Lease {
            version: self.told.version + 1,
            ceiling,
        };
    }
}

// === impl Budget ===

impl Budget {
    fn committed(&self) -> u64 {
        self.sum(Loan::committed).saturating_sub(self.credit)
    }

    fn spent(&self) -> u64 {
        self.sum(Loan::spent).saturating_sub(self.credit)
    }

    /// What is not to be expected back: what is spent, and all that was lent to gateways that are gone for long.
    fn lost(&self, now: Steady) -> u64 {
        let lost = |loan: &Loan| {
            if !loan.is_over && loan.is_gone(now) {
                loan.committed()
            } else {
                loan.spent()
            }
        };
        self.sum(lost).saturating_sub(self.credit)
    }

    /// Whether more may be spent than is known.
    fn is_lower_bound(&self, now: Steady) -> bool {
        let is_known =
            |loan: &Loan| loan.is_over || (loan.received_at.is_some() && loan.is_alive(now));
        self.awaits_ledger || !self.loans.values().all(is_known)
    }

    fn sum(&self, of: impl Fn(&Loan) -> u64) -> u64 {
        self.loans.values().map(of).fold(0, u64::saturating_add)
    }

    /// How much the budget is: while it changes, and gateways know of it one after another, the least that one of them knows.
    fn most(&self, now: Steady) -> u64 {
        let said = self
            .loans
            .values()
            .filter(|loan| loan.most > 0 && loan.received_at.is_some() && loan.is_alive(now));
        said.map(|loan| loan.most).min().unwrap_or(self.most)
    }

    /// Takes back what is given back. Lends to those that asked, as long as there is something: enough for one request first,
    /// then for a while ahead, and never more than an equal part of half of what is left, so that the last part goes round.
    /// Returns whether anything changes.
    fn plan(&mut self, now: Steady) -> bool {
        let mut left = self.most(now).saturating_sub(self.committed());
        let living = self
            .loans
            .values()
            .filter(|loan| !loan.is_over && loan.is_alive(now))
            .count();
        let parts = 2 * (living as u64).max(1);
        let mut changes = false;
        for loan in self.loans.values_mut() {
            if let Some(ceiling) = loan.given_back() {
                loan.plan(ceiling);
                changes = true;
                continue;
            }
            let asked = loan.said.asked.wrapping_sub(loan.asked_before);
            // Who has fallen silent since it asked would keep it for nothing.
            if asked == 0 || loan.is_over || self.awaits_ledger || !loan.is_alive(now) {
                continue;
            }
            loan.asked_before = loan.said.asked;
            let has = loan.told.ceiling.saturating_sub(loan.said.taken());
            let largest = loan.said.largest;
            // For a request that does not get enough anyway, nothing is kept from the others.
            let fits = largest <= has.saturating_add(left);
            let (asked, least) = match asked.checked_sub(largest) {
                _ if fits => (asked, largest),
                Some(by_others) => (by_others, 0),
                // It was asked for earlier.
                None => (asked, 0),
            };
            let ahead = asked.saturating_mul(AHEAD).min(left / parts);
            let wanted = ahead.max(least);
            let gain = wanted.saturating_sub(has).min(left);
            // A debt is paid first: a ceiling below what was spent lends nothing.
            let from = loan.committed();
            if let Some(ceiling) = from.checked_add(gain).filter(|_| gain > 0) {
                left -= gain;
                loan.plan(ceiling);
                changes = true;
            }
        }
        changes
    }

    /// Whether all that was asked for is lent, or is not lent for good: not while the ledger has not said what was spent, nor while
    /// a record is being written.
    const fn has_decided(&self, loan: &Loan) -> bool {
        !loan.asks() && !self.awaits_ledger && loan.planned.version <= loan.told.version
    }

    fn record(&self, budget: BudgetId) -> BudgetRecord {
        let leases = self.loans.iter();
        let leases = leases.filter(|(_, loan)| loan.planned.version > 0);
        BudgetRecord {
            budget,
            leases: leases.map(|(whose, loan)| (*whose, loan.planned)).collect(),
        }
    }
}

// === impl Treasury ===

impl Treasury {
    /// Begins with what is written down, at `now`.
    #[must_use]
    pub fn restore(records: impl IntoIterator<Item = BudgetRecord>, now: Steady) -> Self {
        let mut treasury = Self::default();
        for record in records {
            let budget = treasury.budgets.entry(record.budget).or_default();
            for (incarnation, lease) in record.leases {
                let loan = budget.loans.entry(incarnation).or_default();
                (loan.told, loan.planned, loan.known_since) = (lease, lease, now);
                if incarnation == BESIDE {
                    (loan.is_over, loan.recorded) = (true, lease.ceiling);
                }
            }
        }
        treasury
    }

    /// Takes over what a gateway reports; reports of an incarnation come in the order of their numbers. Returns whether nothing
    /// was known of the budget before: then nothing is lent of it until [`Self::ledger_said`].
    pub fn merge(&mut self, from: Incarnation, row: &PurseRow, now: Steady) -> bool {
        let is_new = !self.budgets.contains_key(&row.budget);
        let budget = self.budgets.entry(row.budget).or_default();
        budget.awaits_ledger |= is_new;
        if row.most > 0 {
            budget.most = row.most;
        }
        let loan = budget.loans.entry(from).or_default();
        if loan.is_over {
            return is_new;
        }
        if loan.received_at.is_none() {
            loan.known_since = now;
        }
        // What it obeys was written down, and the record was lost: also where what is lent since has the same version, which it
        // will never obey then.
        let obeyed = row.said.lease;
        let Lease { version, ceiling } = loan.told;
        let is_same = obeyed.version == version;
        if obeyed.version > version || (is_same && obeyed.ceiling > ceiling) {
            loan.told = obeyed;
            if obeyed.version >= loan.planned.version {
                loan.planned = obeyed;
            }
        }
        loan.said = row.said;
        loan.most = row.most;
        loan.received_at = Some(now);
        self.stirred.insert(row.budget);
        is_new
    }

    /// The ledger says what incarnations have spent of a budget, at least. From now on it is lent.
    pub fn ledger_said(
        &mut self,
        id: &BudgetId,
        spent: impl IntoIterator<Item = (Incarnation, u64)>,
        now: Steady,
    ) {
        let Some(budget) = self.budgets.get_mut(id) else {
            return;
        };
        self.stirred.insert(*id);
        budget.awaits_ledger = false;
        for (incarnation, spent) in spent {
            let loan = budget.loans.entry(incarnation).or_insert(Loan {
                known_since: now,
                ..Loan::default()
            });
            loan.recorded = loan.recorded.max(spent);
        }
    }

    /// Nothing is lent of a budget until [`Self::ledger_said`] what was spent: it counts something else than before.
    pub fn await_ledger(&mut self, id: &BudgetId) {
        if let Some(budget) = self.budgets.get_mut(id) {
            budget.awaits_ledger = true;
        }
    }

    /// So much more, or less, counts as spent of a budget than gateways have spent: what was used before they counted for it, and
    /// what corrected prices make of it. Replaces what was said before. What is more is written down with the leases; what is
    /// less is to be said again to whoever takes office next, who lends too little until then.
    pub fn adjusted(&mut self, id: &BudgetId, by: i64, now: Steady) {
        let Some(budget) = self.budgets.get_mut(id) else {
            return;
        };
        self.stirred.insert(*id);
        let more = u64::try_from(by).unwrap_or(0);
        budget.credit = if by < 0 { by.unsigned_abs() } else { 0 };
        if more > 0 || budget.loans.contains_key(&BESIDE) {
            let beside = budget.loans.entry(BESIDE).or_insert(Loan {
                is_over: true,
                known_since: now,
                ..Loan::default()
            });
            beside.recorded = more;
        }
    }

    /// What is to be lent and taken back now: each record is to be made durable, and then said to be so with [`Self::written`].
    /// Of a budget one record is under way at a time.
    pub fn plan(&mut self, now: Steady) -> Vec<BudgetRecord> {
        let mut records = Vec::new();
        let budgets = &mut self.budgets;
        self.stirred.retain(|id| {
            let Some(budget) = budgets.get_mut(id) else {
                return false;
            };
            if budget.is_being_written {
                return true;
            }
            if budget.plan(now) {
                budget.is_being_written = true;
                records.push(budget.record(*id));
            }
            false
        });
        records
    }

    /// A record is durable: from now on gateways are told of their leases.
    pub fn written(&mut self, record: &BudgetRecord) {
        let Some(budget) = self.budgets.get_mut(&record.budget) else {
            return;
        };
        budget.is_being_written = false;
        // What was asked for by who gave something back meanwhile.
        if budget.loans.values().any(Loan::asks) {
            self.stirred.insert(record.budget);
        }
        for (incarnation, lease) in &record.leases {
            let loan = budget.loans.get_mut(incarnation);
            if let Some(loan) = loan.filter(|loan| lease.version > loan.told.version) {
                loan.told = *lease;
            }
        }
    }

    /// The leases of an incarnation, as they may be told after [`Self::plan`].
    pub fn leases(&self, to: Incarnation, now: Steady) -> impl Iterator<Item = LeaseRow> {
        self.budgets.iter().filter_map(move |(id, budget)| {
            let loan = budget
                .loans
                .get(&to)
                .filter(|it| it.received_at.is_some())?;
            Some(LeaseRow {
                budget: *id,
                lease: loan.told,
                committed: budget.committed(),
                spent: budget.lost(now),
                is_decided: budget.has_decided(loan),
            })
        })
    }

    /// The lease of an incarnation, as it may be told.
    #[must_use]
    pub fn lease(&self, to: Incarnation, budget: &BudgetId) -> Option<Lease> {
        let loan = self.budgets.get(budget)?.loans.get(&to)?;
        Some(loan.told)
    }

    /// All records of a dead incarnation have arrived, and say that it spent so much. Says whether that is durable in place
    /// of its lease, so that the rest of it is lent again; else say it again later, to whoever is in office then.
    pub fn records_arrived(
        &mut self,
        of: Incarnation,
        id: &BudgetId,
        spent: u64,
        now: Steady,
    ) -> bool {
        let Some(budget) = self.budgets.get_mut(id) else {
            return true;
        };
        let is_being_written = budget.is_being_written;
        let Some(loan) = budget.loans.get_mut(&of) else {
            return true;
        };
        // It may not be dead but cut off, and spend until its lease ends.
        if loan.is_alive(now) {
            return false;
        }
        loan.is_over = true;
        loan.recorded = spent;
        self.stirred.insert(*id);
        !is_being_written && loan.told.ceiling == spent
    }

    /// What counts as spent of a budget: what gateways have spent, and what they may spend without asking.
    #[must_use]
    pub fn committed(&self, budget: &BudgetId) -> u64 {
        let budget = self.budgets.get(budget);
        budget.map_or(0, Budget::committed)
    }

    /// How all budgets stand.
    pub fn standings(&self, now: Steady) -> impl Iterator<Item = (BudgetId, BudgetStanding)> {
        self.budgets.iter().map(move |(id, budget)| {
            let standing = BudgetStanding {
                most: budget.most(now),
                spent: budget.spent(),
                open: budget.sum(|loan| loan.said.open),
                committed: budget.committed(),
                refused: budget.sum(|loan| loan.said.refused),
                is_lower_bound: budget.is_lower_bound(now),
            };
            (*id, standing)
        })
    }

    /// The budgets that are known, with the incarnations that may be dead: those that have not been heard for a lease's time, and
    /// whose leases are not settled.
    pub fn silent(&self, now: Steady) -> impl Iterator<Item = (BudgetId, Incarnation)> {
        self.budgets.iter().flat_map(move |(id, budget)| {
            let loans = budget.loans.iter();
            let silent = loans.filter(move |(_, loan)| !loan.is_over && !loan.is_alive(now));
            silent.map(move |(whose, _)| (*id, *whose))
        })
    }

    /// The budgets that are known.
    pub fn budgets(&self) -> impl Iterator<Item = &BudgetId> {
        self.budgets.keys()
    }

    /// Forgets a budget whose slot is over.
    pub fn forget(&mut self, budget: &BudgetId) {
        self.budgets.remove(budget);
    }
}

//! Budgets of money: a gateway spends only what was lent to it, and what is lent is written down before.
//!
//! A lease is a ceiling: how much an incarnation may spend of a budget in all, with what it has spent already. So a lease
//! that is told twice is one lease. The treasury lends a slice by raising the ceiling; the record of that must be durable
//! before the gateway hears of it, and whoever takes office begins with the records. Therefore ceilings and what was spent
//! beyond them never sum above the budget, whoever dies when; where costs are known beforehand, nothing is spent above it.
//!
//! What comes back is lent again only when the lower ceiling is durable as well: else whoever takes office next would find
//! both the old ceiling and what was lent of it.
//!
//! A gateway that asks for nothing gives back what it does not need. One that is cut off stops spending when its lease
//! ends, which is before the treasury takes it for ended; what a dead one has spent is its whole ceiling until its records
//! have arrived. All amounts are whole nano-dollars.

use std::collections::BTreeMap;

use events_schema::money::NanoUsd;

use super::message::{CounterId, Incarnation, Steady};
use super::period::SlotNumber;

/// How long a gateway spends of a lease after the report was sent in whose answer it was renewed, in microseconds. It gives
/// back what it has not asked for in that time.
pub const LEASE_LIFETIME_US: u64 = 10_000_000;

/// A gateway is lent what it asks for in so many times the time between two plans.
const AHEAD: u64 = 16;

/// A budget, in one slot of its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetId {
    /// Whose budget.
    pub counter: CounterId,
    /// Which day, week, month or quarter.
    pub slot: SlotNumber,
}

/// How much an incarnation may spend of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lease {
    /// Of two leases the one with the higher version holds.
    pub version: u64,
    /// What it may spend in all.
    pub ceiling: NanoUsd,
}

/// What a gateway reports of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurseReport {
    /// The lease that it obeys; a lower ceiling than was lent gives the rest back.
    pub lease: Lease,
    /// What it has spent.
    pub settled: NanoUsd,
    /// What requests under way may spend.
    pub open: NanoUsd,
    /// What requests have asked for, granted or not.
    pub asked: NanoUsd,
    /// The most that a single one has asked for.
    pub largest: NanoUsd,
}

/// What a gateway may spend of a budget, and has spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purse {
    said: PurseReport,
    ends_at: Steady,
    asked_at: Steady,
}

/// What a lease lacks for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// What may still be spent here without asking.
    pub remaining: NanoUsd,
}

/// A lease that is to be written down, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Of which budget.
    pub budget: BudgetId,
    /// Whose.
    pub incarnation: Incarnation,
    /// The lease.
    pub lease: Lease,
}

/// What is known of one incarnation's lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Loan {
    /// What the gateway may know of: it is written down.
    told: Lease,
    /// What is being written down.
    planned: Lease,
    said: PurseReport,
    asked_before: NanoUsd,
    received_at: Steady,
    /// It is dead, and all its records have arrived: `said` is what they say.
    is_over: bool,
}

/// One budget's leases.
#[derive(Debug, Clone, Default)]
struct Budget {
    most: NanoUsd,
    loans: BTreeMap<Incarnation, Loan>,
}

/// All leases of all budgets. Only whoever is in office asks it for plans.
#[derive(Debug, Clone, Default)]
pub struct Treasury {
    budgets: BTreeMap<BudgetId, Budget>,
}

const fn less(one: NanoUsd, other: NanoUsd) -> NanoUsd {
    NanoUsd::new(one.nanos().saturating_sub(other.nanos()))
}

// === impl PurseReport ===

impl PurseReport {
    /// What it has spent and may be spending.
    #[must_use]
    pub const fn taken(&self) -> NanoUsd {
        self.settled.saturating_add(self.open)
    }
}

// === impl Purse ===

impl Purse {
    /// Takes money for a request, if the lease has as much and has not ended. Nothing is allocated.
    ///
    /// # Errors
    /// When the lease does not suffice: the treasury learns of it with the next report.
    pub fn reserve(&mut self, cost: NanoUsd, now: Steady) -> Result<(), Lack> {
        self.asked_at = now;
        self.said.asked = self.said.asked.saturating_add(cost);
        self.said.largest = self.said.largest.max(cost);
        let remaining = self.remaining(now);
        let open = self.said.open.checked_add(cost);
        match open.filter(|_| cost <= remaining) {
            Some(open) => {
                self.said.open = open;
                Ok(())
            }
            None => Err(Lack { remaining }),
        }
    }

    /// What may still be spent without asking.
    #[must_use]
    pub fn remaining(&self, now: Steady) -> NanoUsd {
        if now < self.ends_at {
            less(self.said.lease.ceiling, self.said.taken())
        } else {
            NanoUsd::ZERO
        }
    }

    /// A request for which so much was reserved has ended, and cost so much.
    pub fn settle(&mut self, reserved: NanoUsd, actual: NanoUsd) {
        self.said.open = less(self.said.open, reserved);
        self.said.settled = self.said.settled.saturating_add(actual);
    }

    /// What it reports. What nobody has asked for in the time of a lease is given back: from now on it is not spent.
    pub fn report(&mut self, now: Steady) -> PurseReport {
        if now.us_since(self.asked_at) > LEASE_LIFETIME_US {
            self.give_back();
        }
        self.said
    }

    /// Gives back what it has not spent, as when the gateway is about to leave.
    pub fn give_back(&mut self) {
        self.said.lease.ceiling = self.said.lease.ceiling.min(self.said.taken());
    }

    /// Hears of its lease, in an answer to the report that was sent at `sent_at`. An older lease is none.
    pub fn hear(&mut self, lease: Lease, sent_at: Steady) {
        if lease.version < self.said.lease.version {
            return;
        }
        if lease.version > self.said.lease.version {
            self.said.lease = lease;
        }
        self.ends_at = self.ends_at.max(sent_at.plus_us(LEASE_LIFETIME_US));
    }
}

// === impl Loan ===

impl Loan {
    /// What counts as spent of the budget.
    fn committed(&self) -> NanoUsd {
        let ceiling = self.told.ceiling.max(self.planned.ceiling);
        ceiling.max(self.said.taken())
    }

    fn is_being_written(&self) -> bool {
        self.planned.version > self.told.version
    }

    /// The ceiling that it is to have since the gateway, or its death, gives something back. Of a death what was spent is
    /// written down even where it is more.
    fn given_back(&self) -> Option<NanoUsd> {
        let Lease { version, ceiling } = self.said.lease;
        if self.is_over {
            Some(self.said.settled).filter(|spent| *spent != self.told.ceiling)
        } else {
            let is_newest = version == self.told.version;
            Some(ceiling).filter(|ceiling| is_newest && *ceiling < self.told.ceiling)
        }
    }

    /// The next lease, which is to be written down.
    fn plan(&mut self, ceiling: NanoUsd) -> Lease {
        self.planned = Lease {
            version: self.told.version + 1,
            ceiling,
        };
        self.planned
    }
}

// === impl Budget ===

impl Budget {
    fn committed(&self) -> NanoUsd {
        let loans = self.loans.values().map(Loan::committed);
        loans.fold(NanoUsd::ZERO, NanoUsd::saturating_add)
    }

    /// Takes back what is given back. Lends to those that asked, as long as there is something: enough for one request first, then for a while ahead, and
    /// never more than an equal part of half of what is left, so that the last part goes round.
    fn plan(&mut self) -> Vec<(Incarnation, Lease)> {
        let mut left = less(self.most, self.committed()).nanos();
        let parts = 2 * (self.loans.len() as u64).max(1);
        let mut planned = Vec::new();
        for (incarnation, loan) in &mut self.loans {
            if loan.is_being_written() {
                continue;
            }
            if let Some(ceiling) = loan.given_back() {
                planned.push((*incarnation, loan.plan(ceiling)));
                continue;
            }
            let asked = less(loan.said.asked, loan.asked_before).nanos();
            loan.asked_before = loan.said.asked;
            if asked == 0 || loan.is_over {
                continue;
            }
            let ahead = asked.saturating_mul(AHEAD).min(left / parts);
            let wanted = ahead.max(loan.said.largest.nanos());
            let has = less(loan.told.ceiling, loan.said.taken()).nanos();
            let gain = wanted.saturating_sub(has).min(left);
            // A debt is paid first: a ceiling below what was spent lends nothing.
            let from = loan.committed();
            if let Some(ceiling) = from.checked_add(NanoUsd::new(gain)).filter(|_| gain > 0) {
                left -= gain;
                planned.push((*incarnation, loan.plan(ceiling)));
            }
        }
        planned
    }
}

// === impl Treasury ===

impl Treasury {
    /// Begins with what is written down, at `now`.
    #[must_use]
    pub fn restore(records: impl IntoIterator<Item = LeaseRecord>, now: Steady) -> Self {
        let mut treasury = Self::default();
        for record in records {
            let budget = treasury.budgets.entry(record.budget).or_default();
            let loan = budget.loans.entry(record.incarnation).or_default();
            loan.told = record.lease;
            loan.planned = record.lease;
            loan.received_at = now;
        }
        treasury
    }

    /// How much a budget is; one that changes keeps what was spent.
    pub fn set_budget(&mut self, budget: BudgetId, most: NanoUsd) {
        self.budgets.entry(budget).or_default().most = most;
    }

    /// Takes over what a gateway reports; reports of an incarnation come in the order of their numbers.
    pub fn merge(
        &mut self,
        from: Incarnation,
        budget: BudgetId,
        report: &PurseReport,
        now: Steady,
    ) {
        let budget = self.budgets.entry(budget).or_default();
        let loan = budget.loans.entry(from).or_default();
        if !loan.is_over {
            loan.said = *report;
            loan.received_at = now;
        }
    }

    /// What is to be lent and taken back now: each record is to be made durable, and then said to be so with [`Self::written`].
    pub fn plan(&mut self) -> Vec<LeaseRecord> {
        let mut records = Vec::new();
        for (id, budget) in &mut self.budgets {
            let planned = budget.plan().into_iter();
            records.extend(planned.map(|(incarnation, lease)| LeaseRecord {
                budget: *id,
                incarnation,
                lease,
            }));
        }
        records
    }

    /// A record is durable: from now on the gateway is told of the lease.
    pub fn written(&mut self, record: &LeaseRecord) {
        let budget = self.budgets.get_mut(&record.budget);
        let loan = budget.and_then(|it| it.loans.get_mut(&record.incarnation));
        if let Some(loan) = loan.filter(|it| it.planned == record.lease) {
            loan.told = record.lease;
        }
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
        budget: &BudgetId,
        spent: NanoUsd,
        now: Steady,
    ) -> bool {
        let budget = self.budgets.get_mut(budget);
        let Some(loan) = budget.and_then(|it| it.loans.get_mut(&of)) else {
            return true;
        };
        // It may not be dead but cut off, and spend until its lease ends.
        if now.us_since(loan.received_at) <= LEASE_LIFETIME_US {
            return false;
        }
        loan.is_over = true;
        loan.said.settled = spent;
        loan.said.open = NanoUsd::ZERO;
        !loan.is_being_written() && loan.told.ceiling == spent
    }

    /// What counts as spent of a budget: what gateways have spent, and what they may spend without asking.
    #[must_use]
    pub fn committed(&self, budget: &BudgetId) -> NanoUsd {
        let budget = self.budgets.get(budget);
        budget.map_or(NanoUsd::ZERO, Budget::committed)
    }

    /// Forgets a budget whose slot is over.
    pub fn forget(&mut self, budget: &BudgetId) {
        self.budgets.remove(budget);
    }
}

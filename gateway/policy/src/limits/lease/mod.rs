//! Budgets: a gateway spends only what was lent to it, and what is lent is written down before.
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
//! have arrived.
//!
//! Where the records are lost as well, what gateways still obey is taken over from their reports, and what was spent by
//! those that are gone is what the ledger of requests says.
//!
//! All amounts are whole and in the counter's measure: nano-dollars or tokens.

mod purse;
mod spend;
mod treasury;
mod wallet;

use serde::{Deserialize, Serialize};

pub use self::{
    purse::{Lack, Lender, Purse, Stands},
    spend::{Overspent, Role, Spending, Wallets, Why, ask, look_at, refuse, spend},
    treasury::{BudgetStanding, Treasury},
    wallet::{Kept, PURSE_KEPT_US, Wallet},
};
use super::{
    message::{CounterId, Incarnation, Steady},
    period::SlotNumber,
};
use crate::mix::mix;

/// How long a gateway spends of a lease after the report was sent in whose answer it was renewed, in microseconds. It gives
/// back what it has not asked for in that time.
pub const LEASE_LIFETIME_US: u64 = 10_000_000;

/// A budget, in one slot of its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BudgetId {
    /// Whose budget.
    pub counter: CounterId,
    /// Which day, week, month or quarter.
    pub slot: SlotNumber,
}

impl BudgetId {
    /// A number that differs for most: for tables.
    fn spread(&self) -> u64 {
        self.counter.spread() ^ mix(self.slot.0)
    }
}

/// How much an incarnation may spend of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Of two leases the one with the higher version holds.
    pub version: u64,
    /// What it may spend in all.
    pub ceiling: u64,
}

/// What a gateway reports of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurseReport {
    /// The lease that it obeys; a lower ceiling than was lent gives the rest back.
    pub lease: Lease,
    /// What it has spent.
    pub settled: u64,
    /// What requests under way may spend.
    pub open: u64,
    /// What requests have asked for, granted or not; it wraps around.
    pub asked: u64,
    /// Of that, what was refused.
    pub refused: u64,
    /// The most that a single one lacked a lease for since all that was asked for was decided on.
    pub largest: u64,
}

impl PurseReport {
    /// What it has spent and may be spending.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.settled.saturating_add(self.open)
    }
}

/// What a gateway reports of its purses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purses {
    /// Who reports.
    pub incarnation: Incarnation,
    /// The number of the report in its incarnation, from 1. Of two the one with the higher number holds.
    pub number: u64,
    /// When it was made, by the gateway's steady clock.
    pub sent_at: Steady,
    /// Each purse that it has.
    pub rows: Vec<PurseRow>,
}

/// What a gateway reports of one purse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurseRow {
    /// Of which budget.
    pub budget: BudgetId,
    /// How much the budget is, as this gateway knows it; 0: no request has found it for the lifetime of a lease, so that it may
    /// be another by now.
    pub most: u64,
    /// What it says.
    pub said: PurseReport,
}

/// What a gateway is told of its leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// Whom it tells.
    pub to: Incarnation,
    /// The last report of that gateway which it answers.
    pub includes: u64,
    /// When that report was sent, by that gateway's steady clock: leases end a lifetime after it.
    pub sent_at: Steady,
    /// Its leases.
    pub rows: Vec<LeaseRow>,
}

/// What a gateway is told of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// Of which budget.
    pub budget: BudgetId,
    /// The lease.
    pub lease: Lease,
    /// What is spent of the budget, or lent, by and to all gateways: what is left of it is lent to whoever asks.
    pub committed: u64,
    /// What is spent of it for good, as far as is known, and what was lent to gateways that are gone.
    pub spent: u64,
    /// Whether that is all the gateway gets for what it has asked for; else more may come.
    pub is_decided: bool,
}

/// What is written down of a budget: all its leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetRecord {
    /// Which budget.
    pub budget: BudgetId,
    /// Whose leases, in order.
    pub leases: Vec<(Incarnation, Lease)>,
}

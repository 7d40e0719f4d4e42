//! What one gateway may spend of one budget, and has spent.

use super::{LEASE_LIFETIME_US, Lease, PurseReport};
use crate::limits::message::Steady;

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
    pub remaining: u64,
}

impl Purse {
    /// Takes what a request may cost, if the lease has as much and has not ended. Nothing is allocated.
    ///
    /// # Errors
    /// When the lease does not suffice: the treasury learns of it with the next report.
    pub fn reserve(&mut self, cost: u64, now: Steady) -> Result<(), Lack> {
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

    /// A request that could not have so much was refused.
    pub const fn refuse(&mut self, cost: u64) {
        self.said.refused = self.said.refused.saturating_add(cost);
    }

    /// What may still be spent without asking.
    #[must_use]
    pub fn remaining(&self, now: Steady) -> u64 {
        if now < self.ends_at {
            self.said.lease.ceiling.saturating_sub(self.said.taken())
        } else {
            0
        }
    }

    /// A request for which so much was reserved has ended, and cost so much.
    pub fn settle(&mut self, reserved: u64, actual: u64) {
        self.said.open = self.said.open.saturating_sub(reserved);
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

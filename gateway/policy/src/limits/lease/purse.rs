//! What one gateway may spend of one budget, and has spent.

use super::{LEASE_LIFETIME_US, Lease, LeaseRow, PurseReport};
use crate::limits::message::Steady;

/// What a gateway may spend of a budget, and has spent.
///
/// What changes with a request lies on the first cache line: threads that spend of one purse in turns take no more from each
/// other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Purse {
    said: PurseReport,
    asked_at: Steady,
    ends_at: Steady,
    /// What was spent of the budget, or lent, by and to all gateways, as it was told last; `None`: it has not been told.
    committed: Option<u64>,
    /// What this gateway had spent and might be spending when it reported last, and what of that `committed` includes.
    reported: u64,
    included: u64,
    /// What had been asked for when it reported last, and what was asked for between the two reports before.
    asked_until: u64,
    asked_lately: u64,
    /// When the last report was sent whose answer decided on all that had been asked for.
    decided_at: Steady,
    /// What was spent of the budget by all gateways, as it was told last, and what this one had spent then.
    spent: u64,
    settled_then: u64,
    /// The most that a single request lacked a lease for of those that were reported and not decided on, and the last report
    /// of one.
    undecided: u64,
    undecided_at: Steady,
    /// What it had to spare in every report since then.
    spared: u64,
    spared_since: Steady,
}

/// What a lease lacks for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// What may still be spent here without asking.
    pub remaining: u64,
}

/// Who deals out leases, as a gateway sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lender {
    /// Nobody: there is no other gateway, and all of every budget is its own.
    Nobody,
    /// The treasury, which is being heard.
    Heard,
    /// The treasury, which has not been heard for the lifetime of a lease.
    Silent,
    /// The treasury; but this gateway has left, and spends nothing any more.
    Left,
}

/// How a request stands to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It may be spent.
    Suffices,
    /// The lease does not suffice; there may be another, or a larger one, as soon as the treasury has heard of it.
    Lacks,
    /// The budget would suffice for it, but the rest of that is lent, or held for requests under way: some of it may come back.
    Held,
    /// The budget is not spent, and does not suffice for this request any more.
    TooLarge {
        /// What is left of it.
        left: u64,
    },
    /// All of the budget is spent.
    UsedUp,
    /// Nobody lends any more.
    CutOff,
}

impl Purse {
    /// Asks for what a request may cost: the treasury learns of it with the next report.
    pub fn ask(&mut self, cost: u64, now: Steady) {
        self.asked_at = now;
        // Differences count, which a caller's large number must not end.
        self.said.asked = self.said.asked.wrapping_add(cost);
        if cost > self.remaining(now) {
            self.said.largest = self.said.largest.max(cost);
        }
    }

    /// How a request that may cost so much stands to a budget of `most`. Nothing changes.
    #[must_use]
    pub fn stands(&self, cost: u64, most: u64, lender: Lender, now: Steady) -> Stands {
        let remaining = match lender {
            Lender::Nobody => most.saturating_sub(self.said.taken()),
            Lender::Heard | Lender::Silent => self.remaining(now),
            Lender::Left => 0,
        };
        if cost <= remaining {
            return Stands::Suffices;
        }
        match lender {
            Lender::Silent => Stands::CutOff,
            Lender::Left => Stands::Lacks,
            Lender::Heard if cost <= self.left(most, lender) => Stands::Lacks,
            Lender::Nobody | Lender::Heard => match most.saturating_sub(self.spent()) {
                0 => Stands::UsedUp,
                left if cost > left => Stands::TooLarge { left },
                _ => Stands::Held,
            },
        }
    }

    /// What is spent of the budget for good, by all gateways, as far as is known here.
    const fn spent(&self) -> u64 {
        let since = self.said.settled.saturating_sub(self.settled_then);
        self.spent.saturating_add(since)
    }

    /// Whether a request that may cost so much would be refused if nothing had to be lent for it. Nothing changes.
    #[must_use]
    pub fn exceeds(&self, cost: u64, most: u64) -> bool {
        let own = self.said.taken();
        let used = match self.committed {
            None => own,
            Some(committed) => committed.saturating_add(own.saturating_sub(self.included)),
        };
        cost > most.saturating_sub(used)
    }

    /// What is left of a budget of `most`, as far as is known here: what this gateway may spend, and what is lent to nobody.
    #[must_use]
    pub fn left(&self, most: u64, lender: Lender) -> u64 {
        let own = self.said.taken();
        match (lender, self.committed) {
            (Lender::Nobody, _) | (_, None) => most.saturating_sub(own),
            (_, Some(committed)) => {
                let lent = self.said.lease.ceiling.saturating_sub(own);
                most.saturating_sub(committed).saturating_add(lent)
            }
        }
    }

    /// Takes what a request may cost, whether or not the lease has as much. Nothing is allocated.
    pub const fn take(&mut self, cost: u64) {
        self.said.open = self.said.open.saturating_add(cost);
    }

    /// Asks for what a request may cost, and takes it if the lease has as much and has not ended.
    ///
    /// # Errors
    /// When the lease does not suffice.
    pub fn reserve(&mut self, cost: u64, now: Steady) -> Result<(), Lack> {
        self.ask(cost, now);
        let remaining = self.remaining(now);
        if cost > remaining {
            return Err(Lack { remaining });
        }
        self.take(cost);
        Ok(())
    }

    /// A request that could not have so much was refused.
    pub const fn refuse(&mut self, cost: u64) {
        self.said.refused = self.said.refused.saturating_add(cost);
    }

    /// What may still be spent without asking.
    #[must_use]
    pub fn remaining(&self, now: Steady) -> u64 {
        if now < self.ends_at {
            self.unspent()
        } else {
            0
        }
    }

    /// Whether a report that was sent at `since` or later has been answered with a decision.
    #[must_use]
    pub fn is_answered_since(&self, since: Steady) -> bool {
        self.decided_at >= since
    }

    /// Whether less remains than was asked for since the last report, or between the two before: at this pace the next requests
    /// lack it soon.
    #[must_use]
    pub fn runs_low(&self, now: Steady) -> bool {
        let asked = self.said.asked.wrapping_sub(self.asked_until);
        self.remaining(now) < asked.max(self.asked_lately)
    }

    /// Whether something was asked for that no report has told of.
    #[must_use]
    pub const fn has_news(&self) -> bool {
        self.said.asked != self.asked_until
    }

    /// A request for which so much was reserved has ended, and cost so much.
    pub const fn settle(&mut self, reserved: u64, actual: u64) {
        self.said.open = self.said.open.saturating_sub(reserved);
        self.said.settled = self.said.settled.saturating_add(actual);
    }

    /// What it says.
    #[must_use]
    pub const fn said(&self) -> PurseReport {
        self.said
    }

    /// What was spent of the budget, or lent, by and to all gateways, as it was told last; `None`: it has not been told.
    #[must_use]
    pub const fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// What of its own that includes.
    #[must_use]
    pub const fn included(&self) -> u64 {
        self.included
    }

    /// What it reports. What nobody has asked for in the time of a lease is given back: from now on it is not spent. Of what was
    /// to spare all that time, though there were requests, half goes back: else what was lent for a large one that cost
    /// little in the end would stay here for as long as there are small ones.
    pub fn report(&mut self, now: Steady) -> PurseReport {
        let unspent = self.unspent();
        self.spared = self.spared.min(unspent);
        if now.us_since(self.asked_at) > LEASE_LIFETIME_US {
            self.give_back();
        } else if now.us_since(self.spared_since) > LEASE_LIFETIME_US {
            self.give_back_some(self.spared / 2);
            (self.spared, self.spared_since) = (unspent, now);
        }
        self.asked_lately = self.said.asked.wrapping_sub(self.asked_until);
        self.asked_until = self.said.asked;
        self.reported = self.said.taken();
        if self.said.largest > 0 {
            self.undecided = self.undecided.max(self.said.largest);
            self.undecided_at = now;
            self.said.largest = 0;
        }
        PurseReport {
            largest: self.undecided,
            ..self.said
        }
    }

    /// Gives back what it has not spent, as when the gateway is about to leave.
    pub fn give_back(&mut self) {
        self.give_back_some(self.unspent());
    }

    fn give_back_some(&mut self, back: u64) {
        self.said.lease.ceiling -= back;
        // As soon as that is written down, it is lent again.
        self.committed = self.committed.map(|it| it.saturating_sub(back));
    }

    /// What is left of its lease, ended or not.
    const fn unspent(&self) -> u64 {
        self.said.lease.ceiling.saturating_sub(self.said.taken())
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

    /// Hears what it is told. `is_last`: it answers the last report.
    pub fn told(&mut self, row: &LeaseRow, sent_at: Steady, is_last: bool) {
        if row.lease.version < self.said.lease.version {
            return;
        }
        self.hear(row.lease, sent_at);
        (self.spent, self.settled_then) = (row.spent, self.said.settled);
        if row.is_decided {
            self.decided_at = self.decided_at.max(sent_at);
            if sent_at >= self.undecided_at {
                self.undecided = 0;
            }
        }
        // What was given back meanwhile is committed no more.
        let back = row.lease.ceiling.saturating_sub(self.said.lease.ceiling);
        self.committed = Some(row.committed.saturating_sub(back));
        if is_last {
            self.included = self.reported;
        }
    }
}

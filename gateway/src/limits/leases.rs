//! Leases of budgets, from the requests' side and from that of the task that talks about them: who lends, waiting for what is
//! lent, and what is to be told at once.
//!
//! A gateway's first request for a budget in a window has no lease, though the budget is not used up. It waits for the answer
//! to a report that is sent at once; nothing is locked meanwhile, and of a caller that goes away nothing is left.

use std::{
    sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use gateway_policy::limits::{
    admission::Turn,
    lease::{LEASE_LIFETIME_US, Leases, Lender, Purses},
    message::Steady,
    wire::{self, Written},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Limits, pause_of};

/// How long a request waits for a lease: the treasury answers within some 100 ms, of which most is writing down what it lends.
/// Longer than that, and the budget decides by what is known: an open one lets through what nobody has answered.
pub const LEASE_WAIT: Duration = Duration::from_millis(500);

/// In how many microseconds from its start a gateway expects the treasury's first answer. Later than that it is cut off, as one
/// that was answered once is after the lifetime of a lease.
const FIRST_ANSWER_US: u64 = 1_000_000;

/// The shard whose report says that this gateway is there when it has no purses.
const GREETING_SHARD: usize = 0;

/// What requests and the task that talks about leases say to each other.
#[derive(Debug, Default)]
pub(super) struct Leasing {
    /// When the last report was sent that was answered, and one more, in microseconds of the steady clock; 0: none was.
    heard: AtomicU64,
    /// How often something was told.
    answers: AtomicU64,
    /// Something was told.
    told: Notify,
    /// The shards of which something is to be told at once, a bit for each.
    urgent: AtomicU16,
    /// There are such shards.
    urged: Notify,
}

/// A request that may wait for a lease.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Until when it waits, and since when; `None`: it has not had to yet.
    until: Option<(Instant, Steady)>,
}

/// When a request was decided on that is to wait for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// How often something had been told.
    pub(super) answers: u64,
    pub(super) at: Steady,
}

// === impl Leasing ===

impl Leasing {
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Relaxed)
    }

    /// Has these shards' purses reported at once.
    pub(super) fn urge(&self, shards: u16) {
        if self.urgent.fetch_or(shards, Relaxed) == 0 {
            self.urged.notify_one();
        }
    }
}

// === impl Waiting ===

impl Waiting {
    /// How often the request has been decided on.
    #[must_use]
    pub fn turn(&self) -> Turn {
        match self.until {
            None => Turn::First,
            Some((until, _)) if Instant::now() < until => Turn::Again,
            Some((_, since)) => Turn::Last { since },
        }
    }

    /// Waits until something was told since the request was decided on, or as long as it may.
    pub async fn answered(&mut self, limits: &Limits, since: Since) {
        let (until, _) = *self
            .until
            .get_or_insert_with(|| (Instant::now() + LEASE_WAIT, since.at));
        let told = limits.leasing.told.notified();
        if limits.leasing.answers() == since.answers {
            let _too_late = timeout_at(until, told).await;
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Who lends.
    pub(super) fn lender(&self, now: Steady) -> Lender {
        if self.alone {
            return Lender::Nobody;
        }
        let is_heard = match self.leasing.heard.load(Relaxed).checked_sub(1) {
            None => now.0 <= FIRST_ANSWER_US,
            Some(heard) => now.us_since(Steady(heard)) <= LEASE_LIFETIME_US,
        };
        if is_heard {
            Lender::Heard
        } else {
            Lender::Silent
        }
    }

    /// Waits until some purses are to be reported at once.
    pub(super) async fn urged(&self) {
        while self.leasing.urgent.load(Relaxed) == 0 {
            self.leasing.urged.notified().await;
        }
    }

    /// What is to be reported at once of purses, as messages of so many bytes at most.
    pub(super) fn report_urgent(&self, most_bytes: usize) -> Written {
        let urgent = self.leasing.urgent.swap(0, Relaxed);
        self.report_purses_of(most_bytes, |shard, _| urgent & (1 << shard) != 0)
    }

    /// What is to be reported of all purses, as messages. `greets`: also where there are none.
    pub(super) fn report_purses(&self, greets: bool, most_bytes: usize) -> Written {
        self.leasing.urgent.store(0, Relaxed);
        self.report_purses_of(most_bytes, |shard, purses| {
            purses > 0 || (greets && shard == GREETING_SHARD)
        })
    }

    /// Of the shards that are due, by their number and how many purses they have.
    fn report_purses_of(
        &self,
        most_bytes: usize,
        is_due: impl Fn(usize, usize) -> bool,
    ) -> Written {
        let steady = self.steady();
        let due = (0..self.shards.len()).filter_map(|shard| {
            let mut gateway = self.lock(shard);
            let purses = gateway.wallet.look().len();
            is_due(shard, purses).then(|| (shard, gateway.wallet.report(steady)))
        });
        wire::write_down::<Purses>(due, most_bytes)
    }

    /// How long after a report of all purses the next one is due.
    pub(super) fn pause_of_purses(&self) -> Duration {
        let of_shard = |shard| self.lock(shard).wallet.look().len();
        pause_of((0..self.shards.len()).map(of_shard).sum())
    }

    /// The last report of purses: from now on nothing is spent.
    pub(super) fn leave_purses(&self, most_bytes: usize) -> Written {
        let steady = self.steady();
        let parts =
            (0..self.shards.len()).map(|shard| (shard, self.lock(shard).wallet.leave(steady)));
        wire::write_down(parts, most_bytes)
    }

    /// Takes over what is told of leases.
    pub(super) fn hear_leases(&self, parts: &[(usize, Leases)]) {
        for (shard, leases) in parts {
            if self.lock(*shard).wallet.hear(leases) {
                let sent_at = leases.sent_at.0.saturating_add(1);
                self.leasing.heard.fetch_max(sent_at, Relaxed);
            }
        }
        self.leasing.answers.fetch_add(1, Relaxed);
        self.leasing.told.notify_waiters();
    }
}

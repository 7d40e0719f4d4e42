//! All purses of one gateway: what it reports, and what it takes over from what it is told.

use events_schema::time::Timestamp;
use hashbrown::HashTable;

use super::{BudgetId, LEASE_LIFETIME_US, LeaseRow, Leases, Lender, Purse, PurseRow, Purses};
use crate::limits::{
    message::{CounterId, Incarnation, Steady},
    period::{Period, SlotNumber},
};

/// How long a purse is kept after its slot, in microseconds: longer than a request that arrived in it may take to be admitted
/// (its body has five minutes), and than clocks are set back. A purse that came up anew would spend once more what it has
/// spent before.
pub const PURSE_KEPT_US: u64 = 15 * 60 * 1_000_000;

/// The purses of one incarnation of a gateway.
#[derive(Debug, Clone)]
pub struct Wallet {
    incarnation: Incarnation,
    purses: Vec<Kept>,
    /// The places of the purses, by the hashes of what they are of.
    places: HashTable<usize>,
    /// Purses of slots that were over before this may be gone.
    kept_since: Timestamp,
    /// Of each period the slot that was worked out last: most requests are in it.
    slots: [Lasting; Period::ALL.len()],
    reports: u64,
    /// The last report that was answered.
    included: u64,
    left: bool,
}

/// A purse.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Kept {
    budget: BudgetId,
    /// When its slot ends.
    ends_at: Timestamp,
    /// How much the budget is, as a request found it last.
    most: u64,
    /// When that was, give or take [`SOMETIME_US`].
    used_at: Steady,
    /// The report that is the first to tell of what changed last.
    news: u64,
    /// Whether it was said that it lacks something, or soon will, since it was told something last.
    is_urgent: bool,
    purse: Purse,
}

/// How exactly it is known when a purse was used last: it is written down that seldom, since threads that read it would wait for
/// each other.
const SOMETIME_US: u64 = 1_000_000;

/// A slot of a period, and from when to when it lasts.
#[derive(Debug, Clone, Copy)]
struct Lasting {
    slot: SlotNumber,
    from: Timestamp,
    until: Timestamp,
}

// === impl Kept ===

impl Kept {
    /// Of what.
    #[must_use]
    pub const fn budget(&self) -> BudgetId {
        self.budget
    }

    /// How much the budget is.
    #[must_use]
    pub const fn most(&self) -> u64 {
        self.most
    }

    /// The purse.
    #[must_use]
    pub const fn purse(&self) -> &Purse {
        &self.purse
    }

    /// When the budget begins anew.
    #[must_use]
    pub const fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

// === impl Wallet ===

impl Wallet {
    /// An empty one.
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            purses: Vec::new(),
            places: HashTable::new(),
            kept_since: Timestamp::MIN,
            slots: [Lasting {
                slot: SlotNumber(0),
                from: Timestamp::MIN,
                until: Timestamp::MIN,
            }; _],
            reports: 0,
            included: 0,
            left: false,
        }
    }

    /// In which slot a request counts that arrived at this time: where its purse may be gone, in the first that is not.
    pub fn slot(&mut self, counter: &CounterId, arrived_at: Timestamp) -> SlotNumber {
        let (period, at) = (counter.period, arrived_at.max(self.kept_since));
        let last = &mut self.slots[period.index()];
        if at < last.from || last.until <= at {
            let slot = period.slot_at(at);
            *last = Lasting {
                slot,
                from: period.slot_begins(slot),
                until: period.slot_begins(slot.plus(1)),
            };
        }
        last.slot
    }

    /// The place of a purse among [`Self::look`], until the next [`Self::sweep`]. The budget is what the rule says now.
    pub fn place(&mut self, budget: BudgetId, most: u64, now: Steady) -> usize {
        let place = self
            .place_of(&budget)
            .unwrap_or_else(|| self.add(budget, most, now));
        let kept = &mut self.purses[place];
        if kept.most != most || now.us_since(kept.used_at) > SOMETIME_US {
            (kept.most, kept.used_at) = (most, now);
        }
        place
    }

    fn add(&mut self, budget: BudgetId, most: u64, now: Steady) -> usize {
        let BudgetId { counter, slot } = budget;
        self.purses.push(Kept {
            budget,
            ends_at: counter.period.slot_begins(slot.plus(1)),
            most,
            used_at: now,
            purse: Purse::default(),
            news: self.reports + 1,
            is_urgent: false,
        });
        let (purses, place) = (&self.purses, self.purses.len() - 1);
        let spread = |place: &usize| purses[*place].budget.spread();
        self.places.insert_unique(budget.spread(), place, spread);
        place
    }

    /// The place of a purse that is there.
    #[must_use]
    pub fn place_of(&self, budget: &BudgetId) -> Option<usize> {
        let is_it = |place: &usize| self.purses[*place].budget == *budget;
        self.places.find(budget.spread(), is_it).copied()
    }

    /// The purses, to look at.
    #[must_use]
    pub fn look(&self) -> &[Kept] {
        &self.purses
    }

    /// The purse at a place, to change it.
    ///
    /// # Panics
    /// When there is none.
    pub fn change(&mut self, place: usize) -> &mut Purse {
        let (kept, news) = (&mut self.purses[place], self.reports + 1);
        if kept.news != news {
            kept.news = news;
        }
        &mut kept.purse
    }

    /// Whether the treasury is to hear of the purse at a place at once: a request lacks something (`lacks`), or the next ones
    /// soon will. It is said once until something is told, and not of what was reported: then it is the treasury's turn.
    ///
    /// # Panics
    /// When there is none.
    pub fn is_urgent(&mut self, place: usize, lacks: bool, now: Steady) -> bool {
        let kept = &mut self.purses[place];
        let purse = &kept.purse;
        let runs_low = || {
            let may_be_lent = purse.left(kept.most, Lender::Heard) > purse.remaining(now);
            may_be_lent && purse.runs_low(now)
        };
        let is_urgent = !kept.is_urgent && purse.has_news() && (lacks || runs_low());
        kept.is_urgent |= is_urgent;
        is_urgent
    }

    /// Its next report.
    pub fn report(&mut self, now: Steady) -> Purses {
        self.reports += 1;
        let rows = self.purses.iter_mut().map(|kept| {
            let is_used = now.us_since(kept.used_at) <= LEASE_LIFETIME_US;
            if self.left {
                kept.purse.give_back();
            }
            PurseRow {
                budget: kept.budget,
                // Of a budget that no request has found for long, nothing is known.
                most: if is_used { kept.most } else { 0 },
                said: kept.purse.report(now),
            }
        });
        Purses {
            incarnation: self.incarnation,
            number: self.reports,
            sent_at: now,
            rows: rows.collect(),
        }
    }

    /// Its last report: everything that is not spent is given back.
    pub fn leave(&mut self, now: Steady) -> Purses {
        self.left = true;
        self.report(now)
    }

    /// Whether it has left, and spends nothing any more.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// Obeys what it is told, unless it is for another, or older than what it was told last. Says whether it was told something.
    pub fn hear(&mut self, leases: &Leases) -> bool {
        let Leases {
            to,
            includes,
            sent_at,
            rows,
        } = leases;
        if *to != self.incarnation || *includes < self.included || self.left {
            return false;
        }
        self.included = *includes;
        let is_last = *includes == self.reports;
        for row in rows {
            let LeaseRow { budget, .. } = row;
            // One that is gone spends nothing any more.
            if let Some(place) = self.place_of(budget) {
                let kept = &mut self.purses[place];
                kept.purse.told(row, *sent_at, is_last);
                kept.is_urgent = false;
            }
        }
        true
    }

    /// Forgets purses whose slots are over for [`PURSE_KEPT_US`], of which nothing is under way, and whose last amounts the
    /// treasury has heard. `alone`: there is none that would.
    pub fn sweep(&mut self, now: Timestamp, alone: bool) {
        let kept_us = i64::try_from(PURSE_KEPT_US).unwrap_or(i64::MAX);
        self.kept_since = self.kept_since.max(now.plus_micros(-kept_us));
        let (before, included) = (self.kept_since, self.included);
        let many = self.purses.len();
        self.purses.retain(|kept| {
            let is_heard = alone || kept.news <= included;
            kept.ends_at() > before || kept.purse.said().open > 0 || !is_heard
        });
        if self.purses.len() == many {
            return;
        }
        let purses = &self.purses;
        let spread = |place: &usize| purses[*place].budget.spread();
        self.places.clear();
        self.places.shrink_to(purses.len(), spread);
        for place in 0..purses.len() {
            self.places.insert_unique(spread(&place), place, spread);
        }
    }
}

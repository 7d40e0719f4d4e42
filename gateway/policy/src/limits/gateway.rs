//! All counters of one gateway: what it reports, and what it takes over from broadcasts. Its purses lie beside them.

use events_schema::time::Timestamp;
use hashbrown::HashTable;

use super::{
    counter::{Counter, Reach, Terms},
    lease::Wallet,
    marks::{Apart, Full},
    message::{BaseShares, Broadcast, BroadcastId, CounterId, Incarnation, Report, Steady},
    share::Share,
};

/// How long a share holds after the report in whose answer it was dealt was sent, in microseconds; then it halves, each
/// time that as long a while has passed.
pub const SHARE_LIFETIME_US: u64 = 5_000_000;

/// How long a gateway's part of what counts at a time is remembered after it was heard last, in microseconds; then whatever
/// it held is free. A gateway that is there, and was not heard for two lifetimes of a share, keeps each limit by itself by
/// then; the second beyond is for clocks that do not run alike.
pub const HELD_US: u64 = 2 * SHARE_LIFETIME_US + 1_000_000;

/// The counters of one incarnation of a gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    incarnation: Incarnation,
    counters: Vec<Counter>,
    /// The places of the counters, by the hashes of their ids.
    places: HashTable<usize>,
    base: BaseShares,
    /// The counters of which it has no base share.
    apart: Apart,
    /// Those of which nothing is left, as it was told last.
    full: Full,
    heard: Option<BroadcastId>,
    /// When the last report was sent that a broadcast included.
    included_at: Steady,
    reports: u64,
    /// Whether it has been dealt other shares since its last report.
    owes_report: bool,
    left: bool,
    /// Its purses.
    pub wallet: Wallet,
}

impl Gateway {
    /// A gateway that begins at `now` and shares its limits with others.
    #[must_use]
    pub fn new(incarnation: Incarnation, now: Steady) -> Self {
        Self {
            incarnation,
            counters: Vec::new(),
            places: HashTable::new(),
            base: [Share::NONE; _],
            apart: Apart::default(),
            full: Full::default(),
            heard: None,
            included_at: now,
            reports: 0,
            owes_report: false,
            left: false,
            wallet: Wallet::new(incarnation),
        }
    }

    /// How far its word reaches.
    #[must_use]
    pub fn reach(&self, now: Steady) -> Reach {
        if self.left {
            return Reach::Left;
        }
        let age_us = now.us_since(self.included_at);
        Reach::Together {
            halvings: self.halvings(now),
            silent_us: age_us.saturating_sub(SHARE_LIFETIME_US),
        }
    }

    /// How often the shares have halved since the gateway was heard.
    fn halvings(&self, now: Steady) -> u32 {
        let age_us = now.us_since(self.included_at);
        u32::try_from(age_us / SHARE_LIFETIME_US).unwrap_or(u32::MAX)
    }

    /// The place of a counter among [`Self::counters`], until the next [`Self::sweep`]. The terms are what the rule says now.
    pub fn place(&mut self, id: CounterId, terms: Terms) -> usize {
        if let Some(place) = self.place_of(&id) {
            self.counters[place].set_terms(terms);
            return place;
        }
        let place = self.counters.len();
        let share = dealt_without_row(&self.base, &self.apart, &id);
        let first = self.reports + 1;
        let is_full = self.full.holds(&id);
        let counter = Counter::new(id, terms, share).told_from(first);
        self.counters.push(counter.presumed_full(is_full));
        let counters = &self.counters;
        self.places
            .insert_unique(id.spread(), place, |place| counters[*place].id().spread());
        place
    }

    /// The place of a counter that is there.
    #[must_use]
    pub fn place_of(&self, id: &CounterId) -> Option<usize> {
        let is_it = |place: &usize| self.counters[*place].id() == *id;
        self.places.find(id.spread(), is_it).copied()
    }

    /// The counters, for [`super::admission::admit`].
    pub fn counters(&mut self) -> &mut [Counter] {
        &mut self.counters
    }

    /// The counters, to look at.
    #[must_use]
    pub fn look(&self) -> &[Counter] {
        &self.counters
    }

    /// The share of a counter, as it was dealt.
    #[must_use]
    pub fn dealt(&self, id: &CounterId) -> Share {
        match self.place_of(id) {
            Some(place) => self.counters[place].share(),
            None => dealt_without_row(&self.base, &self.apart, id),
        }
    }

    /// Its next report.
    pub fn report(&mut self, now: Steady) -> Report {
        self.reports += 1;
        self.owes_report = false;
        let halvings = self.halvings(now);
        let rows = self.counters.iter_mut().map(|counter| {
            // What nobody takes is better kept.
            if halvings == 0 {
                counter.give_back();
            }
            let mut row = counter.report();
            row.share = row.share.halved(halvings);
            row
        });
        Report {
            incarnation: self.incarnation,
            number: self.reports,
            sent_at: now,
            heard: self.heard,
            base: self.base.map(|share| share.halved(halvings)),
            apart: self.apart.clone(),
            leaving: self.left,
            rows: rows.collect(),
        }
    }

    /// Whether others wait for its next report: what it has given up is dealt to them once it has confirmed that.
    #[must_use]
    pub const fn owes_report(&self) -> bool {
        self.owes_report
    }

    /// Its last report: from now on it admits nothing.
    pub fn leave(&mut self, now: Steady) -> Report {
        self.left = true;
        self.counters
            .iter_mut()
            .for_each(Counter::give_back_all_that_is_free);
        self.report(now)
    }

    /// Obeys a broadcast, unless it is for another, or older than the last. Of counters that it does not have, or has forgotten, it
    /// takes over nothing but that they are apart: it has as many counters as it has used itself.
    pub fn hear(&mut self, broadcast: &Broadcast) {
        let Broadcast {
            id,
            to,
            includes,
            sent_at,
            adopting,
            base,
            apart,
            full,
            rows,
        } = broadcast;
        if *to != self.incarnation || self.heard.is_some_and(|heard| heard >= *id) {
            return;
        }
        self.heard = Some(*id);
        self.included_at = self.included_at.max(*sent_at);
        self.owes_report |= self.base != *base;
        self.base = *base;
        self.apart.clone_from(apart);
        self.full.clone_from(full);
        for counter in &mut self.counters {
            counter.set_share(dealt_without_row(base, apart, &counter.id()));
            counter.is_full_still(full);
        }
        for row in rows {
            let Some(place) = self.place_of(&row.counter) else {
                continue;
            };
            let counter = &mut self.counters[place];
            counter.hear(row, *includes, *adopting);
            if let Some(share) = row.share {
                counter.set_share(share);
            }
        }
    }

    /// Forgets counters of which nothing counts, unless they had a larger share when they came up anew.
    pub fn sweep(&mut self, now: Timestamp) {
        let (base, apart) = (&self.base, &self.apart);
        self.counters.retain(|counter| {
            !counter.is_idle(now) || counter.share() < dealt_without_row(base, apart, &counter.id())
        });
        let counters = &self.counters;
        let spread = |place: &usize| counters[*place].id().spread();
        self.places.clear();
        self.places.shrink_to(counters.len(), spread);
        for place in 0..counters.len() {
            self.places.insert_unique(spread(&place), place, spread);
        }
    }
}

/// The share of a counter of which a broadcast has no row.
fn dealt_without_row(base: &BaseShares, apart: &Apart, id: &CounterId) -> Share {
    let at = id.period.index();
    if apart[at].holds(id) {
        Share::NONE
    } else {
        base[at]
    }
}

//! Adds what all gateways report, and deals out the shares.
//!
//! One aggregator is in office, others stand by: all take reports, and whoever takes office knows nearly everything at once.
//! The rest it adopts from what gateways echo of the term before. In its first term's share lifetime it raises nothing.
//!
//! The shell decides who is in office: a compare-and-set on one key gives the term, and the office is held for
//! [`OFFICE_US`] from the moment when its renewal was sent. Whoever stands by waits for as long from the moment when it saw
//! the last renewal: so no two are in office at a time, whatever their clocks say.

mod book;
mod round;
mod tally;

use std::collections::BTreeMap;

use events_schema::time::Timestamp;

use self::{
    book::Book,
    round::Round,
    tally::{Part, Tally},
};
pub use self::{
    book::{JOINERS, POOL},
    round::CLOCK_SKEW_US,
};
use super::period::SlotNumber;
use super::{
    gateway::{HELD_US, SHARE_LIFETIME_US},
    message::{
        BaseShares, Broadcast, BroadcastId, BroadcastRow, CounterId, Incarnation, Report, Steady,
    },
    period::Period,
    share::Share,
};

/// How long an office is held without being renewed, in microseconds.
pub const OFFICE_US: u64 = 2_000_000;

/// After how long a silence a gateway is no longer told anything, in microseconds.
const FORGOTTEN_US: u64 = 10 * SHARE_LIFETIME_US;

/// Being in office.
#[derive(Debug, Clone, Copy)]
struct Office {
    term: u64,
    since: Steady,
    until: Steady,
    broadcasts: u64,
}

/// What is known of one incarnation.
#[derive(Debug, Clone)]
struct Member {
    /// The last report.
    last: Report,
    received_at: Steady,
    /// Whether it obeys this term.
    obeys: bool,
}

/// How a counter stands, over all gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub most: u64,
    /// Admitted in the window.
    pub admitted: u64,
    /// Of that, above the limit.
    pub overshot: u64,
    /// What the incarnations asked for that counted anything in it.
    pub asked: u64,
    /// Of that, what was refused.
    pub refused: u64,
}

/// The counts of all gateways, and their shares.
#[derive(Debug, Clone, Default)]
pub struct Aggregator {
    office: Option<Office>,
    members: BTreeMap<Incarnation, Member>,
    base: Vec<Book>,
    tallies: BTreeMap<CounterId, Tally>,
}

impl Aggregator {
    /// One that stands by and knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // --- the office

    /// Takes office. The renewal that gave it was sent at `now`; terms begin at 1.
    pub fn take_office(&mut self, term: u64, now: Steady) {
        self.office = Some(Office {
            term,
            since: now,
            until: now.plus_us(OFFICE_US),
            broadcasts: 0,
        });
        self.base = vec![Book::new(term > 1); Period::ALL.len()];
        if term > 1 {
            self.tallies.values_mut().for_each(Tally::inherit);
        }
        for member in self.members.values_mut() {
            member.obeys = false;
        }
        let members: Vec<Report> = self.members.values().map(|it| it.last.clone()).collect();
        for last in members {
            if !last.leaving {
                self.adopt(&last);
            }
        }
    }

    /// The office was renewed; the renewal was sent at `sent_at`.
    pub fn renew(&mut self, sent_at: Steady) {
        if let Some(office) = &mut self.office {
            office.until = office.until.max(sent_at.plus_us(OFFICE_US));
        }
    }

    /// The term, while it is in office.
    #[must_use]
    pub fn term(&self, now: Steady) -> Option<u64> {
        let office = self.office.filter(|office| now <= office.until);
        office.map(|office| office.term)
    }

    // --- reports

    /// Takes over a report, unless a later one of the same incarnation has been heard.
    pub fn merge(&mut self, report: &Report, now: Steady) {
        let from = report.incarnation;
        let member = self.members.get(&from);
        if member.is_some_and(|it| it.last.number >= report.number) {
            return;
        }
        let heard = report.heard.map_or(0, |heard| heard.term);
        // Somebody else has taken office since.
        self.office = self.office.filter(|office| office.term >= heard);
        let term = self.office.map_or(0, |office| office.term);
        let obeyed = report.heard.filter(|heard| heard.term == term);
        // In the first term there is no earlier one.
        let is_earlier = obeyed.is_none() && term > 1;
        for row in &report.rows {
            let tally = self.tallies.entry(row.counter).or_default();
            tally.merge(from, report.number, row, is_earlier);
        }
        self.members.insert(
            from,
            Member {
                last: report.clone(),
                received_at: now,
                obeys: obeyed.is_some(),
            },
        );
        if self.office.is_none() {
            return;
        }
        if report.leaving {
            self.books().for_each(|book| book.release(from));
            return;
        }
        self.books().for_each(|book| book.heard(from));
        match obeyed {
            Some(heard) => self
                .books()
                .for_each(|book| book.confirm(from, heard.number)),
            None if is_earlier => self.adopt(report),
            // It has heard of no term, and uses nothing that was dealt.
            None => {}
        }
    }

    /// Takes over the shares that an incarnation has from an earlier term.
    fn adopt(&mut self, report: &Report) {
        let from = report.incarnation;
        for (book, share) in self.base.iter_mut().zip(report.base) {
            book.adopt(from, share);
        }
        for row in &report.rows {
            let base = report.base[row.counter.period.index()];
            let is_own = row.share != base;
            if is_own {
                self.give_book(row.counter);
            }
        }
        for (id, tally) in &mut self.tallies {
            if let Some(book) = &mut tally.book {
                book.adopt(from, echoed_share(report, *id));
            }
        }
    }

    /// Makes a counter one with shares of its own: at first everyone's are the base shares.
    fn give_book(&mut self, id: CounterId) {
        let Some(tally) = self.tallies.get_mut(&id).filter(|it| it.book.is_none()) else {
            return;
        };
        let mut book = self.base[id.period.index()].clone();
        let disobedient = self
            .members
            .values()
            .filter(|it| !it.obeys && !it.last.leaving);
        let term = self.office.map_or(0, |office| office.term);
        for member in disobedient.filter(|_| term > 1) {
            book.adopt(member.last.incarnation, echoed_share(&member.last, id));
        }
        tally.book = Some(book);
    }

    fn books(&mut self) -> impl Iterator<Item = &mut Book> {
        let own = self.tallies.values_mut().filter_map(|it| it.book.as_mut());
        self.base.iter_mut().chain(own)
    }

    // --- broadcasts

    /// What the gateways are to be told now; nothing while this aggregator is not in office.
    pub fn broadcast(&mut self, now: Steady, wall: Timestamp) -> Vec<Broadcast> {
        self.forget(now, wall);
        let Some(office) = self.office.as_mut().filter(|office| now <= office.until) else {
            return Vec::new();
        };
        office.broadcasts += 1;
        let office = *office;
        self.deal(office, now, wall);
        let adopting = office.is_adopting(now);
        let totals: Vec<Vec<(SlotNumber, u64)>> = self
            .tallies
            .values()
            .map(|tally| {
                let slots = tally.slots().into_iter();
                slots.map(|slot| (slot, tally.total(slot))).collect()
            })
            .collect();
        let listening = self.members.values().filter(|member| {
            !member.last.leaving && now.us_since(member.received_at) <= FORGOTTEN_US
        });
        listening
            .map(|member| Broadcast {
                id: BroadcastId {
                    term: office.term,
                    number: office.broadcasts,
                },
                to: member.last.incarnation,
                includes: member.last.number,
                sent_at: member.last.sent_at,
                adopting,
                base: self.base_shares(member.last.incarnation),
                rows: self.rows(member.last.incarnation, &totals),
            })
            .collect()
    }

    fn base_shares(&self, to: Incarnation) -> BaseShares {
        std::array::from_fn(|at| self.base[at].share(to))
    }

    fn rows(&self, to: Incarnation, totals: &[Vec<(SlotNumber, u64)>]) -> Vec<BroadcastRow> {
        let tallies = self.tallies.iter().zip(totals);
        let concern =
            tallies.filter(|((_, tally), _)| tally.book.is_some() || tally.parts.contains_key(&to));
        concern
            .map(|((id, tally), totals)| BroadcastRow {
                counter: *id,
                most: tally.most,
                share: tally.book.as_ref().map(|book| book.share(to)),
                slots: tally.tell(to, totals),
            })
            .collect()
    }

    fn deal(&mut self, office: Office, now: Steady, wall: Timestamp) {
        let round = Round::new(office, &self.members, now, wall);
        for (book, period) in self.base.iter_mut().zip(Period::ALL) {
            round.deal(book, period, |_| Some(round.equal));
        }
        let mut contended = Vec::new();
        for (id, tally) in &mut self.tallies {
            tally.parts.values_mut().for_each(Part::age);
            let is_contended = tally.is_contended(id.period, wall);
            let base = &self.base[id.period.index()];
            if let Some(mut book) = tally.book.take() {
                if is_contended {
                    round.deal(&mut book, id.period, round.by_demand(tally));
                } else {
                    let base = |it| Some(base.share(it).parts());
                    round.deal(&mut book, id.period, base);
                }
                let is_idle = !is_contended && book.agrees_with(base);
                tally.book = (!is_idle).then_some(book);
            } else if is_contended {
                contended.push(*id);
            }
        }
        // This broadcast tells everyone the base share as its own; the next ones change it.
        contended.into_iter().for_each(|id| self.give_book(id));
    }

    /// Forgets what counts no more, and whoever left or has been silent until nothing was left to it.
    fn forget(&mut self, now: Steady, wall: Timestamp) {
        self.free_what_is_held_no_more(now);
        for (id, tally) in &mut self.tallies {
            tally.forget(id.period, id.period.slot_at(wall));
        }
        self.tallies
            .retain(|_, tally| tally.book.is_some() || !tally.parts.is_empty());
        let own = || self.tallies.values().filter_map(|it| it.book.as_ref());
        let uses = |it: &Incarnation| {
            self.base
                .iter()
                .chain(own())
                .any(|book| book.is_used_by(*it))
        };
        let silent = self
            .members
            .iter()
            .filter(|(_, member)| now.us_since(member.received_at) > FORGOTTEN_US);
        let gone = silent
            .map(|(incarnation, _)| *incarnation)
            .filter(|it| !uses(it));
        for gone in gone.collect::<Vec<Incarnation>>() {
            self.members.remove(&gone);
            self.books().for_each(|book| book.release(gone));
        }
    }

    /// What counts at a time is held by those that say so in their last report, as long as they are heard: whoever has been
    /// silent for [`HELD_US`] is dead, or keeps each limit by itself and shares none. So has, that long after the beginning of a
    /// term, whoever was not heard in it.
    fn free_what_is_held_no_more(&mut self, now: Steady) {
        let members = &self.members;
        let is_heard = |member: &Member| now.us_since(member.received_at) <= HELD_US;
        let silent = members.iter().filter(|(_, member)| !is_heard(member));
        let silent: Vec<Incarnation> = silent.map(|(incarnation, _)| *incarnation).collect();
        let holds = |incarnation: &Incarnation, told: u64| {
            let member = members.get(incarnation);
            member.is_some_and(|it| is_heard(it) && it.last.number == told)
        };
        let since = self.office.map(|office| office.since);
        let is_settled = since.is_some_and(|since| now.us_since(since) > HELD_US);
        let at_a_time = self.tallies.iter_mut();
        for (_, tally) in at_a_time.filter(|(id, _)| id.period.is_at_a_time()) {
            tally.parts.retain(|it, part| holds(it, part.told));
            if is_settled {
                tally.disinherit();
            }
            if let Some(book) = &mut tally.book {
                silent.iter().for_each(|it| book.release(*it));
            }
        }
    }

    // --- to look at

    /// How many counters are known.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.tallies.len()
    }

    /// How a counter stands; `None`: nobody has counted at it.
    #[must_use]
    pub fn standing(&self, id: &CounterId, wall: Timestamp) -> Option<Standing> {
        let tally = self.tallies.get(id)?;
        Some(tally.standing(id.period, wall))
    }

    /// How all counters stand.
    pub fn standings(&self, wall: Timestamp) -> impl Iterator<Item = (CounterId, Standing)> {
        let all = self.tallies.iter();
        all.map(move |(id, tally)| (*id, tally.standing(id.period, wall)))
    }

    /// What all have counted at a counter in one slot.
    #[must_use]
    pub fn total(&self, id: &CounterId, slot: SlotNumber) -> u64 {
        self.tallies.get(id).map_or(0, |tally| tally.total(slot))
    }
}

// === impl Member ===

impl Member {
    /// Whether it is heard, and has not left.
    const fn is_active(&self, now: Steady) -> bool {
        !self.last.leaving && now.us_since(self.received_at) <= SHARE_LIFETIME_US
    }
}

// === impl Office ===

impl Office {
    /// Whether gateways that obeyed the term before may not have been heard of yet.
    const fn is_adopting(&self, now: Steady) -> bool {
        self.term > 1 && now.us_since(self.since) < SHARE_LIFETIME_US
    }
}

/// The share of a counter that a report echoes.
fn echoed_share(report: &Report, id: CounterId) -> Share {
    let row = report.rows.iter().find(|row| row.counter == id);
    row.map_or(report.base[id.period.index()], |row| row.share)
}

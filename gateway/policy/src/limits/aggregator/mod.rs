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

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use events_schema::time::Timestamp;

use crate::configuration::EntryId;

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
    cost::Measure,
    gateway::{HELD_US, SHARE_LIFETIME_US},
    marks::{Apart, Full, Marks},
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

/// In how many rounds it is looked at every counter whether something of it can be forgotten; but at some in each.
const FORGETS_IN: usize = 20;
const FORGETS_AT_LEAST: usize = 1_024;

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
    /// The number of its last report, and when that was sent, by its own clock.
    number: u64,
    sent_at: Steady,
    leaving: bool,
    /// Which shares it used then.
    echo: Echo,
    received_at: Steady,
    /// Whether it obeys this term.
    obeys: bool,
    /// Of which counters it used no base share when it had not heard of this term.
    before: Apart,
}

/// Which shares an incarnation uses, as its report says.
#[derive(Debug, Clone)]
struct Echo {
    base: BaseShares,
    apart: Apart,
    /// Those of counters of which it uses another, in order.
    own: Vec<(CounterId, Share)>,
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
    /// Who may use which share of counters that have shares of their own; of others all use their base shares.
    books: BTreeMap<CounterId, Book>,
    /// Counters that have to be looked at in the next round: something was counted, not everyone knows all of it, or shares are
    /// dealt. While nobody uses a counter, and all know how it stands, it costs nothing.
    busy: BTreeSet<CounterId>,
    /// Those of what is under way at a time.
    at_a_time: BTreeSet<CounterId>,
    /// The last counter of which it was looked at whether something of it can be forgotten; `None`: all were.
    looked_at: Option<CounterId>,
    /// Counters of which an earlier term has dealt shares of their own, as gateways echo it: somebody who has not been heard of in
    /// this one may use most of one. Nobody is told meanwhile that its base share of them is its own.
    inherited: Apart,
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
        self.books.clear();
        if term > 1 {
            self.tallies.values_mut().for_each(Tally::inherit);
        }
        self.busy = self.tallies.keys().copied().collect();
        self.inherited = Apart::default();
        let mut echoes = Vec::with_capacity(self.members.len());
        for (incarnation, member) in &mut self.members {
            member.obeys = false;
            member.before.clone_from(&member.echo.apart);
            if !member.leaving {
                echoes.push((*incarnation, member.echo.clone()));
            }
        }
        for (from, echo) in echoes {
            self.adopt(from, &echo);
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
        if member.is_some_and(|it| it.number >= report.number) {
            return;
        }
        let heard = report.heard.map_or(0, |heard| heard.term);
        // Somebody else has taken office since.
        self.office = self.office.filter(|office| office.term >= heard);
        let term = self.office.map_or(0, |office| office.term);
        let obeyed = report.heard.filter(|heard| heard.term == term);
        // In the first term there is no earlier one.
        let is_earlier = obeyed.is_none() && term > 1;
        // What has changed since it was told of anything, nobody knows.
        let is_back = !member.is_some_and(|it| it.listens(now));
        let mut inherited = Vec::new();
        for row in &report.rows {
            let tally = self.tallies.entry(row.counter).or_insert_with(|| {
                if self.inherited[row.counter.period.index()].holds(&row.counter) {
                    inherited.push(row.counter);
                }
                Tally::default()
            });
            let is_news = tally.merge(from, report.number, row, is_earlier) || is_back;
            if is_news && self.office.is_some() {
                self.busy.insert(row.counter);
            }
            if row.counter.period.is_at_a_time() {
                self.at_a_time.insert(row.counter);
            }
        }
        let before = match self.members.get_mut(&from) {
            _ if is_earlier => report.apart.clone(),
            Some(member) => std::mem::take(&mut member.before),
            None => Apart::default(),
        };
        self.members.insert(
            from,
            Member {
                number: report.number,
                sent_at: report.sent_at,
                leaving: report.leaving,
                echo: Echo::of(report),
                received_at: now,
                obeys: obeyed.is_some(),
                before,
            },
        );
        if self.office.is_none() {
            return;
        }
        inherited.into_iter().for_each(|id| self.give_book(id));
        if report.leaving {
            self.books().for_each(|book| book.release(from));
            return;
        }
        self.books().for_each(|book| book.heard(from));
        match obeyed {
            Some(heard) => self
                .books()
                .for_each(|book| book.confirm(from, heard.number)),
            None if is_earlier => self.adopt(from, &Echo::of(report)),
            // It has heard of no term, and uses nothing that was dealt.
            None => {}
        }
    }

    /// Takes over the shares that an incarnation has from an earlier term.
    fn adopt(&mut self, from: Incarnation, echo: &Echo) {
        for (book, share) in self.base.iter_mut().zip(echo.base) {
            book.adopt(from, share);
        }
        for (all, more) in self.inherited.iter_mut().zip(&echo.apart) {
            all.add_all(more);
        }
        let own = echo.own.iter().map(|(id, _)| *id);
        let mut own: Vec<CounterId> = own.collect();
        if !echo.apart.iter().all(Marks::is_empty) {
            own.extend(self.tallies.keys().filter(|id| echo.is_apart(id)));
        }
        own.into_iter().for_each(|id| self.give_book(id));
        for (id, book) in &mut self.books {
            book.adopt(from, echo.share(id));
        }
    }

    /// Makes a counter one with shares of its own: at first everyone's are the base shares. But of one that had its own in an
    /// earlier term they are what the gateways say; those that obey this one already, and say that they have none, have not been
    /// told of any.
    fn give_book(&mut self, id: CounterId) {
        if self.books.contains_key(&id) || !self.tallies.contains_key(&id) {
            return;
        }
        let at = id.period.index();
        let mut book = self.base[at].clone();
        let term = self.office.map_or(0, |office| office.term);
        let is_inherited = self.inherited[at].holds(&id);
        let members = self.members.iter().filter(|(_, it)| !it.leaving);
        for (incarnation, member) in members.filter(|_| term > 1) {
            let share = member.echo.share(&id);
            if !member.obeys {
                book.adopt(*incarnation, share);
                continue;
            }
            if is_inherited && share == Share::NONE {
                book.has_nothing(*incarnation);
            }
            if member.before[at].holds(&id) {
                book.inherits_nothing(*incarnation);
            }
        }
        self.books.insert(id, book);
        self.busy.insert(id);
    }

    fn books(&mut self) -> impl Iterator<Item = &mut Book> {
        self.base.iter_mut().chain(self.books.values_mut())
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
        let full = self.deal(office, now, wall);
        let adopting = office.is_adopting(now);
        let apart = self.apart();
        let mut rows = self.rows(now, &apart, &full);
        let listening = self.members.iter().filter(|(_, it)| it.listens(now));
        listening
            .map(|(incarnation, member)| Broadcast {
                id: BroadcastId {
                    term: office.term,
                    number: office.broadcasts,
                },
                to: *incarnation,
                includes: member.number,
                sent_at: member.sent_at,
                adopting,
                base: self.base_shares(*incarnation),
                apart: apart.clone(),
                full: full.clone(),
                rows: rows.remove(incarnation).unwrap_or_default(),
            })
            .collect()
    }

    fn base_shares(&self, to: Incarnation) -> BaseShares {
        std::array::from_fn(|at| self.base[at].share(to))
    }

    /// The counters with shares of their own, and those that may have been given some before this term.
    fn apart(&self) -> Apart {
        let mut many = [0; Period::ALL.len()];
        for id in self.books.keys() {
            many[id.period.index()] += 1;
        }
        let mut apart = many.map(Marks::with_room_for);
        for id in self.books.keys() {
            apart[id.period.index()].add(id);
        }
        for (marks, inherited) in apart.iter_mut().zip(&self.inherited) {
            marks.add_all(inherited);
        }
        apart
    }

    /// What each gateway is told of the counters that it has, as far as it does not say that it knows it. Of counters that have shares
    /// of their own, it is always told; and as long as it may take one for used up that is not (`full`: those that are).
    fn rows(
        &mut self,
        now: Steady,
        apart: &Apart,
        full: &Full,
    ) -> BTreeMap<Incarnation, Vec<BroadcastRow>> {
        let listening = self.members.iter().filter(|(_, it)| it.listens(now));
        let mut rows: BTreeMap<Incarnation, Vec<BroadcastRow>> = listening
            .map(|(incarnation, _)| (*incarnation, Vec::new()))
            .collect();
        let (tallies, books, base) = (&self.tallies, &self.books, &self.base);
        self.busy.retain(|id| {
            let Some(tally) = tallies.get(id) else {
                return false;
            };
            let (book, at) = (books.get(id), id.period.index());
            // Without a row, it would take the share for none.
            let is_marked = apart[at].holds(id);
            let totals = tally.totals();
            let mut is_busy = book.is_some();
            for (to, part) in &tally.parts {
                is_busy |= part.demand() > 0;
                let is_told = book.is_some()
                    || (is_marked && part.demand() > 0)
                    || !part.knows(&totals)
                    || part.may_presume(id, full);
                let Some(rows) = rows.get_mut(to).filter(|_| is_told) else {
                    continue;
                };
                is_busy = true;
                let base = is_marked.then(|| base[at].share(*to));
                rows.push(BroadcastRow {
                    counter: *id,
                    most: tally.most,
                    share: book.map(|book| book.share(*to)).or(base),
                    slots: part.tell(&totals),
                });
            }
            is_busy
        });
        rows
    }

    /// Deals out the shares; returns the counters of which nothing is left.
    fn deal(&mut self, office: Office, now: Steady, wall: Timestamp) -> Full {
        let round = Round::new(office, &self.members, now, wall);
        for (book, period) in self.base.iter_mut().zip(Period::ALL) {
            round.deal(book, period, |_| Some(round.equal));
        }
        for (marks, period) in self.inherited.iter_mut().zip(Period::ALL) {
            if round.nothing_unheard_is_left(period) {
                *marks = Marks::default();
            }
        }
        let (mut contended, mut full) = (Vec::new(), Vec::new());
        for id in &self.busy {
            let Some(tally) = self.tallies.get_mut(id) else {
                continue;
            };
            tally.parts.values_mut().for_each(Part::age);
            let used = tally.used(id.period, id.period.slot_at(wall));
            let is_contended = tally.is_contended(used);
            if used >= tally.most {
                full.push(*id);
            }
            let at = id.period.index();
            let base = &self.base[at];
            let Some(book) = self.books.get_mut(id) else {
                if is_contended {
                    contended.push(*id);
                }
                continue;
            };
            if is_contended {
                round.deal(book, id.period, round.by_demand(tally));
                continue;
            }
            round.deal(book, id.period, |it| Some(base.share(it).parts()));
            // Of one with inherited shares only its book knows who has which.
            if !self.inherited[at].holds(id) && book.agrees_with(base) {
                self.books.remove(id);
            }
        }
        // This broadcast tells whoever has them the base share as its own, and all others that they have none; the next ones
        // change it.
        for id in contended {
            self.give_book(id);
            if let (Some(tally), Some(book)) = (self.tallies.get(&id), self.books.get_mut(&id)) {
                let round = Round::new(office, &self.members, now, wall);
                let has_it = |it: &Incarnation| tally.parts.contains_key(it);
                round.deal(book, id.period, |it| (!has_it(&it)).then_some(0));
            }
        }
        Full::of(&full)
    }

    /// Forgets what counts no more, and whoever left or has been silent until nothing was left to it.
    fn forget(&mut self, now: Steady, wall: Timestamp) {
        self.free_what_is_held_no_more(now);
        self.forget_some(now, wall);
        let uses = |it: &Incarnation| {
            let mut books = self.base.iter().chain(self.books.values());
            books.any(|book| book.is_used_by(*it))
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

    /// Forgets what counts no more, of some counters each time.
    fn forget_some(&mut self, now: Steady, wall: Timestamp) {
        let members = &self.members;
        // Of a counter at which it has counted nothing yet, a gateway is told as well.
        let has_it = |it: &Incarnation, told: u64| {
            let member = members.get(it);
            member.is_some_and(|it| it.number == told && it.listens(now))
        };
        let some = (self.tallies.len() / FORGETS_IN).max(FORGETS_AT_LEAST);
        let after = self.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let mut next = self.tallies.range_mut((after, Bound::Unbounded));
        let (mut gone, mut last) = (Vec::new(), None);
        for (id, tally) in next.by_ref().take(some) {
            tally.forget(id.period, id.period.slot_at(wall), has_it);
            if tally.parts.is_empty() && !self.books.contains_key(id) {
                gone.push(*id);
            }
            last = Some(*id);
        }
        self.looked_at = next.next().and(last);
        for id in gone {
            self.tallies.remove(&id);
            self.at_a_time.remove(&id);
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
            member.is_some_and(|it| is_heard(it) && it.number == told)
        };
        let since = self.office.map(|office| office.since);
        let is_settled = since.is_some_and(|since| now.us_since(since) > HELD_US);
        for id in &self.at_a_time {
            let Some(tally) = self.tallies.get_mut(id) else {
                continue;
            };
            let parts = tally.parts.len();
            tally.parts.retain(|it, part| holds(it, part.told));
            let is_freed = is_settled && tally.disinherit();
            let is_news = is_freed || tally.parts.len() < parts;
            if is_news && self.office.is_some() {
                self.busy.insert(*id);
            }
            if let Some(book) = self.books.get_mut(id) {
                if is_settled {
                    book.disinherit();
                }
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

    /// How the counters of one rule stand.
    pub fn standings_of(
        &self,
        rule: EntryId,
        wall: Timestamp,
    ) -> impl Iterator<Item = (CounterId, Standing)> {
        // They lie together, since ids are compared by their rules first.
        let first = CounterId {
            rule,
            measure: Measure::Requests,
            period: Period::SlidingMinute,
            segment: [0; 16],
        };
        let from = self.tallies.range(first..);
        let of_rule = from.take_while(move |(id, _)| id.rule == rule);
        of_rule.map(move |(id, tally)| (*id, tally.standing(id.period, wall)))
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
        !self.leaving && now.us_since(self.received_at) <= SHARE_LIFETIME_US
    }

    /// Whether it is told anything.
    const fn listens(&self, now: Steady) -> bool {
        !self.leaving && now.us_since(self.received_at) <= FORGOTTEN_US
    }
}

// === impl Office ===

impl Office {
    /// Whether gateways that obeyed the term before may not have been heard of yet.
    const fn is_adopting(&self, now: Steady) -> bool {
        self.term > 1 && now.us_since(self.since) < SHARE_LIFETIME_US
    }
}

// === impl Echo ===

impl Echo {
    fn of(report: &Report) -> Self {
        let mut echo = Self {
            base: report.base,
            apart: report.apart.clone(),
            own: Vec::new(),
        };
        let rows = report.rows.iter().map(|row| (row.counter, row.share));
        let own = rows.filter(|(id, share)| *share != echo.without_row(id));
        let mut own: Vec<(CounterId, Share)> = own.collect();
        own.sort_unstable_by_key(|(id, _)| *id);
        echo.own = own;
        echo
    }

    /// Whether its base share of a counter is none.
    fn is_apart(&self, id: &CounterId) -> bool {
        self.apart[id.period.index()].holds(id)
    }

    fn without_row(&self, id: &CounterId) -> Share {
        if self.is_apart(id) {
            Share::NONE
        } else {
            self.base[id.period.index()]
        }
    }

    /// The share that it uses of a counter.
    fn share(&self, id: &CounterId) -> Share {
        match self.own.binary_search_by_key(id, |(own, _)| *own) {
            Ok(at) => self.own[at].1,
            Err(_) => self.without_row(id),
        }
    }
}

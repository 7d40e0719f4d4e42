//! Who lends: two workers, of whom one is in office, and where they write down what they lend. A record is written only in place
//! of the one that its writer knows; whoever is refused begins anew with what is written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    Message, STEP_US, World, incarnation, life_of,
    truth::{nothing_is_lent_to_the_silent, only_what_is_left_is_lent, what_is_spent_is_committed},
};
use crate::{
    limits::{
        lease::{BudgetId, BudgetRecord, LEASE_LIFETIME_US, Leases, Purses, Treasury},
        message::Steady,
    },
    sim::truth::Breach,
};

/// How often it is looked whether something else counts beside what gateways spend.
const LOOK: u64 = 40;

/// What is written down, each with its number.
#[derive(Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<BudgetId, (u64, BudgetRecord)>,
    last: u64,
}

/// One of those who may be in office.
#[derive(Debug, Default)]
pub(super) struct Centre {
    pub(super) session: Option<Session>,
    /// When it begins, if it is in office then.
    begins_at: u64,
    /// Until when it believes to be in office.
    pub(super) until: Option<u64>,
}

/// From the beginning with what is written down until something goes wrong.
#[derive(Debug)]
pub(super) struct Session {
    number: u64,
    pub(super) treasury: Treasury,
    began_at: u64,
    heard: BTreeMap<u32, (u64, Steady)>,
    /// How much a budget is, as each gateway said last, and when.
    said: BTreeMap<BudgetId, BTreeMap<u32, (u64, Steady)>>,
    /// The most that anybody said.
    said_most: BTreeMap<BudgetId, u64>,
    /// Those whose leases were written down, who have reported, or whom the ledger has named.
    pub(super) known: BTreeMap<BudgetId, BTreeSet<u32>>,
    sequences: BTreeMap<BudgetId, u64>,
    /// What the ledger is to be asked for, and since when.
    pub(super) unasked: BTreeMap<BudgetId, u64>,
    /// Of which nothing is lent until it has answered.
    pub(super) awaited: BTreeSet<BudgetId>,
    pub(super) is_asking: bool,
    pub(super) ask_again: Vec<BudgetId>,
    pub(super) ask_at: u64,
    /// How many adjustments it knows of.
    adjusted: usize,
}

/// A worker's session.
pub(super) type Whose = (usize, u64);

// === impl Session ===

impl Session {
    pub(super) const fn steady(&self, step: u64) -> Steady {
        Steady((step - self.began_at) * STEP_US)
    }

    /// The least that a gateway which is heard knows a budget to be; where none that is heard knows, the most that any said.
    fn least(&self, budget: &BudgetId, now: Steady) -> u64 {
        let said = self.said.get(budget).into_iter().flat_map(BTreeMap::values);
        let heard = said.filter(|(most, at)| *most > 0 && now.us_since(*at) <= LEASE_LIFETIME_US);
        let least = heard.map(|(most, _)| *most).min();
        least
            .or_else(|| self.said_most.get(budget).copied())
            .unwrap_or(0)
    }

    /// The ledger is to be asked about a budget, also if it is being asked: that answer may be older.
    fn ask_about(&mut self, budget: BudgetId, step: u64) {
        if self.is_asking {
            self.ask_again.push(budget);
        }
        self.unasked.entry(budget).or_insert(step);
    }

    /// Whether it has heard of whoever has spent of a budget.
    pub(super) fn knows(&self, budget: &BudgetId, mut these: impl Iterator<Item = u32>) -> bool {
        let known = self.known.get(budget);
        these.all(|life| known.is_some_and(|known| known.contains(&life)))
    }

    pub(super) fn knows_one_of(&self, budget: &BudgetId, these: &BTreeSet<u32>) -> bool {
        let known = self.known.get(budget);
        known.is_some_and(|known| !known.is_disjoint(these))
    }

    /// Whether something is lent to a gateway from which nothing has been heard for the lifetime of a lease.
    fn lends_to_silent(&self, record: &BudgetRecord, ended: &BTreeSet<u32>, now: Steady) -> bool {
        let said = self.said.get(&record.budget);
        record.leases.iter().any(|(whose, lease)| {
            let told = self.treasury.lease(*whose, &record.budget);
            let is_more = lease.ceiling > told.map_or(0, |it| it.ceiling);
            let life = life_of(*whose).filter(|life| is_more && !ended.contains(life));
            life.is_some_and(|life| {
                let said = said.and_then(|said| said.get(&life));
                said.is_none_or(|(_, at)| now.us_since(*at) > LEASE_LIFETIME_US)
            })
        })
    }

    fn leases(&self, to: u32, which: Option<&BudgetId>, step: u64) -> Leases {
        let (includes, sent_at) = self.heard.get(&to).copied().unwrap_or_default();
        let rows = self.treasury.leases(incarnation(to), self.steady(step));
        let rows = rows.filter(|row| which.is_none_or(|it| row.budget == *it));
        Leases {
            to: incarnation(to),
            includes,
            sent_at,
            rows: rows.collect(),
        }
    }
}

impl World<'_> {
    pub(super) fn session(&mut self, (centre, number): Whose) -> Option<&mut Session> {
        let session = self.centres[centre].session.as_mut();
        session.filter(|it| it.number == number)
    }

    /// The other takes office; this one learns of it a little later.
    pub(super) fn end_office(&mut self) {
        let late = self.dice.between(0, 40);
        self.centres[self.holder].until = Some(self.step + late);
        self.holder = (self.holder + 1) % self.centres.len();
        let begins = self.dice.between(1, 20);
        let next = &mut self.centres[self.holder];
        (next.until, next.begins_at) = (None, self.step + begins);
        next.session = None;
    }

    fn ends(&mut self, centre: usize) {
        let pause = self.dice.between(1, 20);
        let centre = &mut self.centres[centre];
        (centre.session, centre.begins_at) = (None, self.step + pause);
    }

    /// All that is written down is lost.
    pub(super) fn wipe(&mut self) {
        self.store.records.clear();
        for of in self.truth.values_mut() {
            for it in of.lives.values_mut() {
                it.ceiling_lost = it.may_spend();
            }
        }
    }

    /// Begins, ends, and does what is to be done from time to time.
    pub(super) fn look_after(&mut self, centre: usize) -> Result<(), Breach> {
        let (step, is_in_office) = (self.step, centre == self.holder);
        let it = &mut self.centres[centre];
        if it.until.is_some_and(|until| until <= step) {
            it.session = None;
        }
        if it.session.is_none() && is_in_office && it.begins_at <= step {
            self.begin(centre);
        }
        let Some(session) = &mut self.centres[centre].session else {
            return Ok(());
        };
        let number = session.number;
        let whose = (centre, number);
        if step.is_multiple_of(LOOK) && session.adjusted < self.adjusted.len() {
            // Of what counts something else now nothing is lent until it is known how much that is.
            let awaits = self.adjusted[session.adjusted..].contains(&true);
            session.adjusted = self.adjusted.len();
            let known: Vec<BudgetId> = session.treasury.budgets().copied().collect();
            for budget in known {
                if awaits {
                    session.treasury.await_ledger(&budget);
                    session.awaited.insert(budget);
                }
                session.ask_about(budget, step);
            }
        }
        self.give_up(whose);
        self.settle_the_dead(whose);
        self.plan(whose)
    }

    fn begin(&mut self, centre: usize) {
        self.sessions += 1;
        let records = self.store.records.iter();
        let sequences = records
            .clone()
            .map(|(budget, (number, _))| (*budget, *number));
        let unasked = records.clone().map(|(budget, _)| (*budget, self.step));
        let known = records.clone().map(|(budget, (_, record))| {
            let leases = record.leases.iter();
            (*budget, leases.filter_map(|(it, _)| life_of(*it)).collect())
        });
        let restored = records.map(|(_, (_, record))| record.clone());
        self.centres[centre].session = Some(Session {
            number: self.sessions,
            treasury: Treasury::restore(restored, Steady(0)),
            began_at: self.step,
            heard: BTreeMap::new(),
            said: BTreeMap::new(),
            said_most: BTreeMap::new(),
            known: known.collect(),
            sequences: sequences.collect(),
            unasked: unasked.collect(),
            awaited: BTreeSet::new(),
            is_asking: false,
            ask_again: Vec::new(),
            ask_at: self.step,
            adjusted: self.adjusted.len(),
        });
    }

    /// A gateway has reported: it is answered.
    pub(super) fn take(
        &mut self,
        centre: usize,
        life: u32,
        report: &Rc<Purses>,
    ) -> Result<(), Breach> {
        let step = self.step;
        let Some(session) = &mut self.centres[centre].session else {
            return Ok(());
        };
        let now = session.steady(step);
        let last = session.heard.get(&life).map_or(0, |(number, _)| *number);
        if report.number <= last {
            return Ok(());
        }
        session.heard.insert(life, (report.number, report.sent_at));
        for row in &report.rows {
            if session.treasury.merge(report.incarnation, row, now) {
                session.unasked.insert(row.budget, step);
                session.awaited.insert(row.budget);
            }
            let said = session.said.entry(row.budget).or_default();
            said.insert(life, (row.most, now));
            let most = session.said_most.entry(row.budget).or_default();
            *most = row.most.max(*most);
            session.known.entry(row.budget).or_default().insert(life);
        }
        let whose = (centre, session.number);
        self.plan(whose)?;
        if let Some(session) = self.session(whose) {
            let leases = session.leases(life, None, step);
            self.tell(life, &leases);
        }
        Ok(())
    }

    fn tell(&mut self, life: u32, leases: &Leases) {
        let node = self.nodes.iter().position(|node| node.life == life);
        if let Some(at) = node {
            self.send(|| Message::Leases(at, leases.clone()));
        }
    }

    /// Plans what is to be lent, begins to write it down, and asks the ledger.
    fn plan(&mut self, whose: Whose) -> Result<(), Breach> {
        let step = self.step;
        let Some(session) = self.session(whose) else {
            return Ok(());
        };
        let now = session.steady(step);
        let before = session.treasury.budgets();
        let before = before.map(|it| (*it, session.treasury.committed(it)));
        let before: BTreeMap<BudgetId, u64> = before.collect();
        for record in session.treasury.plan(now) {
            let Some(session) = &self.centres[whose.0].session else {
                break;
            };
            let budget = record.budget;
            let (before, after) = (before[&budget], session.treasury.committed(&budget));
            let most = session.least(&budget, now);
            let awaits = session.awaited.contains(&budget);
            let expected = session.sequences.get(&budget).copied();
            let to_silent = session.lends_to_silent(&record, &self.ledger.ended, now);
            let verdict = only_what_is_left_is_lent(before, after, most, awaits);
            self.check("only_what_is_left_is_lent", verdict)?;
            let verdict = nothing_is_lent_to_the_silent(&record, to_silent);
            self.check("nothing_is_lent_to_the_silent", verdict)?;
            self.send_surely(Message::Write(whose, expected, record));
        }
        self.ask_the_ledger(whose);
        Ok(())
    }

    /// A record reaches the store.
    pub(super) fn write(&mut self, whose: Whose, expected: Option<u64>, record: BudgetRecord) {
        let stands = self.store.records.get(&record.budget);
        let is_known = stands.map(|(number, _)| *number) == expected;
        let mut number = None;
        if is_known {
            self.store.last += 1;
            number = Some(self.store.last);
            for (whose, lease) in &record.leases {
                // What counts as spent beside stands there as well.
                if let Some(life) = life_of(*whose) {
                    self.spent(life, &record.budget).ceiling = lease.ceiling;
                }
            }
            let stands = (self.store.last, record.clone());
            self.store.records.insert(record.budget, stands);
        }
        // That it is written may not be heard of.
        let is_unheard = !self.is_calm && self.dice.per_mille(10);
        let heard = number.filter(|_| !is_unheard);
        self.send_surely(Message::Written(whose, heard, record));
    }

    /// The store has answered: those whose leases are written down are told.
    pub(super) fn written(&mut self, whose: Whose, number: Option<u64>, record: &BudgetRecord) {
        let step = self.step;
        let Some(session) = self.session(whose) else {
            return;
        };
        let Some(number) = number else {
            return self.ends(whose.0);
        };
        session.sequences.insert(record.budget, number);
        session.treasury.written(record);
        let concerned = record.leases.iter().filter_map(|(it, _)| life_of(*it));
        let concerned = concerned.filter(|life| session.heard.contains_key(life));
        let told = concerned.map(|life| (life, session.leases(life, Some(&record.budget), step)));
        let told: Vec<(u32, Leases)> = told.collect();
        told.iter()
            .for_each(|(life, leases)| self.tell(*life, leases));
    }

    /// How budgets are said to stand.
    pub(super) fn standings_hold(&self) -> Result<(), Breach> {
        let session = self.centres[self.holder].session.as_ref();
        let standings = session
            .into_iter()
            .flat_map(|it| it.treasury.standings(it.steady(self.step)));
        for (_, standing) in standings {
            let verdict = what_is_spent_is_committed(standing.committed, standing.spent);
            self.check("what_is_spent_is_committed", verdict)?;
        }
        Ok(())
    }
}

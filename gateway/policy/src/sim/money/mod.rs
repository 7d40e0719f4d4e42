//! Budgets of money among gateways that come, go, are killed and cut off, with treasuries that die between planning a lease and
//! writing it down, or that go on for a while when another is in office. Gateways, treasuries and what they say to each other are
//! the code that runs elsewhere; the network, what is written down, and the ledger of requests are simulated.
//!
//! - `setup`: what is simulated. `truth`: what was spent, and the properties. `gateways`, `office` and `ledger`: who talks.
//! - `requests`: what is asked of gateways.
//! - `calm`: the end, when nothing goes wrong any more.

mod calm;
mod gateways;
mod ledger;
mod office;
mod requests;
mod setup;
mod truth;

use std::{collections::BTreeMap, rc::Rc};

use events_schema::time::Timestamp;

pub use self::setup::{BudgetSetup, Carriage, Costs, MoneySetup, MoneyTrouble};
use self::{
    gateways::Node,
    ledger::{Ledger, Said, Sums},
    office::{Centre, Store, Whose},
    truth::{
        OfBudget, Spent, leases_and_spent_never_above_the_budget,
        nobody_spends_more_than_is_written_down,
    },
};
use super::{
    dice::Dice,
    truth::{Breach, Verdict},
    world::NEW_YEAR_US,
};
use crate::limits::{
    Measure,
    lease::{BudgetId, BudgetRecord, Leases, Purses},
    message::{CounterId, Incarnation},
};

/// The time of a step, in microseconds.
const STEP_US: u64 = 50_000;

/// How many there are who may be in office.
const CENTRES: usize = 2;

/// How a run ended in which everything held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoneyOutcome {
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// What was spent of the first budget in each of its windows, in nano-dollars.
    pub spent: Vec<u64>,
}

#[derive(Debug)]
enum Message {
    Start(usize),
    Learn(usize, u32, usize, u64),
    Report(usize, u32, Rc<Purses>),
    Leases(usize, Leases),
    Write(Whose, Option<u64>, BudgetRecord),
    Written(Whose, Option<u64>, BudgetRecord),
    Records(u32, Sums),
    Said(Whose, Vec<Said>),
    Dead(Whose, Vec<(BudgetId, u32, u64)>),
}

/// What happens at a time that was drawn beforehand.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Kill,
    CutOff,
    Join,
    Leave,
    EndOffice,
    Wipe,
    Silence,
    Adjust,
    Amount,
}

/// How a budget is now, and was.
#[derive(Debug, Clone, Copy)]
struct Now {
    most: u64,
    /// The most that it ever was.
    highest: u64,
    /// What counts as spent beside what gateways spend.
    beside: i64,
    /// The least that that ever was, or was taken for.
    least_beside: i64,
}

struct World<'s> {
    setup: &'s MoneySetup,
    dice: Dice,
    step: u64,
    due: BTreeMap<u64, Vec<Message>>,
    troubles: BTreeMap<u64, Vec<Trouble>>,
    nodes: Vec<Node>,
    lives: u32,
    /// Whose last records arrive when.
    late: Vec<(u64, u32)>,
    centres: Vec<Centre>,
    /// Which of them is in office.
    holder: usize,
    sessions: u64,
    store: Store,
    ledger: Ledger,
    now: Vec<Now>,
    /// Each change of what counts beside; whether nothing is lent until it is known.
    adjusted: Vec<bool>,
    truth: BTreeMap<BudgetId, OfBudget>,
    /// What requests ask for that are to be granted in time; 0: that one is.
    probes: Vec<u64>,
    on: usize,
    is_calm: bool,
    granted: u64,
    refused: u64,
}

/// Runs a simulation.
///
/// # Errors
/// The first property that does not hold.
pub fn run_money(setup: &MoneySetup) -> Result<MoneyOutcome, Breach> {
    let mut world = World::new(setup);
    while world.step < setup.steps {
        world.go_on()?;
    }
    world.calm_down()?;
    let of_first = world.truth.iter().filter(|(_, of)| of.at == 0);
    Ok(MoneyOutcome {
        granted: world.granted,
        refused: world.refused,
        spent: of_first.map(|(_, of)| of.settled()).collect(),
    })
}

/// The incarnation of a life, of which the first is 1.
fn incarnation(life: u32) -> Incarnation {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&life.to_be_bytes());
    Incarnation(id)
}

/// Whose it is; `None`: no gateway's.
fn life_of(Incarnation(id): Incarnation) -> Option<u32> {
    let life = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
    (life > 0).then_some(life)
}

impl MoneySetup {
    /// The counter of a budget. Its rule's first byte is the budget's place.
    fn counter(&self, at: usize) -> CounterId {
        CounterId {
            rule: [u8::try_from(at).unwrap_or(0); 16],
            measure: Measure::Cost,
            period: self.budgets[at].period,
            segment: [0; 16],
        }
    }
}

impl<'s> World<'s> {
    fn new(setup: &'s MoneySetup) -> Self {
        let now = setup.budgets.iter().map(|it| Now {
            most: it.most,
            highest: it.most,
            beside: it.before,
            least_beside: it.before,
        });
        let mut world = Self {
            setup,
            dice: Dice::new(setup.seed ^ 0x5eed),
            step: 0,
            due: BTreeMap::new(),
            troubles: BTreeMap::new(),
            nodes: Vec::new(),
            lives: 0,
            late: Vec::new(),
            centres: std::iter::repeat_with(Centre::default)
                .take(CENTRES)
                .collect(),
            holder: 0,
            sessions: 0,
            store: Store::default(),
            ledger: Ledger::default(),
            now: now.collect(),
            adjusted: Vec::new(),
            truth: BTreeMap::new(),
            probes: Vec::new(),
            on: 0,
            is_calm: false,
            granted: 0,
            refused: 0,
        };
        for _ in 0..setup.gateways {
            world.add_node();
        }
        world.draw_troubles();
        world
    }

    fn draw_troubles(&mut self) {
        let trouble = self.setup.trouble;
        let often = [
            (trouble.kills, Trouble::Kill),
            (trouble.cuts, Trouble::CutOff),
            (trouble.joins, Trouble::Join),
            (trouble.leaves, Trouble::Leave),
            (trouble.failovers, Trouble::EndOffice),
            (trouble.wipes, Trouble::Wipe),
            (trouble.silences, Trouble::Silence),
            (trouble.adjustments, Trouble::Adjust),
            (trouble.amounts, Trouble::Amount),
        ];
        for (times, what) in often {
            for _ in 0..times {
                let at = self.dice.between(1, self.setup.steps);
                self.troubles.entry(at).or_default().push(what);
            }
        }
    }

    fn wall(&self, skew_us: i64) -> Timestamp {
        let us = |steps: u64| i64::try_from(steps * STEP_US).unwrap_or(0);
        let since = us(self.step) - us(self.setup.before_new_year);
        Timestamp::MIN.plus_micros(NEW_YEAR_US + since + skew_us)
    }

    fn spent(&mut self, life: u32, budget: &BudgetId) -> &mut Spent {
        let of = self.truth.entry(*budget).or_default();
        of.at = usize::from(budget.counter.rule[0]);
        of.lives.entry(life).or_default()
    }

    // --- time

    fn go_on(&mut self) -> Result<(), Breach> {
        self.step += 1;
        for message in self.due.remove(&self.step).unwrap_or_default() {
            self.deliver(message)?;
        }
        if !self.is_calm {
            for trouble in self.troubles.remove(&self.step).unwrap_or_default() {
                self.happens(trouble);
            }
            self.requests()?;
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_alive {
                self.settle_what_ends(at);
                self.go_on_waiting(at)?;
                self.talk(at);
            }
        }
        self.bring_late_records();
        for centre in 0..CENTRES {
            self.look_after(centre)?;
        }
        self.everything_holds()
    }

    fn everything_holds(&self) -> Result<(), Breach> {
        for of in self.truth.values() {
            let Now {
                highest,
                least_beside,
                ..
            } = self.now[of.at];
            let most = highest.saturating_add_signed(least_beside.saturating_neg());
            let verdict = leases_and_spent_never_above_the_budget(most, of);
            self.check("leases_and_spent_never_above_the_budget", verdict)?;
            for (life, spent) in &of.lives {
                let verdict = nobody_spends_more_than_is_written_down(*life, spent);
                self.check("nobody_spends_more_than_is_written_down", verdict)?;
            }
        }
        self.standings_hold()
    }

    fn check(&self, property: &'static str, verdict: Verdict) -> Result<(), Breach> {
        verdict.map_err(|numbers| Breach {
            property,
            at_us: self.step * STEP_US,
            numbers,
        })
    }

    fn happens(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Kill => self.kill(),
            Trouble::CutOff => self.cut_off(),
            Trouble::Join => drop(self.add_node()),
            Trouble::Leave => self.leave(),
            Trouble::EndOffice => self.end_office(),
            Trouble::Wipe => self.wipe(),
            Trouble::Silence => {
                self.ledger.silent_until = self.step + self.dice.between(20, 200);
            }
            Trouble::Adjust => self.adjust(),
            Trouble::Amount => self.change_amount(),
        }
    }

    /// Prices are corrected, or a budget counts something else.
    fn adjust(&mut self) {
        let at = self.dice.place(self.now.len());
        let now = &mut self.now[at];
        let by = self.dice.between(0, now.most + 1);
        let by = i64::try_from(by).unwrap_or(0) - i64::try_from(now.most / 2).unwrap_or(0);
        (now.beside, now.least_beside) = (by, now.least_beside.min(by));
        let awaits = self.dice.per_mille(500);
        self.adjusted.push(awaits);
    }

    /// A budget is raised, or lowered, and gateways learn of it one after another.
    fn change_amount(&mut self) {
        let at = self.dice.place(self.now.len());
        let most = self.now[at].most;
        let most = self.dice.between(most / 4, 2 * most).max(1);
        let now = &mut self.now[at];
        (now.most, now.highest) = (most, now.highest.max(most));
        for node in 0..self.nodes.len() {
            let late = self.dice.between(1, 100);
            let life = self.nodes[node].life;
            self.after(late, Message::Learn(node, life, at, most));
        }
    }

    fn learn(&mut self, at: usize, life: u32, budget: usize, most: u64) {
        let node = &mut self.nodes[at];
        if node.life != life {
            return;
        }
        // Of several changes the last holds; whoever is cut off learns of it afterwards.
        if node.cut_until > self.step {
            let after = node.cut_until - self.step;
            self.after(after, Message::Learn(at, life, budget, most));
        } else if most == self.now[budget].most {
            node.most[budget] = most;
        }
    }

    // --- messages

    fn after(&mut self, steps: u64, message: Message) {
        let due = self.due.entry(self.step + steps).or_default();
        due.push(message);
    }

    /// Sends what may be lost, and may arrive twice.
    fn send(&mut self, message: impl Fn() -> Message) {
        let carriage = self.setup.carriage;
        if self.is_calm {
            return self.send_surely(message());
        }
        if self.dice.per_mille(carriage.lost_per_mille) {
            return;
        }
        if self.dice.per_mille(carriage.doubled_per_mille) {
            self.send_surely(message());
        }
        self.send_surely(message());
    }

    fn send_surely(&mut self, message: Message) {
        let slowest = if self.is_calm {
            1
        } else {
            self.setup.carriage.slowest
        };
        let after = self.dice.between(1, slowest + 1);
        self.after(after, message);
    }

    fn deliver(&mut self, message: Message) -> Result<(), Breach> {
        match message {
            Message::Start(at) => self.start(at),
            Message::Learn(at, life, budget, most) => self.learn(at, life, budget, most),
            Message::Report(centre, life, report) => return self.take(centre, life, &report),
            Message::Leases(at, leases) => self.hear(at, &leases),
            Message::Write(whose, expected, record) => self.write(whose, expected, record),
            Message::Written(whose, number, record) => self.written(whose, number, &record),
            Message::Records(life, sums) => self.ledger.arrived(life, sums, false),
            Message::Said(whose, said) => self.ledger_said(whose, said),
            Message::Dead(whose, dead) => self.records_arrived(whose, &dead),
        }
        Ok(())
    }
}

//! A budget of money among gateways that are killed and cut off, with treasuries that die between planning a lease and
//! writing it down. Costs are known beforehand: nothing may be spent above the budget.

use std::collections::BTreeMap;

use super::{
    dice::Dice,
    truth::{Breach, leases_and_spent_never_above_the_budget},
};
use crate::limits::{
    Measure,
    lease::{BudgetId, BudgetRecord, Lease, Purse, PurseReport, PurseRow, Treasury},
    message::{CounterId, Incarnation, Steady},
    period::{Period, SlotNumber},
};

/// The time of a step, in microseconds.
const STEP_US: u64 = 50_000;

/// After how many steps the records of a dead gateway have arrived.
const RECORDS_AFTER: u64 = 300;

const BUDGET: BudgetId = BudgetId {
    counter: CounterId {
        rule: [1; 16],
        measure: Measure::Cost,
        period: Period::Month,
        segment: [0; 16],
    },
    slot: SlotNumber(0),
};

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoneySetup {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many gateways there are.
    pub gateways: usize,
    /// The budget, in nano-dollars.
    pub most: u64,
    /// Each request costs from one nano-dollar to this.
    pub cost_max: u64,
    /// How many steps of 50 ms there are.
    pub steps: u64,
    /// Requests in each step, over all gateways.
    pub requests: u64,
    /// How many of a thousand messages are lost.
    pub lost_per_mille: u64,
    /// How many steps a message or a write takes at most.
    pub slowest: u64,
    /// In how many of a thousand steps a gateway is killed.
    pub kills_per_mille: u64,
    /// In how many of a thousand steps the treasury dies.
    pub deaths_per_mille: u64,
}

/// How a run ended in which everything held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoneyOutcome {
    /// The budget, in nano-dollars.
    pub most: u64,
    /// What was spent.
    pub spent: u64,
    /// Requests that were refused.
    pub refused: u64,
}

impl MoneySetup {
    /// Anything at all.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let cost_max = dice.choose(&[1, 30, 7_500_000]);
        Self {
            seed,
            gateways: 1 + dice.place(12),
            most: dice.between(cost_max, cost_max * 400),
            cost_max,
            steps: dice.between(200, 1_200),
            requests: dice.between(1, 6),
            lost_per_mille: dice.choose(&[0, 50, 500]),
            slowest: dice.choose(&[2, 10, 60]),
            kills_per_mille: dice.choose(&[0, 5, 40]),
            deaths_per_mille: dice.choose(&[0, 5, 40]),
        }
    }
}

#[derive(Debug, Clone)]
enum Message {
    Report(u32, u64, Steady, PurseReport),
    Write(u64, BudgetRecord),
    Lease(u32, Lease, Steady),
    Settle(u32, u64),
}

struct Node {
    purse: Purse,
    life: u32,
    reports: u64,
}

/// What was truly spent in a life, and when it ended.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    spent: u64,
    died_at: Option<u64>,
}

struct World {
    setup: MoneySetup,
    dice: Dice,
    step: u64,
    due: BTreeMap<u64, Vec<Message>>,
    nodes: Vec<Node>,
    lives: Vec<Life>,
    /// The gateways that are asked: the first of them, and how many after it. The others are idle, and give back.
    asked: (usize, usize),
    treasury: Treasury,
    /// The last report of each life: its number, and when it was sent.
    reports: BTreeMap<u32, (u64, Steady)>,
    term: u64,
    /// What is written down.
    written: Option<BudgetRecord>,
    refused: u64,
}

/// Runs a simulation.
///
/// # Errors
/// The first property that does not hold.
pub fn run_money(setup: MoneySetup) -> Result<MoneyOutcome, Breach> {
    let mut world = World {
        setup,
        dice: Dice::new(setup.seed ^ 0x5eed),
        step: 0,
        due: BTreeMap::new(),
        nodes: Vec::new(),
        lives: Vec::new(),
        asked: (0, setup.gateways),
        treasury: Treasury::default(),
        reports: BTreeMap::new(),
        term: 1,
        written: None,
        refused: 0,
    };
    for _ in 0..setup.gateways {
        let node = world.new_life();
        world.nodes.push(node);
    }
    while world.step < setup.steps {
        world.go_on();
        let committed = world.treasury.committed(&BUDGET);
        let most = setup.most;
        leases_and_spent_never_above_the_budget(most, committed, world.spent()).map_err(
            |numbers| Breach {
                property: "leases_and_spent_never_above_the_budget",
                at_us: world.step * STEP_US,
                numbers,
            },
        )?;
    }
    Ok(MoneyOutcome {
        most: setup.most,
        spent: world.spent(),
        refused: world.refused,
    })
}

fn incarnation(life: u32) -> Incarnation {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&life.to_be_bytes());
    Incarnation(id)
}

impl World {
    const fn now(&self) -> Steady {
        Steady((self.step + 1) * STEP_US)
    }

    fn spent(&self) -> u64 {
        self.lives.iter().map(|life| life.spent).sum()
    }

    fn new_life(&mut self) -> Node {
        self.lives.push(Life::default());
        Node {
            purse: Purse::default(),
            life: u32::try_from(self.lives.len() - 1).unwrap_or(0),
            reports: 0,
        }
    }

    fn send(&mut self, message: Message) {
        if !self.dice.per_mille(self.setup.lost_per_mille) {
            self.send_surely(message);
        }
    }

    fn send_surely(&mut self, message: Message) {
        let after = self.dice.between(1, self.setup.slowest + 1);
        self.due.entry(self.step + after).or_default().push(message);
    }

    fn go_on(&mut self) {
        self.step += 1;
        for message in self.due.remove(&self.step).unwrap_or_default() {
            self.deliver(message);
        }
        if self.dice.per_mille(5) {
            let many = self.nodes.len();
            self.asked = (self.dice.place(many), 1 + self.dice.place(many));
        }
        for _ in 0..self.setup.requests {
            self.request();
        }
        for at in 0..self.nodes.len() {
            self.report(at);
        }
        for record in self.treasury.plan(self.now()) {
            self.send_surely(Message::Write(self.term, record));
        }
        self.tell();
        if self.dice.per_mille(self.setup.kills_per_mille) {
            self.kill();
        }
        if self.dice.per_mille(self.setup.deaths_per_mille) {
            self.change_treasury();
        }
        self.bring_records();
    }

    fn request(&mut self) {
        let (first, many) = self.asked;
        let at = (first + self.dice.place(many)) % self.nodes.len();
        let cost = self.dice.between(1, self.setup.cost_max + 1);
        let now = self.now();
        let node = &mut self.nodes[at];
        if node.purse.reserve(cost, now).is_err() {
            self.refused += 1;
            return;
        }
        let life = node.life;
        self.lives[life as usize].spent += cost;
        self.send_surely(Message::Settle(life, cost));
    }

    fn report(&mut self, at: usize) {
        let now = self.now();
        let node = &mut self.nodes[at];
        node.reports += 1;
        let report = Message::Report(node.life, node.reports, now, node.purse.report(now));
        self.send(report);
    }

    fn tell(&mut self) {
        let told: Vec<Message> = self
            .reports
            .iter()
            .filter_map(|(life, (_, sent_at))| {
                let lease = self.treasury.lease(incarnation(*life), &BUDGET)?;
                Some(Message::Lease(*life, lease, *sent_at))
            })
            .collect();
        told.into_iter().for_each(|message| self.send(message));
    }

    fn deliver(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Report(life, number, sent_at, report) => {
                let last = self.reports.get(&life).map_or(0, |(number, _)| *number);
                if number > last {
                    self.reports.insert(life, (number, sent_at));
                    let row = PurseRow {
                        budget: BUDGET,
                        most: self.setup.most,
                        said: report,
                    };
                    if self.treasury.merge(incarnation(life), &row, now) {
                        // Nothing was written down, so nothing was spent before.
                        self.treasury.ledger_said(&BUDGET, [], now);
                    }
                }
            }
            // Another term writes nothing any more: the store compares and sets.
            Message::Write(term, record) if term == self.term => {
                self.treasury.written(&record);
                self.written = Some(record);
            }
            Message::Write(..) => {}
            Message::Lease(life, lease, sent_at) => {
                if let Some(node) = self.nodes.iter_mut().find(|node| node.life == life) {
                    node.purse.hear(lease, sent_at);
                }
            }
            Message::Settle(life, cost) => {
                if let Some(node) = self.nodes.iter_mut().find(|node| node.life == life) {
                    node.purse.settle(cost, cost);
                }
            }
        }
    }

    fn kill(&mut self) {
        let at = self.dice.place(self.nodes.len());
        let dead = self.nodes[at].life;
        self.lives[dead as usize].died_at = Some(self.step);
        self.nodes[at] = self.new_life();
    }

    /// The treasury dies; the next one begins with what is written down.
    fn change_treasury(&mut self) {
        self.term += 1;
        let now = self.now();
        self.treasury = Treasury::restore(self.written.clone(), now);
        self.reports.clear();
    }

    fn bring_records(&mut self) {
        let now = self.now();
        for (life, it) in self.lives.iter().enumerate() {
            let arrived = |died_at: u64| died_at + RECORDS_AFTER < self.step;
            if it.died_at.is_some_and(arrived) {
                let life = u32::try_from(life).unwrap_or(0);
                let spent = it.spent;
                // Those whose lease has not ended yet come again with the next step.
                let _ = self
                    .treasury
                    .records_arrived(incarnation(life), &BUDGET, spent, now);
            }
        }
    }
}

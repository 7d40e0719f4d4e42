//! The gateways: how they come and go, and what is reported and heard.

use std::rc::Rc;

use super::{
    Message, STEP_US, World, incarnation,
    requests::{Open, Pending},
};
use crate::limits::{
    lease::{LEASE_LIFETIME_US, Leases, Lender, Purses, Wallet},
    message::Steady,
};

/// In how many microseconds from its start a gateway expects the treasury's first answer.
const FIRST_ANSWER_US: u64 = 1_000_000;

/// In how many steps a gateway has its records sent.
const RECORDS_EVERY: u64 = 20;

/// A gateway, in one of its lives.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) wallet: Wallet,
    pub(super) life: u32,
    pub(super) is_alive: bool,
    pub(super) has_left: bool,
    /// Until which step it is cut off.
    pub(super) cut_until: u64,
    pub(super) skew_us: i64,
    /// What its steady clock is ahead of the steps: of no two lives it is the same.
    ahead_us: u64,
    began_at: Steady,
    /// When the last report was sent that was answered.
    heard_at: Option<Steady>,
    /// How often it was told something.
    pub(super) answers: u64,
    /// How much each budget is, as it knows it.
    pub(super) most: Vec<u64>,
    pub(super) waiting: Vec<Pending>,
    pub(super) open: Vec<Open>,
}

// === impl Node ===

impl Node {
    pub(super) const fn is_there(&self) -> bool {
        self.is_alive && !self.has_left
    }

    /// Whether a request waits that is to be granted in time.
    pub(super) fn is_waiting_for(&self, probe: usize) -> bool {
        self.waiting.iter().any(|it| it.probe == Some(probe))
    }

    pub(super) const fn steady(&self, step: u64) -> Steady {
        Steady(step * STEP_US + self.ahead_us)
    }

    pub(super) const fn lender(&self, now: Steady) -> Lender {
        let is_heard = match self.heard_at {
            None => now.us_since(self.began_at) <= FIRST_ANSWER_US,
            Some(heard) => now.us_since(heard) <= LEASE_LIFETIME_US,
        };
        if is_heard {
            Lender::Heard
        } else {
            Lender::Silent
        }
    }
}

impl World<'_> {
    // --- lives

    pub(super) fn add_node(&mut self) -> usize {
        let skew = self.setup.trouble.skew_us;
        let skew_us = i64::try_from(self.dice.between(0, 2 * skew + 1)).unwrap_or(0);
        let skew_us = skew_us - i64::try_from(skew).unwrap_or(0);
        let node = self.new_life(skew_us);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn new_life(&mut self, skew_us: i64) -> Node {
        self.lives += 1;
        let ahead_us = self.dice.between(0, 1 << 40);
        Node {
            wallet: Wallet::new(incarnation(self.lives)),
            life: self.lives,
            is_alive: true,
            has_left: false,
            cut_until: 0,
            skew_us,
            ahead_us,
            began_at: Steady(self.step * STEP_US + ahead_us),
            heard_at: None,
            answers: 0,
            most: self.now.iter().map(|it| it.most).collect(),
            waiting: Vec::new(),
            open: Vec::new(),
        }
    }

    /// A gateway that can be used; `None`: there is none.
    pub(super) fn any_there(&mut self) -> Option<usize> {
        let there = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_there());
        let there: Vec<usize> = there.collect();
        (!there.is_empty()).then(|| self.dice.choose(&there))
    }

    pub(super) fn kill(&mut self) {
        if let Some(at) = self.any_there() {
            self.dies(at);
            let down = self.dice.between(1, 60);
            self.after(down, Message::Start(at));
        }
    }

    pub(super) fn start(&mut self, at: usize) {
        if !self.nodes[at].has_left {
            self.nodes[at] = self.new_life(self.nodes[at].skew_us);
        }
    }

    /// What was under way ends with it: it costs what was answered until then. Its records arrive late, or never.
    fn dies(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let life = node.life;
        node.is_alive = false;
        node.waiting.clear();
        for open in std::mem::take(&mut node.open) {
            for budget in &open.budgets {
                self.spent(life, budget)
                    .settle(open.cost, open.actual.min(open.cost));
            }
        }
        if self.dice.between(0, 100) < self.setup.trouble.loses_records_pct {
            self.ledger.loses(life);
        } else {
            let late = self.dice.between(1, 300);
            self.late.push((self.step + late, life));
        }
    }

    /// It reports once more, with or without waiting for what is under way.
    pub(super) fn leave(&mut self) {
        let Some(at) = self.any_there().filter(|_| self.nodes.len() > 1) else {
            return;
        };
        let now = self.nodes[at].steady(self.step);
        if self.dice.per_mille(500) {
            let ended = std::mem::take(&mut self.nodes[at].open);
            ended.into_iter().for_each(|open| self.settle(at, &open));
        }
        let report = Rc::new(self.nodes[at].wallet.leave(now));
        self.send_report(at, &report);
        self.dies(at);
        self.nodes[at].has_left = true;
    }

    pub(super) fn cut_off(&mut self) {
        let until = self.step + self.dice.between(20, 400);
        for _ in 0..=self.dice.place(self.nodes.len()) {
            let at = self.dice.place(self.nodes.len());
            self.nodes[at].cut_until = until;
        }
    }

    // --- messages

    /// Reports when it is time to, and has its records sent.
    pub(super) fn talk(&mut self, at: usize) {
        let (wall, node) = (self.wall(self.nodes[at].skew_us), &mut self.nodes[at]);
        let nth = self.step + u64::from(node.life);
        if nth.is_multiple_of(self.setup.report_every) {
            node.wallet.sweep(wall, false);
            self.report(at);
        }
        let node = &self.nodes[at];
        if nth.is_multiple_of(RECORDS_EVERY) && node.cut_until <= self.step {
            let records = self.records_of(node.life);
            // Nothing of them is lost: they are kept until they have arrived.
            let after = self.dice.between(1, 40);
            self.after(after, records);
        }
    }

    pub(super) fn report(&mut self, at: usize) {
        let (step, node) = (self.step, &mut self.nodes[at]);
        let report = Rc::new(node.wallet.report(node.steady(step)));
        self.send_report(at, &report);
    }

    fn send_report(&mut self, at: usize, report: &Rc<Purses>) {
        if self.nodes[at].cut_until > self.step {
            return;
        }
        for centre in 0..self.centres.len() {
            let life = self.nodes[at].life;
            self.send(|| Message::Report(centre, life, Rc::clone(report)));
        }
    }

    pub(super) fn hear(&mut self, at: usize, leases: &Leases) {
        let node = &mut self.nodes[at];
        if node.cut_until > self.step || !node.is_alive {
            return;
        }
        if node.wallet.hear(leases) {
            node.heard_at = node.heard_at.max(Some(leases.sent_at));
        }
        node.answers += 1;
    }
}

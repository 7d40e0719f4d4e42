//! Requests at gateways: what is decided on them, and what they spend.

use super::{World, setup::Costs, truth::remaining_is_never_negative};
use crate::{
    limits::{
        admission::{Counters, Decision, Moment, Turn, decide},
        counter::{Counter, Reach},
        lease::{BudgetId, Purse, Role, Spending, Stands, Wallet, Wallets},
        message::Steady,
    },
    sim::{
        setup::Load,
        truth::{Breach, Verdict},
    },
};

/// For how many steps a request waits for a lease.
const WAITS: u64 = 10;

/// How many steps a request lasts at most.
const LASTS: u64 = 60;

/// How long bursts are apart, in steps.
const BURSTS: u64 = 80;

/// A request that may wait for its leases.
#[derive(Debug)]
pub(super) struct Pending {
    cost: u64,
    actual: u64,
    /// Which of those that are to be granted in time it is.
    pub(super) probe: Option<usize>,
    budgets: Vec<BudgetId>,
    since: Option<(u64, Steady)>,
    answers: u64,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Open {
    ends_at: u64,
    pub(super) cost: u64,
    pub(super) actual: u64,
    pub(super) budgets: Vec<BudgetId>,
}

/// What a request finds at a gateway: no limits, and a purse for each budget.
struct Found<'w> {
    wallet: &'w mut Wallet,
    purses: Vec<usize>,
    limits: Vec<Counter>,
}

impl Counters for Found<'_> {
    fn counter(&mut self, place: usize) -> &mut Counter {
        &mut self.limits[place]
    }
}

impl Wallets for Found<'_> {
    fn wallet(&mut self, place: usize) -> (&mut Wallet, usize) {
        (self.wallet, self.purses[place])
    }
}

impl World<'_> {
    /// The requests of a step.
    pub(super) fn requests(&mut self) -> Result<(), Breach> {
        let rate = self.setup.rate;
        let many = rate / 1_000 + u64::from(self.dice.per_mille(rate % 1_000));
        if self.setup.load == Load::Bursts {
            return self.burst();
        }
        for _ in 0..many {
            let nodes = self.nodes.len();
            let at = match self.setup.load {
                Load::Uniform | Load::Bursts => self.dice.place(nodes),
                Load::Skewed if self.dice.per_mille(900) => self.dice.place(nodes.div_ceil(10)),
                Load::Skewed => self.dice.place(nodes),
                Load::OnOff => {
                    if self.dice.per_mille(10) {
                        self.on = self.dice.place(nodes);
                    }
                    self.on
                }
            };
            self.request(at)?;
        }
        Ok(())
    }

    /// All that came up in some seconds, at all gateways at once.
    fn burst(&mut self) -> Result<(), Breach> {
        if !self.step.is_multiple_of(BURSTS) {
            return Ok(());
        }
        let each = self.setup.rate * BURSTS / 1_000 / self.nodes.len() as u64;
        for at in 0..self.nodes.len() {
            for _ in 0..=each {
                self.request(at)?;
            }
        }
        Ok(())
    }

    fn request(&mut self, at: usize) -> Result<(), Breach> {
        let is_huge = self.dice.per_mille(self.setup.trouble.huge_per_mille);
        let cost = if is_huge {
            let most = self.now[0].most;
            self.dice.between(most / 2, 3 * most + 1).max(1)
        } else {
            self.dice.between(1, self.setup.cost_max + 1)
        };
        let actual = match self.setup.costs {
            Costs::Known => cost,
            Costs::Settled if self.dice.per_mille(100) => cost + self.dice.between(0, 1 + cost / 2),
            Costs::Settled => self.dice.between(0, cost + 1),
        };
        self.ask(at, cost, actual, None)
    }

    /// A request arrives.
    pub(super) fn ask(
        &mut self,
        at: usize,
        cost: u64,
        actual: u64,
        probe: Option<usize>,
    ) -> Result<(), Breach> {
        let wall = self.wall(self.nodes[at].skew_us);
        let node = &mut self.nodes[at];
        if !node.is_there() {
            return Ok(());
        }
        let counters = (0..self.setup.budgets.len()).map(|budget| self.setup.counter(budget));
        let budgets = counters.map(|counter| BudgetId {
            counter,
            slot: node.wallet.slot(&counter, wall),
        });
        let pending = Pending {
            cost,
            actual,
            probe,
            budgets: budgets.collect(),
            since: None,
            answers: 0,
        };
        self.decide(at, pending)
    }

    /// Those that wait are decided on again when something was told, or when they may not wait any longer.
    pub(super) fn go_on_waiting(&mut self, at: usize) -> Result<(), Breach> {
        let (step, node) = (self.step, &mut self.nodes[at]);
        let answers = node.answers;
        let is_due = |it: &mut Pending| {
            let until = it.since.map_or(0, |(since, _)| since + WAITS);
            it.answers < answers || until <= step
        };
        let due: Vec<Pending> = node.waiting.extract_if(.., is_due).collect();
        due.into_iter().try_for_each(|it| self.decide(at, it))
    }

    fn decide(&mut self, at: usize, mut pending: Pending) -> Result<(), Breach> {
        let wall = self.wall(self.nodes[at].skew_us);
        let (step, setup) = (self.step, self.setup);
        let node = &mut self.nodes[at];
        let steady = node.steady(step);
        let moment = Moment {
            reach: Reach::Alone,
            lender: node.lender(steady),
            now: wall,
            steady,
        };
        let turn = match pending.since {
            None => Turn::First,
            Some((since, _)) if step < since + WAITS => Turn::Again,
            Some((_, since)) => Turn::Last { since },
        };
        let most = &node.most;
        let purses = pending.budgets.iter().zip(most);
        let purses = purses.map(|(budget, most)| node.wallet.place(*budget, *most, steady));
        let purses: Vec<usize> = purses.collect();
        let spendings = setup
            .budgets
            .iter()
            .enumerate()
            .map(|(purse, it)| Spending {
                purse,
                cost: pending.cost,
                role: it.role,
            });
        let spendings: Vec<Spending> = spendings.collect();
        let lent = purses.iter().map(|it| remaining(&node.wallet, *it, steady));
        let lent: Vec<u64> = lent.collect();
        let mut found = Found {
            wallet: &mut node.wallet,
            purses,
            limits: Vec::new(),
        };
        let decision = decide(&mut found, &mut [], &spendings, moment, turn);
        let is_urgent = is_urgent(&mut found, &spendings, decision, moment);
        let purses = found.purses;
        match decision {
            Decision::Waits => {
                pending.since.get_or_insert((step, steady));
                pending.answers = node.answers;
                node.waiting.push(pending);
            }
            Decision::Refused(_) | Decision::Overspent(_) => self.refused += 1,
            Decision::Admitted { .. } => self.admitted(at, pending, &lent),
        }
        if is_urgent {
            self.report(at);
        }
        purses.iter().try_for_each(|purse| {
            let purse = self.nodes[at].wallet.look()[*purse].purse();
            self.check(
                "remaining_is_never_negative",
                says_what_remains(purse, steady),
            )
        })
    }

    /// `lent`: what remained of its leases.
    fn admitted(&mut self, at: usize, pending: Pending, lent: &[u64]) {
        let Pending {
            cost,
            actual,
            probe,
            budgets,
            ..
        } = pending;
        let life = self.nodes[at].life;
        for (budget, lent) in budgets.iter().zip(lent) {
            let spent = self.spent(life, budget);
            spent.open += cost;
            spent.unlent += cost.saturating_sub(*lent);
        }
        self.granted += 1;
        if let Some(probe) = probe.and_then(|it| self.probes.get_mut(it)) {
            *probe = 0;
        }
        let ends_at = self.step + self.dice.between(1, LASTS);
        self.nodes[at].open.push(Open {
            ends_at,
            cost,
            actual,
            budgets,
        });
    }

    pub(super) fn settle_what_ends(&mut self, at: usize) {
        let step = self.step;
        let open = &mut self.nodes[at].open;
        let ended: Vec<Open> = open.extract_if(.., |it| it.ends_at <= step).collect();
        ended.into_iter().for_each(|it| self.settle(at, &it));
    }

    pub(super) fn settle(&mut self, at: usize, open: &Open) {
        let life = self.nodes[at].life;
        for budget in &open.budgets {
            let wallet = &mut self.nodes[at].wallet;
            if let Some(place) = wallet.place_of(budget) {
                wallet.change(place).settle(open.cost, open.actual);
            }
            self.spent(life, budget).settle(open.cost, open.actual);
        }
    }
}

fn remaining(wallet: &Wallet, place: usize, now: Steady) -> u64 {
    wallet.look()[place].purse().remaining(now)
}

fn says_what_remains(purse: &Purse, now: Steady) -> Verdict {
    let said = purse.said();
    remaining_is_never_negative(purse.remaining(now), said.taken(), said.lease.ceiling)
}

/// Whether the treasury is to hear of it at once.
fn is_urgent(
    found: &mut Found<'_>,
    spendings: &[Spending],
    decision: Decision,
    moment: Moment,
) -> bool {
    let Moment { lender, steady, .. } = moment;
    let mut is_urgent = false;
    for Spending { purse, cost, role } in spendings {
        if !matches!(role, Role::Decides { .. }) {
            continue;
        }
        let (wallet, at) = found.wallet(*purse);
        let kept = &wallet.look()[at];
        let stands = kept.purse().stands(*cost, kept.most(), lender, steady);
        let lacks = decision == Decision::Waits && stands == Stands::Lacks;
        is_urgent |= wallet.is_urgent(at, lacks, steady);
    }
    is_urgent
}

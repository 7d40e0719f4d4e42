//! What is simulated of budgets: how many gateways, which budgets, what load, and what goes wrong.

use super::STEP_US;
use crate::{
    limits::{lease::Role, period::Period},
    sim::{dice::Dice, setup::Load},
};

/// A budget that all gateways share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSetup {
    /// In which time it counts.
    pub period: Period,
    /// How much it is at the beginning, in nano-dollars.
    pub most: u64,
    /// What it has to say about requests.
    pub role: Role,
    /// What counts as spent at the beginning, though no gateway has spent it.
    pub before: i64,
}

/// When it is known what a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Costs {
    /// Beforehand.
    Known,
    /// Afterwards: most cost less than was reserved, one in ten more.
    Settled,
}

/// What becomes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carriage {
    /// How many steps a message or a write takes at most; messages overtake each other.
    pub slowest: u64,
    /// How many of a thousand messages are lost.
    pub lost_per_mille: u64,
    /// How many of a thousand arrive twice.
    pub doubled_per_mille: u64,
}

/// What goes wrong, and how often in the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoneyTrouble {
    /// Gateways that are killed, and start again with nothing.
    pub kills: u64,
    /// Of a hundred of those that die, so many lose records that nobody has.
    pub loses_records_pct: u64,
    /// Groups of gateways that are cut off for a while.
    pub cuts: u64,
    /// Gateways that come.
    pub joins: u64,
    /// Gateways that leave.
    pub leaves: u64,
    /// Ends of the treasury in office; another takes over.
    pub failovers: u64,
    /// Losses of all that is written down.
    pub wipes: u64,
    /// Times in which the ledger does not answer.
    pub silences: u64,
    /// Changes of what counts as spent beside what gateways spend.
    pub adjustments: u64,
    /// Changes of how much a budget is.
    pub amounts: u64,
    /// Of a thousand requests, so many may cost more than is left, or most of it.
    pub huge_per_mille: u64,
    /// How far clocks are off at most, in microseconds.
    pub skew_us: u64,
}

/// A whole simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoneySetup {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many gateways there are at the beginning.
    pub gateways: usize,
    /// The budgets; every request is paid from all of them.
    pub budgets: Vec<BudgetSetup>,
    /// Each request may cost from one nano-dollar to this.
    pub cost_max: u64,
    /// When it is known what they cost.
    pub costs: Costs,
    /// How many steps of 50 ms requests arrive.
    pub steps: u64,
    /// How many steps before the end of a year it begins.
    pub before_new_year: u64,
    /// Where requests arrive.
    pub load: Load,
    /// Requests in a thousand steps, over all gateways.
    pub rate: u64,
    /// How many steps lie between two reports.
    pub report_every: u64,
    /// What becomes of messages.
    pub carriage: Carriage,
    /// What goes wrong.
    pub trouble: MoneyTrouble,
}

impl MoneySetup {
    /// So many gateways with a monthly budget, known costs, and nothing that goes wrong.
    #[must_use]
    pub fn calm(gateways: usize, most: u64, cost_max: u64, rate: u64) -> Self {
        Self {
            seed: 1,
            gateways,
            budgets: vec![BudgetSetup {
                period: Period::Month,
                most,
                role: Role::Decides { closed: true },
                before: 0,
            }],
            cost_max,
            costs: Costs::Known,
            steps: 1_200,
            before_new_year: 2_400,
            load: Load::Uniform,
            rate,
            report_every: 2,
            carriage: Carriage {
                slowest: 1,
                lost_per_mille: 0,
                doubled_per_mille: 0,
            },
            trouble: MoneyTrouble::default(),
        }
    }

    /// Anything at all: small, since thousands are run.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        // Few with many gateways: they take longest.
        let gateways = match dice.between(0, 200) {
            0 => dice.between(50, 201),
            1..10 => dice.between(10, 40),
            _ => dice.between(1, 9),
        };
        let steps = if gateways > 40 {
            80
        } else {
            dice.between(100, 500)
        };
        let cost_max = dice.choose(&[1, 30, 7_500_000]);
        let fits = dice.choose(&[2, 10, 60]);
        let budgets = (0..dice.choose(&[1, 1, 2]))
            .map(|at| random_budget(&mut dice, at, cost_max * (1 + gateways * fits)));
        let budgets: Vec<BudgetSetup> = budgets.collect();
        // From half of the first budget to some times as much in the run.
        let requests = budgets[0].most * 2 / (1 + cost_max);
        let all = requests * dice.choose(&[5, 12, 40]) / 10;
        Self {
            seed,
            gateways: usize::try_from(gateways).unwrap_or(1),
            budgets,
            cost_max,
            costs: dice.choose(&[Costs::Known, Costs::Settled]),
            steps,
            // In the run, or long after all: at the end everyone is in the same windows.
            before_new_year: if dice.per_mille(600) {
                dice.between(0, steps)
            } else {
                100_000
            },
            load: dice.choose(&[Load::Uniform, Load::Skewed, Load::Bursts, Load::OnOff]),
            rate: (all * 1_000 / steps).clamp(20, 2_000 + 20 * gateways),
            report_every: dice.between(2, 20),
            carriage: Carriage {
                slowest: dice.choose(&[2, 10, 60]),
                lost_per_mille: dice.choose(&[0, 50, 500]),
                doubled_per_mille: dice.choose(&[0, 50, 300]),
            },
            trouble: random_trouble(&mut dice),
        }
    }
}

fn random_budget(dice: &mut Dice, at: u64, most: u64) -> BudgetSetup {
    let closed = Role::Decides { closed: true };
    let open = Role::Decides { closed: false };
    // The first decides; another may only count.
    let role = if at == 0 {
        dice.choose(&[closed, closed, open])
    } else {
        dice.choose(&[closed, open, Role::Audits, Role::Tracks])
    };
    let most = dice.between(most.div_ceil(2), most + 1);
    let part = i64::try_from(most / 4).unwrap_or(0);
    BudgetSetup {
        period: dice.choose(&[Period::Day, Period::Week, Period::Month, Period::Quarter]),
        most,
        role,
        before: dice.choose(&[0, 0, part, -part]),
    }
}

fn random_trouble(dice: &mut Dice) -> MoneyTrouble {
    let mut often = |per_mille: u64, most: u64| {
        let happens = dice.per_mille(per_mille);
        let times = dice.between(1, most + 1);
        if happens { times } else { 0 }
    };
    MoneyTrouble {
        kills: often(400, 8),
        loses_records_pct: often(300, 100),
        cuts: often(400, 5),
        joins: often(400, 4),
        leaves: often(400, 4),
        failovers: often(400, 5),
        wipes: often(150, 2),
        silences: often(200, 3),
        adjustments: often(250, 3),
        amounts: often(300, 3),
        huge_per_mille: often(400, 30),
        skew_us: often(400, 5) * 18 * STEP_US,
    }
}

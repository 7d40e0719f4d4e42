//! What is simulated: how many gateways, which limits, what load, and what goes wrong.

use super::dice::Dice;
use crate::limits::{counter::WhenCutOff, period::Period};

pub(super) const SECOND_US: u64 = 1_000_000;

/// A limit that all gateways share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSetup {
    /// In which time it counts.
    pub period: Period,
    /// How much fits into a window.
    pub most: u64,
    /// The largest cost of a request; each costs from 1 to this.
    pub cost_max: u64,
    /// Whether costs are known only afterwards: then half of the requests use less than was reserved, some more.
    pub settles: bool,
    /// What it does at a gateway that has been cut off for too long.
    pub when_cut_off: WhenCutOff,
}

/// Where the requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Everywhere alike.
    Uniform,
    /// Nine in ten at one gateway of ten.
    Skewed,
    /// Now and then, many at every gateway at the same moment.
    Bursts,
    /// At one gateway for a while, then at another.
    OnOff,
}

/// What becomes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The shortest time under way, in microseconds.
    pub fastest_us: u64,
    /// The longest; messages overtake each other.
    pub slowest_us: u64,
    /// How many of a thousand are lost.
    pub lost_per_mille: u64,
    /// How many of a thousand arrive twice.
    pub doubled_per_mille: u64,
}

/// What goes wrong, and how often: each a mean number in the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Gateways that are killed, and start again with nothing.
    pub kills: u64,
    /// Groups of gateways that are cut off for a while.
    pub cuts: u64,
    /// Gateways that come.
    pub joins: u64,
    /// Gateways that leave.
    pub leaves: u64,
    /// Ends of the aggregator in office; another takes over.
    pub failovers: u64,
    /// How far clocks are off at most, in microseconds.
    pub skew_us: u64,
}

/// A whole simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many gateways there are at the beginning.
    pub gateways: usize,
    /// How long requests arrive, in microseconds.
    pub run_us: u64,
    /// How long before the end of a year it begins, in microseconds.
    pub before_new_year_us: u64,
    /// The limits; every request is charged to all of them.
    pub limits: Vec<LimitSetup>,
    /// Where requests arrive.
    pub load: Load,
    /// Requests a second, over all gateways.
    pub rate: u64,
    /// How often gateways report, in microseconds.
    pub report_us: u64,
    /// How often the aggregator tells them, in microseconds.
    pub broadcast_us: u64,
    /// What becomes of messages.
    pub network: Network,
    /// What goes wrong.
    pub trouble: Trouble,
    /// From when to when the first so many gateways are cut off: `(how many, from, to)`, in microseconds.
    pub cut: Option<(usize, u64, u64)>,
}

impl Setup {
    /// So many gateways under one limit, in a network where nothing goes wrong: 100 ms between reports, 40 ms one way.
    #[must_use]
    pub fn calm(gateways: usize, limit: LimitSetup, rate: u64) -> Self {
        Self {
            seed: 1,
            gateways,
            run_us: 130 * SECOND_US,
            before_new_year_us: 240 * SECOND_US,
            limits: vec![limit],
            load: Load::Uniform,
            rate,
            report_us: 100_000,
            broadcast_us: 100_000,
            network: Network {
                fastest_us: 39_000,
                slowest_us: 41_000,
                lost_per_mille: 0,
                doubled_per_mille: 0,
            },
            trouble: Trouble::default(),
            cut: None,
        }
    }

    /// Anything at all, with a limit on what is under way at a time: alone, or beside another.
    #[must_use]
    pub fn random_at_a_time(seed: u64) -> Self {
        let mut setup = Self::random(seed);
        let mut dice = Dice::new(seed ^ 0xa7_a7);
        // It is simulated until the last request has ended: more of them would take long.
        setup.gateways = setup.gateways.min(30);
        let gateways = setup.gateways as u64;
        let fits = dice.choose(&[1, 3, 10]);
        let at_a_time = LimitSetup {
            period: Period::AtATime,
            most: 1 + dice.between(0, 10 + gateways * fits),
            cost_max: 1,
            settles: true,
            when_cut_off: WhenCutOff::Alone,
        };
        if dice.per_mille(300) {
            setup.limits.truncate(1);
            setup.limits.push(at_a_time);
        } else {
            setup.limits = vec![at_a_time];
        }
        // A request lasts about two seconds: from half of the limit to ten times as much.
        let all = at_a_time.most * dice.choose(&[5, 12, 40, 100]) / 20;
        setup.rate = all.clamp(1, 60 + gateways);
        setup
    }

    /// The same world with limits that do anything at all at gateways that are cut off, and with gateways that are.
    #[must_use]
    pub fn with_any_choice(mut self) -> Self {
        let mut dice = Dice::new(self.seed ^ 0x0ff);
        for limit in &mut self.limits {
            limit.when_cut_off =
                dice.choose(&[WhenCutOff::Alone, WhenCutOff::Open, WhenCutOff::Closed]);
        }
        self.trouble.cuts = self.trouble.cuts.max(dice.between(1, 4));
        self
    }

    /// Anything at all: small, since thousands are run.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        // Few with many gateways: they take longest.
        let gateways = match dice.between(0, 100) {
            0 => dice.between(50, 201),
            1..10 => dice.between(10, 40),
            _ => dice.between(1, 9),
        };
        let run_us = SECOND_US
            * if gateways > 40 {
                4
            } else {
                dice.between(8, 30)
            };
        let limits = (0..dice.between(1, 3)).map(|_| random_limit(&mut dice, gateways));
        let limits: Vec<LimitSetup> = limits.collect();
        let rate = random_rate(&mut dice, &limits, run_us, gateways);
        let slowest_us = dice.choose(&[20_000, 200_000, 1_500_000, 6_000_000]);
        Self {
            seed,
            gateways: usize::try_from(gateways).unwrap_or(1),
            run_us,
            before_new_year_us: dice.between(0, run_us),
            limits,
            load: dice.choose(&[Load::Uniform, Load::Skewed, Load::Bursts, Load::OnOff]),
            rate,
            report_us: dice.between(200_000, 1_000_000),
            broadcast_us: dice.between(200_000, 1_000_000),
            network: Network {
                fastest_us: 1_000,
                slowest_us,
                lost_per_mille: dice.choose(&[0, 0, 50, 400]),
                doubled_per_mille: dice.choose(&[0, 50, 300]),
            },
            trouble: random_trouble(&mut dice),
            cut: None,
        }
    }
}

fn random_limit(dice: &mut Dice, gateways: u64) -> LimitSetup {
    let cost_max = dice.choose(&[1, 1, 5, 100]);
    let settles = cost_max > 1 && dice.per_mille(500);
    let fits = dice.choose(&[1, 3, 10, 40]);
    LimitSetup {
        period: dice.choose(&Period::ALL),
        most: cost_max * (1 + dice.between(0, 10 + gateways * fits)),
        cost_max,
        settles,
        when_cut_off: WhenCutOff::Alone,
    }
}

/// From half of the first limit to some ten times as much in the run, and no more than is quickly simulated.
fn random_rate(dice: &mut Dice, limits: &[LimitSetup], run_us: u64, gateways: u64) -> u64 {
    let limit = limits[0];
    let requests = limit.most * 2 / (1 + limit.cost_max);
    let all = requests * dice.choose(&[5, 12, 40, 100]) / 10;
    (all * SECOND_US / run_us).clamp(1, 60 + gateways)
}

fn random_trouble(dice: &mut Dice) -> Trouble {
    let mut often = |most: u64| {
        let happens = dice.per_mille(400);
        let times = dice.between(1, most + 1);
        if happens { times } else { 0 }
    };
    Trouble {
        kills: often(8),
        cuts: often(5),
        joins: often(4),
        leaves: often(4),
        failovers: often(3),
        skew_us: often(5) * 900_000,
    }
}

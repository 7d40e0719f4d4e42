//! The figures that are published of the limits, from simulations where the load is ten times the limit.

use super::{
    money::{Carriage, MoneySetup, MoneyTrouble, run_money},
    setup::{LimitSetup, Load, Network, SECOND_US, Setup},
    truth::Breach,
    world::{Outcome, run},
};
use crate::limits::{counter::WhenCutOff, period::Period};

/// What simulations show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The most that any sliding minute admitted above the limit, in percent: 50 gateways, reports every 100 ms.
    pub sim_over_pct: f64,
    /// The same where 5 of 20 gateways are cut off for eight seconds, in which a minute of the clock begins: for less long than
    /// makes a gateway keep its limits by itself.
    pub sim_partition_over_pct: f64,
    /// The bound on that: the shares of the five, and one request each.
    pub sim_partition_bound_pct: f64,
    /// The same where they are cut off for all of a minute of the clock: each keeps the limit by itself.
    pub sim_partition_long_over_pct: f64,
    /// The bound on that: five times the limit, and one request each.
    pub sim_partition_long_bound_pct: f64,
    /// The least of the limit that a minute used where nine tenths of the load are at a tenth of 50 gateways, in percent.
    pub sim_skew_utilisation_pct: f64,
    /// The least that a sliding minute used of a limit of 60 among 50 gateways, in percent.
    pub sim_small_utilisation_pct: f64,
    /// The most that a minute of bursts at all of 50 gateways at once admitted above the limit, in requests a gateway.
    pub sim_burst_over_per_gateway: f64,
    /// What was spent above a budget with known costs, in nano-dollars.
    pub sim_over_money_nanousd: u64,
}

const fn requests(period: Period, most: u64) -> LimitSetup {
    LimitSetup {
        period,
        most,
        cost_max: 1,
        settles: false,
        when_cut_off: WhenCutOff::Alone,
    }
}

/// How much more than the limit the fullest window admitted.
fn over(outcome: &Outcome, most: u64) -> u64 {
    let totals = outcome.windows[0].iter().map(|window| window.total);
    totals.max().unwrap_or(0).saturating_sub(most)
}

/// The least that a whole window used: the first ones have not been filled yet, and the last are not over.
fn least_used_pct(outcome: &Outcome, most: u64, first: usize) -> f64 {
    let windows = &outcome.windows[0];
    let whole = windows.get(first..windows.len().saturating_sub(2));
    let totals = whole.unwrap_or_default().iter().map(|window| window.total);
    percent(totals.min().unwrap_or(0), most)
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// Simulates all of it: some seconds, with optimisation.
///
/// # Errors
/// The first property that does not hold.
pub fn figures() -> Result<Figures, Breach> {
    let (partition_over, partition_bound) = partition()?;
    let (partition_long_over, partition_long_bound) = partition_long()?;
    Ok(Figures {
        sim_over_pct: overload()?,
        sim_partition_over_pct: partition_over,
        sim_partition_bound_pct: partition_bound,
        sim_partition_long_over_pct: partition_long_over,
        sim_partition_long_bound_pct: partition_long_bound,
        sim_skew_utilisation_pct: skew()?,
        sim_small_utilisation_pct: small()?,
        sim_burst_over_per_gateway: burst()?,
        sim_over_money_nanousd: money()?,
    })
}

fn overload() -> Result<f64, Breach> {
    const MOST: u64 = 5_000;
    let limit = requests(Period::SlidingMinute, MOST);
    let outcome = run(&Setup::calm(50, limit, 10 * MOST / 60))?;
    Ok(percent(over(&outcome, MOST), MOST))
}

/// Of how many gateways how many are cut off, and under which limit.
const GATEWAYS: usize = 20;
const CUT: usize = 5;
const CUT_MOST: u64 = 2_000;

/// The minute that is looked at begins 1 s after five gateways were cut off; 7 s later they are heard again.
fn partition() -> Result<(f64, f64), Breach> {
    let outcome = cut_off(59, 67)?;
    let bound = 100.0 * outcome.cut_shares[0] + percent(GATEWAYS as u64, CUT_MOST);
    Ok((percent(over(&outcome, CUT_MOST), CUT_MOST), bound))
}

/// It begins 4 s after they were cut off, and ends 6 s before they are heard again.
fn partition_long() -> Result<(f64, f64), Breach> {
    let outcome = cut_off(56, 126)?;
    let bound = 100.0 * CUT as f64 + percent(GATEWAYS as u64, CUT_MOST);
    Ok((percent(over(&outcome, CUT_MOST), CUT_MOST), bound))
}

/// Some are cut off from one second to another; a minute begins with the sixtieth.
fn cut_off(from: u64, to: u64) -> Result<Outcome, Breach> {
    let setup = Setup {
        run_us: 130 * SECOND_US,
        before_new_year_us: 60 * SECOND_US,
        cut: Some((CUT, from * SECOND_US, to * SECOND_US)),
        ..Setup::calm(
            GATEWAYS,
            requests(Period::Minute, CUT_MOST),
            10 * CUT_MOST / 60,
        )
    };
    run(&setup)
}

fn skew() -> Result<f64, Breach> {
    const MOST: u64 = 5_000;
    let setup = Setup {
        load: Load::Skewed,
        run_us: 190 * SECOND_US,
        ..Setup::calm(50, requests(Period::Minute, MOST), 10 * MOST / 60)
    };
    Ok(least_used_pct(&run(&setup)?, MOST, 0))
}

fn small() -> Result<f64, Breach> {
    const MOST: u64 = 60;
    let setup = Setup::calm(50, requests(Period::SlidingMinute, MOST), 10);
    Ok(least_used_pct(&run(&setup)?, MOST, 6))
}

fn burst() -> Result<f64, Breach> {
    const MOST: u64 = 5_000;
    let setup = Setup {
        load: Load::Bursts,
        run_us: 70 * SECOND_US,
        network: Network {
            slowest_us: 200_000,
            ..Setup::calm(1, requests(Period::Minute, MOST), 1).network
        },
        ..Setup::calm(50, requests(Period::SlidingMinute, MOST), 10 * MOST / 4)
    };
    Ok(over(&run(&setup)?, MOST) as f64 / 50.0)
}

fn money() -> Result<u64, Breach> {
    const MOST: u64 = 10_000_000_000;
    let setup = MoneySetup {
        carriage: Carriage {
            slowest: 4,
            lost_per_mille: 50,
            doubled_per_mille: 50,
        },
        trouble: MoneyTrouble {
            kills: 6,
            failovers: 6,
            ..MoneyTrouble::default()
        },
        ..MoneySetup::calm(50, MOST, 7_500_000, 25_000)
    };
    let outcome = run_money(&setup)?;
    let spent = outcome.spent.iter().max().copied().unwrap_or(0);
    Ok(spent.saturating_sub(MOST))
}

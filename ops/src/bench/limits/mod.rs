//! How far limits that many gateways share are overshot, how much of them is used, and what that costs.
//!
//! Three times: in simulated worlds, with the code that gateways and the aggregator run and a virtual clock, where the
//! figures are the same on every machine; with real processes under a real load, in calm and while something fails; and
//! each part alone, for its time and its memory.

mod decisions;
mod memory;
mod real;

use gateway_policy::sim;

use self::real::Real;
use super::{Figures, rounded, say};
use crate::failure::{Failure, Outcome};

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Counters that a request is charged to.
    #[arg(long, default_value_t = 20)]
    counters: u8,
    /// Thousands of decisions; the figure is the median thousand's.
    #[arg(long, default_value_t = 1_000)]
    thousands: u32,
    /// Counters that the aggregator has, while its memory is looked at.
    #[arg(long, default_value_t = 1_000_000)]
    live_counters: u32,
    #[command(flatten)]
    real: Real,
    /// Few gateways, low limits, short runs: to see that it still works, as the tests do. The figures mean little then.
    #[arg(long)]
    quick: bool,
}

/// Simulates, and measures.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args {
        counters,
        thousands,
        live_counters,
        real,
        quick,
    } = args;
    let (thousands, live_counters, real) = if quick {
        (10, 20_000, Real::QUICK)
    } else {
        (thousands, live_counters, real)
    };
    say("simulating");
    let mut figures = simulated()?;
    say("timing decisions");
    let admit_ns = decisions::admit_ns(counters, thousands);
    figures.insert("admit_ns".to_owned(), rounded(admit_ns));
    say("filling counters");
    figures.extend(memory::run(live_counters)?);
    figures.extend(real::run(real).await?);
    Ok(figures)
}

fn simulated() -> Outcome<Figures> {
    let simulated = sim::figures().map_err(|breach| Failure::new(breach.to_string()))?;
    let sim::Figures {
        sim_over_pct,
        sim_partition_over_pct,
        sim_partition_bound_pct,
        sim_partition_long_over_pct,
        sim_partition_long_bound_pct,
        sim_skew_utilisation_pct,
        sim_small_utilisation_pct,
        sim_burst_over_per_gateway,
        sim_over_money_nanousd,
    } = simulated;
    let figures = [
        ("sim_over_pct", rounded(sim_over_pct)),
        ("sim_partition_over_pct", rounded(sim_partition_over_pct)),
        ("sim_partition_bound_pct", rounded(sim_partition_bound_pct)),
        (
            "sim_partition_long_over_pct",
            rounded(sim_partition_long_over_pct),
        ),
        (
            "sim_partition_long_bound_pct",
            rounded(sim_partition_long_bound_pct),
        ),
        (
            "sim_skew_utilisation_pct",
            rounded(sim_skew_utilisation_pct),
        ),
        (
            "sim_small_utilisation_pct",
            rounded(sim_small_utilisation_pct),
        ),
        (
            "sim_burst_over_per_gateway",
            rounded(sim_burst_over_per_gateway),
        ),
        ("sim_over_money_nanousd", sim_over_money_nanousd.into()),
    ];
    let named = figures.map(|(name, value)| (name.to_owned(), value));
    Ok(named.into_iter().collect())
}

//! The properties of limits and budgets, in four thousand simulated worlds.
//!
//! Code that breaks a rule is caught. Tried, each alone, and caught in so many of the worlds of its test, of which limits have a
//! thousand and budgets two:
//!
//! | broken on purpose | property | worlds |
//! |---|---|---|
//! | a share is raised before lowered ones are confirmed | `shares_never_sum_above_one` | 318 |
//! | a gateway compares `G + u` with `L` instead of `u` with its share of the rest | `within_the_stated_bound` | 239 |
//! | a gateway takes its base share of a counter that the others share out among themselves | `shares_never_sum_above_one` | 249 |
//! | what a report says is added to the report before | `nothing_is_lost_after_convergence` | 562 |
//! | an older report replaces a newer one | `nothing_is_lost_after_convergence` | 14 |
//! | a lease that is given back is lent again before that is durable | `only_what_is_left_is_lent` | 23 |
//! | the same with a dead gateway's lease | `only_what_is_left_is_lent` | 11 |
//! | what is lent in one plan is lent to several | `only_what_is_left_is_lent` | 82 |
//! | while a budget changes, the most that a gateway knows holds | `only_what_is_left_is_lent` | 175 |
//! | the ledger is not awaited where nothing is written down | `only_what_is_left_is_lent` | 1,988 |
//! | a lease is told before it is durable | `nobody_spends_more_than_is_written_down` | 817 |
//! | a gateway obeys an older lease again | `nobody_spends_more_than_is_written_down` | 9 |
//! | what requests cost above what was reserved is not counted | `what_is_spent_is_committed` | 605 |
//! | what a gateway reports is added to what the ledger says of it | `what_is_spent_is_committed` | 1,551 |
//! | what was used before gateways counted it is forgotten | `no_count_is_lost_after_convergence` | 680 |
//! | what was charged too much is not given back | `no_count_is_lost_after_convergence` | 578 |
//! | what gateways obey is not taken over when the records are lost | `what_is_not_spent_comes_back` | 86 |
//! | a gateway asks for the most that a request ever asked for | `what_fits_is_granted_in_time` | 1,129 |
//! | all that is left is lent for a request that does not fit | `what_fits_is_granted_in_time` | 86 |
//! | a part of it is | `what_fits_is_granted_in_time` | 75 |
//! | a gateway keeps what it does not need while it asks for more | `what_fits_is_granted_in_time` | 70 |

use gateway_policy::{
    limits::period::Period,
    sim::{Breach, LimitSetup, Load, MoneySetup, Setup, figures, run, run_money},
};

/// Worlds with limits; each takes some milliseconds.
const WORLDS: u64 = 1_000;

/// Worlds with a limit on what is under way at a time; each takes some milliseconds.
const AT_A_TIME: u64 = 1_000;

/// Worlds with budgets; each takes a few.
const BUDGETS: u64 = 2_000;

/// The seeds to run: all, or the one that is asked for.
#[expect(clippy::disallowed_methods, reason = "the tests' configuration")]
fn seeds(many: u64) -> Vec<u64> {
    match std::env::var("SLUICE_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SLUICE_SIM_SEED is a number")],
        Err(_) => (0..many).collect(),
    }
}

fn check(test: &str, many: u64, simulate: impl Fn(u64) -> Result<(), Breach>) {
    let breaches = seeds(many)
        .into_iter()
        .filter_map(|seed| simulate(seed).err().map(|breach| (seed, breach)));
    let breaches: Vec<(u64, Breach)> = breaches.collect();
    let first = breaches.iter().take(10).map(|(seed, breach)| {
        let again = "cargo test -p gateway-policy --test it --";
        format!("\nseed {seed}: {breach}\n  SLUICE_SIM_SEED={seed} {again} {test}")
    });
    let first: String = first.collect();
    assert!(
        breaches.is_empty(),
        "{} of {many} seeds:{first}",
        breaches.len()
    );
}

#[test]
fn limits_hold_in_every_world() {
    check("limits_hold_in_every_world", WORLDS, |seed| {
        run(&Setup::random(seed)).map(drop)
    });
}

#[test]
fn budgets_hold_in_every_world() {
    check("budgets_hold_in_every_world", BUDGETS, |seed| {
        run_money(&MoneySetup::random(seed)).map(drop)
    });
}

#[test]
fn what_is_under_way_at_a_time_holds_in_every_world() {
    let test = "what_is_under_way_at_a_time_holds_in_every_world";
    check(test, AT_A_TIME, |seed| {
        run(&Setup::random_at_a_time(seed)).map(drop)
    });
}

#[test]
fn all_of_a_limit_at_a_time_is_used_and_at_most_one_more_each_wherever_the_requests_arrive() {
    for (gateways, load) in [(1, Load::Uniform), (10, Load::Uniform), (10, Load::Skewed)] {
        let limit = LimitSetup {
            period: Period::AtATime,
            most: 100,
            cost_max: 1,
            settles: true,
        };
        let setup = Setup {
            load,
            ..Setup::calm(gateways, limit, 300)
        };
        let outcome = run(&setup).expect("every property holds");
        let [peak] = outcome.peaks[..] else {
            panic!("one limit: {outcome:?}")
        };
        let most = 100 + gateways as u64;
        assert!((98..=most).contains(&peak), "{gateways}, {load:?}: {peak}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [3, 17, 2_026] {
        let setup = Setup::random(seed);
        assert_eq!(run(&setup), run(&setup), "seed {seed}");
    }
}

#[test]
fn the_published_figures_are_what_is_promised() {
    let figures = figures().expect("every property holds");
    println!("{figures:#?}");
    assert!(figures.sim_over_pct <= 1.0, "{figures:?}");
    assert!(
        figures.sim_partition_over_pct <= figures.sim_partition_bound_pct,
        "{figures:?}"
    );
    assert!(
        figures.sim_partition_long_over_pct <= figures.sim_partition_long_bound_pct,
        "{figures:?}"
    );
    assert!(figures.sim_skew_utilisation_pct >= 98.0, "{figures:?}");
    assert!(figures.sim_small_utilisation_pct >= 95.0, "{figures:?}");
    assert!(figures.sim_burst_over_per_gateway <= 1.0, "{figures:?}");
    assert_eq!(figures.sim_over_money_nanousd, 0, "{figures:?}");
}

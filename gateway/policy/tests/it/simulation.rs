//! The properties of limits and budgets, in five thousand simulated worlds.
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
//! | a limit that is closed at a gateway that is cut off goes by its share there | `closed_admits_nothing` | 56 |
//! | one that is open there is kept by itself | `open_refuses_nothing` | 63 |
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

use std::cell::Cell;

use gateway_policy::{
    limits::{counter::WhenCutOff, period::Period},
    sim::{Breach, CutOffs, LimitSetup, Load, MoneySetup, Setup, figures, run, run_money},
};

/// Worlds with limits; each takes some milliseconds.
const WORLDS: u64 = 1_000;

/// Worlds with a limit on what is under way at a time; each takes some milliseconds.
const AT_A_TIME: u64 = 1_000;

/// Worlds with limits of every choice for gateways that are cut off; each takes some milliseconds.
const CHOICES: u64 = 1_000;

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

/// What is done at gateways that are cut off for too long is each limit's own choice; what the others admit has its bound, whatever
/// it is. Closed admits nothing there, and so leaves nothing beside that bound; open refuses nothing, and has none.
#[test]
fn every_choice_for_gateways_that_are_cut_off_holds_in_every_world() {
    let test = "every_choice_for_gateways_that_are_cut_off_holds_in_every_world";
    let seen = Cell::new(CutOffs::default());
    check(test, CHOICES, |seed| {
        let setup = if seed % 2 == 0 {
            Setup::random(seed)
        } else {
            Setup::random_at_a_time(seed)
        };
        let outcome = run(&setup.with_any_choice())?;
        seen.set(seen.get().and(outcome.cut_off));
        Ok(())
    });
    let CutOffs {
        alone,
        open,
        closed,
    } = seen.get();
    println!("alone {alone:?}, open {open:?}, closed {closed:?}");
    let is_all = seeds(CHOICES).len() as u64 == CHOICES;
    assert!(!is_all || alone.0 > 1_000 && open.0 > 1_000 && closed.1 > 1_000);
    assert_eq!(closed.0, 0, "closed");
}

/// A minute in which five of twenty gateways are cut off, from four seconds before to six seconds after it.
#[test]
fn what_is_admitted_beside_a_limit_where_gateways_are_cut_off_is_as_its_choice_says() {
    const MOST: u64 = 200;
    // Three times the limit is asked for at each gateway in a minute.
    const RATE: u64 = 20 * 3 * MOST / 60;
    let minute = |when_cut_off| {
        let limit = LimitSetup {
            period: Period::Minute,
            most: MOST,
            cost_max: 1,
            settles: false,
            when_cut_off,
        };
        let setup = Setup {
            before_new_year_us: 60_000_000,
            cut: Some((5, 56_000_000, 126_000_000)),
            ..Setup::calm(20, limit, RATE)
        };
        let outcome = run(&setup).expect("every property holds");
        let totals = outcome.windows[0].iter().map(|window| window.total);
        totals.max().unwrap_or(0)
    };
    let [alone, open, closed] =
        [WhenCutOff::Alone, WhenCutOff::Open, WhenCutOff::Closed].map(minute);
    println!("alone {alone}, open {open}, closed {closed}");
    let one_each = 20;
    assert!((5 * MOST..=6 * MOST + one_each).contains(&alone), "{alone}");
    // Nearly all that is asked there, but for what came in the first six seconds, when they went by their shares.
    assert!(open >= 5 * 3 * MOST * 85 / 100, "{open}");
    // Their shares were a quarter together.
    assert!(
        (MOST * 9 / 10..=MOST + MOST / 4 + one_each).contains(&closed),
        "{closed}"
    );
}

#[test]
fn all_of_a_limit_at_a_time_is_used_and_at_most_one_more_each_wherever_the_requests_arrive() {
    for (gateways, load) in [(1, Load::Uniform), (10, Load::Uniform), (10, Load::Skewed)] {
        let limit = LimitSetup {
            period: Period::AtATime,
            most: 100,
            cost_max: 1,
            settles: true,
            when_cut_off: WhenCutOff::Alone,
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

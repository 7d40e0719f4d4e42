#![doc = include_str!("README.md")]

mod cpu;
mod load;
mod nginx;
mod provider;
mod round;
mod upstream;
mod wire;

use serde_json::{Map, Value};

use crate::failure::Outcome;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// What the yardsticks cost: the mock provider, and nginx in front of it.
    Upstream(upstream::Args),
}

/// Named figures of a measurement, in the order in which they are printed.
type Figures = Map<String, Value>;

/// Measures, and prints the figures: one line of JSON with `--json`, else one line each.
pub(crate) fn run(args: Args) -> Outcome {
    let figures = match args.bench {
        Bench::Upstream(args) => upstream::run(args)?,
    };
    println!("{}", Value::Object(figures));
    Ok(())
}

/// Says on stderr how far a measurement is.
fn say(text: &str) {
    eprintln!("bench: {text}");
}

/// The middle one of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A figure with three decimals: more would only look exact.
fn rounded(value: f64) -> Value {
    Value::from((value * 1_000.0).round() / 1_000.0)
}

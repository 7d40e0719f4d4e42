#![doc = include_str!("README.md")]

mod api;
mod append;
mod coldstart;
mod cpu;
mod field;
mod gateway;
mod ledger;
mod limits;
mod lists;
mod load;
mod micro;
mod open;
mod propagation;
mod provider;
mod proxy;
mod release;
mod round;
mod scene;
mod stack;
mod upstream;
mod wire;

use std::future::Future;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Doing as _, Failure, Outcome};
use crate::paths;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
    /// Print one line of JSON instead of one line for each figure.
    #[arg(long, global = true)]
    json: bool,
    /// Measure the programs that lie beside this one, whatever they were built for: a trial of the
    /// measurement itself.
    #[arg(long, global = true)]
    as_built: bool,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// From a command's commit to the first request that is answered by it.
    Propagation(propagation::Args),
    /// From a gateway's start to its first authenticated answer.
    Coldstart(coldstart::Args),
    /// What the gateway costs a request, beside nginx, and how many streams it holds open at once.
    Gateway(gateway::Args),
    /// What each function costs that runs for every request.
    Micro,
    /// Events a second that the log takes.
    Append(append::Args),
    /// Request records a second that the ledger takes, their lag, and what a killed worker loses.
    Ledger(ledger::Args),
    /// How far limits that many gateways share are overshot, how much of them is used, and what a decision takes.
    Limits(limits::Args),
    /// How long the lists of a large organisation take, and its control plane's start.
    Lists(lists::Args),
    /// What the yardsticks cost: the mock provider, and nginx in front of it.
    Upstream(upstream::Args),
}

/// Named figures of a measurement.
type Figures = Map<String, Value>;

/// Measures, and prints the figures.
pub(crate) fn run(args: Args) -> Outcome {
    let Args {
        bench,
        json,
        as_built,
    } = args;
    if !as_built {
        release::become_release()?;
    }
    let figures = match bench {
        Bench::Propagation(args) => block_on(propagation::run(args))?,
        Bench::Coldstart(args) => block_on(coldstart::run(args))?,
        Bench::Gateway(args) => block_on(gateway::run(args))?,
        Bench::Micro => micro::run()?,
        Bench::Append(args) => block_on(append::run(args))?,
        Bench::Ledger(args) => block_on(ledger::run(args))?,
        Bench::Limits(args) => block_on(limits::run(args))?,
        Bench::Lists(args) => block_on(lists::run(args))?,
        Bench::Upstream(args) => block_on(upstream::run(args))?,
    };
    if json {
        println!("{}", Value::Object(figures));
    } else {
        for (name, value) in figures {
            println!("{name:28} {value}");
        }
    }
    Ok(())
}

/// Runs a measurement to its end, or until Ctrl-C: what it started is stopped in either case.
fn block_on(measurement: impl Future<Output = Outcome<Figures>>) -> Outcome<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the measurement".to_owned())?;
    runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).doing(|| "waiting for SIGTERM".to_owned())?;
        tokio::select! {
            figures = measurement => figures,
            _ = terminate.recv() => Err(Failure::new("the measurement was told to stop")),
            _ = tokio::signal::ctrl_c() => Err(Failure::new("the measurement was broken off")),
        }
    })
}

/// Where downloaded parts are kept.
fn cache() -> Outcome<PathBuf> {
    paths::cache_root()
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

/// For times in nanoseconds from a microsecond to a minute, with three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
        .expect("the bounds are constants that hdrhistogram allows")
}

/// The time under which this share of those in a histogram lie, in milliseconds.
fn milliseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    cpu::ratio(times.value_at_quantile(quantile), 1_000_000)
}

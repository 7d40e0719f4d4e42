#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "this is the command line tool: it talks to the terminal")]

mod bench;
mod clickhouse;
mod console;
mod failure;
mod mock;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Outcome;

/// The one task runner of Sluice: bring a stack up, take it down, test it, measure it.
#[derive(Parser)]
#[command(name = "sluice", version, about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serve ClickHouse's HTTP interface around the embedded engine (libchdb).
    Clickhouse(clickhouse::Args),
    /// Serve a scripted provider that speaks OpenAI's wire format.
    MockProvider(mock::Args),
    /// Measure one of the figures that the project promises.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed a provider before main");
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sluice: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Outcome {
    match task {
        Task::Clickhouse(args) => clickhouse::run(args),
        Task::MockProvider(args) => mock::run(args),
        Task::Bench(args) => bench::run(args),
    }
}

#![doc = include_str!("../README.md")]
#![expect(
    clippy::print_stdout,
    reason = "this is the command line tool: it talks to the terminal"
)]

mod api;
mod backup;
mod bench;
mod clickhouse;
mod client;
mod clock;
mod console;
mod declared;
mod dice;
mod down;
mod failure;
mod faults;
mod fuzz;
mod ledger;
mod mock;
mod parts;
mod paths;
mod progress;
mod rebuild;
mod running;
mod seed;
mod stack;
mod start_epoch;
mod status;
mod supervise;
mod test;
mod tidy;
mod tls;
mod tls_proxy;
mod trust;
mod up;
mod webdriver;

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
    /// Bring a stack up: fetch, build, start, wait until it is ready, fill with an example.
    Up(up::Args),
    /// Stop a stack.
    Down(down::Args),
    /// Show a stack's processes and the position of its history.
    Status(status::Args),
    /// Make the configuration what a YAML document says; shows the difference first.
    Apply(declared::ApplyArgs),
    /// Print the configuration as a YAML document.
    Export(declared::ExportArgs),
    /// Keep a stack's processes running (what `up` starts).
    #[command(hide = true)]
    Supervise(supervise::Args),
    /// Run everything that must hold, phase by phase.
    Test(test::Args),
    /// Check the rules of this codebase that no compiler knows.
    Tidy,
    /// Serve ClickHouse's HTTP interface around the embedded engine (libchdb).
    Clickhouse(clickhouse::Args),
    /// Serve TLS in front of a server that speaks plain text.
    #[command(hide = true)]
    TlsProxy(tls_proxy::Args),
    /// Serve a scripted provider that speaks OpenAI's wire format.
    MockProvider(mock::Args),
    /// Build the snapshots, the ledger's rollup or the audit trail again, beside the live one, and put it in its place.
    Rebuild(rebuild::Args),
    /// Write the log, and the secrets that open it, into a folder.
    Backup(backup::Args),
    /// Bring a stack's log back from a backup.
    Restore(backup::RestoreArgs),
    /// Accept that the log was forked or has lost its end, and go on with what is there.
    StartEpoch(start_epoch::Args),
    /// Try to find an input for which something does not hold, with LLVM's fuzzer.
    Fuzz(fuzz::Args),
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
            if !failure.is_told() {
                eprintln!("sluice: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Outcome {
    match task {
        Task::Up(args) => up::run(&args),
        Task::Down(args) => down::run(&args),
        Task::Status(args) => status::run(&args),
        Task::Apply(args) => declared::apply(&args),
        Task::Export(args) => declared::export(&args),
        Task::Supervise(args) => supervise::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Tidy => tidy::run(),
        Task::Clickhouse(args) => clickhouse::run(args),
        Task::TlsProxy(args) => tls_proxy::run(&args),
        Task::MockProvider(args) => mock::run(args),
        Task::Rebuild(args) => rebuild::run(&args),
        Task::Backup(args) => backup::run(&args),
        Task::Restore(args) => backup::restore(&args),
        Task::StartEpoch(args) => start_epoch::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Bench(args) => bench::run(args),
    }
}

//! `down`: stops exactly what this stack started, in order, gracefully.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::failure::{Doing, Failure, Outcome};
use crate::stack::DataDir;
use crate::supervise::process::ProcessId;
use crate::supervise::state::StackState;

/// The supervisor stops four ranks, each bounded by 20 s.
const SUPERVISOR_ENDS_WITHIN: Duration = Duration::from_secs(90);

/// Processes whose supervisor was killed have been told by the kernel; then they are killed.
const LEFTOVER_ENDS_WITHIN: Duration = Duration::from_secs(20);

/// How often it is looked whether a process is gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stack's data folder.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Stops the stack and says what was stopped.
pub(crate) fn run(args: &Args) -> Outcome {
    let data = DataDir::locate(args.data.as_deref())?;
    if !data.state_file().exists() {
        eprintln!("No stack runs on {}.", data.root().display());
        return Ok(());
    }
    let _alone = data.lock()?;
    let stopped = stop(&data)?;
    if stopped.is_empty() {
        eprintln!("No stack runs on {}.", data.root().display());
    } else {
        eprintln!("Stopped {}.", stopped.join(", "));
    }
    Ok(())
}

/// Stops what runs of the stack and returns its names. The caller holds the stack's lock.
pub(crate) fn stop(data: &DataDir) -> Outcome<Vec<String>> {
    let Some(state) = StackState::read(&data.state_file())? else {
        return Ok(Vec::new());
    };
    let mut stopped = running_names(&state);
    if state.supervisor.signal(Signal::SIGTERM) {
        if !ends_within(&state.supervisor, SUPERVISOR_ENDS_WITHIN) {
            state.supervisor.signal(Signal::SIGKILL);
        }
        stopped.push("supervisor".into());
    }
    // Read again: the supervisor may have started something between the two.
    let last = StackState::read(&data.state_file())?.unwrap_or(state);
    for service in &last.services {
        if let Some(process) = &service.process {
            stop_leftover(&service.name, process)?;
        }
    }
    match std::fs::remove_file(data.state_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("removing {}", data.state_file().display()))
        }
        _ => Ok(stopped),
    }
}

fn running_names(state: &StackState) -> Vec<String> {
    state
        .services
        .iter()
        .filter(|service| service.process.as_ref().is_some_and(ProcessId::is_running))
        .map(|service| service.name.clone())
        .collect()
}

/// A process whose supervisor is gone.
fn stop_leftover(name: &str, process: &ProcessId) -> Outcome {
    // To Postgres SIGINT is the fast shutdown; SIGTERM would wait for every client to leave.
    let signal = if name == "postgres" {
        Signal::SIGINT
    } else {
        Signal::SIGTERM
    };
    if !process.signal(signal) || ends_within(process, LEFTOVER_ENDS_WITHIN) {
        return Ok(());
    }
    process.signal(Signal::SIGKILL);
    if ends_within(process, LEFTOVER_ENDS_WITHIN) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name} (pid {}) cannot be stopped",
        process.pid
    )))
}

fn ends_within(process: &ProcessId, bound: Duration) -> bool {
    let deadline = Instant::now() + bound;
    while process.is_running() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}

//! The supervisor of one stack: a process that starts the others, starts again what dies, and stops
//! them in order when it is told to.
//!
//! It is a process of its own in the foreground too, so that Ctrl-C reaches `up` alone, which then
//! asks for an orderly end. What it knows lies in `DATA/stack.json`: a process is named there by its
//! id *and* the time it started at, so that nothing ever signals a stranger that got the id later.

mod child;
mod log;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod ready;
pub(crate) mod state;

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::failure::{Doing, Failure, Outcome};
use crate::stack::DataDir;
use child::Keeper;
pub(crate) use child::die_with_the_parent;
use plan::Plan;
use process::ProcessId;
use state::StackState;

/// The word that lets the stack outlive whoever started it.
pub(crate) const STAY: &str = "stay";

/// The flags of `sluice supervise`, which `up` starts. The plan comes as the first line of standard
/// input. When that ends without the word [`STAY`] on a line after it, so does the stack.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stack's data folder.
    #[arg(long)]
    data: PathBuf,
    /// Stop the stack when this process has ended.
    #[arg(long, value_name = "PID")]
    bound_to: Option<u32>,
}

/// How often it is looked whether the process that the stack is bound to has ended.
const LOOK_AT_BOND_EVERY: Duration = Duration::from_millis(500);

/// Runs a stack until SIGTERM or SIGINT.
pub(crate) fn run(args: &Args) -> Outcome {
    let data = DataDir::locate(Some(&args.data))?;
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .doing(|| "reading the plan".into())?;
    let plan: Plan = serde_json::from_str(&line).doing(|| "reading the plan".into())?;
    let _alone = data.lock_as_supervisor()?;

    // One thread: Linux binds a child's death signal to the *thread* that started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the supervisor's runtime".into())?;
    let bond = args.bound_to.and_then(ProcessId::of);
    LocalSet::new().block_on(&runtime, supervise(data, plan, bond))
}

async fn supervise(data: DataDir, plan: Plan, bond: Option<ProcessId>) -> Outcome {
    let mut terminate = signal(SignalKind::terminate()).doing(|| "listening for SIGTERM".into())?;
    let mut interrupt = signal(SignalKind::interrupt()).doing(|| "listening for SIGINT".into())?;

    let keepers = start_all(&data, &plan);
    let (writing, stop_writing) = watch::channel(false);
    let reports: Vec<_> = keepers.iter().map(|keeper| keeper.report.clone()).collect();
    let own = ProcessId::of_self()
        .ok_or_else(|| Failure::new("/proc does not show the supervisor itself"))?;
    let writer = tokio::task::spawn_local(state::keep_written(
        data.state_file(),
        StackState::new(own, &plan),
        reports,
        stop_writing,
    ));

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = ended(bond) => {}
        () = abandoned() => {}
    }
    stop_all(keepers).await;
    writing.send_replace(true);
    writer.await.doing(|| "writing the last state".into())?;
    std::fs::remove_file(data.state_file()).doing(|| "removing the state file".into())
}

/// Waits until standard input ends without having said that the stack is to stay.
async fn abandoned() {
    let (tell, told) = tokio::sync::oneshot::channel();
    // Reading blocks a thread, perhaps for ever; the process does not wait for it.
    std::thread::spawn(move || {
        let stays = std::io::stdin()
            .lines()
            .map_while(Result::ok)
            .any(|line| line == STAY);
        let _ = tell.send(stays);
    });
    if let Ok(true) = told.await {
        std::future::pending().await
    }
}

/// Waits until the process has ended; for ever when there is none.
async fn ended(process: Option<ProcessId>) {
    let Some(process) = process else {
        return std::future::pending().await;
    };
    let mut look = tokio::time::interval(LOOK_AT_BOND_EVERY);
    while process.is_running() {
        look.tick().await;
    }
}

fn start_all(data: &DataDir, plan: &Plan) -> Vec<Keeper> {
    let mut keepers: Vec<Keeper> = Vec::new();
    for service in &plan.services {
        let before = keepers
            .iter()
            .filter(|keeper| service.after.contains(&keeper.name))
            .map(|keeper| keeper.report.clone())
            .collect();
        keepers.push(Keeper::start(service.clone(), data.logs(), before));
    }
    keepers
}

/// Stops rank after rank: who serves users first, who keeps data last.
async fn stop_all(mut keepers: Vec<Keeper>) {
    keepers.sort_by_key(|keeper| keeper.stop_rank);
    while let Some(rank) = keepers.first().map(|keeper| keeper.stop_rank) {
        let (now, later) = keepers
            .into_iter()
            .partition::<Vec<_>, _>(|keeper| keeper.stop_rank == rank);
        keepers = later;
        for keeper in &now {
            keeper.ask_to_stop();
        }
        for keeper in now {
            keeper.stopped().await;
        }
    }
}

//! `start-epoch`: an operator's decision about a log that was forked or has lost its end, on a running stack. The work is
//! the control plane's own (`sluice-commands start-epoch`); this finds the stack.

use std::path::PathBuf;

use crate::failure::{Doing, Failure, Outcome};
use crate::running::Running;
use crate::stack::DataDir;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Why, for the history.
    #[arg(long)]
    why: String,
    /// The stack's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Starts a new epoch.
pub(crate) fn run(args: &Args) -> Outcome {
    let running = Running::find(DataDir::locate(args.data.as_deref())?)?;
    let status = running
        .commands()?
        .args(["start-epoch", "--why", &args.why])
        .status()
        .doing(|| "starting sluice-commands".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("no epoch was started"))
}

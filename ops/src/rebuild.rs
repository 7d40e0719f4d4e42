//! `rebuild`: what follows from something else, built again on a running stack. The work is the projections' own
//! (`sluice-projections rebuild`); this finds the stack.

use std::path::PathBuf;

use crate::failure::{Doing, Failure, Outcome};
use crate::running::Running;
use crate::stack::DataDir;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Every entry of SNAPSHOTS, the rollup of the ledger, or the audit trail.
    #[arg(value_enum)]
    what: What,
    /// The stack's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What can be built again.
#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    Snapshots,
    Ledger,
    Audit,
}

/// Builds it again; the last line on standard output is the result as JSON.
pub(crate) fn run(args: &Args) -> Outcome {
    let running = Running::find(DataDir::locate(args.data.as_deref())?)?;
    let what = match args.what {
        What::Snapshots => "snapshots",
        What::Ledger => "ledger",
        What::Audit => "audit",
    };
    let status = running
        .projections()?
        .args(["rebuild", what])
        .status()
        .doing(|| "starting sluice-projections".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("the {what} was not rebuilt")))
}

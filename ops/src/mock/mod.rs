//! A scripted, deterministic provider that speaks OpenAI's wire format.

use crate::failure::{Failure, Outcome};

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs until it is told to stop.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(Failure::new("this part is not built yet"))
}

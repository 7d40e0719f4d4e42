//! Figures are those of optimised programs: a measurement builds them and goes on as one of them.

use std::os::unix::process::CommandExt as _;

use crate::failure::{Doing as _, Failure, Outcome};
use crate::stack::binaries;

/// Builds everything with optimisation and replaces this process with the `sluice` built so, unless
/// it is that already. Returns only then.
pub(super) fn become_release() -> Outcome {
    let folder = binaries::target_folder()?.join("release");
    super::say("building the programs with optimisation");
    binaries::build(true)?;
    let optimised = folder.join("sluice");
    let arguments = std::env::args_os().skip(1).chain(["--as-built".into()]);
    let error = std::process::Command::new(&optimised)
        .args(arguments)
        .exec();
    Err::<(), _>(error).doing(|| format!("starting {}", optimised.display()))?;
    Err(Failure::new("a process that replaced itself came back"))
}

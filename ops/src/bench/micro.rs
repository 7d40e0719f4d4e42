//! What each function of the gateway costs that runs for every request: the benchmark `hot` of its crate.

use std::process::Stdio;

use super::{Figures, say};
use crate::failure::{Doing as _, Failure, Outcome};
use crate::stack::binaries::cargo;

/// Builds it with optimisation, runs it, and reads what it says.
pub(super) fn run() -> Outcome<Figures> {
    say("building and running the benchmark of the hot functions");
    let output = cargo()?
        // The whole workspace: so features are what they are in the programs, and little is compiled twice.
        .args(["bench", "--workspace", "--bench", "hot", "--", "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .doing(|| "starting cargo bench".to_owned())?;
    if !output.status.success() {
        return Err(Failure::new("cargo bench failed"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .doing(|| "reading what the benchmark says".to_owned())
}

//! Programs out of Debian's packages, without installing them: fetched through apt and unpacked, which needs no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Doing as _, Failure, Outcome};

/// Where packages put shared libraries on x86-64.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Unpacks these packages in `folder`, unless that was done before; the program in them, and the folder of their shared
/// libraries.
pub(super) fn unpack(
    folder: &Path,
    program: &str,
    packages: &[&str],
) -> Outcome<(PathBuf, PathBuf)> {
    let unpacked = (folder.join(program), folder.join(LIBRARIES));
    if unpacked.0.exists() {
        return Ok(unpacked);
    }
    let fetched = folder.join("packages");
    fs::create_dir_all(&fetched).doing(|| format!("making {}", fetched.display()))?;
    quietly(
        Command::new("apt-get")
            .arg("download")
            .args(packages)
            .current_dir(&fetched),
    )?;
    let entries = fs::read_dir(&fetched).doing(|| format!("reading {}", fetched.display()))?;
    for package in entries.filter_map(Result::ok) {
        quietly(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(package.path())
                .arg(folder),
        )?;
    }
    if !unpacked.0.exists() {
        return Err(Failure::new(format!(
            "Debian's packages {} hold no /{program}",
            packages.join(", ")
        )));
    }
    Ok(unpacked)
}

fn quietly(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("running {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "{name} failed: {}",
        reason.lines().last().unwrap_or_default()
    )))
}

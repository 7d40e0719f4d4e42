//! The official Python clients that the end-to-end tests point at a stack: installed with pip into a
//! folder of the cache (no virtual environment: Debian's python3 comes without `ensurepip`), with a
//! script beside them that starts Python so that it finds them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::Cache;
use super::fetch::{Scratch, pip, publish, run_quietly};
use crate::failure::{Doing, Failure, Outcome};
use crate::progress::Progress;

/// The clients and all that they need, each with its version.
const REQUIREMENTS: &str = include_str!("../../tests/e2e/requirements.txt");

/// What they weigh once installed, in bytes, for the progress bar.
const INSTALLED_BYTES: u64 = 60_000_000;

/// The script that starts Python with the clients.
const STARTER_NAME: &str = "python";
const STARTER: &str = "#!/bin/sh
PYTHONPATH=\"$(dirname \"$0\")\" PYTHONDONTWRITEBYTECODE=1 exec python3 \"$@\"
";

/// Where that script lies: another Python or another pin means another folder.
pub(super) fn place(cache: &Cache) -> Outcome<PathBuf> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        .output()
        .doing(|| "starting python3".into())?;
    if !output.status.success() {
        return Err(Failure::new("python3 does not run"));
    }
    let python = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let pins = blake3::hash(REQUIREMENTS.as_bytes()).to_hex();
    let folder = cache.folder(&format!("python-clients-{python}-{}", &pins[..12]));
    Ok(folder.join(STARTER_NAME))
}

/// Installs them.
pub(super) fn fetch(cache: &Cache, progress: &Progress) -> Outcome {
    let scratch = Scratch::new(cache)?;
    let installed = scratch.sub("installed")?;
    let bar = progress.download("python-clients", INSTALLED_BYTES, &installed);
    let list = installed.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).doing(|| format!("writing {}", list.display()))?;
    let mut install = pip();
    install
        .args(["install", "--quiet", "--only-binary", ":all:", "--target"])
        .arg(&installed)
        .arg("--requirement")
        .arg(&list);
    run_quietly(install, || "installing the official Python clients".into())?;
    let starter = installed.join(STARTER_NAME);
    std::fs::write(&starter, STARTER).doing(|| format!("writing {}", starter.display()))?;
    std::fs::set_permissions(&starter, Permissions::from_mode(0o755))
        .doing(|| format!("making {} a program", starter.display()))?;
    let place = place(cache)?;
    let folder = place
        .parent()
        .ok_or_else(|| Failure::new("a part needs a folder"))?;
    publish(&installed, folder)?;
    bar.done();
    Ok(())
}

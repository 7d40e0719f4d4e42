//! Where things lie: the cache of downloaded parts, a stack's data folder, and this checkout.
//!
//! The one file of the tool that reads the environment for itself; everything else gets paths.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Outcome};

/// Reads one variable. Empty counts as not set.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this tool that reads the environment"
    )]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether this process may do everything, and so must start Postgres as somebody else.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The folder of downloaded parts: `SLUICE_CACHE`, else `/var/cache/sluice` for root (root's home is
/// closed to the user that Postgres runs as), else `~/.cache/sluice`.
pub(crate) fn cache_root() -> Outcome<PathBuf> {
    if let Some(chosen) = variable("SLUICE_CACHE") {
        return absolute(Path::new(&chosen));
    }
    if is_root() {
        return Ok(PathBuf::from("/var/cache/sluice"));
    }
    match variable("XDG_CACHE_HOME") {
        Some(cache) => Ok(PathBuf::from(cache).join("sluice")),
        None => Ok(home()?.join(".cache/sluice")),
    }
}

/// A stack's data folder when none was named: `/var/lib/sluice` for root, else
/// `~/.local/share/sluice`.
pub(crate) fn default_data() -> Outcome<PathBuf> {
    if is_root() {
        return Ok(PathBuf::from("/var/lib/sluice"));
    }
    match variable("XDG_DATA_HOME") {
        Some(data) => Ok(PathBuf::from(data).join("sluice")),
        None => Ok(home()?.join(".local/share/sluice")),
    }
}

fn home() -> Outcome<PathBuf> {
    variable("HOME")
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("HOME is not set: say --data DIR and set SLUICE_CACHE"))
}

/// The path from the root, whether or not it exists yet.
pub(crate) fn absolute(path: &Path) -> Outcome<PathBuf> {
    std::path::absolute(path).doing(|| format!("making {} absolute", path.display()))
}

/// The checkout that this tool was built from, or, when it was moved, the one it is started in.
pub(crate) fn checkout() -> Outcome<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Ok(root) = built_from.canonicalize()
        && root.join("Cargo.toml").is_file()
    {
        return Ok(root);
    }
    let here = std::env::current_dir().doing(|| "finding the working directory".into())?;
    here.ancestors()
        .find(|folder| folder.join("ops/Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| Failure::new("run this in a checkout of Sluice"))
}

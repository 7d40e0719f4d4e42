//! The programs of a stack: built, then kept apart from the build, so that the next build does not
//! change what a running stack restarts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Doing, Failure, Outcome};
use crate::parts::Cache;
use crate::paths;
use crate::stack::DataDir;

/// Our programs.
const NAMES: [&str; 4] = [
    "sluice",
    "sluice-commands",
    "sluice-projections",
    "sluice-gateway",
];

/// Where a stack's programs lie.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    folder: PathBuf,
}

/// Builds every program of the workspace. Cargo shows its own progress.
pub(crate) fn build(release: bool) -> Outcome {
    let mut cargo = cargo()?;
    // The same selection as the tests': another one would resolve other features and build twice.
    cargo.args(["build", "--workspace", "--bins"]);
    if release {
        cargo.arg("--release");
    }
    let status = cargo.status().doing(|| "starting cargo".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("cargo could not build the programs"))
}

/// Cargo, in the checkout.
///
/// What `cargo run` tells this tool about itself is taken out of the environment: build scripts (ring's, for one) depend
/// on these variables, and would run again, with all that depends on them, whenever cargo is called from here.
pub(crate) fn cargo() -> Outcome<Command> {
    let program = paths::variable("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(paths::checkout()?);
    for (name, _) in std::env::vars_os() {
        if is_about_one_package(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    Ok(cargo)
}

/// Whether cargo sets this variable for the program of one package.
fn is_about_one_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || name.starts_with("CARGO_BIN_")
        || matches!(
            name,
            "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
        )
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Outcome<PathBuf> {
    let output = cargo()?
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .doing(|| "starting cargo".into())?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .doing(|| "reading what cargo says of the workspace".into())?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("cargo does not say where it builds to"))
}

// === impl Binaries ===

impl Binaries {
    /// Where this stack's programs lie, whether or not they do yet.
    pub(crate) fn of(cache: &Cache, data: &DataDir) -> Self {
        let stack = blake3::hash(data.root().as_os_str().as_encoded_bytes()).to_hex();
        Self {
            folder: cache.root().join("stacks").join(&stack[..16]).join("bin"),
        }
    }

    /// Takes over the programs that were built into `built`.
    pub(crate) fn take_over(&self, built: &Path) -> Outcome {
        fs::create_dir_all(&self.folder).doing(|| format!("making {}", self.folder.display()))?;
        for name in NAMES {
            let (from, to) = (built.join(name), self.folder.join(name));
            if !same_file(&from, &to) {
                link_or_copy(&from, &to)?;
            }
        }
        Ok(())
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What tells the build in this folder from another.
pub(crate) fn stamp(folder: &Path) -> Outcome<String> {
    let mut stamp = String::new();
    for name in NAMES {
        let path = folder.join(name);
        let meta = fs::metadata(&path)
            .doing(|| format!("{} is not built: looking for it", path.display()))?;
        stamp.push_str(&format!(
            "{name}:{}:{}.{};",
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec()
        ));
    }
    Ok(stamp)
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => {
            (one.dev(), one.ino()) == (other.dev(), other.ino())
                || (one.len(), one.mtime(), one.mtime_nsec())
                    == (other.len(), other.mtime(), other.mtime_nsec())
        }
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Puts `from` at `to`, in one step for whoever starts `to` meanwhile.
fn link_or_copy(from: &Path, to: &Path) -> Outcome {
    let doing = || format!("putting {} at {}", from.display(), to.display());
    let draft = to.with_extension("new");
    if draft.exists() {
        fs::remove_file(&draft).doing(doing)?;
    }
    if fs::hard_link(from, &draft).is_err() {
        fs::copy(from, &draft).doing(doing)?;
        let modified = fs::metadata(from)
            .and_then(|meta| meta.modified())
            .doing(doing)?;
        fs::File::options()
            .write(true)
            .open(&draft)
            .and_then(|file| file.set_modified(modified))
            .doing(doing)?;
    }
    fs::rename(&draft, to).doing(doing)
}

//! Finds a Rust compiler that knows wasm32, or gets one.
//!
//! In this order: the standard library for wasm32 lies beside the compiler already; rustup adds it;
//! or, where rustup's server is out of reach, Debian's packages of Rust are unpacked into the cache and
//! build the standard library from its source.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::compile::TARGET;
use super::vendor::run;
use super::{Note, debian};
use crate::failure::{Doing, Outcome};

/// How long rustup may take to add the target before Debian's packages are used instead.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(120);

/// A compiler for wasm32.
pub(super) enum Toolchain {
    /// The one that built this program, with the target's standard library beside it.
    Native,
    /// Debian's, unpacked into the cache.
    Debian(debian::Unpacked),
}

/// Finds a toolchain, fetching one into `cache` if need be.
pub(super) fn find(cache: &Path, note: Note<'_>) -> Outcome<Toolchain> {
    if knows_target()? {
        return Ok(Toolchain::Native);
    }
    if let Some(unpacked) = debian::cached(cache) {
        return Ok(Toolchain::Debian(unpacked));
    }
    note("adding the target wasm32-unknown-unknown with rustup");
    if added_by_rustup() && knows_target()? {
        return Ok(Toolchain::Native);
    }
    note("rustup cannot add the target here: fetching Debian's Rust for wasm (135 MB)");
    debian::fetch(cache, note).map(Toolchain::Debian)
}

/// Whether the standard library for wasm32 lies beside the compiler.
fn knows_target() -> Outcome<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let said = run(&mut rustc, || "asking rustc for its targets".to_owned())?;
    Ok(Path::new(String::from_utf8_lossy(&said).trim()).is_dir())
}

/// Asks rustup for the target; false where there is no rustup, it fails, or takes too long.
fn added_by_rustup() -> bool {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]);
    rustup
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = rustup.spawn() else {
        return false;
    };
    let started = Instant::now();
    while started.elapsed() < RUSTUP_PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => return false,
        }
    }
    // It may be gone in this very moment; either way it is no longer waited for.
    child
        .kill()
        .and_then(|()| child.wait())
        .is_ok_and(|status| status.success())
}

// === impl Toolchain ===

impl Toolchain {
    /// Adds the arguments and the environment that this toolchain needs.
    pub(super) fn apply(&self, cargo: &mut Command) {
        let Self::Debian(unpacked) = self else {
            return;
        };
        cargo.args(["-Z", "build-std=std,panic_abort"]);
        cargo.env("RUSTC", unpacked.rustc());
        cargo.env("LD_LIBRARY_PATH", unpacked.libraries());
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo.env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            &unpacked.linker,
        );
    }
}

/// The linker that comes with the compiler that built this program; it links wasm too.
pub(super) fn bundled_linker() -> Outcome<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir"]);
    let said = run(&mut rustc, || {
        "asking rustc where its libraries lie".to_owned()
    })?;
    // <sysroot>/lib/rustlib/<host>/lib, and the tools in bin beside it.
    let libraries = PathBuf::from(String::from_utf8_lossy(&said).trim());
    let linker = libraries.with_file_name("bin").join("rust-lld");
    linker
        .metadata()
        .doing(|| format!("looking for the linker {}", linker.display()))?;
    Ok(linker)
}

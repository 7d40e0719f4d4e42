//! Builds the console: wasm, its bindings, and the pinned assets beside it.
//!
//! One call, [`build_console`], leaves a folder that `sluice-commands --assets-dir` can serve as it is.
//! The steps are apart because each has its own reasons to fail: [`toolchain`] finds or fetches a
//! compiler that knows wasm32, [`compile`] runs it and binds the result, [`vendor`] fetches what others
//! drew and wrote (PatternFly, uPlot), [`bundle`] lays the folder out. Nothing is done twice: a hash of
//! everything that goes in lies beside what came out.

mod bundle;
mod compile;
mod debian;
mod inputs;
mod toolchain;
mod vendor;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Outcome};

/// Tells the person at the terminal what is being done; called with short sentences.
pub(crate) type Note<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Builds the console of the checkout at `repo` into `out_dir`, with toolchain and npm parts in `cache`.
///
/// Blocks for minutes on a first run and returns within a tenth of a second when nothing has changed.
/// `out_dir` is replaced as a whole, so a server that reads from it never sees half of a console.
///
/// # Errors
///
/// A sentence that says which step failed, with what the tool it ran said.
pub(crate) fn build_console(repo: &Path, cache: &Path, out_dir: &Path, note: Note<'_>) -> Outcome {
    let fingerprint = inputs::fingerprint(repo)?;
    if inputs::is_current(out_dir, &fingerprint) {
        return Ok(());
    }
    let vendored = vendor::fetch(&cache.join("npm"), note)?;
    let toolchain = toolchain::find(&cache.join("wasm-toolchain"), note)?;
    note("compiling the console to wasm");
    let wasm = compile::to_wasm(repo, &target_dir(repo), &toolchain)?;
    note("binding the console's wasm to the browser");
    let staged = out_dir.with_extension("new");
    remove_folder(&staged)?;
    let bound = compile::bind(&wasm)?;
    bundle::lay_out(&repo.join("ui-yew"), &vendored, &bound, &staged)?;
    inputs::write(&staged, &fingerprint)?;
    swap(&staged, out_dir)
}

/// The wasm build has a target folder of its own beside this program's: it differs in compiler, profile
/// and features, and must not hold the lock of the native build.
fn target_dir(repo: &Path) -> PathBuf {
    let beside_program = env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.parent()?.join("wasm")));
    beside_program.unwrap_or_else(|| repo.join("target").join("wasm"))
}

/// Puts `staged` in the place of `out_dir`.
fn swap(staged: &Path, out_dir: &Path) -> Outcome {
    let old = out_dir.with_extension("old");
    remove_folder(&old)?;
    if out_dir.exists() {
        fs::rename(out_dir, &old).doing(|| format!("moving {} away", out_dir.display()))?;
    }
    fs::rename(staged, out_dir).doing(|| format!("moving the console to {}", out_dir.display()))?;
    remove_folder(&old)
}

/// Removes a folder of ours that may not be there.
fn remove_folder(folder: &Path) -> Outcome {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).doing(|| format!("removing {}", folder.display()))
}

//! Runs cargo for wasm32 and binds what comes out to JavaScript.
//!
//! wasm-bindgen's command line is used as a library, so that its version is the one in Cargo.lock and
//! nothing has to be installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasm_bindgen_cli_support::Bindgen;

use super::toolchain::Toolchain;
use crate::failure::{Doing, Failure, Outcome};

/// The target that browsers run.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// What wasm-bindgen made of the console: files by their path relative to one folder.
pub(super) struct Bound {
    /// `console.js`, `console_bg.wasm`, and the snippets that they import.
    pub(super) folder: tempfile::TempDir,
}

/// Settings of the caller's own build that would change or break this one.
const FOREIGN_ENVIRONMENT: [&str; 7] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_RESOLVER_FEATURE_UNIFICATION",
    "CARGO_UNSTABLE_FEATURE_UNIFICATION",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// Compiles `ui-yew` and returns where the wasm lies.
pub(super) fn to_wasm(repo: &Path, target_dir: &Path, toolchain: &Toolchain) -> Outcome<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(repo)
        .args(["build", "--quiet", "--locked", "--package", "ui-yew"]);
    cargo
        .args(["--profile", "wasm", "--target", TARGET, "--target-dir"])
        .arg(target_dir);
    for name in FOREIGN_ENVIRONMENT {
        cargo.env_remove(name);
    }
    toolchain.apply(&mut cargo);
    let output = cargo
        .output()
        .doing(|| "starting cargo for the console".to_owned())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "compiling the console to wasm failed:\n{said}"
        )));
    }
    Ok(target_dir.join(TARGET).join("wasm").join("ui-yew.wasm"))
}

/// Writes the JavaScript that loads the wasm, and the wasm as that JavaScript expects it.
pub(super) fn bind(wasm: &Path) -> Outcome<Bound> {
    let folder = tempfile::tempdir().doing(|| "making a temporary folder".to_owned())?;
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name("console")
        .typescript(false);
    bindgen
        .remove_name_section(true)
        .remove_producers_section(true);
    // `init` is told where the wasm lies by boot.js, so the default path is left out.
    bindgen.omit_default_module_path(true);
    bindgen
        .web(true)
        .and_then(|bindgen| bindgen.generate(folder.path()))
        .map_err(|error| Failure::new(format!("binding {}: {error:#}", wasm.display())))?;
    let bound = folder.path().join("console_bg.wasm");
    fs::metadata(&bound).doing(|| "looking for the bound wasm".to_owned())?;
    Ok(Bound { folder })
}

//! Fetches what the console shows but others made: PatternFly's styles and fonts, and uPlot.
//!
//! Both come from npm's registry through npm itself, pinned by version and by the integrity that npm
//! computes over the very bytes it wrote. They are served by `commands`, never from a CDN.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::Note;
use crate::failure::{Doing, Failure, Outcome};

/// One pinned npm package.
pub(super) struct Package {
    name: &'static str,
    version: &'static str,
    /// npm's own notation: algorithm and base64 of the digest of the tarball.
    pub(super) integrity: &'static str,
}

/// All that is fetched.
pub(super) const PACKAGES: [Package; 2] = [
    Package {
        name: "@patternfly/patternfly",
        version: "6.4.0",
        integrity: "sha512-4drFhg74sEc/fftark5wZevODIog17qR4pwLCdB3j5iK3Uu5oMA2SdLhsEeEQggalfnFzve/Km87MdVR0ghhvQ==",
    },
    Package {
        name: "uplot",
        version: "1.6.32",
        integrity: "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
    },
];

/// Where the unpacked packages lie.
pub(super) struct Vendored {
    /// PatternFly: `patternfly.min.css` and `assets/`.
    pub(super) patternfly: PathBuf,
    /// uPlot: `dist/`.
    pub(super) uplot: PathBuf,
}

/// The part of `npm pack --json` that is looked at.
#[derive(Deserialize)]
struct Packed {
    integrity: String,
    filename: String,
}

/// Fetches what is not in `cache` yet.
pub(super) fn fetch(cache: &Path, note: Note<'_>) -> Outcome<Vendored> {
    let [patternfly, uplot] = &PACKAGES;
    Ok(Vendored {
        patternfly: unpacked(cache, patternfly, note)?,
        uplot: unpacked(cache, uplot, note)?,
    })
}

/// The folder of one package, fetched when it is missing.
fn unpacked(cache: &Path, package: &Package, note: Note<'_>) -> Outcome<PathBuf> {
    let folder = cache.join(format!(
        "{}-{}",
        package.name.replace(['@', '/'], "_"),
        package.version
    ));
    let content = folder.join("package");
    if content.is_dir() {
        return Ok(content);
    }
    note(&format!(
        "fetching {} {} from npm",
        package.name, package.version
    ));
    fs::create_dir_all(cache).doing(|| format!("making {}", cache.display()))?;
    // Unpacked beside and moved, so that a broken run leaves nothing that looks whole.
    let scratch =
        tempfile::tempdir_in(cache).doing(|| format!("making a folder in {}", cache.display()))?;
    let tarball = pack(package, scratch.path())?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&tarball).arg("-C").arg(scratch.path());
    run(&mut tar, || format!("unpacking {}", tarball.display()))?;
    fs::remove_file(&tarball).doing(|| format!("removing {}", tarball.display()))?;
    match fs::rename(scratch.keep(), &folder) {
        // Another run was quicker: what it left is the same.
        Err(_) if content.is_dir() => Ok(content),
        moved => moved
            .map(|()| content)
            .doing(|| format!("moving {} into place", package.name)),
    }
}

/// Runs `npm pack` and compares what it wrote with the pin.
fn pack(package: &Package, into: &Path) -> Outcome<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--json", "--loglevel=error", "--pack-destination"])
        .arg(into);
    npm.arg(format!("{}@{}", package.name, package.version))
        .current_dir(into);
    let said = run(&mut npm, || format!("fetching {} with npm", package.name))?;
    let packed: Vec<Packed> = serde_json::from_slice(&said)
        .doing(|| format!("reading npm's answer for {}", package.name))?;
    let [packed] = &packed[..] else {
        return Err(Failure::new(format!(
            "npm packed {} files for {}",
            packed.len(),
            package.name
        )));
    };
    if packed.integrity != package.integrity {
        return Err(Failure::new(format!(
            "{} {} is not what was pinned: expected {}, got {}",
            package.name, package.version, package.integrity, packed.integrity
        )));
    }
    Ok(into.join(&packed.filename))
}

/// Runs a tool to its end and returns its output; a failure carries what it said.
pub(super) fn run(command: &mut Command, what: impl Fn() -> String) -> Outcome<Vec<u8>> {
    let output = command.output().doing(|| {
        format!(
            "{}: starting `{}`",
            what(),
            command.get_program().to_string_lossy()
        )
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{} failed: {}", what(), said.trim())))
}

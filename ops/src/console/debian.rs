//! Debian's packages of Rust with the sources of its standard library, unpacked into the cache.
//!
//! Nothing is installed and no root is needed: apt gets folders of its own, `apt-get download` fetches,
//! `dpkg-deb -x` unpacks. Debian keeps no old versions, so these cannot be pinned: the newest is taken,
//! must not be older than this project's minimum, and apt checks its signature. The names of the
//! libraries (`libstd-rust-web-1.96`, `libllvm22`) change with the version, so each is read out of what
//! the package before it depends on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::vendor::run;
use super::{Note, toolchain};
use crate::failure::{Doing, Failure, Outcome};

/// The oldest Rust that compiles this project (`rust-version` in Cargo.toml).
const MINIMUM: (u32, u32) = (1, 95);

/// The folder that holds a whole, unpacked toolchain.
const ROOT: &str = "debian";

/// An unpacked toolchain.
pub(super) struct Unpacked {
    root: PathBuf,
    /// Debian's packages bring no linker for wasm: rustup's is used.
    pub(super) linker: PathBuf,
}

/// What an earlier run left.
pub(super) fn cached(cache: &Path) -> Option<Unpacked> {
    let root = cache.join(ROOT);
    let unpacked = Unpacked {
        root,
        linker: toolchain::bundled_linker().ok()?,
    };
    unpacked.rustc().is_file().then_some(unpacked)
}

/// Fetches and unpacks the newest packages.
pub(super) fn fetch(cache: &Path, note: Note<'_>) -> Outcome<Unpacked> {
    need_tools()?;
    fs::create_dir_all(cache).doing(|| format!("making {}", cache.display()))?;
    let cache = cache
        .canonicalize()
        .doing(|| format!("finding {}", cache.display()))?;
    let scratch =
        tempfile::tempdir_in(&cache).doing(|| format!("making a folder in {}", cache.display()))?;
    let apt = Apt::new(scratch.path())?;
    note("reading Debian's list of packages");
    run(apt.command("apt-get").arg("update"), || {
        "reading Debian's list of packages".to_owned()
    })?;
    let names = packages(&apt)?;
    note(&format!("fetching {}", names.join(", ")));
    run(apt.command("apt-get").arg("download").args(&names), || {
        format!("fetching {} from Debian", names.join(", "))
    })?;
    let root = scratch.path().join("root");
    unpack(scratch.path(), &root)?;
    let linker = toolchain::bundled_linker()?;
    let staged = Unpacked {
        root: root.clone(),
        linker: linker.clone(),
    };
    let mut rustc = Command::new(staged.rustc());
    rustc
        .arg("--version")
        .env("LD_LIBRARY_PATH", staged.libraries());
    run(&mut rustc, || "starting Debian's Rust".to_owned())?;
    let place = cache.join(ROOT);
    fs::rename(&root, &place).doing(|| format!("moving Debian's Rust to {}", place.display()))?;
    Ok(Unpacked {
        root: place,
        linker,
    })
}

/// Says what to do on a machine that is not Debian's.
fn need_tools() -> Outcome {
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        let found = Command::new(tool).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(Failure::new(format!(
                "the console needs Rust's target wasm32-unknown-unknown, which rustup did not add, and there is no \
                 {tool} to fetch Debian's Rust for wasm instead: run `rustup target add wasm32-unknown-unknown`"
            )));
        }
    }
    Ok(())
}

/// The packages to fetch: the compiler, its libraries down to LLVM, the sources, and of LLVM's own
/// needs what this machine lacks.
fn packages(apt: &Apt) -> Outcome<Vec<String>> {
    let compiler = apt.describe("rustc-web")?;
    let version = compiler.version()?;
    if minor_version(version).is_none_or(|found| found < MINIMUM) {
        let (major, minor) = MINIMUM;
        return Err(Failure::new(format!(
            "Debian offers rustc-web {version}, but the console needs Rust {major}.{minor} or newer: \
             run `rustup target add wasm32-unknown-unknown`"
        )));
    }
    let mut names = vec!["rustc-web".to_owned(), "rust-web-src".to_owned()];
    let development = compiler.dependency("libstd-rust-web-dev")?;
    let runtime = apt.describe(&development)?.dependency("libstd-rust-web-")?;
    let llvm = apt.describe(&runtime)?.dependency("libllvm")?;
    let needs = apt.describe(&llvm)?.dependencies();
    names.extend([development, runtime, llvm]);
    names.extend(needs.into_iter().filter(|name| !is_installed(name)));
    Ok(names)
}

/// `(1, 96)` of `1.96.0+dfsg1-1~deb12u2`.
fn minor_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether dpkg has it installed.
fn is_installed(name: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", name])
        .output();
    query.is_ok_and(|output| output.stdout.starts_with(b"installed"))
}

/// Unpacks every package in `folder` into `root`.
fn unpack(folder: &Path, root: &Path) -> Outcome {
    let entries = fs::read_dir(folder).doing(|| format!("listing {}", folder.display()))?;
    for entry in entries {
        let package = entry
            .doing(|| format!("listing {}", folder.display()))?
            .path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            let mut dpkg = Command::new("dpkg-deb");
            dpkg.arg("-x").arg(&package).arg(root);
            run(&mut dpkg, || format!("unpacking {}", package.display()))?;
        }
    }
    Ok(())
}

/// apt with folders of its own, so that it needs no root and leaves the machine's state alone.
struct Apt {
    folder: PathBuf,
}

/// What `apt-cache show` says of a package.
struct Description {
    name: String,
    text: String,
}

// === impl Apt ===

impl Apt {
    fn new(folder: &Path) -> Outcome<Self> {
        for part in ["lists/partial", "archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).doing(|| format!("making {}", part.display()))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn command(&self, tool: &str) -> Command {
        let folder = self.folder.display();
        let mut apt = Command::new(tool);
        apt.current_dir(&self.folder);
        for option in [
            format!("Dir::State={folder}"),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}"),
            "Dir::State::status=/var/lib/dpkg/status".to_owned(),
            "Debug::NoLocking=1".to_owned(),
            // As root apt would fetch as another user, who cannot write here.
            "APT::Sandbox::User=".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt
    }

    fn describe(&self, name: &str) -> Outcome<Description> {
        let said = run(
            self.command("apt-cache")
                .args(["show", "--no-all-versions", name]),
            || format!("looking for Debian's package {name}"),
        )?;
        Ok(Description {
            name: name.to_owned(),
            text: String::from_utf8_lossy(&said).into_owned(),
        })
    }
}

// === impl Description ===

impl Description {
    fn field(&self, name: &str) -> Option<&str> {
        let head = format!("{name}: ");
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(head.as_str()))
    }

    fn version(&self) -> Outcome<&str> {
        self.field("Version")
            .ok_or_else(|| Failure::new(format!("Debian's package {} has no version", self.name)))
    }

    /// The names of what the package depends on, without versions; of alternatives the first.
    fn dependencies(&self) -> Vec<String> {
        let list = self.field("Depends").unwrap_or_default();
        let first_word = |entry: &str| entry.split_whitespace().next().unwrap_or("").to_owned();
        list.split(',')
            .map(first_word)
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The one dependency whose name begins so.
    fn dependency(&self, prefix: &str) -> Outcome<String> {
        let found = self
            .dependencies()
            .into_iter()
            .find(|name| name.starts_with(prefix));
        found.ok_or_else(|| {
            Failure::new(format!("Debian's package {} names no {prefix}*", self.name))
        })
    }
}

// === impl Unpacked ===

impl Unpacked {
    /// The compiler.
    pub(super) fn rustc(&self) -> PathBuf {
        self.root.join("usr/bin/rustc")
    }

    /// The folder of the shared libraries that the compiler loads.
    pub(super) fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib/x86_64-linux-gnu")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let text = "Package: rustc-web\nVersion: 1.96.0+dfsg1-1~deb12u2\n\
                    Depends: libc6 (>= 2.34), libstd-rust-web-dev (= 1.96.0), gcc | clang\n";
        Description {
            name: "rustc-web".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_dependency_is_found_by_how_its_name_begins() {
        let found = description()
            .dependency("libstd-rust-web")
            .expect("a dependency");
        assert_eq!(found, "libstd-rust-web-dev");
        let missing = description()
            .dependency("libllvm")
            .expect_err("there is none");
        assert_eq!(
            missing.to_string(),
            "Debian's package rustc-web names no libllvm*"
        );
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(
            minor_version(description().version().expect("a version")),
            Some((1, 96))
        );
        assert!(minor_version("1.100.0") > Some(MINIMUM));
        assert!(minor_version("1.85.0+dfsg3-1") < Some(MINIMUM));
    }
}

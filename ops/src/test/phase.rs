//! The phases, and how each finds out what passed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::servers::Servers;
use crate::console;
use crate::failure::{Doing, Failure, Outcome};
use crate::parts::{Cache, Part};
use crate::paths;
use crate::progress::Progress;
use crate::stack::binaries::{cargo, target_folder};
use crate::tidy;

/// The test binaries that drive whole stacks; they are a phase of their own.
const END_TO_END: [&str; 2] = ["e2e", "browser"];

/// One step of the test command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Format,
    Lints,
    Tidy,
    Build,
    Unit,
    Docs,
    Integration,
    Console,
    EndToEnd,
    Dependencies,
    Advisories,
}

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

// === impl Phase ===

impl Phase {
    /// In the order in which they run: the quickest to fail first.
    pub(super) const ALL: [Self; 10] = [
        Self::Format,
        Self::Tidy,
        Self::Dependencies,
        Self::Build,
        Self::Unit,
        Self::Integration,
        Self::Console,
        Self::EndToEnd,
        Self::Docs,
        Self::Lints,
    ];

    /// Those that run only when they are asked for: they need what a bare machine may not reach.
    pub(super) const ASKED_FOR: [Self; 1] = [Self::Advisories];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lints => "lints",
            Self::Tidy => "tidy",
            Self::Build => "build",
            Self::Unit => "unit",
            Self::Docs => "docs",
            Self::Integration => "integration",
            Self::Console => "console",
            Self::EndToEnd => "end-to-end",
            Self::Dependencies => "dependencies",
            Self::Advisories => "advisories",
        }
    }

    pub(super) fn needs_servers(self) -> bool {
        matches!(self, Self::Integration | Self::EndToEnd)
    }

    /// Whether what follows is pointless when this fails.
    pub(super) fn is_vital(self) -> bool {
        self == Self::Build
    }

    pub(super) fn run(
        self,
        cache: &Cache,
        servers: Option<&Servers>,
        filter: Option<&str>,
    ) -> Outcome<Tally> {
        match self {
            Self::Format => whether(cargo()?.args(["fmt", "--all", "--check"])),
            Self::Lints => {
                let clippy = [
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ];
                whether(cargo()?.args(clippy))
            }
            Self::Tidy => check_tidiness(),
            Self::Build => {
                // Both selections are needed below, and share every dependency.
                let tests = whether(cargo()?.args(["test", "--workspace", "--no-run"]))?;
                Ok(tests.and(build_programs()?))
            }
            Self::Unit => count(&["--lib", "--bins", "--bench", "hot"], servers, filter),
            Self::Docs => count(&["--doc"], servers, filter),
            Self::Integration => {
                let names = integration_tests()?;
                let flags: Vec<&str> = names
                    .iter()
                    .flat_map(|name| ["--test", name.as_str()])
                    .collect();
                count(&flags, servers, filter)
            }
            Self::Console => build_console(cache),
            Self::Dependencies => cargo_deny(cache, &["licenses", "bans", "sources"]),
            // Fetches a git repository.
            Self::Advisories => cargo_deny(cache, &["advisories"]),
            Self::EndToEnd => {
                // Run alone, this phase must not test programs of yesterday.
                if build_programs()?.failed > 0 {
                    return Ok(Tally::failed());
                }
                let flags = END_TO_END.map(|name| ["--test", name]).concat();
                count(&flags, servers, filter)
            }
        }
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn passed() -> Self {
        Self {
            passed: 1,
            failed: 0,
        }
    }

    pub(super) fn failed() -> Self {
        Self {
            passed: 0,
            failed: 1,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }
}

/// One check: the command ends well or not.
fn whether(command: &mut Command) -> Outcome<Tally> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .doing(|| format!("starting {:?}", command.get_program()))?;
    Ok(if status.success() {
        Tally::passed()
    } else {
        Tally::failed()
    })
}

/// The programs that stacks are made of.
fn build_programs() -> Outcome<Tally> {
    whether(cargo()?.args(["build", "--workspace", "--bins"]))
}

/// What is depended on, by the rules in `.deny.toml`.
fn cargo_deny(cache: &Cache, checks: &[&str]) -> Outcome<Tally> {
    let program = cache.part(Part::CargoDeny, &Progress::on_stderr())?;
    let root = paths::checkout()?;
    let mut deny = Command::new(program);
    deny.current_dir(&root)
        .env("CARGO", cargo()?.get_program())
        .args(["--locked", "--config", ".deny.toml", "check"])
        .args(checks);
    whether(&mut deny)
}

fn check_tidiness() -> Outcome<Tally> {
    let broken = tidy::report(&paths::checkout()?)?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Ok(Tally {
        passed: count(tidy::rules() - broken),
        failed: count(broken),
    })
}

fn build_console(cache: &Cache) -> Outcome<Tally> {
    let dist = target_folder()?.join("console");
    console::build_console(&paths::checkout()?, cache.root(), &dist, &|text| {
        eprintln!("  {text}")
    })?;
    Ok(Tally::passed())
}

/// The names of the workspace's other test binaries.
fn integration_tests() -> Outcome<Vec<String>> {
    let output = cargo()?
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .doing(|| "asking cargo for the workspace".into())?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .doing(|| "reading what cargo says of the workspace".into())?;
    let mut names: Vec<String> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .filter(|name| !END_TO_END.contains(&name.as_str()))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Runs `cargo test` with `flags`, shows what it says, and adds up its results.
fn count(flags: &[&str], servers: Option<&Servers>, filter: Option<&str>) -> Outcome<Tally> {
    let doing = || "running cargo test".to_owned();
    let mut command = cargo()?;
    // The same selection as everywhere: another one would resolve other features and build twice.
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(flags);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    if let Some(servers) = servers {
        command.envs(servers.variables());
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .doing(doing)?;
    let stdout = child.stdout.take().ok_or_else(|| Failure::new(doing()))?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.doing(doing)?;
        println!("{line}");
        if let Some(result) = parse_result(&line) {
            tally = tally.and(result);
        }
    }
    let status = child.wait().doing(doing)?;
    // A build error, or a test binary that died, has no line of results.
    if !status.success() && tally.failed == 0 {
        tally = tally.and(Tally::failed());
    }
    Ok(tally)
}

/// `test result: ok. 12 passed; 0 failed; 0 ignored; …`. An ignored test has not passed.
fn parse_result(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |what: &str| -> Option<u64> {
        let before = &rest[..rest.find(what)?];
        before
            .split([' ', ';'])
            .rfind(|word| !word.is_empty())?
            .parse()
            .ok()
    };
    Some(Tally {
        passed: number(" passed")?,
        failed: number(" failed")? + number(" ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_results_are_added_up() {
        let check = |line: &str, expected: Option<(u64, u64)>| {
            let expected = expected.map(|(passed, failed)| Tally { passed, failed });
            assert_eq!(parse_result(line), expected, "{line}");
        };
        check(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured",
            Some((12, 0)),
        );
        check(
            "test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured",
            Some((1, 3)),
        );
        check("test domain::works ... ok", None);
    }

    #[test]
    fn a_command_that_fails_or_is_not_there_never_counts_as_passed() {
        assert_eq!(
            whether(&mut Command::new("false")).unwrap(),
            Tally::failed()
        );
        assert!(whether(&mut Command::new("no-such-program-anywhere")).is_err());
        assert_eq!(whether(&mut Command::new("true")).unwrap(), Tally::passed());
    }
}

//! `test`: everything that must hold, phase by phase, each with its seconds; it goes on after a
//! failure, and ends with one line that says how much passed.
//!
//! The integration tests talk to real servers. This tool fetches and starts them and says where they
//! are in `SLUICE_TEST_…` variables; a test that does not find its variable fails and says so.

mod phase;
mod report;
mod servers;

use std::time::{Duration, Instant};

use phase::{Phase, Tally};
use report::Report;
use servers::Servers;

use crate::failure::{Doing as _, Failure, Outcome};
use crate::faults;
use crate::parts::{Cache, Part, TO_RUN};
use crate::progress::Progress;
use crate::stack::{binaries, secrets};

/// The word for the randomised run.
const FAULTS: &str = "faults";

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One phase (format, tidy, dependencies, build, unit, integration, console, end-to-end, docs,
    /// lints), or part of the name of a test, or `faults`: a randomised run against a whole stack, or
    /// `advisories`: what is known against what is depended on. Without it, everything but those two.
    #[arg(value_name = "PHASE|FILTER|faults")]
    only: Option<String>,
    /// What `faults` draws from; made up, and said, when it is not.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many minutes `faults` goes on.
    #[arg(long, value_name = "M", default_value_t = 5.0)]
    minutes: f64,
    /// Let `faults` take the programs as they were last built.
    #[arg(long)]
    no_build: bool,
}

/// Runs the phases.
pub(crate) fn run(args: &Args) -> Outcome {
    if args.only.as_deref() == Some(FAULTS) {
        return run_faults(args);
    }
    let cache = Cache::open()?;
    let others = [Part::PostgresWithTls, Part::CargoDeny, Part::PythonClients];
    let missing = cache.missing_tools(&[&TO_RUN[..], &others].concat())?;
    if !missing.is_empty() {
        return Err(Failure::new(missing.join("; ")));
    }
    let (phases, filter) = chosen(args.only.as_deref());
    let mut report = Report::default();
    let mut servers: Option<Servers> = None;
    for phase in phases {
        let started = Instant::now();
        eprintln!("\n── {} ──", phase.name());
        if phase.needs_servers() && servers.is_none() {
            servers = Some(Servers::start(&cache, &Progress::on_stderr())?);
        }
        let tally = match phase.run(&cache, servers.as_ref(), filter.as_deref()) {
            Ok(tally) => tally,
            Err(failure) => {
                eprintln!("{}: {failure}", phase.name());
                Tally::failed()
            }
        };
        report.add(phase, tally, started.elapsed());
        if phase.is_vital() && tally.failed > 0 {
            eprintln!("Nothing after this can pass.");
            break;
        }
    }
    drop(servers);
    println!("{report}");
    // The line that scripts look for is the last one.
    if report.failed() > 0 {
        return Err(Failure::told());
    }
    Ok(())
}

/// The randomised run, on the programs as they are now.
fn run_faults(args: &Args) -> Outcome {
    if !args.no_build {
        binaries::build(false)?;
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => u64::from(u32::from_le_bytes(secrets::random()?)),
    };
    faults::run(faults::Plan {
        seed,
        lasts: Duration::try_from_secs_f64(args.minutes * 60.0)
            .doing(|| format!("--minutes {}", args.minutes))?,
    })
}

/// The phases to run and the filter for tests' names.
fn chosen(only: Option<&str>) -> (Vec<Phase>, Option<String>) {
    match only {
        None => (Phase::ALL.to_vec(), None),
        Some(word) => match [&Phase::ALL[..], &Phase::ASKED_FOR]
            .concat()
            .iter()
            .find(|phase| phase.name() == word)
        {
            Some(phase) => (vec![*phase], None),
            None => (
                vec![
                    Phase::Build,
                    Phase::Unit,
                    Phase::Integration,
                    Phase::EndToEnd,
                ],
                Some(word.to_owned()),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_phase_or_a_filter() {
        assert_eq!(chosen(None).0.len(), Phase::ALL.len());
        assert_eq!(chosen(Some("tidy")), (vec![Phase::Tidy], None));
        assert_eq!(chosen(Some("advisories")).0, [Phase::Advisories]);
        assert!(!chosen(None).0.contains(&Phase::Advisories));
        let (phases, filter) = chosen(Some("revoked"));
        assert!(phases.contains(&Phase::Unit) && !phases.contains(&Phase::Lints));
        assert_eq!(filter.as_deref(), Some("revoked"));
    }
}

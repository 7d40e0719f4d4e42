//! The end of a test run: seconds and results by phase, and the line that scripts look for.

use std::fmt;
use std::time::Duration;

use super::phase::{Phase, Tally};

/// What the phases came to.
#[derive(Default)]
pub(super) struct Report {
    phases: Vec<(Phase, Tally, Duration)>,
}

// === impl Report ===

impl Report {
    pub(super) fn add(&mut self, phase: Phase, tally: Tally, took: Duration) {
        eprintln!("── {} took {:.1} s ──", phase.name(), took.as_secs_f64());
        self.phases.push((phase, tally, took));
    }

    pub(super) fn failed(&self) -> u64 {
        self.total().failed
    }

    fn total(&self) -> Tally {
        self.phases
            .iter()
            .fold(Tally::default(), |sum, (_, tally, _)| sum.and(*tally))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n  {:12} {:>9} {:>7} {:>7}",
            "phase", "seconds", "passed", "failed"
        )?;
        let mut seconds = 0.0;
        for (phase, tally, took) in &self.phases {
            let Tally { passed, failed } = tally;
            seconds += took.as_secs_f64();
            let took = took.as_secs_f64();
            writeln!(
                f,
                "  {:12} {took:>9.1} {passed:>7} {failed:>7}",
                phase.name()
            )?;
        }
        writeln!(f, "  {:12} {seconds:>9.1}\n", "together")?;
        let Tally { passed, failed } = self.total();
        write!(f, "{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_sums_up_all_phases() {
        let mut report = Report::default();
        report.add(
            Phase::Tidy,
            Tally {
                passed: 6,
                failed: 0,
            },
            Duration::from_secs(1),
        );
        report.add(
            Phase::Unit,
            Tally {
                passed: 30,
                failed: 2,
            },
            Duration::from_secs(9),
        );
        assert_eq!(
            report.to_string().lines().last(),
            Some("36 passed, 2 failed")
        );
        assert_eq!(report.failed(), 2);
    }
}

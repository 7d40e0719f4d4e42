//! One round of a measurement: a load on a server, and what the server spent on it.

use std::time::Duration;

use super::cpu::{self, CoreWatch, Cores, ratio};
use super::load::{self, Report, Shape, Target};
use super::median;
use crate::failure::{Failure, Outcome};

/// What one round found.
pub(super) struct Round {
    /// Answers a second.
    pub(super) rate: f64,
    /// User and system time of the server for one answer, in microseconds.
    pub(super) cpu_us: f64,
    /// Half of the requests took at most this long, in milliseconds.
    pub(super) p50_ms: f64,
    /// All but one in a hundred took at most this long, in milliseconds.
    pub(super) p99_ms: f64,
    /// Half of the requests had their first bytes after this, in milliseconds.
    pub(super) first_bytes_p50_ms: f64,
    /// How busy the core with the load was, in per cent.
    pub(super) load_core_busy_pct: f64,
    /// How busy the server's core was, in per cent.
    pub(super) server_core_busy_pct: f64,
}

/// Measures one round; an answer that is not 200 fails it, because it would cost less.
pub(super) async fn measure(
    cores: Cores,
    pids: &[u32],
    target: &Target,
    shape: Shape,
) -> Outcome<Round> {
    let load_core = CoreWatch::begin(cores.load)?;
    let server_core = CoreWatch::begin(cores.server)?;
    let before = cpu::time_used(pids)?;
    let report = load::run(Some(cores.load), target, shape).await?;
    let used = cpu::time_used(pids)?.saturating_sub(before);
    let (load_core, server_core) = (load_core.busy_percent()?, server_core.busy_percent()?);
    check(&report)?;
    Ok(Round {
        rate: report.rate(),
        cpu_us: microseconds(used) / ratio(report.answers, 1),
        p50_ms: report.milliseconds(0.5),
        p99_ms: report.milliseconds(0.99),
        first_bytes_p50_ms: report.first_bytes_milliseconds(0.5),
        load_core_busy_pct: load_core,
        server_core_busy_pct: server_core,
    })
}

/// The median of one figure over rounds.
pub(super) fn middle(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(figure).collect())
}

fn check(report: &Report) -> Outcome {
    match (report.answers, report.refused) {
        (0, 0) => Err(Failure::new("no request was answered")),
        (_, 0) => Ok(()),
        (answers, refused) => Err(Failure::new(format!(
            "{refused} of {} requests were not answered with status 200, one with {}",
            answers + refused,
            report.refusal.as_deref().unwrap_or("nothing")
        ))),
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

//! What the worker has done, for the status page and for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::decided::Decided;
use crate::status::{Metrics, Part};

/// Counters of this process; the corrections themselves are in ClickHouse.
#[derive(Debug, Default)]
pub struct Status {
    /// Passes that were made.
    pub passes: AtomicU64,
    /// The position of the last correction of a price that requests agree with.
    pub position: AtomicU64,
    /// Whether anything is known yet.
    begun: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
}

/// What keeps the worker from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// In words.
    pub(super) what: String,
    /// Whether it is that Postgres does not say where the log ends: then corrections wait, and all other parts go on without it.
    pub(super) is_postgres: bool,
}

// === impl Status ===

impl Status {
    /// What keeps the worker from working, if something does.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        self.begun.store(true, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Requests agree with these.
    pub(super) fn agrees(&self, decided: &[Decided]) {
        let position = decided.last().map_or(0, |it| it.repriced.position);
        self.position.store(position, Ordering::Relaxed);
    }
}

/// The worker on the status page.
pub struct CorrectionsPart(pub Arc<Status>);

impl Part for CorrectionsPart {
    fn name(&self) -> &'static str {
        "corrections of prices"
    }

    fn ready(&self) -> Result<(), String> {
        if !self.0.begun.load(Ordering::Relaxed) {
            return Err("begins".to_owned());
        }
        let trouble = self.0.trouble().filter(|it| !it.is_postgres);
        trouble.map_or(Ok(()), |it| Err(it.what))
    }

    fn metrics(&self, out: &mut Metrics) {
        out.gauge(
            "sluice_corrections_position",
            "The position of the last correction of a price that the ledger's costs agree with.",
            self.0.position.load(Ordering::Relaxed),
        );
        out.counter(
            "sluice_corrections_passes_total",
            "Times that requests were compared with the corrections of prices, and something was written down.",
            self.0.passes.load(Ordering::Relaxed),
        );
        out.gauge(
            "sluice_corrections_working",
            "0 while something is in the way.",
            u64::from(self.0.begun.load(Ordering::Relaxed) && self.0.trouble().is_none()),
        );
    }
}

//! What the ledger worker has done, for the status page and for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::status::{Metrics, Part};

/// Counters of this process; the ledger itself is in ClickHouse.
#[derive(Debug, Default)]
pub struct Status {
    /// Rows inserted.
    pub rows: AtomicU64,
    /// Batches inserted.
    pub batches: AtomicU64,
    /// Batches inserted again after a crash.
    pub replayed: AtomicU64,
    /// Records that came again and were not counted again.
    pub repeated: AtomicU64,
    /// Records that never came.
    pub lost: AtomicU64,
    /// Messages that could not be read, now in the dead-letter stream.
    pub dead: AtomicU64,
    /// The last message in the ledger, by its sequence in `USAGE`.
    pub last_sequence: AtomicU64,
    /// Whether another worker is at work.
    pub standby: AtomicBool,
    /// Whether anything is known yet: whether it works, waits or stands by.
    begun: AtomicBool,
    trouble: Mutex<Option<String>>,
}

// === impl Status ===

impl Status {
    /// What keeps the worker from working, if something does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Another worker is at work, and nothing is in the way.
    pub(super) fn stand_by(&self) {
        self.standby.store(true, Ordering::Relaxed);
        self.set_trouble(None);
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        self.begun.store(true, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The worker on the status page.
pub struct LedgerPart(pub Arc<Status>);

impl Part for LedgerPart {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn ready(&self) -> Result<(), String> {
        if !self.0.begun.load(Ordering::Relaxed) {
            return Err("begins".to_owned());
        }
        self.0.trouble().map_or(Ok(()), Err)
    }

    fn metrics(&self, out: &mut Metrics) {
        let Status {
            rows,
            batches,
            replayed,
            repeated,
            lost,
            dead,
            last_sequence,
            standby,
            begun: _,
            trouble: _,
        } = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        out.counter("sluice_ledger_rows_total", "Requests inserted.", read(rows));
        out.counter(
            "sluice_ledger_batches_total",
            "Batches inserted.",
            read(batches),
        );
        out.counter(
            "sluice_ledger_batches_replayed_total",
            "Batches inserted again at a start.",
            read(replayed),
        );
        out.counter(
            "sluice_ledger_records_repeated_total",
            "Records that had been counted before.",
            read(repeated),
        );
        out.counter(
            "sluice_ledger_records_lost_total",
            "Records that never came.",
            read(lost),
        );
        out.counter(
            "sluice_ledger_messages_dead_total",
            "Messages that could not be read.",
            read(dead),
        );
        out.gauge(
            "sluice_ledger_last_sequence",
            "The last message of USAGE in the ledger.",
            read(last_sequence),
        );
        out.gauge(
            "sluice_ledger_standby",
            "1 while another worker is at work.",
            u64::from(standby.load(Ordering::Relaxed)),
        );
        out.gauge(
            "sluice_ledger_working",
            "0 while something is in the way.",
            u64::from(self.ready().is_ok()),
        );
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: impl TryInto<u64>) {
    counter.fetch_add(count.try_into().unwrap_or(0), Ordering::Relaxed);
}

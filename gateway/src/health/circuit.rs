//! A circuit breaker over consecutive failures, after Nygard, *Release It!* (2007): closed, open for a while, then one
//! request at a time that finds out whether the target works again. Each time that it does not, it stays open twice as
//! long.
//!
//! Atomic words, no lock: what two threads do at once may count a failure too few, and never opens twice.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use events_schema::usage::Circuit;

/// How often the time doubles at most: 32 times the first.
const MOST_DOUBLINGS: u32 = 5;
/// A request that finds out has this long before another one may try, in microseconds: it may have been dropped.
const PROBE_US: u64 = 30_000_000;

/// When circuits open, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// After how many failures in a row.
    pub failures: u32,
    /// For how long the first time.
    pub open: Duration,
}

/// One target's circuit. Times are microseconds on a monotonic clock that begins above 0.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Failures in a row, while it is closed.
    failures: AtomicU32,
    /// How often in a row it was opened.
    openings: AtomicU32,
    /// Until when it is open; 0: it is closed.
    open_until: AtomicU64,
    /// Until when a request is finding out; 0: none is.
    probe_until: AtomicU64,
}

impl Breaker {
    /// How it stands for a request that is planned now. With [`Circuit::Probe`], that request alone may find out: it is to
    /// be told by [`Self::succeeded`], [`Self::failed`] or [`Self::release`].
    pub fn take(&self, now_us: u64) -> Circuit {
        match self.open_until.load(Relaxed) {
            0 => return Circuit::Closed,
            until if now_us < until => return Circuit::Open,
            _ => {}
        }
        let probing = self.probe_until.load(Relaxed);
        if now_us < probing {
            return Circuit::Open;
        }
        let taken = self
            .probe_until
            .compare_exchange(probing, now_us + PROBE_US, Relaxed, Relaxed);
        if taken.is_ok() {
            Circuit::Probe
        } else {
            Circuit::Open
        }
    }

    /// How it stands, for a look.
    pub fn look(&self, now_us: u64) -> Circuit {
        match self.open_until.load(Relaxed) {
            0 => Circuit::Closed,
            until if now_us < until => Circuit::Open,
            _ => Circuit::Probe,
        }
    }

    /// The request that was to find out does not.
    pub fn release(&self) {
        self.probe_until.store(0, Relaxed);
    }

    /// The target has answered.
    pub fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.open_until.load(Relaxed) != 0 {
            self.open_until.store(0, Relaxed);
            self.openings.store(0, Relaxed);
            self.probe_until.store(0, Relaxed);
        }
    }

    /// The target has failed. Failures of requests that were under way when it opened do not count.
    pub fn failed(&self, now_us: u64, tolerance: Tolerance) {
        let until = self.open_until.load(Relaxed);
        if now_us < until {
            return;
        }
        let is_closed = until == 0;
        if is_closed && self.failures.fetch_add(1, Relaxed) + 1 < tolerance.failures {
            return;
        }
        let doublings = self.openings.load(Relaxed).min(MOST_DOUBLINGS);
        let open = tolerance.open.saturating_mul(1 << doublings);
        let open_us = u64::try_from(open.as_micros()).unwrap_or(u64::MAX);
        let reopens = self.open_until.compare_exchange(
            until,
            now_us.saturating_add(open_us).max(1),
            Relaxed,
            Relaxed,
        );
        if reopens.is_ok() {
            self.openings.fetch_add(1, Relaxed);
            self.failures.store(0, Relaxed);
            self.probe_until.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        failures: 3,
        open: Duration::from_micros(100),
    };

    fn failed(breaker: &Breaker, times: u32, now_us: u64) {
        for _ in 0..times {
            breaker.failed(now_us, TOLERANCE);
        }
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let breaker = Breaker::default();
        failed(&breaker, 2, 1);
        breaker.succeeded();
        failed(&breaker, 2, 1);
        assert_eq!(breaker.take(2), Circuit::Closed);
        failed(&breaker, 1, 3);
        assert_eq!(breaker.take(4), Circuit::Open);
    }

    #[test]
    fn one_request_finds_out_whether_it_works_again() {
        let breaker = Breaker::default();
        failed(&breaker, 3, 1);
        assert_eq!(breaker.take(100), Circuit::Open);
        assert_eq!(breaker.look(101), Circuit::Probe);
        assert_eq!(
            [breaker.take(101), breaker.take(101)],
            [Circuit::Probe, Circuit::Open]
        );
        breaker.release();
        assert_eq!(breaker.take(102), Circuit::Probe);
        breaker.succeeded();
        assert_eq!(breaker.take(103), Circuit::Closed);
    }

    #[test]
    fn each_time_in_vain_it_stays_open_twice_as_long() {
        let breaker = Breaker::default();
        failed(&breaker, 3, 1);
        let mut now = 101;
        for doubling in 1..=7_u32 {
            assert_eq!(breaker.take(now), Circuit::Probe, "{doubling}");
            failed(&breaker, 1, now);
            let open = 100 << doubling.min(MOST_DOUBLINGS);
            assert_eq!(breaker.take(now + open - 1), Circuit::Open, "{doubling}");
            now += open;
        }
    }

    #[test]
    fn a_request_that_never_comes_back_does_not_keep_it_open() {
        let breaker = Breaker::default();
        failed(&breaker, 3, 1);
        assert_eq!(breaker.take(101), Circuit::Probe);
        assert_eq!(breaker.take(100 + PROBE_US), Circuit::Open);
        assert_eq!(breaker.take(101 + PROBE_US), Circuit::Probe);
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_keep_it_open_longer() {
        let breaker = Breaker::default();
        failed(&breaker, 50, 1);
        assert_eq!(breaker.take(101), Circuit::Probe);
    }
}

//! How long a decision over many counters takes.

use std::hint::black_box;
use std::time::Instant;

use events_schema::time::Timestamp;
use gateway_policy::limits::Measure;
use gateway_policy::limits::admission::{Charge, admit};
use gateway_policy::limits::counter::{Counter, Mode, Reach, Terms, WhenCutOff};
use gateway_policy::limits::message::CounterId;
use gateway_policy::limits::period::Period;
use gateway_policy::limits::share::Share;

use super::super::median;

/// Decisions that are timed together: one alone is too short for the clock.
const BATCH: u32 = 1_000;

/// 2026-11-22T12:00:00Z, in microseconds.
pub(super) const BEGINNING_US: i64 = 1_795_348_800_000_000;

/// The time of a decision over so many counters that admit it, in nanoseconds.
pub(super) fn admit_ns(many: u8, thousands: u32) -> f64 {
    let mut counters: Vec<Counter> = (0..many).map(counter).collect();
    let mut charges: Vec<Charge> = (0..counters.len())
        .map(|counter| Charge::new(counter, 1))
        .collect();
    let reach = Reach::Together {
        halvings: 0,
        silent_us: 0,
    };
    // A thousand requests a second.
    let mut now = Timestamp::MIN.plus_micros(BEGINNING_US);
    let mut batch = || {
        let begun = Instant::now();
        for _ in 0..BATCH {
            now = now.plus_micros(1_000);
            let decided = admit(
                black_box(&mut counters[..]),
                black_box(&mut charges),
                reach,
                now,
            );
            let _ = black_box(decided);
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
    };
    median((0..thousands).map(|_| batch()).collect())
}

fn counter(at: u8) -> Counter {
    let id = CounterId {
        rule: [at; 16],
        measure: Measure::Requests,
        period: Period::ALL[usize::from(at) % Period::ALL.len()],
        segment: [0; 16],
    };
    let terms = Terms::of_rate_limit(u64::MAX, Mode::Enforce, WhenCutOff::Alone);
    Counter::new(id, terms, Share::of_2_32(1 << 31))
}

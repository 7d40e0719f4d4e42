//! `admit` allocates nothing, whether it admits or refuses: counted by the allocator itself.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    Measure,
    admission::{Charge, admit},
    counter::{Counter, Mode, Reach, Terms},
    message::CounterId,
    period::Period,
    share::Share,
};

/// The system's allocator, which counts what each thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "the one way to count allocations; everything is handed on to the system's allocator"
)]
// SAFETY: each call is handed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `what` takes memory.
fn taken(what: impl FnOnce()) -> u64 {
    let before = TAKEN.with(Cell::get);
    what();
    TAKEN.with(Cell::get) - before
}

/// Twenty counters, some of each period.
fn counters(most: u64) -> Vec<Counter> {
    let counter = |at: u8| {
        let id = CounterId {
            rule: [at; 16],
            measure: Measure::Requests,
            period: Period::ALL[usize::from(at) % Period::ALL.len()],
            segment: [0; 16],
        };
        let terms = Terms {
            most,
            mode: Mode::Enforce,
            cut_off: None,
        };
        Counter::new(id, terms, Share::of_2_32(1 << 30))
    };
    (0..20).map(counter).collect()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(taken(|| drop(black_box(Box::new(7)))), 1);
}

#[test]
fn a_decision_over_twenty_counters_allocates_nothing() {
    let mut counters = counters(500);
    let mut charges: Vec<Charge> = (0..counters.len())
        .map(|counter| Charge::new(counter, 1))
        .collect();
    let reach = Reach::Together {
        halvings: 0,
        silent_us: 0,
    };
    let (mut admitted, mut refused) = (0, 0);
    let many = taken(|| {
        // Half an hour, so that slots and windows pass.
        for at in 0..2_000 {
            let now = Timestamp::MIN.plus_micros(1_795_348_800_000_000 + at * 900_000);
            match admit(&mut counters[..], &mut charges, reach, now) {
                Ok(_) => admitted += 1,
                Err(_) => refused += 1,
            }
        }
    });
    assert_eq!(many, 0);
    assert!(admitted > 100 && refused > 100, "{admitted} and {refused}");
}

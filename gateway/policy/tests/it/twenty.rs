//! A request that twenty counters are asked about.

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    Measure,
    admission::Charge,
    counter::{Counter, Mode, Reach, Terms},
    message::CounterId,
    period::Period,
    share::Share,
};

/// A gateway that shares its limits, and has just been told of the others.
pub(crate) const TOGETHER: Reach = Reach::Together {
    halvings: 0,
    silent_us: 0,
};

/// Twenty counters, some of each period, and what one request is charged at them.
pub(crate) fn counters(most: u64) -> (Vec<Counter>, Vec<Charge>) {
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
    let charges = (0..20).map(|counter| Charge::new(counter, 1));
    ((0..20).map(counter).collect(), charges.collect())
}

/// So many microseconds after a moment in 2026.
pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::MIN.plus_micros(1_795_348_800_000_000 + micros)
}

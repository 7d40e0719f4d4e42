//! How many requests without a key that works are recorded: anybody can send them, as many as they like.

use std::cell::Cell;

use events_schema::time::Timestamp;

/// How many a worker thread records in a second. Enough to see an attack and where its keys came from.
const A_SECOND: u32 = 20;

/// A count for the second under way.
#[derive(Debug, Default)]
pub struct Strangers {
    second: Cell<i64>,
    taken: Cell<u32>,
}

impl Strangers {
    /// Whether one more may be recorded now.
    pub fn take(&self, now: Timestamp) -> bool {
        let second = now.micros().div_euclid(1_000_000);
        if self.second.replace(second) != second {
            self.taken.set(0);
        }
        let taken = self.taken.get();
        self.taken.set(taken.saturating_add(1));
        taken < A_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_room_for_a_few() {
        let strangers = Strangers::default();
        let at = |micros| Timestamp::from_micros(micros).expect("a time");
        let taken = (0..100)
            .filter(|it| strangers.take(at(5_000_000 + it)))
            .count();
        assert_eq!(taken, A_SECOND as usize);
        assert!(strangers.take(at(6_000_000)));
    }
}

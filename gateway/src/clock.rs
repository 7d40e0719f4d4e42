//! The one place where the gateway reads the clock, draws chance and makes ids.

use std::{cell::Cell, time::Instant};

use events_schema::time::Timestamp;
use uuid::Uuid;

/// The time now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the function that reads the clock"
)]
pub fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
}

/// Whole microseconds from `begin` to now, on the monotonic clock.
#[must_use]
pub fn micros_since(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A number that callers cannot foresee, for the choice among targets.
#[must_use]
pub fn draw() -> u64 {
    STATE.with(|state| {
        let mut mixed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(mixed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

thread_local! {
    // SplitMix64 (Steele, Lea, Flood 2014), seeded by the system once a thread: a system call a request would cost more
    // than the rest of the choice.
    static STATE: Cell<u64> = Cell::new(getrandom::u64().unwrap_or(0x5eed));
}

/// A new UUID of version 7 for something that happens at `now`.
#[must_use]
pub fn uuid_v7(now: Timestamp) -> Uuid {
    let millis = now.micros().unsigned_abs() / 1_000;
    let [high, low] = [draw(), draw()].map(u64::to_be_bytes);
    let mut chance = [0; 10];
    chance[..8].copy_from_slice(&high);
    chance[8..].copy_from_slice(&low[..2]);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_version_7_and_differ() {
        let [one, other] = [uuid_v7(now()), uuid_v7(now())];
        assert_eq!((one.get_version_num(), other.get_version_num()), (7, 7));
        assert_ne!(one, other);
    }
}

//! Chance: the one place of this service that makes ids and random bytes.

use events_schema::id::Id;
use uuid::Uuid;

use crate::clock;

/// Random bytes from the operating system.
///
/// # Panics
/// When the system has none, which happens on no supported system once it is running.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A new UUID of version 7: it sorts by the time of its making.
#[must_use]
pub fn uuid() -> Uuid {
    let millis = clock::now().micros().unsigned_abs() / 1_000;
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes()).into_uuid()
}

/// A new id.
#[must_use]
pub fn id<T>() -> Id<T> {
    Id::from_uuid(uuid())
}

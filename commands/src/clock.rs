//! The clock: the one place of this service that reads it.

use events_schema::time::Timestamp;

/// What time it is.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the function of the shell that reads the clock"
    )]
    let now = std::time::SystemTime::now();
    let micros = now
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    i64::try_from(micros)
        .ok()
        .and_then(|micros| Timestamp::from_micros(micros).ok())
        .unwrap_or(Timestamp::MAX)
}

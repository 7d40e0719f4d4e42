//! The one place of this tool that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    now_us() / 1_000
}

/// Unix microseconds.
pub(crate) fn now_us() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this tool that reads the clock"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

//! What only the browser knows: the time, chance, and how wide the window is.
//!
//! The one place that reads them. Everything else gets them as values.

use chrono::{DateTime, Utc};
use events_schema::id::CommandId;
use gloo_timers::callback::Interval;
use uuid::Uuid;
use yew::prelude::*;

/// PatternFly's `xl`: from here on the navigation stands beside the page.
const WIDE: &str = "(min-width: 75rem)";

/// The time, by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the console's one reader of the clock"
)]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A new command's id.
#[expect(clippy::disallowed_methods, reason = "the console's one maker of ids")]
pub(crate) fn new_command_id() -> CommandId {
    CommandId::from_uuid(Uuid::new_v4())
}

/// Whether the window has room for the navigation beside the page.
pub(crate) fn is_wide() -> bool {
    let query = web_sys::window().and_then(|window| window.match_media(WIDE).ok()?);
    query.is_none_or(|query| query.matches())
}

/// The time, again every `every_ms` milliseconds.
#[hook]
pub(crate) fn use_now(every_ms: u32) -> DateTime<Utc> {
    let time = use_state(now);
    {
        let time = time.clone();
        use_effect_with(every_ms, move |every_ms| {
            let ticking = Interval::new(*every_ms, move || time.set(now()));
            move || drop(ticking)
        });
    }
    *time
}

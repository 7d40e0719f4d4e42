//! What only the browser knows: the time, chance, how wide the window is, and the query of the address.
//!
//! The one place that reads them. Everything else gets them as values.

use chrono::{DateTime, Utc};
use events_schema::id::CommandId;
use gloo_timers::callback::Interval;
use uuid::Uuid;
use wasm_bindgen::JsValue;
use yew::prelude::*;
use yew_nested_router::History;

use crate::query::Query;

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

/// The query of the address, and what puts another in its place.
#[derive(Clone, PartialEq)]
pub(crate) struct AddressQuery {
    /// The query now.
    pub(crate) query: Query,
    /// Changes it in place: the way back leads to the screen before, not to every letter that was typed.
    pub(crate) set: Callback<Query>,
}

// === impl AddressQuery ===

impl AddressQuery {
    /// What an input calls to change one value.
    pub(crate) fn edit(&self, name: &'static str) -> Callback<String> {
        self.set
            .reform(move |value: String| here().with(name, &value))
    }
}

/// The query of the address, drawn anew when it changes.
#[hook]
pub(crate) fn use_query() -> AddressQuery {
    let query = use_state_eq(here);
    {
        let query = query.setter();
        use_effect_with((), move |()| {
            let listener = History::listener(move || query.set(here()));
            move || drop(listener)
        });
    }
    AddressQuery {
        query: (*query).clone(),
        set: use_callback((), |query: Query, ()| replace_query(&query)),
    }
}

/// Goes to an address of the console.
pub(crate) fn go(url: &str) {
    // It fails only for an address of another origin.
    drop(History::push_state(JsValue::NULL, url));
}

/// Where the console is reached.
pub(crate) fn origin() -> String {
    let origin = web_sys::window().and_then(|window| window.location().origin().ok());
    origin.unwrap_or_default()
}

fn here() -> Query {
    let search = web_sys::window().and_then(|window| window.location().search().ok());
    Query::parse(&search.unwrap_or_default())
}

fn replace_query(query: &Query) {
    let path = web_sys::window().and_then(|window| window.location().pathname().ok());
    let url = format!("{}{}", path.unwrap_or_default(), query.suffix());
    drop(History::replace_state(JsValue::NULL, &url));
}

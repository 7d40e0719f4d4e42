//! What happens while one looks: the history's live end, by server-sent events.
//!
//! Screens do not read the events. They ask for the newest position of the aggregates that they show and
//! load again when it grows: so there is one way to load, and nothing that could drift from it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use events_schema::api::history::HistoryEvent;
use events_schema::events::Aggregate;
use gloo_events::EventListener;
use gloo_timers::callback::Timeout;
use wasm_bindgen::JsCast;
use web_sys::{EventSource, MessageEvent};
use yew::prelude::*;

/// Where the live end is.
const URL: &str = "/api/v1/events/live";

/// Events are taken note of together, so that a thousand changes a second do not draw a thousand times.
const GATHER_MS: u32 = 150;

/// How far the history is known to go, for each aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Live {
    /// Whether the connection stands.
    pub(crate) connected: bool,
    /// The newest position seen.
    pub(crate) position: u64,
    newest: BTreeMap<Aggregate, u64>,
}

/// What changes it.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The connection stands, or fell.
    Connected(bool),
    /// Events happened at these positions.
    Events(Vec<(Aggregate, u64)>),
}

/// The live end, and the way to say what one has seen oneself.
pub(crate) type LiveHandle = UseReducerHandle<Live>;

/// Provides the live end to all below.
#[component]
pub(crate) fn LiveProvider(props: &yew::html::ChildrenProps) -> Html {
    let live = use_reducer_eq(Live::default);
    {
        let dispatcher = live.dispatcher();
        use_effect_with((), move |()| {
            let connection = Connection::open(dispatcher);
            move || drop(connection)
        });
    }
    html!(<ContextProvider<LiveHandle> context={live}>{ props.children.clone() }</ContextProvider<LiveHandle>>)
}

/// The live end of the [`LiveProvider`] above.
#[hook]
pub(crate) fn use_live() -> LiveHandle {
    use_context().expect("the screens lie within a LiveProvider")
}

/// An open event source, closed when dropped.
struct Connection {
    source: Option<EventSource>,
    _listeners: Vec<EventListener>,
}

/// What came in since it was last taken note of.
#[derive(Default)]
struct Gathered {
    events: Vec<(Aggregate, u64)>,
    flush: Option<Timeout>,
}

// === impl Live ===

impl Live {
    /// The newest position at which one of these changed, as far as is known.
    pub(crate) fn newest(&self, aggregates: &[Aggregate]) -> u64 {
        aggregates
            .iter()
            .filter_map(|aggregate| self.newest.get(aggregate))
            .copied()
            .max()
            .unwrap_or(0)
    }

    fn after(&self, seen: Seen) -> Self {
        let mut next = self.clone();
        match seen {
            Seen::Connected(connected) => next.connected = connected,
            Seen::Events(events) => {
                for (aggregate, position) in events {
                    let newest = next.newest.entry(aggregate).or_default();
                    *newest = position.max(*newest);
                    next.position = position.max(next.position);
                }
            }
        }
        next
    }
}

impl Reducible for Live {
    type Action = Seen;

    fn reduce(self: Rc<Self>, seen: Seen) -> Rc<Self> {
        Rc::new(self.after(seen))
    }
}

// === impl Connection ===

impl Connection {
    /// Opens the event source; the browser itself connects again, and says where it was.
    fn open(dispatcher: UseReducerDispatcher<Live>) -> Self {
        let Ok(source) = EventSource::new(URL) else {
            return Self {
                source: None,
                _listeners: Vec::new(),
            };
        };
        let connected = |is_connected: bool| {
            let dispatcher = dispatcher.clone();
            move |_: &Event| dispatcher.dispatch(Seen::Connected(is_connected))
        };
        let listeners = vec![
            EventListener::new(&source, "open", connected(true)),
            EventListener::new(&source, "error", connected(false)),
            EventListener::new(&source, "message", note_events(dispatcher)),
        ];
        Self {
            source: Some(source),
            _listeners: listeners,
        }
    }
}

/// Gathers events and dispatches them together.
fn note_events(dispatcher: UseReducerDispatcher<Live>) -> impl FnMut(&Event) {
    let gathered = Rc::new(RefCell::new(Gathered::default()));
    move |event| {
        let Some(text) = event.unchecked_ref::<MessageEvent>().data().as_string() else {
            return;
        };
        let Ok(event) = serde_json::from_str::<HistoryEvent>(&text) else {
            return;
        };
        let mut now = gathered.borrow_mut();
        now.events.push((event.aggregate, event.position));
        if now.flush.is_none() {
            let (gathered, dispatcher) = (Rc::clone(&gathered), dispatcher.clone());
            now.flush = Some(Timeout::new(GATHER_MS, move || {
                let mut gathered = gathered.borrow_mut();
                gathered.flush = None;
                dispatcher.dispatch(Seen::Events(std::mem::take(&mut gathered.events)));
            }));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_aggregates_that_changed_are_newer() {
        let live = Live::default().after(Seen::Events(vec![
            (Aggregate::Key, 7),
            (Aggregate::Model, 5),
        ]));
        assert_eq!(live.newest(&[Aggregate::Model]), 5);
        assert_eq!(live.newest(&[Aggregate::Model, Aggregate::Key]), 7);
        assert_eq!(live.newest(&[Aggregate::User]), 0);
    }

    #[test]
    fn an_event_that_comes_again_changes_nothing() {
        let once = Live::default().after(Seen::Events(vec![(Aggregate::Key, 7)]));
        assert_eq!(
            once.after(Seen::Events(vec![(Aggregate::Key, 6), (Aggregate::Key, 7)])),
            once
        );
    }
}

//! What happens while one looks: the history's live end, by server-sent events.
//!
//! Screens do not read the events. They ask for the newest position of the aggregates that they show and
//! load again when it grows: so there is one way to load, and nothing that could drift from it.
//!
//! Who may not read the history is not told of its events; for them the log's position is asked for now and then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use events_schema::api::history::HistoryEvent;
use events_schema::api::status::Status;
use events_schema::events::Aggregate;
use gloo_events::EventListener;
use gloo_timers::callback::{Interval, Timeout};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{EventSource, MessageEvent};
use yew::prelude::*;

use super::{Client, use_client};
use crate::session::use_session;

/// Where the live end is.
const URL: &str = "/api/v1/events/live";

/// Events are taken note of together, so that a thousand changes a second do not draw a thousand times.
const GATHER_MS: u32 = 150;

/// A browser gives up after an answer that is no stream, as a server that starts gives; then it is tried again
/// after so long.
const REOPEN_MS: u32 = 2_000;

/// How often the position is asked for where events are not to be had.
const ASK_MS: u32 = 5_000;

/// How far the history is known to go, for each aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Live {
    /// Whether changes come in.
    pub(crate) standing: Standing,
    /// The newest position seen.
    pub(crate) position: u64,
    /// Anything may have changed up to here.
    caught_up: u64,
    newest: BTreeMap<Aggregate, u64>,
}

/// Whether changes come in by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// Not yet, but soon.
    #[default]
    Connecting,
    /// Yes.
    Connected,
    /// Not any more.
    Lost,
}

/// What changes it.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The connection stands, or fell.
    Standing(Standing),
    /// Events happened at these positions.
    Events(Vec<(Aggregate, u64)>),
    /// The log goes to this position, and nobody knows what happened on the way.
    Head(u64),
}

/// The live end, and the way to say what one has seen oneself.
pub(crate) type LiveHandle = UseReducerHandle<Live>;

/// Provides the live end to all below.
#[component]
pub(crate) fn LiveProvider(props: &yew::html::ChildrenProps) -> Html {
    let live = use_reducer_eq(Live::default);
    let client = use_client();
    let may_read_history = use_session().may_read_history();
    let round = use_state_eq(|| 0_u32);
    {
        let dispatcher = live.dispatcher();
        let after = live.position;
        let reopen = {
            let round = round.clone();
            Callback::from(move |()| round.set(*round + 1))
        };
        use_effect_with((may_read_history, *round), move |(may_read_history, _)| {
            let source: Box<dyn std::any::Any> = if *may_read_history {
                Box::new(Connection::open(after, &client, &dispatcher, &reopen))
            } else {
                Box::new(ask_now_and_then(&client, &dispatcher))
            };
            move || drop(source)
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
            .max(self.caught_up)
    }

    fn after(&self, seen: Seen) -> Self {
        let mut next = self.clone();
        match seen {
            Seen::Standing(standing) => next.standing = standing,
            Seen::Head(position) => {
                next.caught_up = position.max(next.caught_up);
                next.position = position.max(next.position);
            }
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
    /// Opens the event source at what comes after a position (0: now). The browser itself connects again when the
    /// connection breaks; `reopen` is called when it has given up.
    fn open(
        after: u64,
        client: &Client,
        dispatcher: &UseReducerDispatcher<Live>,
        reopen: &Callback<()>,
    ) -> Self {
        let url = match after {
            0 => URL.to_owned(),
            after => format!("{URL}?after={after}"),
        };
        let Ok(source) = EventSource::new(&url) else {
            return Self {
                source: None,
                _listeners: Vec::new(),
            };
        };
        let opened = {
            let (client, dispatcher) = (client.clone(), dispatcher.clone());
            let mut is_first = after == 0;
            move |_: &Event| {
                dispatcher.dispatch(Seen::Standing(Standing::Connected));
                // Whatever happened while the connection was away, the screens load again.
                if !std::mem::replace(&mut is_first, false) {
                    ask_for_head(&client, &dispatcher);
                }
            }
        };
        let fell = {
            let (source, client) = (source.clone(), client.clone());
            let (dispatcher, reopen) = (dispatcher.clone(), reopen.clone());
            move |_: &Event| {
                dispatcher.dispatch(Seen::Standing(Standing::Lost));
                if source.ready_state() == EventSource::CLOSED {
                    // It also finds out whether the session has ended.
                    ask_for_head(&client, &dispatcher);
                    let reopen = reopen.clone();
                    Timeout::new(REOPEN_MS, move || reopen.emit(())).forget();
                }
            }
        };
        let window = web_sys::window().expect("a browser has a window");
        // A browser keeps pages that were left, to go back to, and with each its connection: after six of them it had
        // none left for the page that is looked at.
        let left = {
            let source = source.clone();
            move |_: &Event| source.close()
        };
        let came_back = {
            let (source, reopen) = (source.clone(), reopen.clone());
            move |_: &Event| {
                if source.ready_state() == EventSource::CLOSED {
                    reopen.emit(());
                }
            }
        };
        let listeners = vec![
            EventListener::new(&source, "open", opened),
            EventListener::new(&source, "error", fell),
            EventListener::new(&source, "message", note_events(dispatcher.clone())),
            EventListener::new(&window, "pagehide", left),
            EventListener::new(&window, "pageshow", came_back),
        ];
        Self {
            source: Some(source),
            _listeners: listeners,
        }
    }
}

/// Asks how far the log goes, now and again until the interval is dropped.
fn ask_now_and_then(client: &Client, dispatcher: &UseReducerDispatcher<Live>) -> Interval {
    let (client, dispatcher) = (client.clone(), dispatcher.clone());
    let ask = move || {
        let (client, dispatcher) = (client.clone(), dispatcher.clone());
        spawn_local(async move {
            let standing = if take_head(&client, &dispatcher).await {
                Standing::Connected
            } else {
                Standing::Lost
            };
            dispatcher.dispatch(Seen::Standing(standing));
        });
    };
    ask();
    Interval::new(ASK_MS, ask)
}

/// Asks how far the log goes, without waiting for the answer.
fn ask_for_head(client: &Client, dispatcher: &UseReducerDispatcher<Live>) {
    let (client, dispatcher) = (client.clone(), dispatcher.clone());
    spawn_local(async move {
        // Where there is no answer, the connection says so by itself.
        take_head(&client, &dispatcher).await;
    });
}

/// Takes note of how far the log goes; says whether there was an answer.
async fn take_head(client: &Client, dispatcher: &UseReducerDispatcher<Live>) -> bool {
    match client.get::<Status>("/status").await {
        Ok(status) => {
            dispatcher.dispatch(Seen::Head(status.position));
            true
        }
        Err(_) => false,
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
    fn after_a_gap_everything_may_be_newer() {
        let live = Live::default()
            .after(Seen::Events(vec![(Aggregate::Key, 7)]))
            .after(Seen::Head(9));
        assert_eq!(
            [Aggregate::Key, Aggregate::User].map(|it| live.newest(&[it])),
            [9, 9]
        );
        assert_eq!(live.after(Seen::Head(8)), live);
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

//! The live end of the history as server-sent events.
//!
//! A subscriber that lags behind, or that comes back with a `Last-Event-ID`, reads the log page by page at its own
//! pace; only at the end of the log it takes events as they come. So nothing is skipped, whatever the pace, and
//! what waits in memory is never more than a page.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use events_schema::envelope::Envelope;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{api::events, app::App};
use crate::control::{Control, Logged};

/// Events read from the log at a time.
const PAGE: u32 = 200;
/// A comment is sent this often when nothing happens, so that proxies keep the connection and both ends notice when
/// it is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After a broken connection a browser comes back after this long.
const RETRY: Duration = Duration::from_secs(1);

/// What a subscriber has been sent, and where the next event comes from.
struct Subscriber {
    app: App,
    control: Control,
    new: Receiver<Arc<Logged>>,
    sent: u64,
    /// Read, not sent.
    waiting: VecDeque<Event>,
    /// Whether the log may hold events after `sent` that do not wait.
    behind: bool,
}

/// The events after `after`, for as long as the connection and the service last.
pub(super) fn follow(
    app: &App,
    control: &Control,
    after: u64,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let subscriber = Subscriber {
        app: app.clone(),
        control: control.clone(),
        new: control.subscribe(),
        sent: after,
        waiting: VecDeque::from([Event::default().retry(RETRY).comment("the history, live")]),
        behind: true,
    };
    let stopping = app.parts().stopping.clone().cancelled_owned();
    let events = stream::unfold(subscriber, next)
        .map(Ok)
        .take_until(stopping);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// The next event; `None` ends the connection, and the browser comes back with what it has seen.
async fn next(mut subscriber: Subscriber) -> Option<(Event, Subscriber)> {
    loop {
        if let Some(event) = subscriber.waiting.pop_front() {
            return Some((event, subscriber));
        }
        if subscriber.behind {
            subscriber.read_page().await?;
        } else {
            subscriber.take_new().await?;
        }
    }
}

impl Subscriber {
    async fn read_page(&mut self) -> Option<()> {
        let page = self.control.events_after(self.sent, PAGE).await.ok()?;
        self.behind = page.len() == PAGE as usize;
        self.enqueue(&page).await
    }

    async fn take_new(&mut self) -> Option<()> {
        match self.new.recv().await {
            Ok(logged) if logged.envelope.position <= self.sent => Some(()),
            Ok(logged) if logged.envelope.position == self.sent + 1 => {
                self.enqueue(std::slice::from_ref(&logged.envelope)).await
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {
                self.behind = true;
                Some(())
            }
            Err(RecvError::Closed) => None,
        }
    }

    async fn enqueue(&mut self, page: &[Envelope]) -> Option<()> {
        let events = events::history(&self.app, page).await.ok()?;
        for event in &events {
            self.sent = event.position;
            self.waiting.push_back(
                Event::default()
                    .id(event.position.to_string())
                    .json_data(event)
                    .ok()?,
            );
        }
        Some(())
    }
}

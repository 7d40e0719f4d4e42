//! The requests on a caller's connection of HTTP/2: each is a task of its own, on the connection's thread.
//!
//! The connection itself cannot say what its streams wait for: a caller that answers pings is there, and may take nothing
//! of an answer all the same. So each request knows whose turn it is: the provider's, to bring more, or the caller's, to
//! take what was given out. A caller whose turn lasts too long loses the request, which is cancelled at the provider.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::response::{Body, BrokenOff};

/// How much of an answer is given out at a time: as long as some of that is taken in time, the caller is not too slow. It
/// also is what a caller may leave lying at the end of an answer.
const PIECE_BYTES: usize = 16 * 1024;

/// What a connection and its requests know together.
pub struct Streams {
    /// How many requests are under way.
    under_way: Cell<usize>,
    idle_since: Cell<Instant>,
    /// Of the request that has begun, until its task has.
    begun: Cell<Option<Rc<Turn>>>,
    /// How long a caller may take nothing of an answer.
    patience: Duration,
    /// [`Stage::Ending`](super::worker::Stage::Ending) has begun.
    end: CancellationToken,
}

/// Whose turn it is.
#[derive(Default)]
pub struct Turn {
    is_callers: Cell<bool>,
    /// How many pieces were given out.
    pieces: Cell<u64>,
}

impl Streams {
    /// Without a request yet.
    #[must_use]
    pub fn new(patience: Duration, end: CancellationToken) -> Rc<Self> {
        Rc::new(Self {
            under_way: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            begun: Cell::new(None),
            patience,
            end,
        })
    }

    /// A request has begun; the next task is its.
    pub fn begin(&self) -> Rc<Turn> {
        let turn = Rc::<Turn>::default();
        self.begun.set(Some(Rc::clone(&turn)));
        turn
    }

    /// Waits until no request has been under way for so long.
    pub async fn idle(&self, long: Duration) {
        loop {
            let left = if self.under_way.get() > 0 {
                long
            } else {
                long.saturating_sub(self.idle_since.get().elapsed())
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

/// Runs the requests of a connection on the thread that has the connection.
#[derive(Clone)]
pub struct OnThisThread(pub Rc<Streams>);

impl<F: Future + 'static> Executor<F> for OnThisThread {
    fn execute(&self, request: F) {
        let Self(streams) = self;
        streams.under_way.set(streams.under_way.get() + 1);
        let task = Task {
            end: Box::pin(streams.end.clone().cancelled_owned()),
            has_ended: false,
            request: Box::pin(request),
            turn: streams.begun.take().unwrap_or_default(),
            stalled: None,
            streams: Rc::clone(streams),
        };
        tokio::task::spawn_local(task);
    }
}

/// A request. It is polled once more when [`Stage::Ending`](super::worker::Stage::Ending) begins: nothing else would wake
/// it.
struct Task<F> {
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    has_ended: bool,
    request: Pin<Box<F>>,
    turn: Rc<Turn>,
    /// Runs while it is the caller's turn, since so many pieces were given out. One that reads never sees it made.
    stalled: Option<(u64, Pin<Box<Sleep>>)>,
    streams: Rc<Streams>,
}

impl<F: Future> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_ended {
            self.has_ended = self.end.as_mut().poll(cx).is_ready();
        }
        if self.request.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_patience(cx)
    }
}

impl<F> Task<F> {
    /// Ready when the caller has taken nothing for too long: then this is dropped, and its stream reset.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.turn.is_callers.get() {
            self.stalled = None;
            return Poll::Pending;
        }
        let pieces = self.turn.pieces.get();
        let patience = self.streams.patience;
        let clock = match &mut self.stalled {
            Some((since, clock)) if *since == pieces => clock,
            stalled => &mut stalled.insert((pieces, Box::pin(sleep(patience)))).1,
        };
        ready!(clock.as_mut().poll(cx));
        tracing::debug!("a caller takes nothing of its answer");
        Poll::Ready(())
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.under_way.set(streams.under_way.get() - 1);
        streams.idle_since.set(Instant::now());
    }
}

/// An answer as a stream of HTTP/2 takes it: in small pieces, and so that its task knows whose turn it is.
pub struct Pieces {
    body: Body,
    /// What was taken of the body and not given out yet.
    rest: Bytes,
    turn: Rc<Turn>,
}

impl Pieces {
    /// Of an answer to the request whose turns these are.
    #[must_use]
    pub fn of(answer: Response<Body>, turn: Rc<Turn>) -> Response<Self> {
        answer.map(|body| Self {
            body,
            rest: Bytes::new(),
            turn,
        })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        // Only what was given out before and taken makes room for more.
        self.turn.is_callers.set(false);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(bytes);
        self.turn.is_callers.set(true);
        self.turn.pieces.set(self.turn.pieces.get() + 1);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        let held = self.rest.len() as u64;
        hint.exact()
            .map_or(hint, |bytes| SizeHint::with_exact(held + bytes))
    }
}

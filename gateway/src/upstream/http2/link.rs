//! One connection of HTTP/2 to a provider.
//!
//! A task on the same thread drives it. It ends when the provider ends it, when the provider says nothing for too long
//! although it was asked, or when nobody holds the connection any more and no request is under way.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep},
};

use crate::upstream::{transport::Transport, wire::MAX_HEAD_BYTES};

/// How many requests may be under way on one connection, whatever its provider allows: what most servers do. It also
/// bounds what waits behind one packet that got lost.
pub const MOST_STREAMS: usize = 128;
/// How many bytes of one answer may wait to be taken: enough for the fastest stream of tokens, and for 2.5 MB/s of
/// anything else at a distance of 50 ms.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for a whole connection: as much as all its streams together, so that one that nobody takes holds up no other.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 128;
/// What small frames may cost beside their bytes, as `h2` counts it (256 bytes less a frame's own). The same holds here:
/// answers that nobody takes must not end the connection for all others. One frame for each event of 64 bytes, in all
/// windows, is allowed for.
const FRAME_BUDGET: usize = CONNECTION_WINDOW as usize * 3;

/// How many requests that were cancelled here are remembered, and for how long: what their provider had sent before it
/// heard of it is dropped. `h2` takes frames of a stream that it has forgotten for a mistake, and would end the connection
/// for everybody after some of them; a provider that makes mistakes harms itself only.
const MOST_REMEMBERED: usize = 1_024;
/// See [`MOST_REMEMBERED`].
const REMEMBERED: Duration = Duration::from_secs(30);

const _: () = assert!(CONNECTION_WINDOW as usize == STREAM_WINDOW as usize * MOST_STREAMS);

/// A connection. Dropped, it goes on until the requests on it have ended.
pub struct Link {
    sender: SendRequest<Bytes>,
    state: Rc<State>,
    idle_since: Cell<Instant>,
    has_answered: Cell<bool>,
}

/// What a connection, its task and its streams know together.
#[derive(Default)]
pub(super) struct State {
    /// How many bytes the provider has sent.
    pub(super) read: Cell<u64>,
    /// How many bytes have left for the provider.
    pub(super) written: Cell<u64>,
    /// How many requests are under way.
    open: Cell<usize>,
    /// Whether it has ended.
    ended: Cell<bool>,
}

/// Whether a connection takes another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Free,
    /// As many are under way as may be, or more; so many that is.
    Full(usize),
    /// It never will again.
    Gone,
}

impl Link {
    /// Speaks HTTP/2 there, and drives the connection in a task of this thread. A provider that has said nothing for as
    /// long as `quiet` while requests are under way is asked whether it is there, and has as long again to say something.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn over(transport: Transport, quiet: Duration) -> Result<Self, h2::Error> {
        let state = Rc::new(State::default());
        let watched = Watched {
            transport,
            state: Rc::clone(&state),
        };
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(MOST_STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(FRAME_BUDGET)
            .max_concurrent_reset_streams(MOST_REMEMBERED)
            .reset_stream_duration(REMEMBERED)
            .max_local_error_reset_streams(None)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .handshake(watched)
            .await?;
        tokio::task::spawn_local(drive(connection, Rc::clone(&state), quiet));
        Ok(Self {
            sender,
            state,
            idle_since: Cell::new(Instant::now()),
            has_answered: Cell::new(false),
        })
    }

    /// Whether it takes another request. `expected`: how many it may have under way as long as its provider has not said.
    #[must_use]
    pub fn room(&self, expected: usize) -> Room {
        let open = self.open();
        if self.state.ended.get() {
            return Room::Gone;
        }
        // The cheap looks first: with many connections, most are full.
        if open >= MOST_STREAMS {
            return Room::Full(MOST_STREAMS);
        }
        let most = if self.state.read.get() == 0 {
            expected
        } else {
            self.sender.current_max_send_streams()
        };
        let most = most.min(MOST_STREAMS);
        if open >= most {
            Room::Full(most)
        } else if self.check().is_ok() {
            Room::Free
        } else {
            Room::Gone
        }
    }

    /// An error when the provider takes no more requests here: it has said so, or the connection has ended.
    fn check(&self) -> Result<(), h2::Error> {
        // A fresh handle waits for nothing, so that nobody has to be woken.
        let mut cx = Context::from_waker(Waker::noop());
        match self.sender.clone().poll_ready(&mut cx) {
            Poll::Ready(ready) => ready,
            Poll::Pending => Ok(()),
        }
    }

    /// How many requests are under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.open.get()
    }

    /// One more is under way.
    pub fn enter(&self) {
        self.state.open.set(self.state.open.get() + 1);
    }

    /// One has ended.
    pub fn leave(&self) {
        self.state.open.set(self.state.open.get().saturating_sub(1));
        if self.state.open.get() == 0 {
            self.idle_since.set(Instant::now());
        }
    }

    /// Whether no request has been under way for so long.
    #[must_use]
    pub fn is_idle(&self, long: Duration) -> bool {
        self.open() == 0 && self.idle_since.get().elapsed() >= long
    }

    /// Whether it has answered a request before.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.has_answered.get()
    }

    /// It has answered a request.
    pub(super) fn answers(&self) {
        self.has_answered.set(true);
    }

    pub(super) const fn state(&self) -> &Rc<State> {
        &self.state
    }

    /// Begins a request.
    ///
    /// # Errors
    /// When the connection takes none any more.
    pub(super) fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        // A handle of its own: a shared one would have to wait for the stream begun before.
        self.sender.clone().send_request(request, is_whole)
    }
}

/// Drives a connection to its end.
async fn drive(mut connection: Connection<Watched, Bytes>, state: Rc<State>, quiet: Duration) {
    let mut pings = connection.ping_pong();
    let mut clock = pin!(sleep(quiet));
    let mut heard = 0;
    let mut was_asked = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            ready!(clock.as_mut().poll(cx));
            clock.as_mut().reset(Instant::now() + quiet);
            let now = state.read.get();
            if now != heard {
                (heard, was_asked) = (now, false);
                hear(pings.as_mut(), cx);
            } else if was_asked {
                return Poll::Ready(None);
            } else if state.open.get() > 0 {
                was_asked = true;
                ask(pings.as_mut());
            }
        }
    })
    .await;
    state.ended.set(true);
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection to a provider ended"),
        None => tracing::debug!("a connection to a provider is dead: it does not answer"),
    }
    // Whoever waits on one of its streams is told by this.
    drop(connection);
}

fn ask(pings: Option<&mut PingPong>) {
    if let Some(pings) = pings {
        // It fails where the last one was not answered: then that one is waited for.
        let _waits = pings.send_ping(Ping::opaque());
    }
}

/// Takes the answer to the last ping, so that there can be another.
fn hear(pings: Option<&mut PingPong>, cx: &mut Context<'_>) {
    if let Some(pings) = pings {
        let _pong = pings.poll_pong(cx);
    }
}

/// A connection's bytes, counted.
struct Watched {
    transport: Transport,
    state: Rc<State>,
}

impl Watched {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            let so_far = &self.state.written;
            so_far.set(so_far.get() + bytes as u64);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(cx, buffer);
        let bytes = (buffer.filled().len() - before) as u64;
        self.state.read.set(self.state.read.get() + bytes);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

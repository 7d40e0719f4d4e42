//! One HTTP/1.1 connection to a provider, driven by whoever waits for its answer.
//!
//! There is no task beside it: the future of the request, and later the body of its answer, read and write themselves.
//! That saves wake-ups and queues, and a request that is dropped closes its connection, which cancels it at the provider.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    transport::Transport,
    wire::{Framing, Head, take_head},
};
use crate::{failure::UpstreamFailure, request::Body};

/// How much is read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Up to this size, a request's body goes into one buffer with its head: that costs less than writing two.
const JOIN_BYTES: usize = 16 * 1024;

/// A connection that serves one request at a time.
pub struct Connection {
    transport: Transport,
    /// What was read and not yet taken.
    read: BytesMut,
    /// A request's head, kept for its memory.
    written: Vec<u8>,
    /// A clock for the request under way, kept from one to the next: setting it anew is cheaper than making it.
    clock: Pin<Box<Sleep>>,
    /// Whether it can take a request after the one under way.
    keeps_alive: bool,
    /// Whether it has answered a request before.
    pub reused: bool,
    /// When it was put aside.
    pub idle_since: Instant,
}

/// A request that brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent {
    /// Why.
    pub failure: UpstreamFailure,
    /// What the provider may have seen of it.
    pub seen: Seen,
}

/// What a provider may have seen of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// Perhaps some; but the connection broke so soon, and without a byte of an answer, that it was being closed already.
    Crossed,
    /// Perhaps all; but it says that it has done nothing about it (HTTP/2).
    Declined,
    /// It may be working on it, and charge for it.
    Perhaps,
}

/// A provider that closes an idle connection while a request is on its way to it: the request meets a closed connection
/// within a round trip.
pub(super) const CROSSING: Duration = Duration::from_secs(1);

impl Connection {
    /// Speaks HTTP/1.1 there.
    #[must_use]
    pub fn over(transport: Transport) -> Self {
        let now = Instant::now();
        Self {
            transport,
            read: BytesMut::new(),
            written: Vec::new(),
            clock: Box::pin(tokio::time::sleep_until(now)),
            keeps_alive: true,
            reused: false,
            idle_since: now,
        }
    }

    /// Whether it can take a request now: the provider has neither closed it nor said anything out of turn.
    pub fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.keeps_alive && self.read.is_empty() && self.poll_read(cx).is_pending()
    }

    /// Whether it can take a request after the one under way, as the provider's last head says.
    #[must_use]
    pub const fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Sets the clock to ring after `wait`.
    pub fn wind(&mut self, wait: Duration) {
        self.clock.as_mut().reset(Instant::now() + wait);
    }

    /// Ready when the clock has rung.
    pub fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.clock.as_mut().poll(cx)
    }

    /// Sends a request, whose head `write_head` writes, and waits for the head of its answer. Sets `begun` once some of it
    /// has left.
    ///
    /// # Errors
    /// [`UpstreamFailure::Timeout`] after `wait`; [`UpstreamFailure::Broken`] when the connection ends, or says what is
    /// not HTTP.
    pub async fn send(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>),
        body: &Body,
        wait: Duration,
        begun: &Cell<bool>,
    ) -> Result<Head, NotSent> {
        let mut head = std::mem::take(&mut self.written);
        head.clear();
        write_head(&mut head);
        let joined = body.length() <= JOIN_BYTES as u64;
        if joined {
            body.parts().for_each(|part| head.extend_from_slice(part));
        }
        let mut sending = Sending::new(&head, if joined { None } else { Some(body) }, begun);
        let begin = Instant::now();
        self.clock.as_mut().reset(begin + wait);
        let answer = poll_fn(|cx| self.poll_exchange(&mut sending, cx)).await;
        let (begun, whole) = (sending.begun, sending.is_done());
        self.written = head;
        let head = answer.map_err(|failure| NotSent {
            failure,
            seen: if !begun {
                Seen::Nothing
            } else if self.read.is_empty() && begin.elapsed() < CROSSING {
                Seen::Crossed
            } else {
                Seen::Perhaps
            },
        })?;
        // A provider that answers before it has read all of the request is not to be trusted with another.
        self.keeps_alive = head.keeps_alive && whole;
        Ok(head)
    }

    /// Writes what is left of the request, and reads the head of the answer, which may come before.
    fn poll_exchange(
        &mut self,
        sending: &mut Sending<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, UpstreamFailure>> {
        let mut broken = false;
        while !sending.is_done() && !broken {
            match sending.poll_write(&mut self.transport, cx) {
                Poll::Ready(written) => broken = !written,
                Poll::Pending => break,
            }
        }
        if (broken || sending.is_done())
            && let Some(head) = sending.early.take()
        {
            return Poll::Ready(Ok(head));
        }
        while sending.early.is_none() {
            match take_head(&mut self.read) {
                // A provider that answers well while it still reads goes on reading; one that refuses may not.
                Ok(Some(head)) if head.status.is_success() && !broken && !sending.is_done() => {
                    sending.early = Some(head);
                    break;
                }
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "a provider's answer cannot be read");
                    return Poll::Ready(Err(UpstreamFailure::Broken));
                }
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {}
                // Also after a write that failed: the provider may have said why.
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(UpstreamFailure::Broken)),
                Poll::Pending => break,
            }
        }
        if broken {
            return Poll::Ready(Err(UpstreamFailure::Broken));
        }
        ready!(self.poll_rung(cx));
        Poll::Ready(Err(UpstreamFailure::Timeout))
    }

    /// The next piece of a body; `None` at its end.
    ///
    /// # Errors
    /// When the connection ends before the body does, or its framing is malformed.
    pub fn poll_body(
        &mut self,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        loop {
            match framing.take(&mut self.read) {
                Ok(piece) if !piece.is_empty() => return Poll::Ready(Some(Ok(piece))),
                Ok(_) if framing.is_done() => return Poll::Ready(None),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(broken(&error)))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) => {
                    return Poll::Ready(framing.end().err().map(|error| Err(broken(&error))));
                }
                Err(error) => return Poll::Ready(Some(Err(broken(&error)))),
            }
        }
    }

    /// Reads some bytes; `0`: the provider has closed the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.read.reserve(READ_BYTES);
        let spare = self.read.spare_capacity_mut();
        let most = spare.len().min(READ_BYTES);
        let mut buffer = ReadBuf::uninit(&mut spare[..most]);
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buffer))?;
        let filled = buffer.filled().len();
        self.commit(filled);
        Poll::Ready(Ok(filled))
    }

    #[expect(
        unsafe_code,
        reason = "zeroing 16 KiB before each read would cost more than reading"
    )]
    fn commit(&mut self, filled: usize) {
        // SAFETY: `poll_read` has just initialised so many bytes behind the buffer's end: `ReadBuf` vouches for them.
        unsafe { self.read.set_len(self.read.len() + filled) };
    }
}

fn broken(error: &dyn std::fmt::Display) -> UpstreamFailure {
    tracing::debug!(%error, "a provider's answer broke off");
    UpstreamFailure::Broken
}

/// A request on its way.
struct Sending<'b> {
    head: &'b [u8],
    body: Option<Body>,
    begun: bool,
    /// Where somebody else looks whether it has begun.
    told: &'b Cell<bool>,
    /// The head of a good answer that came before all of the request had left.
    early: Option<Head>,
    /// Whether all of it has left: TLS may take bytes and keep them until it is flushed.
    flushed: bool,
}

impl<'b> Sending<'b> {
    fn new(head: &'b [u8], body: Option<&Body>, told: &'b Cell<bool>) -> Self {
        Self {
            head,
            body: body.cloned(),
            begun: false,
            told,
            early: None,
            flushed: false,
        }
    }

    fn is_done(&self) -> bool {
        self.flushed
    }

    fn is_taken(&self) -> bool {
        self.head.is_empty() && self.body.as_ref().is_none_or(|body| body.length() == 0)
    }

    /// Writes some of it; `false`: the connection is broken.
    fn poll_write(&mut self, transport: &mut Transport, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_taken() {
            let flushed = ready!(Pin::new(transport).poll_flush(cx));
            self.flushed = flushed.is_ok();
            return Poll::Ready(self.flushed);
        }
        let mut slices = [IoSlice::new(&[]); Body::MAX_PARTS + 1];
        slices[0] = IoSlice::new(self.head);
        let parts = self.body.iter().flat_map(Body::parts);
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let written = write(Pin::new(transport), cx, &slices);
        Poll::Ready(match ready!(written) {
            Ok(0) | Err(_) => false,
            Ok(written) => {
                self.begun = true;
                self.told.set(true);
                self.advance(written);
                true
            }
        })
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head.len());
        self.head.advance(of_head);
        if let Some(body) = &mut self.body {
            body.advance(written - of_head);
        }
    }
}

fn write(
    transport: Pin<&mut Transport>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<std::io::Result<usize>> {
    match slices {
        [head, rest @ ..] if rest.iter().all(|slice| slice.is_empty()) => {
            transport.poll_write(cx, head)
        }
        _ => transport.poll_write_vectored(cx, slices),
    }
}

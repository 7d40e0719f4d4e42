//! One request over HTTP/2 and its answer, driven by whoever waits for it. Dropped before its end, it is reset, which
//! cancels the request at the provider and leaves the connection to the others.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep};

use super::link::State;
use crate::{
    failure::UpstreamFailure,
    request::Body,
    upstream::{
        connection::{CROSSING, NotSent, Seen},
        pool::Slot,
    },
};

/// Up to this size, a request's body is handed over at once; a larger one as the provider takes it.
const AT_ONCE_BYTES: usize = 16 * 1024;
/// How much of a larger one is handed over at a time.
const WRITE_BYTES: usize = 64 * 1024;
/// Frames that have arrived together are passed on together, up to this size.
const JOIN_BYTES: usize = 16 * 1024;

/// The answer to a request whose head has come.
pub struct Stream {
    body: RecvStream,
    /// How it ended, where that was seen while what came before is still to be passed on.
    ended: Option<Result<(), UpstreamFailure>>,
    clock: Pin<Box<Sleep>>,
    /// After the body: it is given back when the stream is no more.
    _slot: Slot,
}

/// The head of an answer.
pub struct AnswerHead {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}

impl Stream {
    /// Sends a request and waits for the head of its answer. Sets `begun` once some of it may have left.
    ///
    /// # Errors
    /// [`UpstreamFailure::Timeout`] after `wait`; [`UpstreamFailure::Broken`] when the stream or its connection ends.
    pub async fn send(
        slot: Slot,
        request: Request<()>,
        body: &Body,
        wait: Duration,
        begun: &Cell<bool>,
    ) -> Result<(AnswerHead, Self), NotSent> {
        let mut sending = Sending::begin(&slot, request, body, begun)?;
        let mut clock = Box::pin(sleep(wait));
        let answered = poll_fn(|cx| sending.poll(clock.as_mut(), cx)).await;
        let (head, body) = answered?.into_parts();
        slot.link().answers();
        let head = AnswerHead {
            status: head.status,
            headers: head.headers,
        };
        let stream = Self {
            body,
            ended: None,
            clock,
            _slot: slot,
        };
        Ok((head, stream))
    }

    /// Sets the clock to ring after `wait`.
    pub fn wind(&mut self, wait: Duration) {
        self.clock.as_mut().reset(Instant::now() + wait);
    }

    /// Ready when the clock has rung.
    pub fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.clock.as_mut().poll(cx)
    }

    /// The next piece of the answer; `None` at its end.
    ///
    /// # Errors
    /// When the provider resets the stream, or the connection ends before the answer does.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        if let Some(ended) = self.ended {
            return Poll::Ready(ended.err().map(Err));
        }
        let first = match ready!(self.poll_frame(cx)) {
            Some(Ok(first)) => first,
            end => return Poll::Ready(end),
        };
        let mut joined = BytesMut::new();
        while first.len().max(joined.len()) < JOIN_BYTES {
            match self.poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(next))) => {
                    if joined.is_empty() {
                        joined.reserve(first.len() + next.len());
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&next);
                }
                Poll::Ready(end) => {
                    self.ended = Some(end.map_or(Ok(()), |end| end.map(|_| ())));
                    break;
                }
            }
        }
        let piece = if joined.is_empty() {
            first
        } else {
            joined.freeze()
        };
        Poll::Ready(Some(Ok(piece)))
    }

    /// The data of the next frame that has any. Taken, it makes room for as much again.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        loop {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // It fails only where the stream has ended, and needs no room any more.
                    let _released = self.body.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(data)));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a provider's answer broke off");
                    return Poll::Ready(Some(Err(UpstreamFailure::Broken)));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A request on its way.
struct Sending<'b> {
    answer: ResponseFuture,
    /// `None`: all of it was handed over, or no more of it is wanted.
    upload: Option<Upload>,
    /// An answer whose head came before all of the request had left.
    early: Option<Response<RecvStream>>,
    state: Rc<State>,
    /// What had left, and come, before this request.
    before: (u64, u64),
    begin: Instant,
    /// Where somebody else looks whether it has begun.
    told: &'b Cell<bool>,
    /// Whether that was said before, by another try.
    was_told: bool,
}

/// What is still to be handed over of a request's body.
struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
}

impl<'b> Sending<'b> {
    fn begin(
        slot: &Slot,
        request: Request<()>,
        body: &Body,
        told: &'b Cell<bool>,
    ) -> Result<Self, NotSent> {
        let state = Rc::clone(slot.link().state());
        let before = (state.written.get(), state.read.get());
        let begun = slot.link().begin(request, body.length() == 0);
        let (answer, mut stream) = begun.map_err(|error| NotSent {
            failure: broken(&error),
            seen: if has_declined(&error) {
                Seen::Declined
            } else {
                Seen::Nothing
            },
        })?;
        // Nothing has left yet. But it does as soon as the connection's task runs, and nobody wakes this one then: what is
        // said here is taken back where it turns out not to be so.
        let was_told = told.replace(true);
        let upload = if body.length() > AT_ONCE_BYTES as u64 {
            Some(Upload {
                stream,
                body: body.clone(),
            })
        } else {
            if body.length() > 0 {
                // What broke shows at the answer.
                let _handed = stream.send_data(body.joined(), true);
            }
            None
        };
        Ok(Self {
            answer,
            upload,
            early: None,
            state,
            before,
            begin: Instant::now(),
            told,
            was_told,
        })
    }

    /// Hands over what is left of the request, and waits for the head of the answer, which may come before.
    fn poll(
        &mut self,
        clock: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, NotSent>> {
        if let Some(upload) = &mut self.upload
            && upload.poll(cx).is_ready()
        {
            self.upload = None;
        }
        if self.early.is_none()
            && let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx)
        {
            match answer {
                Ok(answer) => self.early = Some(answer),
                Err(error) => return Poll::Ready(Err(self.lost(&error))),
            }
        }
        // A provider that answers well while it still reads goes on reading; one that refuses may not.
        let may_end = |it: &mut Response<_>| self.upload.is_none() || !it.status().is_success();
        if let Some(answer) = self.early.take_if(may_end) {
            return Poll::Ready(Ok(answer));
        }
        ready!(clock.poll(cx));
        Poll::Ready(Err(NotSent {
            failure: UpstreamFailure::Timeout,
            seen: Seen::Perhaps,
        }))
    }

    fn lost(&self, error: &h2::Error) -> NotSent {
        let (written, read) = self.before;
        let seen = if has_declined(error) {
            Seen::Declined
        } else if self.state.written.get() == written {
            Seen::Nothing
        } else if !error.is_reset()
            && self.state.read.get() == read
            && self.begin.elapsed() < CROSSING
        {
            Seen::Crossed
        } else {
            Seen::Perhaps
        };
        NotSent {
            failure: broken(error),
            seen,
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.was_told && self.state.written.get() == self.before.0 {
            self.told.set(false);
        }
    }
}

impl Upload {
    /// Ready when all was handed over, or nothing more is wanted.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = usize::try_from(self.body.length()).unwrap_or(usize::MAX);
            if left == 0 {
                return Poll::Ready(());
            }
            self.stream.reserve_capacity(left.min(WRITE_BYTES));
            while self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    // Why, the answer says.
                    Some(Err(_)) | None => return Poll::Ready(()),
                }
            }
            let piece = self.body.take(self.stream.capacity());
            let is_last = self.body.length() == 0;
            if self.stream.send_data(piece, is_last).is_err() {
                return Poll::Ready(());
            }
        }
    }
}

/// Whether a provider says that it has done nothing about a request, so that it may be sent again (RFC 9113, 8.7): it
/// refused the stream, or it ends the connection and the stream is behind the last one that it looks at.
fn has_declined(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

fn broken(error: &h2::Error) -> UpstreamFailure {
    tracing::debug!(%error, "a request to a provider broke off");
    UpstreamFailure::Broken
}

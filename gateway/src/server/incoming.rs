//! The body of a caller's request as whoever serves it sees it, in either version of HTTP.

use std::{
    cell::Cell,
    error::Error as _,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body as _;

/// A body on its way.
pub enum Incoming {
    /// Over HTTP/1.1.
    Http1(Rc<Inbox>),
    /// Over HTTP/2.
    Http2(hyper::body::Incoming),
}

/// Why a body has no next piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It is framed as HTTP does not know, by a caller that is still there.
    Malformed,
    /// The caller went away, or says that nothing more will come.
    Gone,
}

/// Where the connection of HTTP/1.1 leaves what has come of a body. Whoever reads it is polled by the connection itself, and
/// again as soon as something was left: nobody has to be woken.
#[derive(Default)]
pub struct Inbox {
    piece: Cell<Option<Bytes>>,
    ended: Cell<Option<Result<(), Broken>>>,
    wanted: Cell<bool>,
}

// === impl Inbox ===

impl Inbox {
    /// Leaves what has come, which may be nothing. Nothing may lie here that has not been taken.
    pub fn leave(&self, piece: Bytes) {
        if !piece.is_empty() {
            self.piece.set(Some(piece));
            self.wanted.set(false);
        }
    }

    /// Nothing more will come.
    pub fn end(&self, how: Result<(), Broken>) {
        self.ended.set(Some(how));
        self.wanted.set(false);
    }

    /// Whether somebody waits for the next piece.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    fn poll_piece(&self) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        match self.ended.get() {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken))),
            None => {
                self.wanted.set(true);
                Poll::Pending
            }
        }
    }

    fn is_at_end(&self) -> bool {
        let piece = self.piece.take();
        let is_empty = piece.is_none();
        self.piece.set(piece);
        is_empty && self.ended.get() == Some(Ok(()))
    }
}

// === impl Incoming ===

impl Incoming {
    /// The next piece; `None` at the end. Trailers say nothing here.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let body = match self {
            Self::Http1(inbox) => return inbox.poll_piece(),
            Self::Http2(body) => body,
        };
        loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(why(&error)))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    /// Whether all of it was taken.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        match self {
            Self::Http1(inbox) => inbox.is_at_end(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }
}

fn why(error: &hyper::Error) -> Broken {
    let cause = error.source();
    let cause = cause.and_then(|it| it.downcast_ref::<io::Error>());
    let malformed = cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        )
    });
    if malformed {
        Broken::Malformed
    } else {
        Broken::Gone
    }
}

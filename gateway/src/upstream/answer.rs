//! A provider's answer, piece by piece, with what brings it: at its end a connection of HTTP/1.1 is put aside for the next
//! request, and a place on one of HTTP/2 given back; dropped before, the connection is closed, or the stream reset, which
//! cancels the request at the provider.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{account::Account, connection::Connection, http2::stream::Stream, wire::Framing};
use crate::failure::UpstreamFailure;

/// What brings an answer.
pub enum Source {
    /// A connection of HTTP/1.1.
    Connection(Framing, Connection),
    /// A stream of HTTP/2.
    Stream(Stream),
}

/// The rest of an answer.
pub struct Answer {
    /// `None`: it has ended, and what brought it was put aside or closed.
    source: Option<Source>,
    ends_with_connection: bool,
    account: Rc<Account>,
    /// How long it may pause.
    patience: Duration,
    /// When the last piece came; `None`: what brings the next one has not been waited for.
    last_piece: Option<Instant>,
    /// Whether the clock was set to that; before, it still is as the request set it.
    wound: bool,
}

/// An answer that was waited for.
pub enum Collected {
    /// All of it.
    Whole(Bytes),
    /// It is larger than what was asked for: the beginning, and whence the rest comes.
    Large(Bytes, Answer),
}

impl Source {
    fn wind(&mut self, wait: Duration) {
        match self {
            Self::Connection(_, connection) => connection.wind(wait),
            Self::Stream(stream) => stream.wind(wait),
        }
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Connection(_, connection) => connection.poll_rung(cx),
            Self::Stream(stream) => stream.poll_rung(cx),
        }
    }
}

impl Answer {
    /// Of a response whose head has come.
    #[must_use]
    pub fn new(source: Source, account: Rc<Account>, patience: Duration) -> Self {
        Self {
            ends_with_connection: matches!(source, Source::Connection(Framing::UntilClose, _)),
            source: Some(source),
            account,
            patience,
            last_piece: None,
            wound: false,
        }
    }

    /// The next piece of data; `None` at the end.
    ///
    /// # Errors
    /// [`UpstreamFailure::Broken`] when the answer ends before its end, [`UpstreamFailure::Timeout`] when it pauses for
    /// too long.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        let piece = match &mut self.source {
            None => return Poll::Ready(None),
            Some(Source::Connection(framing, connection)) => connection.poll_body(framing, cx),
            Some(Source::Stream(stream)) => stream.poll_body(cx),
        };
        match piece {
            Poll::Ready(Some(Ok(piece))) => {
                self.last_piece = (!self.is_over()).then(Instant::now);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(failure))) => {
                self.source = None;
                Poll::Ready(Some(Err(failure)))
            }
            Poll::Ready(None) => {
                self.release();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_patience(cx),
        }
    }

    /// Whether only the end of the connection says where the answer ends, so that it looks the same whole or cut off.
    #[must_use]
    pub const fn ends_with_connection(&self) -> bool {
        self.ends_with_connection
    }

    /// When the last piece came; of the very last one it may be when it is asked for.
    #[must_use]
    pub fn last_piece(&self) -> std::time::Instant {
        self.last_piece.unwrap_or_else(Instant::now).into_std()
    }

    /// Whether there is no other piece: nobody waits then, nor needs a clock.
    fn is_over(&self) -> bool {
        match &self.source {
            None => true,
            Some(Source::Connection(framing, _)) => framing.is_done(),
            Some(Source::Stream(_)) => false,
        }
    }

    /// From now on it may pause for so long.
    pub fn may_pause(&mut self, patience: Duration) {
        (self.patience, self.wound) = (patience, false);
    }

    fn release(&mut self) {
        if let Some(Source::Connection(_, ended)) = self.source.take()
            && ended.keeps_alive()
            && let Some((_, pool)) = self.account.way()
        {
            pool.put_idle(ended);
        }
    }

    /// The clock is set when the answer pauses for the first time, and again only when it has rung: a stream of many
    /// pieces does not touch it.
    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        while !std::mem::replace(&mut self.wound, true) || source.poll_rung(cx).is_ready() {
            let last = *self.last_piece.get_or_insert_with(Instant::now);
            let left = self.patience.saturating_sub(last.elapsed());
            if left.is_zero() {
                self.source = None;
                return Poll::Ready(Some(Err(UpstreamFailure::Timeout)));
            }
            source.wind(left);
        }
        Poll::Pending
    }

    /// Waits for the next piece.
    ///
    /// # Errors
    /// As [`Self::poll_piece`].
    pub async fn piece(&mut self) -> Option<Result<Bytes, UpstreamFailure>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// Waits for all of it, up to `most` bytes.
    ///
    /// # Errors
    /// As [`Self::poll_piece`].
    pub async fn collect(mut self, most: usize) -> Result<Collected, UpstreamFailure> {
        let Some(first) = self.piece().await.transpose()? else {
            return Ok(Collected::Whole(Bytes::new()));
        };
        let Some(second) = self.piece().await.transpose()? else {
            return Ok(Collected::Whole(first));
        };
        let mut joined = BytesMut::with_capacity((first.len() + second.len()) * 2);
        joined.extend_from_slice(&first);
        joined.extend_from_slice(&second);
        while joined.len() <= most {
            match self.piece().await.transpose()? {
                Some(piece) => joined.extend_from_slice(&piece),
                None => return Ok(Collected::Whole(joined.freeze())),
            }
        }
        Ok(Collected::Large(joined.freeze(), self))
    }
}

//! A provider's answer, piece by piece, with the connection that brings it: at its end the connection is put aside for
//! the next request; dropped before, it is closed, which cancels the request at the provider.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{account::Account, connection::Connection, wire::Framing};
use crate::failure::UpstreamFailure;

/// The rest of an answer.
pub struct Answer {
    framing: Framing,
    /// `None`: it has ended, and the connection was put aside or closed.
    connection: Option<Connection>,
    account: Rc<Account>,
    /// How long it may pause.
    patience: Duration,
    last_piece: Instant,
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

impl Answer {
    /// Of a response whose head has come.
    #[must_use]
    pub fn new(
        framing: Framing,
        connection: Connection,
        account: Rc<Account>,
        patience: Duration,
    ) -> Self {
        Self {
            framing,
            connection: Some(connection),
            account,
            patience,
            last_piece: Instant::now(),
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
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        match connection.poll_body(&mut self.framing, cx) {
            Poll::Ready(Some(Ok(piece))) => {
                self.last_piece = Instant::now();
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(failure))) => {
                self.connection = None;
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
        matches!(self.framing, Framing::UntilClose)
    }

    /// When the last piece came.
    #[must_use]
    pub fn last_piece(&self) -> std::time::Instant {
        self.last_piece.into_std()
    }

    /// From now on it may pause for so long.
    pub fn may_pause(&mut self, patience: Duration) {
        (self.patience, self.wound) = (patience, false);
    }

    fn release(&mut self) {
        if let Some(ended) = self.connection.take().filter(Connection::keeps_alive) {
            self.account.put_idle(ended);
        }
    }

    /// The clock is set when the answer pauses for the first time, and again only when it has rung: a stream of many
    /// pieces does not touch it.
    fn poll_patience(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamFailure>>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        while !std::mem::replace(&mut self.wound, true) || connection.poll_rung(cx).is_ready() {
            let left = self.patience.saturating_sub(self.last_piece.elapsed());
            if left.is_zero() {
                self.connection = None;
                return Poll::Ready(Some(Err(UpstreamFailure::Timeout)));
            }
            connection.wind(left);
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

//! A caller's connection as bytes, with a bound on how long a caller may take nothing of its answer.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};

/// The connection: over TCP, or TLS.
pub struct CallerStream<S> {
    stream: S,
    /// How long a write may make no progress.
    patience: Duration,
    /// Runs while a write makes no progress. A caller that reads never sees it made.
    stalled: Option<Pin<Box<Sleep>>>,
    /// How long the caller may say nothing at all, and what measures it; `None`: the protocol sees to that.
    silence: Option<Silence>,
    /// Its place among the connections that callers may have.
    _place: OwnedSemaphorePermit,
}

/// How long a caller has said nothing.
struct Silence {
    most: Duration,
    heard: Instant,
    clock: Pin<Box<Sleep>>,
}

impl Silence {
    fn watch(&mut self, read: Poll<io::Result<()>>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if read.is_ready() {
            self.heard = Instant::now();
            return read;
        }
        while self.clock.as_mut().poll(cx).is_ready() {
            let left = self.most.saturating_sub(self.heard.elapsed());
            if left.is_zero() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.clock.as_mut().reset(Instant::now() + left);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> CallerStream<S> {
    /// Closes with an error when a write makes no progress for as long as `patience`.
    #[must_use]
    pub fn new(stream: S, patience: Duration, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            patience,
            stalled: None,
            silence: None,
            _place: place,
        }
    }

    /// Closes with an error when nothing at all comes for so long.
    #[must_use]
    pub fn heard_within(mut self, most: Duration) -> Self {
        self.silence = Some(Silence {
            most,
            heard: Instant::now(),
            clock: Box::pin(sleep(most)),
        });
        self
    }

    fn watched<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let clock = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        clock
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CallerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &mut self.silence {
            Some(silence) => silence.watch(read, cx),
            None => read,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CallerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Under TLS, what was written may still wait here.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watched(shut, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watched(written, cx)
    }
}

//! What is to be written to a caller, in as few writes as its pieces allow.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

/// Up to this size a piece goes into one buffer with what stands around it: that costs less than writing several.
const JOIN_BYTES: usize = 8 * 1024;
/// With so much in it, it is written before anything is added.
const FULL_BYTES: usize = 16 * 1024;
/// What is kept for the next answer while nothing is asked.
const IDLE_BYTES: usize = 4 * 1024;

/// The box. Large pieces are held, not copied.
#[derive(Debug, Default)]
pub struct Outbox {
    text: Vec<u8>,
    /// How much of the text was written.
    at: usize,
    /// What follows the text, and what follows that.
    piece: Bytes,
    tail: &'static [u8],
}

impl Outbox {
    /// Where text is added. Nothing may stand behind it: see [`Self::has_room`].
    pub const fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Adds a piece, and what stands behind it.
    pub fn add(&mut self, piece: Bytes, tail: &'static [u8]) {
        if piece.len() <= JOIN_BYTES {
            self.text.extend_from_slice(&piece);
            self.text.extend_from_slice(tail);
        } else {
            (self.piece, self.tail) = (piece, tail);
        }
    }

    /// Whether something may be added before it is written.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.text.len() < FULL_BYTES
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left() > 0 {
            let text = &self.text[self.at..];
            let stream = Pin::new(&mut *stream);
            let written = if self.piece.is_empty() && self.tail.is_empty() {
                stream.poll_write(cx, text)
            } else {
                let slices = [text, &self.piece, self.tail].map(IoSlice::new);
                stream.poll_write_vectored(cx, &slices)
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        // Also of a piece that was written, the memory is held.
        self.piece = Bytes::new();
        self.text.clear();
        self.text.shrink_to(2 * FULL_BYTES);
        self.at = 0;
        Poll::Ready(Ok(()))
    }

    /// Nothing is to be written for a while: gives memory back.
    pub fn rest(&mut self) {
        if self.left() == 0 {
            self.text.shrink_to(IDLE_BYTES);
        }
    }

    fn left(&self) -> usize {
        self.text.len() - self.at + self.piece.len() + self.tail.len()
    }

    fn advance(&mut self, mut written: usize) {
        let of_text = written.min(self.text.len() - self.at);
        self.at += of_text;
        written -= of_text;
        let of_piece = written.min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = &self.tail[written - of_piece..];
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes a few bytes at a time.
    struct Slow(Vec<u8>, usize);

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = slices
                .iter()
                .flat_map(|it| it.iter().copied())
                .collect::<Vec<u8>>();
            let taken = all.len().min(self.1);
            self.0.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn everything_is_written_in_its_order_however_little_is_taken_at_a_time() {
        let large = "x".repeat(JOIN_BYTES + 1);
        for most in [1, 3, 1_000, 100_000] {
            let (mut out, mut slow) = (Outbox::default(), Slow(Vec::new(), most));
            let mut cx = Context::from_waker(Waker::noop());
            out.text().extend_from_slice(b"head ");
            out.add(Bytes::from_static(b"small "), b"tail ");
            assert!(out.has_room());
            let piece = Bytes::from(large.clone());
            out.add(piece.clone(), b" end");
            assert!(!out.has_room(), "a large piece is written first");
            assert!(out.poll_write(&mut slow, &mut cx).is_ready());
            assert!(out.has_room());
            assert!(piece.is_unique(), "what is out is not held");
            out.text().extend_from_slice(b"!");
            assert!(out.poll_write(&mut slow, &mut cx).is_ready());
            let expected = format!("head small tail {large} end!");
            assert_eq!(String::from_utf8(slow.0).expect("text"), expected);
        }
    }
}

//! Bodies between hyper, which is asynchronous, and the engine's threads, which wait.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::exception::Kind;
use super::framing::refused;

/// Pieces of a body on their way, each at most what hyper reads or the engine emits at once: enough
/// to keep both sides busy.
const PIECES_ON_THE_WAY: usize = 8;
/// A body that brings nothing for so long is given up (`http_receive_timeout`).
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that takes nothing for so long is given up (`http_send_timeout`).
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body: inserts are streamed, so this guards the disk, not memory.
pub(super) const MAX_BODY_BYTES: u64 = 4 << 30;
/// What is still read of a body that nobody wants any more, so that a client which sends before it
/// reads gets to see the error.
const MAX_DRAINED_BYTES: u64 = 64 << 20;

/// What a response carries.
pub(super) type AnswerBody = Either<Full<Bytes>, PieceBody>;

/// A body that is written while it is sent.
pub(super) struct PieceBody(mpsc::Receiver<Bytes>);

/// The other end of a [`PieceBody`], for a thread that may wait.
pub(super) struct PieceWriter {
    pieces: mpsc::Sender<Bytes>,
    runtime: Handle,
}

/// A request's body, for a thread that may wait.
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    failed: bool,
}

// === impl PieceBody ===

impl Body for PieceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A body and its writer.
pub(super) fn pieces(runtime: Handle) -> (PieceWriter, PieceBody) {
    let (sender, receiver) = mpsc::channel(PIECES_ON_THE_WAY);
    (
        PieceWriter {
            pieces: sender,
            runtime,
        },
        PieceBody(receiver),
    )
}

// === impl PieceWriter ===

impl Write for PieceWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(data);
        let sent = self
            .runtime
            .block_on(timeout(SEND_TIMEOUT, self.pieces.send(piece)));
        match sent {
            Ok(Ok(())) => Ok(data.len()),
            Ok(Err(_gone)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_late) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl BodyReader ===

impl BodyReader {
    /// Starts to read `body`.
    pub(super) fn start(body: Incoming) -> Self {
        let (sender, receiver) = mpsc::channel(PIECES_ON_THE_WAY);
        tokio::spawn(feed(body, sender));
        Self {
            pieces: receiver,
            current: Bytes::new(),
            failed: false,
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.failed {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Hands the body's pieces over; when nobody takes them any more, throws the rest away.
async fn feed(mut body: Incoming, pieces: mpsc::Sender<io::Result<Bytes>>) {
    let mut seen_bytes = 0_u64;
    let mut drained_bytes = 0_u64;
    while drained_bytes <= MAX_DRAINED_BYTES {
        let frame = match timeout(RECEIVE_TIMEOUT, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                let message = format!("The body was cut off: {error}.");
                // Nobody may be listening any more, and then nobody needs to know.
                let _ = pieces
                    .send(Err(refused(Kind::UnexpectedEndOfFile, message)))
                    .await;
                return;
            }
            Err(_late) => {
                let message = format!(
                    "The body brought nothing for {} seconds.",
                    RECEIVE_TIMEOUT.as_secs()
                );
                let _ = pieces
                    .send(Err(refused(Kind::UnexpectedEndOfFile, message)))
                    .await;
                return;
            }
        };
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        seen_bytes = seen_bytes.saturating_add(bytes);
        if seen_bytes > MAX_BODY_BYTES {
            let message = format!("The body is larger than {MAX_BODY_BYTES} bytes.");
            let _ = pieces
                .send(Err(refused(Kind::QueryIsTooLarge, message)))
                .await;
            return;
        }
        if pieces.send(Ok(piece)).await.is_err() {
            drained_bytes = drained_bytes.saturating_add(bytes);
        }
    }
}

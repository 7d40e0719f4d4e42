//! The JSON of a state in compressed pieces, as one goes to the database or comes from it, so that neither way needs
//! the whole text in memory.
//!
//! The pure work (JSON, LZ4, hashing) runs on a blocking thread; a short queue of pieces connects it with the database.

use std::io::{self, BufReader, BufWriter, Read, Write};

use bytes::{Buf as _, Bytes};
use events_schema::state::{Checkpoint, Organisation, StateDigest, StateHasher};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use tokio::sync::mpsc;

/// The size of a piece: few rows for a large state, and little memory for the pieces on their way.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces on their way.
pub(super) const QUEUE: usize = 2;

/// Why pieces hold no state.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoState {
    /// They are no JSON of a checkpoint.
    #[error("it is not what was written: {0}")]
    Json(#[from] serde_json::Error),
    /// Of another fold, or it names what does not exist.
    #[error(transparent)]
    Checkpoint(#[from] events_schema::state::CheckpointError),
    /// There is more than one document, or the frame is damaged.
    #[error("its end is not where it should be: {0}")]
    End(#[from] io::Error),
}

/// Writes the state as pieces, and returns its digest; an error means that nobody takes them any more.
pub(super) fn write(
    state: &Organisation,
    pieces: mpsc::Sender<Vec<u8>>,
) -> io::Result<StateDigest> {
    let sender = BufWriter::with_capacity(PIECE_BYTES, Sender(pieces));
    let mut json = Hashing {
        inner: FrameEncoder::new(sender),
        hasher: StateHasher::default(),
    };
    serde_json::to_writer(&mut json, state)?;
    let Hashing { inner, hasher } = json;
    inner.finish()?.flush()?;
    Ok(hasher.digest())
}

/// Reads the state from its pieces, and the digest of what was read.
pub(super) fn read(pieces: mpsc::Receiver<Bytes>) -> Result<(Organisation, StateDigest), NoState> {
    let hashing = Hashing {
        inner: FrameDecoder::new(Receiver {
            pieces,
            piece: Bytes::new(),
        }),
        hasher: StateHasher::default(),
    };
    let mut json = BufReader::with_capacity(PIECE_BYTES / 8, hashing);
    let checkpoint: Checkpoint = serde_json::from_reader(&mut json)?;
    let state = Organisation::from_checkpoint(checkpoint)?;
    Ok((state, json.into_inner().hasher.digest()))
}

/// The digest of what the pieces hold, whatever that is.
pub(super) fn digest(pieces: mpsc::Receiver<Bytes>) -> io::Result<StateDigest> {
    let mut hashing = Hashing {
        inner: FrameDecoder::new(Receiver {
            pieces,
            piece: Bytes::new(),
        }),
        hasher: StateHasher::default(),
    };
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hashing.hasher.digest())
}

/// Hashes what passes.
struct Hashing<T> {
    inner: T,
    hasher: StateHasher,
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}

/// Sends each write as a piece.
struct Sender(mpsc::Sender<Vec<u8>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(bytes.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads piece after piece; the end of the queue is the end.
struct Receiver {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Receiver {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = bytes.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut bytes[..length]);
        Ok(length)
    }
}

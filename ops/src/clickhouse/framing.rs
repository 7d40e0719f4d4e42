//! ClickHouse's own compressed blocks (`compress=1`, `decompress=1`): 16 bytes of CityHash128, a
//! method byte, the block's size with its 9 bytes of header, its size unpacked, and the data.
//!
//! Format: <https://clickhouse.com/docs/reference/interfaces/specs/NativeFormat#frame-format>.

use std::io::{self, Read, Write};

use super::exception::{Exception, Kind};

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const LZ4: u8 = 0x82;
const NONE: u8 = 0x02;

/// The largest block taken, packed or unpacked: ClickHouse's own bound (1 GiB) is more than a
/// stranger's 25 bytes should be able to make anyone allocate; clients send blocks of about 1 MiB.
const MAX_BLOCK_BYTES: usize = 64 * 1024 * 1024;
/// Output is packed in blocks of this size, as ClickHouse does (`max_compress_block_size`).
const WRITTEN_BLOCK_BYTES: usize = 1024 * 1024;

/// Unpacks blocks.
pub(super) struct BlockReader<R> {
    inner: R,
    block: Vec<u8>,
    at: usize,
}

/// Packs blocks.
pub(super) struct BlockWriter<W> {
    inner: W,
    pending: Vec<u8>,
}

// === impl BlockReader ===

impl<R: Read> BlockReader<R> {
    /// Reads blocks from `inner`.
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            block: Vec::new(),
            at: 0,
        }
    }

    /// Reads the next block; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let mut head = [0_u8; CHECKSUM_BYTES + HEADER_BYTES];
        if !read_or_end(&mut self.inner, &mut head)? {
            return Ok(false);
        }
        let (checksum, header) = head.split_at(CHECKSUM_BYTES);
        let packed_bytes = size(&header[1..5])?;
        let unpacked_bytes = size(&header[5..9])?;
        let data_bytes = packed_bytes.checked_sub(HEADER_BYTES).ok_or_else(|| {
            refused(
                Kind::CannotDecompress,
                "A compressed block is shorter than its own header.",
            )
        })?;
        let mut packed = header.to_vec();
        packed.resize(HEADER_BYTES + data_bytes, 0);
        self.inner
            .read_exact(&mut packed[HEADER_BYTES..])
            .map_err(cut)?;
        if checksum_of(&packed) != *checksum {
            return Err(refused(
                Kind::ChecksumDoesntMatch,
                "Checksum doesn't match: corrupted data.",
            ));
        }
        self.block = match packed[0] {
            LZ4 => lz4_flex::block::decompress(&packed[HEADER_BYTES..], unpacked_bytes).map_err(
                |error| {
                    refused(
                        Kind::CannotDecompress,
                        format!("Cannot decompress LZ4-encoded data: {error}."),
                    )
                },
            )?,
            NONE => packed.split_off(HEADER_BYTES),
            other => {
                let message = format!(
                    "Unknown compression method 0x{other:02x}: this server takes LZ4 (0x82) and NONE (0x02)."
                );
                return Err(refused(Kind::UnknownCompressionMethod, message));
            }
        };
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let count = (&self.block[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

// === impl BlockWriter ===

impl<W: Write> BlockWriter<W> {
    /// Writes blocks to `inner`.
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            pending: Vec::new(),
        }
    }

    /// Packs what is left and returns the inner writer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.pack()?;
        Ok(self.inner)
    }

    fn pack(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let packed = lz4_flex::block::compress(&self.pending);
        let mut block = Vec::with_capacity(HEADER_BYTES + packed.len());
        block.push(LZ4);
        block.extend_from_slice(&field(HEADER_BYTES + packed.len())?);
        block.extend_from_slice(&field(self.pending.len())?);
        block.extend_from_slice(&packed);
        self.inner.write_all(&checksum_of(&block))?;
        self.inner.write_all(&block)?;
        self.pending.clear();
        Ok(())
    }
}

impl<W: Write> Write for BlockWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = WRITTEN_BLOCK_BYTES.saturating_sub(self.pending.len());
        let taken = room.min(data.len());
        self.pending.extend_from_slice(&data[..taken]);
        if self.pending.len() == WRITTEN_BLOCK_BYTES {
            self.pack()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pack()?;
        self.inner.flush()
    }
}

/// Fills `buffer`; false when there is not even a first byte.
fn read_or_end(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(cut(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn size(field: &[u8]) -> io::Result<usize> {
    let bytes = field
        .iter()
        .rev()
        .fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte));
    if bytes > MAX_BLOCK_BYTES {
        let message = format!(
            "A compressed block of {bytes} bytes is larger than the limit of {MAX_BLOCK_BYTES}."
        );
        return Err(refused(Kind::CannotDecompress, message));
    }
    Ok(bytes)
}

fn field(bytes: usize) -> io::Result<[u8; 4]> {
    u32::try_from(bytes)
        .map(u32::to_le_bytes)
        .map_err(io::Error::other)
}

fn checksum_of(block: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(block)
        .rotate_right(64)
        .to_le_bytes()
}

fn cut(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        refused(
            Kind::UnexpectedEndOfFile,
            "The body ends inside a compressed block.",
        )
    } else {
        error
    }
}

/// An error that keeps its ClickHouse code on its way through `Read`.
pub(super) fn refused(kind: Kind, message: impl std::fmt::Display) -> io::Error {
    io::Error::other(Refusal(Exception::new(kind, message)))
}

/// Carries an [`Exception`] inside an [`io::Error`].
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Exception);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.body("").trim_end())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut writer = BlockWriter::new(Vec::new());
        writer.write_all(data).expect("a vector takes everything");
        writer.finish().expect("a vector takes everything")
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let data: Vec<u8> = (0..3_000_000_u32)
            .flat_map(|number| (number % 251).to_le_bytes())
            .collect();
        let mut unpacked = Vec::new();
        BlockReader::new(&*packed(&data))
            .read_to_end(&mut unpacked)
            .expect("the blocks are whole");
        assert!(unpacked == data);
    }

    #[test]
    fn a_changed_or_cut_block_is_refused() {
        let whole = packed(b"some rows");
        for broken in (0..whole.len()).map(|at| {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            broken
        }) {
            assert!(
                BlockReader::new(&*broken)
                    .read_to_end(&mut Vec::new())
                    .is_err()
            );
        }
        for end in 1..whole.len() {
            assert!(
                BlockReader::new(&whole[..end])
                    .read_to_end(&mut Vec::new())
                    .is_err()
            );
        }
    }
}

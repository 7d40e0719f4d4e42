//! Bodies as they travel: compressed as a whole by HTTP's `Content-Encoding` (gzip, deflate, LZ4
//! frames), or in ClickHouse's own blocks inside.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::exception::{Exception, Kind};
use super::framing::{BlockReader, BlockWriter};

/// How an answer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    /// Standard LZ4 frames.
    Lz4,
    /// ClickHouse's own blocks (`compress=1`); not an HTTP encoding.
    Blocks,
}

/// Compresses what is written to it.
pub(super) enum Encoder<W: Write> {
    Identity(W),
    Gzip(Box<GzEncoder<W>>),
    Lz4(Box<FrameEncoder<W>>),
    Blocks(BlockWriter<W>),
}

// === impl Encoding ===

impl Encoding {
    /// What the client asks for, in its own order of preference.
    pub(super) fn wanted(headers: &HeaderMap, blocks: bool, http_compression: bool) -> Self {
        if blocks {
            return Self::Blocks;
        }
        if !http_compression {
            return Self::Identity;
        }
        headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|item| {
                let mut parts = item.split(';').map(str::trim);
                let name = parts.next()?;
                (!parts.any(|part| part.replace(' ', "") == "q=0")).then_some(name)
            })
            .find_map(|name| match name {
                "lz4" => Some(Self::Lz4),
                "gzip" => Some(Self::Gzip),
                _ => None,
            })
            .unwrap_or(Self::Identity)
    }

    /// The value for `Content-Encoding`.
    pub(super) fn header(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Lz4 => Some("lz4"),
            Self::Identity | Self::Blocks => None,
        }
    }

    /// An encoder into `sink`.
    pub(super) fn encoder<W: Write>(self, sink: W) -> Encoder<W> {
        match self {
            Self::Identity => Encoder::Identity(sink),
            Self::Gzip => Encoder::Gzip(Box::new(GzEncoder::new(sink, Compression::fast()))),
            Self::Lz4 => Encoder::Lz4(Box::new(FrameEncoder::new(sink))),
            Self::Blocks => Encoder::Blocks(BlockWriter::new(sink)),
        }
    }
}

// === impl Encoder ===

impl<W: Write> Encoder<W> {
    /// Writes the encoding's end and returns the inner writer.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Identity(sink) => Ok(sink),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Self::Blocks(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Identity(sink) => sink.write(data),
            Self::Gzip(encoder) => encoder.write(data),
            Self::Lz4(encoder) => encoder.write(data),
            Self::Blocks(writer) => writer.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Identity(sink) => sink.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Lz4(encoder) => encoder.flush(),
            Self::Blocks(writer) => writer.flush(),
        }
    }
}

/// Undoes a request body's `Content-Encoding`, then ClickHouse's own blocks when `blocks` is set.
pub(super) fn decoder(
    headers: &HeaderMap,
    blocks: bool,
    body: impl Read + Send + 'static,
) -> Result<Box<dyn Read + Send>, Exception> {
    let name = headers
        .get(CONTENT_ENCODING)
        .map_or("", |value| value.to_str().unwrap_or("?").trim());
    let plain: Box<dyn Read + Send> = match name {
        "" | "identity" => Box::new(body),
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(body)),
        "deflate" => Box::new(ZlibDecoder::new(body)),
        "lz4" => Box::new(ManyFrames {
            decoder: FrameDecoder::new(Peekable::new(body)),
        }),
        other => {
            let message = format!(
                "Unknown compression method {other}: this server takes gzip, deflate and lz4."
            );
            return Err(Exception::new(Kind::UnknownCompressionMethod, message));
        }
    };
    Ok(if blocks {
        Box::new(BlockReader::new(plain))
    } else {
        plain
    })
}

/// LZ4 frames one after another, as Python's client sends them: one for each block.
struct ManyFrames<R: Read> {
    decoder: FrameDecoder<Peekable<R>>,
}

impl<R: Read> Read for ManyFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.decoder.get_mut().at_end()? {
                return Ok(count);
            }
        }
    }
}

/// A reader that can tell whether anything is left.
struct Peekable<R> {
    inner: R,
    next: Option<u8>,
}

// === impl Peekable ===

impl<R: Read> Peekable<R> {
    fn new(inner: R) -> Self {
        Self { inner, next: None }
    }

    fn at_end(&mut self) -> io::Result<bool> {
        if self.next.is_none() {
            let mut byte = [0];
            if self.inner.read(&mut byte)? == 1 {
                self.next = Some(byte[0]);
            }
        }
        Ok(self.next.is_none())
    }
}

impl<R: Read> Read for Peekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.next.take(), buffer) {
            (Some(byte), [first, ..]) => {
                *first = byte;
                Ok(1)
            }
            (kept, buffer) => {
                self.next = kept;
                self.inner.read(buffer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_an_encoder_wrote_a_decoder_reads() {
        let data = b"0123456789".repeat(100_000);
        for (encoding, name, blocks) in [
            (Encoding::Identity, "identity", false),
            (Encoding::Gzip, "gzip", false),
            (Encoding::Lz4, "lz4", false),
            (Encoding::Blocks, "identity", true),
        ] {
            let mut encoder = encoding.encoder(Vec::new());
            encoder.write_all(&data).expect("a vector takes everything");
            let body = encoder.finish().expect("a vector takes everything");
            // Twice the same: compressed streams may follow one another.
            let twice = [body.clone(), body].concat();
            let headers =
                HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(name))]);
            let mut read = Vec::new();
            let mut decoder =
                decoder(&headers, blocks, io::Cursor::new(twice)).expect("a known encoding");
            decoder.read_to_end(&mut read).expect("the body is whole");
            assert!(read == data.repeat(2), "{name}");
        }
    }

    #[test]
    fn the_first_known_encoding_is_taken() {
        let wanted = |value: &'static str| {
            Encoding::wanted(
                &HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]),
                false,
                true,
            )
        };
        assert_eq!(wanted("zstd, lz4, gzip"), Encoding::Lz4);
        assert_eq!(wanted("br;q=1, gzip;q=0.5"), Encoding::Gzip);
        assert_eq!(wanted("gzip;q=0"), Encoding::Identity);
    }
}

//! HTTP/1.1 as it stands on the wire (RFC 9112): the head of a provider's response read, and bodies taken out of their framing,
//! also those of callers' requests. Pure.
//!
//! Strict where it matters for safety: a response whose end could be understood in two ways is refused.

use std::mem::MaybeUninit;

use arrayvec::ArrayVec;
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The longest head of a response.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How many headers a response may have.
const MAX_HEADERS: usize = 100;
/// The longest line that begins a chunk, with its extensions.
const MAX_CHUNK_LINE_BYTES: usize = 1024;
/// How many bytes may follow the last chunk.
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// A response that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The head is no HTTP/1 response, or too long.
    #[error("the head of the response is not HTTP/1, or too long")]
    Head,
    /// Lengths that contradict each other, or a transfer coding that is not known.
    #[error("where the body of the response ends is not clear")]
    Framing,
    /// The chunks are not as they should be.
    #[error("the chunks of the response are malformed")]
    Chunk,
    /// The connection ended before the response did.
    #[error("the connection ended in the middle of the response")]
    Ended,
}

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the connection can take another request after the body.
    pub keeps_alive: bool,
}

/// How a body that is read is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Up to the end of the connection.
    UntilClose,
}

/// Where a reader of chunks stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// Before a line with a size.
    Size,
    /// So many bytes of the chunk are left.
    Data(u64),
    /// Before the line end that follows a chunk's data.
    DataEnd,
    /// After the last chunk: so many bytes of trailers were seen.
    Trailers(usize),
    /// All was read.
    Done,
}

/// Takes the next head out of what has been read; `None`: it is not all there. Heads of interim responses (1xx) are
/// passed over.
///
/// # Errors
/// [`Malformed::Head`], [`Malformed::Framing`].
pub fn take_head(read: &mut BytesMut) -> Result<Option<Head>, Malformed> {
    while !read.is_empty() {
        let mut headers = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            read,
            &mut headers,
        );
        let length = match parsed.map_err(|_| Malformed::Head)? {
            httparse::Status::Complete(length) if length > MAX_HEAD_BYTES => {
                return Err(Malformed::Head);
            }
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if read.len() > MAX_HEAD_BYTES => {
                return Err(Malformed::Head);
            }
            httparse::Status::Partial => return Ok(None),
        };
        let code = response.code.unwrap_or(0);
        let status = StatusCode::from_u16(code).map_err(|_| Malformed::Head)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // Nothing was asked for that could be switched to.
            return Err(Malformed::Framing);
        }
        if status.is_informational() {
            read.advance(length);
            continue;
        }
        let is_1_1 = response.version == Some(1);
        let mut fields = Fields::<MAX_HEADERS>::new_const();
        note(response.headers, &read[..length], &mut fields);
        let text = read.split_to(length).freeze();
        let headers = header_map(&fields, &text)?;
        let framing = framing(status, &headers)?;
        let keeps_alive = keeps_alive(is_1_1, &headers) && framing != Framing::UntilClose;
        return Ok(Some(Head {
            status,
            headers,
            framing,
            keeps_alive,
        }));
    }
    Ok(None)
}

/// Where the names and values of fields lie in a head: begins and ends.
pub(crate) type Fields<const MOST: usize> = ArrayVec<[u32; 4], MOST>;

/// Notes where fields lie in a head. They are not moved from there, since they are large.
pub(crate) fn note<const MOST: usize>(
    from: &[httparse::Header<'_>],
    head: &[u8],
    fields: &mut Fields<MOST>,
) {
    for it in from {
        let (name, value) = (place(it.name.as_bytes(), head), place(it.value, head));
        fields.push([name.0, name.1, value.0, value.1]);
    }
}

/// The name and the value of a field. A value shares the head's memory.
pub(crate) fn field(at: [u32; 4], text: &Bytes) -> Option<(HeaderName, HeaderValue)> {
    let [name, name_end, value, value_end] = at.map(|it| it as usize);
    let name = HeaderName::from_bytes(&text[name..name_end]).ok()?;
    let value = HeaderValue::from_maybe_shared(text.slice(value..value_end)).ok()?;
    Some((name, value))
}

fn header_map(fields: &[[u32; 4]], text: &Bytes) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(fields.len() + super::headers::ROOM);
    for at in fields {
        let (name, value) = field(*at, text).ok_or(Malformed::Head)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Where a part of a head lies in it. An empty one may lie anywhere.
pub(crate) fn place(part: &[u8], head: &[u8]) -> (u32, u32) {
    let from = part.as_ptr().addr().saturating_sub(head.as_ptr().addr());
    let from = from.min(head.len());
    let to = (from + part.len()).min(head.len());
    // Heads are shorter than that by far.
    let of = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    (of(from), of(to))
}

/// RFC 9112, 6.3, for the response to a `POST`.
fn framing(status: StatusCode, headers: &HeaderMap) -> Result<Framing, Malformed> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(http::header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        // Both at once is how responses are smuggled.
        (Some(_), Some(_)) => Err(Malformed::Framing),
        (Some(coding), None) => {
            let chunked = coding
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"chunked");
            if chunked && codings.next().is_none() {
                Ok(Framing::Chunked(Chunk::Size))
            } else {
                Err(Malformed::Framing)
            }
        }
        (None, Some(length)) => {
            if lengths.any(|other| other != length) {
                return Err(Malformed::Framing);
            }
            decimal(length.as_bytes())
                .map(Framing::Length)
                .ok_or(Malformed::Framing)
        }
        (None, None) => Ok(Framing::UntilClose),
    }
}

/// Digits only: no sign, no blank, no list.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn keeps_alive(is_1_1: bool, headers: &HeaderMap) -> bool {
    let mut keeps = is_1_1;
    for value in headers.get_all(http::header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            if token.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keeps |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keeps
}

impl Framing {
    /// Whether all of the body was taken.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Takes what there is of the body out of what has been read; perhaps nothing. The bytes of several chunks come as
    /// one piece.
    ///
    /// # Errors
    /// [`Malformed::Chunk`].
    pub fn take(&mut self, read: &mut BytesMut) -> Result<Bytes, Malformed> {
        match self {
            Self::Length(left) => {
                let now = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                *left -= now as u64;
                Ok(read.split_to(now).freeze())
            }
            Self::Chunked(chunk) => take_chunks(chunk, read),
            Self::UntilClose => Ok(read.split().freeze()),
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`Malformed::Ended`], where the body should have gone on.
    pub const fn end(&self) -> Result<(), Malformed> {
        match self {
            Self::UntilClose | Self::Length(0) | Self::Chunked(Chunk::Done) => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err(Malformed::Ended),
        }
    }
}

/// Moves the data of all chunks that are there to the front, takes it, and drops what stood between. Data before chunks that
/// are malformed is taken first, so that it does not matter what arrived together.
fn take_chunks(chunk: &mut Chunk, read: &mut BytesMut) -> Result<Bytes, Malformed> {
    let before = *chunk;
    let (mut from, mut to) = (0, 0);
    let ended = loop {
        match step(chunk, read, &mut from, &mut to) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(malformed) => break Err(malformed),
        }
    };
    if to == 0
        && let Err(malformed) = ended
    {
        // As nothing is taken, nothing was read: whoever asks again is told the same.
        *chunk = before;
        return Err(malformed);
    }
    let data = read.split_to(to).freeze();
    read.advance(from - to);
    Ok(data)
}

/// One step in what has been read: `from` is where it goes on, `to` where data goes. Whether there may be another.
fn step(
    chunk: &mut Chunk,
    read: &mut BytesMut,
    from: &mut usize,
    to: &mut usize,
) -> Result<bool, Malformed> {
    let rest = &read[*from..];
    match chunk {
        Chunk::Done => return Ok(false),
        Chunk::Data(left) => {
            let now = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
            if now == 0 {
                return Ok(false);
            }
            read.copy_within(*from..*from + now, *to);
            (*from, *to) = (*from + now, *to + now);
            *left -= now as u64;
            if *left == 0 {
                *chunk = Chunk::DataEnd;
            }
        }
        Chunk::DataEnd => match rest {
            [b'\r', b'\n', ..] => {
                *from += 2;
                *chunk = Chunk::Size;
            }
            [] | [b'\r'] => return Ok(false),
            _ => return Err(Malformed::Chunk),
        },
        Chunk::Size => {
            let Some(line) = line(rest, MAX_CHUNK_LINE_BYTES)? else {
                return Ok(false);
            };
            let size = chunk_size(line)?;
            *from += line.len() + 2;
            *chunk = match size {
                0 => Chunk::Trailers(0),
                size => Chunk::Data(size),
            };
        }
        Chunk::Trailers(seen) => {
            let Some(line) = line(rest, MAX_TRAILER_BYTES)? else {
                return Ok(false);
            };
            let all = *seen + line.len() + 2;
            if all > MAX_TRAILER_BYTES {
                return Err(Malformed::Chunk);
            }
            *from += line.len() + 2;
            *chunk = if line.is_empty() {
                Chunk::Done
            } else {
                Chunk::Trailers(all)
            };
        }
    }
    Ok(true)
}

/// The line that `text` begins with, without its end; `None`: it is not all there.
fn line(text: &[u8], most: usize) -> Result<Option<&[u8]>, Malformed> {
    match memchr::memchr(b'\n', text) {
        Some(at) if at <= most => match text[..at].strip_suffix(b"\r") {
            // One that stands alone is a line's end to some readers (RFC 9112, 2.2).
            Some(line) if memchr::memchr(b'\r', line).is_none() => Ok(Some(line)),
            Some(_) | None => Err(Malformed::Chunk),
        },
        None if text.len() <= most => Ok(None),
        Some(_) | None => Err(Malformed::Chunk),
    }
}

/// A size in hexadecimal digits, perhaps followed by extensions, which nobody uses.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let rest = line[digits..].trim_ascii_start();
    if !(1..=16).contains(&digits) || !(rest.is_empty() || rest[0] == b';') {
        return Err(Malformed::Chunk);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Malformed::Chunk)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed::Chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole response: its status, its body, and whether the connection goes on. `pieces` of this size arrive at a time.
    fn read(text: &str, size: usize) -> Result<(u16, String, bool), Malformed> {
        let (mut buffer, mut head) = (BytesMut::new(), None);
        let mut body = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            buffer.extend_from_slice(piece);
            if head.is_none() {
                head = take_head(&mut buffer)?;
            }
            if let Some(head) = &mut head {
                body.extend_from_slice(&head.framing.take(&mut buffer)?);
            }
        }
        let head = head.ok_or(Malformed::Ended)?;
        head.framing.end()?;
        assert!(buffer.is_empty(), "nothing is left over");
        let body = String::from_utf8(body).expect("text");
        Ok((head.status.as_u16(), body, head.keeps_alive))
    }

    fn check(text: &str, expected: Result<(u16, &str, bool), Malformed>) {
        for size in 1..=text.len() {
            let read = read(text, size);
            let read = read
                .as_ref()
                .map(|(status, body, keeps)| (*status, body.as_str(), *keeps))
                .map_err(|error| *error);
            assert_eq!(read, expected, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn bodies_end_where_they_say() {
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            Ok((200, "hello", true)),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n",
            Ok((200, "", false)),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "", true)));
        check(
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Ok((200, "ok", false)),
        );
        check(
            "HTTP/1.1 200 OK\r\n\r\nto the end",
            Ok((200, "to the end", false)),
        );
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
            Ok((200, "ok", true)),
        );
    }

    #[test]
    fn chunks_come_as_one_piece_without_what_stands_between() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        check(
            &format!("{head}5\r\nhello\r\n1;x=y\r\n \r\n05\r\nworld\r\n0\r\n\r\n"),
            Ok((200, "hello world", true)),
        );
        check(
            &format!("{head}0\r\nx-trailer: 1\r\n\r\n"),
            Ok((200, "", true)),
        );
        let mut buffer = BytesMut::from("3\r\nabc\r\n3\r\ndef\r\n2\r");
        let mut framing = Framing::Chunked(Chunk::Size);
        assert_eq!(framing.take(&mut buffer).expect("good"), "abcdef");
        assert_eq!(buffer, "2\r");
    }

    #[test]
    fn interim_responses_are_passed_over() {
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!",
            Ok((200, "!", true)),
        );
    }

    #[test]
    fn responses_that_could_be_understood_in_two_ways_are_refused() {
        for headers in [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: +5",
            "content-length: 5, 5",
            "content-length: ",
            "content-length: 99999999999999999999",
            "transfer-encoding: gzip",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\nhello");
            assert_eq!(
                read(&text, text.len()),
                Err(Malformed::Framing),
                "{headers}"
            );
        }
        check(
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            Err(Malformed::Framing),
        );
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for chunks in [
            "x\r\n",
            "\r\n",
            "5\nhello\r\n",
            "11111111111111111\r\n",
            "-1\r\n",
            "5 5\r\n",
        ] {
            let text = format!("{head}{chunks}");
            assert_eq!(read(&text, text.len()), Err(Malformed::Chunk), "{chunks:?}");
        }
        // What came before is taken, also where both come together.
        for chunks in ["3\r\nabc\r\nx\r\n", "3\r\nabcdef"] {
            let mut buffer = BytesMut::from(chunks);
            let mut framing = Framing::Chunked(Chunk::Size);
            assert_eq!(framing.take(&mut buffer).expect("good"), "abc");
            assert_eq!(framing.take(&mut buffer), Err(Malformed::Chunk));
        }
        // Nor is it understood when it is looked at again.
        for chunks in ["\r\n0\r\na: b\n\r\n", "\r\n1\n", "\r\n0\r\n\n"] {
            let mut buffer = BytesMut::from(chunks);
            let mut framing = Framing::Chunked(Chunk::DataEnd);
            for _ in 0..3 {
                assert_eq!(framing.take(&mut buffer), Err(Malformed::Chunk));
            }
            assert_eq!(buffer, chunks, "nothing is taken");
        }
        let long = format!("{head}{}", "1".repeat(5_000));
        assert_eq!(read(&long, long.len()), Err(Malformed::Chunk));
    }

    #[test]
    fn what_ends_too_early_is_noticed() {
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            Err(Malformed::Ended),
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            Err(Malformed::Ended),
        );
        check("HTTP/1.1 200 OK\r\ncontent-le", Err(Malformed::Ended));
    }

    #[test]
    fn a_field_without_a_value_ends_with_its_head() {
        for next in ["", "HTTP/1.1 200 OK\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\nx:\r\nContent-Length:1\r\ny: \r\n\r\n{next}");
            let mut buffer = BytesMut::from(text.as_str());
            let head = take_head(&mut buffer).expect("good").expect("whole");
            assert!(head.headers["x"].is_empty() && head.headers["y"].is_empty());
            assert_eq!(buffer, next);
        }
    }

    #[test]
    fn heads_are_bounded() {
        let mut endless = BytesMut::from("HTTP/1.1 200 OK\r\n");
        while endless.len() <= MAX_HEAD_BYTES {
            endless.extend_from_slice(b"x: ");
            endless.extend_from_slice(&[b'y'; 1_000]);
        }
        assert_eq!(take_head(&mut endless).err(), Some(Malformed::Head));
        assert_eq!(
            take_head(&mut BytesMut::from("SSH-2.0-OpenSSH\r\n")).err(),
            Some(Malformed::Head)
        );
    }
}

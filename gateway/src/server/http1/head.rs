//! The head of a caller's request, read out of what has come (RFC 9112). Pure.
//!
//! Strict where it matters for safety: a request whose end could be understood in two ways is refused, but for one with a length
//! and with chunks, of which the chunks count (RFC 9112, 6.1) and whose connection ends.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING},
};
use memchr::memmem;

use crate::upstream::wire::{Chunk, Fields, Framing, decimal, field, note, place};

/// The longest head of a request.
pub const MAX_HEAD_BYTES: usize = 128 * 1024;
/// How many fields a request may have.
const MAX_FIELDS: usize = 100;
/// The longest target of a request: what `http::Uri` can hold.
const MAX_TARGET_BYTES: usize = u16::MAX as usize - 1;

/// A request's head.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// The fields, in their order. Of the length there is one at most, and none beside chunks.
    pub headers: HeaderMap,
    /// How the body is framed; never up to the end of the connection.
    pub framing: Framing,
    /// Whether the caller lets the connection go on after the answer.
    pub keeps_alive: bool,
    /// Whether the caller waits to be told to send the body.
    pub expects_continue: bool,
}

/// A head that is none, or too much. Nobody knows where the next request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not HTTP/1, or where the body ends is not clear.
    Malformed,
    /// The target is too long.
    LongTarget,
    /// It is too long, or has too many fields.
    TooLarge,
}

impl Refused {
    /// With which status the caller is told.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

/// Reads heads one after the other.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// So much was there when a head was looked for in vain; 0: nothing was.
    looked_at: usize,
    /// How many bytes of empty lines came since the last head.
    skipped: usize,
}

impl HeadReader {
    /// Takes the next head out of what has been read; `None`: it is not all there.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn take(&mut self, read: &mut BytesMut) -> Result<Option<Head>, Refused> {
        let skipped = skip_empty_lines(read);
        if skipped > 0 {
            self.looked_at = 0;
            self.skipped += skipped;
        }
        if self.skipped > MAX_HEAD_BYTES {
            return Err(Refused::TooLarge);
        }
        if read.is_empty() || (self.looked_at > 0 && !has_end(read, self.looked_at)) {
            return self.wait(read.len());
        }
        let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
            &mut request,
            read,
            &mut fields,
        );
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) if length > MAX_HEAD_BYTES => {
                return Err(Refused::TooLarge);
            }
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return self.wait(read.len()),
            Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
            Err(_) => return Err(Refused::Malformed),
        };
        (self.looked_at, self.skipped) = (0, 0);
        let target = request.path.unwrap_or_default();
        if target.len() > MAX_TARGET_BYTES {
            return Err(Refused::LongTarget);
        }
        let method = request.method.unwrap_or_default();
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Malformed)?;
        let is_1_1 = request.version == Some(1);
        let head = &read[..length];
        let target = place(target.as_bytes(), head);
        let mut fields = Fields::new_const();
        note(request.headers, head, &mut fields);
        let text = read.split_to(length).freeze();
        let uri = text.slice(target.0 as usize..target.1 as usize);
        let uri = Uri::from_maybe_shared(uri).map_err(|_| Refused::Malformed)?;
        Head::of((method, uri, is_1_1), &fields, &text).map(Some)
    }

    /// The rest has to come first, if there is room for it.
    const fn wait(&mut self, length: usize) -> Result<Option<Head>, Refused> {
        if length > MAX_HEAD_BYTES {
            return Err(Refused::TooLarge);
        }
        self.looked_at = length;
        Ok(None)
    }
}

/// Empty lines before a head are passed over (RFC 9112, 2.2), so that nothing is made longer by them. How many bytes they have.
fn skip_empty_lines(read: &mut BytesMut) -> usize {
    let before = read.len();
    loop {
        match &read[..] {
            [b'\r', b'\n', ..] => read.advance(2),
            [b'\n', ..] => read.advance(1),
            _ => return before - read.len(),
        }
    }
}

/// Whether a head may end behind what was looked at before: a caller that sends byte after byte does not have all of it read
/// again and again.
fn has_end(read: &[u8], looked_at: usize) -> bool {
    let new = &read[looked_at.saturating_sub(3)..];
    memmem::find(new, b"\n\r\n").is_some() || memmem::find(new, b"\n\n").is_some()
}

// === impl Head ===

impl Head {
    /// Of what a request's first line says, and of its fields.
    fn of(
        (method, uri, is_1_1): (Method, Uri, bool),
        fields: &Fields<MAX_FIELDS>,
        text: &Bytes,
    ) -> Result<Self, Refused> {
        let mut headers = HeaderMap::with_capacity(fields.len());
        let mut framing = Framed::default();
        let mut connection = Connection::default();
        let mut expects_continue = false;
        for at in fields {
            let (name, value) = field(*at, text).ok_or(Refused::Malformed)?;
            let is_kept = match name {
                TRANSFER_ENCODING => framing.coding(&value, is_1_1)?,
                CONTENT_LENGTH => framing.length(&value)?,
                CONNECTION => connection.note(&value),
                EXPECT => {
                    let value = value.as_bytes();
                    expects_continue = is_1_1 && value.eq_ignore_ascii_case(b"100-continue");
                    true
                }
                _ => true,
            };
            if is_kept {
                headers.append(name, value);
            }
        }
        if framing.codings > 0 && framing.length.is_some() {
            headers.remove(CONTENT_LENGTH);
        }
        let is_clear = framing.codings == 0 || framing.length.is_none();
        let keeps_alive = if is_1_1 {
            !connection.closes
        } else {
            connection.goes_on && !connection.closes
        };
        Ok(Self {
            method,
            uri,
            version: if is_1_1 {
                Version::HTTP_11
            } else {
                Version::HTTP_10
            },
            headers,
            framing: framing.whole()?,
            keeps_alive: keeps_alive && is_clear,
            expects_continue,
        })
    }
}

/// What a head says of how its body is framed (RFC 9112, 6.3).
#[derive(Default)]
struct Framed {
    /// How many fields name a transfer coding.
    codings: usize,
    /// Whether the last coding of them all is `chunked`.
    is_chunked: bool,
    length: Option<u64>,
}

impl Framed {
    fn coding(&mut self, value: &HeaderValue, is_1_1: bool) -> Result<bool, Refused> {
        // HTTP/1.0 knows none.
        if !is_1_1 {
            return Err(Refused::Malformed);
        }
        self.codings += 1;
        let last = value.as_bytes().rsplit(|byte| *byte == b',').next();
        let last = last.unwrap_or_default().trim_ascii();
        self.is_chunked = last.eq_ignore_ascii_case(b"chunked");
        Ok(true)
    }

    /// Whether the field says something new: a length may be said more than once, if it is the same.
    fn length(&mut self, value: &HeaderValue) -> Result<bool, Refused> {
        let length = decimal(value.as_bytes()).ok_or(Refused::Malformed)?;
        match self.length.replace(length) {
            None => Ok(true),
            Some(before) if before == length => Ok(false),
            Some(_) => Err(Refused::Malformed),
        }
    }

    const fn whole(&self) -> Result<Framing, Refused> {
        match (self.codings, self.length) {
            (0, length) => Ok(Framing::Length(match length {
                Some(length) => length,
                None => 0,
            })),
            (_, _) if self.is_chunked => Ok(Framing::Chunked(Chunk::Size)),
            // Where such a body ends nobody knows.
            (_, _) => Err(Refused::Malformed),
        }
    }
}

/// What a head says of its connection.
#[derive(Default)]
struct Connection {
    closes: bool,
    goes_on: bool,
}

impl Connection {
    fn note(&mut self, value: &HeaderValue) -> bool {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            self.closes |= token.eq_ignore_ascii_case(b"close");
            self.goes_on |= token.eq_ignore_ascii_case(b"keep-alive");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All heads that stand one behind the other in a text, which comes in pieces of each size; and what is left.
    fn heads(text: &str, size: usize) -> Result<(Vec<Head>, String), Refused> {
        let (mut reader, mut read) = (HeadReader::default(), BytesMut::new());
        let mut heads = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            read.extend_from_slice(piece);
            while let Some(head) = reader.take(&mut read)? {
                heads.push(head);
            }
        }
        let left = String::from_utf8(read.to_vec()).expect("text");
        Ok((heads, left))
    }

    /// What a head says: its fields, how its body is framed, whether its connection goes on.
    type Says<'a> = (&'a [(&'a str, &'a str)], Framing, bool);

    /// One head, however it comes.
    fn check(text: &str, expected: Result<Says<'_>, Refused>) {
        for size in 1..=text.len() {
            let found = heads(text, size).map(|(mut heads, left)| {
                assert_eq!((heads.len(), left.as_str()), (1, ""), "{text:?}");
                heads.remove(0)
            });
            match (&found, &expected) {
                (Ok(head), Ok((fields, framing, keeps_alive))) => {
                    let headers = head.headers.iter();
                    let headers: Vec<(&str, &str)> = headers
                        .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
                        .collect();
                    assert_eq!(headers, *fields, "{text:?}");
                    let said = (head.framing, head.keeps_alive);
                    assert_eq!(said, (*framing, *keeps_alive), "{text:?}");
                }
                (Err(found), Err(expected)) => assert_eq!(found, expected, "{text:?}"),
                (found, expected) => panic!("{text:?}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_head_says_how_its_body_is_framed_and_whether_the_connection_goes_on() {
        check(
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Ok((&[("host", "a")], Framing::Length(0), true)),
        );
        check(
            "POST / HTTP/1.1\r\ncontent-length: 2\r\nContent-Length: 2\r\nconnection: x, Close\r\n\r\n",
            Ok((
                &[("content-length", "2"), ("connection", "x, Close")],
                Framing::Length(2),
                false,
            )),
        );
        check(
            "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n",
            Ok((
                &[("transfer-encoding", "Chunked")],
                Framing::Chunked(Chunk::Size),
                true,
            )),
        );
        check(
            "POST / HTTP/1.0\ncontent-length: 1\n\n",
            Ok((&[("content-length", "1")], Framing::Length(1), false)),
        );
        check(
            "POST / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n",
            Ok((&[("connection", "Keep-Alive")], Framing::Length(0), true)),
        );
    }

    #[test]
    fn of_a_length_and_chunks_the_chunks_count_and_the_connection_ends() {
        for fields in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        ] {
            check(
                &format!("POST / HTTP/1.1\r\n{fields}\r\n"),
                Ok((
                    &[("transfer-encoding", "chunked")],
                    Framing::Chunked(Chunk::Size),
                    false,
                )),
            );
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        for fields in [
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: chunked, gzip\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n",
            "x: 1\r\n 2\r\n",
            "x : 1\r\n",
        ] {
            let text = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(
                heads(&text, text.len()).err(),
                Some(Refused::Malformed),
                "{fields:?}"
            );
        }
        let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(heads(old, 7).err(), Some(Refused::Malformed));
    }

    #[test]
    fn heads_are_bounded_and_told_apart() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
        assert_eq!(heads(&many, many.len()).err(), Some(Refused::TooLarge));
        let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(140_000));
        assert_eq!(heads(&endless, 1_000).err(), Some(Refused::TooLarge));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(66_000));
        assert_eq!(heads(&long, long.len()).err(), Some(Refused::LongTarget));
        let most = "\r\n".repeat(MAX_HEAD_BYTES / 2);
        let request = "GET / HTTP/1.1\r\nx:\r\n\r\n";
        let text = [&most, request, &most, request].concat();
        for size in [3, text.len()] {
            let (heads, left) = heads(&text, size).expect("nothing is wrong");
            assert_eq!((heads.len(), left.as_str()), (2, ""));
        }
        let endless = [&most, "\n"].concat();
        for size in [3, endless.len()] {
            assert_eq!(heads(&endless, size).err(), Some(Refused::TooLarge));
        }
        let two = "\r\nGET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\n\nGET";
        for size in 1..=two.len() {
            let (heads, left) = heads(two, size).expect("good");
            let paths: Vec<_> = heads.iter().map(|it| it.uri.path()).collect();
            assert_eq!((paths, left.as_str()), (vec!["/a", "/b"], "GET"));
        }
    }
}

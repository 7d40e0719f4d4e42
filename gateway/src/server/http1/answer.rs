//! The head of an answer to a caller, and the framing of its body, as they stand on the wire (RFC 9112). Pure but for the date.

use std::{cell::RefCell, io::Write as _};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
};

use super::outbox::Outbox;
use crate::{
    clock,
    digits::Decimal,
    server::response::{Headers, OwnHeaders},
    upstream::wire::decimal,
};

/// What of a request its answer depends on.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The version that the caller speaks.
    pub version: Version,
    /// Whether only the head is asked for.
    pub is_head: bool,
    /// Whether the connection may go on afterwards.
    pub keeps_alive: bool,
}

/// What an answer says before its body.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What the gateway says beside.
    pub own: Option<&'a OwnHeaders>,
}

/// How an answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the connection goes on when it is out.
    pub keeps_alive: bool,
}

/// How the body of an answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are to come; what is more is left out.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
}

/// Writes the head of an answer. `length`: that of its body, where it is known; else a field may say it.
pub fn write_head(out: &mut Vec<u8>, said: Said<'_>, length: Option<u64>, asked: Asked) -> Sending {
    let Said {
        status,
        headers,
        own,
    } = said;
    write_status(out, asked.version, status);
    let mut closes = !asked.keeps_alive;
    let mut says_connection = false;
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH | TRANSFER_ENCODING | DATE => continue,
            CONNECTION => {
                says_connection = true;
                closes |= value.as_bytes().eq_ignore_ascii_case(b"close");
            }
            _ => {}
        }
        line(out, name.as_str(), value.as_bytes());
    }
    if let Some(own) = own {
        own.tell(out);
    }
    let stated = || decimal(headers.get(CONTENT_LENGTH)?.as_bytes());
    let framing = frame(status, length.or_else(stated), asked.version);
    match framing {
        Framing::Length(_) if is_bare(status) => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(Decimal::of(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::UntilClose => closes = true,
    }
    match asked.version {
        _ if says_connection => {}
        Version::HTTP_10 if !closes => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Version::HTTP_10 => {}
        _ if closes => out.extend_from_slice(b"connection: close\r\n"),
        _ => {}
    }
    out.extend_from_slice(b"date: ");
    write_date(out);
    out.extend_from_slice(b"\r\n\r\n");
    Sending {
        framing: if asked.is_head {
            Framing::Length(0)
        } else {
            framing
        },
        keeps_alive: !closes,
    }
}

/// Whether an answer with this status has no body, and says nothing of its length (RFC 9110, 8.6).
const fn is_bare(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn frame(status: StatusCode, length: Option<u64>, version: Version) -> Framing {
    match length {
        _ if is_bare(status) => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if version == Version::HTTP_10 => Framing::UntilClose,
        None => Framing::Chunked,
    }
}

fn write_status(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    let version: &[u8] = match version {
        Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    };
    out.extend_from_slice(version);
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

impl Headers for Vec<u8> {
    fn tell(&mut self, name: &HeaderName, value: &[u8]) {
        line(self, name.as_str(), value);
    }
}

/// A `HeaderValue` holds neither CR nor LF, and what the gateway itself says does not either.
fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A date in words, and the second that it is of.
struct Date {
    second: i64,
    text: String,
}

thread_local! {
    // Written anew once a second.
    static NOW: RefCell<Date> = const { RefCell::new(Date { second: i64::MIN, text: String::new() }) };
}

/// RFC 9110, 5.6.7.
fn write_date(out: &mut Vec<u8>) {
    let now = clock::now();
    let second = now.micros().div_euclid(1_000_000);
    NOW.with_borrow_mut(|date| {
        if date.second != second {
            let text = now.to_chrono().format("%a, %d %b %Y %H:%M:%S GMT");
            *date = Date {
                second,
                text: text.to_string(),
            };
        }
        out.extend_from_slice(date.text.as_bytes());
    });
}

// === impl Framing ===

impl Framing {
    /// The next piece goes out.
    pub fn add(&mut self, mut piece: Bytes, out: &mut Outbox) {
        match self {
            Self::Length(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX);
                piece.truncate(now);
                *left -= piece.len() as u64;
                out.add(piece, b"");
            }
            Self::Chunked if piece.is_empty() => {}
            Self::Chunked => {
                write!(out.text(), "{:x}\r\n", piece.len()).expect("memory takes everything");
                out.add(piece, b"\r\n");
            }
            Self::UntilClose => out.add(piece, b""),
        }
    }

    /// Nothing more comes. Whether the body is whole: else nobody must take it for that.
    pub fn end(self, out: &mut Outbox) -> bool {
        match self {
            Self::Length(left) => left == 0,
            Self::Chunked => {
                out.text().extend_from_slice(b"0\r\n\r\n");
                true
            }
            Self::UntilClose => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(
        status: u16,
        headers: &[(&'static str, &'static str)],
        length: Option<u64>,
        asked: Asked,
        expected: (&str, Framing, bool),
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            })
            .collect();
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).expect("a status");
        let said = Said {
            status,
            headers: &headers,
            own: None,
        };
        let sending = write_head(&mut out, said, length, asked);
        let text = String::from_utf8(out).expect("text");
        let (text, date) = text.rsplit_once("date: ").expect("a date");
        assert!(
            date.len() == 33 && date.ends_with(" GMT\r\n\r\n"),
            "{date:?}"
        );
        let found = (text, sending.framing, sending.keeps_alive);
        assert_eq!(found, expected);
    }

    const ASKED: Asked = Asked {
        version: Version::HTTP_11,
        is_head: false,
        keeps_alive: true,
    };

    #[test]
    fn a_head_says_how_the_body_ends_and_whether_the_connection_does() {
        check(
            200,
            &[("x", "y"), ("content-length", "9")],
            Some(9),
            ASKED,
            (
                "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 9\r\n",
                Framing::Length(9),
                true,
            ),
        );
        check(
            200,
            &[("content-length", "9")],
            None,
            ASKED,
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n",
                Framing::Length(9),
                true,
            ),
        );
        check(
            404,
            &[("connection", "close")],
            None,
            ASKED,
            (
                "HTTP/1.1 404 Not Found\r\nconnection: close\r\ntransfer-encoding: chunked\r\n",
                Framing::Chunked,
                false,
            ),
        );
        let closes = Asked {
            keeps_alive: false,
            ..ASKED
        };
        check(
            400,
            &[],
            Some(0),
            closes,
            (
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n",
                Framing::Length(0),
                false,
            ),
        );
        check(
            204,
            &[("content-length", "0")],
            Some(0),
            ASKED,
            ("HTTP/1.1 204 No Content\r\n", Framing::Length(0), true),
        );
        let head = Asked {
            is_head: true,
            ..ASKED
        };
        check(
            405,
            &[],
            Some(7),
            head,
            (
                "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 7\r\n",
                Framing::Length(0),
                true,
            ),
        );
    }

    #[test]
    fn old_http_knows_no_chunks() {
        let old = Asked {
            version: Version::HTTP_10,
            ..ASKED
        };
        check(
            200,
            &[],
            None,
            old,
            ("HTTP/1.0 200 OK\r\n", Framing::UntilClose, false),
        );
        check(
            200,
            &[],
            Some(2),
            old,
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n",
                Framing::Length(2),
                true,
            ),
        );
    }
}

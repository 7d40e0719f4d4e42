//! A second reader of HTTP/1.1, written from RFC 9112 and for clarity, against which the gateway's are compared. It takes whole
//! messages only, and knows no limits.

/// How long a message's body is (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u64),
    /// Chunks.
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
}

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Vec<u8>,
    /// The target.
    pub target: Vec<u8>,
    /// The fields, names in lower case.
    pub fields: Vec<Field>,
    /// How long the body is.
    pub length: Length,
    /// Where the head ends.
    pub ends_at: usize,
}

/// The head of a response that is final.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// How long the body is.
    pub length: Length,
    /// Where the head ends.
    pub ends_at: usize,
}

/// A field: its name, and its value without blanks around it.
pub type Field = (Vec<u8>, Vec<u8>);

/// What follows a head.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// All of the body, and where it ends.
    Whole {
        /// The content.
        bytes: Vec<u8>,
        /// Where the next message begins.
        ends_at: usize,
    },
    /// The beginning of it.
    Cut {
        /// The content so far.
        bytes: Vec<u8>,
    },
    /// Its chunks are none.
    Malformed,
}

/// Reads a request's head; `None`: there is none that is whole and good.
#[must_use]
pub fn request(text: &[u8]) -> Option<Request> {
    let mut lines = Lines::of(text);
    let line = lines.first()?;
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return None;
    }
    if method.is_empty() || target.is_empty() || !method.iter().all(|it| is_of_a_token(*it)) {
        return None;
    }
    let fields = lines.fields()?;
    let length = match coding(&fields) {
        Some(coding) if coding.ends_with(b"chunked") => Length::Chunked,
        Some(_) => return None,
        None => Length::Bytes(content_length(&fields)?.unwrap_or(0)),
    };
    Some(Request {
        method: method.to_vec(),
        target: target.to_vec(),
        fields,
        length,
        ends_at: lines.at,
    })
}

/// Reads a response's head, and passes over interim ones; `None`: there is none that is whole and good.
#[must_use]
pub fn response(text: &[u8]) -> Option<Response> {
    let mut lines = Lines::of(text);
    loop {
        let line = lines.first()?;
        let rest = line
            .strip_prefix(b"HTTP/1.1 ")
            .or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
        let status: u16 = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
        let fields = lines.fields()?;
        if (100..200).contains(&status) {
            continue;
        }
        let has_none = matches!(status, 204 | 304);
        let said = if has_none {
            (None, Some(0))
        } else {
            (coding(&fields), content_length(&fields)?)
        };
        let length = match said {
            (Some(coding), None) if coding == b"chunked" => Length::Chunked,
            (Some(_), _) => return None,
            (None, Some(length)) => Length::Bytes(length),
            (None, None) => Length::UntilClose,
        };
        return Some(Response {
            status,
            length,
            ends_at: lines.at,
        });
    }
}

/// Reads a body out of what follows a head.
#[must_use]
pub fn body(text: &[u8], length: Length) -> Body {
    match length {
        Length::UntilClose => Body::Whole {
            bytes: text.to_vec(),
            ends_at: text.len(),
        },
        Length::Bytes(length) => match usize::try_from(length) {
            Ok(length) if length <= text.len() => Body::Whole {
                bytes: text[..length].to_vec(),
                ends_at: length,
            },
            Ok(_) | Err(_) => Body::Cut {
                bytes: text.to_vec(),
            },
        },
        Length::Chunked => chunks(text),
    }
}

/// RFC 9112, 7.1. Lines end with CR LF here, and with nothing else.
fn chunks(text: &[u8]) -> Body {
    let (mut bytes, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = strict_line(&text[at..]) else {
            return if text[at..].contains(&b'\n') {
                Body::Malformed
            } else {
                Body::Cut { bytes }
            };
        };
        at += line.len() + 2;
        let digits = line.iter().take_while(|it| it.is_ascii_hexdigit()).count();
        let rest = line[digits..].trim_ascii_start();
        let size = std::str::from_utf8(&line[..digits]).ok();
        let size = size.and_then(|it| u64::from_str_radix(it, 16).ok());
        let Some(size) = size.filter(|_| rest.is_empty() || rest[0] == b';') else {
            return Body::Malformed;
        };
        if size == 0 {
            return trailers(text, at, bytes);
        }
        let left = &text[at..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        bytes.extend_from_slice(&left[..size.min(left.len())]);
        if left.len() < size {
            return Body::Cut { bytes };
        }
        match &left[size..] {
            [b'\r', b'\n', ..] => at += size + 2,
            [] | [b'\r'] => return Body::Cut { bytes },
            _ => return Body::Malformed,
        }
    }
}

/// Fields like those of a head, of which only the end is of interest: an empty line.
fn trailers(text: &[u8], mut at: usize, bytes: Vec<u8>) -> Body {
    loop {
        let rest = &text[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\r') else {
            return Body::Cut { bytes };
        };
        match rest.get(end + 1) {
            None => return Body::Cut { bytes },
            Some(b'\n') => at += end + 2,
            Some(_) => return Body::Malformed,
        }
        if end == 0 {
            return Body::Whole { bytes, ends_at: at };
        }
    }
}

/// The line that the text begins with, which CR LF ends; `None`: there is none.
fn strict_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    text[..end].strip_suffix(b"\r")
}

/// The transfer codings, in lower case, as one list; `None`: there are none.
fn coding(fields: &[Field]) -> Option<Vec<u8>> {
    let named = fields
        .iter()
        .filter(|(name, _)| name == b"transfer-encoding");
    let values: Vec<Vec<u8>> = named
        .map(|(_, value)| value.trim_ascii().to_ascii_lowercase())
        .collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}

/// `Some(None)`: there is none; `None`: what there is cannot be understood.
#[expect(
    clippy::option_option,
    reason = "a length that is missing is not one that is wrong"
)]
fn content_length(fields: &[Field]) -> Option<Option<u64>> {
    let mut found = None;
    for (_, value) in fields.iter().filter(|(name, _)| name == b"content-length") {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
        if found.is_some_and(|other| other != length) {
            return None;
        }
        found = Some(length);
    }
    Some(found)
}

/// The lines of a head, each ended by LF or CR LF (RFC 9112, 2.2).
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Lines<'t> {
    const fn of(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn next(&mut self) -> Option<&'t [u8]> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        let line = &rest[..end];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Empty lines before a message are passed over.
    fn first(&mut self) -> Option<&'t [u8]> {
        loop {
            let line = self.next()?;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    /// All fields up to the empty line. No line is folded, no blank stands before a colon.
    fn fields(&mut self) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            let line = self.next()?;
            if line.is_empty() {
                return Some(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().all(|it| is_of_a_token(*it)) {
                return None;
            }
            if value.iter().any(|it| matches!(it, 0 | b'\r' | b'\n')) {
                return None;
            }
            fields.push((name.to_ascii_lowercase(), trimmed(value).to_vec()));
        }
    }
}

/// Without blanks and tabs around it.
fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |it: &u8| matches!(it, b' ' | b'\t');
    let begin = value.iter().position(|it| !is_blank(it));
    let end = value.iter().rposition(|it| !is_blank(it));
    begin
        .zip(end)
        .map_or(&[], |(begin, end)| &value[begin..=end])
}

/// RFC 9110, 5.6.2.
const fn is_of_a_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

//! One HTTP/1.1 connection that sends prepared bytes and reads answers, for as little CPU as that
//! takes: whatever the load costs is missing for the mock provider on the same core.
//!
//! It reads just as much of an answer as is needed to find its end. A client library would cost
//! more than the answer itself.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A connection that is used for one request after the other.
pub(super) struct Connection {
    stream: TcpStream,
    /// What was read; an answer's head begins at 0.
    buffer: Vec<u8>,
    /// When the first bytes of the last answer came.
    first_bytes: Instant,
}

/// An answer, as far as a measurement needs it.
pub(super) struct Reply<'a> {
    /// The status.
    pub(super) status: u16,
    /// When its first bytes came.
    pub(super) first_bytes: Instant,
    head: &'a [u8],
    /// The body as it lay on the wire (with the frames of a chunked one).
    pub(super) body: &'a [u8],
}

/// How an answer's end is found.
enum Framing {
    Length(usize),
    Chunked,
}

// === impl Connection ===

impl Connection {
    /// Connects, without Nagle's delay.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 << 10),
            first_bytes: Instant::now(),
        })
    }

    /// Sends one request and waits for the whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        let head = self.ask(request).await?;
        let status = status(&self.buffer[..head])?;
        let end = self.read_body(head).await?;
        Ok(Reply {
            status,
            first_bytes: self.first_bytes,
            head: &self.buffer[..head],
            body: &self.buffer[head..end],
        })
    }

    /// Sends one request, and goes away once so many bytes of a good answer's body have come; the status. Another answer is
    /// read to its end.
    pub(super) async fn cut_after(mut self, request: &[u8], bytes: usize) -> io::Result<u16> {
        let head = self.ask(request).await?;
        let status = status(&self.buffer[..head])?;
        if status == 200 {
            while self.buffer.len() < head + bytes {
                self.read_more().await?;
            }
        } else {
            self.read_body(head).await?;
        }
        Ok(status)
    }

    /// Sends one request and waits for the beginning of the answer's body; the status.
    pub(super) async fn begin(&mut self, request: &[u8]) -> io::Result<u16> {
        let head = self.ask(request).await?;
        while self.buffer.len() == head {
            self.read_more().await?;
        }
        status(&self.buffer[..head])
    }

    /// Whether an answer in chunks that has begun is still to end; takes what has come of it.
    pub(super) fn is_open(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        loop {
            match self.stream.try_read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => self.buffer.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(!self.buffer.ends_with(b"\r\n0\r\n\r\n"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one request and reads the head of the answer; where that ends.
    async fn ask(&mut self, request: &[u8]) -> io::Result<usize> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        self.read_more().await?;
        self.first_bytes = Instant::now();
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(end + 4);
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(malformed("the head of an answer is too long"));
            }
            self.read_more().await?;
        }
    }

    /// Reads the body behind a head to its end, which it returns.
    async fn read_body(&mut self, head: usize) -> io::Result<usize> {
        match framing(&self.buffer[..head])? {
            Framing::Length(length) => {
                while self.buffer.len() < head + length {
                    self.read_more().await?;
                }
                Ok(head + length)
            }
            Framing::Chunked => self.read_chunks(head).await,
        }
    }

    /// Reads a chunked body to its end, which it returns.
    async fn read_chunks(&mut self, mut at: usize) -> io::Result<usize> {
        loop {
            let line = loop {
                match find(&self.buffer[at..], b"\r\n") {
                    Some(length) => break length,
                    None => self.read_more().await?,
                }
            };
            let size = std::str::from_utf8(&self.buffer[at..at + line]).ok();
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.ok_or_else(|| malformed("a chunk has no size"))?;
            // The size's line, the data, and the line end behind it (no trailers are asked for).
            at += line + 2 + size + 2;
            while self.buffer.len() < at {
                self.read_more().await?;
            }
            if size == 0 {
                return Ok(at);
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

// === impl Reply ===

impl Reply<'_> {
    /// A header's value; the name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }

    /// The body without the frames of a chunked one.
    pub(super) fn whole_body(&self) -> Vec<u8> {
        if self.header("transfer-encoding").is_none() {
            return self.body.to_vec();
        }
        let (mut whole, mut rest) = (Vec::new(), self.body);
        while let Some(line) = find(rest, b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).ok();
            let size = size
                .and_then(|size| usize::from_str_radix(size.trim(), 16).ok())
                .unwrap_or(0);
            let Some(chunk) = rest.get(line + 2..line + 2 + size).filter(|_| size > 0) else {
                break;
            };
            whole.extend_from_slice(chunk);
            rest = rest.get(line + 2 + size + 2..).unwrap_or_default();
        }
        whole
    }
}

/// The bytes of a request with a JSON body.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| malformed("an answer has no status"))
}

fn framing(head: &[u8]) -> io::Result<Framing> {
    if let Some(length) = header(head, "content-length") {
        let length = length
            .parse()
            .map_err(|_| malformed("content-length is no number"))?;
        return Ok(Framing::Length(length));
    }
    match header(head, "transfer-encoding") {
        Some("chunked") => Ok(Framing::Chunked),
        _ => Err(malformed("an answer has neither a length nor chunks")),
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.into_iter().find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        let same = found.eq_ignore_ascii_case(name.as_bytes());
        if same {
            std::str::from_utf8(value).ok().map(str::trim)
        } else {
            None
        }
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn malformed(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Serves these bytes to one connection, one slice a write, and returns what a client sees.
    async fn exchange(
        pieces: &'static [&'static [u8]],
    ) -> io::Result<(u16, Vec<u8>, Option<String>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            stream.set_nodelay(true).expect("sets");
            let mut asked = Vec::new();
            while find(&asked, b"\r\n\r\n").is_none() {
                stream.read_buf(&mut asked).await.expect("reads");
            }
            for piece in pieces {
                stream.write_all(piece).await.expect("writes");
                tokio::task::yield_now().await;
            }
        });
        let mut connection = Connection::open(address).await?;
        let reply = connection.exchange(&request("GET", "/", &[], "")).await?;
        Ok((
            reply.status,
            reply.body.to_vec(),
            reply.header("x-position").map(str::to_owned),
        ))
    }

    #[tokio::test]
    async fn answers_are_read_to_their_end_and_no_further() {
        let (status, body, position) = exchange(&[
            b"HTTP/1.1 200 OK\r\nX-Position: 7\r\nContent-Le",
            b"ngth: 4\r\n\r\nfo",
            b"ur",
        ])
        .await
        .expect("reads");
        assert_eq!(
            (status, body.as_slice(), position.as_deref()),
            (200, b"four".as_slice(), Some("7"))
        );
        let (status, body, _) = exchange(&[
            b"HTTP/1.1 429 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            b"c\r\n0\r\n\r\n",
        ])
        .await
        .expect("reads");
        assert_eq!(
            (status, body.as_slice()),
            (429, b"3\r\nabc\r\n0\r\n\r\n".as_slice())
        );
    }

    /// An answer that has begun, and a server that goes on with these bytes; whether it is open then.
    async fn begun(more: Option<&[u8]>) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let mut connection = Connection::open(address).await.expect("connects");
        let (mut server, _) = listener.accept().await.expect("accepts");
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        server.write_all(head).await.expect("writes");
        let status = connection.begin(&request("GET", "/", &[], "")).await;
        assert_eq!(status.expect("has begun"), 200);
        assert!(connection.is_open().expect("reads"));
        match more {
            Some(more) => server.write_all(more).await.expect("writes"),
            // What was not read would reset the connection.
            None => server.shutdown().await.expect("shuts down"),
        }
        connection.stream.readable().await.expect("comes");
        connection.is_open().expect("reads")
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_is_open_until_it_ends() {
        assert!(begun(Some(b"3\r\ndef\r\n")).await);
        assert!(!begun(Some(b"3\r\ndef\r\n0\r\n\r\n")).await);
        assert!(!begun(None).await);
    }

    #[tokio::test]
    async fn a_broken_answer_is_an_error() {
        let cut = exchange(&[b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"]).await;
        assert_eq!(
            cut.expect_err("is cut").kind(),
            io::ErrorKind::UnexpectedEof
        );
        let endless = exchange(&[b"HTTP/1.1 200 OK\r\n\r\n"]).await;
        assert_eq!(
            endless.expect_err("has no end").kind(),
            io::ErrorKind::InvalidData
        );
    }
}

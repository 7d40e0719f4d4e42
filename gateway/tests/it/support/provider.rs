//! A provider that answers as a test says, byte by byte, and remembers what it was asked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsAcceptor;

/// A connection, plain or under TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole answer.
    Whole(u16, &'static str, String),
    /// A whole answer after a pause.
    LateWhole(Duration, String),
    /// A whole answer of which only the connection's end says that it is whole.
    UntilClose(String),
    /// A whole answer, after which the connection ends without a word.
    Last(String),
    /// Pieces of a stream; then the end, or the connection breaks.
    Stream(Vec<String>, End),
    /// Pieces of a stream, and its end once it is told to: one stream each time.
    StreamUntil(Vec<String>, Arc<Notify>),
    /// The head of an event stream at once, and all of the stream after a pause.
    LateStream(Duration, String),
    /// Pieces of a stream of which only the connection's end says that it is over.
    StreamUntilClose(String),
    /// The head of an error, and then nothing for ever.
    HeadOnly(u16),
    /// One event again and again, until the gateway takes no more.
    Torrent(String),
    /// These very bytes; then it closes the connection.
    Bytes(Vec<u8>),
    /// These very bytes; then it says nothing more.
    BytesAndStay(Vec<u8>),
    /// These very bytes, one at a time; then it closes the connection.
    Drip(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The connection breaks.
    Break,
    /// The connection breaks after a pause.
    BreakLate(Duration),
}

/// How a stream ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    Cut,
    /// It stays open.
    Never,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// The value of [`ROW`].
    pub(crate) fn row(&self) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == ROW).then(|| value.trim())
        })
    }
}

/// The provider.
#[derive(Clone)]
pub(crate) struct Provider {
    address: SocketAddr,
    scheme: &'static str,
    inner: Arc<Inner>,
}

/// The header that says which of the scripted replies is meant.
pub(crate) const ROW: &str = "x-row";

struct Inner {
    reply: Mutex<Reply>,
    /// Replies to requests with a [`ROW`].
    scripted: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    /// Connections that the gateway closed while their answer was under way.
    cancelled: AtomicUsize,
    changed: Notify,
}

/// The head of a stream of events.
const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// A chat answer with usage.
pub(crate) fn answer() -> Reply {
    Reply::Whole(
        200,
        "application/json",
        r#"{"id":"x","choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#.into(),
    )
}

/// An error in OpenAI's shape.
pub(crate) fn error(status: u16) -> Reply {
    let body = format!(r#"{{"error":{{"message":"status {status}","type":"t","code":"c"}}}}"#);
    Reply::Whole(status, "application/json", body)
}

/// One event of a stream with a word.
pub(crate) fn word(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

impl Provider {
    pub(crate) async fn start(reply: Reply) -> Self {
        Self::serve(reply, None).await
    }

    /// One that refuses connections.
    pub(crate) fn away() -> Self {
        Self::at(super::free_address(), "http", Reply::Break)
    }

    /// One that should speak TLS, and takes connections without a word.
    pub(crate) async fn mute_under_tls() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                taken.push(stream);
            }
        });
        Self::at(address, "https", Reply::Break)
    }

    fn at(address: SocketAddr, scheme: &'static str, reply: Reply) -> Self {
        Self {
            scheme,
            address,
            inner: Arc::new(Inner {
                reply: Mutex::new(reply),
                scripted: Mutex::default(),
                requests: Mutex::default(),
                connections: AtomicUsize::new(0),
                cancelled: AtomicUsize::new(0),
                changed: Notify::new(),
            }),
        }
    }

    /// One that speaks TLS, with the certificate in PEM by which it is known.
    pub(crate) async fn start_with_tls(reply: Reply) -> (Self, String) {
        Self::start_with_protocols(reply, &[]).await
    }

    /// One that speaks TLS and says that it speaks these protocols (ALPN).
    pub(crate) async fn start_with_protocols(reply: Reply, protocols: &[&[u8]]) -> (Self, String) {
        let (acceptor, certificate) = tls(protocols);
        (Self::serve(reply, Some(acceptor)).await, certificate)
    }

    async fn serve(reply: Reply, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let provider = Self::at(listener.local_addr().expect("bound"), scheme, reply);
        let serving = provider.clone();
        let counted = provider.clone();
        take_connections(
            listener,
            tls,
            move || {
                let connections = &counted.inner.connections;
                connections.fetch_add(1, Ordering::SeqCst);
            },
            move |stream| serving.clone().converse(stream),
        );
        provider
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}://{}/v1", self.scheme, self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn replies(&self, reply: Reply) {
        *self.inner.reply.lock().expect("not poisoned") = reply;
    }

    /// To requests with this [`ROW`] it replies so.
    pub(crate) fn replies_to(&self, row: &str, reply: Reply) {
        let mut scripted = self.inner.scripted.lock().expect("not poisoned");
        scripted.insert(row.to_owned(), reply);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.inner.requests.lock().expect("not poisoned").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::SeqCst)
    }

    /// Waits until the gateway has closed this many connections in the middle of an answer.
    pub(crate) async fn cancelled(&self, times: usize) {
        super::eventually("the request is cancelled at the provider", async || {
            (self.inner.cancelled.load(Ordering::SeqCst) >= times).then_some(())
        })
        .await;
    }

    async fn converse(self, mut stream: impl Wire) {
        while let Some(request) = read_request(&mut stream).await {
            let reply = self.reply_to(&request);
            self.inner
                .requests
                .lock()
                .expect("not poisoned")
                .push(request);
            self.inner.changed.notify_waiters();
            if !self.answer(&mut stream, reply).await {
                return;
            }
        }
    }

    fn reply_to(&self, request: &Request) -> Reply {
        let scripted = self.inner.scripted.lock().expect("not poisoned");
        let scripted = request.row().and_then(|row| scripted.get(row).cloned());
        scripted.unwrap_or_else(|| self.inner.reply.lock().expect("not poisoned").clone())
    }

    /// Whether the connection goes on.
    async fn answer(&self, stream: &mut impl Wire, reply: Reply) -> bool {
        match reply {
            Reply::Whole(status, content_type, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nx-provider: yes\r\n\r\n",
                    body.len()
                );
                stream
                    .write_all([head, body].concat().as_bytes())
                    .await
                    .is_ok()
            }
            Reply::LateWhole(pause, body) => {
                sleep_until(Instant::now() + pause).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let text = [head, body].concat();
                stream.write_all(text.as_bytes()).await.is_ok()
            }
            Reply::UntilClose(body) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
                let text = [head, &body].concat();
                stream.write_all(text.as_bytes()).await.expect("sent");
                false
            }
            Reply::Last(body) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let text = [head, body].concat();
                stream.write_all(text.as_bytes()).await.expect("sent");
                false
            }
            Reply::Stream(pieces, end) => {
                stream.write_all(EVENTS).await.expect("sent");
                for piece in pieces {
                    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                    if stream.write_all(chunk.as_bytes()).await.is_err() {
                        return false;
                    }
                }
                match end {
                    End::Well => stream.write_all(b"0\r\n\r\n").await.is_ok(),
                    End::Cut => false,
                    End::Never => self.wait_for_the_end(stream).await,
                }
            }
            Reply::StreamUntil(pieces, told) => {
                stream.write_all(EVENTS).await.expect("sent");
                for piece in pieces {
                    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                    stream.write_all(chunk.as_bytes()).await.expect("sent");
                }
                told.notified().await;
                stream.write_all(b"0\r\n\r\n").await.is_ok()
            }
            Reply::LateStream(pause, text) => {
                stream.write_all(EVENTS).await.expect("sent");
                sleep_until(Instant::now() + pause).await;
                let text = format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
                stream.write_all(text.as_bytes()).await.is_ok()
            }
            Reply::StreamUntilClose(text) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                let text = [head, &text].concat();
                stream.write_all(text.as_bytes()).await.expect("sent");
                false
            }
            Reply::HeadOnly(status) => {
                let head = format!(
                    "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.expect("sent");
                self.wait_for_the_end(stream).await
            }
            Reply::Torrent(event) => {
                stream.write_all(EVENTS).await.expect("sent");
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                self.inner.cancelled.fetch_add(1, Ordering::SeqCst);
                false
            }
            Reply::Bytes(bytes) => {
                // The gateway may have given up before the end.
                let _sent = stream.write_all(&bytes).await;
                false
            }
            Reply::BytesAndStay(bytes) => {
                stream.write_all(&bytes).await.expect("sent");
                self.wait_for_the_end(stream).await
            }
            Reply::Drip(bytes) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                false
            }
            Reply::Silence => self.wait_for_the_end(stream).await,
            Reply::Break => false,
            Reply::BreakLate(pause) => {
                sleep_until(Instant::now() + pause).await;
                false
            }
        }
    }

    async fn wait_for_the_end(&self, stream: &mut impl Wire) -> bool {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte).await, Ok(1)) {
            self.inner.cancelled.fetch_add(1, Ordering::SeqCst);
        }
        false
    }
}

/// Takes connections for as long as the test runs, and speaks on each, under TLS where that is spoken; `accepted` is told
/// of each before anything is said.
pub(crate) fn take_connections<F: Future<Output = ()> + Send>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    accepted: impl Fn() + Send + 'static,
    converse: impl Fn(Box<dyn Wire>) -> F + Clone + Send + 'static,
) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted();
            let (converse, tls) = (converse.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => converse(Box::new(stream)).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            converse(Box::new(stream)).await;
                        }
                    }
                }
            });
        }
    });
}

/// What takes TLS connections for 127.0.0.1 and speaks these protocols; the certificate by which it is known, in PEM.
pub(crate) fn tls(protocols: &[&[u8]]) -> (TlsAcceptor, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a good certificate");
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

async fn read_request(stream: &mut impl Wire) -> Option<Request> {
    let mut text = Vec::new();
    let end = loop {
        if let Some(end) = text.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(text[..end].to_vec()).expect("a head is text");
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(|it| it.trim().parse::<usize>())
        })
        .and_then(Result::ok)
        .unwrap_or(0);
    while text.len() < end + length {
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request {
        path: head.split(' ').nth(1)?.to_owned(),
        body: String::from_utf8(text[end..end + length].to_vec()).expect("a body is text"),
        head,
    })
}

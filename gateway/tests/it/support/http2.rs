//! A provider that speaks HTTP/2, stream by stream as a test says, and remembers what it saw.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Notify, watch},
};

use super::{eventually, provider::tls};

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole answer.
    Whole(String),
    /// A whole answer, once so many requests have come.
    Together(usize, String),
    /// Pieces of a stream, and its end once the provider is told to go on.
    Stream(Vec<String>, End),
    /// One event again and again, as fast as they are taken.
    Torrent(String),
    /// Nothing: it refuses the stream so many times, and then answers wholly.
    Refusals(usize, String),
    /// Nothing, for ever.
    Silence,
}

/// How a stream ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Well,
    /// It is reset.
    Reset(Reason),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) connection: usize,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// The provider.
#[derive(Clone)]
pub(crate) struct Http2Provider {
    address: SocketAddr,
    scheme: &'static str,
    inner: Arc<Inner>,
}

struct Inner {
    reply: Mutex<Reply>,
    most_streams: u32,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
    refused: AtomicUsize,
    connections: AtomicUsize,
    /// Connections that have ended.
    ended: AtomicUsize,
    resets: Mutex<Vec<Reason>>,
    /// Bytes of answers that left.
    sent: AtomicU64,
    /// Streams that wait for it end.
    go_on: watch::Sender<bool>,
    /// All connections say that they end.
    go_away: Notify,
}

impl Http2Provider {
    /// In plain text, with prior knowledge; so many requests at once on a connection.
    pub(crate) async fn start(reply: Reply, most_streams: u32) -> Self {
        Self::serve(reply, most_streams, None).await
    }

    /// Under TLS, with the certificate in PEM by which it is known.
    pub(crate) async fn start_with_tls(reply: Reply) -> (Self, String) {
        let (acceptor, certificate) = tls(&[b"h2", b"http/1.1"]);
        (Self::serve(reply, 100, Some(acceptor)).await, certificate)
    }

    async fn serve(
        reply: Reply,
        most_streams: u32,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let provider = Self {
            scheme: if tls.is_some() { "https" } else { "http" },
            address: listener.local_addr().expect("bound"),
            inner: Arc::new(Inner {
                reply: Mutex::new(reply),
                most_streams,
                asked: Mutex::default(),
                count: watch::Sender::new(0),
                refused: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
                ended: AtomicUsize::new(0),
                resets: Mutex::default(),
                sent: AtomicU64::new(0),
                go_on: watch::Sender::new(false),
                go_away: Notify::new(),
            }),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = serving.inner.connections.fetch_add(1, SeqCst);
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serving.clone().converse(number, stream).await,
                        Some(tls) => {
                            let stream = tls.accept(stream).await.expect("it speaks TLS");
                            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                            serving.clone().converse(number, stream).await;
                        }
                    }
                    serving.inner.ended.fetch_add(1, SeqCst);
                });
            }
        });
        provider
    }

    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn replies(&self, reply: Reply) {
        *self.inner.reply.lock().expect("not poisoned") = reply;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().expect("not poisoned").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(SeqCst)
    }

    pub(crate) fn resets(&self) -> Vec<Reason> {
        self.inner.resets.lock().expect("not poisoned").clone()
    }

    pub(crate) fn refused(&self) -> usize {
        self.inner.refused.load(SeqCst)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.inner.sent.load(SeqCst)
    }

    /// Lets streams end that wait for it.
    pub(crate) fn go_on(&self) {
        self.inner.go_on.send_replace(true);
    }

    /// Says on every connection that it takes no more requests.
    pub(crate) fn go_away(&self) {
        self.inner.go_away.notify_waiters();
    }

    /// Waits until so many connections have ended.
    pub(crate) async fn ended(&self, connections: usize) {
        eventually("a connection to the provider ends", async || {
            (self.inner.ended.load(SeqCst) >= connections).then_some(())
        })
        .await;
    }

    async fn converse(self, number: usize, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(self.inner.most_streams)
            .handshake(stream)
            .await
            .expect("it speaks HTTP/2");
        let mut go_away = std::pin::pin!(self.inner.go_away.notified());
        let mut goes_away = false;
        loop {
            tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        tokio::spawn(self.clone().attend(number, request, respond));
                    }
                    Some(Err(_)) | None => return,
                },
                () = &mut go_away, if !goes_away => {
                    goes_away = true;
                    connection.graceful_shutdown();
                }
            }
        }
    }

    async fn attend(
        self,
        connection: usize,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let reply = self.inner.reply.lock().expect("not poisoned").clone();
        let (head, mut body) = request.into_parts();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            let Ok(data) = data else { return };
            let _released = body.flow_control().release_capacity(data.len());
            text.extend_from_slice(&data);
        }
        let asked = Asked {
            connection,
            uri: head.uri.to_string(),
            headers: head.headers,
            body: String::from_utf8(text).expect("text"),
        };
        self.inner.asked.lock().expect("not poisoned").push(asked);
        self.inner.count.send_modify(|count| *count += 1);
        match reply {
            Reply::Whole(body) => self.whole(&mut respond, body).await,
            Reply::Together(all, body) => {
                let mut count = self.inner.count.subscribe();
                let together = count.wait_for(|count| *count >= all).await;
                drop(together.expect("the sender is here"));
                self.whole(&mut respond, body).await;
            }
            Reply::Stream(pieces, end) => {
                let mut stream = begin(&mut respond, "text/event-stream");
                for piece in pieces {
                    self.send(&mut stream, piece.into()).await;
                }
                let mut go_on = self.inner.go_on.subscribe();
                tokio::select! {
                    told = go_on.wait_for(|it| *it) => {
                        told.expect("the sender is here");
                        match end {
                            End::Well => {
                                let _sent = stream.send_data(Bytes::new(), true);
                            }
                            End::Reset(reason) => stream.send_reset(reason),
                        }
                    }
                    reason = std::future::poll_fn(|cx| stream.poll_reset(cx)) => {
                        self.was_reset(reason);
                    }
                }
            }
            Reply::Torrent(event) => {
                let mut stream = begin(&mut respond, "text/event-stream");
                while self.send(&mut stream, event.clone().into()).await {}
            }
            Reply::Refusals(times, body) => {
                if self.inner.refused.fetch_add(1, SeqCst) < times {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    self.whole(&mut respond, body).await;
                }
            }
            Reply::Silence => {
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                self.was_reset(reason);
            }
        }
    }

    fn was_reset(&self, reason: Result<Reason, h2::Error>) {
        let reason = reason.ok().or(Some(Reason::INTERNAL_ERROR));
        self.inner
            .resets
            .lock()
            .expect("not poisoned")
            .extend(reason);
    }

    async fn whole(&self, respond: &mut SendResponse<Bytes>, body: String) {
        let mut stream = begin(respond, "application/json");
        self.send(&mut stream, body.into()).await;
        let _sent = stream.send_data(Bytes::new(), true);
    }

    /// Sends a piece when there is room for it; whether it could.
    async fn send(&self, stream: &mut SendStream<Bytes>, mut piece: Bytes) -> bool {
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            while stream.capacity() == 0 {
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                if !matches!(room, Some(Ok(_))) {
                    self.was_reset(Ok(Reason::CANCEL));
                    return false;
                }
            }
            let now = piece.split_to(piece.len().min(stream.capacity()));
            self.inner.sent.fetch_add(now.len() as u64, SeqCst);
            if stream.send_data(now, false).is_err() {
                return false;
            }
        }
        true
    }
}

fn begin(respond: &mut SendResponse<Bytes>, content_type: &str) -> SendStream<Bytes> {
    let head = Response::builder()
        .header("content-type", content_type)
        .header("x-provider", "yes")
        .body(())
        .expect("a good head");
    respond
        .send_response(head, false)
        .expect("the stream is open")
}

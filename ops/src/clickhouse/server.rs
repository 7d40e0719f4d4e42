//! The HTTP server: paths, authentication, and how many queries run at once.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

use super::ask::Ask;
use super::body::{AnswerBody, BodyReader};
use super::encoding::Encoding;
use super::engine::Engine;
use super::exception::{Exception, Kind};
use super::job::Job;
use super::session::Sessions;
use super::users::{Rights, Users};

/// Queries at once, each with a thread that waits for the engine or the client: enough to hide the
/// waiting, few enough that their memory is bounded.
pub(super) const MAX_QUERIES: usize = 64;
/// A query waits so long for its turn before it is refused.
const MAX_TURN_WAIT: Duration = Duration::from_secs(10);
/// How often unused sessions are looked for.
const SESSION_SWEEP: Duration = Duration::from_secs(5);
/// Requests get so long to end when the server is told to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// A connection that has not sent its head for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What all requests share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) sessions: Sessions,
    turns: Semaphore,
    users: Users,
    /// `None`: in plain text.
    tls: Option<TlsAcceptor>,
}

// === impl Shared ===

impl Shared {
    /// Around a started engine.
    pub(super) fn new(engine: Engine, users: Users, tls: Option<TlsAcceptor>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            sessions: Sessions::default(),
            turns: Semaphore::new(MAX_QUERIES),
            users,
            tls,
        })
    }

    /// Serves until `stop` is ready, then lets what runs come to its end.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let graceful = GracefulShutdown::new();
        let mut sweep = interval(SESSION_SWEEP);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => Arc::clone(&self).attend(stream, peer, graceful.watcher()),
                    // Out of file descriptors, or the peer is gone: the next one may do better.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                _ = sweep.tick() => {
                    let left = self.sessions.sweep(Instant::now());
                    tracing::trace!(sessions = left, "looked for unused sessions");
                }
                () = &mut stop => break,
            }
        }
        drop(listener);
        if timeout(DRAIN_TIME, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                seconds = DRAIN_TIME.as_secs(),
                "requests still ran when their time was over"
            );
        }
    }

    fn attend(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "TCP_NODELAY could not be set");
        }
        tokio::spawn(async move {
            let Some(acceptor) = self.tls.clone() else {
                return self.converse(stream, peer, watcher).await;
            };
            match timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.converse(stream, peer, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS was agreed on"),
                Err(_) => tracing::debug!(%peer, "no TLS was agreed on in time"),
            }
        });
    }

    /// Answers what comes over one connection.
    async fn converse<S>(self: Arc<Self>, stream: S, peer: SocketAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let shared = Arc::clone(&self);
            async move { Ok::<_, Infallible>(shared.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, %peer, "a connection ended badly");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let path = request.uri().path();
        let has_query = request.uri().query().is_some_and(|query| !query.is_empty());
        match path {
            "/ping" | "/replicas_status" => plain(StatusCode::OK, "Ok.\n"),
            "/" if request.method() == Method::GET && !has_query => plain(StatusCode::OK, "Ok.\n"),
            "/" => self.query(request).await,
            _ => plain(
                StatusCode::NOT_FOUND,
                "There is no handle for this path.\n\nUse / or /ping for health checks.\n\
                 Send queries from your program with POST method or GET /?query=...\n",
            ),
        }
    }

    async fn query(self: Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let query_id = query_id();
        match Arc::clone(&self).start(request, query_id.clone()).await {
            Ok(response) => response,
            Err(exception) => self.error(&exception, &query_id),
        }
    }

    async fn start(
        self: Arc<Self>,
        request: Request<Incoming>,
        query_id: String,
    ) -> Result<Response<AnswerBody>, Exception> {
        let (parts, body) = request.into_parts();
        // Read from the start, also when the answer is an error: a client may send before it reads.
        let body = BodyReader::start(body);
        let mut ask = Ask::read(&parts)?;
        match self.users.authenticate(&ask.credentials)? {
            Rights::All => {}
            Rights::Read => ask.confine(),
        }
        let job = Job {
            query_id: ask
                .query_id
                .clone()
                .filter(|id| !id.is_empty())
                .unwrap_or(query_id),
            encoding: Encoding::wanted(&parts.headers, ask.compress, ask.http_compression),
            headers: parts.headers,
            body,
            shared: Arc::clone(&self),
            ask,
        };
        let turn = timeout(MAX_TURN_WAIT, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            let message = format!("Too many simultaneous queries. Maximum: {MAX_QUERIES}.");
            return Err(Exception::new(Kind::TooManySimultaneousQueries, message));
        };
        // The permit belongs to the work, which outlives a client that goes away.
        turn.forget();
        let shared = Arc::clone(&self);
        let (head, answered) = oneshot::channel();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let _turn = Turn(shared);
            job.run(head, runtime);
        });
        let broken = || Exception::new(Kind::StdException, "The query's thread broke down.");
        answered.await.map_err(|_| broken())
    }
}

/// Gives a query's turn back when its work is over, also when it panics.
struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turns.add_permits(1);
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=UTF-8"),
    );
    response
}

/// A random id, for a query that brought none.
fn query_id() -> String {
    let mut bytes = [0_u8; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::warn!(%error, "no randomness for a query's id");
    }
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

//! One caller's connection from its beginning to its end: TLS or not, HTTP/2 or HTTP/1.1.
//!
//! Under TLS the caller chooses the protocol (ALPN). In plain text, one that begins with HTTP/2's preface speaks HTTP/2
//! (RFC 9113, 3.3: with prior knowledge), and every other one HTTP/1.1.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Bounds,
    http1::{self, head::MAX_HEAD_BYTES},
    incoming::Incoming,
    route,
    stream::CallerStream,
    streams::{OnThisThread, Pieces, Streams},
    tls::Certificate,
    worker::Worker,
};

/// How long a caller may take for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many requests may be under way on one connection of HTTP/2: what nginx and most servers allow.
const MOST_STREAMS: u32 = 128;
/// How many bytes of a request's body may be under way on HTTP/2: for each stream, and for a connection. Bodies above are
/// taken as they are read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// See [`STREAM_WINDOW`].
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How many bytes of an answer wait at most for a caller that reads slowly, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// How often a caller is pinged over HTTP/2 that has said nothing in between.
const PING: Duration = Duration::from_secs(75);
/// How long a caller may leave a ping of HTTP/2 unanswered.
const PONG: Duration = Duration::from_secs(20);
/// How long a connection of HTTP/2 may bring nothing at all: pings make one that is alive say something before. Also the
/// preface has to have come by then.
const SILENCE: Duration = Duration::from_secs(100);

/// What a conversation has to hear.
#[derive(Clone)]
pub struct Signals {
    /// No request after the one under way.
    pub drain: CancellationToken,
    /// [`Stage::Ending`](super::worker::Stage::Ending) has begun.
    pub end: CancellationToken,
}

/// A connection that has been accepted.
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Its place among the connections that callers may have.
    pub place: OwnedSemaphorePermit,
    /// What it may take its time for.
    pub bounds: Bounds,
    /// The certificate that it is shown; `None`: it is not under TLS.
    pub certificate: Option<Certificate>,
}

/// Serves one connection until its end.
pub async fn converse(worker: Rc<Worker>, accepted: Accepted, signals: Signals) {
    let metrics = Arc::clone(&worker.metrics);
    metrics.connections.up();
    if let Err(error) = serve(worker, accepted, signals).await {
        tracing::debug!(%error, "a caller's connection ended");
    }
    metrics.connections.down();
}

async fn serve(worker: Rc<Worker>, accepted: Accepted, signals: Signals) -> io::Result<()> {
    let Accepted {
        stream,
        place,
        bounds,
        certificate,
    } = accepted;
    let Some(certificate) = certificate else {
        let begins = timeout(bounds.idle, begins_with_preface(&stream));
        let Some(is_http2) = unless_draining(&signals, begins).await else {
            return Ok(());
        };
        let is_http2 = is_http2??;
        let stream = CallerStream::new(stream, bounds.write, place);
        return speak(worker, stream, is_http2, bounds, signals).await;
    };
    let acceptor = TlsAcceptor::from(certificate.config);
    let handshake = timeout(HANDSHAKE, acceptor.accept(stream));
    let Some(stream) = unless_draining(&signals, handshake).await else {
        return Ok(());
    };
    let stream = stream??;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = CallerStream::new(stream, bounds.write, place);
    speak(worker, stream, is_http2, bounds, signals).await
}

/// `None`: the gateway drains, and nothing was asked for yet.
async fn unless_draining<T>(signals: &Signals, begins: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        begun = begins => Some(begun),
        () = signals.drain.cancelled() => None,
    }
}

/// Whether the first bytes are those of HTTP/2. No method of HTTP/1.1 begins like its preface.
async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 3];
    let length = stream.peek(&mut first).await?;
    Ok(first[..length] == *b"PRI")
}

async fn speak<S>(
    worker: Rc<Worker>,
    stream: CallerStream<S>,
    is_http2: bool,
    bounds: Bounds,
    signals: Signals,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if is_http2 {
        // Apart, so that it takes nothing of what a connection of HTTP/1.1 holds.
        let spoken = Box::pin(speak_http2(worker, stream, bounds, signals)).await;
        return spoken.map_err(io::Error::other);
    }
    let service = |request| route::serve(Rc::clone(&worker), request);
    let drain = signals.drain.cancelled();
    let mut connection = pin!(http1::serve(stream, bounds.idle, drain, service));
    let mut end = pin!(signals.end.cancelled());
    let mut hears_of_the_end = false;
    poll_fn(|cx| {
        // It wakes this once: polled then, what is under way sees the stage that has begun.
        if !std::mem::replace(&mut hears_of_the_end, true) {
            let _not_yet = end.as_mut().poll(cx);
        }
        connection.as_mut().poll(cx)
    })
    .await
}

async fn speak_http2<S>(
    worker: Rc<Worker>,
    stream: CallerStream<S>,
    bounds: Bounds,
    signals: Signals,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Bounds { write, idle } = bounds;
    let streams = Streams::new(write, signals.end.clone());
    let executor = OnThisThread(Rc::clone(&streams));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let turn = streams.begin();
        let request = request.map(Incoming::Http2);
        let answered = route::serve(Rc::clone(&worker), request);
        async move { Ok::<_, Infallible>(Pieces::of(answered.await.into(), turn)) }
    });
    let stream = TokioIo::new(stream.heard_within(SILENCE));
    let connection = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    let shut_down = |connection: Pin<&mut http2::Connection<_, _, _>>| {
        connection.graceful_shutdown();
    };
    // What was given out last may still lie here, and a request may have crossed the word of the end.
    let gone = async {
        sleep(write).await;
        streams.idle(write).await;
    };
    let idle = Idle {
        since: streams.idle(idle),
        gone,
    };
    until_the_end(connection.as_mut(), shut_down, &signals, idle).await
}

/// When a connection is of no use any more.
struct Idle<S, G> {
    /// Ready when nothing has been asked for so long that it is asked to end.
    since: S,
    /// Ready when it has had enough time for that. Begins with the one before.
    gone: G,
}

/// Drives a connection of HTTP/2; asks it to end after what is under way when the gateway drains, or when it is of no use.
async fn until_the_end<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    signals: &Signals,
    idle: Idle<impl Future<Output = ()>, impl Future<Output = ()>>,
) -> hyper::Result<()> {
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = signals.drain.cancelled() => shut_down(connection.as_mut()),
        () = idle.since => {
            shut_down(connection.as_mut());
            tokio::select! {
                biased;
                ended = connection.as_mut() => return ended,
                () = idle.gone => return Ok(()),
            }
        }
    }
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = signals.end.cancelled() => {}
    }
    // Polled once more, what is under way sees the stage that has begun.
    connection.await
}

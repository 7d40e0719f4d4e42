//! A caller.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::{
        http1::{self, SendRequest},
        http2,
    },
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::snapshots::KEY;

/// A connection to a gateway.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("it speaks HTTP");
        let driver = tokio::spawn(async move {
            // What broke shows at the request.
            let _ended = driver.await;
        });
        Self { sender, driver }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Response<Incoming> {
        self.sender.ready().await.expect("the connection is alive");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "gateway");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::from(body.to_owned()))
            .expect("a good request");
        self.sender.send_request(request).await.expect("an answer")
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let (head, mut incoming) = self.begin(method, path, headers, body).await.into_parts();
        let (mut text, mut whole) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(text).expect("text"),
            whole,
        }
    }

    /// Goes away without a word.
    pub(crate) fn vanish(self) {
        self.driver.abort();
    }
}

/// A caller's connection of HTTP/2.
pub(crate) type Http2 = http2::SendRequest<Full<Bytes>>;

/// Speaks HTTP/2 there.
pub(crate) async fn http2_over<S>(stream: S) -> Http2
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, driver) = handshake.await.expect("it speaks HTTP/2");
    tokio::spawn(async move {
        // What broke shows at the request.
        let _ended = driver.await;
    });
    sender
}

/// A chat over HTTP/2, with the working key.
pub(crate) fn chat(body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri("https://127.0.0.1/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"))
        .body(Full::from(body.to_owned()))
        .expect("a good request")
}

/// The text of an answer that is whole.
pub(crate) async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.expect("whole");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

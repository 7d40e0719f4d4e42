//! A collector of traces that takes OTLP over HTTP, and answers as a test says.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use gateway::trace::otlp::{ExportRequest, KeyValue, Span, SpanKind, Value};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    eventually,
    provider::{Wire, take_connections, tls},
};

/// What it does with a batch.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// It takes it.
    All,
    /// It says nothing, for ever.
    Nothing,
    /// It answers with this status.
    Not(u16),
}

/// The collector.
#[derive(Clone)]
pub(crate) struct Collector {
    address: SocketAddr,
    scheme: &'static str,
    inner: Arc<Inner>,
}

struct Inner {
    takes: Mutex<Takes>,
    batches: Mutex<Vec<Batch>>,
    /// How many batches were not taken.
    refused: Mutex<usize>,
}

/// A batch that was taken.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) request: ExportRequest,
    /// As it came.
    pub(crate) bytes: Bytes,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::serve(None).await
    }

    /// One that speaks TLS, with the certificate in PEM by which it is known.
    pub(crate) async fn start_with_tls() -> (Self, String) {
        let (acceptor, certificate) = tls(&[]);
        (Self::serve(Some(acceptor)).await, certificate)
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Self {
            address: listener.local_addr().expect("bound"),
            scheme: if tls.is_some() { "https" } else { "http" },
            inner: Arc::new(Inner {
                takes: Mutex::new(Takes::All),
                batches: Mutex::default(),
                refused: Mutex::default(),
            }),
        };
        let serving = collector.clone();
        let converse = move |stream| {
            let serving = serving.clone();
            async move { serving.converse(stream).await }
        };
        take_connections(listener, tls, || {}, converse);
        collector
    }

    async fn converse(&self, stream: Box<dyn Wire>) {
        let service = service_fn(|request| self.answer(request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // What broke shows in what did not arrive.
        let _ended = connection.await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let takes = *self.inner.takes.lock().expect("not poisoned");
        let mut response = Response::new(Full::default());
        match takes {
            Takes::All => {
                let batch = Batch {
                    path: head.uri.path().to_owned(),
                    headers: head.headers,
                    request: ExportRequest::decode(&bytes[..]).expect("OTLP"),
                    bytes,
                };
                self.inner.batches.lock().expect("not poisoned").push(batch);
            }
            Takes::Nothing => {
                *self.inner.refused.lock().expect("not poisoned") += 1;
                std::future::pending::<()>().await;
            }
            Takes::Not(status) => {
                *self.inner.refused.lock().expect("not poisoned") += 1;
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            }
        }
        Ok(response)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn takes(&self, takes: Takes) {
        *self.inner.takes.lock().expect("not poisoned") = takes;
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.inner.batches.lock().expect("not poisoned").clone()
    }

    /// Waits until it has not taken so many batches.
    pub(crate) async fn refused(&self, batches: usize) {
        eventually("batches are not taken", async || {
            (*self.inner.refused.lock().expect("not poisoned") >= batches).then_some(())
        })
        .await;
    }

    /// All spans that were taken, in the order in which they came.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let batches = self.batches().into_iter();
        let of_resources = batches.flat_map(|batch| batch.request.resource_spans);
        let of_scopes = of_resources.flat_map(|it| it.scope_spans);
        of_scopes.flat_map(|it| it.spans).map(Seen).collect()
    }

    /// The spans of a request, by its id, once they have come: its own, and those of its attempts.
    pub(crate) async fn spans_of(&self, request: &str) -> (Seen, Vec<Seen>) {
        eventually("the request's spans come", async || {
            let spans = self.spans();
            let own = spans
                .iter()
                .find(|it| it.says("sluice.request.id", request))?;
            let of_it = spans.iter().filter(|it| it.parent() == own.id());
            Some((own.clone(), of_it.cloned().collect()))
        })
        .await
    }
}

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen(pub(crate) Span);

impl Seen {
    pub(crate) fn trace(&self) -> String {
        hex(&self.0.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.0.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.0.parent_span_id)
    }

    pub(crate) fn is(&self, kind: SpanKind) -> bool {
        self.0.kind == i32::from(kind)
    }

    /// Whether it says that it failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.status.as_ref().is_some_and(|it| it.code == 2)
    }

    /// An attribute as text; empty: it has none of this name.
    pub(crate) fn attribute(&self, key: &str) -> String {
        attribute(&self.0.attributes, key)
    }

    pub(crate) fn says(&self, key: &str, value: &str) -> bool {
        self.attribute(key) == value
    }
}

/// An attribute as text; empty: there is none of this name.
pub(crate) fn attribute(of: &[KeyValue], key: &str) -> String {
    let found = of.iter().find(|it| it.key == key);
    match found.and_then(|it| it.value.as_ref()?.value.as_ref()) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Bool(it)) => it.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Double(number)) => number.to_string(),
        None => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

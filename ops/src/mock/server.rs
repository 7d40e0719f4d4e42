//! The HTTP server: reads a request, looks up or makes its plan, and follows it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::body::{Cut, PlannedBody};
use super::log::Log;
use super::plan::{Answer, Ask, Plan, Refusal};
use super::wire::Wire;

/// The largest request body, in bytes: room for a picture or two.
const MAX_BODY_BYTES: usize = 32 << 20;

/// Requests at once on one connection of HTTP/2: what most providers' servers allow.
const MAX_STREAMS: u32 = 128;

/// Plans kept for requests that come again; past that all are forgotten.
const MAX_KEPT_PLANS: usize = 512;

/// Bodies larger than this are planned anew each time, in bytes: keeping them costs more.
const MAX_KEPT_BODY_BYTES: usize = 64 << 10;

/// The header that scripts an answer.
const SCRIPT_HEADER: &str = "x-mock-script";

/// Where Anthropic's clients put their key.
const API_KEY_HEADER: &str = "x-api-key";

/// What the mock sends: a planned answer, or a page about itself.
type MockResponse = Response<Either<PlannedBody, Full<Bytes>>>;

/// One mock provider.
pub(super) struct Mock {
    /// The whole value that `Authorization` must have; or `x-api-key` what follows its scheme.
    authorization: Option<HeaderValue>,
    plans: Mutex<HashMap<Ask, Arc<Plan>>>,
    log: Arc<Log>,
}

// === impl Mock ===

impl Mock {
    /// A provider that asks for this `Authorization`, if any, and keeps so many requests.
    pub(super) fn new(authorization: Option<HeaderValue>, kept: usize) -> Arc<Self> {
        Arc::new(Self {
            authorization,
            plans: Mutex::default(),
            log: Log::keeping(kept),
        })
    }

    /// Accepts connections for ever.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => Arc::clone(&self).attend(stream, peer),
                // Out of file descriptors, or the peer is gone: the next one may do better.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn attend(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "TCP_NODELAY could not be set");
        }
        tokio::spawn(async move {
            let serving = if begins_with_preface(&stream).await {
                self.speak_http2(stream).await
            } else {
                self.speak_http1(stream).await
            };
            if let Err(error) = serving {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        });
    }

    async fn speak_http1(self: Arc<Self>, stream: TcpStream) -> hyper::Result<()> {
        let service = service_fn(|request| self.answer(request));
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    async fn speak_http2(self: Arc<Self>, stream: TcpStream) -> hyper::Result<()> {
        let service = service_fn(|request| {
            let mock = Arc::clone(&self);
            async move { mock.answer(request).await }
        });
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    /// Answers one request; an error closes the connection, or resets the stream.
    async fn answer(&self, request: Request<Incoming>) -> Result<MockResponse, Cut> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|_| Cut)?
            .to_bytes();
        if head.uri.path().starts_with("/mock/") {
            return Ok(self.page(&head.method, head.uri.path()));
        }
        let plan = self.plan(&head, &body);
        let mut call = self.log.begin(head, body, &plan);
        if !plan.delay.is_zero() {
            tokio::time::sleep(plan.delay).await;
        }
        if matches!(plan.answer, Answer::HangUp) {
            call.complete();
        }
        let headers = headers(&plan);
        let body = PlannedBody::of(&plan, call).ok_or(Cut)?;
        let mut response = Response::new(Either::Left(body));
        *response.status_mut() = plan.status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// The plan for a request: the one that was made before for the same bytes, or a new one.
    fn plan(&self, head: &Parts, body: &Bytes) -> Arc<Plan> {
        if !self.admits(&head.headers) {
            let refusal = Refusal {
                status: StatusCode::UNAUTHORIZED,
                message: "Incorrect API key provided.".to_owned(),
                code: Some("invalid_api_key"),
                param: None,
            };
            let wire = Wire::at(head.uri.path());
            return Arc::new(Plan::refusing(&refusal, wire));
        }
        let ask = Ask {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            script: head.headers.get(SCRIPT_HEADER).cloned(),
            body: body.clone(),
        };
        if body.len() > MAX_KEPT_BODY_BYTES {
            return Arc::new(Plan::of(&ask));
        }
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&ask) {
            return Arc::clone(plan);
        }
        if plans.len() == MAX_KEPT_PLANS {
            plans.clear();
        }
        let plan = Arc::new(Plan::of(&ask));
        plans.insert(ask, Arc::clone(&plan));
        plan
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        self.authorization.as_ref().is_none_or(|bearer| {
            let key = bearer.as_bytes().strip_prefix(b"Bearer ");
            let api_key = headers.get(API_KEY_HEADER).map(HeaderValue::as_bytes);
            headers.get(AUTHORIZATION) == Some(bearer) || (api_key.is_some() && api_key == key)
        })
    }

    /// The pages for tests.
    fn page(&self, method: &Method, path: &str) -> MockResponse {
        let (status, document) = match (method, path) {
            (&Method::GET, "/mock/requests") => (StatusCode::OK, self.log.requests()),
            (&Method::DELETE, "/mock/requests") => {
                self.log.forget();
                (StatusCode::OK, Value::Null)
            }
            (&Method::GET, "/mock/stats") => (StatusCode::OK, self.log.stats()),
            _ => (StatusCode::NOT_FOUND, Value::Null),
        };
        let mut response = Response::new(Either::Right(Full::new(document.to_string().into())));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Whether the first bytes are those of HTTP/2 (with prior knowledge). No method of HTTP/1.1 begins like its preface.
async fn begins_with_preface(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    stream.peek(&mut first).await.is_ok() && first == *b"PRI"
}

fn headers(plan: &Plan) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    let content_type = match plan.answer {
        Answer::Stream { .. } => "text/event-stream; charset=utf-8",
        Answer::Whole { .. } | Answer::HangUp => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(seconds) = plan.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    headers
}

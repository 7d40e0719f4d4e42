//! The answer's way back: status, headers, and a body that is whole or comes in pieces.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::body::{AnswerBody, PieceWriter, pieces};
use super::encoding::{Encoder, Encoding};
use super::exception::Exception;
use super::ffi::Statistics;
use super::format::content_type;
use super::job::Job;
use super::server::Shared;

/// How an answer ends, once what it used is free again.
pub(super) enum Ending {
    /// It has still to be sent.
    Answer(Response<AnswerBody>),
    /// It went out in pieces; dropping the writer is its end.
    Sent(Option<PieceWriter>),
}

/// Where the answer goes: its head once, then perhaps pieces of its body.
pub(super) struct Reply {
    shared: Arc<Shared>,
    query_id: String,
    encoding: Encoding,
    head: Option<oneshot::Sender<Response<AnswerBody>>>,
    runtime: Handle,
    started: Instant,
}

// === impl Reply ===

impl Reply {
    /// To whoever waits for the job's answer.
    pub(super) fn new(
        job: &Job,
        head: oneshot::Sender<Response<AnswerBody>>,
        runtime: Handle,
    ) -> Self {
        Self {
            shared: Arc::clone(&job.shared),
            query_id: job.query_id.clone(),
            encoding: job.encoding,
            head: Some(head),
            runtime,
            started: Instant::now(),
        }
    }

    /// The server's version.
    pub(super) fn version(&self) -> &str {
        &self.shared.engine.version
    }

    /// Compresses as the client asked.
    pub(super) fn encoder<W: Write>(&self, sink: W) -> Encoder<W> {
        self.encoding.encoder(sink)
    }

    /// A complete answer.
    pub(super) fn done(
        &self,
        statistics: &Statistics,
        format: Option<&str>,
        body: Bytes,
    ) -> Response<AnswerBody> {
        let mut response = Response::new(Either::Left(Full::default()));
        self.describe(&mut response, format, statistics, body.len());
        let body = self.encoded(body, response.headers_mut());
        *response.body_mut() = Either::Left(Full::new(body));
        response
    }

    /// The head of an answer whose body follows; none when the client has gone.
    pub(super) fn start(&mut self, format: &str, tag: &str) -> Option<PieceWriter> {
        let (writer, body) = pieces(self.runtime.clone());
        let mut response = Response::new(Either::Right(body));
        self.describe(&mut response, Some(format), &Statistics::default(), 0);
        insert(response.headers_mut(), "x-clickhouse-exception-tag", tag);
        if let Some(encoding) = self.encoding.header() {
            response
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        self.send(response).then_some(writer)
    }

    /// An error instead of an answer. After the head nothing can be said any more.
    pub(super) fn error(&mut self, exception: &Exception) {
        let response = self.shared.error(exception, &self.query_id);
        self.send(response);
    }

    pub(super) fn send(&mut self, response: Response<AnswerBody>) -> bool {
        self.head
            .take()
            .is_some_and(|head| head.send(response).is_ok())
    }

    fn describe(
        &self,
        response: &mut Response<AnswerBody>,
        format: Option<&str>,
        statistics: &Statistics,
        result_bytes: usize,
    ) {
        let Statistics {
            result_rows,
            read_rows,
            read_bytes,
            written_rows,
            written_bytes,
        } = statistics;
        let elapsed = self.started.elapsed().as_nanos();
        // ClickHouse writes every number of the summary as a string.
        let summary = format!(
            "{{\"read_rows\":\"{read_rows}\",\"read_bytes\":\"{read_bytes}\",\"written_rows\":\"{written_rows}\",\
             \"written_bytes\":\"{written_bytes}\",\"total_rows_to_read\":\"0\",\"result_rows\":\"{result_rows}\",\
             \"result_bytes\":\"{result_bytes}\",\"elapsed_ns\":\"{elapsed}\"}}"
        );
        let headers = response.headers_mut();
        self.shared.describe(headers, &self.query_id);
        insert(headers, "x-clickhouse-summary", &summary);
        if let Some(format) = format {
            insert(headers, "x-clickhouse-format", format);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(format)));
        }
    }

    /// An empty body stays empty: compressed, it would be a few bytes that mean nothing.
    fn encoded(&self, body: Bytes, headers: &mut HeaderMap) -> Bytes {
        if body.is_empty() || self.encoding == Encoding::Identity {
            return body;
        }
        let mut encoder = self.encoding.encoder(Vec::new());
        let encoded = encoder.write_all(&body).and_then(|()| encoder.finish());
        // Writing into memory does not fail.
        let Ok(encoded) = encoded else { return body };
        if let Some(encoding) = self.encoding.header() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Bytes::from(encoded)
    }
}

// === impl Shared ===

impl Shared {
    /// An error as a response.
    pub(super) fn error(&self, exception: &Exception, query_id: &str) -> Response<AnswerBody> {
        let body = exception.body(&self.engine.version);
        let mut response = Response::new(Either::Left(Full::from(body)));
        *response.status_mut() = exception.status();
        let code = HeaderValue::from(exception.code());
        let headers = response.headers_mut();
        self.describe(headers, query_id);
        headers.insert("x-clickhouse-exception-code", code);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=UTF-8"),
        );
        if exception.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\""),
            );
        }
        response
    }

    fn describe(&self, headers: &mut HeaderMap, query_id: &str) {
        insert(
            headers,
            "x-clickhouse-server-display-name",
            &self.engine.host,
        );
        insert(headers, "x-clickhouse-query-id", query_id);
        insert(headers, "x-clickhouse-timezone", &self.engine.timezone);
    }
}

/// A value that a header cannot carry is left out.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Sixteen letters that no row will contain by chance.
pub(super) fn tag() -> String {
    let mut bytes = [0_u8; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::warn!(%error, "no randomness for an exception's tag");
    }
    bytes
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect()
}

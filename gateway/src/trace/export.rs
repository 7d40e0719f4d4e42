//! Spans on their way to a collector, over OTLP (HTTP, protobuf): in batches, bounded, without anybody waiting for it.
//!
//! ```text
//! recorder ──add──► open batch ──512 spans or 1 s──► queue ──one at a time──► POST /v1/traces
//! ```
//!
//! All spans that wait, in the open batch, in the queue and on their way, are bounded together; what comes beyond is dropped
//! and counted. A batch that a collector cannot take now is sent again a few times, as the protocol says; one that it
//! refuses is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::otlp::{
    ExportRequest, ExportResponse, Resource, ResourceSpans, Scope, ScopeSpans, Span, attribute,
};
use crate::{
    metrics::{Metrics, SpanMetrics},
    report::Identity,
    trust::{Trust, TrustError},
};

/// A batch is closed when it has so many spans: what OpenTelemetry's SDKs take.
const BATCH_SPANS: usize = 512;
/// How long spans gather in a batch at most.
const GATHER: Duration = Duration::from_secs(1);
/// How many batches may wait. Their spans are bounded as well; this bounds batches of few.
const MAX_BATCHES: usize = 1_024;
/// How often one batch is sent at most.
const MAX_TRIES: u32 = 5;
/// The pause before a batch is sent again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, also where a collector asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a connection to a collector may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How much of a collector's answer is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long sending may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(2);

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const OURSELVES: HeaderValue =
    HeaderValue::from_static(concat!("sluice-gateway/", env!("CARGO_PKG_VERSION")));

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Collector {
    /// The whole address.
    pub endpoint: Uri,
    /// Headers that it asks for; secrets among them are marked so.
    pub headers: HeaderMap,
    /// How long it may take to answer.
    pub patience: Duration,
    /// How many spans may wait for it.
    pub most_waiting: usize,
}

/// The way to the collector.
#[derive(Debug)]
pub struct Exporter {
    open: Vec<Span>,
    since: Instant,
    /// Spans in the queue and on their way.
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    queue: mpsc::Sender<Vec<Span>>,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts the task that sends; to be called within a runtime.
    ///
    /// # Errors
    /// When the collector is to be reached over TLS, and nobody can be trusted.
    pub fn start(
        collector: &Collector,
        trust: &Trust,
        identity: &Identity,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TrustError> {
        let (queue, batches) = mpsc::channel(MAX_BATCHES);
        let waiting = Arc::<AtomicUsize>::default();
        let sending = Sending {
            client: client(&collector.endpoint, trust)?,
            collector: collector.clone(),
            resource: resource(identity),
            waiting: Arc::clone(&waiting),
            metrics: Arc::clone(metrics),
            said: String::new(),
        };
        Ok(Self {
            open: Vec::new(),
            since: Instant::now(),
            waiting,
            most_waiting: collector.most_waiting,
            queue,
            metrics: Arc::clone(metrics),
            task: tokio::spawn(sending.run(batches)),
        })
    }

    /// Takes so many spans, or counts them as dropped when too many wait; then they are not even made.
    pub fn add(&mut self, spans: usize, make: impl FnOnce() -> Vec<Span>) {
        let waiting = self.waiting.load(Relaxed) + self.open.len();
        if waiting + spans > self.most_waiting {
            self.spans().dropped_queue.add(spans as u64);
            return;
        }
        if self.open.is_empty() {
            self.since = Instant::now();
        }
        self.open.extend(make());
        if self.open.len() >= BATCH_SPANS {
            self.close();
        }
    }

    /// To be called many times a second: closes a batch that has gathered for long enough.
    pub fn tick(&mut self) {
        if !self.open.is_empty() && self.since.elapsed() >= GATHER {
            self.close();
        }
    }

    fn close(&mut self) {
        let batch = std::mem::take(&mut self.open);
        let spans = batch.len();
        self.waiting.fetch_add(spans, Relaxed);
        if self.queue.try_send(batch).is_err() {
            self.waiting.fetch_sub(spans, Relaxed);
            self.spans().dropped_queue.add(spans as u64);
        }
    }

    fn spans(&self) -> &SpanMetrics {
        &self.metrics.spans
    }

    /// Sends for a little while what is left.
    pub async fn end(mut self) {
        if !self.open.is_empty() {
            self.close();
        }
        let Self {
            queue,
            mut task,
            waiting,
            ..
        } = self;
        drop(queue);
        if timeout(FAREWELL, &mut task).await.is_err() {
            task.abort();
            let spans = waiting.load(Relaxed);
            tracing::warn!(
                spans,
                "spans are lost: the collector did not take them in time"
            );
        }
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

fn client(endpoint: &Uri, trust: &Trust) -> Result<HttpClient, TrustError> {
    let config = if endpoint.scheme_str() == Some("https") {
        trust.config()?
    } else {
        // Reading the system's authorities takes milliseconds, and nobody needs them.
        ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

/// Which gateway speaks.
fn resource(identity: &Identity) -> Resource {
    Resource {
        attributes: vec![
            attribute("service.name", "sluice-gateway"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("service.instance.id", identity.gateway.to_string()),
            attribute("sluice.incarnation.id", identity.incarnation.to_string()),
            attribute("sluice.region", identity.region.as_str()),
        ],
    }
}

/// The task that sends.
struct Sending {
    client: HttpClient,
    collector: Collector,
    resource: Resource,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    /// Why nothing could be sent, as it was said last.
    said: String,
}

/// What became of a batch.
enum Sent {
    /// It was taken, but for so many spans.
    Taken { rejected: u64 },
    /// It may be taken later: after this long, if the collector says so.
    Later(Option<Duration>, String),
    /// It will never be taken.
    Refused(String),
}

impl Sending {
    async fn run(mut self, mut batches: mpsc::Receiver<Vec<Span>>) {
        while let Some(batch) = batches.recv().await {
            let spans = batch.len();
            let rejected = self.deliver(batch).await.min(spans as u64);
            self.metrics.spans.exported.add(spans as u64 - rejected);
            self.metrics.spans.dropped_collector.add(rejected);
            self.waiting.fetch_sub(spans, Relaxed);
        }
    }

    /// Sends a batch until it is taken, or there is no use; returns how many of its spans were not.
    async fn deliver(&mut self, batch: Vec<Span>) -> u64 {
        let spans = batch.len() as u64;
        let message = Bytes::from(self.message(batch).encode_to_vec());
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.send(message.clone()).await {
                Sent::Taken { rejected } => {
                    self.say(String::new());
                    return rejected;
                }
                Sent::Refused(why) => {
                    self.say(why);
                    return spans;
                }
                Sent::Later(asked, why) => {
                    self.say(why);
                    if attempt == MAX_TRIES {
                        return spans;
                    }
                    sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause *= 2;
                }
            }
        }
        spans
    }

    fn message(&self, spans: Vec<Span>) -> ExportRequest {
        let scope = Scope {
            name: "sluice-gateway".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        }
    }

    async fn send(&self, message: Bytes) -> Sent {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.collector.endpoint.clone();
        *request.headers_mut() = self.collector.headers.clone();
        request.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
        request.headers_mut().insert(USER_AGENT, OURSELVES);
        let asking = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            // Whoever says that all is well is believed, whatever the rest is.
            let body = body.map(http_body_util::Collected::to_bytes);
            Ok::<_, String>((head, body.unwrap_or_default()))
        };
        match timeout(self.collector.patience, asking).await {
            Err(_) => Sent::Later(None, "it does not answer in time".to_owned()),
            Ok(Err(why)) => Sent::Later(None, why),
            Ok(Ok((head, body))) => judge(head.status, &head.headers, &body),
        }
    }

    /// Says why spans are not taken, once for each reason, and when they are again.
    fn say(&mut self, why: String) {
        let collector = self.collector.endpoint.host().unwrap_or_default();
        match (self.said.is_empty(), why.is_empty()) {
            (false, true) => tracing::info!(collector, "spans are taken again"),
            (_, false) if why != self.said => {
                tracing::warn!(collector, why, "spans are not taken");
            }
            _ => {}
        }
        self.said = why;
    }
}

/// What an answer means: OTLP 1.x, "OTLP/HTTP Response".
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Sent {
    if status.is_success() {
        let answer = ExportResponse::decode(body).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |it| it.rejected_spans);
        return Sent::Taken {
            rejected: u64::try_from(rejected).unwrap_or(0),
        };
    }
    let why = format!("it answers with {status}");
    let may_come_again = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if !may_come_again {
        return Sent::Refused(why);
    }
    let after = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
    let after = after.and_then(|it| it.parse().ok());
    Sent::Later(after.map(Duration::from_secs), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: rejected spans, or after how many seconds again, or `None` for never.
    fn check(status: u16, after: Option<&str>, body: &[u8], expected: &str) {
        let status = StatusCode::from_u16(status).expect("a status");
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            let value = HeaderValue::from_str(after).expect("a header");
            headers.insert(RETRY_AFTER, value);
        }
        let told = match judge(status, &headers, body) {
            Sent::Taken { rejected } => format!("taken but {rejected}"),
            Sent::Later(after, _) => format!("later: {:?}", after.map(|it| it.as_secs())),
            Sent::Refused(why) => format!("refused: {why}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn answers_mean_what_the_protocol_says() {
        check(200, None, b"", "taken but 0");
        let partial = [0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o'];
        check(200, None, &partial, "taken but 3");
        check(200, None, b"{}", "taken but 0");
        check(429, Some("7"), b"", "later: Some(7)");
        check(
            503,
            Some("Wed, 21 Oct 2026 07:28:00 GMT"),
            b"",
            "later: None",
        );
        check(502, None, b"", "later: None");
        check(504, None, b"", "later: None");
        check(
            400,
            Some("7"),
            b"",
            "refused: it answers with 400 Bad Request",
        );
        check(
            500,
            None,
            b"",
            "refused: it answers with 500 Internal Server Error",
        );
        check(302, None, b"", "refused: it answers with 302 Found");
    }
}

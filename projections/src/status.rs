//! `/healthz`, `/readyz` and `/metrics`, for every part of this service.

use std::{
    convert::Infallible, fmt::Write as _, future::ready, io, net::SocketAddr, sync::Arc,
    time::Duration,
};

use axum_server::{Server, tls_rustls::RustlsAcceptor};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::certificate::Certificate;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may take until its first request is there.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// A part of the service that can say how it is.
pub trait Part: Send + Sync {
    /// Its name, as `/readyz` shows it.
    fn name(&self) -> &'static str;

    /// Whether it does its work now.
    ///
    /// # Errors
    /// What is in the way, in words.
    fn ready(&self) -> Result<(), String>;

    /// Writes its metrics in Prometheus' text format.
    fn metrics(&self, out: &mut Metrics);
}

/// Metrics in Prometheus' text format.
#[derive(Debug, Default)]
pub struct Metrics(String);

impl Metrics {
    /// Something that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.one("gauge", name, help, value);
    }

    /// Something that only goes up.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one("counter", name, help, value);
    }

    fn one(&mut self, kind: &str, name: &str, help: &str, value: u64) {
        // Writing to a String does not fail.
        let _written = writeln!(
            self.0,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
}

/// Answers on `listener` until `shutdown`; over TLS where there is a certificate.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    certificate: Option<Certificate>,
    parts: Vec<Arc<dyn Part>>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let parts: Arc<[Arc<dyn Part>]> = parts.into();
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &parts);
        ready(Ok::<_, Infallible>(response))
    });
    let service = service_fn(move |_: SocketAddr| ready(Ok::<_, Infallible>(answer.clone())));
    let server = Server::<SocketAddr>::from_listener(listener)
        .first_request_timeout(FIRST_REQUEST)
        .accept_error_handler(|peer, error| match peer {
            Some(peer) => tracing::debug!(%peer, %error, "a status connection ended early"),
            None => tracing::warn!(%error, "a status connection could not be accepted"),
        });
    let served = async move {
        match certificate {
            None => server.http1_only().serve(service).await,
            Some(certificate) => {
                let config = certificate.config.clone();
                let tls = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE);
                tokio::select! {
                    served = server.acceptor(tls).serve(service) => served,
                    () = certificate.follow() => Ok(()),
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        served = served => served,
    }
}

fn respond(method: &Method, path: &str, parts: &[Arc<dyn Part>]) -> Response<Full<Bytes>> {
    match path {
        _ if method != Method::GET && method != Method::HEAD => {
            text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into())
        }
        "/healthz" => text(StatusCode::OK, "alive\n".into()),
        "/readyz" => readiness(parts),
        "/metrics" => {
            let mut metrics = Metrics::default();
            parts.iter().for_each(|part| part.metrics(&mut metrics));
            text(StatusCode::OK, metrics.0)
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz and /metrics\n".into(),
        ),
    }
}

fn readiness(parts: &[Arc<dyn Part>]) -> Response<Full<Bytes>> {
    let mut status = StatusCode::OK;
    let mut lines = String::new();
    for part in parts {
        let state = match part.ready() {
            Ok(()) => "ready".to_owned(),
            Err(trouble) => {
                status = StatusCode::SERVICE_UNAVAILABLE;
                trouble
            }
        };
        let _written = writeln!(lines, "{}: {state}", part.name());
    }
    text(status, lines)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stuck;

    impl Part for Stuck {
        fn name(&self) -> &'static str {
            "publisher"
        }

        fn ready(&self) -> Result<(), String> {
            Err("waits for EVENTS".into())
        }

        fn metrics(&self, out: &mut Metrics) {
            out.gauge("sluice_position", "The position.", 7);
        }
    }

    #[test]
    fn a_part_that_is_not_ready_makes_the_service_not_ready() {
        let parts: [Arc<dyn Part>; 1] = [Arc::new(Stuck)];
        let check = |path: &str, status: StatusCode| {
            assert_eq!(respond(&Method::GET, path, &parts).status(), status)
        };
        check("/healthz", StatusCode::OK);
        check("/readyz", StatusCode::SERVICE_UNAVAILABLE);
        check("/metrics", StatusCode::OK);
        check("/", StatusCode::NOT_FOUND);
        assert_eq!(
            respond(&Method::GET, "/readyz", &[]).status(),
            StatusCode::OK
        );
        assert_eq!(
            respond(&Method::POST, "/readyz", &[]).status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}

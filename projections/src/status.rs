//! `/healthz`, `/readyz` and `/metrics`, for every part of this service.

use std::{convert::Infallible, fmt::Write as _, io, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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

/// Answers on `listener` until `shutdown`.
pub async fn serve(listener: TcpListener, parts: Vec<Arc<dyn Part>>, shutdown: CancellationToken) {
    let parts: Arc<[Arc<dyn Part>]> = parts.into();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(converse(
                TokioIo::new(stream),
                Arc::clone(&parts),
            ))),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Out of file handles, for example: the next attempt may do better.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a status connection could not be accepted");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

async fn converse(stream: TokioIo<tokio::net::TcpStream>, parts: Arc<[Arc<dyn Part>]>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &parts);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    if let Err(error) = http1::Builder::new().serve_connection(stream, answer).await {
        tracing::debug!(%error, "a status connection ended early");
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

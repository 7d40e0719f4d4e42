//! Which path is served by what.

use std::rc::Rc;

use events_schema::usage::Endpoint;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Version,
    header::{ALLOW, CONNECTION},
};
use percent_encoding::percent_decode_str;

use super::{
    body::read_for_nothing,
    complete::complete,
    incoming::Incoming,
    models::models,
    response::{Answer, failed, text},
    worker::Worker,
};
use crate::{
    clock,
    endpoint::{self, Dialect, describe},
    failure::Failure,
};

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Inference(Endpoint),
    Models(Option<String>),
    Health,
    Ready,
    Metrics,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        if let Some(endpoint) = endpoint::at(path) {
            return Some(Self::Inference(endpoint));
        }
        Some(match path {
            "/v1/models" => Self::Models(None),
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => {
                let name = path.strip_prefix("/v1/models/")?;
                // Clients write the slash in a model's name as it is, or as %2F.
                let name = percent_decode_str(name).decode_utf8().ok()?;
                if name.is_empty() {
                    return None;
                }
                Self::Models(Some(name.into_owned()))
            }
        })
    }

    const fn method(&self) -> Method {
        match self {
            Self::Inference(_) => Method::POST,
            Self::Models(_) | Self::Health | Self::Ready | Self::Metrics => Method::GET,
        }
    }

    /// The wire format in which errors are told there.
    fn dialect(&self, headers: &HeaderMap) -> Dialect {
        match self {
            Self::Inference(endpoint) => describe(*endpoint).dialect,
            Self::Models(_) | Self::Health | Self::Ready | Self::Metrics => {
                Dialect::spoken_in(headers)
            }
        }
    }
}

/// Serves one request.
pub async fn serve(worker: Rc<Worker>, request: Request<Incoming>) -> Answer {
    let is_http1 = request.version() < Version::HTTP_2;
    let mut answer = respond(&worker, request).await;
    if is_http1 && worker.shared.is_leaving() {
        // The caller's next request goes elsewhere: on a connection that is closed while it is idle, one could be under way.
        // HTTP/2 has a word for that, and says it when the gateway drains.
        let close = HeaderValue::from_static("close");
        answer.headers.insert(CONNECTION, close);
    }
    answer
}

async fn respond(worker: &Rc<Worker>, request: Request<Incoming>) -> Answer {
    let Some(route) = Route::of(request.uri().path()) else {
        let dialect = Dialect::spoken_in(request.headers());
        pass_over(worker, request).await;
        return refused(&Failure::NoRoute, dialect);
    };
    if request.method() != route.method() {
        let mut answer = refused(&Failure::Method, route.dialect(request.headers()));
        pass_over(worker, request).await;
        let allowed = match route.method() {
            Method::POST => "POST",
            _ => "GET",
        };
        answer
            .headers
            .insert(ALLOW, HeaderValue::from_static(allowed));
        return answer;
    }
    match route {
        Route::Inference(endpoint) => complete(worker, endpoint, request).await,
        Route::Models(name) => models(worker, request.headers(), name.as_deref()),
        Route::Health => text(StatusCode::OK, "ok\n".into()),
        Route::Ready => ready(worker),
        Route::Metrics => text(
            StatusCode::OK,
            worker
                .shared
                .metrics
                .render(worker.shared.serving(), &worker.shared.health.told()),
        ),
    }
}

/// Reads the body of a request that is refused.
async fn pass_over(worker: &Worker, request: Request<Incoming>) {
    let (head, mut incoming) = request.into_parts();
    read_for_nothing(&mut incoming, &head.headers, &worker.shared.bodies).await;
}

fn refused(failure: &Failure, dialect: Dialect) -> Answer {
    failed(failure, dialect, "", clock::uuid_v7(clock::now()))
}

fn ready(worker: &Worker) -> Answer {
    if worker.shared.is_leaving() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
    }
    let status = worker.shared.status.borrow();
    if status.ready && worker.shared.limits.are_ready() {
        return text(StatusCode::OK, "ready\n".into());
    }
    if status.ready {
        let text_of = "not ready: its shares of limits are on their way\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, text_of.into());
    }
    let why = status
        .trouble
        .as_deref()
        .unwrap_or("the configuration is being loaded");
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready: {why}\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_served_by_what_official_clients_expect() {
        let check = |path, expected| assert_eq!(Route::of(path), expected, "{path}");
        check(
            "/v1/chat/completions",
            Some(Route::Inference(Endpoint::ChatCompletions)),
        );
        check(
            "/v1/embeddings",
            Some(Route::Inference(Endpoint::Embeddings)),
        );
        check(
            "/v1/messages/count_tokens",
            Some(Route::Inference(Endpoint::CountTokens)),
        );
        check("/v1/models", Some(Route::Models(None)));
        check(
            "/v1/models/mock/fast",
            Some(Route::Models(Some("mock/fast".into()))),
        );
        check(
            "/v1/models/mock%2Ffast",
            Some(Route::Models(Some("mock/fast".into()))),
        );
        check("/v1/models/%ff", None);
        check("/v1/models/", None);
        check("/v1/chat", None);
        check("/", None);
    }
}

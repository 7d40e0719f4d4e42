//! Around every request: an id, a log line, a count, and a problem document where a handler panicked.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, header};

use super::{
    app::{App, CalledBy},
    problem::ApiError,
};
use crate::fresh;

/// What browsers are told where this service itself speaks TLS: for a year, to come in no other way (RFC 6797).
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that every answer carries.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Observes a request.
pub(super) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let request_id = fresh::uuid();
    let method = request.method().clone();
    // An unknown path is whatever somebody typed: it makes no label of its own.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", |path| path.as_str())
        .to_owned();
    let mut response = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!(%request_id, %method, route, "a handler panicked");
            ApiError::Internal.into_response()
        });
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if app.parts().speaks_tls {
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(TLS_ONLY);
    }
    if route.starts_with("/api/") {
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(
                "default-src 'none'; frame-ancestors 'none'",
            ));
    }
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        headers.entry(REQUEST_ID).or_insert(id);
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let operator = response
        .extensions()
        .get::<CalledBy>()
        .map(|CalledBy(operator)| operator.to_string());
    let changes = !matches!(method, Method::GET | Method::HEAD);
    if status >= 500 {
        tracing::warn!(%request_id, %method, route, status, ?took, operator, "request failed");
    } else if changes {
        tracing::info!(%request_id, %method, route, status, ?took, operator, "request");
    } else {
        tracing::debug!(%request_id, %method, route, status, ?took, operator, "request");
    }
    app.metrics().count(&method, &route, status, took);
    response
}

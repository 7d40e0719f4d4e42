//! The HTTP side: `/api/v1`, the console's files, and what a supervisor asks (`/healthz`, `/readyz`, `/metrics`).
//!
//! The path of a file follows from the URL: `GET /api/v1/keys` is in `api/keys.rs`. Every request passes, from the
//! outside in: [`observe`] (request id, panics, metrics, log line), [`gate`] (who, and may they), the handler.

pub mod api;
pub mod app;
pub mod assets;
pub mod extract;
mod gate;
mod health;
mod kind;
mod list;
pub mod metrics;
mod names;
mod observe;
pub mod openapi;
mod past;
pub mod problem;
mod search;
mod sse;

use std::path::Path;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};

pub use self::app::{App, AppParts};
use self::problem::ApiError;

/// The largest body that is read: 256 KiB, far above the largest command.
pub const BODY_LIMIT_BYTES: usize = 256 * 1024;

/// Everything that this service answers.
pub fn router(app: &App, assets: Option<&Path>) -> Router {
    let (api, document) = api::router().split_for_parts();
    app.set_document(&openapi::complete(document));
    let gated = api.route_layer(middleware::from_fn_with_state(app.clone(), gate::admit));
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    let unknown = Router::new().fallback(async || ApiError::UnknownRoute);
    Router::new()
        .merge(gated)
        .merge(open)
        .route("/api", axum::routing::any(async || ApiError::UnknownRoute))
        .fallback_service(console_or_unknown(assets, unknown))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            observe::observe,
        ))
        .with_state(app.clone())
}

/// The console's files and screens, but nothing below `/api/`.
fn console_or_unknown(assets: Option<&Path>, unknown: Router) -> Router {
    let console = assets::router::<()>(assets);
    Router::new().fallback(async move |request: Request| -> Response {
        let router = if request.uri().path().starts_with("/api/") {
            unknown
        } else {
            console
        };
        match tower::ServiceExt::oneshot(router, request).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        }
    })
}

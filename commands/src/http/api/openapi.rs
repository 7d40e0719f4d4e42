//! `/api/v1/openapi.json`

use axum::{extract::State, response::IntoResponse};
use http::header;

use crate::http::App;

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "deployment", operation_id = "get_openapi",
    responses((status = 200, description = "The OpenAPI 3.1 document of this API.", body = Object)))]
pub(super) async fn document(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.document())
}

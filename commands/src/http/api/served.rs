//! `/api/v1/served`: read one's writes, at every gateway.

use std::time::Duration;

use axum::extract::State;
use events_schema::api::status::Served;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params},
    problem::ApiError,
};

/// The wait where the caller says nothing.
const DEFAULT_MS: u64 = 5_000;
/// The longest wait.
const LONGEST_MS: u64 = 30_000;

/// What to wait for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ServedParams {
    /// The position, as a command answers it.
    position: u64,
    /// How long to wait, in milliseconds: at most 30,000, else 5,000.
    timeout_ms: Option<u64>,
}

/// Wait until every gateway serves a position
///
/// Counts the gateways that reported within the last 10 s. Answers as soon as all of them serve it, or when the time
/// is up.
#[utoipa::path(get, path = "/served", tag = "deployment", operation_id = "await_served", params(ServedParams),
    responses((status = 200, description = "Whether it is served.", body = Served)))]
pub(super) async fn served(
    State(app): State<App>,
    Params(params): Params<ServedParams>,
) -> Answer<Json<Served>> {
    let ServedParams {
        position,
        timeout_ms,
    } = params;
    let timeout = timeout_ms.unwrap_or(DEFAULT_MS);
    if timeout > LONGEST_MS {
        return Err(ApiError::invalid("timeout_ms", "wait at most 30,000 ms"));
    }
    let epoch = app.control()?.head().epoch;
    Ok(Json(
        app.parts()
            .gateways
            .served(epoch, position, Duration::from_millis(timeout))
            .await,
    ))
}

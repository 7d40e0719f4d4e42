//! `/api/v1/state`: the whole configuration as of any position.

use axum::extract::State;
use events_schema::{api::history::StateAt, time::Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::{
    App,
    app::{Answer, digest_of},
    extract::{Json, Params},
    list,
    names::unreadable,
    problem::ApiError,
};

/// As of when.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct StateParams {
    /// As of this position.
    position: Option<u64>,
    /// As of this time. Neither: as of now.
    at: Option<Timestamp>,
    /// Wait until this position of the log is reached, at most 10 s.
    at_least: Option<u64>,
}

/// Read the state as of a position or a time
#[utoipa::path(get, path = "/state", tag = "history", operation_id = "get_state", params(StateParams),
    responses((status = 200, description = "The whole state, and its digest.", body = StateAt)))]
pub(super) async fn at(
    State(app): State<App>,
    Params(params): Params<StateParams>,
) -> Answer<Json<StateAt>> {
    let control = app.control()?;
    let StateParams {
        position,
        at,
        at_least,
    } = params;
    let live = list::live(&app, at_least).await?;
    let position = match (position, at) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "at",
                "Give a position or a time, not both.",
            ));
        }
        (Some(position), None) => position,
        (None, Some(time)) => control.position_at(time).await.map_err(unreadable)?,
        (None, None) => live.head.position,
    };
    let past_the_end = || {
        ApiError::invalid(
            "position",
            format!("the log ends at {}", live.head.position),
        )
    };
    let state = if position == live.head.position {
        live.state.clone()
    } else {
        let found = control.state_at(position).await.map_err(|error| {
            tracing::warn!(%error, position, "a past state could not be read");
            ApiError::LogUnavailable("The state cannot be read; try again in a moment.".into())
        })?;
        found.ok_or_else(past_the_end)?
    };
    let event = control.event(position).await.map_err(unreadable)?;
    let digest = digest_of(state.clone()).await;
    let checkpoint = tokio::task::spawn_blocking(move || serde_json::to_value(&state));
    let state = checkpoint
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(ApiError::Internal)?;
    Ok(Json(StateAt {
        position,
        recorded_at: event.map(|event| event.recorded_at),
        state_digest: digest.to_string(),
        state,
    }))
}

//! `/api/v1/verify`: the proof that the history was not altered.

use axum::extract::State;
use events_schema::api::history::VerifyReport;

use crate::http::{App, app::Answer, extract::Json, problem::ApiError};

/// Verify the history
///
/// Checks every row of the log against its hash chain, `EVENTS`, checkpoints and the heads seen before. Takes time
/// in proportion to the log; one verification runs at a time.
#[utoipa::path(post, path = "/verify", tag = "history", operation_id = "verify",
    responses((status = 200, description = "What was checked, and what does not agree.", body = VerifyReport)))]
pub(super) async fn verify(State(app): State<App>) -> Answer<Json<VerifyReport>> {
    let control = app.control()?;
    let Ok(_turn) = app.verifying().try_acquire() else {
        return Err(ApiError::Busy(
            "The history is being verified at this moment; try again when that is done.".into(),
        ));
    };
    let report = control.verify().await.map_err(|error| {
        tracing::warn!(%error, "the history could not be verified");
        ApiError::LogUnavailable(format!("The history could not be verified: {error}."))
    })?;
    Ok(Json(report))
}

//! `/api/v1/status`

use axum::extract::State;
use events_schema::api::status::Status;

use crate::http::{App, app::Answer, extract::Json};

/// How the deployment is
#[utoipa::path(get, path = "/status", tag = "deployment", operation_id = "get_status",
    responses((status = 200, description = "How the deployment is.", body = Status)))]
pub(super) async fn status(State(app): State<App>) -> Answer<Json<Status>> {
    let control = app.control()?;
    let live = control.live();
    let digest = app.digest(live.state.clone()).await;
    let (ledger_since, ledger_error) = super::analytics::since(&app).await;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: live.head.epoch,
        position: live.head.position,
        hash: hex::encode(live.head.hash),
        recorded_at: live.head.recorded_at,
        state_digest: digest.to_string(),
        published: control.relay_status().published,
        appends_stopped: live.stopped.as_deref().map(str::to_owned),
        ledger_since,
        ledger_error,
        gateway_url: app.parts().gateway_url.clone(),
    }))
}

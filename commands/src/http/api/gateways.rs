//! `/api/v1/gateways`

use axum::extract::State;
use events_schema::api::status::GatewayItem;

use crate::{
    clock,
    http::{App, app::Answer, extract::Json},
};

/// List gateways
///
/// Those that reported within a day, each with its last report.
#[utoipa::path(get, path = "/gateways", tag = "deployment", operation_id = "list_gateways",
    responses((status = 200, description = "The gateways, by region and id.", body = [GatewayItem])))]
pub(super) async fn list(State(app): State<App>) -> Answer<Json<Vec<GatewayItem>>> {
    let head = app.control()?.head().position;
    Ok(Json(app.parts().gateways.list(head, clock::now())))
}

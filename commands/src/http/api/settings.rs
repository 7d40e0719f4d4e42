//! `/api/v1/settings`

use axum::extract::State;
use events_schema::{api::resources::SettingsItem, state::Settings};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params},
    list::{self, ItemParams},
};

/// Read the settings
///
/// What holds for the whole organisation: its name, how long request records are kept, how long sessions last.
#[utoipa::path(get, path = "/settings", tag = "settings", operation_id = "get_settings", params(ItemParams),
    responses((status = 200, description = "The settings.", body = SettingsItem)))]
pub(super) async fn read(
    State(app): State<App>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<SettingsItem>> {
    let live = list::live(&app, params.at_least).await?;
    let Settings {
        life,
        organisation,
        retention,
        sessions,
    } = live.state.settings();
    Ok(Json(SettingsItem {
        organisation: organisation.as_ref().map(ToString::to_string),
        retention: *retention,
        sessions: *sessions,
        life: *life,
    }))
}

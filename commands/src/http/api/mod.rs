//! The routes under `/api/v1`, one file for each resource.

mod analytics;
mod budget_alerts;
mod budget_policies;
mod commands;
mod counter_names;
mod declared;
pub(super) mod events;
mod gateways;
mod grants;
mod keys;
mod limit_usage;
mod me;
mod models;
mod openapi;
mod operators;
mod playground;
mod provider_accounts;
mod rate_limit_policies;
mod refusals;
mod repricing;
mod requests;
mod served;
mod sessions;
mod settings;
mod state;
mod status;
mod teams;
mod tokens;
mod used_by;
mod users;
mod verify;
mod virtual_accounts;
mod virtual_models;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::app::App;

/// All routes, with what they say about themselves.
pub(super) fn router() -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new()
        .routes(routes!(openapi::document))
        .routes(routes!(
            sessions::sign_in,
            sessions::list,
            sessions::end_others
        ))
        .routes(routes!(sessions::current, sessions::sign_out))
        .routes(routes!(sessions::end))
        .routes(routes!(me::change_name))
        .routes(routes!(me::change_password))
        .routes(routes!(tokens::list, tokens::issue))
        .routes(routes!(tokens::revoke))
        .routes(routes!(commands::send))
        .routes(routes!(provider_accounts::list))
        .routes(routes!(provider_accounts::one))
        .routes(routes!(models::list))
        .routes(routes!(models::one))
        .routes(routes!(repricing::preview))
        .routes(routes!(virtual_models::list))
        .routes(routes!(virtual_models::one))
        .routes(routes!(users::list))
        .routes(routes!(users::one))
        .routes(routes!(virtual_accounts::list))
        .routes(routes!(virtual_accounts::one))
        .routes(routes!(teams::list))
        .routes(routes!(teams::one))
        .routes(routes!(teams::members))
        .routes(routes!(keys::list))
        .routes(routes!(keys::one))
        .routes(routes!(grants::list))
        .routes(routes!(grants::one))
        .routes(routes!(rate_limit_policies::list))
        .routes(routes!(rate_limit_policies::one))
        .routes(routes!(limit_usage::usage))
        .routes(routes!(budget_alerts::list))
        .routes(routes!(budget_policies::list))
        .routes(routes!(budget_policies::one))
        .routes(routes!(settings::read))
        .routes(routes!(used_by::used_by))
        .routes(routes!(operators::list))
        .routes(routes!(operators::one))
        .routes(routes!(events::list))
        .routes(routes!(events::live))
        .routes(routes!(events::one))
        .routes(routes!(state::at))
        .routes(routes!(state::summary))
        .routes(routes!(state::things))
        .routes(routes!(verify::verify))
        .routes(routes!(status::status))
        .routes(routes!(gateways::list))
        .routes(routes!(served::served))
        .routes(routes!(analytics::summary))
        .routes(routes!(analytics::series))
        .routes(routes!(refusals::list))
        .routes(routes!(requests::list))
        .routes(routes!(requests::one))
        .routes(routes!(playground::chat_completions));
    let documents = OpenApiRouter::new()
        .routes(routes!(declared::apply))
        .layer(DefaultBodyLimit::max(declared::APPLY_LIMIT_BYTES))
        .routes(routes!(declared::export));
    OpenApiRouter::new().nest("/api/v1", routes.merge(documents))
}

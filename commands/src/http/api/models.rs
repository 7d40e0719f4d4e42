//! `/api/v1/models`

use std::borrow::Cow;

use axum::extract::State;
use events_schema::{
    api::{Page, resources::ModelItem},
    id::ModelId,
    state::{Model, Organisation},
    time::Timestamp,
};

use crate::{
    clock,
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        list::{self, ItemParams, ListParams},
        problem::ApiError,
    },
};

/// List models
///
/// In the order of their full names.
#[utoipa::path(get, path = "/models", tag = "providers", operation_id = "list_models", params(ListParams),
    responses((status = 200, description = "A page of models.", body = Page<ModelItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<ModelItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let (state, now) = (&live.state, clock::now());
    let found = state
        .models()
        .values()
        .map(|it| (full_name(state, it).into(), it.id.uuid(), it));
    let found = found.filter(|(name, id, it): &(Cow<'_, str>, _, _)| {
        wanted.matches(&[name, it.upstream_name.as_str()]) || wanted.matches_id(*id)
    });
    let (models, next) = list::by_name(&wanted, found);
    let items = models
        .into_iter()
        .map(|model| item(state, model, now))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

/// Read a model
#[utoipa::path(get, path = "/models/{id}", tag = "providers", operation_id = "get_model",
    params(("id" = ModelId, Path, description = "The model's id."), ItemParams),
    responses((status = 200, description = "The model.", body = ModelItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<ModelId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<ModelItem>> {
    let (live, id) = (list::live(&app, params.at_least).await?, id.of("model")?);
    let found = live
        .state
        .models()
        .get(&id)
        .ok_or(ApiError::NotFound("model"))?;
    Ok(Json(item(&live.state, found, clock::now())))
}

fn account_name(state: &Organisation, model: &Model) -> String {
    state
        .provider_accounts()
        .get(&model.account)
        .map_or_else(|| model.account.to_string(), |it| it.name.to_string())
}

fn full_name(state: &Organisation, model: &Model) -> String {
    format!("{}/{}", account_name(state, model), model.name)
}

fn item(state: &Organisation, model: &Model, now: Timestamp) -> ModelItem {
    let Model {
        id,
        life,
        account,
        name,
        upstream_name,
        model_types,
        prices,
        disabled,
    } = model;
    ModelItem {
        id: *id,
        full_name: full_name(state, model),
        name: name.to_string(),
        account: *account,
        account_name: account_name(state, model),
        upstream_name: upstream_name.to_string(),
        model_types: model_types.clone(),
        price: model.price_at(now),
        prices: prices.clone(),
        disabled: *disabled,
        life: *life,
    }
}

//! `/api/v1/virtual-models`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        resources::{TargetItem, VirtualModelItem},
    },
    events::{Routing, WeightedTarget},
    id::VirtualModelId,
    state::{Organisation, VirtualModel},
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    names,
    problem::ApiError,
};

/// List virtual models
///
/// In the order of their names.
#[utoipa::path(get, path = "/virtual-models", tag = "providers", operation_id = "list_virtual_models",
    params(ListParams),
    responses((status = 200, description = "A page of virtual models.", body = Page<VirtualModelItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<VirtualModelItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = live.state.virtual_models().values();
    let found = found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
    let (models, next) = list::by_name(
        &wanted,
        found.map(|it| ((&*it.name).into(), it.id.uuid(), it)),
    );
    let items = models
        .into_iter()
        .map(|model| item(&live.state, model))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

/// Read a virtual model
#[utoipa::path(get, path = "/virtual-models/{id}", tag = "providers", operation_id = "get_virtual_model",
    params(("id" = VirtualModelId, Path, description = "The virtual model's id."), ItemParams),
    responses((status = 200, description = "The virtual model.", body = VirtualModelItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<VirtualModelId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<VirtualModelItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of("virtual model")?,
    );
    let found = live
        .state
        .virtual_models()
        .get(&id)
        .ok_or(ApiError::NotFound("virtual model"))?;
    Ok(Json(item(&live.state, found)))
}

fn item(state: &Organisation, virtual_model: &VirtualModel) -> VirtualModelItem {
    let VirtualModel {
        id,
        life,
        name,
        routing,
        disabled,
    } = virtual_model;
    let Routing::Weighted { targets } = routing;
    VirtualModelItem {
        id: *id,
        name: name.to_string(),
        targets: targets.iter().map(|it| target(state, it)).collect(),
        disabled: *disabled,
        life: *life,
    }
}

fn target(state: &Organisation, target: &WeightedTarget) -> TargetItem {
    let WeightedTarget {
        model,
        weight,
        fallback_status_codes,
        fallback_candidate,
    } = target;
    TargetItem {
        model: *model,
        full_name: names::full_name(state, *model).unwrap_or_else(|| model.to_string()),
        weight: *weight,
        fallback_status_codes: fallback_status_codes.clone(),
        fallback_candidate: *fallback_candidate,
    }
}

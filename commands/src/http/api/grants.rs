//! `/api/v1/grants`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        resources::{GrantItem, GrantedModelItem},
    },
    events::{GrantedModels, ModelRef},
    id::GrantId,
    state::{Grant, Organisation},
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    names::{self, Names, people_found, subject_person},
    problem::ApiError,
};

/// List access grants
///
/// The newest first. The search looks at the names of subjects and models.
#[utoipa::path(get, path = "/grants", tag = "access", operation_id = "list_grants", params(ListParams),
    responses((status = 200, description = "A page of grants.", body = Page<GrantItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<GrantItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let (control, state) = (app.control()?, &live.state);
    let people = people_found(control, &wanted.search).await?;
    let nameless = Names::read(control, state, []).await?;
    let end = wanted
        .after
        .map_or(GrantId::from_bytes([0xff; 16]), GrantId::from_uuid);
    let found = state.grants().range(..end).rev().map(|(_, grant)| grant);
    let found = found.filter(|it| {
        wanted.search.is_empty()
            || match subject_person(it.subject) {
                Some(person) => people.contains(&person),
                None => wanted.matches(&[&nameless.subject(it.subject)]),
            }
            || listed(&it.models).any(|model| wanted.matches(&[&names::model_ref(state, model)]))
            || wanted.matches(&[&it.id.to_string()])
    });
    let (grants, next) = list::first(wanted.limit, found, |it| it.id.uuid());
    let names = Names::read(
        control,
        state,
        grants.iter().filter_map(|it| subject_person(it.subject)),
    )
    .await?;
    let items = grants
        .into_iter()
        .map(|grant| item(state, &names, grant))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

/// Read an access grant
#[utoipa::path(get, path = "/grants/{id}", tag = "access", operation_id = "get_grant",
    params(("id" = GrantId, Path, description = "The grant's id."), ItemParams),
    responses((status = 200, description = "The grant.", body = GrantItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<GrantId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<GrantItem>> {
    let (live, id) = (list::live(&app, params.at_least).await?, id.of("grant")?);
    let found = live
        .state
        .grants()
        .get(&id)
        .ok_or(ApiError::NotFound("grant"))?;
    let names = Names::read(app.control()?, &live.state, subject_person(found.subject)).await?;
    Ok(Json(item(&live.state, &names, found)))
}

fn listed(models: &GrantedModels) -> impl Iterator<Item = ModelRef> {
    let listed = match models {
        GrantedModels::All => None,
        GrantedModels::Listed(models) => Some(models),
    };
    listed.into_iter().flatten().copied()
}

fn item(state: &Organisation, names: &Names<'_>, grant: &Grant) -> GrantItem {
    let Grant {
        id,
        life,
        subject,
        models,
    } = grant;
    GrantItem {
        id: *id,
        subject: *subject,
        subject_name: names.subject(*subject),
        all_models: matches!(models, GrantedModels::All),
        models: listed(models)
            .map(|model| GrantedModelItem {
                model,
                name: names::model_ref(state, model),
            })
            .collect(),
        life: *life,
    }
}

//! `/api/v1/operators`

use axum::extract::State;
use events_schema::{
    api::{Page, resources::OperatorItem},
    id::OperatorId,
    state::Operator,
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    names::Names,
    problem::ApiError,
};

/// List operators
///
/// The newest first.
#[utoipa::path(get, path = "/operators", tag = "operators", operation_id = "list_operators", params(ListParams),
    responses((status = 200, description = "A page of operators.", body = Page<OperatorItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<OperatorItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let control = app.control()?;
    let end = wanted
        .after
        .map_or(OperatorId::from_bytes([0xff; 16]), OperatorId::from_uuid);
    let found = live
        .state
        .operators()
        .range(..end)
        .rev()
        .map(|(_, operator)| operator);
    let itself = |it: &&Operator| wanted.matches_id(it.id.uuid());
    let found = list::found(control, &wanted, found, itself, |it| Some(it.id.uuid())).await?;
    let (operators, next) = list::first(wanted.limit, found, |it| it.id.uuid());
    let names = Names::read(
        control,
        &live.state,
        operators.iter().map(|it| it.id.uuid()),
    )
    .await?;
    let items = operators
        .into_iter()
        .map(|operator| item(&names, operator))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

/// Read an operator
#[utoipa::path(get, path = "/operators/{id}", tag = "operators", operation_id = "get_operator",
    params(("id" = OperatorId, Path, description = "The operator's id."), ItemParams),
    responses((status = 200, description = "The operator.", body = OperatorItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<OperatorId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<OperatorItem>> {
    let (live, id) = (list::live(&app, params.at_least).await?, id.of("operator")?);
    let found = live
        .state
        .operators()
        .get(&id)
        .ok_or(ApiError::NotFound("operator"))?;
    let names = Names::read(app.control()?, &live.state, [id.uuid()]).await?;
    Ok(Json(item(&names, found)))
}

fn item(names: &Names<'_>, operator: &Operator) -> OperatorItem {
    let Operator {
        id,
        life,
        role,
        email: _,
        disabled,
        tokens: _,
    } = operator;
    let person = names.person(id.uuid());
    OperatorItem {
        id: *id,
        name: person.map(|person| person.name.clone()),
        email: person.map(|person| person.email.clone()),
        role: *role,
        disabled: *disabled,
        life: *life,
    }
}

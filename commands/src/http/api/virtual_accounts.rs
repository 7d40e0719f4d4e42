//! `/api/v1/virtual-accounts`

use axum::extract::State;
use events_schema::{
    api::{Page, resources::VirtualAccountItem},
    events::Owner,
    id::VirtualAccountId,
    state::{Organisation, VirtualAccount},
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    problem::ApiError,
};

/// List virtual accounts
///
/// In the order of their names.
#[utoipa::path(get, path = "/virtual-accounts", tag = "access", operation_id = "list_virtual_accounts",
    params(ListParams),
    responses((status = 200, description = "A page of virtual accounts.", body = Page<VirtualAccountItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<VirtualAccountItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = live.state.virtual_accounts().values();
    let found = found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
    let (accounts, next) = list::by_name(
        &wanted,
        found.map(|it| ((&*it.name).into(), it.id.uuid(), it)),
    );
    let items = accounts
        .into_iter()
        .map(|account| item(&live.state, account))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

/// Read a virtual account
#[utoipa::path(get, path = "/virtual-accounts/{id}", tag = "access", operation_id = "get_virtual_account",
    params(("id" = VirtualAccountId, Path, description = "The virtual account's id."), ItemParams),
    responses((status = 200, description = "The virtual account.", body = VirtualAccountItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<VirtualAccountId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<VirtualAccountItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of("virtual account")?,
    );
    let found = live
        .state
        .virtual_accounts()
        .get(&id)
        .ok_or(ApiError::NotFound("virtual account"))?;
    Ok(Json(item(&live.state, found)))
}

fn item(state: &Organisation, account: &VirtualAccount) -> VirtualAccountItem {
    let VirtualAccount {
        id,
        life,
        name,
        disabled,
    } = account;
    VirtualAccountItem {
        id: *id,
        name: name.to_string(),
        disabled: *disabled,
        keys: state.keys_of(Owner::VirtualAccount(*id)).count() as u64,
        life: *life,
    }
}

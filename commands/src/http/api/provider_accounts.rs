//! `/api/v1/provider-accounts`

use axum::extract::State;
use events_schema::{
    api::{Page, resources::ProviderAccountItem},
    id::ProviderAccountId,
    state::{Organisation, ProviderAccount},
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    problem::ApiError,
};

/// List provider accounts
///
/// In the order of their names.
#[utoipa::path(get, path = "/provider-accounts", tag = "providers", operation_id = "list_provider_accounts",
    params(ListParams),
    responses((status = 200, description = "A page of provider accounts.", body = Page<ProviderAccountItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<ProviderAccountItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = live.state.provider_accounts().values();
    let found = found
        .filter(|it| wanted.matches(&[&it.name, &it.base_url]) || wanted.matches_id(it.id.uuid()));
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

/// Read a provider account
#[utoipa::path(get, path = "/provider-accounts/{id}", tag = "providers", operation_id = "get_provider_account",
    params(("id" = ProviderAccountId, Path, description = "The provider account's id."), ItemParams),
    responses((status = 200, description = "The provider account.", body = ProviderAccountItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<ProviderAccountId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<ProviderAccountItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of("provider account")?,
    );
    let found = live
        .state
        .provider_accounts()
        .get(&id)
        .ok_or(ApiError::NotFound("provider account"))?;
    Ok(Json(item(&live.state, found)))
}

fn item(state: &Organisation, account: &ProviderAccount) -> ProviderAccountItem {
    let ProviderAccount {
        id,
        life,
        name,
        provider,
        base_url,
        credential,
        credential_shredded,
        disabled,
    } = account;
    ProviderAccountItem {
        id: *id,
        name: name.to_string(),
        provider: *provider,
        base_url: base_url.to_string(),
        has_credential: credential.is_some() && !credential_shredded,
        credential_shredded: *credential_shredded,
        disabled: *disabled,
        models: state.models_of(*id).count() as u64,
        life: *life,
    }
}

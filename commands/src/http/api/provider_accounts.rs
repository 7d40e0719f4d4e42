//! `/api/v1/provider-accounts`

use axum::extract::State;
use events_schema::{
    api::{Page, history::Thing, resources::ProviderAccountItem},
    events::Stream,
    id::ProviderAccountId,
    state::{Organisation, ProviderAccount},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    clock,
    control::Control,
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        kind::{self, Kind},
        list::{self, ItemParams, ListParams, Wanted},
        names::Names,
    },
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
    let found =
        kind::page_of::<ProviderAccount>(app.control()?, &live.state, &wanted, clock::now())
            .await?;
    Ok(Json(list::page(&live, found)))
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
        id.of(ProviderAccount::WHAT)?,
    );
    let found =
        kind::one::<ProviderAccount>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for ProviderAccount {
    type Item = ProviderAccountItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "provider account";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state
            .provider_accounts()
            .get(&ProviderAccountId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.provider_accounts().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::ProviderAccount(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::ProviderAccount(item)
    }

    fn version(&self) -> u64 {
        self.life.version
    }

    fn people(&self) -> Vec<Uuid> {
        Vec::new()
    }

    async fn select<'s>(
        _: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> Answer<(Vec<&'s Self>, Option<String>)> {
        let found = state.provider_accounts().values();
        let found = found.filter(|it| {
            wanted.matches(&[&it.name, &it.base_url]) || wanted.matches_id(it.id.uuid())
        });
        let named = found.map(|it| ((&*it.name).into(), it.id.uuid(), it));
        Ok(list::by_name(wanted, named))
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> ProviderAccountItem {
        item(names.state(), self)
    }
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
        allows_private_addresses,
        disabled,
    } = account;
    ProviderAccountItem {
        id: *id,
        name: name.to_string(),
        provider: *provider,
        base_url: base_url.to_string(),
        has_credential: credential.is_some() && !credential_shredded,
        credential_shredded: *credential_shredded,
        allows_private_addresses: *allows_private_addresses,
        disabled: *disabled,
        models: state.models_of(*id).count() as u64,
        life: *life,
    }
}

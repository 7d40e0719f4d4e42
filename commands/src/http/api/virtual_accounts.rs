//! `/api/v1/virtual-accounts`

use axum::extract::State;
use events_schema::{
    api::{Page, history::Thing, resources::VirtualAccountItem},
    events::{Owner, Stream},
    id::VirtualAccountId,
    state::{Organisation, VirtualAccount},
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
    let found =
        kind::page_of::<VirtualAccount>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
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
        id.of(VirtualAccount::WHAT)?,
    );
    let found =
        kind::one::<VirtualAccount>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for VirtualAccount {
    type Item = VirtualAccountItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "virtual account";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state
            .virtual_accounts()
            .get(&VirtualAccountId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.virtual_accounts().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::VirtualAccount(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::VirtualAccount(item)
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
        let found = state.virtual_accounts().values();
        let found =
            found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
        let named = found.map(|it| ((&*it.name).into(), it.id.uuid(), it));
        Ok(list::by_name(wanted, named))
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> VirtualAccountItem {
        item(names.state(), self)
    }
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

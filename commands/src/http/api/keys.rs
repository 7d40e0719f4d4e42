//! `/api/v1/keys`

use std::collections::BTreeSet;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{FormerSecretItem, KeyItem},
    },
    events::{Owner, Stream},
    id::KeyId,
    state::{FormerSecret, Key, Organisation},
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
        names::{Names, owner_person},
    },
};

/// List API keys
///
/// The newest first. The search also looks at the owners' names and at the last four characters.
#[utoipa::path(get, path = "/keys", tag = "access", operation_id = "list_keys", params(ListParams),
    responses((status = 200, description = "A page of keys, never the keys themselves.", body = Page<KeyItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<KeyItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = kind::page_of::<Key>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
}

/// Read an API key
#[utoipa::path(get, path = "/keys/{id}", tag = "access", operation_id = "get_key",
    params(("id" = KeyId, Path, description = "The key's id."), ItemParams),
    responses((status = 200, description = "The key, never the key itself.", body = KeyItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<KeyId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<KeyItem>> {
    let (live, id) = (list::live(&app, params.at_least).await?, id.of(Key::WHAT)?);
    let found = kind::one::<Key>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for Key {
    type Item = KeyItem;
    type Cursor = Uuid;
    const WHAT: &'static str = "key";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.keys().get(&KeyId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.keys().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::Key(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::Key(item)
    }

    fn version(&self) -> u64 {
        self.life.version
    }

    fn people(&self) -> Vec<Uuid> {
        owner_person(self.owner).into_iter().collect()
    }

    async fn select<'s>(
        control: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> Answer<(Vec<&'s Self>, Option<String>)> {
        let accounts = accounts_found(state, wanted);
        let end = wanted
            .after
            .map_or(KeyId::from_bytes([0xff; 16]), KeyId::from_uuid);
        let found = state.keys().range(..end).rev().map(|(_, key)| key);
        let itself = |it: &&'s Self| {
            wanted.matches(&[it.label.as_str(), &it.hint])
                || wanted.matches_id(it.id.uuid())
                || accounts.contains(&it.owner)
        };
        let person = |it: &&'s Self| owner_person(it.owner);
        list::found(control, wanted, found, |it| it.id.uuid(), (itself, person)).await
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> KeyItem {
        item(names.state(), names, self)
    }
}

/// The virtual accounts whose names hold what is searched for.
fn accounts_found<K>(state: &Organisation, wanted: &Wanted<K>) -> BTreeSet<Owner> {
    let accounts = state.virtual_accounts().values();
    let found = accounts.filter(|it| !wanted.search.is_empty() && wanted.matches(&[&it.name]));
    found.map(|it| Owner::VirtualAccount(it.id)).collect()
}

fn item(state: &Organisation, names: &Names<'_>, key: &Key) -> KeyItem {
    let Key {
        id,
        life,
        owner,
        label,
        hash: _,
        hint,
        expires_at,
        limits,
        disabled,
        former,
    } = key;
    let owner_disabled = match owner {
        Owner::User(id) => state.users().get(id).is_some_and(|it| it.disabled),
        Owner::VirtualAccount(id) => state
            .virtual_accounts()
            .get(id)
            .is_some_and(|it| it.disabled),
    };
    KeyItem {
        id: *id,
        label: label.to_string(),
        owner: *owner,
        owner_name: names.owner(*owner),
        hint: hint.clone(),
        expires_at: *expires_at,
        limits: *limits,
        disabled: *disabled,
        owner_disabled,
        former_secret: former.as_ref().map(former_secret),
        life: *life,
    }
}

fn former_secret(former: &FormerSecret) -> FormerSecretItem {
    let FormerSecret {
        hash: _,
        hint,
        works_until,
        position: _,
    } = former;
    FormerSecretItem {
        hint: hint.clone(),
        works_until: *works_until,
    }
}

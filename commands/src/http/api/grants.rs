//! `/api/v1/grants`

use std::collections::BTreeSet;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{GrantItem, GrantedModelItem},
    },
    events::{GrantedModels, ModelRef, Stream},
    id::GrantId,
    state::{Grant, Life, Organisation},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    clock,
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        kind::{self, Kind},
        list::{self, ItemParams, ListParams, Wanted},
        names::{self, Names, subject_person},
    },
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
    let found = kind::page_of::<Grant>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
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
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of(Grant::WHAT)?,
    );
    let found = kind::one::<Grant>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for Grant {
    type Item = GrantItem;
    type Cursor = Uuid;
    const WHAT: &'static str = "grant";
    const OF_PEOPLE: bool = true;

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.grants().get(&GrantId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.grants().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::Grant(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::Grant(item)
    }

    fn life(&self) -> Life {
        self.life
    }

    fn people(&self) -> Vec<Uuid> {
        subject_person(self.subject).into_iter().collect()
    }

    fn select<'s>(
        state: &'s Organisation,
        people: &BTreeSet<Uuid>,
        wanted: &Wanted<Self::Cursor>,
    ) -> (Vec<&'s Self>, Option<String>) {
        let nameless = Names::without_people(state);
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
                || listed(&it.models)
                    .any(|model| wanted.matches(&[&names::model_ref(state, model)]))
                || wanted.matches(&[&it.id.to_string()])
        });
        list::first(wanted, found, |it| it.id.uuid())
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> GrantItem {
        item(names.state(), names, self)
    }
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

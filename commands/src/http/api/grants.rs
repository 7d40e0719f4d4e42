//! `/api/v1/grants`

use std::collections::BTreeSet;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{GrantItem, GrantedModelItem},
    },
    events::{GrantedModels, ModelRef, Stream, Subject},
    id::GrantId,
    state::{Grant, Organisation},
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

    fn version(&self) -> u64 {
        self.life.version
    }

    fn people(&self) -> Vec<Uuid> {
        subject_person(self.subject).into_iter().collect()
    }

    async fn select<'s>(
        control: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> Answer<(Vec<&'s Self>, Option<String>)> {
        let named = Named::found(state, wanted);
        let end = wanted
            .after
            .map_or(GrantId::from_bytes([0xff; 16]), GrantId::from_uuid);
        let found = state.grants().range(..end).rev().map(|(_, grant)| grant);
        let itself =
            |it: &&'s Self| named.has(state, wanted, it) || wanted.matches_id(it.id.uuid());
        let person = |it: &&'s Self| subject_person(it.subject);
        list::found(control, wanted, found, |it| it.id.uuid(), (itself, person)).await
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> GrantItem {
        item(names.state(), names, self)
    }
}

/// What is called as is searched for, looked up once and not for every grant.
struct Named {
    subjects: BTreeSet<Subject>,
    models: BTreeSet<ModelRef>,
}

impl Named {
    fn found<K>(state: &Organisation, wanted: &Wanted<K>) -> Self {
        if wanted.search.is_empty() {
            return Self {
                subjects: BTreeSet::new(),
                models: BTreeSet::new(),
            };
        }
        let accounts = state.virtual_accounts().values();
        let accounts = accounts.filter(|it| wanted.matches(&[&it.name]));
        let teams = state
            .teams()
            .values()
            .filter(|it| wanted.matches(&[&it.name]));
        let everyone = wanted.matches(&["everyone"]).then_some(Subject::Everyone);
        let models = state.models().keys().map(|id| ModelRef::Model(*id));
        let virtual_models = state.virtual_models().keys();
        let of_accounts = state.provider_accounts().keys();
        let models = models
            .chain(virtual_models.map(|id| ModelRef::VirtualModel(*id)))
            .chain(of_accounts.map(|id| ModelRef::ProviderAccount(*id)));
        Self {
            subjects: accounts
                .map(|it| Subject::VirtualAccount(it.id))
                .chain(teams.map(|it| Subject::Team(it.id)))
                .chain(everyone)
                .collect(),
            models: models
                .filter(|model| wanted.matches(&[&names::model_ref(state, *model)]))
                .collect(),
        }
    }

    fn has<K>(&self, state: &Organisation, wanted: &Wanted<K>, grant: &Grant) -> bool {
        let subject = match grant.subject {
            Subject::Key(id) => state
                .keys()
                .get(&id)
                .is_some_and(|key| wanted.matches(&[key.label.as_str()])),
            Subject::Everyone
            | Subject::User(_)
            | Subject::VirtualAccount(_)
            | Subject::Team(_) => self.subjects.contains(&grant.subject),
        };
        subject || listed(&grant.models).any(|model| self.models.contains(&model))
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

//! `/api/v1/models`

use std::borrow::Cow;

use axum::extract::State;
use events_schema::{
    api::{Page, history::Thing, resources::ModelItem},
    events::Stream,
    id::ModelId,
    state::{Model, Organisation},
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

/// List models
///
/// In the order of their full names.
#[utoipa::path(get, path = "/models", tag = "providers", operation_id = "list_models", params(ListParams),
    responses((status = 200, description = "A page of models.", body = Page<ModelItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<ModelItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = kind::page_of::<Model>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
}

/// Read a model
#[utoipa::path(get, path = "/models/{id}", tag = "providers", operation_id = "get_model",
    params(("id" = ModelId, Path, description = "The model's id."), ItemParams),
    responses((status = 200, description = "The model.", body = ModelItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<ModelId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<ModelItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of(Model::WHAT)?,
    );
    let found = kind::one::<Model>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for Model {
    type Item = ModelItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "model";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.models().get(&ModelId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.models().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::Model(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::Model(item)
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
        let found = state.models().values();
        let found = found.map(|it| (full_name(state, it).into(), it.id.uuid(), it));
        let found = found.filter(|(name, id, it): &(Cow<'_, str>, _, _)| {
            wanted.matches(&[name, it.upstream_name.as_str()]) || wanted.matches_id(*id)
        });
        Ok(list::by_name(wanted, found))
    }

    fn item(&self, names: &Names<'_>, at: Timestamp) -> ModelItem {
        item(names.state(), self, at)
    }
}

fn account_name(state: &Organisation, model: &Model) -> String {
    state
        .provider_accounts()
        .get(&model.account)
        .map_or_else(|| model.account.to_string(), |it| it.name.to_string())
}

fn full_name(state: &Organisation, model: &Model) -> String {
    format!("{}/{}", account_name(state, model), model.name)
}

fn item(state: &Organisation, model: &Model, now: Timestamp) -> ModelItem {
    let Model {
        id,
        life,
        account,
        name,
        upstream_name,
        model_types,
        prices,
        repricings,
        disabled,
    } = model;
    ModelItem {
        id: *id,
        full_name: full_name(state, model),
        name: name.to_string(),
        account: *account,
        account_name: account_name(state, model),
        upstream_name: upstream_name.to_string(),
        model_types: model_types.clone(),
        price: model.price_at(now),
        prices: prices.clone(),
        repricings: repricings.clone(),
        disabled: *disabled,
        life: *life,
    }
}

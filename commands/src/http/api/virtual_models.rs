//! `/api/v1/virtual-models`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{TargetItem, VirtualModelItem},
    },
    events::Stream,
    id::VirtualModelId,
    state::{Organisation, VirtualModel},
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
        names::{self, Names},
    },
};

/// List virtual models
///
/// In the order of their names.
#[utoipa::path(get, path = "/virtual-models", tag = "providers", operation_id = "list_virtual_models",
    params(ListParams),
    responses((status = 200, description = "A page of virtual models.", body = Page<VirtualModelItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<VirtualModelItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found =
        kind::page_of::<VirtualModel>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
}

/// Read a virtual model
#[utoipa::path(get, path = "/virtual-models/{id}", tag = "providers", operation_id = "get_virtual_model",
    params(("id" = VirtualModelId, Path, description = "The virtual model's id."), ItemParams),
    responses((status = 200, description = "The virtual model.", body = VirtualModelItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<VirtualModelId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<VirtualModelItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of(VirtualModel::WHAT)?,
    );
    let found =
        kind::one::<VirtualModel>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for VirtualModel {
    type Item = VirtualModelItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "virtual model";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.virtual_models().get(&VirtualModelId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.virtual_models().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::VirtualModel(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::VirtualModel(item)
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
        let found = state.virtual_models().values();
        let found =
            found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
        let named = found.map(|it| ((&*it.name).into(), it.id.uuid(), it));
        Ok(list::by_name(wanted, named))
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> VirtualModelItem {
        item(names.state(), self)
    }
}

fn item(state: &Organisation, virtual_model: &VirtualModel) -> VirtualModelItem {
    let VirtualModel {
        id,
        life,
        name,
        routing,
        disabled,
    } = virtual_model;
    VirtualModelItem {
        id: *id,
        name: name.to_string(),
        routing: routing.clone(),
        targets: targets(state, virtual_model),
        disabled: *disabled,
        life: *life,
    }
}

/// The models behind it, in the order of its targets.
pub(super) fn targets(state: &Organisation, virtual_model: &VirtualModel) -> Vec<TargetItem> {
    let targets = virtual_model.routing.targets.iter();
    targets
        .map(|it| TargetItem {
            model: it.model,
            full_name: names::full_name(state, it.model).unwrap_or_else(|| it.model.to_string()),
        })
        .collect()
}

//! `/api/v1/operators`

use axum::extract::State;
use events_schema::{
    api::{Page, history::Thing, resources::OperatorItem},
    events::Stream,
    id::OperatorId,
    state::{Operator, Organisation},
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
    let found =
        kind::page_of::<Operator>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
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
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of(Operator::WHAT)?,
    );
    let found = kind::one::<Operator>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for Operator {
    type Item = OperatorItem;
    type Cursor = Uuid;
    const WHAT: &'static str = "operator";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.operators().get(&OperatorId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.operators().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::Operator(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::Operator(item)
    }

    fn version(&self) -> u64 {
        self.life.version
    }

    fn people(&self) -> Vec<Uuid> {
        vec![self.id.uuid()]
    }

    async fn select<'s>(
        control: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> Answer<(Vec<&'s Self>, Option<String>)> {
        let end = wanted
            .after
            .map_or(OperatorId::from_bytes([0xff; 16]), OperatorId::from_uuid);
        let found = state.operators().range(..end).rev().map(|(_, it)| it);
        let itself = |it: &&'s Self| wanted.matches_id(it.id.uuid());
        let person = |it: &&'s Self| Some(it.id.uuid());
        list::found(control, wanted, found, |it| it.id.uuid(), (itself, person)).await
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> OperatorItem {
        item(names, self)
    }
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

//! `/api/v1/users`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{UserItem, UserTeamItem},
    },
    events::{Owner, Stream},
    id::UserId,
    state::{Membership, Organisation, Team, User},
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

/// List users
///
/// The newest first.
#[utoipa::path(get, path = "/users", tag = "access", operation_id = "list_users", params(ListParams),
    responses((status = 200, description = "A page of users.", body = Page<UserItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<UserItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = kind::page_of::<User>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
}

/// Read a user
#[utoipa::path(get, path = "/users/{id}", tag = "access", operation_id = "get_user",
    params(("id" = UserId, Path, description = "The user's id."), ItemParams),
    responses((status = 200, description = "The user.", body = UserItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<UserId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<UserItem>> {
    let (live, id) = (list::live(&app, params.at_least).await?, id.of(User::WHAT)?);
    let found = kind::one::<User>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for User {
    type Item = UserItem;
    type Cursor = Uuid;
    const WHAT: &'static str = "user";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.users().get(&UserId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.users().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::User(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::User(item)
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
            .map_or(UserId::from_bytes([0xff; 16]), UserId::from_uuid);
        let found = state.users().range(..end).rev().map(|(_, user)| user);
        let itself = |it: &&'s Self| wanted.matches_id(it.id.uuid());
        let person = |it: &&'s Self| Some(it.id.uuid());
        list::found(control, wanted, found, |it| it.id.uuid(), (itself, person)).await
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> UserItem {
        item(names.state(), names, self)
    }
}

fn item(state: &Organisation, names: &Names<'_>, user: &User) -> UserItem {
    let User {
        id,
        life,
        email: _,
        disabled,
        memberships_at: _,
    } = user;
    let team = |(team, membership): (&Team, Membership)| UserTeamItem {
        team: team.id,
        name: team.name.to_string(),
        role: membership.role,
    };
    let person = names.person(id.uuid());
    UserItem {
        id: *id,
        name: person.map(|person| person.name.clone()),
        email: person.map(|person| person.email.clone()),
        disabled: *disabled,
        keys: state.keys_of(Owner::User(*id)).count() as u64,
        teams: state.teams_of(*id).map(team).collect(),
        life: *life,
    }
}

//! `/api/v1/users`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        resources::{UserItem, UserTeamItem},
    },
    events::Owner,
    id::UserId,
    state::{Membership, Organisation, Team, User},
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    names::Names,
    problem::ApiError,
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
    let control = app.control()?;
    let end = wanted
        .after
        .map_or(UserId::from_bytes([0xff; 16]), UserId::from_uuid);
    let found = live.state.users().range(..end).rev().map(|(_, user)| user);
    let itself = |it: &&User| wanted.matches_id(it.id.uuid());
    let found = list::found(control, &wanted, found, itself, |it| Some(it.id.uuid())).await?;
    let (users, next) = list::first(wanted.limit, found, |it| it.id.uuid());
    let names = Names::read(control, &live.state, users.iter().map(|it| it.id.uuid())).await?;
    let items = users
        .into_iter()
        .map(|user| item(&live.state, &names, user))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
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
    let (live, id) = (list::live(&app, params.at_least).await?, id.of("user")?);
    let found = live
        .state
        .users()
        .get(&id)
        .ok_or(ApiError::NotFound("user"))?;
    let names = Names::read(app.control()?, &live.state, [id.uuid()]).await?;
    Ok(Json(item(&live.state, &names, found)))
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

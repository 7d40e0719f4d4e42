//! `/api/v1/teams`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        resources::{TeamItem, TeamMemberItem},
    },
    events::Subject,
    id::{TeamId, UserId},
    state::{Membership, Organisation, Team},
};

use crate::http::{
    App,
    app::Answer,
    extract::{Json, Params, PathId},
    list::{self, ItemParams, ListParams},
    names::Names,
    problem::ApiError,
};

/// List teams
///
/// In the order of their names.
#[utoipa::path(get, path = "/teams", tag = "access", operation_id = "list_teams", params(ListParams),
    responses((status = 200, description = "A page of teams.", body = Page<TeamItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<TeamItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found = live.state.teams().values();
    let found = found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
    let (teams, next) = list::by_name(
        &wanted,
        found.map(|it| ((&*it.name).into(), it.id.uuid(), it)),
    );
    let items = teams
        .into_iter()
        .map(|team| item(&live.state, team))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

/// Read a team
#[utoipa::path(get, path = "/teams/{id}", tag = "access", operation_id = "get_team",
    params(("id" = TeamId, Path, description = "The team's id."), ItemParams),
    responses((status = 200, description = "The team.", body = TeamItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<TeamId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<TeamItem>> {
    let (live, id) = (list::live(&app, params.at_least).await?, id.of("team")?);
    let found = live
        .state
        .teams()
        .get(&id)
        .ok_or(ApiError::NotFound("team"))?;
    Ok(Json(item(&live.state, found)))
}

/// List the members of a team
///
/// Those who were added as users first come first.
#[utoipa::path(get, path = "/teams/{id}/members", tag = "access", operation_id = "list_team_members",
    params(("id" = TeamId, Path, description = "The team's id."), ListParams),
    responses((status = 200, description = "A page of members.", body = Page<TeamMemberItem>)))]
pub(super) async fn members(
    State(app): State<App>,
    id: PathId<TeamId>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<TeamMemberItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let (control, state, id) = (app.control()?, &live.state, id.of("team")?);
    if !state.teams().contains_key(&id) {
        return Err(ApiError::NotFound("team"));
    }
    let found = state.members_after(id, wanted.after.map(UserId::from_uuid));
    let itself = |(user, _): &(UserId, _)| wanted.matches_id(user.uuid());
    let person = |(user, _): &(UserId, _)| Some(user.uuid());
    let found = list::found(control, &wanted, found, itself, person).await?;
    let (members, next) = list::first(wanted.limit, found, |(user, _)| user.uuid());
    let names = Names::read(control, state, members.iter().map(|(user, _)| user.uuid())).await?;
    let items = members
        .into_iter()
        .map(|(user, membership)| member(state, &names, user, membership))
        .collect();
    Ok(Json(list::page(&live, (items, next))))
}

fn item(state: &Organisation, team: &Team) -> TeamItem {
    let Team {
        id,
        life,
        name,
        disabled,
        members,
        own_position: _,
    } = team;
    TeamItem {
        id: *id,
        name: name.to_string(),
        disabled: *disabled,
        members: *members,
        grants: state.grants_of(Subject::Team(*id)).count() as u64,
        life: *life,
    }
}

fn member(
    state: &Organisation,
    names: &Names<'_>,
    user: UserId,
    membership: Membership,
) -> TeamMemberItem {
    let Membership { role, since } = membership;
    let person = names.person(user.uuid());
    TeamMemberItem {
        user,
        name: person.map(|person| person.name.clone()),
        email: person.map(|person| person.email.clone()),
        role,
        since,
        disabled: state.users().get(&user).is_some_and(|it| it.disabled),
    }
}

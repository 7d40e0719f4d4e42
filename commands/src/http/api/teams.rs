//! `/api/v1/teams`

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{TeamItem, TeamMemberItem},
    },
    events::{Stream, Subject},
    id::{TeamId, UserId},
    state::{Membership, Organisation, Team},
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
        problem::ApiError,
    },
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
    let found = kind::page_of::<Team>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
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
    let (live, id) = (list::live(&app, params.at_least).await?, id.of(Team::WHAT)?);
    let found = kind::one::<Team>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for Team {
    type Item = TeamItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "team";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.teams().get(&TeamId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.teams().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::Team(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::Team(item)
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
        let found = state.teams().values();
        let found =
            found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
        let named = found.map(|it| ((&*it.name).into(), it.id.uuid(), it));
        Ok(list::by_name(wanted, named))
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> TeamItem {
        item(names.state(), self)
    }
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
    let id_of = |(user, _): &(UserId, _)| user.uuid();
    let (members, next) = list::found(control, &wanted, found, id_of, (itself, person)).await?;
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

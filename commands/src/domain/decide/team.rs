//! What commands for teams do.

use events_schema::{
    events::{Aggregate, Event, Stream, Subject, TeamEvent as E},
    id::{TeamId, UserId},
    names::Slug,
    state::{Organisation, Team},
};

use super::{Decision, is_fresh, no_policy_names, quoted, when};
use crate::domain::{
    command::TeamCommand as C,
    rejection::{Rejection, UsedBy},
};

/// So that a team can be deleted, with everybody who is in it, by one command.
const MOST_MEMBERS: u64 = 10_000;

/// So that all of a user's teams can be looked at on each request.
const MOST_TEAMS: usize = 100;

pub(super) fn decide(state: &Organisation, id: TeamId, command: &C) -> Decision {
    let event = |event| Event::Team(id, event);
    let known = || {
        state
            .teams()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::Team))
    };
    match command {
        C::Create { name } => {
            is_fresh(state, Stream::Team(id))?;
            name_is_free(state, id, name)?;
            Ok(vec![event(E::TeamCreated { name: name.clone() })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, name)?;
            Ok(when(it.name != *name, || {
                event(E::TeamRenamed { name: name.clone() })
            }))
        }
        C::Disable => Ok(when(!known()?.disabled, || event(E::TeamDisabled {}))),
        C::Enable => Ok(when(known()?.disabled, || event(E::TeamEnabled {}))),
        C::Delete => {
            is_unused(state, known()?)?;
            let members = state.members_of(id);
            let leave = members.map(|(user, _)| event(E::TeamMemberRemoved { user }));
            Ok(leave.chain([event(E::TeamDeleted {})]).collect())
        }
        C::AddMember { user, role } => {
            let it = known()?;
            let (user, role) = (*user, *role);
            match state.membership(id, user) {
                Some(membership) => Ok(when(membership.role != role, || {
                    event(E::TeamMemberRoleChanged { user, role })
                })),
                None => {
                    can_come_in(state, it, user)?;
                    Ok(vec![event(E::TeamMemberAdded { user, role })])
                }
            }
        }
        C::ChangeMemberRole { user, role } => {
            let it = known()?;
            let (user, role) = (*user, *role);
            let membership = state
                .membership(id, user)
                .ok_or_else(|| Rejection::NotAMember(it.name.clone()))?;
            Ok(when(membership.role != role, || {
                event(E::TeamMemberRoleChanged { user, role })
            }))
        }
        C::RemoveMember { user } => {
            known()?;
            let user = *user;
            Ok(when(state.membership(id, user).is_some(), || {
                event(E::TeamMemberRemoved { user })
            }))
        }
    }
}

/// A user who goes leaves all teams.
pub(super) fn leave_all(state: &Organisation, user: UserId) -> Vec<Event> {
    let teams = state.teams_of(user);
    teams
        .map(|(team, _)| Event::Team(team.id, E::TeamMemberRemoved { user }))
        .collect()
}

fn name_is_free(state: &Organisation, id: TeamId, name: &Slug) -> Result<(), Rejection> {
    match state.team_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::Team,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
}

fn can_come_in(state: &Organisation, team: &Team, user: UserId) -> Result<(), Rejection> {
    if !state.users().contains_key(&user) {
        return Err(Rejection::MissingReference {
            what: Aggregate::User,
            id: user.to_string(),
            field: "user",
        });
    }
    if team.members >= MOST_MEMBERS {
        return Err(Rejection::TeamFull(team.name.clone()));
    }
    if state.teams_of(user).count() >= MOST_TEAMS {
        return Err(Rejection::InTooManyTeams);
    }
    Ok(())
}

fn is_unused(state: &Organisation, it: &Team) -> Result<(), Rejection> {
    match state.grants_of(Subject::Team(it.id)).count() {
        0 => no_policy_names(state, Stream::Team(it.id), || quoted(&it.name)),
        grants => Err(Rejection::StillUsed {
            what: Aggregate::Team,
            name: quoted(&it.name),
            by: UsedBy::Grants(grants),
        }),
    }
}

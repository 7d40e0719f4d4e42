//! What the events of teams do to the state: teams, and who is in them.
//!
//! Memberships lie in a map of their own, by team and user, so that a change of one costs the same in a small team and in a
//! large one. A user knows when the own memberships last changed: that is the position of the entry which tells
//! gateways of them.

use super::{Membership, Organisation, Team, User, evolve::Now};
use crate::{
    events::{Stream, TeamEvent},
    id::{TeamId, UserId},
};

impl Organisation {
    pub(super) fn team(&mut self, now: Now, id: TeamId, event: &TeamEvent) {
        use TeamEvent as E;
        match event {
            E::TeamCreated { name } => self.put_team(Team {
                id,
                life: now.born(),
                name: name.clone(),
                disabled: false,
                members: 0,
                own_position: now.position,
            }),
            E::TeamRenamed { name } => {
                let Some(it) = self.teams.get(&id).cloned() else {
                    return;
                };
                self.put_team(Team {
                    life: now.lived(it.life),
                    name: name.clone(),
                    own_position: now.position,
                    ..it
                });
            }
            E::TeamDisabled {} => self.set_team_disabled(now, id, true),
            E::TeamEnabled {} => self.set_team_disabled(now, id, false),
            E::TeamDeleted {} => {
                let members: Vec<UserId> = self.members_of(id).map(|(user, _)| user).collect();
                for user in members {
                    self.drop_membership(id, user);
                }
                self.drop_team(id);
                self.gone.insert(Stream::Team(id), now.stream_version);
            }
            E::TeamMemberAdded { user, role } => {
                if !self.teams.contains_key(&id) {
                    return;
                }
                let membership = Membership {
                    role: *role,
                    since: now.at,
                };
                self.put_membership(id, *user, membership);
                self.team_lived(now, id);
                self.memberships_changed(now, *user);
            }
            E::TeamMemberRoleChanged { user, role } => {
                if let Some(membership) = self.memberships.get_mut(&(id, *user)) {
                    membership.role = *role;
                }
                self.team_lived(now, id);
            }
            E::TeamMemberRemoved { user } => {
                self.drop_membership(id, *user);
                self.team_lived(now, id);
                self.memberships_changed(now, *user);
            }
        }
    }

    fn set_team_disabled(&mut self, now: Now, id: TeamId, disabled: bool) {
        if let Some(it) = self.teams.get_mut(&id) {
            it.life = now.lived(it.life);
            it.own_position = now.position;
            it.disabled = disabled;
        }
    }

    fn team_lived(&mut self, now: Now, id: TeamId) {
        if let Some(it) = self.teams.get_mut(&id) {
            it.life = now.lived(it.life);
        }
    }

    fn memberships_changed(&mut self, now: Now, user: UserId) {
        if let Some(User { memberships_at, .. }) = self.users.get_mut(&user) {
            *memberships_at = Some(now.position);
        }
    }

    /// Puts a team in the place of the one of its id, whose members stay.
    pub(super) fn put_team(&mut self, it: Team) {
        let members = self.members_of(it.id).count() as u64;
        self.drop_team(it.id);
        self.index.teams.insert((it.name.clone(), it.id));
        self.teams.insert(it.id, Team { members, ..it });
    }

    fn drop_team(&mut self, id: TeamId) {
        if let Some(old) = self.teams.remove(&id) {
            self.index.teams.remove(&(old.name, id));
        }
    }

    pub(super) fn put_membership(&mut self, team: TeamId, user: UserId, membership: Membership) {
        let before = self.memberships.insert((team, user), membership);
        self.index.teams_by_user.insert((user, team));
        if let (None, Some(it)) = (before, self.teams.get_mut(&team)) {
            it.members += 1;
        }
    }

    fn drop_membership(&mut self, team: TeamId, user: UserId) {
        self.index.teams_by_user.remove(&(user, team));
        if let (Some(_), Some(it)) = (
            self.memberships.remove(&(team, user)),
            self.teams.get_mut(&team),
        ) {
            it.members -= 1;
        }
    }

    /// Takes a user out of all teams.
    pub(super) fn drop_memberships_of(&mut self, user: UserId) {
        let teams: Vec<TeamId> = self.teams_of(user).map(|(team, _)| team.id).collect();
        for team in teams {
            self.drop_membership(team, user);
        }
    }
}

//! Events of teams: users who may use the same models.

use serde::{Deserialize, Serialize};

use crate::{id::UserId, names::Slug};

/// What a user is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TeamRole {
    /// Uses what the team may use.
    Member,
    /// The same, and answers for the team.
    Manager,
}

/// What happens to a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TeamEvent {
    /// A team was made. It has no members yet.
    TeamCreated {
        /// Its name.
        name: Slug,
    },
    /// It was given another name.
    TeamRenamed {
        /// The new name.
        name: Slug,
    },
    /// What was granted to it opens nothing any more.
    TeamDisabled {},
    /// What was granted to it opens models again.
    TeamEnabled {},
    /// It is gone; its members left it before.
    TeamDeleted {},
    /// A user came into it.
    TeamMemberAdded {
        /// The user.
        user: UserId,
        /// What the user is in it.
        role: TeamRole,
    },
    /// A member is something else in it.
    TeamMemberRoleChanged {
        /// The user.
        user: UserId,
        /// What the user is in it now.
        role: TeamRole,
    },
    /// A user left it.
    TeamMemberRemoved {
        /// The user.
        user: UserId,
    },
}

//! Who is signed in, and what they may do.

use std::rc::Rc;

use events_schema::api::session::SessionInfo;
use events_schema::events::Role;
use yew::prelude::*;

use crate::route::Screen;

/// The session of the operator who looks.
#[derive(Clone, PartialEq)]
pub(crate) struct Session {
    /// As the control plane describes it.
    pub(crate) info: Rc<SessionInfo>,
    /// Ends it in this page: shows the sign-in.
    pub(crate) ended: Callback<()>,
    /// Shows another name of the operator's from now on.
    pub(crate) renamed: Callback<String>,
}

/// The session above.
#[hook]
pub(crate) fn use_session() -> Session {
    use_context().expect("the screens lie within a session")
}

// === impl Session ===

impl Session {
    /// Whether the operator may change anything at all; the control plane decides, this only hides buttons.
    pub(crate) fn may_change(&self) -> bool {
        may_change(self.info.role)
    }

    /// Whether the operator may change who uses the console.
    pub(crate) fn may_change_operators(&self) -> bool {
        match self.info.role {
            Role::Owner => true,
            Role::Operator | Role::Auditor | Role::Viewer => false,
        }
    }

    /// Whether the operator may change what holds for the whole organisation.
    pub(crate) fn may_change_settings(&self) -> bool {
        self.may_change_operators()
    }

    /// Whether the operator may see what a screen shows.
    pub(crate) fn may_see(&self, screen: &Screen) -> bool {
        may_see(self.info.role, screen)
    }

    /// Whether the operator may read the history, and so is told of events.
    pub(crate) fn may_read_history(&self) -> bool {
        match self.info.role {
            Role::Owner | Role::Operator | Role::Auditor => true,
            Role::Viewer => false,
        }
    }
}

fn may_see(role: Role, screen: &Screen) -> bool {
    match screen {
        Screen::History
        | Screen::HistoryOf { .. }
        | Screen::State
        | Screen::Configuration
        | Screen::Operators => role != Role::Viewer,
        Screen::Playground => may_change(role),
        Screen::Dashboard
        | Screen::Requests
        | Screen::Request { .. }
        | Screen::Refusals
        | Screen::ProviderAccounts
        | Screen::Models
        | Screen::VirtualModels
        | Screen::Users
        | Screen::Teams
        | Screen::VirtualAccounts
        | Screen::Keys
        | Screen::Access
        | Screen::Policies
        | Screen::Budgets
        | Screen::LimitUsage
        | Screen::Gateways
        | Screen::Reference
        | Screen::Settings
        | Screen::Account => true,
    }
}

const fn may_change(role: Role) -> bool {
    match role {
        Role::Owner | Role::Operator => true,
        Role::Auditor | Role::Viewer => false,
    }
}

/// The roles, the one that may do most first.
pub(crate) const ROLES: [Role; 4] = [Role::Owner, Role::Operator, Role::Auditor, Role::Viewer];

/// What people call a role.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Operator => "Operator",
        Role::Auditor => "Auditor",
        Role::Viewer => "Viewer",
    }
}

/// What a role may do.
pub(crate) const fn role_purpose(role: Role) -> &'static str {
    match role {
        Role::Owner => "Everything, and decides who may use the console.",
        Role::Operator => {
            "Changes the configuration and uses the playground; not who may use the console."
        }
        Role::Auditor => "Reads everything, the history included; changes nothing.",
        Role::Viewer => "Reads the configuration and the dashboard; changes nothing.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_only_read_are_offered_no_changes() {
        let changing = [Role::Owner, Role::Operator, Role::Auditor, Role::Viewer].map(may_change);
        assert_eq!(changing, [true, true, false, false]);
    }

    #[test]
    fn nobody_is_led_to_what_the_control_plane_would_refuse() {
        let seeing = |screen: Screen| ROLES.map(|role| may_see(role, &screen));
        assert_eq!(seeing(Screen::State), [true, true, true, false]);
        assert_eq!(seeing(Screen::history_of("key.00")), seeing(Screen::State));
        assert_eq!(seeing(Screen::Playground), [true, true, false, false]);
        assert_eq!(seeing(Screen::Requests), [true; 4]);
        assert_eq!(seeing(Screen::Refusals), [true; 4]);
    }
}

//! Who may do what: one table from rights to roles ([`allows`]), one from routes to rights ([`ROUTES`]) and one
//! from commands to rights ([`right_of_command`]). A route that is not in the table is refused to everyone.
//!
//! | right | owner | operator | auditor | viewer |
//! |---|---|---|---|---|
//! | read the configuration, the dashboard, how the deployment is | yes | yes | yes | yes |
//! | read who the operators are; history, past states, verify | yes | yes | yes | – |
//! | change the configuration; playground (it costs money) | yes | yes | – | – |
//! | change operators and settings; erase people | yes | – | – | – |
//! | one's own name, sessions, password and tokens | yes | yes | yes | yes |
//!
//! What hands out a new secret or ends sessions asks for a session, not a token: a stolen token cannot outlive its
//! own revocation by making another.

use events_schema::{api::commands::NewCommand, events::Role};
use http::Method;

/// What a route or a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// For anyone, signed in or not.
    Public,
    /// One's own things, with a session or a token.
    Own,
    /// One's own things, with a session only.
    OwnBySession,
    /// Read accounts, models, users, teams, keys and grants; know how the deployment is.
    ReadConfiguration,
    /// Read what requests there were and what they cost.
    ReadDashboard,
    /// Read who the operators are.
    ReadOperators,
    /// Read the history and past states, and verify them.
    ReadHistory,
    /// Send requests to models through the console.
    UsePlayground,
    /// Change anything but operators and settings.
    ChangeConfiguration,
    /// Change who may use the console, and how.
    ChangeOperators,
    /// Erase names and e-mail addresses, for ever.
    ErasePeople,
    /// Change what holds for the whole organisation: when sessions end, and when request records are deleted for ever.
    ChangeSettings,
}

/// Whether a role has a right. The one place that says so.
#[must_use]
pub const fn allows(role: Role, right: Right) -> bool {
    match (right, role) {
        (
            Right::Public
            | Right::Own
            | Right::OwnBySession
            | Right::ReadConfiguration
            | Right::ReadDashboard,
            _,
        ) => true,
        (
            Right::ReadOperators | Right::ReadHistory,
            Role::Owner | Role::Operator | Role::Auditor,
        ) => true,
        (Right::ReadOperators | Right::ReadHistory, Role::Viewer) => false,
        (Right::UsePlayground | Right::ChangeConfiguration, Role::Owner | Role::Operator) => true,
        (Right::UsePlayground | Right::ChangeConfiguration, Role::Auditor | Role::Viewer) => false,
        (Right::ChangeOperators | Right::ErasePeople | Right::ChangeSettings, Role::Owner) => true,
        (
            Right::ChangeOperators | Right::ErasePeople | Right::ChangeSettings,
            Role::Operator | Role::Auditor | Role::Viewer,
        ) => false,
    }
}

/// Every route under `/api/v1` and the right that it asks for. `POST /commands` asks for the command's own as well,
/// `POST /apply` for [`Right::ChangeOperators`] where operators change, and for [`Right::ChangeSettings`] where settings do.
pub const ROUTES: &[(Method, &str, Right)] = &[
    (Method::GET, "/api/v1/openapi.json", Right::Public),
    (Method::POST, "/api/v1/sessions", Right::Public),
    (Method::GET, "/api/v1/sessions", Right::Own),
    (Method::DELETE, "/api/v1/sessions", Right::OwnBySession),
    (Method::GET, "/api/v1/sessions/current", Right::Own),
    (
        Method::DELETE,
        "/api/v1/sessions/current",
        Right::OwnBySession,
    ),
    (Method::DELETE, "/api/v1/sessions/{id}", Right::OwnBySession),
    (Method::PUT, "/api/v1/me/name", Right::OwnBySession),
    (Method::PUT, "/api/v1/me/password", Right::OwnBySession),
    (Method::GET, "/api/v1/tokens", Right::Own),
    (Method::POST, "/api/v1/tokens", Right::OwnBySession),
    (Method::DELETE, "/api/v1/tokens/{id}", Right::Own),
    (Method::POST, "/api/v1/commands", Right::ChangeConfiguration),
    (Method::POST, "/api/v1/apply", Right::ChangeConfiguration),
    (Method::GET, "/api/v1/export", Right::ReadHistory),
    (
        Method::GET,
        "/api/v1/provider-accounts",
        Right::ReadConfiguration,
    ),
    (
        Method::GET,
        "/api/v1/provider-accounts/{id}",
        Right::ReadConfiguration,
    ),
    (Method::GET, "/api/v1/models", Right::ReadConfiguration),
    (Method::GET, "/api/v1/models/{id}", Right::ReadConfiguration),
    (
        Method::GET,
        "/api/v1/models/{id}/repricing",
        Right::ReadDashboard,
    ),
    (
        Method::GET,
        "/api/v1/virtual-models",
        Right::ReadConfiguration,
    ),
    (
        Method::GET,
        "/api/v1/virtual-models/{id}",
        Right::ReadConfiguration,
    ),
    (Method::GET, "/api/v1/users", Right::ReadConfiguration),
    (Method::GET, "/api/v1/users/{id}", Right::ReadConfiguration),
    (
        Method::GET,
        "/api/v1/virtual-accounts",
        Right::ReadConfiguration,
    ),
    (
        Method::GET,
        "/api/v1/virtual-accounts/{id}",
        Right::ReadConfiguration,
    ),
    (Method::GET, "/api/v1/teams", Right::ReadConfiguration),
    (Method::GET, "/api/v1/teams/{id}", Right::ReadConfiguration),
    (
        Method::GET,
        "/api/v1/teams/{id}/members",
        Right::ReadConfiguration,
    ),
    (Method::GET, "/api/v1/keys", Right::ReadConfiguration),
    (Method::GET, "/api/v1/keys/{id}", Right::ReadConfiguration),
    (Method::GET, "/api/v1/grants", Right::ReadConfiguration),
    (Method::GET, "/api/v1/grants/{id}", Right::ReadConfiguration),
    (
        Method::GET,
        "/api/v1/rate-limit-policies",
        Right::ReadConfiguration,
    ),
    (
        Method::GET,
        "/api/v1/rate-limit-policies/{id}",
        Right::ReadConfiguration,
    ),
    (Method::GET, "/api/v1/limit-usage", Right::ReadDashboard),
    (Method::GET, "/api/v1/budget-alerts", Right::ReadDashboard),
    (
        Method::GET,
        "/api/v1/budget-policies",
        Right::ReadConfiguration,
    ),
    (
        Method::GET,
        "/api/v1/budget-policies/{id}",
        Right::ReadConfiguration,
    ),
    (Method::GET, "/api/v1/settings", Right::ReadConfiguration),
    (Method::GET, "/api/v1/used-by", Right::ReadConfiguration),
    (Method::GET, "/api/v1/operators", Right::ReadOperators),
    (Method::GET, "/api/v1/operators/{id}", Right::ReadOperators),
    (Method::GET, "/api/v1/events", Right::ReadHistory),
    (Method::GET, "/api/v1/events/live", Right::ReadHistory),
    (Method::GET, "/api/v1/events/{position}", Right::ReadHistory),
    (Method::GET, "/api/v1/state", Right::ReadHistory),
    (Method::GET, "/api/v1/state/summary", Right::ReadHistory),
    (Method::GET, "/api/v1/state/{kind}", Right::ReadHistory),
    (Method::POST, "/api/v1/verify", Right::ReadHistory),
    (Method::GET, "/api/v1/status", Right::ReadConfiguration),
    (Method::GET, "/api/v1/gateways", Right::ReadConfiguration),
    (Method::GET, "/api/v1/served", Right::ReadConfiguration),
    (
        Method::GET,
        "/api/v1/analytics/summary",
        Right::ReadDashboard,
    ),
    (
        Method::GET,
        "/api/v1/analytics/series",
        Right::ReadDashboard,
    ),
    (
        Method::GET,
        "/api/v1/analytics/refusals",
        Right::ReadDashboard,
    ),
    (
        Method::GET,
        "/api/v1/analytics/requests",
        Right::ReadDashboard,
    ),
    (
        Method::GET,
        "/api/v1/analytics/requests/{id}",
        Right::ReadDashboard,
    ),
    (
        Method::POST,
        "/api/v1/playground/chat/completions",
        Right::UsePlayground,
    ),
];

/// The right that a route asks for; `None`: it is not in the table, and nobody may use it.
#[must_use]
pub fn right_of_route(method: &Method, path: &str) -> Option<Right> {
    // axum answers HEAD with the handler of GET.
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    ROUTES
        .iter()
        .find(|(of, at, _)| of == method && *at == path)
        .map(|(_, _, right)| *right)
}

/// The right that a command asks for.
#[must_use]
pub const fn right_of_command(command: &NewCommand) -> Right {
    use NewCommand as C;
    match command {
        C::AddOperator { .. }
        | C::ChangeOperatorRole { .. }
        | C::RenameOperator { .. }
        | C::ChangeOperatorEmail { .. }
        | C::SetOperatorPassword { .. }
        | C::DisableOperator { .. }
        | C::EnableOperator { .. }
        | C::RemoveOperator { .. } => Right::ChangeOperators,
        C::RenameOrganisation { .. }
        | C::ChangeRetention { .. }
        | C::ChangeSessionBounds { .. } => Right::ChangeSettings,
        C::EraseUser { .. } | C::EraseOperator { .. } => Right::ErasePeople,
        C::RegisterProviderAccount { .. }
        | C::RenameProviderAccount { .. }
        | C::MoveProviderAccount { .. }
        | C::ReplaceProviderCredential { .. }
        | C::AllowProviderPrivateAddresses { .. }
        | C::ForbidProviderPrivateAddresses { .. }
        | C::DisableProviderAccount { .. }
        | C::EnableProviderAccount { .. }
        | C::DeleteProviderAccount { .. }
        | C::AddModel { .. }
        | C::RenameModel { .. }
        | C::ChangeModelUpstreamName { .. }
        | C::SetModelPrice { .. }
        | C::RepriceUsage { .. }
        | C::DisableModel { .. }
        | C::EnableModel { .. }
        | C::DeleteModel { .. }
        | C::CreateVirtualModel { .. }
        | C::RenameVirtualModel { .. }
        | C::ChangeVirtualModelRouting { .. }
        | C::DisableVirtualModel { .. }
        | C::EnableVirtualModel { .. }
        | C::DeleteVirtualModel { .. }
        | C::AddUser { .. }
        | C::ChangeUserEmail { .. }
        | C::RenameUser { .. }
        | C::DisableUser { .. }
        | C::EnableUser { .. }
        | C::DeleteUser { .. }
        | C::CreateVirtualAccount { .. }
        | C::RenameVirtualAccount { .. }
        | C::DisableVirtualAccount { .. }
        | C::EnableVirtualAccount { .. }
        | C::DeleteVirtualAccount { .. }
        | C::ShredProviderCredential { .. }
        | C::CreateRateLimitPolicy { .. }
        | C::RenameRateLimitPolicy { .. }
        | C::MoveRateLimitPolicy { .. }
        | C::ChangeRateLimitRule { .. }
        | C::DisableRateLimitPolicy { .. }
        | C::EnableRateLimitPolicy { .. }
        | C::DeleteRateLimitPolicy { .. }
        | C::CreateBudgetPolicy { .. }
        | C::RenameBudgetPolicy { .. }
        | C::MoveBudgetPolicy { .. }
        | C::ChangeBudgetRule { .. }
        | C::DisableBudgetPolicy { .. }
        | C::EnableBudgetPolicy { .. }
        | C::DeleteBudgetPolicy { .. }
        | C::CreateTeam { .. }
        | C::RenameTeam { .. }
        | C::DisableTeam { .. }
        | C::EnableTeam { .. }
        | C::DeleteTeam { .. }
        | C::AddTeamMember { .. }
        | C::ChangeTeamMemberRole { .. }
        | C::RemoveTeamMember { .. }
        | C::IssueKey { .. }
        | C::RelabelKey { .. }
        | C::ChangeKeyLimits { .. }
        | C::ChangeKeyExpiry { .. }
        | C::RotateKey { .. }
        | C::RevokeFormerSecret { .. }
        | C::DisableKey { .. }
        | C::EnableKey { .. }
        | C::RevokeKey { .. }
        | C::GrantAccess { .. }
        | C::ChangeGrantedModels { .. }
        | C::RevokeAccess { .. } => Right::ChangeConfiguration,
    }
}

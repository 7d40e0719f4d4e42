//! Signing in, sessions, passwords and automation tokens.

use serde::{Deserialize, Serialize};

use crate::{
    events::Role,
    id::{OperatorId, TokenId},
    time::Timestamp,
};

/// Body of `POST /sessions`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The operator's e-mail address.
    pub email: String,
    /// The password.
    pub password: String,
}

/// Who is signed in: answer of `POST /sessions` and `GET /sessions/current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name.
    pub name: String,
    /// The operator's e-mail address.
    pub email: String,
    /// What the operator may do.
    pub role: Role,
    /// To be sent as `x-csrf-token` with every request that changes something; empty with a bearer token.
    pub csrf_token: String,
    /// When the session ends; `None` with a token that does not expire.
    pub expires_at: Option<Timestamp>,
}

/// A session of the operator who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionItem {
    /// Its id (not the secret in the cookie).
    pub id: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The browser, as it names itself.
    pub user_agent: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// Body of `PUT /me/name`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeName {
    /// What the operator is called from now on.
    pub name: String,
}

/// Body of `PUT /me/password`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password until now.
    pub current: String,
    /// The new one: at least 12 characters.
    pub new: String,
}

/// A token of the operator who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenItem {
    /// Its id (not the token itself).
    pub id: TokenId,
    /// What the operator calls it.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ceases to work.
    pub expires_at: Option<Timestamp>,
}

/// Body of `POST /tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What to call it.
    pub label: String,
    /// When it ceases to work.
    pub expires_at: Option<Timestamp>,
}

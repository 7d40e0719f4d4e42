//! `POST /apply` and `GET /export`: the configuration as one YAML document.

use serde::{Deserialize, Serialize};

use super::commands::EventSummary;
use crate::id::CommandId;

/// Body of `POST /apply`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// Chosen by the sender: the same id with the same body gives the same answer again, and changes nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// Why, for the history; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The document, in YAML, or several, separated by `---`.
    pub document: String,
    /// Whether to say only what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether what stands in none of the document's sections is deleted; else it is left alone. Operators are never
    /// deleted in this way, and of a section that the document does not have, nothing is. A document of another format that
    /// lists all policies of a kind (`gateway-rate-limiting-config`, `gateway-budget-config`) is like a section.
    #[serde(default)]
    pub prune: bool,
    /// The position of the difference that was looked at: when the configuration has changed meanwhile, nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// What the document changes, or would.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApplyAnswer {
    /// The position of the last event; of a dry run, of the state that the difference was made for.
    pub position: u64,
    /// The difference, in the order in which it is made.
    pub changes: Vec<Change>,
    /// The events; none when the configuration already was as the document wants it, and in a dry run.
    pub events: Vec<EventSummary>,
    /// Secrets that were made, shown once.
    pub secrets: Vec<NewSecret>,
    /// What is allowed, and hardly meant, in the configuration as it then is: policies that can match no request.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The format of an exported document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// Sluice's own: everything.
    #[default]
    Sluice,
    /// The rate-limit policies, as other gateways have them.
    GatewayRateLimitingConfig,
    /// The budget policies, as other gateways have them.
    GatewayBudgetConfig,
}

/// What becomes of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// What becomes of it.
    pub action: Action,
    /// What kind of thing (`provider account`, `model`, …).
    pub what: String,
    /// What it is called.
    pub name: String,
    /// Its fields that change; of something that is made, all that are set.
    pub fields: Vec<FieldChange>,
}

/// What becomes of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// It is deleted, or revoked.
    Delete,
}

/// One field, before and after, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldChange {
    /// The field, as the document has it.
    pub field: String,
    /// What it was; `None`: it was not there.
    pub before: Option<String>,
    /// What it will be; `None`: it will not be there.
    pub after: Option<String>,
}

/// A secret that was made: a key, or an operator's first password.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewSecret {
    /// For what kind of thing.
    pub what: String,
    /// What it is called.
    pub name: String,
    /// The secret.
    pub secret: String,
}

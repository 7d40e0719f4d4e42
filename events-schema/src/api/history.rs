//! The history: events as people read them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    events::Aggregate,
    id::{CommandId, EventId},
    time::Timestamp,
};

/// An event in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryEvent {
    /// Its position.
    pub position: u64,
    /// Its id.
    pub event_id: EventId,
    /// To what kind of thing.
    pub aggregate: Aggregate,
    /// To what: `<aggregate>.<id>`, or `log`.
    pub stream: String,
    /// The thing's name as far as it is known now.
    pub subject_name: Option<String>,
    /// What happened.
    pub kind: String,
    /// When.
    pub recorded_at: Timestamp,
    /// Who, as the log says it: `operator:<id>`, `operator:<id>/token:<id>`, `system:<part>`.
    pub actor: String,
    /// Who, by name as far as it is known now.
    pub actor_name: Option<String>,
    /// The command that caused it.
    pub command_id: CommandId,
    /// Why, if a reason was given.
    pub why: Option<String>,
    /// What the event says.
    pub payload: Value,
    /// Its hash, as hexadecimal digits.
    pub hash: String,
}

/// One event with the thing as it was before and after: answer of `GET /events/{position}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryEventDetail {
    /// The event.
    pub event: HistoryEvent,
    /// The thing before it; `null`: there was none.
    pub before: Option<Value>,
    /// The thing after it; `null`: it is gone.
    pub after: Option<Value>,
}

/// The whole state as of a position: answer of `GET /state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StateAt {
    /// The position.
    pub position: u64,
    /// When its event was recorded; `None` at position 0.
    pub recorded_at: Option<Timestamp>,
    /// The digest of the state, as hexadecimal digits.
    pub state_digest: String,
    /// The state.
    pub state: Value,
}

/// What `POST /verify` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyReport {
    /// Whether everything agrees.
    pub ok: bool,
    /// The position of the log's head.
    pub position: u64,
    /// The hash of the log's head, as hexadecimal digits.
    pub hash: String,
    /// How many rows of the log were checked.
    pub rows: u64,
    /// Up to which position the rows were compared with `EVENTS`.
    pub compared_with_events: u64,
    /// With how many gateways' reports and other heads seen before the log was compared.
    pub compared_with_heads: u64,
    /// What does not agree, the first thing first.
    pub findings: Vec<VerifyFinding>,
}

/// One thing that does not agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyFinding {
    /// Where.
    pub position: u64,
    /// What, for people.
    pub detail: String,
}

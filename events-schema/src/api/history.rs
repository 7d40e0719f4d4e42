//! The history: events as people read them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    api::resources::{
        BudgetPolicyItem, GrantItem, KeyItem, ModelItem, OperatorItem, ProviderAccountItem,
        RateLimitPolicyItem, SettingsItem, TeamItem, UserItem, VirtualAccountItem,
        VirtualModelItem,
    },
    envelope::Epoch,
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

/// What there was as of a position, in numbers: answer of `GET /state/summary`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StateSummary {
    /// The position.
    pub position: u64,
    /// When its event was recorded; `None` at position 0.
    pub recorded_at: Option<Timestamp>,
    /// The epoch as of then; `None` before the log began.
    pub epoch: Option<Epoch>,
    /// The digest of the state, as hexadecimal digits.
    pub state_digest: String,
    /// The event at the position; `None` at position 0.
    pub event: Option<HistoryEvent>,
    /// The position of the log's end: what is called now.
    pub now: u64,
    /// How much there was of each kind of thing.
    pub kinds: Vec<KindAt>,
}

/// How much there was of a kind of thing, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindAt {
    /// The kind.
    pub aggregate: Aggregate,
    /// How many there were.
    pub things: u64,
    /// Of these, how many have changed since and are still there.
    pub changed: u64,
    /// Of these, how many are gone since.
    pub gone: u64,
    /// How many have come since and are there now.
    pub came: u64,
}

/// A thing as of a position: item of `GET /state/{kind}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ThingAt {
    /// The thing: `<aggregate>.<id>`.
    pub stream: String,
    /// What became of it since.
    pub since: Since,
    /// The thing as it was then.
    pub then: Thing,
    /// The thing as it is now; `None`: it is gone.
    pub now: Option<Thing>,
}

/// What became of a thing since a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// It has no event since.
    Same,
    /// It has events since, and is still there.
    Changed,
    /// It is gone.
    Gone,
}

/// A thing of any kind, as its own list shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// A provider account.
    ProviderAccount(ProviderAccountItem),
    /// A model.
    Model(ModelItem),
    /// A virtual model.
    VirtualModel(VirtualModelItem),
    /// A user.
    User(UserItem),
    /// A virtual account.
    VirtualAccount(VirtualAccountItem),
    /// An API key.
    Key(KeyItem),
    /// An access grant.
    Grant(GrantItem),
    /// An operator.
    Operator(OperatorItem),
    /// A team.
    Team(TeamItem),
    /// A rate-limit policy.
    RateLimitPolicy(RateLimitPolicyItem),
    /// A budget policy.
    BudgetPolicy(BudgetPolicyItem),
    /// The settings.
    Settings(SettingsItem),
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

//! The events: every fact about the configuration, in the past tense, named as the business names it.
//!
//! What is stored is stored for ever: no `flatten`, no `default`, no hash maps, no free values. A new
//! field is an `Option`; a new meaning is a new schema version with an upcaster (see [`codec`]); a golden
//! file for each version ever written lies in `tests/golden`.
//!
//! Who, when, why and by which command is in the envelope (see [`crate::envelope`]), the same for all.

pub mod access;
pub mod budget_alert;
pub mod budget_policy;
pub mod codec;
pub mod log;
pub mod model;
pub mod operator;
pub mod policy;
pub mod provider_account;
pub mod rate_limit_policy;
mod routing;
pub mod settings;
pub mod team;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    access::{
        GrantEvent, GrantedModels, KeyEvent, KeyLimits, ModelRef, Owner, Subject, UserEvent,
        VirtualAccountEvent,
    },
    budget_alert::BudgetAlertEvent,
    budget_policy::{
        BudgetAmount, BudgetLimit, BudgetOverride, BudgetPolicyEvent, BudgetRule, BudgetWindow,
        WhenCutOff,
    },
    codec::{DecodeError, Encoded},
    log::LogEvent,
    model::{CostDifference, ModelEvent, ModelType, VirtualModelEvent},
    operator::{OperatorEvent, Role},
    policy::{
        Choice, LimitMode, LimitSegment, LimitedSubject, Named, Override, SegmentValue, When,
    },
    provider_account::{Provider, ProviderAccountEvent},
    rate_limit_policy::{
        LimitOverride, LimitUnit, LimitWhenCutOff, LimitWindow, RateLimit, RateLimitPolicyEvent,
        RateLimitRule,
    },
    routing::{
        DEFAULT_FALLBACK_STATUS_CODES, DEFAULT_RETRY_DELAY_MS, DEFAULT_RETRY_STATUS_CODES,
        HeadersOverride, MOST_RETRIES, MOST_TARGETS, Retry, Routing, RoutingStrategy,
        RoutingTarget, SessionIdentifier, SessionSource, SlaCutoff, StickySessions,
    },
    settings::SettingsEvent,
    team::{TeamEvent, TeamRole},
};
use crate::id::{
    BudgetPolicyId, GrantId, InvalidId, KeyId, ModelId, OperatorId, ProviderAccountId,
    RateLimitPolicyId, TeamId, UserId, VirtualAccountId, VirtualModelId,
};

/// An event: what happened, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To the log.
    Log(LogEvent),
    /// To a provider account.
    ProviderAccount(ProviderAccountId, ProviderAccountEvent),
    /// To a model.
    Model(ModelId, ModelEvent),
    /// To a virtual model.
    VirtualModel(VirtualModelId, VirtualModelEvent),
    /// To a user.
    User(UserId, UserEvent),
    /// To a virtual account.
    VirtualAccount(VirtualAccountId, VirtualAccountEvent),
    /// To an API key.
    Key(KeyId, KeyEvent),
    /// To an access grant.
    Grant(GrantId, GrantEvent),
    /// To an operator.
    Operator(OperatorId, OperatorEvent),
    /// To a team.
    Team(TeamId, TeamEvent),
    /// To a rate-limit policy.
    RateLimitPolicy(RateLimitPolicyId, RateLimitPolicyEvent),
    /// To a budget policy.
    BudgetPolicy(BudgetPolicyId, BudgetPolicyEvent),
    /// Of the use of a budget policy.
    BudgetAlert(BudgetPolicyId, BudgetAlertEvent),
    /// To the organisation's settings.
    Settings(SettingsEvent),
}

/// The kinds of things that have a life of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The log itself.
    Log,
    /// Provider accounts.
    ProviderAccount,
    /// Models.
    Model,
    /// Virtual models.
    VirtualModel,
    /// Users.
    User,
    /// Virtual accounts.
    VirtualAccount,
    /// API keys.
    Key,
    /// Access grants.
    Grant,
    /// Operators.
    Operator,
    /// Teams.
    Team,
    /// Rate-limit policies.
    RateLimitPolicy,
    /// Budget policies.
    BudgetPolicy,
    /// Alerts of budget policies: which thresholds were reached.
    BudgetAlert,
    /// The organisation's settings, of which there is one.
    Settings,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Log,
        Self::ProviderAccount,
        Self::Model,
        Self::VirtualModel,
        Self::User,
        Self::VirtualAccount,
        Self::Key,
        Self::Grant,
        Self::Operator,
        Self::Team,
        Self::RateLimitPolicy,
        Self::BudgetPolicy,
        Self::BudgetAlert,
        Self::Settings,
    ];

    /// Its name in streams, subjects and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::ProviderAccount => "provider_account",
            Self::Model => "model",
            Self::VirtualModel => "virtual_model",
            Self::User => "user",
            Self::VirtualAccount => "virtual_account",
            Self::Key => "key",
            Self::Grant => "grant",
            Self::Operator => "operator",
            Self::Team => "team",
            Self::RateLimitPolicy => "rate_limit_policy",
            Self::BudgetPolicy => "budget_policy",
            Self::BudgetAlert => "budget_alert",
            Self::Settings => "settings",
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Aggregate {
    type Err = InvalidStream;

    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        Self::ALL
            .into_iter()
            .find(|aggregate| aggregate.as_str() == text)
            .ok_or(InvalidStream)
    }
}

/// One thing's own line of events: written `log`, `settings`, or `<aggregate>.<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The log's.
    Log,
    /// A provider account's.
    ProviderAccount(ProviderAccountId),
    /// A model's.
    Model(ModelId),
    /// A virtual model's.
    VirtualModel(VirtualModelId),
    /// A user's.
    User(UserId),
    /// A virtual account's.
    VirtualAccount(VirtualAccountId),
    /// A key's.
    Key(KeyId),
    /// A grant's.
    Grant(GrantId),
    /// An operator's.
    Operator(OperatorId),
    /// A team's.
    Team(TeamId),
    /// A rate-limit policy's.
    RateLimitPolicy(RateLimitPolicyId),
    /// A budget policy's.
    BudgetPolicy(BudgetPolicyId),
    /// That of a budget policy's alerts.
    BudgetAlert(BudgetPolicyId),
    /// The settings'.
    Settings,
}

impl Stream {
    /// What kind of thing it is.
    #[must_use]
    pub const fn aggregate(self) -> Aggregate {
        match self {
            Self::Log => Aggregate::Log,
            Self::ProviderAccount(_) => Aggregate::ProviderAccount,
            Self::Model(_) => Aggregate::Model,
            Self::VirtualModel(_) => Aggregate::VirtualModel,
            Self::User(_) => Aggregate::User,
            Self::VirtualAccount(_) => Aggregate::VirtualAccount,
            Self::Key(_) => Aggregate::Key,
            Self::Grant(_) => Aggregate::Grant,
            Self::Operator(_) => Aggregate::Operator,
            Self::Team(_) => Aggregate::Team,
            Self::RateLimitPolicy(_) => Aggregate::RateLimitPolicy,
            Self::BudgetPolicy(_) => Aggregate::BudgetPolicy,
            Self::BudgetAlert(_) => Aggregate::BudgetAlert,
            Self::Settings => Aggregate::Settings,
        }
    }

    /// The thing's id as text; `None` for what there is one of.
    #[must_use]
    pub fn id(self) -> Option<String> {
        match self {
            Self::Log | Self::Settings => None,
            Self::ProviderAccount(id) => Some(id.to_string()),
            Self::Model(id) => Some(id.to_string()),
            Self::VirtualModel(id) => Some(id.to_string()),
            Self::User(id) => Some(id.to_string()),
            Self::VirtualAccount(id) => Some(id.to_string()),
            Self::Key(id) => Some(id.to_string()),
            Self::Grant(id) => Some(id.to_string()),
            Self::Operator(id) => Some(id.to_string()),
            Self::Team(id) => Some(id.to_string()),
            Self::RateLimitPolicy(id) => Some(id.to_string()),
            Self::BudgetPolicy(id) | Self::BudgetAlert(id) => Some(id.to_string()),
        }
    }
}

impl Event {
    /// Whose event it is.
    #[must_use]
    pub const fn stream(&self) -> Stream {
        match self {
            Self::Log(_) => Stream::Log,
            Self::ProviderAccount(id, _) => Stream::ProviderAccount(*id),
            Self::Model(id, _) => Stream::Model(*id),
            Self::VirtualModel(id, _) => Stream::VirtualModel(*id),
            Self::User(id, _) => Stream::User(*id),
            Self::VirtualAccount(id, _) => Stream::VirtualAccount(*id),
            Self::Key(id, _) => Stream::Key(*id),
            Self::Grant(id, _) => Stream::Grant(*id),
            Self::Operator(id, _) => Stream::Operator(*id),
            Self::Team(id, _) => Stream::Team(*id),
            Self::RateLimitPolicy(id, _) => Stream::RateLimitPolicy(*id),
            Self::BudgetPolicy(id, _) => Stream::BudgetPolicy(*id),
            Self::BudgetAlert(id, _) => Stream::BudgetAlert(*id),
            Self::Settings(_) => Stream::Settings,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            None => f.write_str(self.aggregate().as_str()),
            Some(id) => write!(f, "{}.{id}", self.aggregate()),
        }
    }
}

/// Text that names no stream, or no aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stream is 'log', 'settings' or '<aggregate>.<id>'")]
pub struct InvalidStream;

impl From<InvalidId> for InvalidStream {
    fn from(_: InvalidId) -> Self {
        Self
    }
}

impl FromStr for Stream {
    type Err = InvalidStream;

    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        let Some((aggregate, id)) = text.split_once('.') else {
            return match text {
                "log" => Ok(Self::Log),
                "settings" => Ok(Self::Settings),
                _ => Err(InvalidStream),
            };
        };
        Ok(match aggregate.parse()? {
            Aggregate::Log | Aggregate::Settings => return Err(InvalidStream),
            Aggregate::ProviderAccount => Self::ProviderAccount(id.parse()?),
            Aggregate::Model => Self::Model(id.parse()?),
            Aggregate::VirtualModel => Self::VirtualModel(id.parse()?),
            Aggregate::User => Self::User(id.parse()?),
            Aggregate::VirtualAccount => Self::VirtualAccount(id.parse()?),
            Aggregate::Key => Self::Key(id.parse()?),
            Aggregate::Grant => Self::Grant(id.parse()?),
            Aggregate::Operator => Self::Operator(id.parse()?),
            Aggregate::Team => Self::Team(id.parse()?),
            Aggregate::RateLimitPolicy => Self::RateLimitPolicy(id.parse()?),
            Aggregate::BudgetPolicy => Self::BudgetPolicy(id.parse()?),
            Aggregate::BudgetAlert => Self::BudgetAlert(id.parse()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aggregate_is_written_and_read_back() {
        for aggregate in Aggregate::ALL {
            assert_eq!(aggregate.as_str().parse(), Ok(aggregate));
            assert_eq!(
                serde_json::to_string(&aggregate).expect("JSON"),
                format!("\"{aggregate}\"")
            );
        }
    }

    #[test]
    fn a_stream_is_written_and_read_back() {
        for stream in [
            Stream::Log,
            Stream::Settings,
            Stream::Key(KeyId::from_bytes([7; 16])),
        ] {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for text in [
            "",
            "key",
            "log.1",
            "settings.1",
            "key.",
            "bob.00000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<Stream>(), Err(InvalidStream), "{text}");
        }
    }
}

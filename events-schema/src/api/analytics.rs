//! The dashboard's questions to the ledger. Latencies are in microseconds, money in nano-dollars.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    api::resources::TargetItem,
    envelope::Epoch,
    events::{CostDifference, Routing},
    money::NanoUsd,
    time::Timestamp,
    usage::{Attempt, Endpoint, LimitSeen, Outcome, RoutingGrounds, Tokens},
};

/// Sums over a time range or one of its steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// Requests that did not end well, for whatever reason.
    pub errors: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Cost.
    pub cost: NanoUsd,
    /// Median time to the last byte.
    pub p50_us: u64,
    /// 95th percentile.
    pub p95_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
}

/// Answer of `GET /analytics/summary`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// The sums over the range.
    pub total: Figures,
    /// The sums over the range of the same length before it.
    pub before: Figures,
    /// Since when the ledger has records.
    pub records_since: Option<Timestamp>,
}

/// By what to group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Not at all.
    #[default]
    None,
    /// By the model that answered.
    Model,
    /// By the key's owner.
    Owner,
}

/// Answer of `GET /analytics/series`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Series {
    /// The length of a step, in seconds.
    pub step_seconds: u32,
    /// The beginnings of the steps, without gaps.
    pub times: Vec<Timestamp>,
    /// The groups, the one with the most requests first; at most 12, the rest as one group `other`.
    pub groups: Vec<SeriesGroup>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeriesGroup {
    /// What it is grouped by: a full model name, an owner's id (`user:<id>`, `virtual_account:<id>`), or empty.
    pub key: String,
    /// What to call it.
    pub name: String,
    /// The sums over the whole range.
    pub total: Figures,
    /// The sums of each step, in the order of `times`.
    pub steps: Vec<Figures>,
}

/// A request in the ledger: item of `GET /analytics/requests`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequestItem {
    /// The request's id.
    pub request: Uuid,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What was asked for.
    pub endpoint: Endpoint,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// The key's id.
    pub key: Option<String>,
    /// The owner: `user:<id>` or `virtual_account:<id>`.
    pub owner: Option<String>,
    /// The owner's name as far as it is known now.
    pub owner_name: Option<String>,
    /// The model as it was asked for.
    pub requested_model: String,
    /// The model that answered.
    pub target: Option<String>,
    /// The tries.
    pub attempts: Vec<Attempt>,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status.
    pub status: u16,
    /// The error's code.
    pub error_code: Option<String>,
    /// Tokens.
    pub tokens: Tokens,
    /// What it costs, by the price of its time, or by a correction of that.
    pub cost: Option<NanoUsd>,
    /// The correction of its price, if there is one.
    pub correction: Option<CostCorrection>,
    /// Time to the last byte.
    pub duration_us: u64,
    /// Time to the first byte of the body.
    pub first_byte_us: Option<u64>,
    /// The position of the configuration that decided on it.
    pub position: u64,
    /// The gateway.
    pub gateway: Uuid,
    /// What the caller said about it.
    pub metadata: BTreeMap<String, String>,
}

/// That a request costs something else than was written down at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CostCorrection {
    /// The position of the event that corrected the price.
    pub position: u64,
    /// What was written down at first; `None`: there was no price.
    pub first_cost: Option<NanoUsd>,
}

/// What a correction of a model's price would change: answer of `GET /models/{id}/repricing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepricingPreview {
    /// From when on requests change: not earlier than the range, and not earlier than since when the ledger has all of them. What
    /// arrived earlier is gone, or going, and its sums stay as they are.
    pub corrects_from: Timestamp,
    /// The difference in all, as `reprice_usage` takes it.
    pub total: CostDifference,
    /// Of the requests, those that had no price until now.
    pub without_price: u64,
    /// Of the requests, those that used no tokens: they cost nothing.
    pub without_tokens: u64,
    /// By day (UTC), the earliest first; days without requests are left out.
    pub days: Vec<RepricedDay>,
    /// By owner, whom it concerns most first; at most 20.
    pub owners: Vec<RepricedOwner>,
    /// Whether there are more owners.
    pub more_owners: bool,
}

/// What a correction of a price would change in one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepricedDay {
    /// When the day begins, UTC.
    pub day: Timestamp,
    /// The difference.
    pub difference: CostDifference,
}

/// What a correction of a price would change for one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepricedOwner {
    /// The owner: `user:<id>` or `virtual_account:<id>`; `None`: the key was not known.
    pub owner: Option<String>,
    /// The owner's name as far as it is known now.
    pub owner_name: Option<String>,
    /// The difference.
    pub difference: CostDifference,
}

/// A request with everything that its record holds: answer of `GET /analytics/requests/{id}`.
///
/// Things are called as they were called at the position that decided on it, people as they are called now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequestDetail {
    /// What the list shows of it.
    pub request: RequestItem,
    /// The key's label.
    pub key_label: Option<String>,
    /// What the model's name stood for: a model, a virtual model, or a provider account.
    pub resolved: Option<NamedThing>,
    /// The model that answered.
    pub answered_by: Option<NamedThing>,
    /// What the choice among targets depended on, beside the configuration, the metadata and the seed; `None`: nothing.
    pub routing: Option<RoutingGrounds>,
    /// The rules that fired, in their order.
    pub rules: Vec<FiredRule>,
    /// The budgets for which it counted.
    pub budgets: Vec<NamedThing>,
    /// How the limits and budgets stood that were asked, and what each of them said.
    pub limits: Vec<LimitSeen>,
    /// The targets of the virtual model that was asked for, as they were then.
    pub targets: Vec<TargetItem>,
    /// How that virtual model chose among them.
    pub chosen_by: Option<Routing>,
    /// The seed of the choice among the targets, in decimal digits: with the position it gives the same choice again.
    pub seed: String,
    /// The epoch of the configuration that decided on it; `None`: the gateway had none yet.
    pub epoch: Option<Epoch>,
    /// Where the gateway runs.
    pub region: String,
    /// The life of the gateway's process.
    pub incarnation: Uuid,
    /// The number of the record in that life, from 1.
    pub number: u64,
}

/// A thing and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedThing {
    /// The thing: `<aggregate>.<id>`.
    pub stream: String,
    /// Its name; `None`: the history that knows it cannot be read.
    pub name: Option<String>,
}

/// A rule that had a say in what became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FiredRule {
    /// As the gateway wrote it down: `grant:<id>`, `key:requests_per_minute`, `key:tokens_per_minute`.
    pub rule: String,
    /// The thing that it is a rule of, where there is one; a grant is called after whom it is made to.
    pub of: Option<NamedThing>,
}

/// What a limit that stood in a request's way did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RefusalEffect {
    /// It refused the request.
    Refused,
    /// It would have refused it, if its policy did more than audit.
    Audited,
    /// It refused an attempt at a target, and another target was tried.
    Diverted,
}

impl RefusalEffect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Refused, Self::Audited, Self::Diverted];

    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Audited => "audited",
            Self::Diverted => "diverted",
        }
    }
}

/// What was refused in a time, and what would have been: answer of `GET /analytics/refusals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refusals {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Requests in that time, of the owner that was asked for.
    pub requests: u64,
    /// Of these, refused before any model was asked or since none could be: by a limit, for want of a key or a grant, or for a
    /// model that there is not.
    pub refused: u64,
    /// Of these, such that a policy would have refused that only audits.
    pub audited: u64,
    /// Of these, led to another target since a limit refused an attempt.
    pub diverted: u64,
    /// By what, for whom, how often: the most frequent first; at most 200.
    pub items: Vec<RefusalItem>,
    /// Whether there are more.
    pub more: bool,
}

/// How often one thing stood in the way of one owner's requests: item of `GET /analytics/refusals`. A request that several
/// things refused counts for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefusalItem {
    /// What it did.
    pub effect: RefusalEffect,
    /// What stood in the way: `rate_limit_policy:<id>`, `budget_policy:<id>`, `key:<id>` for a key's own limit; or the code of
    /// the error that the caller got, where it was no limit of these.
    pub by: String,
    /// The policy or the key, as it is called now; `None`: it was neither.
    pub of: Option<NamedThing>,
    /// The owner: `user:<id>` or `virtual_account:<id>`; `None`: the key was not known.
    pub owner: Option<String>,
    /// The owner's name as far as it is known now.
    pub owner_name: Option<String>,
    /// How many requests.
    pub requests: u64,
    /// When the last of them arrived.
    pub last_at: Timestamp,
    /// The last of them.
    pub last_request: Uuid,
}

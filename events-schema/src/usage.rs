//! Request records: what became of each request, as it travels from gateways over `USAGE` to the ledger.
//!
//! A message holds a [`UsageBatch`] as JSON, on a subject of its gateway's incarnation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    envelope::Epoch,
    events::{LimitMode, LimitWhenCutOff, ModelRef, Owner},
    id::{BudgetPolicyId, KeyId, ModelId, RateLimitPolicyId},
    money::NanoUsd,
    time::Timestamp,
};

/// Records of one gateway incarnation, numbered without gaps from `first_number`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageBatch {
    /// The gateway.
    pub gateway: Uuid,
    /// The life of its process.
    pub incarnation: Uuid,
    /// Where it runs.
    pub region: String,
    /// The number of the first record in the incarnation, from 1.
    pub first_number: u64,
    /// The records, in the order of their numbers.
    pub records: Vec<UsageRecord>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer was delivered whole.
    Success,
    /// The request was malformed.
    BadRequest,
    /// No key, or none that works.
    Unauthenticated,
    /// The key may not use the model.
    Forbidden,
    /// There is no such model.
    UnknownModel,
    /// A limit refused it.
    LimitExceeded,
    /// The provider answered with an error, after all fallbacks.
    ProviderError,
    /// No provider could be reached or answered in time.
    ProviderUnreachable,
    /// The provider broke off in the middle of its answer.
    StreamCut,
    /// The caller went away.
    ClientGone,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::UnknownModel,
        Self::LimitExceeded,
        Self::ProviderError,
        Self::ProviderUnreachable,
        Self::StreamCut,
        Self::ClientGone,
    ];

    /// Its name in metrics, tables and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::UnknownModel => "unknown_model",
            Self::LimitExceeded => "limit_exceeded",
            Self::ProviderError => "provider_error",
            Self::ProviderUnreachable => "provider_unreachable",
            Self::StreamCut => "stream_cut",
            Self::ClientGone => "client_gone",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/completions`
    Completions,
    /// `/v1/messages`
    Messages,
    /// `/v1/messages/count_tokens`
    CountTokens,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ChatCompletions,
        Self::Embeddings,
        Self::Completions,
        Self::Messages,
        Self::CountTokens,
    ];

    /// Its name in metrics, tables and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Embeddings => "embeddings",
            Self::Completions => "completions",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
        }
    }
}

/// Tokens that a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Input (prompt) tokens, those that were read from the provider's cache or written to it among them.
    pub input: u64,
    /// Of these, read from the provider's cache.
    pub cached_input: u64,
    /// Output (completion) tokens.
    pub output: u64,
    /// Of these, spent on reasoning.
    pub reasoning: u64,
    /// Whether the provider gave no numbers, or not to the end, and some of these are estimates.
    pub estimated: bool,
    /// Of the input, written to the provider's cache; `None`: the provider says nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_input: Option<u64>,
    /// Of the input, audio; `None`: the provider says nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<u64>,
    /// Of the output, audio; `None`: the provider says nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<u64>,
}

/// One try at one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The model.
    pub model: ModelId,
    /// Its full name at that time: `account/model`.
    pub target: String,
    /// The provider's HTTP status; `None`: there was no answer.
    pub status: Option<u16>,
    /// What went wrong, as a short code (`connect`, `timeout`, `cut`, …).
    pub error: Option<String>,
    /// From the request's arrival to the beginning of this attempt, in microseconds.
    pub began_us: u64,
    /// From its beginning to the provider's first byte of the body, in microseconds.
    pub first_byte_us: Option<u64>,
    /// From its beginning to its end, in microseconds.
    pub duration_us: u64,
    /// Whether some of the request had left for the provider; one that had, and was never answered, may be charged all
    /// the same. `None`: the gateway is older than this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<bool>,
    /// What it used. `None`: nothing, as with an error that the provider answered, or nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// From its beginning to the first event of its stream that carries some of the answer, in microseconds. `None`: it
    /// was no stream, or none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<u64>,
    /// From the first event of its stream that carries some of the answer to the last, over one less than its output
    /// tokens, in microseconds. `None`: it was no stream, or there were fewer than two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_output_token_us: Option<u64>,
}

/// What a gateway knows of how a target fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Whether it has failed too often of late.
    pub circuit: Circuit,
    /// How many of its answers are remembered: at most 100, of at most the last 20 minutes.
    pub calls: u32,
    /// Their mean time for each output token, in microseconds.
    pub per_token_us: Option<u64>,
    /// The mean time to the first token of the last three minutes' streams, in microseconds; `None`: too few.
    pub recent_first_token_us: Option<u64>,
    /// The mean time for each output token of the last three minutes, in microseconds; `None`: too few.
    pub recent_per_token_us: Option<u64>,
}

/// Whether a target that failed is left alone.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// It is not: requests go to it.
    #[default]
    Closed,
    /// It is: others are preferred.
    Open,
    /// It was, long enough: this request may find out whether it works again.
    Probe,
}

impl Circuit {
    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probe => "probe",
        }
    }
}

/// How a caller wants targets to be tried again (`x-sluice-retry-config`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryWish {
    /// How often, beside the first attempt.
    pub attempts: u8,
    /// On which HTTP statuses.
    pub on_status_codes: Vec<u16>,
}

/// What the choice among targets depended on, beside the configuration, the metadata and the seed: with these, the same
/// attempts can be worked out again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RoutingGrounds {
    /// How targets fared, as far as the choice depended on it; one that is not named fared well, or nothing was known.
    pub health: Vec<TargetHealth>,
    /// The target to which the request's session was bound.
    pub bound: Option<ModelId>,
    /// How the caller wanted targets to be tried again.
    pub retry: Option<RetryWish>,
}

/// How one target fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TargetHealth {
    /// The model.
    pub model: ModelId,
    /// How it fared.
    pub health: Health,
}

/// A counter of a budget policy that a request's cost and tokens were counted at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BudgetCharge {
    /// The policy.
    pub policy: BudgetPolicyId,
    /// Which of its counters, as gateways name them: what the policy applies to each, or a hash of it. Zeros: it applies to all
    /// together.
    pub segment: Uuid,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// The key's own.
    Key(KeyId),
    /// A rate-limit policy's.
    RateLimitPolicy(RateLimitPolicyId),
    /// A budget policy's.
    BudgetPolicy(BudgetPolicyId),
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitMeasure {
    /// Requests.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// Nano-dollars.
    Cost,
}

/// In which time a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitPeriod {
    /// The last 50 to 60 seconds, in slots of ten.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A day, UTC.
    Day,
    /// A week from Monday, UTC.
    Week,
    /// A month, UTC.
    Month,
    /// A quarter of a year, UTC.
    Quarter,
    /// No time: what is under way counts, and nothing that has ended.
    AtATime,
}

impl LimitPeriod {
    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::AtATime => "at_a_time",
        }
    }
}

/// What a gateway knew of a counter when it decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CounterSeen {
    /// Of a limit that gateways share: it admits what this gateway has admitted beyond what is known, and the request, as
    /// long as they are within the share of what is left.
    Shared {
        /// What this gateway had admitted in the window that was not in `known`.
        own: u64,
        /// What all gateways were known to have admitted in the window.
        known: u64,
        /// The gateway's share of what is left, in parts of 2^32.
        share: u64,
        /// What decided since nothing had been heard of the others for too long; `None`: the share did, or the record is of before
        /// this was told.
        #[serde(skip_serializing_if = "Option::is_none")]
        cut_off: Option<LimitWhenCutOff>,
        /// Where what is under way counts: how much of it had ended at this gateway, and was kept for the requests that it
        /// let through next. `None`: nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        free: Option<u64>,
    },
    /// Of a budget: it admits what this gateway has spent and may be spending, and the request, up to its lease.
    Leased {
        /// What this gateway might spend in all; where there is no other, that is the budget.
        ceiling: u64,
        /// What it had spent, or requests under way may spend.
        taken: u64,
        /// What all gateways had spent, or had leases for, as it was told last; `None`: it had not been told.
        committed: Option<u64>,
        /// Whether nobody had dealt out leases for so long that the policy's choice between open and closed decided.
        cut_off: bool,
        /// Of what it had taken, what `committed` includes, where the budget only audits: that goes by what all have spent,
        /// and by no lease. `None`: nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        included: Option<u64>,
    },
}

/// What decided where the numbers of a limit, or of a budget, did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// Nobody had lent of the budget for so long that everything was let through.
    Open,
    /// Nobody had lent of it for so long that nothing was.
    Closed,
    /// The request had waited for a lease for as long as it may, nobody had said anything about one, and the budget is open then.
    Unanswered,
    /// The gateway's lease had ended.
    Ended,
    /// Nothing was left of the limit before its counter came up at this gateway, and nobody had told since how it stands.
    Full,
    /// The gateway was about to end, and let nothing through any more.
    Left,
}

impl Instead {
    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unanswered => "unanswered",
            Self::Ended => "ended",
            Self::Full => "full",
            Self::Left => "left",
        }
    }
}

/// A limit as it was seen when a request was decided on, before that counted anywhere: with this, the same can be decided again
/// (`gateway_policy::limits::seen`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitSeen {
    /// Whose limit.
    pub of: LimitOf,
    /// Which of its counters; zeros: it has one for all.
    pub segment: Uuid,
    /// What it counts.
    pub measure: LimitMeasure,
    /// In which time.
    pub period: LimitPeriod,
    /// How much it lets through in that time.
    pub most: u64,
    /// What the request was taken to cost.
    pub cost: u64,
    /// What was known of the counter.
    pub counter: CounterSeen,
    /// Whether it did not let the request through, or would not have if it did more than audit.
    pub exceeded: bool,
    /// What happens above it; `None`: the budget does not decide and only counts, or the record is of before this was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<LimitMode>,
    /// What decided where the numbers did not; `None`: they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRecord {
    /// The request: a UUID version 7, also in the header `x-request-id`.
    pub request: Uuid,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The epoch of the configuration that decided on it.
    pub epoch: Option<Epoch>,
    /// The position of the configuration that decided on it.
    pub position: u64,
    /// What was asked for.
    pub endpoint: Endpoint,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// The key, when it is known.
    pub key: Option<KeyId>,
    /// The key's owner.
    pub owner: Option<Owner>,
    /// The model as it was asked for, cut to 200 bytes; empty when the request named none.
    pub requested_model: String,
    /// What that name stood for.
    pub resolved: Option<ModelRef>,
    /// The model that answered.
    pub answered_by: Option<ModelId>,
    /// The full name of the model that answered.
    pub target: Option<String>,
    /// The tries, in order.
    pub attempts: Vec<Attempt>,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status that the caller got.
    pub status: u16,
    /// The code of the error that the caller got.
    pub error_code: Option<String>,
    /// The rules that fired, by their names.
    pub rules: Vec<String>,
    /// The seed of the choice among targets: with the position it gives the same order again.
    pub seed: u64,
    /// What else the choice among targets depended on; `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingGrounds>,
    /// Tokens.
    pub tokens: Tokens,
    /// What it cost at the price of the model that answered; `None`: the model has no price.
    pub cost: Option<NanoUsd>,
    /// From arrival to the last byte sent, in microseconds.
    pub duration_us: u64,
    /// From arrival to the first byte of the body sent, in microseconds.
    pub first_byte_us: Option<u64>,
    /// What the caller said about the request (`x-sluice-metadata`).
    pub metadata: BTreeMap<String, String>,
    /// The counters of budgets at which its cost and tokens were counted, in the window of its arrival; `None`: there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<BudgetCharge>>,
    /// All limits and budgets that were asked, as they were seen when it was decided on, and each attempt at a target with limits of
    /// its own; `None`: none concerned it, or none had anything against it and the gateway is older than that they are told all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<LimitSeen>>,
}

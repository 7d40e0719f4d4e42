//! A request as a row of the table `requests`.

use clickhouse::Row;
use events_schema::events::ModelRef;
use events_schema::usage::{Tokens, UsageRecord};
use serde::Serialize;
use uuid::Uuid;

/// Where a record came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) gateway: Uuid,
    pub(super) incarnation: Uuid,
    pub(super) region: &'a str,
    pub(super) number: u64,
    pub(super) usage_sequence: u64,
}

/// One row; its fields are the table's columns.
#[derive(Debug, Clone, PartialEq, Row, Serialize)]
pub(super) struct RequestRow {
    #[serde(serialize_with = "as_pair")]
    request: Uuid,
    received_at: i64,
    #[serde(serialize_with = "as_pair")]
    gateway: Uuid,
    #[serde(serialize_with = "as_pair")]
    incarnation: Uuid,
    pub(super) number: u64,
    usage_sequence: u64,
    /// The batch that it was inserted with; set when that is known.
    pub(super) ledger_batch: u64,
    region: String,
    epoch: String,
    position: u64,
    endpoint: String,
    streamed: bool,
    key: String,
    owner: String,
    requested_model: String,
    resolved: String,
    answered_by: String,
    target: String,
    attempts: String,
    outcome: String,
    status: u16,
    error_code: String,
    rules: Vec<String>,
    seed: u64,
    input_tokens: u64,
    cached_input_tokens: u64,
    cache_write_input_tokens: Option<u64>,
    audio_input_tokens: Option<u64>,
    output_tokens: u64,
    reasoning_tokens: u64,
    audio_output_tokens: Option<u64>,
    tokens_estimated: bool,
    cost: Option<u64>,
    duration_us: u64,
    first_byte_us: Option<u64>,
    metadata: Vec<(String, String)>,
    /// JSON; empty: there was nothing to say.
    routing: String,
    /// The counters of budgets for which it counts, as [`budget_text`] writes them.
    budgets: Vec<String>,
    /// JSON; empty: there was nothing to say.
    limits: String,
}

// === impl RequestRow ===

impl RequestRow {
    /// Writes a record down.
    pub(super) fn new(origin: Origin<'_>, record: UsageRecord) -> Self {
        let Origin {
            gateway,
            incarnation,
            region,
            number,
            usage_sequence,
        } = origin;
        let UsageRecord {
            request,
            received_at,
            epoch,
            position,
            endpoint,
            streamed,
            key,
            owner,
            requested_model,
            resolved,
            answered_by,
            target,
            attempts,
            outcome,
            status,
            error_code,
            rules,
            seed,
            routing,
            tokens,
            cost,
            duration_us,
            first_byte_us,
            metadata,
            budgets,
            limits,
        } = record;
        let Tokens {
            input,
            cached_input,
            output,
            reasoning,
            estimated,
            cache_write_input,
            audio_input,
            audio_output,
        } = tokens;
        Self {
            request,
            received_at: received_at.micros(),
            gateway,
            incarnation,
            number,
            usage_sequence,
            ledger_batch: 0,
            region: region.to_owned(),
            epoch: text(epoch),
            position,
            endpoint: endpoint.as_str().to_owned(),
            streamed,
            key: text(key),
            owner: text(owner),
            requested_model,
            resolved: resolved.map(model_text).unwrap_or_default(),
            answered_by: text(answered_by),
            target: target.unwrap_or_default(),
            attempts: serde_json::to_string(&attempts).unwrap_or_else(|_| "[]".to_owned()),
            outcome: outcome.as_str().to_owned(),
            status,
            error_code: error_code.unwrap_or_default(),
            rules,
            seed,
            input_tokens: input,
            cached_input_tokens: cached_input,
            cache_write_input_tokens: cache_write_input,
            audio_input_tokens: audio_input,
            output_tokens: output,
            reasoning_tokens: reasoning,
            audio_output_tokens: audio_output,
            tokens_estimated: estimated,
            cost: cost.map(events_schema::money::NanoUsd::nanos),
            duration_us,
            first_byte_us,
            metadata: metadata.into_iter().collect(),
            routing: json(routing),
            budgets: budgets
                .into_iter()
                .flatten()
                .map(|it| budget_text(it.policy.uuid(), it.segment))
                .collect(),
            limits: json(limits),
        }
    }
}

/// A counter of a budget, as the ledger names it.
pub(crate) fn budget_text(policy: Uuid, segment: Uuid) -> String {
    format!("{}:{}", policy.as_simple(), segment.as_simple())
}

fn json(value: Option<impl Serialize>) -> String {
    value
        .and_then(|it| serde_json::to_string(&it).ok())
        .unwrap_or_default()
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn model_text(model: ModelRef) -> String {
    match model {
        ModelRef::Model(id) => format!("model:{id}"),
        ModelRef::VirtualModel(id) => format!("virtual_model:{id}"),
        ModelRef::ProviderAccount(id) => format!("provider_account:{id}"),
    }
}

/// ClickHouse's binary form of a UUID: two numbers.
pub(crate) fn as_pair<S: serde::Serializer>(uuid: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    uuid.as_u64_pair().serialize(serializer)
}

//! A request's record as spans: one for the request, of kind SERVER, and below it one for each attempt, of kind CLIENT.
//!
//! Names and values follow OpenTelemetry's semantic conventions: of HTTP (1.41) for the request, of generative AI (in
//! development; as they stood in November 2026) for attempts. What they have no name for is called `sluice.…`. Tokens stand
//! with attempts alone, so that whoever adds up the spans of a trace counts none twice. Of what was asked and answered
//! nothing is told, and of whoever asked only ids.

use events_schema::{
    events::{ModelRef, Owner},
    time::Timestamp,
    usage::{Attempt, Endpoint, Outcome, Tokens, UsageRecord},
};

use super::{
    context::SpanId,
    otlp::{KeyValue, Span, SpanKind, Status, StatusCode, attribute},
    traced::{Asked, Traced, TracedAttempt},
};
use crate::endpoint::describe;

/// In a span's flags: it is known whether the parent is another process' span.
const KNOWS_IF_REMOTE: u32 = 0x100;
/// In a span's flags: it is.
const IS_REMOTE: u32 = 0x200;
/// How an attempt ended that another one was quicker than: nothing failed.
const SUPERSEDED: &str = "superseded";

/// How many spans a request has.
#[must_use]
pub const fn count(record: &UsageRecord) -> usize {
    1 + record.attempts.len()
}

/// The spans of a request.
#[must_use]
pub fn of(record: &UsageRecord, traced: &Traced) -> Vec<Span> {
    let attempts = record.attempts.iter().zip(&traced.attempts).enumerate();
    std::iter::once(of_request(record, traced))
        .chain(
            attempts.map(|(at, (attempt, beside))| of_attempt(record, traced, at, attempt, beside)),
        )
        .collect()
}

fn of_request(record: &UsageRecord, traced: &Traced) -> Span {
    let path = ["/v1", describe(record.endpoint).path].concat();
    let context = &traced.context;
    let remote = if context.parent.is_some() {
        IS_REMOTE
    } else {
        0
    };
    Span {
        parent_span_id: context.parent.map(id).unwrap_or_default(),
        name: format!("POST {path}"),
        kind: SpanKind::Server.into(),
        end_time_unix_nano: nanos(record.received_at, record.duration_us),
        attributes: attributes_of_request(record, path),
        status: status(has_failed(record)),
        flags: u32::from(context.flags()) | KNOWS_IF_REMOTE | remote,
        ..begun(traced, context.span, nanos(record.received_at, 0))
    }
}

fn attributes_of_request(record: &UsageRecord, path: String) -> Vec<KeyValue> {
    let mut all = vec![
        attribute("http.request.method", "POST"),
        attribute("http.route", path.clone()),
        attribute("url.path", path),
        attribute("http.response.status_code", record.status),
        attribute("sluice.request.id", record.request.to_string()),
        attribute("sluice.position", record.position),
        attribute("sluice.outcome", record.outcome.as_str()),
        attribute("sluice.requested_model", record.requested_model.as_str()),
        attribute("sluice.stream", record.streamed),
        attribute("sluice.attempts", record.attempts.len() as u64),
    ];
    let mut add = |key, value: Option<String>| {
        all.extend(value.map(|value| attribute(key, value)));
    };
    add("error.type", record.error_code.clone());
    add("sluice.key.id", record.key.map(|it| it.to_string()));
    match record.owner {
        Some(Owner::User(user)) => add("sluice.user.id", Some(user.to_string())),
        Some(Owner::VirtualAccount(account)) => {
            add("sluice.virtual_account.id", Some(account.to_string()));
        }
        None => {}
    }
    match record.resolved {
        Some(ModelRef::VirtualModel(model)) => {
            add("sluice.virtual_model.id", Some(model.to_string()));
        }
        Some(ModelRef::Model(model)) => add("sluice.model.id", Some(model.to_string())),
        // A request names one model or another.
        Some(ModelRef::ProviderAccount(_)) | None => {}
    }
    add("sluice.target", record.target.clone());
    let cost = record
        .cost
        .map(|it| attribute("sluice.cost_nano_usd", it.nanos()));
    all.extend(cost);
    all
}

/// Whether the request failed by the gateway or a provider. What a caller did wrong, or that it went away, is no failure
/// of the side that is asked.
const fn has_failed(record: &UsageRecord) -> bool {
    match record.outcome {
        Outcome::ProviderError | Outcome::ProviderUnreachable | Outcome::StreamCut => true,
        Outcome::Success
        | Outcome::BadRequest
        | Outcome::Unauthenticated
        | Outcome::Forbidden
        | Outcome::UnknownModel
        | Outcome::LimitExceeded
        | Outcome::ClientGone => record.status >= 500,
    }
}

fn of_attempt(
    record: &UsageRecord,
    traced: &Traced,
    at: usize,
    attempt: &Attempt,
    beside: &TracedAttempt,
) -> Span {
    let nobody = Asked::default();
    let asked = beside.asked.as_ref().unwrap_or(&nobody);
    let error = error_of(record, attempt);
    let has_failed = error.as_deref().is_some_and(|error| error != SUPERSEDED);
    let end_us = attempt.began_us.saturating_add(attempt.duration_us);
    Span {
        parent_span_id: id(traced.context.span),
        name: format!("{} {}", operation(record.endpoint), asked.model),
        kind: SpanKind::Client.into(),
        end_time_unix_nano: nanos(record.received_at, end_us),
        attributes: attributes_of_attempt(record, at, attempt, asked, error),
        status: status(has_failed),
        flags: u32::from(traced.context.flags()) | KNOWS_IF_REMOTE,
        ..begun(
            traced,
            beside.span,
            nanos(record.received_at, attempt.began_us),
        )
    }
}

/// What went wrong: the gateway's word for it, or else the provider's status.
fn error_of(record: &UsageRecord, attempt: &Attempt) -> Option<String> {
    let status = attempt.status.filter(|status| *status >= 400);
    let said = attempt.error.clone().or(status.map(|it| it.to_string()));
    let was_left = record.outcome == Outcome::ClientGone && attempt.status.is_none();
    said.or_else(|| was_left.then(|| Outcome::ClientGone.as_str().to_owned()))
}

fn attributes_of_attempt(
    record: &UsageRecord,
    at: usize,
    attempt: &Attempt,
    asked: &Asked,
    error: Option<String>,
) -> Vec<KeyValue> {
    let mut all = vec![
        attribute("gen_ai.operation.name", operation(record.endpoint)),
        attribute("gen_ai.provider.name", asked.provider),
        attribute("gen_ai.request.model", asked.model.as_str()),
        attribute("http.request.method", "POST"),
        attribute("server.address", asked.host.as_str()),
        attribute("sluice.attempt", at as u64),
        attribute("sluice.model.id", attempt.model.to_string()),
        attribute("sluice.target", attempt.target.as_str()),
    ];
    if record.streamed {
        all.push(attribute("gen_ai.request.stream", true));
    }
    all.extend(asked.port.map(|port| attribute("server.port", port)));
    all.extend(error.map(|error| attribute("error.type", error)));
    let status = attempt.status;
    all.extend(status.map(|status| attribute("http.response.status_code", status)));
    let model = asked.answered_by.as_deref();
    all.extend(model.map(|model| attribute("gen_ai.response.model", model)));
    all.extend(attempt.sent.map(|sent| attribute("sluice.sent", sent)));
    let first = attempt.first_token_us.map(seconds);
    all.extend(first.map(|it| attribute("gen_ai.response.time_to_first_chunk", it)));
    if let Some(tokens) = attempt.tokens {
        all.extend(attributes_of_tokens(tokens));
    }
    all
}

/// What was used, in the conventions' sense: all of the input, and the parts of it that a provider tells apart.
fn attributes_of_tokens(tokens: Tokens) -> Vec<KeyValue> {
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
    let always = [
        ("gen_ai.usage.input_tokens", input),
        ("gen_ai.usage.output_tokens", output),
    ];
    let where_told = [
        (
            "gen_ai.usage.cache_read.input_tokens",
            Some(cached_input).filter(|it| *it > 0),
        ),
        (
            "gen_ai.usage.reasoning.output_tokens",
            Some(reasoning).filter(|it| *it > 0),
        ),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            cache_write_input,
        ),
        ("gen_ai.usage.audio.input_tokens", audio_input),
        ("gen_ai.usage.audio.output_tokens", audio_output),
    ];
    let told = where_told
        .into_iter()
        .filter_map(|(key, it)| it.map(|it| (key, it)));
    let numbers = always.into_iter().chain(told);
    numbers
        .map(|(key, number)| attribute(key, number))
        .chain([attribute("sluice.tokens.estimated", estimated)])
        .collect()
}

/// The conventions' word for what an endpoint does; they have none for counting tokens.
const fn operation(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Messages => "chat",
        Endpoint::Embeddings => "embeddings",
        Endpoint::Completions => "text_completion",
        Endpoint::CountTokens => "count_tokens",
    }
}

/// A span of which only its place in the trace and its beginning are known.
fn begun(traced: &Traced, span: SpanId, start: u64) -> Span {
    Span {
        trace_id: traced.context.trace.0.get().to_be_bytes().to_vec(),
        span_id: id(span),
        trace_state: traced.state.clone(),
        start_time_unix_nano: start,
        ..Span::default()
    }
}

fn id(span: SpanId) -> Vec<u8> {
    span.0.get().to_be_bytes().to_vec()
}

fn status(has_failed: bool) -> Option<Status> {
    has_failed.then(|| Status {
        code: StatusCode::Error.into(),
    })
}

/// So many microseconds after a time, in nanoseconds since 1970.
fn nanos(from: Timestamp, after_us: u64) -> u64 {
    let from_us = u64::try_from(from.micros()).unwrap_or(0);
    from_us.saturating_add(after_us).saturating_mul(1_000)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the conventions want seconds as a double, and 52 bits of microseconds are 142 years"
)]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1_000_000.0
}

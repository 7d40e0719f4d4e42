//! A routing as it stands in a document, from the state and back, and told in words.

use std::collections::BTreeMap;

use events_schema::{
    events::{self, HeadersOverride, RoutingTarget, SessionSource, StickySessions},
    id::ModelId,
    json::JsonObject,
    state::{self, Organisation},
};
use serde_json::Value;

use super::document::{Headers, Target, VirtualModel};
use crate::domain::full_name;

/// A virtual model of the state, for a document.
pub(super) fn exported(state: &Organisation, it: &state::VirtualModel) -> VirtualModel {
    let state::VirtualModel {
        id: _,
        life: _,
        name,
        routing,
        disabled,
    } = it;
    let events::Routing {
        strategy,
        targets,
        sticky,
        deadline_ms,
        hedge_after_ms,
    } = routing;
    VirtualModel {
        name: name.clone(),
        strategy: *strategy,
        targets: targets.iter().map(|it| target(state, it)).collect(),
        sticky: sticky.clone(),
        deadline_ms: *deadline_ms,
        hedge_after_ms: *hedge_after_ms,
        disabled: *disabled,
    }
}

fn target(state: &Organisation, it: &RoutingTarget) -> Target {
    let RoutingTarget {
        model,
        weight,
        priority,
        fallback_status_codes,
        fallback_candidate,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = it;
    let headers = |HeadersOverride { set, remove }| Headers { set, remove };
    Target {
        model: full_name(state, *model),
        weight: *weight,
        priority: *priority,
        fallback_status_codes: fallback_status_codes.clone(),
        fallback_candidate: *fallback_candidate,
        retry: retry.clone(),
        sla_cutoff: *sla_cutoff,
        override_params: override_params.as_ref().and_then(values),
        headers_override: headers_override.clone().map(headers),
        metadata_match: metadata_match.clone(),
    }
}

fn values(object: &JsonObject) -> Option<BTreeMap<String, Value>> {
    serde_json::from_str(object.as_str()).ok()
}

/// The routing that a virtual model of a document asks for.
///
/// # Errors
/// What `model_named` says of a name that it does not know.
pub(super) fn asked(
    it: &VirtualModel,
    model_named: impl Fn(&str) -> Result<ModelId, String>,
) -> Result<events::Routing, String> {
    let VirtualModel {
        name: _,
        strategy,
        targets,
        sticky,
        deadline_ms,
        hedge_after_ms,
        disabled: _,
    } = it;
    let targets: Result<Vec<_>, _> = targets
        .iter()
        .map(|it| asked_target(it, &model_named))
        .collect();
    Ok(events::Routing {
        strategy: *strategy,
        targets: targets?,
        sticky: sticky.clone(),
        deadline_ms: *deadline_ms,
        hedge_after_ms: *hedge_after_ms,
    })
}

fn asked_target(
    it: &Target,
    model_named: impl Fn(&str) -> Result<ModelId, String>,
) -> Result<RoutingTarget, String> {
    let Target {
        model,
        weight,
        priority,
        fallback_status_codes,
        fallback_candidate,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = it;
    let headers = |Headers { set, remove }| HeadersOverride { set, remove };
    let params = override_params.as_ref().map(object).transpose()?;
    Ok(RoutingTarget {
        model: model_named(model)?,
        weight: *weight,
        priority: *priority,
        fallback_status_codes: fallback_status_codes.clone(),
        fallback_candidate: *fallback_candidate,
        retry: retry.clone(),
        sla_cutoff: *sla_cutoff,
        override_params: params,
        headers_override: headers_override.clone().map(headers),
        metadata_match: metadata_match.clone(),
    })
}

fn object(members: &BTreeMap<String, Value>) -> Result<JsonObject, String> {
    let json = serde_json::to_string(members).map_err(|error| error.to_string())?;
    json.parse().map_err(|error| format!("{error}."))
}

// === in words ===

/// A target in words: its name, and what is not as usual.
pub(super) fn target_told(name: &str, target: &RoutingTarget) -> String {
    let RoutingTarget {
        model: _,
        weight,
        priority,
        fallback_status_codes,
        fallback_candidate,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = target;
    let codes = |codes: &std::collections::BTreeSet<u16>| {
        let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
        codes.join(" ")
    };
    let parts = [
        weight.map(|it| format!("weight {it}")),
        priority.map(|it| format!("priority {it}")),
        fallback_status_codes
            .as_ref()
            .map(|it| format!("falls back on {}", codes(it))),
        (!fallback_candidate).then(|| "never instead of another".to_owned()),
        retry.as_ref().map(|it| {
            let delay = it.delay_ms.map(|delay| format!(" after {delay} ms"));
            let on = it
                .on_status_codes
                .as_ref()
                .map(|it| format!(" on {}", codes(it)));
            let (delay, on) = (delay.unwrap_or_default(), on.unwrap_or_default());
            format!("tried again {} times{delay}{on}", it.attempts)
        }),
        sla_cutoff
            .and_then(|it| it.time_to_first_token_ms)
            .map(|it| format!("at most {it} ms to the first token")),
        sla_cutoff
            .and_then(|it| it.time_per_output_token_ms)
            .map(|it| format!("at most {it} ms a token")),
        override_params.as_ref().map(|it| format!("with {it}")),
        headers_override.as_ref().map(headers_told),
        metadata_match.as_ref().map(|it| {
            let pairs: Vec<_> = it
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("only where {}", pairs.join(" "))
        }),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({})", parts.join(", "))
    }
}

fn headers_told(headers: &HeadersOverride) -> String {
    let set = headers
        .set
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let removed = headers.remove.iter().map(|name| format!("no {name}"));
    let all: Vec<_> = set.chain(removed).collect();
    format!("headers {}", all.join("; "))
}

/// Sticky sessions in words.
pub(super) fn sticky_told(sticky: &StickySessions) -> String {
    let identifiers = sticky.session_identifiers.iter().map(|it| match it.source {
        SessionSource::Headers => format!("header {}", it.key),
        SessionSource::Metadata => format!("metadata {}", it.key),
    });
    let identifiers: Vec<_> = identifiers.collect();
    format!("{} s by {}", sticky.ttl_seconds, identifiers.join(" and "))
}

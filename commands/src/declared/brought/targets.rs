//! How a virtual model chooses: `type`, `load_balance_targets` and `sticky_routing`, which a rule and a virtual model of a
//! group have alike.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{Retry, RoutingStrategy, SessionIdentifier, SessionSource, SlaCutoff, StickySessions},
    names::{HeaderName, HeaderText, MetadataKey, VirtualModelName},
    state,
};
use serde_json::Value as Json;

use super::{
    super::{
        document::{Headers, Target, VirtualModel},
        node::Value,
        read::Fault,
    },
    form::{
        At, entries, filled, flag, is_fields, item, list, number, only, optional, parsed, required,
    },
};

/// The fields that a routing has.
pub(super) const FIELDS: [&str; 3] = ["type", "load_balance_targets", "sticky_routing"];

/// A routing, as it stands in a document.
#[derive(Debug, Clone)]
pub(in crate::declared) struct Routing {
    strategy: RoutingStrategy,
    targets: Vec<Target>,
    sticky: Option<StickySessions>,
}

impl Routing {
    /// The virtual model of this name that chooses so. What no document of these formats can say of it is as in the one that
    /// there is.
    pub(in crate::declared) fn called(
        &self,
        name: VirtualModelName,
        known: Option<&state::VirtualModel>,
    ) -> VirtualModel {
        let Self {
            strategy,
            targets,
            sticky,
        } = self.clone();
        VirtualModel {
            name,
            strategy,
            targets,
            sticky,
            deadline_ms: known.and_then(|it| it.routing.deadline_ms),
            hedge_after_ms: known.and_then(|it| it.routing.hedge_after_ms),
            disabled: known.is_some_and(|it| it.disabled),
        }
    }
}

/// Where a part of a routing or of a target stands, by the name that Sluice's rules have for it; where it is missing, what it
/// is missing in.
pub(in crate::declared) fn part<'d>(at: &At<'d>, part: Option<&str>) -> At<'d> {
    let fields: Vec<_> = part
        .into_iter()
        .flat_map(|it| it.split('.'))
        .map(theirs)
        .collect();
    at.deepest(&fields)
}

fn theirs(own: &str) -> &str {
    match own {
        "targets" => "load_balance_targets",
        "sticky" => "sticky_routing",
        "model" => "target",
        "retry" => "retry_config",
        "delay_ms" => "delay",
        "a value of metadata_match" => "metadata_match",
        alike => alike,
    }
}

/// Reads a routing; its other fields are the caller's. `None`: something is wrong with it, which is told. What the rules would
/// say of what is left of it would be a mistake of nobody's.
pub(super) fn read(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Routing> {
    let before = faults.len();
    let strategy = required(at, "type", faults, strategy);
    let targets = list(at, "load_balance_targets", faults, target);
    if targets.is_none()
        && at
            .field("load_balance_targets")
            .is_none_or(|it| it.is_empty())
    {
        faults.push(at.wrong("`load_balance_targets` is missing.".to_owned()));
    }
    let sticky = optional(at, "sticky_routing", faults, is_fields);
    let sticky = sticky
        .and_then(|()| at.field("sticky_routing"))
        .map(|it| sessions(&it, faults));
    if faults.len() > before {
        return None;
    }
    Some(Routing {
        strategy: strategy?,
        targets: targets?,
        sticky: sticky.flatten(),
    })
}

fn strategy(at: &At<'_>) -> Result<RoutingStrategy, String> {
    match at.text()? {
        "weight-based-routing" => Ok(RoutingStrategy::WeightBased),
        "latency-based-routing" => Ok(RoutingStrategy::LatencyBased),
        "priority-based-routing" => Ok(RoutingStrategy::PriorityBased),
        other => Err(format!(
            "'{other}' is none of weight-based-routing, latency-based-routing and priority-based-routing."
        )),
    }
}

fn target(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Target> {
    const FIELDS: [&str; 10] = [
        "target",
        "weight",
        "priority",
        "sla_cutoff",
        "retry_config",
        "fallback_status_codes",
        "fallback_candidate",
        "override_params",
        "headers_override",
        "metadata_match",
    ];
    only(at, &FIELDS, faults);
    let model = required(at, "target", faults, |it| it.text().map(ToOwned::to_owned));
    let target = Target {
        model: model.unwrap_or_default(),
        weight: optional(at, "weight", faults, number),
        priority: optional(at, "priority", faults, number),
        fallback_status_codes: statuses(at, "fallback_status_codes", faults),
        fallback_candidate: optional(at, "fallback_candidate", faults, flag).unwrap_or(true),
        retry: filled(at, "retry_config").and_then(|it| retry(&it, faults)),
        sla_cutoff: filled(at, "sla_cutoff").map(|it| cutoff(&it, faults)),
        override_params: filled(at, "override_params").and_then(|it| params(&it, faults)),
        headers_override: filled(at, "headers_override").and_then(|it| headers(&it, faults)),
        metadata_match: filled(at, "metadata_match").and_then(|_| metadata(at, faults)),
    };
    Some(target)
}

fn statuses(at: &At<'_>, name: &str, faults: &mut Vec<Fault>) -> Option<BTreeSet<u16>> {
    let codes = list(at, name, faults, |it, faults| item(it, faults, status))?;
    Some(codes.into_iter().collect())
}

/// A status, as a text or a number.
fn status(at: &At<'_>) -> Result<u16, String> {
    match at.value() {
        Value::Text(text) => text
            .parse()
            .map_err(|_| format!("'{text}' is no HTTP status.")),
        _ => number(at),
    }
}

/// `None`: it is not tried again.
fn retry(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Retry> {
    only(at, &["attempts", "delay", "on_status_codes"], faults);
    let attempts = required(at, "attempts", faults, number)?;
    let retry = Retry {
        attempts,
        delay_ms: optional(at, "delay", faults, number),
        on_status_codes: statuses(at, "on_status_codes", faults),
    };
    (attempts > 0).then_some(retry)
}

fn cutoff(at: &At<'_>, faults: &mut Vec<Fault>) -> SlaCutoff {
    const FIELDS: [&str; 2] = ["time_per_output_token_ms", "time_to_first_token_ms"];
    only(at, &FIELDS, faults);
    SlaCutoff {
        time_per_output_token_ms: optional(at, FIELDS[0], faults, number),
        time_to_first_token_ms: optional(at, FIELDS[1], faults, number),
    }
}

fn params(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<BTreeMap<String, Json>> {
    item(at, faults, is_fields)?;
    let Json::Object(members) = at.value().to_json() else {
        return None;
    };
    Some(members.into_iter().collect())
}

fn headers(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Headers> {
    only(at, &["set", "remove"], faults);
    let set = entries(at, "set", faults, |name, value| {
        let name: HeaderName = name
            .parse()
            .map_err(|error| format!("'{name}': {error}."))?;
        Ok((name, parsed::<HeaderText>(value)?))
    });
    let set = set.unwrap_or_default();
    let remove = list(at, "remove", faults, |it, faults| item(it, faults, parsed));
    let headers = Headers {
        set: set.iter().cloned().collect(),
        remove: remove.into_iter().flatten().collect(),
    };
    if headers.set.len() < set.len() {
        // Upper and lower case make no other header.
        let message = "A header is set twice.".to_owned();
        faults.push(at.deepest(&["set"]).wrong(message));
    }
    (!headers.set.is_empty() || !headers.remove.is_empty()).then_some(headers)
}

fn metadata(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<BTreeMap<MetadataKey, String>> {
    let conditions = entries(at, "metadata_match", faults, |key, value| {
        let key = key.parse().map_err(|error| format!("'{key}': {error}."))?;
        Ok((key, value.text()?.to_owned()))
    });
    Some(conditions?.into_iter().collect())
}

fn sessions(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<StickySessions> {
    only(at, &["ttl_seconds", "session_identifiers"], faults);
    let ttl_seconds = required(at, "ttl_seconds", faults, number);
    let identifiers = list(at, "session_identifiers", faults, identifier);
    Some(StickySessions {
        ttl_seconds: ttl_seconds?,
        // None at all are refused by the rules.
        session_identifiers: identifiers.unwrap_or_default(),
    })
}

fn identifier(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<SessionIdentifier> {
    only(at, &["source", "key"], faults);
    let source = required(at, "source", faults, |it| match it.text()? {
        "headers" => Ok(SessionSource::Headers),
        "metadata" => Ok(SessionSource::Metadata),
        other => Err(format!("'{other}' is none of headers and metadata.")),
    });
    let key = required(at, "key", faults, parsed);
    Some(SessionIdentifier {
        source: source?,
        key: key?,
    })
}

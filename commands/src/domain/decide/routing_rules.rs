//! Whether a gateway can follow a routing.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        Aggregate, HeadersOverride, MOST_RETRIES, MOST_TARGETS, ModelType, Retry, Routing,
        RoutingStrategy, RoutingTarget, SlaCutoff, StickySessions,
    },
    id::ModelId,
    json::JsonObject,
    names::MetadataKey,
    state::Organisation,
};
use gateway_policy::rules::fault::{LONGEST_VALUE, MOST_CONDITIONS};

use super::full_name;
use crate::domain::rejection::{Rejection, RoutingFault};

/// Shares in parts per million; the sum over all targets stays far below what 32 bits hold.
const HIGHEST_WEIGHT: u32 = 1_000_000;
/// A longer pause than a caller's client would wait through, in milliseconds.
const LONGEST_DELAY_MS: u32 = 60_000;
/// Ten minutes: slower than any target that one would want to call slow, in milliseconds.
const HIGHEST_CUTOFF_MS: u32 = 600_000;
/// From a tenth of a second, in which a provider can answer, to an hour, in milliseconds.
const DEADLINE_MS: (u32, u32) = (100, 3_600_000);
/// From what a fast provider takes to ten minutes, in milliseconds.
const HEDGE_MS: (u32, u32) = (10, 600_000);
/// A week, in seconds.
const LONGEST_SESSION: u32 = 604_800;
/// More than anybody tells sessions apart by.
const MOST_IDENTIFIERS: usize = 4;
/// Room for any parameters but prompts, in bytes.
const MOST_PARAM_BYTES: usize = 4_096;
/// More headers than a provider asks for.
const MOST_HEADERS: usize = 32;
/// What the gateway writes into a body itself.
const RESERVED_PARAMS: [&str; 3] = ["model", "stream", "stream_options"];

type Checked = Result<(), RoutingFault>;

/// Checks a routing against the models that are there.
pub(super) fn can_be_followed(state: &Organisation, routing: &Routing) -> Result<(), Rejection> {
    let missing = |it: &&RoutingTarget| !state.models().contains_key(&it.model);
    // Of too many, it is their number that is told.
    if routing.targets.len() <= MOST_TARGETS
        && let Some(target) = routing.targets.iter().find(missing)
    {
        return Err(Rejection::MissingReference {
            what: Aggregate::Model,
            id: target.model.to_string(),
            field: "routing.targets",
        });
    }
    if let Some((_, fault)) = routing_fault(routing, |model| full_name(state, model)) {
        return Err(Rejection::Routing(fault));
    }
    types_agree(state, &routing.targets)
}

/// What is wrong with a routing, whatever its models are: in which of its targets (`None`: in none of them), and what.
/// `name` says what a model is called.
pub(crate) fn routing_fault(
    routing: &Routing,
    name: impl Fn(ModelId) -> String,
) -> Option<(Option<usize>, RoutingFault)> {
    let Routing {
        strategy,
        targets,
        sticky,
        deadline_ms,
        hedge_after_ms,
    } = routing;
    if !(1..=MOST_TARGETS).contains(&targets.len()) {
        let (found, most) = (targets.len(), MOST_TARGETS);
        return Some((None, RoutingFault::Count { found, most }));
    }
    let mut seen = BTreeSet::new();
    for (index, target) in targets.iter().enumerate() {
        let name = || name(target.model);
        if let Err(fault) = target_is_good(target, *strategy, name) {
            return Some((Some(index), fault));
        }
        if !seen.insert(target.model) {
            return Some((Some(index), RoutingFault::Twice(name())));
        }
    }
    strategy_has_a_choice(*strategy, targets)
        .and_then(|()| sticky.as_ref().map_or(Ok(()), sessions_are_good))
        .and_then(|()| within("deadline_ms", *deadline_ms, DEADLINE_MS))
        .and_then(|()| within("hedge_after_ms", *hedge_after_ms, HEDGE_MS))
        .err()
        .map(|fault| (None, fault))
}

fn strategy_has_a_choice(strategy: RoutingStrategy, targets: &[RoutingTarget]) -> Checked {
    match strategy {
        RoutingStrategy::WeightBased if targets.iter().all(|it| it.weight == Some(0)) => {
            Err(RoutingFault::NoWeight)
        }
        RoutingStrategy::WeightBased
        | RoutingStrategy::LatencyBased
        | RoutingStrategy::PriorityBased => Ok(()),
    }
}

fn target_is_good(
    target: &RoutingTarget,
    strategy: RoutingStrategy,
    name: impl Fn() -> String,
) -> Checked {
    let RoutingTarget {
        model: _,
        weight,
        priority,
        fallback_status_codes,
        fallback_candidate: _,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = target;
    let lacks = |field| RoutingFault::Lacks {
        strategy: strategy.as_str(),
        field,
        model: name(),
    };
    match (strategy, weight, priority) {
        (RoutingStrategy::WeightBased, None, _) => return Err(lacks("weight")),
        (RoutingStrategy::PriorityBased, _, None) => return Err(lacks("priority")),
        (
            RoutingStrategy::WeightBased
            | RoutingStrategy::PriorityBased
            | RoutingStrategy::LatencyBased,
            _,
            _,
        ) => {}
    }
    if let Some(found) = weight.filter(|weight| *weight > HIGHEST_WEIGHT) {
        return Err(RoutingFault::Weight {
            model: name(),
            found,
            most: HIGHEST_WEIGHT,
        });
    }
    codes_are_errors("fallback_status_codes", fallback_status_codes.as_ref())?;
    retry.as_ref().map_or(Ok(()), retry_is_good)?;
    sla_cutoff.map_or(Ok(()), cutoff_is_good)?;
    override_params.as_ref().map_or(Ok(()), params_are_good)?;
    headers_override.as_ref().map_or(Ok(()), headers_are_good)?;
    metadata_match.as_ref().map_or(Ok(()), metadata_is_good)
}

fn codes_are_errors(field: &'static str, codes: Option<&BTreeSet<u16>>) -> Checked {
    let mut codes = codes.into_iter().flatten().copied();
    match codes.find(|code| !(400..=599).contains(code)) {
        Some(code) => Err(RoutingFault::StatusCode { field, code }),
        None => Ok(()),
    }
}

fn retry_is_good(retry: &Retry) -> Checked {
    let Retry {
        attempts,
        delay_ms,
        on_status_codes,
    } = retry;
    within(
        "retry.attempts",
        Some(u32::from(*attempts)),
        (1, u32::from(MOST_RETRIES)),
    )?;
    within("retry.delay_ms", *delay_ms, (0, LONGEST_DELAY_MS))?;
    codes_are_errors("retry.on_status_codes", on_status_codes.as_ref())
}

fn cutoff_is_good(cutoff: SlaCutoff) -> Checked {
    let SlaCutoff {
        time_to_first_token_ms,
        time_per_output_token_ms,
    } = cutoff;
    if time_to_first_token_ms.is_none() && time_per_output_token_ms.is_none() {
        return Err(RoutingFault::Empty("sla_cutoff"));
    }
    let range = (1, HIGHEST_CUTOFF_MS);
    within(
        "sla_cutoff.time_to_first_token_ms",
        time_to_first_token_ms,
        range,
    )?;
    within(
        "sla_cutoff.time_per_output_token_ms",
        time_per_output_token_ms,
        range,
    )
}

fn params_are_good(params: &JsonObject) -> Checked {
    let members = params.members();
    if members.is_empty() {
        return Err(RoutingFault::Empty("override_params"));
    }
    few("override_params", params.as_str().len(), MOST_PARAM_BYTES)?;
    let reserved = members.into_iter().map(|(name, _)| name);
    match reserved
        .into_iter()
        .find(|name| RESERVED_PARAMS.contains(&name.as_str()))
    {
        Some(name) => Err(RoutingFault::ReservedParam(name)),
        None => Ok(()),
    }
}

fn headers_are_good(headers: &HeadersOverride) -> Checked {
    let HeadersOverride { set, remove } = headers;
    if set.is_empty() && remove.is_empty() {
        return Err(RoutingFault::Empty("headers_override"));
    }
    few("headers_override.set", set.len(), MOST_HEADERS)?;
    few("headers_override.remove", remove.len(), MOST_HEADERS)?;
    match set.keys().find(|name| remove.contains(*name)) {
        Some(name) => Err(RoutingFault::SetAndRemoved(name.to_string())),
        None => Ok(()),
    }
}

fn metadata_is_good(metadata: &BTreeMap<MetadataKey, String>) -> Checked {
    if metadata.is_empty() {
        return Err(RoutingFault::Empty("metadata_match"));
    }
    few("metadata_match", metadata.len(), MOST_CONDITIONS)?;
    let longest = metadata.values().map(|value| value.chars().count()).max();
    few(
        "a value of metadata_match",
        longest.unwrap_or(0),
        LONGEST_VALUE,
    )
}

fn sessions_are_good(sticky: &StickySessions) -> Checked {
    let StickySessions {
        ttl_seconds,
        session_identifiers,
    } = sticky;
    within(
        "sticky.ttl_seconds",
        Some(*ttl_seconds),
        (1, LONGEST_SESSION),
    )?;
    if session_identifiers.is_empty() {
        return Err(RoutingFault::Empty("sticky.session_identifiers"));
    }
    few(
        "sticky.session_identifiers",
        session_identifiers.len(),
        MOST_IDENTIFIERS,
    )
}

fn within(field: &'static str, number: Option<u32>, (least, most): (u32, u32)) -> Checked {
    match number {
        Some(found) if !(least..=most).contains(&found) => Err(RoutingFault::OutOfRange {
            field,
            found,
            least,
            most,
        }),
        Some(_) | None => Ok(()),
    }
}

fn few(field: &'static str, found: usize, most: usize) -> Checked {
    if found > most {
        return Err(RoutingFault::TooMany { field, found, most });
    }
    Ok(())
}

/// A request that one target can take, any other must be able to take as well.
fn types_agree(state: &Organisation, targets: &[RoutingTarget]) -> Result<(), Rejection> {
    let types_of = |target: &RoutingTarget| {
        state
            .models()
            .get(&target.model)
            .map(|it| it.model_types.clone())
    };
    let Some((first, rest)) = targets.split_first() else {
        return Ok(());
    };
    let mut common: BTreeSet<ModelType> = types_of(first).unwrap_or_default();
    for target in rest {
        let types = types_of(target).unwrap_or_default();
        common.retain(|model_type| types.contains(model_type));
        if common.is_empty() {
            return Err(Rejection::Routing(RoutingFault::NoCommonType {
                first: full_name(state, first.model),
                second: full_name(state, target.model),
            }));
        }
    }
    Ok(())
}

//! The entry that says how a virtual model chooses, where that is more than weights and fallback: beside the entry of the
//! virtual model, under the same id. A gateway that is older knows only the weights there.

use rkyv::{Archive, Serialize};

use super::entries::{TargetEntry, VirtualModelEntry};
use crate::{
    events::{
        DEFAULT_FALLBACK_STATUS_CODES, DEFAULT_RETRY_DELAY_MS, DEFAULT_RETRY_STATUS_CODES,
        HeadersOverride, Retry, Routing, RoutingStrategy, RoutingTarget, SessionSource, SlaCutoff,
        StickySessions,
    },
    state::VirtualModel,
};

/// How a virtual model chooses among its targets.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct RoutingEntry {
    /// The virtual model's id.
    pub virtual_model: [u8; 16],
    /// Which target is tried first.
    pub strategy: StrategyEntry,
    /// The targets.
    pub targets: Vec<RoutedTargetEntry>,
    /// Which requests stay with a target.
    pub sticky: Option<StickyEntry>,
    /// How long all attempts together may take until an answer begins.
    pub deadline_ms: Option<u32>,
    /// After how long the next target is asked as well.
    pub hedge_after_ms: Option<u32>,
}

/// Which target is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum StrategyEntry {
    /// By weight.
    Weight,
    /// One of the fastest.
    Latency,
    /// The one with the smallest number.
    Priority,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct RoutedTargetEntry {
    /// The model's id.
    pub model: [u8; 16],
    /// Its share of the requests.
    pub weight: u32,
    /// Where it stands, 0 the highest.
    pub priority: u32,
    /// On which statuses another target is tried.
    pub fallback_status_codes: Vec<u16>,
    /// Whether others may fall back to it.
    pub fallback_candidate: bool,
    /// When it is tried again.
    pub retry: Option<RetryEntry>,
    /// Above how many milliseconds to the first token the others are preferred.
    pub cutoff_first_token_ms: Option<u32>,
    /// Above how many milliseconds for each output token the others are preferred.
    pub cutoff_per_token_ms: Option<u32>,
    /// Members of the body that are replaced or added: their names with the JSON of their values, in the order of the names.
    pub override_params: Vec<(String, String)>,
    /// Headers that are set, their names in lower case.
    pub headers_set: Vec<(String, String)>,
    /// Headers that are left out, in lower case.
    pub headers_remove: Vec<String>,
    /// What a request's metadata must have.
    pub metadata_match: Vec<(String, String)>,
}

/// When a target is tried again.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct RetryEntry {
    /// How often.
    pub attempts: u8,
    /// After how long.
    pub delay_ms: u32,
    /// On which statuses.
    pub on_status_codes: Vec<u16>,
}

/// Which requests stay with a target.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct StickyEntry {
    /// For how many seconds after the last of them.
    pub ttl_seconds: u32,
    /// What tells sessions apart: whether it is a header (or metadata), and its name.
    pub identifiers: Vec<IdentifierEntry>,
}

/// One identifier of sessions.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct IdentifierEntry {
    /// Whether it is a header; else it is metadata.
    pub is_header: bool,
    /// The header's name in lower case, or the metadata's key.
    pub key: String,
}

/// Whether the weights and the fallback that stand in the virtual model's own entry say all of it.
pub(super) fn says_more(routing: &Routing) -> bool {
    let Routing {
        strategy,
        targets,
        sticky,
        deadline_ms,
        hedge_after_ms,
    } = routing;
    let only_weights = matches!(strategy, RoutingStrategy::WeightBased)
        && sticky.is_none()
        && deadline_ms.is_none()
        && hedge_after_ms.is_none()
        && targets.iter().all(has_only_a_weight);
    !only_weights
}

fn has_only_a_weight(target: &RoutingTarget) -> bool {
    let RoutingTarget {
        model: _,
        weight: _,
        priority: _,
        fallback_status_codes: _,
        fallback_candidate: _,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = target;
    retry.is_none()
        && sla_cutoff.is_none()
        && override_params.is_none()
        && headers_override.is_none()
        && metadata_match.is_none()
}

/// The virtual model's own entry. Where it chooses by other things than weights, the weights there come as near as they
/// can: the highest priority takes what it can get, or all targets alike.
pub(super) fn virtual_model(it: &VirtualModel) -> VirtualModelEntry {
    let VirtualModel {
        id,
        life: _,
        name,
        routing,
        disabled,
    } = it;
    let highest = routing.targets.iter().filter_map(|it| it.priority).min();
    let target = |target: &RoutingTarget| TargetEntry {
        model: target.model.bytes(),
        weight: match routing.strategy {
            RoutingStrategy::WeightBased => target.weight.unwrap_or(0),
            RoutingStrategy::LatencyBased => 1,
            RoutingStrategy::PriorityBased => u32::from(target.priority == highest),
        },
        fallback_status_codes: fallback_status_codes(target),
        fallback_candidate: target.fallback_candidate,
    };
    VirtualModelEntry {
        id: id.bytes(),
        name: name.to_string(),
        targets: routing.targets.iter().map(target).collect(),
        disabled: *disabled,
    }
}

pub(super) fn routing(it: &VirtualModel) -> RoutingEntry {
    let Routing {
        strategy,
        targets,
        sticky,
        deadline_ms,
        hedge_after_ms,
    } = &it.routing;
    RoutingEntry {
        virtual_model: it.id.bytes(),
        strategy: match strategy {
            RoutingStrategy::WeightBased => StrategyEntry::Weight,
            RoutingStrategy::LatencyBased => StrategyEntry::Latency,
            RoutingStrategy::PriorityBased => StrategyEntry::Priority,
        },
        targets: targets.iter().map(target).collect(),
        sticky: sticky.as_ref().map(sessions),
        deadline_ms: *deadline_ms,
        hedge_after_ms: *hedge_after_ms,
    }
}

fn target(it: &RoutingTarget) -> RoutedTargetEntry {
    let RoutingTarget {
        model,
        weight,
        priority,
        fallback_status_codes: _,
        fallback_candidate,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = it;
    let SlaCutoff {
        time_to_first_token_ms,
        time_per_output_token_ms,
    } = sla_cutoff.unwrap_or(SlaCutoff {
        time_to_first_token_ms: None,
        time_per_output_token_ms: None,
    });
    let HeadersOverride { set, remove } = headers_override.clone().unwrap_or_default();
    let params = override_params.as_ref().map(|it| it.members());
    let conditions = metadata_match.iter().flatten();
    RoutedTargetEntry {
        model: model.bytes(),
        weight: weight.unwrap_or(0),
        priority: priority.unwrap_or(0),
        fallback_status_codes: fallback_status_codes(it),
        fallback_candidate: *fallback_candidate,
        retry: retry.as_ref().map(retry_entry),
        cutoff_first_token_ms: time_to_first_token_ms,
        cutoff_per_token_ms: time_per_output_token_ms,
        override_params: params.unwrap_or_default(),
        headers_set: set
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        headers_remove: remove.iter().map(ToString::to_string).collect(),
        metadata_match: conditions
            .map(|(key, value)| (key.to_string(), value.clone()))
            .collect(),
    }
}

fn fallback_status_codes(it: &RoutingTarget) -> Vec<u16> {
    match &it.fallback_status_codes {
        Some(codes) => codes.iter().copied().collect(),
        None => DEFAULT_FALLBACK_STATUS_CODES.to_vec(),
    }
}

fn retry_entry(it: &Retry) -> RetryEntry {
    let Retry {
        attempts,
        delay_ms,
        on_status_codes,
    } = it;
    RetryEntry {
        attempts: *attempts,
        delay_ms: delay_ms.unwrap_or(DEFAULT_RETRY_DELAY_MS),
        on_status_codes: match on_status_codes {
            Some(codes) => codes.iter().copied().collect(),
            None => DEFAULT_RETRY_STATUS_CODES.to_vec(),
        },
    }
}

fn sessions(it: &StickySessions) -> StickyEntry {
    let StickySessions {
        ttl_seconds,
        session_identifiers,
    } = it;
    let identifier = |it: &crate::events::SessionIdentifier| match it.source {
        SessionSource::Headers => IdentifierEntry {
            is_header: true,
            key: it.key.to_string().to_ascii_lowercase(),
        },
        SessionSource::Metadata => IdentifierEntry {
            is_header: false,
            key: it.key.to_string(),
        },
    };
    StickyEntry {
        ttl_seconds: *ttl_seconds,
        identifiers: session_identifiers.iter().map(identifier).collect(),
    }
}

//! How a virtual model chooses among its targets: a part of its events, in schema version 2. Version 1 knew only weights.
//!
//! The names are those of the widely used YAML format `gateway-load-balancing-config`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::codec::Upcaster;
use crate::{
    id::ModelId,
    json::JsonObject,
    names::{HeaderName, HeaderText, MetadataKey},
};

/// On which HTTP statuses of a target's answer another target is tried, where its routing says nothing.
pub const DEFAULT_FALLBACK_STATUS_CODES: [u16; 7] = [401, 403, 404, 429, 500, 502, 503];

/// On which HTTP statuses of a target's answer the same target is tried again, where its [`Retry`] says nothing.
pub const DEFAULT_RETRY_STATUS_CODES: [u16; 4] = [429, 500, 502, 503];

/// How long a target is left alone before it is tried again, where nothing is said: milliseconds.
pub const DEFAULT_RETRY_DELAY_MS: u32 = 100;

/// How many targets a routing may have: more than a request could ever try, and few enough to stand in one snapshot entry.
pub const MOST_TARGETS: usize = 32;

/// How many retries of one target a routing or a caller may ask for: one that fails so often is left for another.
pub const MOST_RETRIES: u8 = 10;

/// How a virtual model chooses among its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Which target is tried first.
    pub strategy: RoutingStrategy,
    /// The targets, each model at most once; at least one, at most 32.
    pub targets: Vec<RoutingTarget>,
    /// Which requests stay with the target that answered the first of them; `None`: none.
    pub sticky: Option<StickySessions>,
    /// How many milliseconds all attempts together may take until an answer begins, 100 to 3,600,000; `None`: as long as
    /// the gateway waits.
    pub deadline_ms: Option<u32>,
    /// After how many milliseconds without an answer the next target is asked as well, 10 to 600,000, and the answer that
    /// begins first is taken; `None`: never.
    pub hedge_after_ms: Option<u32>,
}

/// Which target is tried first. The others follow when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoutingStrategy {
    /// By chance, in proportion to the weights.
    WeightBased,
    /// One of the fastest, by time per output token; those within 1.2 times of the fastest count as equal.
    LatencyBased,
    /// The one with the smallest number.
    PriorityBased,
}

impl RoutingStrategy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WeightBased, Self::LatencyBased, Self::PriorityBased];

    /// Its name in the API and in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WeightBased => "weight_based",
            Self::LatencyBased => "latency_based",
            Self::PriorityBased => "priority_based",
        }
    }
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RoutingTarget {
    /// The model.
    pub model: ModelId,
    /// Its share of the requests: 0 (only as a fallback) to 1,000,000. Weight-based routing needs it.
    pub weight: Option<u32>,
    /// Where it stands, 0 the highest. Priority-based routing needs it.
    pub priority: Option<u32>,
    /// On which HTTP statuses of its answer another target is tried; `None`: 401, 403, 404, 429, 500, 502, 503.
    pub fallback_status_codes: Option<BTreeSet<u16>>,
    /// Whether others may fall back to it.
    pub fallback_candidate: bool,
    /// When it is tried again before another one is; `None`: never.
    pub retry: Option<Retry>,
    /// Above which latency the others are preferred; `None`: whatever it is.
    pub sla_cutoff: Option<SlaCutoff>,
    /// Members that replace those of the request's body, or are added to it; `model`, `stream` and `stream_options` cannot
    /// be among them. At most 4,096 bytes.
    pub override_params: Option<JsonObject>,
    /// Headers of the request to the provider that are set or left out.
    pub headers_override: Option<HeadersOverride>,
    /// Only requests with all of this metadata are sent to it; at most 16 conditions, values of at most 128 characters.
    pub metadata_match: Option<BTreeMap<MetadataKey, String>>,
}

/// When a target is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often, beside the first attempt: 1 to 10.
    pub attempts: u8,
    /// After how many milliseconds, 0 to 60,000; `None`: 100.
    pub delay_ms: Option<u32>,
    /// On which HTTP statuses of its answer; `None`: 429, 500, 502, 503. When there is no answer, always.
    pub on_status_codes: Option<BTreeSet<u16>>,
}

/// How slow a target may become before the others are preferred, by the mean of its last three minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SlaCutoff {
    /// Milliseconds to the first token of a stream, 1 to 600,000.
    pub time_to_first_token_ms: Option<u32>,
    /// Milliseconds for each output token, 1 to 600,000.
    pub time_per_output_token_ms: Option<u32>,
}

/// Headers of the request to the provider that differ from the caller's. Those that belong to the connection, to the
/// account's credential or to the body's form cannot be among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HeadersOverride {
    /// These are set; at most 32.
    pub set: BTreeMap<HeaderName, HeaderText>,
    /// These are left out; at most 32.
    pub remove: BTreeSet<HeaderName>,
}

/// Which requests belong together, and for how long they stay with one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StickySessions {
    /// For how many seconds after the last request of a session: 1 to 604,800.
    pub ttl_seconds: u32,
    /// Requests in which all of these are the same are one session; one without any of them is in none. One to four.
    pub session_identifiers: Vec<SessionIdentifier>,
}

/// What tells sessions apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SessionIdentifier {
    /// Where it stands.
    pub source: SessionSource,
    /// The header's name, or the metadata's key.
    pub key: MetadataKey,
}

/// Where a session's identifier stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionSource {
    /// In a header of the request.
    Headers,
    /// In the request's metadata.
    Metadata,
}

impl RoutingTarget {
    /// A target with a weight, and everything else as usual.
    #[must_use]
    pub const fn weighted(model: ModelId, weight: u32) -> Self {
        Self {
            model,
            weight: Some(weight),
            priority: None,
            fallback_status_codes: None,
            fallback_candidate: true,
            retry: None,
            sla_cutoff: None,
            override_params: None,
            headers_override: None,
            metadata_match: None,
        }
    }
}

impl Routing {
    /// By chance, in proportion to weights, and everything else as usual.
    #[must_use]
    pub const fn weighted(targets: Vec<RoutingTarget>) -> Self {
        Self {
            strategy: RoutingStrategy::WeightBased,
            targets,
            sticky: None,
            deadline_ms: None,
            hedge_after_ms: None,
        }
    }
}

// === from schema version 1 ===

/// Of `virtual_model_created`.
pub(super) const CREATED_V1: Upcaster = Upcaster {
    kind: "virtual_model_created",
    from: 1,
    apply: |text| {
        let CreatedV1 { name, routing } = serde_json::from_str(text)?;
        serde_json::to_string(&Created {
            name,
            routing: routing.upcast(),
        })
    },
};

/// Of `virtual_model_routing_changed`.
pub(super) const CHANGED_V1: Upcaster = Upcaster {
    kind: "virtual_model_routing_changed",
    from: 1,
    apply: |text| {
        let ChangedV1 { routing } = serde_json::from_str(text)?;
        serde_json::to_string(&Changed {
            routing: routing.upcast(),
        })
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreatedV1 {
    name: String,
    routing: RoutingV1,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangedV1 {
    routing: RoutingV1,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RoutingV1 {
    Weighted { targets: Vec<TargetV1> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetV1 {
    model: ModelId,
    weight: u32,
    fallback_status_codes: Option<BTreeSet<u16>>,
    fallback_candidate: bool,
}

#[derive(Serialize)]
struct Created {
    name: String,
    routing: Routing,
}

#[derive(Serialize)]
struct Changed {
    routing: Routing,
}

impl RoutingV1 {
    fn upcast(self) -> Routing {
        let Self::Weighted { targets } = self;
        let target = |it: TargetV1| RoutingTarget {
            fallback_status_codes: it.fallback_status_codes,
            fallback_candidate: it.fallback_candidate,
            ..RoutingTarget::weighted(it.model, it.weight)
        };
        Routing::weighted(targets.into_iter().map(target).collect())
    }
}

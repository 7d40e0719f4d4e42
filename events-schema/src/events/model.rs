//! Events of models and virtual models.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    id::{ModelId, ProviderAccountId},
    money::Price,
    names::{ModelName, Slug},
    time::Timestamp,
};

/// What a model can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    /// `/v1/chat/completions`, and at Anthropic `/v1/messages`.
    Chat,
    /// `/v1/embeddings`.
    Embedding,
    /// `/v1/completions`.
    Completion,
}

/// What happens to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelEvent {
    /// A model of a provider account was made known.
    ModelAdded {
        /// The account.
        account: ProviderAccountId,
        /// Its name: callers ask for `<account's name>/<name>`.
        name: ModelName,
        /// The provider's own name for it.
        upstream_name: ModelName,
        /// What it can be asked for; at least one.
        model_types: BTreeSet<ModelType>,
    },
    /// It was given another name.
    ModelRenamed {
        /// The new name.
        name: ModelName,
    },
    /// It stands for another model of the provider.
    ModelUpstreamNameChanged {
        /// The provider's name for it.
        upstream_name: ModelName,
    },
    /// A price was set, from a moment on.
    ModelPriced {
        /// The price.
        price: Price,
        /// From when on it applies to requests.
        effective_at: Timestamp,
    },
    /// It takes no requests any more.
    ModelDisabled {},
    /// It takes requests again.
    ModelEnabled {},
    /// It is gone.
    ModelDeleted {},
}

/// How a virtual model chooses among its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Routing {
    /// By chance, in proportion to the weights; a target that fails falls back to the others.
    Weighted {
        /// The targets, each model at most once; at least one, at most 32.
        targets: Vec<WeightedTarget>,
    },
}

/// One target of weighted routing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WeightedTarget {
    /// The model.
    pub model: ModelId,
    /// Its share of the requests: 0 (only as a fallback) to 1,000,000.
    pub weight: u32,
    /// On which HTTP statuses of its answer another target is tried; `None`: 401, 403, 404, 429, 500, 502, 503.
    pub fallback_status_codes: Option<BTreeSet<u16>>,
    /// Whether others may fall back to it.
    pub fallback_candidate: bool,
}

/// What happens to a virtual model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VirtualModelEvent {
    /// A virtual model was made.
    VirtualModelCreated {
        /// The name that callers ask for.
        name: Slug,
        /// How it chooses among its targets.
        routing: Routing,
    },
    /// It was given another name.
    VirtualModelRenamed {
        /// The new name.
        name: Slug,
    },
    /// It chooses differently.
    VirtualModelRoutingChanged {
        /// The new routing.
        routing: Routing,
    },
    /// It takes no requests any more.
    VirtualModelDisabled {},
    /// It takes requests again.
    VirtualModelEnabled {},
    /// It is gone.
    VirtualModelDeleted {},
}

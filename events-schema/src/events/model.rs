//! Events of models and virtual models.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Routing;
use crate::{
    id::ProviderAccountId,
    money::{NanoUsd, Price},
    names::{ModelName, VirtualModelName},
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

/// What requests cost before a correction of their price, and after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CostDifference {
    /// How many requests.
    pub requests: u64,
    /// What they cost together, by what was known until then.
    pub cost_before: NanoUsd,
    /// What they cost together from then on.
    pub cost_after: NanoUsd,
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
    /// The price of a time was wrong: what the model answered of the requests that arrived in it costs what this one says. Of two
    /// such that overlap, the later in the log holds.
    UsageRepriced {
        /// From when on, inclusive.
        from: Timestamp,
        /// Until when, exclusive.
        until: Timestamp,
        /// The price.
        price: Price,
        /// The difference that was shown before it was decided.
        shown: CostDifference,
    },
    /// It takes no requests any more.
    ModelDisabled {},
    /// It takes requests again.
    ModelEnabled {},
    /// It is gone.
    ModelDeleted {},
}

/// What happens to a virtual model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VirtualModelEvent {
    /// A virtual model was made.
    VirtualModelCreated {
        /// The name that callers ask for.
        name: VirtualModelName,
        /// How it chooses among its targets.
        routing: Routing,
    },
    /// It was given another name.
    VirtualModelRenamed {
        /// The new name.
        name: VirtualModelName,
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

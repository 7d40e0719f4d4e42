//! How the deployment is.

use serde::{Deserialize, Serialize};

use crate::{envelope::Epoch, report::GatewayReport, time::Timestamp};

/// Answer of `GET /status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// The version of Sluice.
    pub version: String,
    /// The epoch of the log.
    pub epoch: Option<Epoch>,
    /// The position of the log's head.
    pub position: u64,
    /// The hash of the log's head, as hexadecimal digits.
    pub hash: String,
    /// When the head was recorded.
    pub recorded_at: Option<Timestamp>,
    /// The digest of the state, as hexadecimal digits.
    pub state_digest: String,
    /// Up to which position events are published.
    pub published: Option<u64>,
    /// Why commands are refused, if they are.
    pub appends_stopped: Option<String>,
    /// Since when the ledger has records; `None`: it has none, or cannot be asked.
    pub ledger_since: Option<Timestamp>,
    /// Why the ledger cannot be asked, if so.
    pub ledger_error: Option<String>,
    /// The base URL of the gateway, for callers.
    pub gateway_url: String,
}

/// A gateway as the control plane sees it: answer of `GET /gateways`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GatewayItem {
    /// Its last report.
    pub report: GatewayReport,
    /// When it came in.
    pub seen_at: Timestamp,
    /// How many positions it is behind the log.
    pub lag: u64,
    /// Whether it reported within the last 10 s.
    pub live: bool,
}

/// Answer of `GET /served`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Served {
    /// Whether every gateway seen in the last 10 s serves the position.
    pub served: bool,
    /// How many gateways were seen.
    pub gateways: u64,
    /// The lowest position that any of them serves.
    pub lowest_position: Option<u64>,
}

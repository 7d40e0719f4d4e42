//! What a gateway says about itself, once a second, over core NATS as JSON.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{envelope::Epoch, id::ModelId, time::Timestamp, usage::Health};

/// The state of one gateway process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GatewayReport {
    /// The gateway: stays the same over restarts with the same data folder.
    pub gateway: Uuid,
    /// This life of its process.
    pub incarnation: Uuid,
    /// Where it runs, as its operator calls it.
    pub region: String,
    /// Its version of Sluice.
    pub version: String,
    /// When the report was made, by the gateway's clock.
    pub at: Timestamp,
    /// When the process started.
    pub started_at: Timestamp,
    /// The epoch that it serves; `None`: nothing is loaded.
    pub epoch: Option<Epoch>,
    /// The position that it serves; 0: nothing is loaded.
    pub position: u64,
    /// The lowest position whose change it does not serve yet, although `position` may lie behind it: a provider account
    /// waits for its sealed credential. `None`: nothing is lacking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks_from: Option<u64>,
    /// How many entries it holds.
    pub entries: u64,
    /// The digest over its entries, as hexadecimal digits.
    pub entries_digest: String,
    /// Whether no heartbeat has agreed with its entries.
    pub unproven: bool,
    /// Whether it serves from its disk because the stream is away.
    pub from_disk: bool,
    /// Milliseconds since it last heard from the stream.
    pub stream_silent_ms: u64,
    /// How many entries it refused since it started.
    pub refused_entries: u64,
    /// Requests since it started.
    pub requests: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Request records that wait in memory.
    pub records_in_ring: u64,
    /// Bytes of request records that wait on disk.
    pub spool_bytes: u64,
    /// Request records that were dropped since it started.
    pub records_dropped: u64,
    /// How the models fare that it asked last, at most 100; `None`: it is a gateway that does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<ReportedTarget>>,
}

impl GatewayReport {
    /// The position to which it serves everything.
    #[must_use]
    pub fn served_to(&self) -> u64 {
        let before = |lacks_from: u64| lacks_from.saturating_sub(1);
        let whole = self.lacks_from.map_or(u64::MAX, before);
        self.position.min(whole)
    }
}

/// How one model fares, as a gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportedTarget {
    /// The model.
    pub model: ModelId,
    /// Its full name, when it was first asked.
    pub name: String,
    /// How it fares.
    pub health: Health,
}

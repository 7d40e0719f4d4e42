//! An event as a row of the table `admin_events`.

use clickhouse::Row;
use events_schema::envelope::{Envelope, Epoch, GENESIS};
use serde::{Deserialize, Serialize};

/// Where the trail ends.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub(crate) struct Head {
    pub(crate) position: u64,
    /// In hexadecimal digits.
    pub(crate) hash: String,
}

/// One row; its fields are the table's columns.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize)]
pub(super) struct AuditRow {
    position: u64,
    epoch: String,
    event_id: (u64, u64),
    aggregate: String,
    stream: String,
    stream_version: u64,
    kind: String,
    schema_version: u16,
    recorded_at: i64,
    actor: String,
    cause: (u64, u64),
    correlation: (u64, u64),
    why: Option<String>,
    payload: String,
    prev_hash: String,
    hash: String,
}

// === impl Head ===

impl Head {
    /// Before the first event.
    pub(crate) fn genesis() -> Self {
        Self {
            position: 0,
            hash: hex::encode(GENESIS),
        }
    }

    /// The hash as bytes; a text that is none follows nothing.
    pub(super) fn hash_bytes(&self) -> [u8; 32] {
        let mut bytes = GENESIS;
        if hex::decode_to_slice(&self.hash, &mut bytes).is_err() {
            tracing::warn!(
                position = self.position,
                "the audit trail's last hash cannot be read"
            );
        }
        bytes
    }
}

// === impl AuditRow ===

impl AuditRow {
    /// Writes an event down.
    pub(super) fn new(epoch: Epoch, envelope: Envelope) -> Self {
        let Envelope {
            position,
            event_id,
            stream,
            stream_version,
            kind,
            schema_version,
            recorded_at,
            actor,
            cause,
            correlation,
            why,
            payload,
            prev_hash,
            hash,
        } = envelope;
        Self {
            position,
            epoch: epoch.to_string(),
            event_id: event_id.uuid().as_u64_pair(),
            aggregate: stream.aggregate().as_str().to_owned(),
            stream: stream.to_string(),
            stream_version,
            kind,
            schema_version,
            recorded_at: recorded_at.micros(),
            actor: actor.to_string(),
            cause: cause.uuid().as_u64_pair(),
            correlation: correlation.as_u64_pair(),
            why,
            payload,
            prev_hash: hex::encode(prev_hash),
            hash: hex::encode(hash),
        }
    }
}

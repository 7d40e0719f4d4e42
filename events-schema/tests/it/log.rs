//! Events in a row: an envelope around each, with a good chain.

use std::collections::BTreeMap;

use events_schema::{
    actor::{Actor, System},
    envelope::{Envelope, Epoch, GENESIS},
    events::{Event, codec},
    id::{CommandId, EventId},
    time::Timestamp,
};
use uuid::Uuid;

/// The epoch of all logs here.
pub(crate) const EPOCH: Epoch = Epoch {
    seconds: 1_795_348_800,
    id: Uuid::from_bytes([0xee; 16]),
};

/// The log that holds these events, each caused by a command of its own.
pub(crate) fn log_of(events: &[Event]) -> Vec<Envelope> {
    let mut hash = GENESIS;
    let mut versions = BTreeMap::new();
    let mut rows = Vec::with_capacity(events.len());
    for (event, position) in events.iter().zip(1..) {
        let version = versions.entry(event.stream()).or_insert(0);
        *version += 1;
        let mut row = row(event, position, *version);
        row.prev_hash = hash;
        row.hash = row.computed_hash();
        hash = row.hash;
        rows.push(row);
    }
    rows
}

fn row(event: &Event, position: u64, stream_version: u64) -> Envelope {
    let encoded = codec::encode(event);
    let cause = CommandId::from_uuid(Uuid::from_u64_pair(0xc0, position));
    Envelope {
        position,
        event_id: EventId::from_uuid(Uuid::from_u64_pair(0xe0, position)),
        stream: event.stream(),
        stream_version,
        kind: encoded.kind,
        schema_version: encoded.schema_version,
        recorded_at: a_time().plus_micros(i64::try_from(position).expect("a short log")),
        actor: Actor::System(System::CommandLine),
        cause,
        correlation: cause.uuid(),
        why: position
            .is_multiple_of(2)
            .then(|| format!("reason {position}: \"é\"")),
        payload: encoded.payload,
        prev_hash: GENESIS,
        hash: GENESIS,
    }
}

/// A fixed time.
pub(crate) fn a_time() -> Timestamp {
    Timestamp::from_micros(1_795_348_800_000_000).expect("in range")
}

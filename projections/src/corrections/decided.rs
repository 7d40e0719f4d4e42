//! What was decided of prices, out of the audit trail.

use clickhouse::Row;
use events_schema::{
    events::{Event, ModelEvent, Stream, codec},
    id::ModelId,
    ledger::Repriced,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::warehouse::{RetentionError, Warehouse, within};

/// A correction of a price that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    /// What it says.
    pub(super) repriced: Repriced,
    /// The hash of its row in the log, in hexadecimal digits: tells it from another event that stood at the position once.
    pub(super) hash: String,
}

/// What a pass writes down of a correction that held: enough to know it again, and to take it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) position: u64,
    pub(super) hash: String,
    pub(super) model: ModelId,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

#[derive(Row, Deserialize)]
struct EventRow {
    position: u64,
    stream: String,
    schema_version: u16,
    payload: String,
    hash: String,
}

/// All corrections up to a position. A row may stand twice until ClickHouse merges the two.
const DECISIONS: &str = "SELECT position, stream, schema_version, payload, hash FROM admin_events \
    WHERE aggregate = 'model' AND kind = 'usage_repriced' AND position <= {end:UInt64} \
    ORDER BY position LIMIT 1 BY position";

// === impl Decided ===

impl Decided {
    /// As a pass writes it down.
    pub(super) fn told(&self) -> Told {
        let Repriced {
            position,
            model,
            from,
            until,
            price: _,
        } = self.repriced;
        Told {
            position,
            hash: self.hash.clone(),
            model,
            from,
            until,
        }
    }
}

impl Warehouse {
    /// The corrections of prices that were decided, up to the position `end`, in their order.
    pub(super) async fn repricings_decided(
        &self,
        end: u64,
    ) -> Result<Vec<Decided>, RetentionError> {
        let query = self.client().query(DECISIONS).param("end", end);
        let rows: Vec<EventRow> =
            within("reading the corrections of prices", query.fetch_all()).await?;
        let read = rows.into_iter().map(EventRow::read);
        let read: Vec<Option<Decided>> = read.collect::<Result<_, _>>()?;
        Ok(read.into_iter().flatten().collect())
    }
}

// === impl EventRow ===

impl EventRow {
    fn read(self) -> Result<Option<Decided>, RetentionError> {
        let Self {
            position,
            stream,
            schema_version,
            payload,
            hash,
        } = self;
        let unreadable = |source| RetentionError::Event { position, source };
        let Ok(stream) = stream.parse::<Stream>() else {
            return Ok(None);
        };
        let event = codec::decode(stream, "usage_repriced", schema_version, &payload);
        Ok(match event.map_err(unreadable)? {
            Event::Model(
                model,
                ModelEvent::UsageRepriced {
                    from,
                    until,
                    price,
                    shown: _,
                },
            ) => Some(Decided {
                repriced: Repriced {
                    position,
                    model,
                    from,
                    until,
                    price,
                },
                hash,
            }),
            _ => None,
        })
    }
}

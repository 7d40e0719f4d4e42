//! How long the tables keep what the ledger counts.
//!
//! What was ever decided about it is read from the audit trail, which lies in the same database; what a table does now,
//! from the table itself. So a change is made where it is missing, whatever happened before.

use clickhouse::Row;
use events_schema::{
    events::{DecodeError, Event, SettingsEvent, Stream, codec},
    state::Retention,
    time::Timestamp,
};
use serde::Deserialize;

use super::{Warehouse, WarehouseError, within};

/// What was decided about retention, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) at: Timestamp,
    pub(crate) retention: Retention,
}

/// Why it is not known what was decided.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// ClickHouse did not say.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// An event in the audit trail cannot be read by this version.
    #[error("the audit trail's event at position {position} cannot be read")]
    Event {
        /// Where it stands.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
}

#[derive(Row, Deserialize)]
struct EventRow {
    position: u64,
    kind: String,
    schema_version: u16,
    recorded_us: i64,
    payload: String,
}

/// All decisions up to a position, the oldest first. A row may stand twice until ClickHouse merges the two.
const DECISIONS: &str = "SELECT position, kind, schema_version, toUnixTimestamp64Micro(recorded_at) AS recorded_us, payload \
    FROM admin_events WHERE aggregate = 'settings' AND position <= {end:UInt64} ORDER BY position LIMIT 1 BY position";

/// After how many days a table's rows are deleted; nothing for a table that is not there.
const KEPT_DAYS: &str = "SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) \
    FROM system.tables WHERE database = currentDatabase() AND name = {table:String}";

impl Warehouse {
    /// What was decided about retention up to the position `end`, the oldest first.
    pub(crate) async fn retention_decisions(
        &self,
        end: u64,
    ) -> Result<Vec<Decided>, RetentionError> {
        let query = self.client().query(DECISIONS).param("end", end);
        let rows: Vec<EventRow> = within("reading the settings", query.fetch_all()).await?;
        let mut decided = Vec::new();
        for row in rows {
            let EventRow {
                position,
                kind,
                schema_version,
                recorded_us,
                payload,
            } = row;
            let event = codec::decode(Stream::Settings, &kind, schema_version, &payload)
                .map_err(|source| RetentionError::Event { position, source })?;
            if let Event::Settings(SettingsEvent::RetentionChanged {
                requests_days,
                sums_days,
            }) = event
            {
                decided.push(Decided {
                    at: Timestamp::from_micros(recorded_us).unwrap_or(Timestamp::MIN),
                    retention: Retention {
                        requests_days,
                        sums_days,
                    },
                });
            }
        }
        Ok(decided)
    }

    /// Lets the ledger's tables keep their rows for so long. Returns which of them did otherwise. What is past its time
    /// goes in the background; what was deleted does not come back.
    ///
    /// Columns stay as they are, so that what the client remembers of them stays true.
    pub(crate) async fn keep_for(
        &self,
        retention: Retention,
    ) -> Result<Vec<&'static str>, WarehouseError> {
        let Retention {
            requests_days,
            sums_days,
        } = retention;
        let mut changed = Vec::new();
        for (table, time, days) in [
            ("requests", "toDateTime(received_at)", requests_days),
            ("usage_1m", "minute", sums_days),
        ] {
            let query = self.client().query(KEPT_DAYS).param("table", table);
            let doing = "asking how long a table keeps its rows";
            let now: Option<u32> = within(doing, query.fetch_optional()).await?;
            if now.is_some_and(|now| now != days) {
                let alter = format!("ALTER TABLE {table} MODIFY TTL {time} + INTERVAL {days} DAY");
                let query = self.client().query(&alter);
                within("changing how long a table keeps its rows", query.execute()).await?;
                changed.push(table);
            }
        }
        Ok(changed)
    }
}

//! How long the tables keep what the ledger counts.
//!
//! What was decided about it is read from the audit trail, which lies in the same database; what a table does now, from
//! the table itself. So a change is made where it is missing, whatever happened before. What `requests` did until then is
//! written down first: a decision may come long before its change.

use clickhouse::Row;
use events_schema::{
    events::{DecodeError, Event, SettingsEvent, Stream, codec},
    ledger::KEPT_DAYS,
    state::Retention,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Warehouse, WarehouseError, within};

/// That requests were deleted after so many days, and when that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Days; 0: nobody knows.
    pub(crate) days: u32,
    /// Microseconds since 1970.
    pub(crate) until: i64,
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
    payload: String,
}

/// All changes of settings up to a position, the newest first. A row may stand twice until ClickHouse merges the two.
const DECISIONS: &str = "SELECT position, kind, schema_version, payload \
    FROM admin_events WHERE aggregate = 'settings' AND position <= {end:UInt64} ORDER BY position DESC LIMIT 1 BY position";

impl Warehouse {
    /// What was decided last about retention, up to the position `end`.
    pub(crate) async fn retention_decided(
        &self,
        end: u64,
    ) -> Result<Option<Retention>, RetentionError> {
        let query = self.client().query(DECISIONS).param("end", end);
        let rows: Vec<EventRow> = within("reading the settings", query.fetch_all()).await?;
        for row in rows {
            let EventRow {
                position,
                kind,
                schema_version,
                payload,
            } = row;
            let event = codec::decode(Stream::Settings, &kind, schema_version, &payload)
                .map_err(|source| RetentionError::Event { position, source })?;
            if let Event::Settings(SettingsEvent::RetentionChanged {
                requests_days,
                sums_days,
            }) = event
            {
                return Ok(Some(Retention {
                    requests_days,
                    sums_days,
                }));
            }
        }
        Ok(None)
    }

    /// For how long requests were ever kept, and are kept `now`.
    pub(crate) async fn requests_kept(&self, now: Timestamp) -> Result<Vec<Kept>, WarehouseError> {
        let query = self.client().query("SELECT ?fields FROM ledger_retention");
        let doing = "reading how long requests were kept";
        let mut kept: Vec<Kept> = within(doing, query.fetch_all()).await?;
        kept.push(Kept {
            days: self.kept_days("requests").await?.unwrap_or_default(),
            until: now.micros(),
        });
        Ok(kept)
    }

    /// After how many days this table's rows are deleted; 0 when it cannot be told, nothing for a table that is not there.
    async fn kept_days(&self, table: &str) -> Result<Option<u32>, WarehouseError> {
        let query = self.client().query(KEPT_DAYS).param("table", table);
        let doing = "asking how long a table keeps its rows";
        within(doing, query.fetch_optional()).await
    }

    /// Writes down what `requests` has done until now.
    async fn note_kept(&self, kept: Kept) -> Result<(), WarehouseError> {
        within("writing down how long requests were kept", async {
            let mut insert = self.client().insert::<Kept>("ledger_retention").await?;
            insert.write(&kept).await?;
            insert.end().await
        })
        .await
    }

    /// Lets the ledger's tables keep their rows for so long. Returns which of them did otherwise. What is past its time
    /// goes in the background; what was deleted does not come back.
    ///
    /// Columns stay as they are, so that what the client remembers of them stays true.
    pub(crate) async fn keep_for(
        &self,
        retention: Retention,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, WarehouseError> {
        let Retention {
            requests_days,
            sums_days,
        } = retention;
        let mut changed = Vec::new();
        for (table, time, days) in [
            ("requests", "toDateTime(received_at)", requests_days),
            ("usage_1m", "minute", sums_days),
            ("cost_corrections", "toDateTime(received_at)", requests_days),
            ("cost_corrections_1m", "minute", sums_days),
        ] {
            let before = self.kept_days(table).await?;
            if let Some(before) = before.filter(|before| *before != days) {
                if table == "requests" {
                    let until = now.micros();
                    self.note_kept(Kept {
                        days: before,
                        until,
                    })
                    .await?;
                }
                let alter = format!("ALTER TABLE {table} MODIFY TTL {time} + INTERVAL {days} DAY");
                let query = self.client().query(&alter);
                within("changing how long a table keeps its rows", query.execute()).await?;
                changed.push(table);
            }
        }
        Ok(changed)
    }
}

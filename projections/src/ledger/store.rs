//! The ledger's tables: what is known, and what a batch adds.

use clickhouse::{Client, Row, RowWrite};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::batch::{Batch, End, Gap, Marks};
use super::row::as_pair;
use crate::warehouse::{Warehouse, WarehouseError, within};

/// What is about to be inserted: enough to do it again.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The how-manieth batch of this ledger.
    pub(super) ordinal: u64,
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    /// Of the messages in that range.
    pub(super) hash: String,
    /// Which process wrote it: two numbers, as ClickHouse keeps a UUID.
    pub(super) worker: (u64, u64),
}

#[derive(Row, Deserialize)]
struct Mark {
    incarnation: (u64, u64),
    number: u64,
}

#[derive(Row, Serialize)]
struct GapRow {
    #[serde(serialize_with = "as_pair")]
    gateway: Uuid,
    #[serde(serialize_with = "as_pair")]
    incarnation: Uuid,
    first_number: u64,
    last_number: u64,
    usage_sequence: u64,
    ledger_batch: u64,
}

#[derive(Row, Serialize)]
struct EndRow {
    #[serde(serialize_with = "as_pair")]
    incarnation: Uuid,
    last_number: u64,
}

/// The ledger.
#[derive(Clone)]
pub(super) struct Store {
    warehouse: Warehouse,
}

// === impl Intent ===

impl Intent {
    /// The same for the same messages only, so that ClickHouse knows a repetition.
    pub(super) fn token(&self) -> String {
        format!(
            "{}-{}:{}",
            self.first_sequence, self.last_sequence, self.hash
        )
    }
}

// === impl Store ===

impl Store {
    pub(super) const fn new(warehouse: Warehouse) -> Self {
        Self { warehouse }
    }

    /// Makes whatever table is missing.
    pub(super) async fn prepare(&self) -> Result<(), WarehouseError> {
        self.warehouse.migrate().await
    }

    /// The batch that was begun last.
    pub(super) async fn newest_intent(&self) -> Result<Option<Intent>, WarehouseError> {
        let sql = "SELECT ?fields FROM ledger_batches ORDER BY ordinal DESC LIMIT 1";
        let query = self.warehouse.client().query(sql);
        within("reading the newest batch", query.fetch_optional()).await
    }

    /// Makes the rollup agree with what was inserted of a batch that cannot be inserted again.
    pub(super) async fn mend(&self, intent: &Intent) -> Result<usize, WarehouseError> {
        self.warehouse.mend_rollup(intent.ordinal).await
    }

    /// The highest numbers of all batches before `ordinal`, counted or given up.
    pub(super) async fn marks(&self, ordinal: u64) -> Result<Marks, WarehouseError> {
        let sql = "SELECT incarnation, max(mark) AS number FROM ( \
                   SELECT incarnation, max(number) AS mark FROM requests \
                   WHERE ledger_batch < {ordinal:UInt64} GROUP BY incarnation \
                   UNION ALL \
                   SELECT incarnation, max(last_number) AS mark FROM ledger_gaps \
                   WHERE ledger_batch < {ordinal:UInt64} GROUP BY incarnation \
                   ) GROUP BY incarnation";
        let query = self.warehouse.client().query(sql).param("ordinal", ordinal);
        let marks: Vec<Mark> = within("reading the marks", query.fetch_all()).await?;
        Ok(Marks::new(marks.into_iter().map(
            |Mark {
                 incarnation: (high, low),
                 number,
             }| (Uuid::from_u64_pair(high, low), number),
        )))
    }

    /// Says what will be inserted next, and returns what stands at that place: the same, or what another worker
    /// has put there first. (The token is that of the place, so ClickHouse takes one batch for it.)
    pub(super) async fn claim(&self, intent: &Intent) -> Result<Option<Intent>, WarehouseError> {
        let token = format!("batch {}", intent.ordinal);
        let client = self
            .warehouse
            .client()
            .clone()
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token);
        within(
            "writing a batch's identity",
            insert(client, "ledger_batches", std::slice::from_ref(intent)),
        )
        .await?;
        self.newest_intent().await
    }

    /// Inserts a batch; a second time it does nothing.
    pub(super) async fn insert(
        &self,
        intent: &Intent,
        batch: &Batch,
    ) -> Result<(), WarehouseError> {
        let Batch {
            rows,
            gaps,
            ends,
            poison: _,
            repeated: _,
        } = batch;
        let client = self
            .warehouse
            .client()
            .clone()
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", intent.token())
            .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
            // A spool may hold records of many days.
            .with_setting("throw_on_max_partitions_per_insert_block", "0");
        if !rows.is_empty() {
            within(
                "inserting requests",
                insert(client.clone(), "requests", rows),
            )
            .await?;
        }
        if !gaps.is_empty() {
            let rows: Vec<GapRow> = gaps.iter().map(|gap| GapRow::new(gap, intent)).collect();
            within(
                "inserting gaps",
                insert(client.clone(), "ledger_gaps", &rows),
            )
            .await?;
        }
        if !ends.is_empty() {
            let rows: Vec<EndRow> = ends.iter().map(EndRow::new).collect();
            within("inserting ends", insert(client, "ledger_ends", &rows)).await?;
        }
        Ok(())
    }
}

// === impl EndRow ===

impl EndRow {
    const fn new(end: &End) -> Self {
        let End {
            incarnation,
            last_number,
        } = *end;
        Self {
            incarnation,
            last_number,
        }
    }
}

// === impl GapRow ===

impl GapRow {
    fn new(gap: &Gap, intent: &Intent) -> Self {
        let Gap {
            gateway,
            incarnation,
            first_number,
            last_number,
            usage_sequence,
        } = gap.clone();
        Self {
            gateway,
            incarnation,
            first_number,
            last_number,
            usage_sequence,
            ledger_batch: intent.ordinal,
        }
    }
}

async fn insert<R>(client: Client, table: &str, rows: &[R]) -> Result<(), clickhouse::error::Error>
where
    R: RowWrite + for<'a> Row<Value<'a> = R>,
{
    let mut insert = client.insert::<R>(table).await?;
    for row in rows {
        insert.write(row).await?;
    }
    insert.end().await
}

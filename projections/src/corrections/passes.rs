//! Passes: which there were, and that one takes its place.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::LookError;
use super::decided::Told;
use crate::ledger::as_pair;
use crate::warehouse::{Warehouse, WarehouseError, within};

/// A pass: its rows hold once it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// The how-manieth, from 1.
    pub(super) ordinal: u64,
    /// What its rows carry.
    pub(super) id: Uuid,
    /// Up to which batch of the ledger requests were compared.
    pub(super) through_batch: u64,
    /// The corrections that hold by then.
    pub(super) holds: Vec<Told>,
}

/// What came of taking a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is taken.
    Taken,
    /// Another has it: what was done for it is in vain.
    Lost,
}

#[derive(Row, Serialize, Deserialize)]
struct PassRow {
    ordinal: u64,
    #[serde(serialize_with = "as_pair", deserialize_with = "from_pair")]
    pass: Uuid,
    through_batch: u64,
    repricings: String,
}

/// The pass that was made last.
pub(super) async fn newest(warehouse: &Warehouse) -> Result<Option<Pass>, LookError> {
    let sql = "SELECT ?fields FROM correction_passes ORDER BY ordinal DESC LIMIT 1";
    let query = warehouse.client().query(sql);
    let row: Option<PassRow> = within("reading the newest pass", query.fetch_optional()).await?;
    row.map(PassRow::read).transpose()
}

/// Takes a pass's place, from when on its rows hold. Another worker may have been there before: the place's name is the token, so
/// ClickHouse takes one of them.
pub(super) async fn claim(warehouse: &Warehouse, pass: &Pass) -> Result<Claim, WarehouseError> {
    let row = PassRow::new(pass);
    let token = format!("pass {}", pass.ordinal);
    let client = warehouse
        .client()
        .clone()
        .with_setting("insert_deduplicate", "1")
        .with_setting("insert_deduplication_token", token);
    within("writing a pass down", async {
        let mut insert = client.insert::<PassRow>("correction_passes").await?;
        insert.write(&row).await?;
        insert.end().await
    })
    .await?;
    let sql = "SELECT toString(pass) FROM correction_passes WHERE ordinal = {ordinal:UInt64}";
    let query = warehouse.client().query(sql).param("ordinal", pass.ordinal);
    let there: Vec<String> = within("looking who made a pass", query.fetch_all()).await?;
    Ok(if there == [pass.id.to_string()] {
        Claim::Taken
    } else {
        Claim::Lost
    })
}

/// Removes rows of passes that were begun and never made. Whoever may still be at one of them loses its place first, to an
/// empty pass `id`; after that nothing else is removed than what was there before. `None`: there was nothing to remove.
pub(super) async fn clear(
    warehouse: &Warehouse,
    newest: Option<&Pass>,
    id: Uuid,
) -> Result<Option<Claim>, WarehouseError> {
    let sql = "SELECT DISTINCT toString(pass) FROM cost_corrections \
               WHERE pass NOT IN (SELECT pass FROM correction_passes)";
    let query = warehouse.client().query(sql);
    let left: Vec<String> = within("looking for unfinished passes", query.fetch_all()).await?;
    if left.is_empty() {
        return Ok(None);
    }
    let empty = Pass {
        ordinal: newest.map_or(0, |it| it.ordinal) + 1,
        id,
        through_batch: newest.map_or(0, |it| it.through_batch),
        holds: newest.map_or_else(Vec::new, |it| it.holds.clone()),
    };
    if claim(warehouse, &empty).await? == Claim::Lost {
        return Ok(Some(Claim::Lost));
    }
    remove(warehouse, &left).await?;
    Ok(Some(Claim::Taken))
}

/// Removes the rows of passes that will never be written down. They are gone some time later.
pub(super) async fn remove(warehouse: &Warehouse, passes: &[String]) -> Result<(), WarehouseError> {
    // Mutations take no parameters that are lists; these texts are ids.
    let ids: Vec<String> = passes.iter().map(|id| format!("'{id}'")).collect();
    let ids = ids.join(", ");
    for table in ["cost_corrections", "cost_corrections_1m"] {
        let remove = format!("ALTER TABLE {table} DELETE WHERE pass IN ({ids})");
        let query = warehouse.client().query(&remove);
        within("removing an unfinished pass", query.execute()).await?;
    }
    Ok(())
}

// === impl PassRow ===

impl PassRow {
    fn new(pass: &Pass) -> Self {
        let Pass {
            ordinal,
            id,
            through_batch,
            holds,
        } = pass;
        Self {
            ordinal: *ordinal,
            pass: *id,
            through_batch: *through_batch,
            repricings: serde_json::to_string(holds).expect("it holds nothing that JSON cannot"),
        }
    }

    fn read(self) -> Result<Pass, LookError> {
        let Self {
            ordinal,
            pass,
            through_batch,
            repricings,
        } = self;
        let holds = serde_json::from_str(&repricings)
            .map_err(|source| LookError::Pass { ordinal, source })?;
        Ok(Pass {
            ordinal,
            id: pass,
            through_batch,
            holds,
        })
    }
}

fn from_pair<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    let (high, low) = <(u64, u64)>::deserialize(deserializer)?;
    Ok(Uuid::from_u64_pair(high, low))
}

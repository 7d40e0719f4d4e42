//! Whether all records that lay on `USAGE` at some time have been counted: until then what is known of budgets is a lower bound.

use std::time::Duration;

use async_nats::jetstream;
use clickhouse::Row;
use events_schema::subjects;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    reader::{ReadError, look},
    warehouse::{Warehouse, WarehouseError, within},
};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// The newest batch of the ledger.
#[derive(Row, Deserialize)]
struct Newest {
    first: u64,
    last: u64,
    /// Whether it was begun so long ago that it has been inserted, or else given up and begun again.
    is_old: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("USAGE cannot be looked at")]
    Usage(#[from] ReadError),
    #[error(transparent)]
    Ledger(#[from] WarehouseError),
}

/// Returns when all that lies on `USAGE` now is in the ledger.
pub(super) async fn all(context: jetstream::Context, warehouse: Warehouse) {
    let mut end = None;
    loop {
        match is_counted(&context, &warehouse, &mut end).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                let error = crate::feed::chain(&error);
                tracing::debug!(error, "whether all records have arrived is not known");
            }
        }
        sleep(LOOK).await;
    }
}

async fn is_counted(
    context: &jetstream::Context,
    warehouse: &Warehouse,
    end: &mut Option<u64>,
) -> Result<bool, Error> {
    let end = match *end {
        Some(end) => end,
        None => *end.insert(look(context, subjects::USAGE).await?.last),
    };
    // A batch is begun when the one before it has been inserted.
    let sql = "SELECT argMax(first_sequence, ordinal) AS first, argMax(last_sequence, ordinal) AS last, \
               argMax(written_at < now64(6) - INTERVAL 60 SECOND, ordinal) AS is_old FROM ledger_batches";
    let query = warehouse.client().query(sql);
    let newest: Newest = within("looking at the newest batch", query.fetch_one()).await?;
    Ok(end == 0 || newest.first > end || (newest.last >= end && newest.is_old))
}

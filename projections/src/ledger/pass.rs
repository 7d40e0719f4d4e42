//! A place in the ledger's order that is passed without a record.

use uuid::Uuid;

use super::batch::content_hash;
use super::store::{Intent, Store};
use crate::warehouse::{Warehouse, WarehouseError};

/// Whether the newest batch was inserted whole: the worker acknowledges a batch when it was. `acknowledged` is `None`
/// when there is no worker that could have begun one.
pub(crate) async fn is_settled(
    warehouse: &Warehouse,
    acknowledged: Option<u64>,
) -> Result<bool, WarehouseError> {
    let newest = Store::new(warehouse.clone()).newest_intent().await?;
    Ok(match (newest, acknowledged) {
        (Some(newest), Some(acknowledged)) => newest.last_sequence <= acknowledged,
        (Some(_), None) => false,
        (None, _) => true,
    })
}

/// Takes the place after the newest batch for a batch of no messages. A worker that comes to that place begins anew,
/// and goes on behind it.
pub(crate) async fn claim_an_empty_batch(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    let store = Store::new(warehouse.clone());
    let Some(newest) = store.newest_intent().await? else {
        return Ok(());
    };
    let empty = Intent {
        ordinal: newest.ordinal + 1,
        first_sequence: newest.last_sequence + 1,
        last_sequence: newest.last_sequence,
        hash: content_hash(&[]),
        worker: Uuid::nil().as_u64_pair(),
    };
    store.claim(&empty).await.map(drop)
}

//! How far the ledger is; and a place in its order that is passed without a record.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use events_schema::subjects;
use uuid::Uuid;

use super::CONSUMER;
use super::batch::content_hash;
use super::store::{Intent, Store};
use crate::feed::FeedError;
use crate::retention::is_missing;
use crate::warehouse::{Warehouse, WarehouseError};

/// How far the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Up to which batch everything is in the tables that will ever be: no more than one is in doubt, the newest, until it is
    /// acknowledged or followed by another.
    pub(crate) settled: u64,
    /// Whether the worker was told to rest, since its tables are exchanged.
    pub(crate) rests: bool,
}

/// Why it is not known how far the ledger is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StandingError {
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// How far the ledger is; `None`: nobody works at it.
pub(crate) async fn standing(
    jetstream: &Context,
    warehouse: &Warehouse,
) -> Result<Option<Standing>, StandingError> {
    let newest = Store::new(warehouse.clone()).newest_intent().await?;
    let stream = match jetstream.get_stream(subjects::USAGE).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => return Ok(None),
        Err(error) => return Err(FeedError::of("asking for the stream USAGE")(error).into()),
    };
    let info = match stream.consumer_info(CONSUMER).await {
        Ok(info) => info,
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(FeedError::of("looking how far the ledger is")(error).into());
        }
    };
    let settled = newest.map_or(0, |newest| {
        if newest.last_sequence <= info.ack_floor.stream_sequence {
            newest.ordinal
        } else {
            newest.ordinal.saturating_sub(1)
        }
    });
    Ok(Some(Standing {
        settled,
        rests: info.paused,
    }))
}

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

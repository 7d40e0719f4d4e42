//! Whether all records that lay on `USAGE` at some time have been counted: until then what is known of budgets is a lower bound.

use std::time::Duration;

use async_nats::jetstream;
use events_schema::subjects;
use tokio::time::sleep;

use crate::{feed::FeedError, ledger};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Returns when all that lies on `USAGE` now is in the ledger. Where there is no such stream, what lies on it when it is made.
pub(super) async fn all(context: jetstream::Context) {
    let mut end = None;
    loop {
        match is_counted(&context, &mut end).await {
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
    end: &mut Option<u64>,
) -> Result<bool, FeedError> {
    let stream = context.get_stream(subjects::USAGE).await;
    let stream = stream.map_err(FeedError::of("asking for the stream USAGE"))?;
    let end = *end.get_or_insert(stream.cached_info().state.last_sequence);
    let ledger = stream.consumer_info(ledger::CONSUMER).await;
    let ledger = ledger.map_err(FeedError::of("looking how far the ledger is"))?;
    // A batch is acknowledged when it was inserted.
    Ok(ledger.ack_floor.stream_sequence >= end)
}

//! The audit trail again, from `EVENTS`.

use std::time::Duration;

use async_nats::jetstream::Context;
use events_schema::subjects;
use tokio_util::sync::CancellationToken;

use super::pause::Rest;
use super::{RebuildError, Rebuilt, Say, TRIES};
use crate::audit::{CONSUMER, Head, append, read_head};
use crate::feed::{Feed, FeedError, Limits, acknowledge};
use crate::warehouse::{Warehouse, within};

/// The table beside the live one.
const BESIDE: &str = "admin_events_rebuild";
/// Who reads.
const READER: &str = "audit-rebuild";
/// Larger than the worker's: nobody waits for a single event.
const LIMITS: Limits = Limits {
    messages: 4_000,
    bytes: 8 << 20,
    wait: Duration::from_millis(50),
};

/// Positions at which the two differ, as far as the live one goes.
const DIFFERENT: &str = "
SELECT count() FROM (
    SELECT position FROM (
        SELECT position, cityHash64(toString(tuple(*))) AS line FROM admin_events FINAL
        UNION ALL
        SELECT position, cityHash64(toString(tuple(*))) AS line FROM admin_events_rebuild FINAL
    )
    WHERE position <= {end:UInt64}
    GROUP BY position HAVING count() != 2 OR min(line) != max(line)
)";

/// Builds the audit trail from the whole of `EVENTS`, and puts it in place of the live one.
///
/// # Errors
/// [`RebuildError`]; the live one stays.
pub async fn rebuild(
    jetstream: &Context,
    warehouse: &Warehouse,
    stop: &CancellationToken,
    say: Say<'_>,
) -> Result<Rebuilt, RebuildError> {
    warehouse.migrate().await?;
    let stream = jetstream
        .get_stream(subjects::EVENTS)
        .await
        .map_err(FeedError::of("asking for the stream EVENTS"))?;
    for _ in 0..TRIES {
        warehouse.make_beside("admin_events", BESIDE).await?;
        let end = stream.cached_info().state.last_sequence;
        say(&format!("reading {end} events"));
        let mut feed = Feed::open(&stream, subjects::EVENTS_SUBJECTS, READER, 1).await?;
        let mut head = Head::genesis();
        // First all that there is, while the worker works.
        copy_to(&mut feed, warehouse, &mut head, end, stop, say).await?;
        let Some(rest) = Rest::begin(&stream, CONSUMER).await? else {
            continue;
        };
        // Then the little that came meanwhile.
        let live = read_head(warehouse, "admin_events").await?;
        copy_to(&mut feed, warehouse, &mut head, live.position, stop, say).await?;
        drop(feed);
        forget_reader(&stream).await;
        say("comparing");
        let query = warehouse
            .client()
            .query(DIFFERENT)
            .param("end", live.position);
        let differed: u64 = within("comparing the audit trails", query.fetch_one()).await?;
        if rest.lasts().await? {
            warehouse.exchange("admin_events", BESIDE).await?;
            rest.end().await?;
            warehouse.drop_table(BESIDE).await?;
            let built = head.position;
            return Ok(Rebuilt { built, differed });
        }
        say("the worker began anew meanwhile: once more");
    }
    warehouse.drop_table(BESIDE).await?;
    Err(RebuildError::Restless)
}

async fn copy_to(
    feed: &mut Feed,
    warehouse: &Warehouse,
    head: &mut Head,
    end: u64,
    stop: &CancellationToken,
    say: Say<'_>,
) -> Result<(), RebuildError> {
    while head.position < end {
        let Some(messages) = feed.gather(LIMITS, stop).await? else {
            warehouse.drop_table(BESIDE).await?;
            return Err(RebuildError::BrokenOff);
        };
        *head = append(warehouse, BESIDE, &messages, head)
            .await
            .map_err(|error| RebuildError::History(crate::feed::chain(&error)))?;
        if let Some(last) = messages.last() {
            acknowledge(last).await?;
        }
        say(&format!("{} of {end} events", head.position));
    }
    Ok(())
}

/// A consumer that is left over takes nothing from anybody: the next rebuild makes it anew.
async fn forget_reader(stream: &async_nats::jetstream::stream::Stream) {
    if let Err(error) = stream.delete_consumer(READER).await {
        tracing::debug!(%error, "the rebuild's consumer was not deleted");
    }
}

//! Publishing in order, pipelined: many events are on their way at once, and each is acknowledged at its position.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use async_nats::jetstream::{
    self,
    context::{PublishAckFuture, PublishErrorKind},
    message::PublishMessage,
};
use events_schema::{
    envelope::{Envelope, EventRow},
    subjects,
};

use super::{Relay, RelayError};
use tokio::time::Instant;

use crate::{
    clock,
    control::Head,
    log::{ReadError, compare, read, rows::to_i64},
};

/// Events on their way at once: enough to hide the round trip, far below what the client queues.
const WINDOW: usize = 512;

/// How often an idle relay makes sure that the stream still ends where it should, and heads are kept.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How long an acknowledgement or a free place in the client's queue is waited for.
const NATS_TIMEOUT: Duration = Duration::from_secs(3);

/// How many of the heads that were published are kept for `verify`.
const KEEP_HEADS: i64 = 1_000;

/// A head that was published and is still to be kept for `verify`.
#[derive(Debug, Clone, Copy)]
struct Unkept {
    head: Head,
    since: Instant,
}

/// Publishes everything after `published`, for as long as it works.
pub(super) async fn run(
    relay: &mut Relay,
    jetstream: &jetstream::Context,
    mut published: u64,
) -> Result<Infallible, RelayError> {
    let mut unkept: Option<Unkept> = None;
    loop {
        if let Some(due) = unkept.take_if(|it| it.since.elapsed() >= IDLE_CHECK) {
            keep(relay, &due.head).await?;
        }
        let head = read::head(&relay.pool).await?;
        if head.position <= published {
            wait(relay, jetstream, published).await?;
            continue;
        }
        while published < head.position {
            let page = read::between(&relay.pool, published, head.position, read::PAGE).await?;
            let page = with_command_ends(page, head.position);
            let Some(last) = page.last().map(|(row, _)| Head {
                position: row.position,
                hash: row.hash,
                ..head
            }) else {
                return Err(RelayError::RowsMissing { after: published });
            };
            publish(jetstream, &head, page).await?;
            published = last.position;
            relay
                .status
                .send_modify(|status| status.published = Some(published));
            let since = unkept.map_or_else(Instant::now, |it| it.since);
            unkept = Some(Unkept { head: last, since });
        }
    }
}

/// Until the log has more; meanwhile makes sure that the stream lost nothing.
async fn wait(
    relay: &mut Relay,
    jetstream: &jetstream::Context,
    published: u64,
) -> Result<(), RelayError> {
    let more = async {
        relay
            .heads
            .wait_for(|head| *head > published)
            .await
            .map(|_| ())
    };
    let ended = |_| RelayError::Nats {
        doing: "following the log",
        detail: "the service ends".into(),
    };
    if let Ok(more) = tokio::time::timeout(IDLE_CHECK, more).await {
        return more.map_err(ended);
    }
    let stream = compare::events_stream(jetstream).await?;
    let found = stream.map_or(0, |stream| stream.cached_info().state.last_sequence);
    if found == published {
        Ok(())
    } else {
        Err(RelayError::StreamChanged { found, published })
    }
}

/// Whether an event is the last of its command.
type IsLast = bool;

/// Marks the last event of each command. The last row of a page that is not the log's last says only what comes next: it
/// is left for the next page.
fn with_command_ends(page: Vec<Envelope>, head: u64) -> Vec<(Envelope, IsLast)> {
    let causes: Vec<_> = page.iter().map(|row| row.cause).collect();
    let mark = |(at, row): (usize, Envelope)| match causes.get(at + 1) {
        Some(next) => Some((row, causes[at] != *next)),
        None if row.position == head => Some((row, true)),
        None => None,
    };
    page.into_iter().enumerate().filter_map(mark).collect()
}

/// Publishes these rows, in order.
async fn publish(
    jetstream: &jetstream::Context,
    head: &Head,
    page: Vec<(Envelope, IsLast)>,
) -> Result<(), RelayError> {
    let Some(epoch) = head.epoch else {
        return Ok(());
    };
    let mut under_way: VecDeque<(u64, PublishAckFuture)> = VecDeque::with_capacity(WINDOW);
    for (row, is_last) in page {
        if under_way.len() >= WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            acknowledged(oldest).await?;
        }
        let (position, aggregate) = (row.position, row.stream.aggregate());
        let failed = |detail: String| RelayError::Nats {
            doing: "publishing an event",
            detail,
        };
        let body = EventRow::new(epoch, row)
            .map_err(|error| failed(error.to_string()))?
            .to_json();
        let message = PublishMessage::build()
            .expected_stream(subjects::EVENTS)
            .expected_last_sequence(position - 1)
            .payload(body.into());
        let message = if is_last {
            message.header(subjects::COMMAND_END, "1")
        } else {
            message
        };
        // The client queues while it is disconnected and then blocks: a bound on that, too.
        let sent = tokio::time::timeout(
            NATS_TIMEOUT,
            jetstream.send_publish(subjects::events(aggregate), message),
        );
        let ack = sent
            .await
            .map_err(|_| failed("the client is stuck".into()))?;
        under_way.push_back((position, ack.map_err(|error| failed(error.to_string()))?));
    }
    for waiting in under_way {
        acknowledged(waiting).await?;
    }
    Ok(())
}

/// Waits for one acknowledgement, and checks where the event landed.
async fn acknowledged((position, ack): (u64, PublishAckFuture)) -> Result<(), RelayError> {
    match ack.await {
        Ok(ack) if ack.sequence == position => Ok(()),
        Ok(ack) => Err(RelayError::Misplaced {
            position,
            sequence: ack.sequence,
        }),
        Err(error) => match error.kind() {
            PublishErrorKind::WrongLastSequence => Err(RelayError::Fenced { position }),
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::MaxPayloadExceeded
            | PublishErrorKind::Other => Err(RelayError::Nats {
                doing: "publishing an event",
                detail: error.to_string(),
            }),
        },
    }
}

/// Keeps the head that was published, to be compared with the log by `verify`.
async fn keep(relay: &Relay, head: &Head) -> Result<(), RelayError> {
    let Some(epoch) = head.epoch else {
        return Ok(());
    };
    sqlx::query(
        "WITH old AS (DELETE FROM seen_heads WHERE position IN
             (SELECT position FROM seen_heads ORDER BY position DESC OFFSET $5))
         INSERT INTO seen_heads (position, hash, epoch, seen_us) VALUES ($1, $2, $3, $4)
         ON CONFLICT (position) DO NOTHING",
    )
    .bind(to_i64(head.position))
    .bind(head.hash.to_vec())
    .bind(epoch.to_string())
    .bind(clock::now().micros())
    .bind(KEEP_HEADS)
    .execute(&relay.pool)
    .await
    .map_err(ReadError::doing("keeping a published head"))?;
    Ok(())
}

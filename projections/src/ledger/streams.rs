//! The streams `USAGE` and `USAGE_DEAD`.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use events_schema::subjects;

use super::batch::Message;
use crate::feed::FeedError;
use crate::retention::is_missing;

/// What dead letters may take of the disk: enough to find out what is wrong.
const MAX_DEAD_BYTES: i64 = 1 << 30;
/// Longest that `USAGE` keeps what was counted, in days: less than the ledger keeps its marks, so that
/// reading all of it again never counts anything twice.
const MAX_USAGE_DAYS: u32 = 90;
/// Requests outlive their messages by so many days, where they are kept for less than that and a week. A record may wait
/// that long on a gateway's disk before it is sent.
const REQUESTS_OUTLIVE_DAYS: u32 = 7;
/// A dead letter is cut to this size: a message at the server's limit has no room for headers.
const MAX_LETTER_BYTES: usize = 900 << 10;

/// Makes the streams that are missing. The sequence of `USAGE` begins at the clock, in microseconds,
/// so that one which was deleted and made again never goes back.
pub(super) async fn ensure(config: &super::Config) -> Result<Stream, FeedError> {
    let super::Config {
        jetstream,
        usage_bytes: max_bytes,
        replicas,
        now,
        ..
    } = config;
    let first_sequence = u64::try_from(now().micros()).ok();
    let usage = Config {
        name: subjects::USAGE.to_owned(),
        subjects: vec![subjects::USAGE_SUBJECTS.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_bytes: *max_bytes,
        max_age: days(MAX_USAGE_DAYS),
        num_replicas: *replicas,
        first_sequence,
        allow_direct: true,
        ..Config::default()
    };
    let dead = Config {
        name: subjects::USAGE_DEAD.to_owned(),
        subjects: vec![subjects::USAGE_DEAD_SUBJECTS.to_owned()],
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_bytes: MAX_DEAD_BYTES.min(*max_bytes),
        num_replicas: *replicas,
        ..Config::default()
    };
    jetstream
        .get_or_create_stream(dead)
        .await
        .map_err(FeedError::of("making the stream USAGE_DEAD"))?;
    jetstream
        .get_or_create_stream(usage)
        .await
        .map_err(FeedError::of("making the stream USAGE"))
}

/// Lets `USAGE` keep its messages for less than the requests that were read from them are kept.
pub(crate) async fn keep_usage_for(
    jetstream: &Context,
    requests_days: u32,
) -> Result<(), FeedError> {
    let stream = match jetstream.get_stream(subjects::USAGE).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => return Ok(()),
        Err(error) => return Err(FeedError::of("asking for the stream USAGE")(error)),
    };
    let kept = requests_days.saturating_sub(REQUESTS_OUTLIVE_DAYS).max(1);
    let max_age = days(kept.min(MAX_USAGE_DAYS));
    let config = &stream.cached_info().config;
    if config.max_age == max_age {
        return Ok(());
    }
    let config = Config {
        max_age,
        ..config.clone()
    };
    jetstream
        .update_stream(config)
        .await
        .map(drop)
        .map_err(FeedError::of("changing how long USAGE keeps its messages"))
}

const fn days(days: u32) -> Duration {
    Duration::from_secs(days as u64 * 24 * 3_600)
}

/// Reads a range again; messages that are gone are left out.
pub(super) async fn read_range(
    stream: &Stream,
    first: u64,
    last: u64,
) -> Result<Vec<Message>, FeedError> {
    let mut messages = Vec::new();
    for sequence in first..=last {
        match stream.get_raw_message(sequence).await {
            Ok(raw) => {
                messages.push(Message {
                    sequence,
                    subject: raw.subject.to_string(),
                    payload: raw.payload,
                });
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(FeedError::of("reading a batch of USAGE again")(error)),
        }
    }
    Ok(messages)
}

/// Puts a message that cannot be read aside, once.
pub(super) async fn bury(
    jetstream: &Context,
    message: &Message,
    reason: &str,
) -> Result<(), FeedError> {
    let incarnation = message.subject.rsplit('.').next().unwrap_or_default();
    let plain: String = reason
        .chars()
        .map(|letter| {
            if letter.is_ascii_graphic() {
                letter
            } else {
                ' '
            }
        })
        .collect();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("usage-{}", message.sequence));
    headers.insert("Sluice-Usage-Sequence", message.sequence.to_string());
    headers.insert("Sluice-Reason", plain);
    let payload = message
        .payload
        .slice(..message.payload.len().min(MAX_LETTER_BYTES));
    let published = jetstream
        .publish_with_headers(format!("usage_dead.{incarnation}"), headers, payload)
        .await;
    let stored = published.map_err(FeedError::of("sending a dead letter"))?;
    stored
        .await
        .map_err(FeedError::of("sending a dead letter"))?;
    Ok(())
}

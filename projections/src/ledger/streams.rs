//! The streams `USAGE` and `USAGE_DEAD`.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use events_schema::{subjects, time::Timestamp};

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
/// What waits for the ledger no longer than this does not tell that it is behind. Far less than the day that `USAGE` keeps
/// its messages at the least.
const LATELY: Duration = Duration::from_secs(3_600);
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

/// Whether `USAGE` keeps its messages for as long as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageKept {
    /// It does, or there is none yet.
    AsAsked,
    /// For longer: the ledger has messages to read that are not of this hour.
    Longer,
}

/// Lets `USAGE` keep its messages for less than the requests that were read from them are kept: for longer at once, for
/// less only while the ledger keeps pace, since what it has not read is nowhere else.
pub(crate) async fn keep_usage_for(
    jetstream: &Context,
    requests_days: u32,
    now: Timestamp,
) -> Result<UsageKept, FeedError> {
    let stream = match jetstream.get_stream(subjects::USAGE).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => return Ok(UsageKept::AsAsked),
        Err(error) => return Err(FeedError::of("asking for the stream USAGE")(error)),
    };
    let kept = requests_days.saturating_sub(REQUESTS_OUTLIVE_DAYS).max(1);
    let max_age = days(kept.min(MAX_USAGE_DAYS));
    let config = &stream.cached_info().config;
    if config.max_age == max_age {
        return Ok(UsageKept::AsAsked);
    }
    // No bound at all is written as none.
    let lowers = config.max_age.is_zero() || max_age < config.max_age;
    if lowers && !keeps_pace(&stream, now).await? {
        return Ok(UsageKept::Longer);
    }
    let config = Config {
        max_age,
        ..config.clone()
    };
    jetstream
        .update_stream(config)
        .await
        .map_err(FeedError::of("changing how long USAGE keeps its messages"))?;
    Ok(UsageKept::AsAsked)
}

/// Whether the ledger has read, and inserted, everything but what came lately: at a busy hour something always waits.
async fn keeps_pace(stream: &Stream, now: Timestamp) -> Result<bool, FeedError> {
    let info = match stream.consumer_info(super::CONSUMER).await {
        Ok(info) => info,
        // Nobody has read anything, or a worker begins just now.
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(FeedError::of("looking how far the ledger is")(error)),
    };
    if info.num_pending == 0 && info.num_ack_pending == 0 {
        return Ok(true);
    }
    let next = info.ack_floor.stream_sequence + 1;
    let oldest = stream
        .get_first_raw_message_by_subject(subjects::USAGE_SUBJECTS, next)
        .await;
    match oldest {
        Ok(message) => {
            let sent_us = message.time.unix_timestamp_nanos() / 1_000;
            let age_us = i128::from(now.micros()) - sent_us;
            Ok(age_us < i128::try_from(LATELY.as_micros()).unwrap_or_default())
        }
        // It was read, or dropped, meanwhile: the next look tells.
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(FeedError::of("reading the oldest message that waits")(
            error,
        )),
    }
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

//! Letting the worker on a stream rest while its tables are exchanged: the server delivers nothing to its consumer, and
//! what it had been given is done. Messages wait in the stream meanwhile.

use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::Stream;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::feed::FeedError;

/// Should this process die, the worker goes on after this.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a worker may take to finish what it has: several batches.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);

/// A worker that rests until this is ended.
pub(super) struct Rest<'s> {
    stream: &'s Stream,
    name: &'static str,
    /// The consumer when it was told to rest; `None`: there is no worker.
    since: Option<Life>,
}

/// What tells a consumer from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    created: i128,
    acknowledged: u64,
}

// === impl Rest ===

impl<'s> Rest<'s> {
    /// Stops deliveries to the consumer `name`, and waits until what was delivered is done. `None` when the worker
    /// began anew meanwhile, or does not finish: try again.
    pub(super) async fn begin(
        stream: &'s Stream,
        name: &'static str,
    ) -> Result<Option<Self>, FeedError> {
        let Some(first) = look(stream, name).await? else {
            let since = None;
            return Ok(Some(Self {
                stream,
                name,
                since,
            }));
        };
        pause(stream, name, &first).await?;
        let deadline = Instant::now() + SETTLES_WITHIN;
        while Instant::now() < deadline {
            let Some(now) = look(stream, name).await? else {
                return Ok(None);
            };
            if now.created != first.created || !now.paused {
                return Ok(None);
            }
            if now.num_ack_pending == 0 {
                let since = Some(Life::of(&now));
                return Ok(Some(Self {
                    stream,
                    name,
                    since,
                }));
            }
            sleep(LOOK).await;
        }
        resume(stream, name).await?;
        Ok(None)
    }

    /// The sequence up to which the worker had finished; `None` without a worker.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        self.since.map(|life| life.acknowledged)
    }

    /// Whether it has rested all the time. It goes on resting.
    pub(super) async fn lasts(&self) -> Result<bool, FeedError> {
        let now = look(self.stream, self.name).await?;
        let same = now.as_ref().map(Life::of) == self.since;
        match now {
            Some(now) if same && now.paused => {
                pause(self.stream, self.name, &now).await?;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Ok(same),
        }
    }

    /// The worker goes on.
    pub(super) async fn end(self) -> Result<(), FeedError> {
        if self.since.is_some() {
            resume(self.stream, self.name).await?;
        }
        Ok(())
    }
}

// === impl Life ===

impl Life {
    fn of(info: &Info) -> Self {
        Self {
            created: info.created.unix_timestamp_nanos(),
            acknowledged: info.ack_floor.stream_sequence,
        }
    }
}

async fn look(stream: &Stream, name: &str) -> Result<Option<Info>, FeedError> {
    match stream.consumer_info(name).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
        Err(error) => Err(FeedError::of("looking for the worker")(error)),
    }
}

async fn pause(stream: &Stream, name: &str, info: &Info) -> Result<(), FeedError> {
    // The only time at hand of the client's own kind is the consumer's.
    let created_us = info.created.unix_timestamp_nanos() / 1_000;
    let age_us = i128::from(clock::now().micros()) - created_us;
    let age = Duration::from_micros(u64::try_from(age_us).unwrap_or_default());
    stream
        .pause_consumer(name, info.created + age + PAUSE)
        .await
        .map(drop)
        .map_err(FeedError::of("letting the worker rest"))
}

async fn resume(stream: &Stream, name: &str) -> Result<(), FeedError> {
    stream
        .resume_consumer(name)
        .await
        .map(drop)
        .map_err(FeedError::of("letting the worker go on"))
}

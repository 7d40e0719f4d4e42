//! Reads a stream from where the warehouse ends.
//!
//! The position lies in ClickHouse, beside the rows that it counts, so that it is lost exactly when
//! they are. The durable consumer shows operators how far behind a worker is, and other workers that
//! one is at work; it is made anew by whoever takes the work over. That two never work at once is not
//! promised here: whoever writes must be able to tell. But no message is passed over: a worker that was cut off and comes
//! back goes on asking the consumer of that name, which is another's by then, and would take messages that the other one
//! then misses. Both notice that by the messages' sequences, and begin anew.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// Asked for at once: enough for one batch.
const MAX_MESSAGES_AHEAD: usize = 512;
/// Without an acknowledgement the server sends no more than this: more than any batch, and what is ahead of it.
const MAX_UNACKNOWLEDGED: i64 = 4_096;
/// Memory for messages that wait here.
const MAX_BYTES_AHEAD: usize = 32 << 20;
/// The server says at least so often that it is there; a consumer that was deleted is noticed then.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long one request for messages stays open.
const REQUEST_TIME: Duration = Duration::from_secs(15);
/// Messages that are not acknowledged by then come again; no batch takes so long.
const ACK_WAIT: Duration = Duration::from_secs(120);

/// How often a worker that stands by looks at the one at work.
const LOOK: Duration = Duration::from_millis(200);
/// A worker that neither asks for messages nor acknowledges any for this long is gone, or stuck in one
/// batch: some hundred times what a batch takes.
const SILENCE: Duration = Duration::from_secs(1);

/// What came of standing by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nobody is at work.
    Work,
    /// It is time to stop.
    Stop,
}

/// What a worker reads from.
pub(crate) struct Feed {
    messages: Messages,
    stream: Stream,
    /// The stream's subjects.
    subjects: &'static str,
    /// The sequence of the next message, unless it is gone from the stream.
    expected: u64,
    /// A message that has come, and is looked at.
    held: Option<Message>,
}

/// How much is taken together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages at most.
    pub(crate) messages: usize,
    /// Bytes after which no more is taken.
    pub(crate) bytes: usize,
    /// How long others are waited for after the first.
    pub(crate) wait: Duration,
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub(crate) struct FeedError {
    doing: &'static str,
    #[source]
    source: async_nats::Error,
}

// === impl FeedError ===

impl FeedError {
    /// Says what was being done.
    pub(crate) fn of<E: Into<async_nats::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self {
            doing,
            source: source.into(),
        }
    }
}

/// Waits while another worker reads from `stream` as `name`, and says so by `another`.
pub(crate) async fn stand_by(
    stream: &Stream,
    name: &str,
    stop: &CancellationToken,
    another: impl Fn(),
) -> Result<Turn, FeedError> {
    let mut seen = None;
    let mut silent_since = Instant::now();
    loop {
        let info = match stream.consumer_info(name).await {
            Ok(info) => info,
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => return Ok(Turn::Work),
            Err(error) => return Err(FeedError::of("looking for another worker")(error)),
        };
        let asks = info.num_waiting > 0;
        if !asks && info.num_ack_pending == 0 {
            return Ok(Turn::Work);
        }
        let now = (info.created, info.ack_floor.stream_sequence);
        let before = seen.replace(now);
        if asks || before.is_some_and(|before| before != now) {
            silent_since = Instant::now();
            another();
        } else if silent_since.elapsed() >= SILENCE {
            return Ok(Turn::Work);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Turn::Stop),
            () = sleep(LOOK) => {}
        }
    }
}

// === impl Feed ===

impl Feed {
    /// Makes the consumer `name` anew, beginning with the sequence `start`. `subjects`: all of the stream's.
    pub(crate) async fn open(
        stream: &Stream,
        subjects: &'static str,
        name: &str,
        start: u64,
    ) -> Result<Self, FeedError> {
        // The start of a consumer cannot be changed. That there is none yet is the usual case.
        if let Err(error) = stream.delete_consumer(name).await {
            tracing::debug!(%error, name, "no consumer was deleted");
        }
        let config = Config {
            durable_name: Some(name.to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: start.max(1),
            },
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_UNACKNOWLEDGED,
            ..Config::default()
        };
        let consumer: Consumer<Config> = stream
            .create_consumer(config)
            .await
            .map_err(FeedError::of("making a consumer"))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(MAX_MESSAGES_AHEAD)
            .max_bytes_per_batch(MAX_BYTES_AHEAD)
            .expires(REQUEST_TIME)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(FeedError::of("asking for messages"))?;
        Ok(Self {
            messages,
            stream: stream.clone(),
            subjects,
            expected: start.max(1),
            held: None,
        })
    }

    /// Waits for a message, then takes what comes soon after it. `None` when it is time to stop.
    pub(crate) async fn gather(
        &mut self,
        limits: Limits,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<Message>>, FeedError> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            first = self.next() => first?,
        };
        let mut bytes = first.payload.len();
        let mut gathered = vec![first];
        let deadline = Instant::now() + limits.wait;
        while gathered.len() < limits.messages && bytes < limits.bytes {
            let Ok(next) = timeout_at(deadline, self.next()).await else {
                break;
            };
            let next = next?;
            bytes += next.payload.len();
            gathered.push(next);
        }
        Ok(Some(gathered))
    }

    async fn next(&mut self) -> Result<Message, FeedError> {
        const DOING: &str = "reading messages";
        // Kept here while it is looked at: whoever waits may give up meanwhile.
        let message = match self.held.take() {
            Some(message) => message,
            None => match self.messages.next().await {
                Some(message) => message.map_err(FeedError::of(DOING))?,
                None => return Err(FeedError::of(DOING)("the stream of messages has ended")),
            },
        };
        let at = sequence(&message)?;
        if at == self.expected {
            self.expected = at + 1;
            return Ok(message);
        }
        self.held = Some(message);
        self.nothing_is_passed_over(at).await?;
        self.expected = at + 1;
        let held = self.held.take();
        held.ok_or_else(|| FeedError::of(DOING)("the message was taken meanwhile"))
    }

    /// Whether the message at `at` is the next one that the stream has.
    async fn nothing_is_passed_over(&self, at: u64) -> Result<(), FeedError> {
        const DOING: &str = "looking whether a message was passed over";
        let next = self
            .stream
            .get_first_raw_message_by_subject(self.subjects, self.expected)
            .await;
        match next {
            Ok(next) if next.sequence == at => Ok(()),
            // Meanwhile the stream has dropped it, and what was before it, for want of space.
            Ok(next) if at >= self.expected && next.sequence > at => Ok(()),
            Ok(_) => Err(FeedError::of(DOING)(
                "another worker reads from the same consumer",
            )),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(()),
            Err(error) => Err(FeedError::of(DOING)(error)),
        }
    }
}

/// A message's sequence in its stream.
pub(crate) fn sequence(message: &Message) -> Result<u64, FeedError> {
    message
        .info()
        .map(|info| info.stream_sequence)
        .map_err(FeedError::of("reading a message's sequence"))
}

/// Acknowledges everything up to `message`, and waits until the server knows.
pub(crate) async fn acknowledge(message: &Message) -> Result<(), FeedError> {
    message
        .double_ack()
        .await
        .map_err(FeedError::of("acknowledging messages"))
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

//! One reading of a stream: an ordered consumer that tells its owner what went wrong, instead of healing in silence.
//!
//! The client's own ordered consumer begins again by itself where it stopped; whether that is right depends on
//! whether the stream is still the same one, and only the publisher can know. So a reading ends at the first sign that
//! a message may be missing: a gap, silence where heartbeats were agreed, a lost connection.

use std::{num::ParseIntError, time::Duration};

use async_nats::{
    Client, Message, StatusCode, Subscriber,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, push},
    },
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

/// How often the server says that it is there when it has nothing to send.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence for this long ends a reading: two heartbeats missed.
const SILENCE: Duration = Duration::from_millis(2_500);
/// When the server forgets a consumer that nobody listens to.
const FORGET: Duration = Duration::from_secs(10);
const LAST_CONSUMER: &str = "Nats-Last-Consumer";
const STALLED: &str = "Nats-Consumer-Stalled";

/// A stream as it was when the reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// How many messages it has.
    pub(crate) messages: u64,
    /// The sequence of its last message.
    pub(crate) last: u64,
}

/// A reading under way.
pub(crate) struct Reader {
    client: Client,
    messages: Subscriber,
    delivered: u64,
    /// When the server was last heard; outlives a call of `next` that was given up.
    heard: Instant,
}

/// A message of the stream.
pub(crate) struct Delivered {
    /// Its sequence.
    pub(crate) sequence: u64,
    /// The message.
    pub(crate) message: Message,
}

/// Why a reading could not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the stream cannot be found")]
    Stream(#[source] jetstream::context::GetStreamError),
    #[error("subscribing to an inbox")]
    Subscribe(#[source] async_nats::SubscribeError),
    #[error("creating a consumer")]
    Consumer(#[source] jetstream::stream::ConsumerError),
    #[error("the server fell silent")]
    Silent,
    #[error("the subscription was closed")]
    Closed,
    #[error("messages are missing before delivery {0}")]
    Gap(u64),
    #[error("a delivery's reply subject '{0}' cannot be read")]
    Reply(String),
}

/// The stream as it is now.
pub(crate) async fn look(context: &jetstream::Context, stream: &str) -> Result<Life, ReadError> {
    let stream = context
        .get_stream(stream)
        .await
        .map_err(ReadError::Stream)?;
    let info = stream.cached_info();
    Ok(Life {
        messages: info.state.messages,
        last: info.state.last_sequence,
    })
}

impl Reader {
    /// Begins to read `stream`, from the sequence `from` or from its start, unfiltered.
    pub(crate) async fn open(
        context: &jetstream::Context,
        stream: &str,
        from: Option<u64>,
    ) -> Result<Self, ReadError> {
        let client = context.client();
        let inbox = client.new_inbox();
        let messages = client
            .subscribe(inbox.clone())
            .await
            .map_err(ReadError::Subscribe)?;
        let config = push::Config {
            deliver_subject: inbox,
            deliver_policy: match from {
                Some(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
                None => DeliverPolicy::All,
            },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: IDLE_HEARTBEAT,
            inactive_threshold: FORGET,
            num_replicas: 1,
            memory_storage: true,
            ..push::Config::default()
        };
        context
            .create_consumer_on_stream(config, stream)
            .await
            .map_err(ReadError::Consumer)?;
        Ok(Self {
            client,
            messages,
            delivered: 0,
            heard: Instant::now(),
        })
    }

    /// The next message. Nothing is lost when the future is dropped, and silence goes on being counted.
    pub(crate) async fn next(&mut self) -> Result<Delivered, ReadError> {
        loop {
            let message = timeout_at(self.heard + SILENCE, self.messages.next())
                .await
                .map_err(|_| ReadError::Silent)?;
            self.heard = Instant::now();
            let message = message.ok_or(ReadError::Closed)?;
            if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
                self.status(&message).await?;
            } else if message.status.is_none() {
                let (sequence, delivery) =
                    parse_reply(message.reply.as_deref().unwrap_or_default())?;
                if delivery != self.delivered + 1 {
                    return Err(ReadError::Gap(delivery));
                }
                self.delivered = delivery;
                return Ok(Delivered { sequence, message });
            }
        }
    }

    /// Answers flow control, and checks that a heartbeat knows of no delivery that did not arrive.
    async fn status(&self, message: &Message) -> Result<(), ReadError> {
        let header = |name: &str| {
            message
                .headers
                .as_ref()
                .and_then(|headers| headers.get_last(name))
        };
        let flow = message.reply.as_ref().map(ToString::to_string);
        if let Some(reply) = flow.or_else(|| header(STALLED).map(ToString::to_string)) {
            // Where the answer cannot be sent the connection is gone, and the reading ends by itself.
            let _answered = timeout(SILENCE, self.client.publish(reply, bytes::Bytes::new())).await;
        }
        match header(LAST_CONSUMER).and_then(|last| last.as_str().parse::<u64>().ok()) {
            Some(last) if last > self.delivered => Err(ReadError::Gap(last)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The stream sequence and the consumer sequence in a delivery's reply subject: `$JS.ACK.<stream>.<consumer>.<times
/// delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`, in the newer form with domain and account's
/// hash after `ACK` (NATS' ADR-15).
fn parse_reply(reply: &str) -> Result<(u64, u64), ReadError> {
    let bad = || ReadError::Reply(reply.to_owned());
    let tokens = reply.split('.').count();
    let skip = match tokens {
        9 => 5,
        11.. => 7,
        _ => return Err(bad()),
    };
    let mut numbers = reply.split('.').skip(skip);
    let mut number = || {
        numbers
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_: ParseIntError| bad())
    };
    Ok((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read_from_both_forms_of_a_reply_subject() {
        let check = |reply: &str| parse_reply(reply).ok();
        assert_eq!(
            check("$JS.ACK.SNAPSHOTS.c.1.100.7.1790230470084404000.42"),
            Some((100, 7))
        );
        assert_eq!(
            check("$JS.ACK.hub.hash.SNAPSHOTS.c.1.100.7.1790230470084404000.0"),
            Some((100, 7))
        );
        assert_eq!(
            check("$JS.ACK.hub.hash.SNAPSHOTS.c.1.100.7.1790230470084404000.0.x"),
            Some((100, 7))
        );
        assert_eq!(check("$JS.ACK.SNAPSHOTS.c.1.a.7.1.42"), None);
        assert_eq!(check(""), None);
    }
}

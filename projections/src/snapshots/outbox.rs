//! The way to `SNAPSHOTS`: pipelined, and fenced message by message.
//!
//! Each message says which sequence it expects before it, so what this publisher believes of the stream is checked
//! by the stream itself. The sequence alone is not enough where messages are pipelined: when another publisher's message
//! takes the place of one of them, the next one still finds the sequence that it expects. So each message has an id, and
//! names the one before it as well: after another publisher's message, or after a lost one, nothing more of this one is
//! taken.

use std::{collections::VecDeque, future::IntoFuture, pin::Pin, time::Duration};

use async_nats::jetstream::{
    self,
    context::{ContextBuilder, PublishError, PublishErrorKind},
    message::PublishMessage,
    publish::PublishAck,
};

/// How many messages may wait for their acknowledgements: some 100 ms of them at full speed.
const WINDOW: usize = 4_096;
/// How long an acknowledgement may take.
const ACK: Duration = Duration::from_secs(5);

type Ack = Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>;

/// Messages on their way.
pub(super) struct Outbox {
    context: jetstream::Context,
    /// What the ids of its messages begin with: nobody else's do.
    name: String,
    /// The sequence of the last message sent.
    sent: u64,
    /// Whether that was one of this publisher's.
    has_sent: bool,
    /// The sequence of the last message acknowledged.
    acked: u64,
    waiting: VecDeque<(u64, Ack)>,
}

/// Why a message did not arrive where it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(
        "the stream is not where this publisher left it, at sequence {expected}: another has written, or its tail was lost"
    )]
    Fenced { expected: u64 },
    #[error("the stream took a message at sequence {found} instead of {expected}")]
    Sequence { expected: u64, found: u64 },
    #[error("publishing to the stream")]
    Publish(#[source] PublishError),
}

impl Outbox {
    /// Begins after the message with the sequence `last`. `name` is this outbox' alone.
    pub(super) fn new(client: async_nats::Client, last: u64, name: String) -> Self {
        let context = ContextBuilder::new()
            .timeout(ACK)
            .max_ack_inflight(2 * WINDOW)
            .build(client);
        Self {
            context,
            name,
            sent: last,
            has_sent: false,
            acked: last,
            waiting: VecDeque::new(),
        }
    }

    /// The sequence of the last message that the stream acknowledged.
    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    /// How many messages wait for their acknowledgement.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sends a message, which expires after `ttl`. Waits only when the window is full.
    pub(super) async fn send(
        &mut self,
        subject: String,
        message: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<(), SendError> {
        while self.waiting.len() >= WINDOW {
            self.settle_one().await?;
        }
        let publish = PublishMessage::build()
            .payload(message.into())
            .message_id(self.id(self.sent + 1))
            .expected_last_sequence(self.sent);
        let publish = if self.has_sent {
            publish.expected_last_message_id(self.id(self.sent))
        } else {
            publish
        };
        let publish = match ttl {
            Some(ttl) => publish.ttl(ttl),
            None => publish,
        };
        let ack = self
            .context
            .send_publish(subject, publish)
            .await
            .map_err(SendError::Publish)?;
        self.sent += 1;
        self.has_sent = true;
        self.waiting.push_back((self.sent, ack.into_future()));
        Ok(())
    }

    /// Waits for the oldest acknowledgement. Nothing is lost when the future is dropped.
    pub(super) async fn settle_one(&mut self) -> Result<(), SendError> {
        let Some((expected, ack)) = self.waiting.front_mut() else {
            return Ok(());
        };
        let expected = *expected;
        let answer = ack.await;
        self.waiting.pop_front();
        let found = match answer {
            Ok(ack) => ack.sequence,
            Err(error) if is_fence(error.kind()) => {
                return Err(SendError::Fenced {
                    expected: expected - 1,
                });
            }
            Err(error) => return Err(SendError::Publish(error)),
        };
        if found != expected {
            return Err(SendError::Sequence { expected, found });
        }
        self.acked = found;
        Ok(())
    }

    /// The id of the message that stands at this sequence, or should.
    fn id(&self, sequence: u64) -> String {
        format!("{}.{sequence}", self.name)
    }

    /// Waits for all acknowledgements.
    pub(super) async fn settle(&mut self) -> Result<(), SendError> {
        while !self.waiting.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }
}

fn is_fence(kind: PublishErrorKind) -> bool {
    matches!(
        kind,
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId
    )
}

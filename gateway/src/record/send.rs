//! One message to `USAGE`, once.
//!
//! Each names the last sequence of its subject, so one that is sent again after a lost acknowledgement is refused; and
//! each carries the number of its last record, so whoever is refused finds out whether it is there.

use std::{collections::HashMap, time::Duration};

use async_nats::{
    Client,
    jetstream::{
        Context,
        context::{ContextBuilder, PublishError, PublishErrorKind},
        message::PublishMessage,
        stream::{DirectGetError, DirectGetErrorKind},
    },
};
use events_schema::subjects;
use tokio::time::timeout;
use uuid::Uuid;

use super::batch::Batch;

/// A header with the number of the last record in a message.
const LAST_NUMBER: &str = "Sluice-Last-Number";
/// How long an acknowledgement, or a place in the client's queue, may take.
const WAIT: Duration = Duration::from_secs(3);

/// The way to `USAGE`.
#[derive(Debug)]
pub(super) struct Usage {
    context: Context,
    /// What is known of the ends of subjects.
    ends: HashMap<Uuid, End>,
}

/// The last message of an incarnation's subject.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    sequence: u64,
    number: u64,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("NATS did not take a batch of request records in time")]
    Slow,
    #[error("publishing request records")]
    Publish(#[source] PublishError),
    #[error("looking up the last request records in USAGE")]
    LookUp(#[source] DirectGetError),
}

impl Usage {
    /// `own` is the life that begins: nothing of it is in the stream.
    pub(super) fn new(client: Client, own: Uuid) -> Self {
        Self {
            context: ContextBuilder::new().timeout(WAIT).build(client),
            ends: HashMap::from([(own, End::default())]),
        }
    }

    /// Sends a message, unless the stream has it; returns when it is there.
    pub(super) async fn send(&mut self, batch: &Batch) -> Result<(), SendError> {
        let known = self.ends.get(&batch.incarnation).copied();
        let mut end = match known {
            Some(end) => end,
            None => self.look_up(batch.incarnation).await?,
        };
        for again in [true, false] {
            if end.sequence > 0 && batch.last_number() <= end.number {
                break;
            }
            match self.publish(batch, end.sequence).await {
                Ok(sequence) => {
                    end = End {
                        sequence,
                        number: batch.last_number(),
                    };
                    break;
                }
                Err(SendError::Publish(error))
                    if again && error.kind() == PublishErrorKind::WrongLastSequence =>
                {
                    end = self.look_up(batch.incarnation).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.ends.insert(batch.incarnation, end);
        Ok(())
    }

    async fn publish(&self, batch: &Batch, after: u64) -> Result<u64, SendError> {
        let message = PublishMessage::build()
            .expected_stream(subjects::USAGE)
            .expected_last_subject_sequence(after)
            .header(LAST_NUMBER, batch.last_number().to_string().as_str())
            .payload(batch.payload.clone());
        let subject = subjects::usage(batch.incarnation);
        // The client queues while it is disconnected and then blocks: a bound on that, too.
        let sent = timeout(WAIT, self.context.send_publish(subject, message)).await;
        let ack = sent
            .map_err(|_| SendError::Slow)?
            .map_err(SendError::Publish)?;
        let ack = timeout(WAIT, ack.into_future()).await;
        let ack = ack
            .map_err(|_| SendError::Slow)?
            .map_err(SendError::Publish)?;
        Ok(ack.sequence)
    }

    async fn look_up(&self, incarnation: Uuid) -> Result<End, SendError> {
        let look = async {
            let stream = self
                .context
                .get_stream_no_info(subjects::USAGE)
                .await
                .map_err(|_| SendError::Slow)?;
            match stream
                .direct_get_last_for_subject(subjects::usage(incarnation))
                .await
            {
                Ok(message) => {
                    let number = message
                        .headers
                        .get(LAST_NUMBER)
                        .and_then(|value| value.as_str().parse().ok());
                    Ok(End {
                        sequence: message.sequence,
                        number: number.unwrap_or(0),
                    })
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(End::default()),
                Err(error) => Err(SendError::LookUp(error)),
            }
        };
        timeout(WAIT, look).await.map_err(|_| SendError::Slow)?
    }
}

//! Who is in office: the newest message of one subject says so, and is replaced by a compare-and-set on its sequence.

use std::time::{Duration, Instant};

use async_nats::jetstream::{
    self,
    context::{CreateStreamError, PublishErrorKind},
    message::PublishMessage,
    stream::{self, LastRawMessageErrorKind},
};
use events_schema::subjects;
use gateway_policy::limits::aggregator::OFFICE_US;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the newest message says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Held {
    /// The term, from 1.
    term: u64,
    /// Which worker holds the office.
    worker: Uuid,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The office is this worker's for a while longer.
    Renewed,
    /// It is this worker's from now on, in this term.
    Taken(u64),
    /// Somebody else has it.
    By,
}

/// Why nobody knows who is in office.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("LIMITS cannot be created")]
    Create(#[source] Box<CreateStreamError>),
    #[error("who is in office for limits cannot be read")]
    Read,
    #[error("who is in office for limits cannot be written")]
    Write,
}

/// The office, as one worker sees it.
pub(super) struct Office {
    context: jetstream::Context,
    stream: stream::Stream,
    worker: Uuid,
    /// The sequence of this worker's own message, while it is the newest, and its term.
    own: Option<(u64, u64)>,
    /// The newest message of another: its sequence, and when it was seen first.
    seen: Option<(u64, Instant)>,
}

impl Office {
    /// Opens the stream, which is made where there is none.
    pub(super) async fn open(
        context: jetstream::Context,
        worker: Uuid,
        replicas: usize,
    ) -> Result<Self, Error> {
        let config = stream::Config {
            name: subjects::LIMITS.into(),
            subjects: vec![subjects::LIMITS_OFFICE.into()],
            description: Some("Sluice: who deals out the shares of limits".into()),
            max_messages_per_subject: 1,
            storage: stream::StorageType::File,
            num_replicas: replicas,
            ..stream::Config::default()
        };
        let made = context.get_or_create_stream(config).await;
        let stream = made.map_err(|error| Error::Create(Box::new(error)))?;
        Ok(Self {
            context,
            stream,
            worker,
            own: None,
            seen: None,
        })
    }

    /// Renews the office where this worker has it; takes it where nobody has, or who had it has not renewed it for as long as it
    /// lasts. `heard_term`: the highest that a gateway obeys.
    pub(super) async fn hold(&mut self, heard_term: u64) -> Result<Standing, Error> {
        if let Some((sequence, term)) = self.own {
            // A gateway that obeys a higher term would not hear this one.
            if heard_term <= term {
                self.own = self.write(term, sequence).await?;
                self.seen = None;
                return Ok(self.own.map_or(Standing::By, |_| Standing::Renewed));
            }
            self.own = None;
        }
        let newest = self.read().await?;
        let (sequence, term) = match &newest {
            None => (0, 0),
            Some((sequence, held)) => {
                let since = match self.seen {
                    Some((seen, since)) if seen == *sequence => since,
                    Some(_) | None => Instant::now(),
                };
                self.seen = Some((*sequence, since));
                let is_over = since.elapsed() > Duration::from_micros(OFFICE_US);
                if !is_over && held.worker != self.worker {
                    return Ok(Standing::By);
                }
                (*sequence, held.term)
            }
        };
        let term = term.max(heard_term) + 1;
        self.own = self.write(term, sequence).await?;
        Ok(self.own.map_or(Standing::By, |_| Standing::Taken(term)))
    }

    async fn read(&self) -> Result<Option<(u64, Held)>, Error> {
        let subject = subjects::LIMITS_OFFICE;
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                let held = serde_json::from_slice(&message.payload).map_err(|_| Error::Read)?;
                Ok(Some((message.sequence, held)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(_) => Err(Error::Read),
        }
    }

    /// Writes that this worker is in office, if the newest message is still that of `sequence`; `None`: somebody was quicker.
    async fn write(&self, term: u64, sequence: u64) -> Result<Option<(u64, u64)>, Error> {
        let held = Held {
            term,
            worker: self.worker,
        };
        let json = serde_json::to_vec(&held).map_err(|_| Error::Write)?;
        let message = PublishMessage::build()
            .payload(json.into())
            .expected_last_subject_sequence(sequence);
        let sent = self.context.send_publish(subjects::LIMITS_OFFICE, message);
        let acknowledged = match sent.await {
            Ok(sent) => sent.await,
            Err(_) => return Err(Error::Write),
        };
        match acknowledged {
            Ok(acknowledged) => Ok(Some((acknowledged.sequence, term))),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            // It may have been written: the next look says.
            Err(_) => Err(Error::Write),
        }
    }
}

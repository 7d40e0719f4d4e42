//! What is lent of budgets, written down on `BUDGETS`: of each counter and window the newest record.
//!
//! A record is written only in place of the one that its writer knows: of two who believe to be in office one is refused, for
//! each budget by itself.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use async_nats::jetstream::{
    self,
    context::{CreateStreamError, PublishErrorKind},
    message::PublishMessage,
    stream,
};
use events_schema::subjects;
use gateway_policy::limits::{
    Measure,
    lease::{BudgetId, BudgetRecord},
    wire,
};
use uuid::Uuid;

use crate::reader::{ReadError, Reader, look};

/// How long a record is kept after it was written: longer than the longest window, a quarter.
const KEPT: Duration = Duration::from_secs(100 * 86_400);
/// Of a stream made anew, and of one that nobody has used yet.
const NOTHING: u64 = 0;

/// Why records cannot be had, or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("gateways' reports on budgets cannot be heard")]
    Deaf,
    #[error("BUDGETS cannot be created")]
    Create(#[source] Box<CreateStreamError>),
    #[error("BUDGETS cannot be read")]
    Read(#[from] ReadError),
    #[error("a record on BUDGETS cannot be read: a newer version wrote it, or something else did")]
    Unreadable,
    #[error("a budget's leases cannot be written")]
    Write,
    #[error("somebody else has written a budget's leases")]
    Another,
}

/// The stream, and where each budget's record stands.
pub(super) struct Store {
    context: jetstream::Context,
    sequences: HashMap<BudgetId, u64>,
}

// === impl Store ===

impl Store {
    /// Opens the stream, which is made where there is none, and reads all of it.
    pub(super) async fn open(
        context: jetstream::Context,
        replicas: usize,
    ) -> Result<(Self, Vec<BudgetRecord>), Error> {
        let config = stream::Config {
            name: subjects::BUDGETS.into(),
            subjects: vec![subjects::BUDGETS_SUBJECTS.into()],
            description: Some("Sluice: what is lent of budgets".into()),
            max_messages_per_subject: 1,
            max_age: KEPT,
            storage: stream::StorageType::File,
            num_replicas: replicas,
            ..stream::Config::default()
        };
        let made = context.get_or_create_stream(config).await;
        made.map_err(|error| Error::Create(Box::new(error)))?;
        let mut store = Self {
            context,
            sequences: HashMap::new(),
        };
        let records = store.read().await?;
        Ok((store, records))
    }

    async fn read(&mut self) -> Result<Vec<BudgetRecord>, Error> {
        let end = look(&self.context, subjects::BUDGETS).await?;
        let mut records = BTreeMap::new();
        if end.messages == NOTHING {
            return Ok(Vec::new());
        }
        let mut reader = Reader::open(&self.context, subjects::BUDGETS, None).await?;
        loop {
            let delivered = reader.next().await?;
            let record: BudgetRecord =
                wire::read_one(&delivered.message.payload).map_err(|_| Error::Unreadable)?;
            self.sequences.insert(record.budget, delivered.sequence);
            records.insert(record.budget, record);
            if delivered.sequence >= end.last {
                return Ok(records.into_values().collect());
            }
        }
    }

    /// Writes a record in place of the one that is known; it is durable when that has ended well, with its sequence.
    pub(super) fn write(
        &self,
        record: &BudgetRecord,
    ) -> impl Future<Output = Result<u64, Error>> + Send + use<> {
        let context = self.context.clone();
        let known = self.sequences.get(&record.budget).copied();
        let subject = subject(&record.budget);
        let message = PublishMessage::build()
            .payload(wire::write_one(record).into())
            .expected_last_subject_sequence(known.unwrap_or(NOTHING));
        async move {
            let sent = context.send_publish(subject, message).await;
            let acknowledged = sent.map_err(|_| Error::Write)?.await;
            match acknowledged {
                Ok(acknowledged) => Ok(acknowledged.sequence),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    Err(Error::Another)
                }
                // It may have been written: the next reading says.
                Err(_) => Err(Error::Write),
            }
        }
    }

    /// A record stands at this sequence now.
    pub(super) fn written(&mut self, budget: BudgetId, sequence: u64) {
        self.sequences.insert(budget, sequence);
    }

    /// A budget's window is over.
    pub(super) fn forget(&mut self, budget: &BudgetId) {
        self.sequences.remove(budget);
    }
}

fn subject(budget: &BudgetId) -> String {
    let BudgetId { counter, slot } = budget;
    let measure = match counter.measure {
        Measure::Requests => "requests",
        Measure::Tokens => "tokens",
        Measure::Cost => "cost",
    };
    format!(
        "budgets.{}.{}.{measure}.{}.{}",
        Uuid::from_bytes(counter.rule).as_simple(),
        Uuid::from_bytes(counter.segment).as_simple(),
        counter.period.index(),
        slot.0
    )
}

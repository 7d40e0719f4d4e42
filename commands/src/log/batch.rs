//! One batch of commands: decided one after another on an overlay, written in one transaction.
//!
//! What is written depends on the head being the one that was decided on, so that rules that look across things are never wrong
//! through a race with another replica. Nearly always it is: then one statement compares it and writes, and the database is asked
//! twice in all. Where another replica came first, or where there are rows to be written beside the log, the head's row is locked
//! before anything is decided, until the commit: no batch is overtaken twice.

use std::{collections::HashMap, sync::Arc};

use events_schema::{
    api::commands::EventSummary,
    envelope::{DecodedEnvelope, Envelope},
    events::{Event, codec},
    state::Organisation,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{CHANNEL, LogError, ReadError, append::Waiting, read, rows, side};
use crate::{
    clock,
    control::{CommandOutcome, Head, Live, Logged, Submission, SubmitError},
    domain::{Command, KeyCommand, decide},
    fresh,
};

/// What was decided for each command of a batch, in their order.
pub(super) type Answers = Vec<Result<CommandOutcome, SubmitError>>;

/// State and head, and how they came to be.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    pub(super) state: Organisation,
    pub(super) head: Head,
    pub(super) logged: Vec<Arc<Logged>>,
}

impl Overlay {
    /// How it stands, to be able to go back there. The state's maps share their structure with the copy.
    fn mark(&self) -> (Organisation, Head, usize) {
        (self.state.clone(), self.head, self.logged.len())
    }

    fn reset(&mut self, (state, head, logged): (Organisation, Head, usize)) {
        (self.state, self.head) = (state, head);
        self.logged.truncate(logged);
    }
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    /// The database refused something, or went away.
    #[error("{doing} failed: {source}")]
    Database {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// The log cannot be folded on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The database's head is not one that follows from what this process has seen.
    #[error("{0}")]
    Head(String),
}

impl BatchError {
    fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

impl From<ReadError> for BatchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database { doing, source } => Self::Database { doing, source },
            error @ ReadError::Column { .. } => Self::Log(error.into()),
        }
    }
}

/// What `command_results` keeps of an answer: no secrets.
#[derive(Debug, Serialize, Deserialize)]
struct StoredAnswer {
    position: u64,
    events: Vec<EventSummary>,
    made: Option<String>,
}

/// An answer given before.
#[derive(Debug, Clone)]
struct Given {
    actor: String,
    request_hash: Vec<u8>,
    outcome: CommandOutcome,
}

/// What a batch is about to write.
#[derive(Debug, Default)]
struct Draft {
    envelopes: Vec<Envelope>,
    /// Which commands' orders have rows beside the log that are written.
    effective: Vec<(usize, usize)>,
    /// Which commands' answers are kept.
    answered: Vec<usize>,
}

/// What came of writing a batch at once.
enum AtOnce {
    /// It is written.
    Written(Answers),
    /// Nothing is written: another replica came first, or may have.
    Overtaken,
}

/// Decides and writes the batch. `overlay` begins as the state that this process knows; when this returns `Ok`, it is the
/// state after the commit. `committing` is set as soon as the outcome of a failure is unknown.
pub(super) async fn append(
    connection: &mut PgConnection,
    overlay: &mut Overlay,
    batch: &[Waiting],
    committing: &mut bool,
) -> Result<Answers, BatchError> {
    if batch.iter().all(|it| it.submission.is_of_the_log_alone()) {
        let before = overlay.mark();
        match append_at_once(connection, overlay, batch, committing).await? {
            AtOnce::Written(answers) => return Ok(answers),
            AtOnce::Overtaken => overlay.reset(before),
        }
    }
    append_locked(connection, overlay, batch, committing).await
}

/// Decides on what this process knows, and writes if the database's head is the same.
async fn append_at_once(
    connection: &mut PgConnection,
    overlay: &mut Overlay,
    batch: &[Waiting],
    committing: &mut bool,
) -> Result<AtOnce, BatchError> {
    let head = overlay.head;
    let given = given_before(connection, batch).await?;
    let (draft, answers) = decide_each(overlay, batch, given);
    // What was refused, or changes nothing, is not known to hold still.
    if draft.envelopes.is_empty() {
        return Ok(AtOnce::Overtaken);
    }
    *committing = true;
    let written = write(connection, &head, overlay, batch, &draft, &answers).await;
    match written {
        Ok(true) => Ok(AtOnce::Written(answers)),
        Ok(false) => {
            *committing = false;
            Ok(AtOnce::Overtaken)
        }
        Err(BatchError::Database { source, doing }) => {
            let cause = source.as_database_error();
            *committing = cause.is_none_or(may_be_written);
            // An answer to the same command was given by another replica since.
            if cause.is_some_and(|it| it.is_unique_violation()) {
                return Ok(AtOnce::Overtaken);
            }
            Err(BatchError::Database { doing, source })
        }
        Err(error @ (BatchError::Log(_) | BatchError::Head(_))) => Err(error),
    }
}

/// Whether a statement may have been committed that ended with this error: a server that is shutting down, or lost who it
/// replicates to, may say so after it has written.
fn may_be_written(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    code.is_empty() || code.starts_with("08") || code.starts_with("57")
}

/// Locks the head, folds in what other replicas wrote, decides and writes.
async fn append_locked(
    connection: &mut PgConnection,
    overlay: &mut Overlay,
    batch: &[Waiting],
    committing: &mut bool,
) -> Result<Answers, BatchError> {
    let mut transaction = connection
        .begin()
        .await
        .map_err(BatchError::doing("beginning a transaction"))?;
    let head = read::locked_head(&mut *transaction).await?;
    catch_up(&mut transaction, overlay, &head).await?;
    let head = overlay.head;
    let given = given_before(&mut transaction, batch).await?;
    let (draft, answers) = decide_each(overlay, batch, given);
    if draft.answered.is_empty() {
        transaction
            .rollback()
            .await
            .map_err(BatchError::doing("letting the log go"))?;
        return Ok(answers);
    }
    for (index, order) in &draft.effective {
        let effects = &batch[*index].submission.orders[*order].side;
        side::write(&mut transaction, effects)
            .await
            .map_err(BatchError::doing("writing beside the log"))?;
    }
    if !write(&mut transaction, &head, overlay, batch, &draft, &answers).await? {
        let moved = "the log's head moved while it was locked";
        return Err(BatchError::Head(moved.into()));
    }
    *committing = true;
    transaction
        .commit()
        .await
        .map_err(BatchError::doing("committing"))?;
    Ok(answers)
}

/// Folds in what other replicas wrote.
pub(super) async fn catch_up(
    connection: &mut PgConnection,
    overlay: &mut Overlay,
    head: &Head,
) -> Result<(), BatchError> {
    while overlay.head.position < head.position {
        let page = read::between(
            &mut *connection,
            overlay.head.position,
            head.position,
            read::PAGE,
        )
        .await?;
        if page.is_empty() {
            let missing = overlay.head.position + 1;
            return Err(BatchError::Head(format!(
                "the event at position {missing} is missing, though the log's head is {}",
                head.position
            )));
        }
        for row in page {
            fold(overlay, row)?;
        }
    }
    let (ours, theirs) = (&overlay.head, head);
    if theirs.position < ours.position {
        return Err(BatchError::Head(format!(
            "the log's head went back from {} to {}: events were dropped, or an old copy of the database was brought back",
            ours.position, theirs.position
        )));
    }
    if theirs.hash != ours.hash {
        return Err(BatchError::Head(format!(
            "the event at position {} is another than it was: the log was changed, or forked",
            ours.position
        )));
    }
    Ok(())
}

fn fold(overlay: &mut Overlay, envelope: Envelope) -> Result<(), LogError> {
    envelope.check_follows(overlay.head.position, &overlay.head.hash)?;
    let event = envelope.event().map_err(|source| LogError::Decode {
        position: envelope.position,
        source,
    })?;
    push(overlay, envelope, event);
    Ok(())
}

/// Folds in one event.
fn push(overlay: &mut Overlay, envelope: Envelope, event: Event) {
    overlay
        .state
        .evolve(&DecodedEnvelope::new(&envelope, &event));
    let is_a_note = matches!(event, Event::BudgetAlert(..));
    overlay.head = Head {
        configured_at: if is_a_note {
            overlay.head.configured_at
        } else {
            envelope.position
        },
        position: envelope.position,
        hash: envelope.hash,
        epoch: overlay.state.epoch(),
        recorded_at: Some(envelope.recorded_at),
    };
    overlay.logged.push(Arc::new(Logged { envelope, event }));
}

async fn given_before(
    connection: &mut PgConnection,
    batch: &[Waiting],
) -> Result<HashMap<Uuid, Given>, BatchError> {
    let ids: Vec<Uuid> = batch
        .iter()
        .map(|waiting| waiting.submission.command_id.uuid())
        .collect();
    let sql = "SELECT command_id, actor, request_hash, answer FROM command_results WHERE command_id = ANY($1)";
    let found: Vec<(Uuid, String, Vec<u8>, String)> = sqlx::query_as(sql)
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(BatchError::doing("looking for answers given before"))?;
    let mut given = HashMap::new();
    for (id, actor, request_hash, answer) in found {
        let unreadable =
            |error| BatchError::doing("reading an answer")(sqlx::Error::Decode(Box::new(error)));
        let StoredAnswer {
            position,
            events,
            made,
        } = serde_json::from_str(&answer).map_err(unreadable)?;
        let outcome = CommandOutcome {
            position,
            events,
            made,
            replayed: true,
        };
        given.insert(
            id,
            Given {
                actor,
                request_hash,
                outcome,
            },
        );
    }
    Ok(given)
}

/// Decides the commands on the overlay, one after another.
fn decide_each(
    overlay: &mut Overlay,
    batch: &[Waiting],
    mut given: HashMap<Uuid, Given>,
) -> (Draft, Answers) {
    let mut draft = Draft::default();
    let mut answers = Vec::with_capacity(batch.len());
    for (index, waiting) in batch.iter().enumerate() {
        answers.push(answer(overlay, &mut draft, &mut given, index, waiting));
    }
    (draft, answers)
}

/// Decides one command on the overlay.
fn answer(
    overlay: &mut Overlay,
    draft: &mut Draft,
    given: &mut HashMap<Uuid, Given>,
    index: usize,
    waiting: &Waiting,
) -> Result<CommandOutcome, SubmitError> {
    let submission = &waiting.submission;
    let (id, actor) = (submission.command_id.uuid(), submission.actor.to_string());
    if let Some(before) = given.get(&id) {
        if before.actor != actor || before.request_hash != submission.request_hash {
            return Err(SubmitError::CommandIdReused);
        }
        let mut outcome = before.outcome.clone();
        // A batch whose commit was in doubt is tried again: what it made then is this very submission's.
        outcome.replayed = !did_it(&overlay.state, submission, &outcome);
        return Ok(outcome);
    }
    // One order is decided before anything of it is folded in: nothing has to be taken back. A copy that is held makes the
    // state's maps copy what changes, so there is none without need.
    let before = (submission.orders.len() > 1).then(|| overlay.mark());
    let drafted = draft.envelopes.len();
    let (summaries, effective) = match decide_all(overlay, submission, &mut draft.envelopes) {
        Ok(decided) => decided,
        Err(error) => {
            if let Some(before) = before {
                overlay.reset(before);
                draft.envelopes.truncate(drafted);
            }
            return Err(error);
        }
    };
    let made = if summaries.is_empty() {
        None
    } else {
        submission.makes()
    };
    draft
        .effective
        .extend(effective.into_iter().map(|order| (index, order)));
    draft.answered.push(index);
    let outcome = CommandOutcome {
        position: overlay.head.position,
        events: summaries,
        made,
        replayed: false,
    };
    let mut again = outcome.clone();
    again.replayed = true;
    given.insert(
        id,
        Given {
            actor,
            request_hash: submission.request_hash.to_vec(),
            outcome: again,
        },
    );
    Ok(outcome)
}

/// Whether it is this very submission that was done, and not an earlier one under the same id: what it would make, or the
/// secret that it gives, was made afresh for it and is there.
fn did_it(state: &Organisation, submission: &Submission, before: &CommandOutcome) -> bool {
    let rotated = submission
        .orders
        .iter()
        .find_map(|order| match &order.command {
            Command::Key(id, KeyCommand::Rotate { hash, .. }) => Some((id, hash)),
            _ => None,
        });
    if let Some((id, hash)) = rotated {
        return state.key_by_hash(hash).is_some_and(|key| key.id == *id);
    }
    before.made.is_some() && before.made == submission.makes()
}

/// Decides a submission's orders one after another, and folds in their events; returns these, and which orders have any.
fn decide_all(
    overlay: &mut Overlay,
    submission: &Submission,
    envelopes: &mut Vec<Envelope>,
) -> Result<(Vec<EventSummary>, Vec<usize>), SubmitError> {
    let now = overlay.head.position;
    // What the system notes by itself changes nothing that somebody looked at.
    let since = overlay.head.configured_at;
    let is_as_seen = |position: u64| (since..=now).contains(&position);
    if submission.made_at.is_some_and(|it| !is_as_seen(it)) {
        return Err(SubmitError::Moved { now });
    }
    let (mut summaries, mut effective) = (Vec::new(), Vec::new());
    for (index, order) in submission.orders.iter().enumerate() {
        let events =
            decide(&overlay.state, &order.command).map_err(|rejection| {
                match submission.orders.len() {
                    1 => SubmitError::Rejected(rejection),
                    _ => SubmitError::OrderRejected {
                        order: index,
                        rejection,
                    },
                }
            })?;
        if !events.is_empty() {
            effective.push(index);
        }
        for event in events {
            let envelope = envelope(overlay, submission, &event);
            summaries.push(EventSummary {
                position: envelope.position,
                kind: envelope.kind.clone(),
                stream: envelope.stream.to_string(),
            });
            envelopes.push(envelope.clone());
            push(overlay, envelope, event);
        }
    }
    Ok((summaries, effective))
}

/// What the submission would do to this state, and the state that would follow.
pub(crate) fn try_out(
    live: &Live,
    submission: &Submission,
) -> Result<(CommandOutcome, Organisation), SubmitError> {
    let mut overlay = Overlay {
        state: live.state.clone(),
        head: live.head,
        logged: Vec::new(),
    };
    let (events, _) = decide_all(&mut overlay, submission, &mut Vec::new())?;
    let outcome = CommandOutcome {
        position: overlay.head.position,
        events,
        made: None,
        replayed: false,
    };
    Ok((outcome, overlay.state))
}

/// Puts an event into its place at the end of the log.
fn envelope(overlay: &Overlay, submission: &Submission, event: &Event) -> Envelope {
    let stream = event.stream();
    let encoded = codec::encode(event);
    let mut envelope = Envelope {
        position: overlay.head.position + 1,
        event_id: fresh::id(),
        stream,
        stream_version: overlay.state.stream_version(stream) + 1,
        kind: encoded.kind,
        schema_version: encoded.schema_version,
        // Never earlier than the event before it, whatever the clocks of several replicas say.
        recorded_at: clock::now().max(overlay.head.recorded_at.unwrap_or(Timestamp::MIN)),
        actor: submission.actor,
        cause: submission.command_id,
        correlation: submission
            .correlation
            .unwrap_or(submission.command_id.uuid()),
        why: submission.why.clone(),
        payload: encoded.payload,
        prev_hash: overlay.head.hash,
        hash: [0; 32],
    };
    envelope.hash = envelope.computed_hash();
    envelope
}

/// Writes events and answers if the head is `known`, and says whether it was.
async fn write(
    connection: &mut PgConnection,
    known: &Head,
    overlay: &Overlay,
    batch: &[Waiting],
    draft: &Draft,
    answers: &Answers,
) -> Result<bool, BatchError> {
    let kept = Kept::new(batch, draft, answers);
    let failed = BatchError::doing("writing events and answers");
    if draft.envelopes.is_empty() {
        let written = kept.bound(sqlx::query(KEEP)).execute(connection).await;
        return written.map(|_| true).map_err(failed);
    }
    let Head {
        position,
        hash,
        epoch,
        recorded_at,
        configured_at: _,
    } = overlay.head;
    let query = kept
        .bound(rows::bound(sqlx::query(WRITE), &draft.envelopes))
        .bind(rows::to_i64(position))
        .bind(hash.to_vec())
        .bind(epoch.map(|epoch| epoch.to_string()))
        .bind(recorded_at.map(Timestamp::micros))
        .bind(CHANNEL)
        .bind(rows::to_i64(known.position))
        .bind(known.hash.to_vec());
    let moved = query.fetch_optional(connection).await.map_err(failed)?;
    Ok(moved.is_some())
}

/// Keeps answers.
const KEEP: &str = concat!(
    "INSERT INTO command_results (command_id, actor, request_hash, answer) ",
    "SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[])"
);

/// Moves the head if it is the one that was decided on; and if it was, inserts events, keeps answers, and notifies. In one
/// statement, since who waits for the batch waits for each answer of the database.
const WRITE: &str = concat!(
    "WITH moved AS (",
    "UPDATE log_head SET position = $19, hash = $20, epoch = $21, ",
    "recorded_at = 'epoch'::timestamptz + $22 * interval '1 microsecond' ",
    "WHERE position = $24 AND hash = $25 RETURNING position",
    "), logged AS (",
    rows::insert_events!(" WHERE EXISTS (SELECT FROM moved)"),
    "), kept AS (",
    "INSERT INTO command_results (command_id, actor, request_hash, answer) ",
    "SELECT * FROM unnest($15::uuid[], $16::text[], $17::bytea[], $18::text[]) ",
    "WHERE EXISTS (SELECT FROM moved)",
    ") SELECT pg_notify($23, position::text) FROM moved"
);

/// Answers that are kept, by columns.
#[derive(Default)]
struct Kept {
    ids: Vec<Uuid>,
    actors: Vec<String>,
    hashes: Vec<Vec<u8>>,
    texts: Vec<String>,
}

impl Kept {
    fn bound<'q>(
        self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.ids)
            .bind(self.actors)
            .bind(self.hashes)
            .bind(self.texts)
    }

    fn new(batch: &[Waiting], draft: &Draft, answers: &Answers) -> Self {
        let mut kept = Self::default();
        for index in &draft.answered {
            let Ok(CommandOutcome {
                position,
                events,
                made,
                replayed: _,
            }) = &answers[*index]
            else {
                continue;
            };
            let stored = StoredAnswer {
                position: *position,
                events: events.clone(),
                made: made.clone(),
            };
            let submission = &batch[*index].submission;
            kept.ids.push(submission.command_id.uuid());
            kept.actors.push(submission.actor.to_string());
            kept.hashes.push(submission.request_hash.to_vec());
            let text = serde_json::to_string(&stored);
            kept.texts
                .push(text.expect("an answer holds nothing that JSON cannot"));
        }
        kept
    }
}

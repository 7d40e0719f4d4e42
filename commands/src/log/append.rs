//! The appender: the one task of a process that writes to the log.
//!
//! It takes what waits in the queue, writes it as one batch ([`super::batch`]), publishes the new state, and
//! answers. In between it follows what other replicas write: on a notification, or on a poll, since notifications
//! are lost on a reconnect. Nothing is appended over a connection before the log was compared with the last head
//! that this process saw, with `EVENTS`, and with the heads that were published ([`super::compare`]).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use events_schema::envelope::Epoch;
use sqlx::{
    ConnectOptions, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    CHANNEL, CONNECT_TIMEOUT, LogError, ReadError,
    batch::{self, Answers, BatchError, Overlay},
    checkpoint,
    compare::{self, Assessment, CompareError},
    read,
};
use crate::control::{CommandOutcome, Live, Logged, Submission, SubmitError};

/// Commands that share one commit: enough to make the sync of a disk cheap, few enough that a batch takes
/// milliseconds.
const MOST_IN_BATCH: usize = 256;

/// The pause between two comparisons under a new epoch, while the log and `EVENTS` do not agree yet.
const COMPARE_AGAIN: Duration = Duration::from_millis(250);

/// How often the head is looked at when nothing notifies.
const POLL: Duration = Duration::from_millis(100);

/// How long a batch may be under way, reconnects included, before its senders are told that it failed.
const BATCH_DEADLINE: Duration = Duration::from_secs(6);

/// How long one try of a batch may take: a database that is cut off answers nothing at all.
const TRY_TIMEOUT: Duration = Duration::from_secs(4);

/// SQLSTATE classes in which the database is not to blame for the batch's content: connection, resources,
/// operator's intervention, system; and, in full, a lock that was not had in time.
const NOT_THE_CONTENT: [&str; 5] = ["08", "53", "57", "58", "55P03"];

/// A command in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) submission: Submission,
    /// Whether it goes through where appends are stopped.
    pub(super) despite_stop: bool,
    pub(super) answer: oneshot::Sender<Result<CommandOutcome, SubmitError>>,
}

/// What does not agree, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The database's head does not follow from what this process has seen.
    Follow,
    /// The log and `EVENTS` differ.
    Events,
    /// The log lacks a head that was published.
    Heads,
}

/// See the module.
pub(super) struct Appender {
    options: PgConnectOptions,
    pool: PgPool,
    nats: Option<async_nats::Client>,
    live: watch::Sender<Arc<Live>>,
    events: broadcast::Sender<Arc<Logged>>,
    connection: Option<PgConnection>,
    /// Why nothing is appended.
    faults: BTreeMap<Fault, Arc<str>>,
    /// The epoch in which the log was compared last.
    compared_in: Option<Epoch>,
    /// When it may be compared again, where it still did not agree.
    compare_after: Instant,
    checkpointed: u64,
    /// The threads that serve requests: for what is done beside appending.
    beside: Handle,
}

impl Appender {
    /// To be made on the threads that serve requests.
    pub(super) fn new(
        options: PgConnectOptions,
        pool: PgPool,
        nats: Option<async_nats::Client>,
        live: watch::Sender<Arc<Live>>,
        events: broadcast::Sender<Arc<Logged>>,
    ) -> Self {
        // What is loaded at the start is either from a checkpoint or short enough to be read again.
        let checkpointed = live.borrow().head.position;
        Self {
            options,
            pool,
            nats,
            live,
            events,
            connection: None,
            faults: BTreeMap::new(),
            compared_in: None,
            compare_after: Instant::now(),
            checkpointed,
            beside: Handle::current(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Waiting>,
        compare: Arc<Notify>,
        cancel: CancellationToken,
    ) {
        let notified = Arc::new(Notify::new());
        let listener = self.beside.spawn(listen(
            self.pool.clone(),
            Arc::clone(&notified),
            cancel.clone(),
        ));
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                first = queue.recv() => {
                    let Some(first) = first else { break };
                    let mut waiting = vec![first];
                    while waiting.len() < MOST_IN_BATCH && let Ok(next) = queue.try_recv() {
                        waiting.push(next);
                    }
                    self.serve(waiting).await;
                }
                () = compare.notified() => self.compare_again().await,
                () = notified.notified() => self.follow().await,
                _ = poll.tick() => self.follow().await,
            }
        }
        // Queued commands are told by the queue's end.
        listener.abort();
    }

    /// Does the commands and answers each.
    async fn serve(&mut self, waiting: Vec<Waiting>) {
        let deadline = Instant::now() + BATCH_DEADLINE;
        let mut unknown = false;
        let error = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break if unknown {
                    SubmitError::Unknown
                } else {
                    SubmitError::Unavailable
                };
            }
            if !self.connect().await {
                if unknown {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                break SubmitError::Unavailable;
            }
            if let Some(reason) = self.stopped()
                && !waiting.iter().any(|it| it.despite_stop)
            {
                break SubmitError::Stopped(reason);
            }
            let mut committing = false;
            match self.attempt(&waiting, &mut committing).await {
                Ok(answers) => {
                    self.compare_under_a_new_epoch().await;
                    return reply(waiting, answers);
                }
                Err(error) if is_about_content(&error) && waiting.len() > 1 => {
                    return Box::pin(self.serve_apart(waiting)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, commands = waiting.len(), committing, "a batch was not written");
                    unknown |= committing;
                    // Over another connection it would be no better.
                    if let Some(reason) = self.faults.get(&Fault::Follow) {
                        break SubmitError::Stopped(Arc::clone(reason));
                    }
                    if is_about_content(&error) {
                        break SubmitError::Unavailable;
                    }
                }
            }
        };
        for it in waiting {
            // Whoever no longer waits need not know.
            let _ = it.answer.send(Err(error.clone()));
        }
    }

    /// One command's rows are refused by the database: the others must not suffer for it.
    async fn serve_apart(&mut self, waiting: Vec<Waiting>) {
        for it in waiting {
            self.serve(vec![it]).await;
        }
    }

    /// Tries to write the batch over the connection that there is. A failure gives the connection up.
    async fn attempt(
        &mut self,
        waiting: &[Waiting],
        committing: &mut bool,
    ) -> Result<Answers, BatchError> {
        let Some(mut connection) = self.connection.take() else {
            return Err(BatchError::Head("there is no connection".into()));
        };
        let mut overlay = self.overlay();
        let work = batch::append(&mut connection, &mut overlay, waiting, committing);
        let answers = match tokio::time::timeout(TRY_TIMEOUT, work).await {
            Ok(answers) => answers,
            Err(_) => Err(BatchError::Database {
                doing: "writing a batch",
                source: sqlx::Error::PoolTimedOut,
            }),
        };
        match answers {
            Ok(answers) => {
                self.connection = Some(connection);
                self.merge(overlay);
                Ok(answers)
            }
            Err(error) => {
                self.blame(&error);
                Err(error)
            }
        }
    }

    /// Folds in what other replicas wrote, and notices a head that went astray.
    async fn follow(&mut self) {
        if !self.connect().await {
            return;
        }
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let mut overlay = self.overlay();
        let work = async {
            let head = read::head(&mut connection).await?;
            batch::catch_up(&mut connection, &mut overlay, &head).await
        };
        match tokio::time::timeout(TRY_TIMEOUT, work).await {
            Ok(Ok(())) => {
                self.connection = Some(connection);
                self.set_fault(Fault::Follow, None);
                self.merge(overlay);
                self.compare_under_a_new_epoch().await;
            }
            Ok(Err(error)) => {
                // A head that went astray is no fault of the connection: over a new one, rows would be taken back
                // from EVENTS, and what happened to the database would go unnoticed.
                if !matches!(error, BatchError::Database { .. }) {
                    self.connection = Some(connection);
                }
                self.blame(&error);
            }
            Err(_) => tracing::warn!("Postgres does not answer"),
        }
    }

    /// Makes sure that there is a connection, compared with what was seen before.
    async fn connect(&mut self) -> bool {
        if self.connection.is_some() {
            return true;
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.options.connect());
        let mut connection = match connecting.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::warn!(%error, "Postgres cannot be reached");
                return false;
            }
            Err(_) => {
                tracing::warn!("Postgres does not answer");
                return false;
            }
        };
        if !self.compare(&mut connection).await {
            return false;
        }
        if self.compared_in.is_none() || self.faults.is_empty() {
            self.compared_in = self.live.borrow().head.epoch;
        }
        self.connection = Some(connection);
        true
    }

    /// Compares the log with `EVENTS`, takes back what it lacks, then compares it with the heads that were published.
    /// False when Postgres failed meanwhile.
    async fn compare(&mut self, connection: &mut PgConnection) -> bool {
        if let Some(nats) = self.nats.clone() {
            match self.compare_with_events(connection, &nats).await {
                Ok(fault) => self.set_fault(Fault::Events, fault),
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be compared with EVENTS");
                    return false;
                }
            }
        }
        match compare::missing_head(connection).await {
            Ok(missing) => self.set_fault(Fault::Heads, missing.map(lost_head)),
            Err(error) => {
                tracing::warn!(%error, "the log cannot be compared with its published heads");
                return false;
            }
        }
        true
    }

    /// Why the log and `EVENTS` do not agree, if so.
    async fn compare_with_events(
        &self,
        connection: &mut PgConnection,
        nats: &async_nats::Client,
    ) -> Result<Option<Arc<str>>, LogError> {
        let known = || self.faults.get(&Fault::Events).cloned();
        Ok(match compare::assess(connection, nats).await {
            Ok(Assessment::Unknown) => {
                tracing::warn!(
                    "NATS cannot be asked: the log is used without comparing it with EVENTS"
                );
                known()
            }
            Ok(Assessment::Absent | Assessment::Agrees { .. } | Assessment::Superseded) => None,
            Ok(Assessment::LogShorter { last }) => take_back(connection, nats, last).await,
            Ok(Assessment::Fork { position }) => Some(
                format!(
                    "the log and EVENTS differ from position {position} on; when the log is right, \
                     `sluice-commands start-epoch` goes on with it"
                )
                .into(),
            ),
            Err(CompareError::Log(error)) => return Err(error),
            Err(error @ CompareError::Nats(_)) => {
                tracing::warn!(%error, "the log is used without comparing it with EVENTS");
                known()
            }
        })
    }

    /// The relay found that the log and `EVENTS` differ.
    async fn compare_again(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && self.compare(&mut connection).await
        {
            self.connection = Some(connection);
        }
    }

    /// An operator, here or at another replica, may have decided that the log is right and `EVENTS` is not.
    async fn compare_under_a_new_epoch(&mut self) {
        let epoch = self.live.borrow().head.epoch;
        if self.faults.is_empty()
            || self.compared_in == epoch
            || self.compare_after > Instant::now()
        {
            return;
        }
        self.compare_again().await;
        if self.faults.is_empty() {
            self.compared_in = epoch;
        }
        // The stream is made anew and its heads are forgotten by the elected relay, perhaps another replica's, which may
        // not have come to it yet.
        self.compare_after = Instant::now() + COMPARE_AGAIN;
    }

    fn overlay(&self) -> Overlay {
        let live = self.live.borrow();
        Overlay {
            state: live.state.clone(),
            head: live.head,
            logged: Vec::new(),
        }
    }

    /// Makes the overlay the state that everyone sees.
    fn merge(&mut self, overlay: Overlay) {
        let Overlay {
            state,
            head,
            logged,
        } = overlay;
        if logged.is_empty() {
            return;
        }
        let stopped = self.stopped();
        self.live.send_replace(Arc::new(Live {
            state: state.clone(),
            head,
            stopped,
        }));
        for event in logged {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
        if head.position - self.checkpointed >= checkpoint::EVERY_EVENTS {
            self.checkpointed = head.position;
            let pool = self.pool.clone();
            self.beside.spawn(async move {
                if let Err(error) = checkpoint::write(&pool, state, head.hash).await {
                    tracing::warn!(%error, "no checkpoint was written");
                }
            });
        }
    }

    /// A log that cannot be folded on, or a head that went astray, stops appends until it is right again.
    fn blame(&mut self, error: &BatchError) {
        match error {
            BatchError::Database { .. } => {}
            BatchError::Log(_) | BatchError::Head(_) => {
                self.set_fault(Fault::Follow, Some(error.to_string().into()));
            }
        }
    }

    fn set_fault(&mut self, fault: Fault, reason: Option<Arc<str>>) {
        if self.faults.get(&fault) == reason.as_ref() {
            return;
        }
        match reason {
            Some(reason) => self.faults.insert(fault, reason),
            None => self.faults.remove(&fault),
        };
        self.publish_stop();
    }

    fn stopped(&self) -> Option<Arc<str>> {
        self.faults.values().next().cloned()
    }

    fn publish_stop(&self) {
        let stopped = self.stopped();
        match &stopped {
            Some(reason) => tracing::error!(reason = %reason, "appends are stopped"),
            None => tracing::info!("appends go on"),
        }
        self.live.send_modify(|live| {
            let Live {
                state,
                head,
                stopped: _,
            } = &**live;
            *live = Arc::new(Live {
                state: state.clone(),
                head: *head,
                stopped,
            });
        });
    }
}

/// Takes the rows up to `last` back from `EVENTS`; says why, where they cannot be.
async fn take_back(
    connection: &mut PgConnection,
    nats: &async_nats::Client,
    last: u64,
) -> Option<Arc<str>> {
    match compare::restore(connection, nats, last).await {
        Ok(rows) => {
            tracing::warn!(
                rows,
                last,
                "the log was shorter than EVENTS: its missing rows were taken back"
            );
            None
        }
        Err(error) => {
            tracing::error!(%error, last, "the log is shorter than EVENTS, and the rows cannot be taken back");
            Some(
                format!("the log ends before position {last}, which EVENTS has, and {error}")
                    .into(),
            )
        }
    }
}

fn lost_head(position: u64) -> Arc<str> {
    format!(
        "the log lacks the event at position {position} that was published as its head, and EVENTS does not have it; \
         when the log is right, `sluice-commands start-epoch` goes on with it"
    )
    .into()
}

fn reply(waiting: Vec<Waiting>, answers: Answers) {
    for (it, answer) in waiting.into_iter().zip(answers) {
        // Whoever no longer waits need not know.
        let _ = it.answer.send(answer);
    }
}

/// Whether the database refused what was written, rather than to write.
fn is_about_content(error: &BatchError) -> bool {
    match error {
        BatchError::Database {
            source: sqlx::Error::Database(cause),
            ..
        } => {
            let code = cause.code().unwrap_or_default();
            !NOT_THE_CONTENT.iter().any(|class| code.starts_with(class))
        }
        BatchError::Database { .. } | BatchError::Log(_) | BatchError::Head(_) => false,
    }
}

/// Passes notifications on. They are a hint only: the poll finds what they miss.
async fn listen(pool: PgPool, notified: Arc<Notify>, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        if let Err(error) = listen_once(&pool, &notified).await {
            tracing::debug!(%error, "not listening for notifications");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(pool: &PgPool, notified: &Notify) -> Result<(), ReadError> {
    let failed = "listening for notifications";
    let mut listener = PgListener::connect_with(pool)
        .await
        .map_err(ReadError::doing(failed))?;
    listener
        .listen(CHANNEL)
        .await
        .map_err(ReadError::doing(failed))?;
    loop {
        listener.recv().await.map_err(ReadError::doing(failed))?;
        notified.notify_one();
    }
}

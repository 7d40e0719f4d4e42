//! The handle on the appender: a bounded queue in, the live state out.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    EMPTY, LogError, StartError,
    append::{Appender, Waiting},
    checkpoint, connect_options, connect_pool, read,
};
use crate::{
    clock,
    control::{CommandOutcome, Head, Live, Logged, NotReached, Submission, SubmitError},
    domain::{Command, LogCommand},
    fresh,
};
use events_schema::{
    actor::{Actor, System},
    envelope::Epoch,
    state::Organisation,
};

/// Commands that may wait: more than a second's worth, few enough that the last one is still answered in time.
const QUEUE: usize = 1_024;

/// Events that a subscriber may lag behind before it must read from the database.
const BROADCAST: usize = 4_096;

/// The longest that a command is waited for. The appender gives up before that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What several tasks of the log share.
#[derive(Debug)]
struct Shared {
    queue: mpsc::Sender<Waiting>,
    live: watch::Receiver<Arc<Live>>,
    events: broadcast::Sender<Arc<Logged>>,
    pool: PgPool,
    compare: Arc<Notify>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogHandle(Arc<Shared>);

/// Loads the state and starts the appender; initialises the log when it is empty.
///
/// # Errors
/// See [`StartError`].
pub async fn start(url: &str, nats: Option<async_nats::Client>) -> Result<LogHandle, StartError> {
    let options = connect_options(url)?;
    let pool = connect_pool(options.clone()).await?;
    let live = load(&pool).await?;
    tracing::info!(position = live.head.position, "loaded the log");
    let (queue, waiting) = mpsc::channel(QUEUE);
    let (events, _) = broadcast::channel(BROADCAST);
    let (live, watched) = watch::channel(Arc::new(live));
    let (compare, cancel, tasks) = (
        Arc::new(Notify::new()),
        CancellationToken::new(),
        TaskTracker::new(),
    );
    let appender = Appender::new(options, pool.clone(), nats, live, events.clone());
    let appending = appender.run(waiting, Arc::clone(&compare), cancel.clone());
    on_its_own_thread(&tasks, appending)?;
    let handle = LogHandle(Arc::new(Shared {
        queue,
        live: watched,
        events,
        pool,
        compare,
        cancel,
        tasks,
    }));
    handle.initialise().await;
    Ok(handle)
}

/// Runs the appender on a thread of its own. A batch waits for the database several times; on the threads that serve
/// requests it would queue behind these each time, and all who wait for the batch with it. It ends with the runtime that serves
/// requests, in the middle of a batch where that must be.
fn on_its_own_thread(
    tasks: &TaskTracker,
    appending: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let (alive, gone) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    });
    tasks.spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                () = appending => {}
                // Nobody says anything: who would have is gone.
                _ = gone => {}
            }
        });
    });
    Ok(())
}

/// The newest checkpoint, and what comes after it.
async fn load(pool: &PgPool) -> Result<Live, LogError> {
    let head = read::head(pool).await?;
    let (mut state, mut hash) = match checkpoint::newest(pool, head.position).await? {
        Some(found) => (found.state, found.hash),
        None => (Organisation::default(), EMPTY.hash),
    };
    let mut recorded_at = None;
    loop {
        let page = read::between(pool, state.position(), head.position, read::PAGE).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            row.check_follows(state.position(), &hash)?;
            state.apply(&row).map_err(|source| LogError::Decode {
                position: row.position,
                source,
            })?;
            (hash, recorded_at) = (row.hash, Some(row.recorded_at));
        }
    }
    let head = Head {
        position: state.position(),
        hash,
        epoch: state.epoch(),
        recorded_at: recorded_at.or(head.recorded_at),
        configured_at: state.position(),
    };
    Ok(Live {
        state,
        head,
        stopped: None,
    })
}

impl LogHandle {
    /// Begins the log; does nothing where it has begun. What hinders it is the appender's to report.
    async fn initialise(&self) {
        let epoch = Epoch {
            seconds: clock::now().seconds(),
            id: fresh::uuid(),
        };
        let command = LogCommand::Initialise { epoch };
        if let Err(error) = self
            .submit(system_submission(System::Init, command, None))
            .await
        {
            tracing::warn!(%error, "the log was not initialised");
        }
    }

    /// Accepts that the log was forked or lost, and goes on under a higher epoch. Goes through also where appends
    /// are stopped.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn start_epoch(&self, why: Option<String>) -> Result<CommandOutcome, SubmitError> {
        let old = self.live().head.epoch.map_or(0, |epoch| epoch.seconds);
        let epoch = Epoch {
            seconds: clock::now().seconds().max(old + 1),
            id: fresh::uuid(),
        };
        let submission =
            system_submission(System::CommandLine, LogCommand::StartEpoch { epoch }, why);
        self.send(submission, true).await
    }

    /// See [`crate::control::Control::submit`].
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, submission: Submission) -> Result<CommandOutcome, SubmitError> {
        self.send(submission, false).await
    }

    async fn send(
        &self,
        submission: Submission,
        despite_stop: bool,
    ) -> Result<CommandOutcome, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            submission,
            despite_stop,
            answer,
        };
        self.0
            .queue
            .try_send(waiting)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
                mpsc::error::TrySendError::Closed(_) => SubmitError::Unavailable,
            })?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(SubmitError::Unavailable),
            Err(_) => Err(SubmitError::Unknown),
        }
    }

    /// State and head now.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.0.live.borrow())
    }

    /// State and head as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Live>> {
        self.0.live.clone()
    }

    /// See [`crate::control::Control::at_least`].
    ///
    /// # Errors
    /// When the position is not reached in time.
    pub async fn at_least(
        &self,
        position: u64,
        timeout: Duration,
    ) -> Result<Arc<Live>, NotReached> {
        let mut live = self.0.live.clone();
        let reached = tokio::time::timeout(
            timeout,
            live.wait_for(|live| live.head.position >= position),
        )
        .await;
        match reached {
            Ok(Ok(live)) => Ok(Arc::clone(&live)),
            Ok(Err(_)) | Err(_) => Err(NotReached {
                wanted: position,
                reached: self.live().head.position,
            }),
        }
    }

    /// New events.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Logged>> {
        self.0.events.subscribe()
    }

    /// Postgres, for reading.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// Has the appender compare the log with `EVENTS` again: the relay found that they differ.
    #[must_use]
    pub fn comparison(&self) -> Arc<Notify> {
        Arc::clone(&self.0.compare)
    }

    /// Cancelled when the log's tasks are to end.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.0.cancel.clone()
    }

    /// The log's tasks: [`LogHandle::stop`] waits for them.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Ends the tasks.
    pub async fn stop(&self) {
        self.0.cancel.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

fn system_submission(part: System, command: LogCommand, why: Option<String>) -> Submission {
    Submission {
        command_id: fresh::id(),
        actor: Actor::System(part),
        correlation: None,
        why,
        request_hash: fresh::bytes(),
        made_at: None,
        orders: vec![Command::Log(command).into()],
    }
}

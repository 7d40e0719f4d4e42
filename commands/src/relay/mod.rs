//! The relay: publishes the log to the stream `EVENTS`, so that a message's sequence is its event's position.
//!
//! - Each publish expects the stream's last sequence to be the position before it, so a stale relay is refused and
//!   an event is never published twice, whatever was acknowledged or not. Publishes are pipelined; every
//!   acknowledgement's sequence is checked.
//! - On a start, a refusal or a lost tail, the relay reads the stream's last sequence and goes on from there. A
//!   stream that is gone is made anew; one that lost its tail gets it again.
//! - A Postgres advisory lock elects one relay among several, as an optimisation only.
//! - NATS being away delays the relay and nothing else.

mod publish;

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::jetstream::{self, context::CreateStreamErrorKind, stream};
use events_schema::subjects;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{Notify, watch};

use crate::log::{
    LogHandle, ReadError,
    compare::{self, Assessment, CompareError},
    read,
};

/// Any number that no other program is likely to choose.
const LOCK: i64 = 0x0510_ce00_0002;

/// The wait after a failure: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often a relay that is not elected asks again.
const STAND_BY: Duration = Duration::from_secs(1);

/// How often a relay by itself looks for more.
const POLL: Duration = Duration::from_millis(100);

/// How the relay is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayStatus {
    /// The position up to which events are known to be published.
    pub published: Option<u64>,
    /// Whether this process's relay is the elected one.
    pub leading: bool,
    /// Why nothing is published at the moment, if so.
    pub waiting_for: Option<Arc<str>>,
}

/// Why a relay stopped publishing.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Another relay is elected.
    #[error("another relay is at work: it holds the lock")]
    NotElected,
    /// The stream refused an event.
    #[error(
        "the stream refused the event at position {position}: another relay has published, or the stream lost events"
    )]
    Fenced {
        /// The event's position.
        position: u64,
    },
    /// An event was acknowledged at another sequence than its position.
    #[error("the event at position {position} was acknowledged at sequence {sequence}")]
    Misplaced {
        /// The event's position.
        position: u64,
        /// The sequence.
        sequence: u64,
    },
    /// The log and the stream differ.
    #[error("the log and EVENTS differ from position {position} on")]
    Fork {
        /// The position.
        position: u64,
    },
    /// The log is shorter than the stream.
    #[error("EVENTS has events up to {last}, which the log lacks")]
    LogShorter {
        /// The stream's last sequence.
        last: u64,
    },
    /// The stream lost events, or is another one.
    #[error("EVENTS ends at {found}, not at {published}: it lost events, or was made anew")]
    StreamChanged {
        /// Where it ends.
        found: u64,
        /// Where it should end.
        published: u64,
    },
    /// The log has a head, and no rows up to it.
    #[error("the log lacks rows after position {after}, although its head is further")]
    RowsMissing {
        /// The last position that is there.
        after: u64,
    },
    /// NATS did not answer, or not as it should.
    #[error("{doing}: {detail}")]
    Nats {
        /// What was being done.
        doing: &'static str,
        /// What NATS said.
        detail: String,
    },
    /// Something could not be read.
    #[error(transparent)]
    Compare(#[from] CompareError),
}

impl From<ReadError> for RelayError {
    fn from(error: ReadError) -> Self {
        Self::Compare(error.into())
    }
}

/// Starts the relay of a service. It ends with the log's tasks.
pub(crate) fn spawn(log: LogHandle, nats: async_nats::Client) -> watch::Receiver<RelayStatus> {
    let (status, watched) = watch::channel(RelayStatus::default());
    let (cancel, comparison, tasks) = (log.cancellation(), log.comparison(), log.tasks().clone());
    let mut live = log.watch();
    let (head, heads) = watch::channel(live.borrow().head.position);
    let relay = Relay {
        pool: log.pool().clone(),
        nats,
        heads,
        status,
    };
    // The relay must not hold the handle: the log's tasks end when its last holder is gone.
    drop(log);
    let ends = cancel.clone();
    tasks.spawn(async move {
        let follow = async {
            while live.changed().await.is_ok() {
                head.send_replace(live.borrow_and_update().head.position);
            }
        };
        tokio::select! {
            () = ends.cancelled() => {}
            () = follow => {}
            () = relay.serve(&comparison) => {}
        }
    });
    watched
}

/// Runs a relay by itself, for `sluice-commands relay`, until something stops it: another relay at work, a fork, or
/// NATS or Postgres away. `elected` asks for the lock first; without it, the stream alone keeps order.
pub async fn run_alone(pool: PgPool, nats: async_nats::Client, elected: bool) -> RelayError {
    let (head, heads) = watch::channel(0);
    let mut relay = Relay {
        pool: pool.clone(),
        nats,
        heads,
        status: watch::channel(RelayStatus::default()).0,
    };
    let follow = async {
        loop {
            match read::head(&pool).await {
                Ok(now) => head.send_replace(now.position),
                Err(error) => return RelayError::from(error),
            };
            tokio::time::sleep(POLL).await;
        }
    };
    let publish = async {
        let outcome = if elected {
            relay.lead().await
        } else {
            relay.publish_unelected().await
        };
        let Err(error) = outcome;
        error
    };
    tokio::select! {
        error = follow => error,
        error = publish => error,
    }
}

/// A relay.
#[derive(Debug)]
struct Relay {
    /// Postgres, to read the log.
    pool: PgPool,
    nats: async_nats::Client,
    /// The log's head, as it moves on.
    heads: watch::Receiver<u64>,
    /// Where to say how it goes.
    status: watch::Sender<RelayStatus>,
}

impl Relay {
    /// Publishes for ever: stands by while another is elected, and tries again after each failure.
    async fn serve(mut self, comparison: &Notify) {
        let mut back_off = BACK_OFF.0;
        loop {
            let started = tokio::time::Instant::now();
            let Err(error) = self.lead().await;
            let pause = match &error {
                RelayError::NotElected => STAND_BY,
                RelayError::Fork { .. } | RelayError::LogShorter { .. } => {
                    comparison.notify_one();
                    BACK_OFF.1
                }
                RelayError::Fenced { .. }
                | RelayError::Misplaced { .. }
                | RelayError::StreamChanged { .. }
                | RelayError::RowsMissing { .. }
                | RelayError::Nats { .. }
                | RelayError::Compare(_) => back_off,
            };
            back_off = if started.elapsed() > BACK_OFF.1 {
                BACK_OFF.0
            } else {
                (back_off * 2).min(BACK_OFF.1)
            };
            self.report_wait(&error);
            tokio::time::sleep(pause).await;
        }
    }

    fn report_wait(&self, error: &RelayError) {
        let reason: Arc<str> = error.to_string().into();
        let known = self.status.borrow().waiting_for.clone();
        if known.as_ref() != Some(&reason) {
            match error {
                RelayError::NotElected => tracing::info!("another relay is at work: standing by"),
                error => tracing::warn!(%error, "the relay waits"),
            }
        }
        self.status.send_modify(|status| {
            status.leading = false;
            status.waiting_for = Some(reason);
        });
    }

    /// Publishes while this relay is the elected one, until something fails.
    async fn lead(&mut self) -> Result<std::convert::Infallible, RelayError> {
        let mut lock = Lock::take(&self.pool).await?;
        self.status.send_modify(|status| status.leading = true);
        let outcome = self.publish_all(&mut lock).await;
        lock.release().await;
        outcome
    }

    /// Publishes whether or not another relay is elected, until something fails. Whatever another relay does
    /// meanwhile, the stream takes no event twice and none out of order.
    async fn publish_unelected(&mut self) -> Result<std::convert::Infallible, RelayError> {
        self.publish_from_here(std::future::pending()).await
    }

    async fn publish_all(
        &mut self,
        lock: &mut Lock,
    ) -> Result<std::convert::Infallible, RelayError> {
        self.publish_from_here(lock.lost()).await
    }

    async fn publish_from_here(
        &mut self,
        lost: impl Future<Output = RelayError>,
    ) -> Result<std::convert::Infallible, RelayError> {
        let jetstream = compare::jetstream_of(&self.nats);
        let published = self.find_place(&jetstream).await?;
        tracing::info!(published, "the relay publishes");
        self.status.send_modify(|status| {
            status.published = Some(published);
            status.waiting_for = None;
        });
        tokio::select! {
            error = lost => Err(error),
            outcome = publish::run(self, &jetstream, published) => outcome,
        }
    }

    /// Finds out up to where the stream has the log, and makes the stream when it is missing or was given up.
    async fn find_place(&self, jetstream: &jetstream::Context) -> Result<u64, RelayError> {
        let mut connection = self
            .pool
            .acquire()
            .await
            .map_err(ReadError::doing("connecting"))?;
        match compare::assess(&mut connection, &self.nats).await? {
            Assessment::Unknown => Err(RelayError::Nats {
                doing: "connecting to NATS",
                detail: "it does not answer".into(),
            }),
            Assessment::Absent => {
                make_anew(jetstream).await?;
                Ok(0)
            }
            Assessment::Agrees { last } => Ok(last),
            Assessment::LogShorter { last } => Err(RelayError::LogShorter { last }),
            Assessment::Superseded => {
                tracing::warn!("EVENTS is of an epoch that was given up: it is made anew");
                forget_heads(&mut connection).await?;
                make_anew(jetstream).await?;
                Ok(0)
            }
            Assessment::Fork { position } => Err(RelayError::Fork { position }),
        }
    }
}

/// Heads that were seen under an epoch that was given up prove nothing any more.
async fn forget_heads(connection: &mut PgConnection) -> Result<(), ReadError> {
    let forgotten = sqlx::query("DELETE FROM seen_heads")
        .execute(connection)
        .await;
    forgotten.map(|_| ()).map_err(ReadError::doing(
        "forgetting the heads of an epoch that was given up",
    ))
}

/// What the stream is: everything for ever, each message at the sequence that is its position.
fn stream_config() -> stream::Config {
    stream::Config {
        name: subjects::EVENTS.into(),
        subjects: vec![subjects::EVENTS_SUBJECTS.into()],
        retention: stream::RetentionPolicy::Limits,
        storage: stream::StorageType::File,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        description: Some("The log: sequence = position. Written by the relay only.".into()),
        ..stream::Config::default()
    }
}

/// An empty stream whose next sequence is 1. One that is empty but has counted on is of no use.
async fn make_anew(jetstream: &jetstream::Context) -> Result<(), RelayError> {
    let failed = |doing| move |detail: String| RelayError::Nats { doing, detail };
    if let Some(stream) = compare::events_stream(jetstream).await? {
        if stream.cached_info().state.last_sequence == 0 {
            return Ok(());
        }
        jetstream
            .delete_stream(subjects::EVENTS)
            .await
            .map_err(|error| failed("removing the stream EVENTS")(error.to_string()))?;
    }
    match jetstream.create_stream(stream_config()).await {
        Ok(_) => Ok(()),
        // Another relay was quicker.
        Err(error) if matches!(error.kind(), CreateStreamErrorKind::JetStream(_)) => {
            compare::events_stream(jetstream)
                .await?
                .map(|_| ())
                .ok_or(failed("making the stream EVENTS")(error.to_string()))
        }
        Err(error) => Err(failed("making the stream EVENTS")(error.to_string())),
    }
}

/// The advisory lock, held by a connection of its own: whenever this is dropped, the connection and with it the
/// lock are gone, and no pool hands either on.
struct Lock(PgConnection);

impl Lock {
    async fn take(pool: &PgPool) -> Result<Self, RelayError> {
        let mut connection = pool
            .acquire()
            .await
            .map_err(ReadError::doing("connecting"))?;
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection)
            .await
            .map_err(ReadError::doing("asking to be the elected relay"))?;
        if taken {
            Ok(Self(connection.detach()))
        } else {
            Err(RelayError::NotElected)
        }
    }

    /// Resolves when the connection, and with it the lock, is gone.
    async fn lost(&mut self) -> RelayError {
        loop {
            tokio::time::sleep(STAND_BY).await;
            if let Err(source) = self.0.ping().await {
                return ReadError::Database {
                    doing: "keeping the relay's lock",
                    source,
                }
                .into();
            }
        }
    }

    /// Closes the connection, politely.
    async fn release(self) {
        if let Err(error) = self.0.close().await {
            tracing::debug!(%error, "the relay's connection was gone already");
        }
    }
}

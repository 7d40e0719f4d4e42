//! The snapshot publisher: folds `EVENTS` and keeps `SNAPSHOTS`, from which gateways load all that they know.
//!
//! ```text
//! EVENTS ──reader──► fold (pure) ──► term ──book (pure): what differs──► outbox (fenced) ──► SNAPSHOTS
//!                                     ▲
//!                       credentials ──┘ (sealed; from Postgres)
//! ```
//!
//! A publisher's *term* begins with reading the whole stream and the whole history, continues by standing by while
//! another publisher is heard, and then sends what differs, in its final state, and a heartbeat; from then on each
//! batch of events and a heartbeat after it. A term ends at the first sign that the stream is not as this publisher
//! left it; the next one begins by reading again. So there is one way to heal, whatever happened.

mod book;
mod credentials;
mod outbox;
mod term;

use std::time::Duration;

use async_nats::jetstream;
use events_schema::keyring::KeyRing;
use sqlx::postgres::PgConnectOptions;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    credentials::Credentials,
    term::{Ended, Held, Term},
};
use crate::{
    nats::Link,
    status::{Metrics, Part},
};

/// The pause between two terms: the stream's servers may be electing a leader.
const PAUSE: Duration = Duration::from_millis(250);

/// How often sending everything again is tried: the live publisher may be faster by a heartbeat.
const TRIES: u32 = 20;

/// What the publisher needs to know.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// This publisher's own: no other one has it.
    pub id: Uuid,
    /// The MAC keys; entries are sealed with the active one.
    pub ring: KeyRing,
    /// Where the sealed credentials are.
    pub postgres: PgConnectOptions,
    /// How many servers keep `SNAPSHOTS`, should it have to be created.
    pub replicas: usize,
    /// What to do about another publisher.
    pub rivals: Rivals,
}

/// What a publisher does about another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rivals {
    /// Stands by while the other is heard, and takes over when it falls silent.
    StandBy,
    /// Stops, and says why.
    Stop,
    /// Takes its place, sends everything again, and is gone: the other goes on after it.
    Replace,
}

/// What sending everything again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republished {
    /// How many entries and tombstones were sent.
    pub sent: u64,
    /// How many of those that lay on the stream were not as they should be, were missing, or had to go.
    pub differed: u64,
    /// The position up to which the history was folded.
    pub position: u64,
    /// The digest over the entries before, and after; `None` before: the stream's own heartbeat told of another position,
    /// or of another key.
    pub digest_before: Option<String>,
    /// The digest over the entries after.
    pub digest_after: String,
}

/// Why a publisher with [`Rivals::Stop`] stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Another one is at work.
    #[error(
        "another publisher, of generation {0}, is at work: this one stops and has changed nothing"
    )]
    Alive(u64),
    /// Another one took over.
    #[error("another publisher, of generation {0}, has taken over: this one is stale and stops")]
    Superseded(u64),
}

/// What the publisher is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Not connected, or between two terms.
    Waiting,
    /// Reading the stream and the history.
    Reading,
    /// Following, while another publishes.
    Standby,
    /// Publishing.
    Leader,
}

/// How the publisher stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherStatus {
    /// What it is doing.
    pub role: Role,
    /// The position of the history that it has folded.
    pub position: u64,
    /// The position that the last acknowledged heartbeat told.
    pub told: u64,
    /// How many live entries `SNAPSHOTS` has.
    pub entries: u64,
    /// The digest over them.
    pub entries_digest: String,
    /// Its generation; 0 before it led.
    pub generation: u64,
    /// How many entries and tombstones it has sent.
    pub sent: u64,
    /// How many heartbeats it has sent.
    pub heartbeats: u64,
    /// How many fillers it has sent.
    pub fillers: u64,
    /// How many provider accounts wait for Postgres.
    pub pending: usize,
    /// What is in the way, in words.
    pub trouble: Option<String>,
}

impl PublisherStatus {
    /// Before anything has happened.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            role: Role::Waiting,
            position: 0,
            told: 0,
            entries: 0,
            entries_digest: String::new(),
            generation: 0,
            sent: 0,
            heartbeats: 0,
            fillers: 0,
            pending: 0,
            trouble: None,
        }
    }
}

impl Default for PublisherStatus {
    fn default() -> Self {
        Self::new()
    }
}

/// The publisher as a part of the service.
#[derive(Debug, Clone)]
pub struct PublisherPart(pub watch::Receiver<PublisherStatus>);

impl Part for PublisherPart {
    fn name(&self) -> &'static str {
        "snapshot publisher"
    }

    fn ready(&self) -> Result<(), String> {
        let status = self.0.borrow();
        match status.role {
            Role::Leader | Role::Standby => Ok(()),
            Role::Waiting | Role::Reading => {
                Err(status.trouble.clone().unwrap_or_else(|| "reading".into()))
            }
        }
    }

    fn metrics(&self, out: &mut Metrics) {
        let status = self.0.borrow().clone();
        let leads = u64::from(status.role == Role::Leader);
        out.gauge(
            "sluice_publisher_leader",
            "1 where this process publishes snapshots.",
            leads,
        );
        out.gauge(
            "sluice_publisher_position",
            "The position of the history that was folded.",
            status.position,
        );
        out.gauge(
            "sluice_publisher_told_position",
            "The position that the last heartbeat told.",
            status.told,
        );
        out.gauge(
            "sluice_publisher_entries",
            "Live entries on SNAPSHOTS.",
            status.entries,
        );
        out.counter(
            "sluice_publisher_sent_total",
            "Entries and tombstones sent.",
            status.sent,
        );
        out.counter(
            "sluice_publisher_heartbeats_total",
            "Heartbeats sent.",
            status.heartbeats,
        );
        out.counter(
            "sluice_publisher_fillers_total",
            "Fillers sent after a lost tail.",
            status.fillers,
        );
        let pending = u64::try_from(status.pending).unwrap_or(u64::MAX);
        out.gauge(
            "sluice_publisher_pending",
            "Provider accounts that wait for Postgres.",
            pending,
        );
    }
}

/// Publishes, or stands by, until `shutdown`.
///
/// # Errors
/// With [`Rivals::Stop`], when another publisher is alive or has taken over.
pub async fn run(
    config: PublisherConfig,
    mut link: Link,
    status: watch::Sender<PublisherStatus>,
    shutdown: CancellationToken,
) -> Result<(), Stopped> {
    let context = jetstream::new(link.client.clone());
    let mut held = Held::new(Credentials::new(
        config.postgres.clone(),
        Credentials::SHORTLY,
    ));
    loop {
        let nth = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            nth = link.up() => nth,
        };
        let term = Term::new(&config, &context, &mut held, &status);
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = link.lost(nth) => Ended::Disconnected,
            ended = term.serve() => ended,
        };
        if let (Rivals::Stop, Ended::Rival(stopped)) = (config.rivals, &ended) {
            return Err(stopped.clone());
        }
        say(&status, &ended);
        sleep(PAUSE).await;
    }
}

/// Folds the whole history, sends every entry of it again in its final state, and ends.
///
/// # Errors
/// [`GivenUp`], when a term cannot be served to its end.
pub async fn republish(
    config: PublisherConfig,
    mut link: Link,
    shutdown: CancellationToken,
) -> Result<Republished, GivenUp> {
    let context = jetstream::new(link.client.clone());
    let (status, _) = watch::channel(PublisherStatus::new());
    let mut held = Held::new(Credentials::new(
        config.postgres.clone(),
        Credentials::PATIENTLY,
    ));
    let mut why = None;
    for _ in 0..TRIES {
        let nth = tokio::select! {
            () = shutdown.cancelled() => return Err(GivenUp::BrokenOff),
            nth = link.up() => nth,
        };
        let term = Term::new(&config, &context, &mut held, &status);
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Err(GivenUp::BrokenOff),
            () = link.lost(nth) => Ended::Disconnected,
            ended = term.serve() => ended,
        };
        match ended {
            Ended::Republished(done) => return Ok(done),
            ended => why = Some(in_full(&ended)),
        }
        sleep(PAUSE).await;
    }
    Err(GivenUp::Disturbed(why.unwrap_or_default()))
}

/// Why not everything was sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// Somebody asked for the end. What was sent until then is as it should be.
    #[error("broken off")]
    BrokenOff,
    /// Term after term ended early.
    #[error("given up after {TRIES} tries: {0}")]
    Disturbed(String),
}

/// Says why a term ended, once for each reason.
fn say(status: &watch::Sender<PublisherStatus>, ended: &Ended) {
    let trouble = in_full(ended);
    let mut news = false;
    status.send_modify(|status| {
        news = status.trouble.as_ref() != Some(&trouble);
        status.role = Role::Waiting;
        status.trouble = Some(trouble.clone());
    });
    if news {
        tracing::warn!(trouble, "the publisher's term ended");
    }
}

/// An error with its sources, in one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

//! The handle through which the rest of the service uses the log: submit commands, read the state and the history.
//!
//! A [`Control`] is cheap to clone. Behind it stand three tasks: the appender, which alone writes to the log and
//! follows what other replicas write; the relay; and the writer of checkpoints. Reading the state takes no lock
//! that an append holds and asks no database.

use std::{collections::HashMap, sync::Arc, time::Duration};

use events_schema::{
    actor::Actor,
    api::{commands::EventSummary, history::VerifyReport},
    envelope::{Envelope, Epoch},
    events::{Aggregate, Event, Stream},
    id::{CommandId, OperatorId, ProviderAccountId, TokenId},
    secrets::SealedRef,
    state::Organisation,
    time::Timestamp,
};
use sqlx::PgPool;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::{
    domain::{Command, Rejection, RejectionOutcome},
    log::{self, LogError, ReadError, StartError},
    relay::RelayStatus,
    verify::{self, VerifyError},
};

/// How to reach the log and its surroundings.
#[derive(Debug, Clone)]
pub struct ControlOptions {
    /// Postgres under the role `sluice_service`.
    pub postgres_url: String,
    /// Postgres under the role `sluice_owner`, to run the migrations first; `None`: they were run before.
    pub postgres_owner_url: Option<String>,
    /// NATS, for the comparison with `EVENTS` and for the relay; `None`: neither is done. May be disconnected.
    pub nats: Option<async_nats::Client>,
    /// Whether to run the relay.
    pub relay: bool,
}

/// A command and everything that must be written with it, in one transaction.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The command's id: the same id with the same `request_hash` and actor gives the same answer again.
    pub command_id: CommandId,
    /// Who.
    pub actor: Actor,
    /// Ties together what belongs to one undertaking; `None`: the command's id.
    pub correlation: Option<Uuid>,
    /// Why.
    pub why: Option<String>,
    /// BLAKE3 of the request's body (without `command_id`), before anything was made for it.
    pub request_hash: [u8; 32],
    /// The position of the state that it was made for, if it must be that one: refused when the log has moved on.
    pub made_at: Option<u64>,
    /// What to do, in this order; all of it, or nothing.
    pub orders: Vec<Order>,
}

impl Submission {
    /// The id of the first thing that the orders make.
    #[must_use]
    pub fn makes(&self) -> Option<String> {
        self.orders.iter().find_map(|order| order.command.makes())
    }

    /// Whether no order has rows beside the log.
    #[must_use]
    pub fn is_of_the_log_alone(&self) -> bool {
        self.orders.iter().all(|order| order.side.is_nothing())
    }
}

/// One order of a submission.
#[derive(Debug, Clone)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Rows beside the log. Written only when the command yields events.
    pub side: SideEffects,
}

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Self {
            command,
            side: SideEffects::default(),
        }
    }
}

/// Rows beside the log that belong to a command: what must not stand in the log itself.
#[derive(Debug, Clone, Default)]
pub struct SideEffects {
    /// Names and e-mail addresses.
    pub person: Option<PersonChange>,
    /// Destroys all ciphertexts of a provider account's credentials, before a new one is written.
    pub shred: Option<ProviderAccountId>,
    /// A sealed credential.
    pub secret: Option<SealedSecret>,
    /// An operator's password hash. Ends all sessions of the operator but, perhaps, one.
    pub password: Option<PasswordChange>,
    /// The hash of an operator's token.
    pub token: Option<TokenHash>,
    /// Removes an operator's password, tokens and sessions.
    pub forget_operator: Option<OperatorId>,
    /// Ends an operator's sessions.
    pub end_sessions: Option<OperatorId>,
}

impl SideEffects {
    /// Whether nothing is to be written.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        let Self {
            person,
            shred,
            secret,
            password,
            token,
            forget_operator,
            end_sessions,
        } = self;
        person.is_none()
            && shred.is_none()
            && secret.is_none()
            && password.is_none()
            && token.is_none()
            && forget_operator.is_none()
            && end_sessions.is_none()
    }
}

/// A change in the table `people`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonChange {
    /// The person is new.
    Put(Person),
    /// The person is called otherwise.
    Name {
        /// Who.
        id: Uuid,
        /// The new name; the former one is overwritten.
        name: String,
    },
    /// The person has another e-mail address.
    Email {
        /// Who.
        id: Uuid,
        /// The new address.
        email: String,
    },
    /// The person is to be forgotten. The log, the fold and its digest stay as they are.
    Erase(Uuid),
}

/// A row of the table `people`: a user's or an operator's, under the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user's or operator's id.
    pub id: Uuid,
    /// The e-mail address, as it was typed.
    pub email: String,
    /// The name.
    pub name: String,
}

/// A row of the table `sealed_secrets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Under which id and version events name it.
    pub reference: SealedRef,
    /// The id of the sealing key.
    pub sealing_key: String,
    /// The account that it is bound to.
    pub account: ProviderAccountId,
    /// The origin that it is bound to.
    pub origin: String,
    /// HPKE's encapsulated key and ciphertext.
    pub sealed: Vec<u8>,
}

/// A row of the table `operator_passwords`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordChange {
    /// Whose.
    pub operator: OperatorId,
    /// The hash as a PHC string.
    pub hash: String,
    /// The session that goes on (`sessions.id`): the one in which an operator changed the own password.
    pub keep_session: Option<Uuid>,
}

/// A row of the table `operator_tokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash {
    /// The token's id.
    pub token: TokenId,
    /// Whose.
    pub operator: OperatorId,
    /// BLAKE3 of the token's text.
    pub hash: [u8; 32],
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The position of its last event; of the log's head where it has none.
    pub position: u64,
    /// Its events; none when everything already was as the command wants it.
    pub events: Vec<EventSummary>,
    /// The id of what it made. Of the first time, when this is an answer given again.
    pub made: Option<String>,
    /// Whether the command had been done before and this is its answer given again: show no secret.
    pub replayed: bool,
}

/// Why a command was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// The rules refuse it.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The rules refuse one of several orders, and with it all.
    #[error("{rejection}")]
    OrderRejected {
        /// Which, from 0.
        order: usize,
        /// Why.
        rejection: Rejection,
    },
    /// The log has moved on from the position that the submission was made for.
    #[error(
        "The configuration has changed meanwhile: the log is at {now}. Look at the difference again."
    )]
    Moved {
        /// Where the log is.
        now: u64,
    },
    /// The id belongs to another command, or to another sender's.
    #[error("The command id was used before with another body. Choose a new one.")]
    CommandIdReused,
    /// The queue is full.
    #[error("Too many commands are waiting. Send it again in a moment.")]
    Busy,
    /// The database cannot be reached; nothing was changed.
    #[error(
        "The log cannot be written to at the moment. Nothing was changed; send it again later."
    )]
    Unavailable,
    /// The database went away while it answered.
    #[error(
        "The database went away while it was writing. Send the command again with the same command_id to learn whether it was done."
    )]
    Unknown,
    /// Appending stopped: see the reason.
    #[error("Changes are stopped: {0}")]
    Stopped(Arc<str>),
}

impl SubmitError {
    /// The one table from an error to what goes over the wire. The wording for people is its `Display`.
    #[must_use]
    pub const fn outcome(&self) -> RejectionOutcome {
        match self {
            Self::Rejected(rejection) | Self::OrderRejected { rejection, .. } => {
                rejection.outcome()
            }
            Self::Moved { .. } => RejectionOutcome {
                code: "moved",
                status: 409,
                field: Some("position"),
            },
            Self::CommandIdReused => RejectionOutcome {
                code: "command_id_reused",
                status: 409,
                field: None,
            },
            Self::Busy => RejectionOutcome {
                code: "busy",
                status: 503,
                field: None,
            },
            Self::Unavailable => RejectionOutcome {
                code: "log_unavailable",
                status: 503,
                field: None,
            },
            Self::Unknown => RejectionOutcome {
                code: "outcome_unknown",
                status: 503,
                field: None,
            },
            Self::Stopped(_) => RejectionOutcome {
                code: "appends_stopped",
                status: 503,
                field: None,
            },
        }
    }
}

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The position of the last event; 0 before the first.
    pub position: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// The epoch; `None` before the first event.
    pub epoch: Option<Epoch>,
    /// When the last event was recorded.
    pub recorded_at: Option<Timestamp>,
    /// The position of the last event that is more than a note of the system's own, as far as this process knows; never one before
    /// the last such event.
    pub configured_at: u64,
}

/// State and head as of one moment.
#[derive(Debug, Clone)]
pub struct Live {
    /// The fold up to `head`.
    pub state: Organisation,
    /// The end of the log.
    pub head: Head,
    /// Why commands are refused, if they are.
    pub stopped: Option<Arc<str>>,
}

/// An event that was appended, already read.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The row.
    pub envelope: Envelope,
    /// The event within.
    pub event: Event,
}

/// Which events of the history; `None` everywhere: all.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Of this kind of thing.
    pub aggregate: Option<Aggregate>,
    /// Of this thing.
    pub stream: Option<Stream>,
    /// By this actor; an operator includes the operator's tokens.
    pub actor: Option<Actor>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Recorded at or after.
    pub from: Option<Timestamp>,
    /// Recorded before.
    pub to: Option<Timestamp>,
}

/// The wait for a position ended without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("position {wanted} is not reached: the log is at {reached}")]
pub struct NotReached {
    /// The position waited for.
    pub wanted: u64,
    /// The position reached.
    pub reached: u64,
}

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    log: log::LogHandle,
    relay: watch::Receiver<RelayStatus>,
    nats: Option<async_nats::Client>,
}

impl Control {
    /// Runs migrations (with an owner's URL), loads the state, compares the log with `EVENTS`, initialises the log
    /// when it is empty, and starts the tasks. They end when the last clone is dropped, or by [`Control::stop`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: ControlOptions) -> Result<Self, StartError> {
        let ControlOptions {
            postgres_url,
            postgres_owner_url,
            nats,
            relay,
        } = options;
        if let Some(owner) = &postgres_owner_url {
            log::migrate(owner).await?;
        }
        let log = log::start(&postgres_url, nats.clone()).await?;
        let status = match (&nats, relay) {
            (Some(nats), true) => crate::relay::spawn(log.clone(), nats.clone()),
            (None, _) | (_, false) => watch::channel(RelayStatus::default()).1,
        };
        Ok(Self {
            log,
            relay: status,
            nats,
        })
    }

    /// Does the command, after those that came before it, or says why not.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, submission: Submission) -> Result<CommandOutcome, SubmitError> {
        self.log.submit(submission).await
    }

    /// What the submission would do now, without doing it, and the state that would follow.
    ///
    /// # Errors
    /// [`SubmitError::Rejected`], [`SubmitError::OrderRejected`], [`SubmitError::Moved`].
    pub fn try_out(
        &self,
        submission: &Submission,
    ) -> Result<(CommandOutcome, Organisation), SubmitError> {
        log::try_out(&self.live(), submission)
    }

    /// Accepts that the log was forked or lost, and goes on with it under a higher epoch; `EVENTS` is then written
    /// anew. Goes through also where appends are stopped for a fork. For `sluice-commands start-epoch`.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn start_epoch(&self, why: Option<String>) -> Result<CommandOutcome, SubmitError> {
        self.log.start_epoch(why).await
    }

    /// The state now, and the log's head.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.log.live()
    }

    /// The state now: a copy that costs nothing and does not change.
    #[must_use]
    pub fn state(&self) -> Organisation {
        self.log.live().state.clone()
    }

    /// The end of the log as this process knows it.
    #[must_use]
    pub fn head(&self) -> Head {
        self.log.live().head
    }

    /// Why commands are refused, if they are.
    #[must_use]
    pub fn appends_stopped(&self) -> Option<Arc<str>> {
        self.log.live().stopped.clone()
    }

    /// The state at `position` or later, as soon as it is there.
    ///
    /// # Errors
    /// When it is not reached within `timeout`.
    pub async fn at_least(
        &self,
        position: u64,
        timeout: Duration,
    ) -> Result<Arc<Live>, NotReached> {
        self.log.at_least(position, timeout).await
    }

    /// Where the log ends in Postgres at this moment: perhaps further than the state has come, when another process wrote.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn stored_position(&self) -> Result<u64, ReadError> {
        log::read::head(self.pool()).await.map(|head| head.position)
    }

    /// New events in the order of their positions, from now on. Who lags behind reads on with [`Control::events_after`].
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Logged>> {
        self.log.subscribe()
    }

    /// At most `limit` events below position `before` (`None`: from the end), the newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn events(
        &self,
        filter: &HistoryFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Envelope>, ReadError> {
        log::read::history(self.pool(), filter, before, limit).await
    }

    /// At most `limit` events after `position`, the oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn events_after(
        &self,
        position: u64,
        limit: u32,
    ) -> Result<Vec<Envelope>, ReadError> {
        log::read::after(self.pool(), position, limit).await
    }

    /// The event at `position`, if there is one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn event(&self, position: u64) -> Result<Option<Envelope>, ReadError> {
        log::read::one(self.pool(), position).await
    }

    /// The state as of `position`; `None` past the end of the log.
    ///
    /// # Errors
    /// See [`LogError`].
    pub async fn state_at(&self, position: u64) -> Result<Option<Organisation>, LogError> {
        log::state_at(self.pool(), position).await
    }

    /// The position of the last event recorded at or before `time`; 0 when there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn position_at(&self, time: Timestamp) -> Result<u64, ReadError> {
        log::read::position_at(self.pool(), time).await
    }

    /// The people among these ids who were not erased.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn people(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Person>, ReadError> {
        log::read::people(self.pool(), ids).await
    }

    /// How the relay is.
    #[must_use]
    pub fn relay_status(&self) -> RelayStatus {
        self.relay.borrow().clone()
    }

    /// Checks the whole log against itself, `EVENTS`, its checkpoints and the heads seen before.
    ///
    /// # Errors
    /// When it could not be checked; what does not agree is in the report.
    pub async fn verify(&self) -> Result<VerifyReport, VerifyError> {
        verify::verify(self.pool(), self.nats.as_ref(), Some(&self.live())).await
    }

    /// Postgres under the service's role, for tables beside the log (see `migrations/`).
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.log.pool()
    }

    /// Finishes the batch under way, writes a checkpoint when one is due, and ends the tasks.
    pub async fn stop(&self) {
        self.log.stop().await;
    }
}

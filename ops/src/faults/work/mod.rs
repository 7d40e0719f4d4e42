//! The work that goes on while things go wrong: operators who give commands, callers who ask for answers through each
//! gateway, somebody who tries what was closed, and somebody who spends more than is allowed.

mod callers;
pub(super) mod tight;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events_schema::api::commands::{CommandAnswer, CommandRequest, NewCommand};
use events_schema::api::declared::{ApplyAnswer, ApplyRequest};
use events_schema::id::CommandId;
use http::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(super) use callers::{call, gateway_port};

use super::draw::{Excuses, GATEWAYS, REPLICAS};
use super::facts::{Acknowledged, Notebook};
use super::orders::{self, Given, Order, Plot, Said};
use crate::api::Api;
use crate::client::Answer;
use crate::dice::Dice;
use crate::failure::{Doing as _, Outcome};
use crate::stack::ports::Ports;
use tight::Purse;

/// The pause between two tries of a command whose outcome is not known, and between two questions of one caller.
const PAUSE: Duration = Duration::from_millis(25);

/// How long a command may be tried until it is answered: longer than any fault and what comes after it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// How much of an answer a finding quotes.
const QUOTED_CHARS: usize = 300;

/// Why, for the history.
const WHY: &str = "the fault run";

/// The people at work.
pub(super) struct Work {
    over: Arc<AtomicBool>,
    commands: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

/// What each of them needs.
#[derive(Clone)]
pub(super) struct Place {
    /// Both control planes' APIs, in the order of [`REPLICAS`].
    pub(super) apis: [Arc<Api>; 2],
    pub(super) ports: Ports,
    pub(super) notebook: Arc<Notebook>,
    /// What each writer works with.
    pub(super) plots: Arc<[Plot]>,
    /// A key that is never touched.
    pub(super) steady_key: Arc<str>,
    /// Who spends more than is allowed.
    pub(super) purse: Purse,
}

/// Somebody at work in a round.
#[derive(Clone)]
pub(super) struct Worker {
    place: Place,
    excuses: Arc<Excuses>,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

/// What a command was answered with, or a document.
struct Answered {
    position: u64,
    events: Vec<(u64, String, String)>,
    id: Option<String>,
    secret: Option<String>,
}

// === impl Work ===

impl Work {
    /// Everybody begins.
    pub(super) fn start(place: &Place, excuses: &Arc<Excuses>, dice: &mut Dice) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let commands = Arc::new(AtomicU64::new(0));
        let requests = Arc::new(AtomicU64::new(0));
        let worker = |done: &Arc<AtomicU64>| Worker {
            place: place.clone(),
            excuses: Arc::clone(excuses),
            over: Arc::clone(&over),
            done: Arc::clone(done),
        };
        let mut tasks = Vec::new();
        for (replica, plot) in place.plots.iter().enumerate() {
            let dice = Dice::new(dice.roll());
            let giving = worker(&commands).give_commands(replica, plot.clone(), dice);
            tasks.push(tokio::spawn(giving));
        }
        let raising = worker(&commands).raise(Dice::new(dice.roll()));
        tasks.push(tokio::spawn(raising));
        for gateway in GATEWAYS {
            for _ in 0..2 {
                let dice = Dice::new(dice.roll());
                tasks.push(tokio::spawn(worker(&requests).ask(gateway, dice)));
            }
            let dice = Dice::new(dice.roll());
            tasks.push(tokio::spawn(
                worker(&requests).try_closed_doors(gateway, dice),
            ));
            tasks.push(tokio::spawn(worker(&requests).overspend(gateway)));
        }
        Self {
            over,
            commands,
            requests,
            tasks,
        }
    }

    /// Commands and requests that were answered so far.
    pub(super) fn done(&self) -> (u64, u64) {
        (
            self.commands.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
        )
    }

    /// Lets everybody finish what they have begun.
    pub(super) async fn finish(self) -> Outcome<(u64, u64)> {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.doing(|| "a task of the fault run".into())?;
        }
        Ok((
            self.commands.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
        ))
    }
}

// === impl Worker ===

impl Worker {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Each writer has a replica of its own.
    async fn give_commands(self, replica: usize, plot: Plot, mut dice: Dice) {
        while self.goes_on() {
            let order = orders::next(&plot, &self.place.notebook.facts(), &mut dice);
            let id = command_id(&mut dice);
            if self.carry_out(replica, id, &plot, &order).await.is_none() {
                return;
            }
        }
    }

    /// Gives a command and notes what follows from it. Returns the id of what it made.
    async fn carry_out(
        &self,
        replica: usize,
        id: CommandId,
        plot: &Plot,
        order: &Order,
    ) -> Option<String> {
        let sent = Instant::now();
        let answer = self.give(replica, id, &order.given).await?;
        let mut facts = self.place.notebook.facts();
        let acknowledged = Acknowledged {
            position: answer.position,
            events: answer.events,
        };
        facts.commands.insert(id, acknowledged);
        let said = Said {
            position: answer.position,
            id: answer.id.as_deref(),
            secret: answer.secret.as_deref(),
            sent,
        };
        facts.follow(plot, &order.effects, &said);
        self.done.fetch_add(1, Ordering::Relaxed);
        Some(answer.id.unwrap_or_default())
    }

    /// Gives a command until it is answered, always under the same id.
    async fn give(&self, replica: usize, id: CommandId, given: &Given) -> Option<Answered> {
        let deadline = Instant::now() + ANSWERED_WITHIN;
        while Instant::now() < deadline {
            match send(&self.place.apis[replica], id, given).await {
                Ok(answer) if answer.status.is_success() => match read(given, &answer) {
                    Ok(answer) => return Some(answer),
                    Err(failure) => self.found(format!("a command's answer: {failure}")),
                },
                Ok(answer) => {
                    let known = answer.status == StatusCode::SERVICE_UNAVAILABLE
                        && self.excuses.commands_may_be_refused();
                    if !known {
                        self.found(format!("{} was answered {}", name(given), quoted(&answer)));
                    }
                    // It is as it is: the same again is answered the same.
                    if !known && answer.status.is_client_error() {
                        return None;
                    }
                }
                Err(failure) if self.excuses.ended(REPLICAS[replica]) => drop(failure),
                Err(failure) => self.found(format!("a command was not answered: {failure}")),
            }
            sleep(PAUSE).await;
        }
        self.found(format!(
            "command {id} was never answered, in {} s",
            ANSWERED_WITHIN.as_secs()
        ));
        None
    }

    fn found(&self, what: impl Into<String>) {
        self.place.notebook.found(what);
    }
}

/// An id for a command, by the seed.
fn command_id(dice: &mut Dice) -> CommandId {
    CommandId::from_uuid(uuid::Uuid::from_u64_pair(dice.roll(), dice.roll()))
}

async fn send(api: &Api, id: CommandId, given: &Given) -> Outcome<Answer> {
    let (command_id, why) = (Some(id), Some(WHY.to_owned()));
    match given {
        Given::Command(command) => {
            let command = command.clone();
            let request = CommandRequest {
                command_id,
                why,
                command,
            };
            api.try_command(&request).await
        }
        Given::Document(document) => {
            let request = ApplyRequest {
                command_id,
                why,
                document: document.clone(),
                dry_run: false,
                prune: false,
                position: None,
            };
            api.try_apply(&request).await
        }
    }
}

fn read(given: &Given, answer: &Answer) -> Outcome<Answered> {
    let (position, events, id, secret) = match given {
        Given::Command(_) => {
            let answer: CommandAnswer = answer.json()?;
            (answer.position, answer.events, answer.id, answer.secret)
        }
        Given::Document(_) => {
            let answer: ApplyAnswer = answer.json()?;
            (answer.position, answer.events, None, None)
        }
    };
    let events = events
        .into_iter()
        .map(|it| (it.position, it.kind, it.stream));
    Ok(Answered {
        position,
        events: events.collect(),
        id,
        secret,
    })
}

/// What was given, for people.
fn name(given: &Given) -> String {
    let type_of = |command: &NewCommand| serde_json::to_value(command).unwrap_or_default();
    match given {
        Given::Command(command) => format!("the command {}", type_of(command)["type"]),
        Given::Document(_) => "a document".to_owned(),
    }
}

fn quoted(answer: &Answer) -> String {
    let text: String = answer.text().chars().take(QUOTED_CHARS).collect();
    format!("{}: {text}", answer.status)
}

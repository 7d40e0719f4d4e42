//! The work that goes on while things go wrong: operators who give commands, callers who ask for answers through each
//! gateway, and somebody who tries revoked keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events_schema::api::commands::{CommandAnswer, CommandRequest, NewCommand};
use events_schema::events::{KeyLimits, Owner};
use events_schema::id::{CommandId, KeyId, VirtualAccountId};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::draw::{Excuses, GATEWAYS, REPLICAS};
use super::facts::{Acknowledged, KeyState, KnownKey, Notebook};
use crate::api::Api;
use crate::client::{self, Answer};
use crate::dice::Dice;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::stack::ports::Ports;
use crate::stack::services::url;

/// Keys of one writer that work at the same time; then it takes some away.
const KEYS_OF_ONE_WRITER: usize = 8;

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
    /// Who owns the keys of each writer.
    pub(super) accounts: Arc<[VirtualAccountId]>,
    /// A key that is never touched.
    pub(super) steady_key: Arc<str>,
}

#[derive(Clone)]
struct Worker {
    place: Place,
    excuses: Arc<Excuses>,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
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
        for (replica, account) in place.accounts.iter().enumerate() {
            let dice = Dice::new(dice.roll());
            let giving = worker(&commands).give_commands(replica, *account, dice);
            tasks.push(tokio::spawn(giving));
        }
        for gateway in GATEWAYS {
            for _ in 0..2 {
                let dice = Dice::new(dice.roll());
                tasks.push(tokio::spawn(worker(&requests).ask(gateway, dice)));
            }
            let dice = Dice::new(dice.roll());
            tasks.push(tokio::spawn(
                worker(&requests).try_revoked_keys(gateway, dice),
            ));
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
    async fn give_commands(self, replica: usize, account: VirtualAccountId, mut dice: Dice) {
        while self.goes_on() {
            let (command, key) = self.next_command(account, &mut dice);
            let id = CommandId::from_uuid(uuid::Uuid::from_u64_pair(dice.roll(), dice.roll()));
            let Some(answer) = self.give(replica, id, &command).await else {
                return;
            };
            self.note(&command, key, &answer);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Something to do with the writer's own keys, so that writers never undo each other's work.
    fn next_command(
        &self,
        account: VirtualAccountId,
        dice: &mut Dice,
    ) -> (NewCommand, Option<KeyId>) {
        let owner = Owner::VirtualAccount(account);
        let (works, disabled) = {
            let facts = self.place.notebook.facts();
            let mine = |state| {
                facts
                    .keys
                    .iter()
                    .filter(|(_, key)| key.state == state && key.owner == account)
                    .map(|(id, _)| *id)
                    .collect::<Vec<_>>()
            };
            (mine(KeyState::Works), mine(KeyState::Disabled))
        };
        // No two keys of an owner have the same label, so that none is ever drawn twice.
        let number = dice.roll();
        let draw = dice.between(0, 10);
        let issue = NewCommand::IssueKey {
            owner,
            label: format!("key {number}"),
            expires_at: None,
            limits: KeyLimits::default(),
        };
        let full = works.len() + disabled.len() >= KEYS_OF_ONE_WRITER;
        let working = dice.choose(&works).copied();
        let standing = dice.choose(&disabled).copied();
        match (draw, working, standing) {
            (0..3, _, _) if !full => (issue, None),
            (0..5, Some(key), _) => (NewCommand::RevokeKey { key }, Some(key)),
            (5, Some(key), _) => (NewCommand::DisableKey { key }, Some(key)),
            (6, _, Some(key)) => (NewCommand::EnableKey { key }, Some(key)),
            (7, _, Some(key)) => (NewCommand::RevokeKey { key }, Some(key)),
            (_, Some(key), _) => {
                let label = format!("label {number}");
                (NewCommand::RelabelKey { key, label }, Some(key))
            }
            _ => (issue, None),
        }
    }

    /// Gives a command until it is answered, always under the same id.
    async fn give(
        &self,
        replica: usize,
        id: CommandId,
        command: &NewCommand,
    ) -> Option<CommandAnswer> {
        let request = CommandRequest {
            command_id: Some(id),
            why: Some(WHY.to_owned()),
            command: command.clone(),
        };
        let deadline = Instant::now() + ANSWERED_WITHIN;
        while Instant::now() < deadline {
            match self.place.apis[replica].try_command(&request).await {
                Ok(answer) if answer.status.is_success() => match answer.json() {
                    Ok(answer) => return Some(answer),
                    Err(failure) => self.found(format!("a command's answer: {failure}")),
                },
                Ok(answer) => {
                    let known = answer.status == StatusCode::SERVICE_UNAVAILABLE
                        && self.excuses.commands_may_be_refused();
                    if !known {
                        self.found(format!("a command was answered {}", quoted(&answer)));
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

    /// What the answer promises.
    fn note(&self, command: &NewCommand, key: Option<KeyId>, answer: &CommandAnswer) {
        let mut facts = self.place.notebook.facts();
        let acknowledged = Acknowledged {
            position: answer.position,
            events: answer.events.len(),
        };
        facts.commands.insert(answer.command_id, acknowledged);
        let known = key.and_then(|key| facts.keys.get_mut(&key));
        match (command, known) {
            (NewCommand::RevokeKey { .. }, Some(known)) => {
                known.state = KeyState::Revoked;
                known.revoked_at = Some(answer.position);
            }
            (NewCommand::DisableKey { .. }, Some(known)) => known.state = KeyState::Disabled,
            (NewCommand::EnableKey { .. }, Some(known)) => known.state = KeyState::Works,
            (NewCommand::IssueKey { owner, .. }, None) => {
                let id = answer.id.as_deref().and_then(|id| id.parse().ok());
                let (Some(id), Owner::VirtualAccount(owner)) = (id, *owner) else {
                    drop(facts);
                    return self.found("a command that makes a key answered without its id");
                };
                let known = KnownKey {
                    owner,
                    secret: answer.secret.clone(),
                    state: KeyState::Works,
                    revoked_at: None,
                };
                facts.keys.insert(id, known);
            }
            _ => {}
        }
    }

    /// Asks through one gateway, with a key that must always work.
    async fn ask(self, gateway: &'static str, mut dice: Dice) {
        let address = url(gateway_port(self.place.ports, gateway));
        while self.goes_on() {
            let (path, body) = question(&mut dice);
            let answer = call(&address, path, &self.place.steady_key, Some(&body)).await;
            match answer {
                Ok(answer) => self.judge(gateway, &body, &answer),
                Err(failure) => self.judge_silence(gateway, &failure.to_string()),
            }
            sleep(PAUSE).await;
        }
    }

    fn judge(&self, gateway: &'static str, body: &Value, answer: &Answer) {
        if let Some(id) = answer.headers.get("x-request-id") {
            let id = String::from_utf8_lossy(id.as_bytes()).into_owned();
            let twice = self.place.notebook.facts().requests.insert(id, gateway);
            if twice.is_some() {
                self.found("two requests had the same id");
            }
        }
        let position = served_position(answer);
        {
            let mut facts = self.place.notebook.facts();
            let served = facts.served.entry(gateway).or_default();
            *served = position.max(*served);
        }
        let text = answer.text();
        let whole = body["stream"] != true || text.trim_end().ends_with("data: [DONE]");
        if answer.status.is_success() && whole {
            self.done.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let providers = answer.status.is_success()
            || matches!(
                answer.status,
                StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
            );
        let starting =
            answer.status == StatusCode::SERVICE_UNAVAILABLE && self.excuses.ended(gateway);
        let known = starting || (providers && self.excuses.provider_may_fail());
        if !known {
            self.found(format!("{gateway} answered {}", quoted(answer)));
        }
    }

    fn judge_silence(&self, gateway: &str, failure: &str) {
        // An orderly end lets what has begun come to its end.
        let known = self.excuses.killed(gateway)
            || (self.excuses.ended(gateway) && !failure.contains("body"));
        if !known {
            self.found(format!("{gateway} did not answer: {failure}"));
        }
    }

    /// Tries keys that were revoked: a gateway that has served the revocation must never take them again.
    async fn try_revoked_keys(self, gateway: &'static str, mut dice: Dice) {
        let address = url(gateway_port(self.place.ports, gateway));
        while self.goes_on() {
            let (revoked, served) = {
                let facts = self.place.notebook.facts();
                let served = facts.served.get(gateway).copied().unwrap_or_default();
                (facts.secrets(KeyState::Revoked), served)
            };
            let newest = &revoked[revoked.len().saturating_sub(KEYS_OF_ONE_WRITER)..];
            if let Some((key, secret)) = dice.choose(newest) {
                match call(&address, "/v1/models", secret, None).await {
                    Ok(answer) => self.judge_revoked(gateway, served, *key, &answer),
                    Err(failure) => self.judge_silence(gateway, &failure.to_string()),
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// `served`: the highest position that the gateway was known to serve before it was asked.
    fn judge_revoked(&self, gateway: &'static str, served: u64, key: KeyId, answer: &Answer) {
        if answer.status != StatusCode::OK {
            return;
        }
        let position = served_position(answer);
        let revoked_at = {
            let facts = self.place.notebook.facts();
            facts.keys.get(&key).and_then(|known| known.revoked_at)
        };
        let Some(revoked_at) = revoked_at else {
            return;
        };
        // A gateway that was ended begins with what lies on its disk, which is older.
        let went_back = served >= revoked_at && !self.excuses.ended(gateway);
        if position >= revoked_at || went_back {
            self.found(format!(
                "{gateway} took a key at position {position} that was revoked at {revoked_at}; it had served {served}"
            ));
        }
    }

    fn found(&self, what: impl Into<String>) {
        self.place.notebook.found(what);
    }
}

/// A question of one of four kinds.
fn question(dice: &mut Dice) -> (&'static str, Value) {
    let words = format!("Question {}", dice.between(0, 1_000_000));
    let messages = json!([{ "role": "user", "content": words }]);
    match dice.between(0, 4) {
        0 => (
            "/v1/embeddings",
            json!({ "model": "mock/embed", "input": words, "dimensions": 8 }),
        ),
        1 => (
            "/v1/chat/completions",
            json!({ "model": "mock/fast", "messages": messages, "stream": true }),
        ),
        2 => (
            "/v1/chat/completions",
            json!({ "model": "chat", "messages": messages, "stream": true }),
        ),
        _ => (
            "/v1/chat/completions",
            json!({ "model": "chat", "messages": messages }),
        ),
    }
}

/// Where a gateway listens.
pub(super) fn gateway_port(ports: Ports, gateway: &str) -> u16 {
    if gateway == "gateway" {
        ports.gateway()
    } else {
        ports.second_gateway()
    }
}

/// A call with an API key, on a connection of its own.
pub(super) async fn call(
    address: &str,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> Outcome<Answer> {
    let bearer = HeaderValue::from_str(&format!("Bearer {key}"))
        .map_err(|_| Failure::new("a key cannot stand in a header"))?;
    let method = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let headers = [(AUTHORIZATION, bearer)];
    client::call(method, &format!("{address}{path}"), &headers, body).await
}

/// The position of the configuration that decided; 0 where the answer does not say.
fn served_position(answer: &Answer) -> u64 {
    let position = answer.headers.get("x-sluice-position");
    position
        .and_then(|position| position.to_str().ok()?.parse().ok())
        .unwrap_or_default()
}

fn quoted(answer: &Answer) -> String {
    let text: String = answer.text().chars().take(QUOTED_CHARS).collect();
    format!("{}: {text}", answer.status)
}

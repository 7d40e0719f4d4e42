//! The control plane's HTTP API, as a measurement uses it: signed in once, then commands on as many
//! connections as it likes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_schema::api::Page;
use events_schema::api::commands::{CommandAnswer, CommandRequest, NewCommand};
use events_schema::api::history::HistoryEvent;
use events_schema::api::problem::Problem;
use events_schema::api::session::SessionInfo;
use events_schema::api::status::Served;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::wire::{self, Connection};
use crate::failure::{Doing as _, Failure, Outcome};

/// Events that one page of the history may hold.
const PAGE: u32 = 200;

/// How long a whole deployment may take to serve a position.
const SERVED_TIME: Duration = Duration::from_secs(60);

/// Who is signed in where.
#[derive(Clone)]
pub(super) struct Account {
    address: SocketAddr,
    cookie: Arc<str>,
    csrf_token: Arc<str>,
}

/// One connection to the API.
pub(super) struct Api {
    account: Account,
    connection: Connection,
}

// === impl Account ===

impl Account {
    /// Signs in.
    pub(super) async fn sign_in(address: SocketAddr, email: &str, password: &str) -> Outcome<Self> {
        let body = json!({ "email": email, "password": password }).to_string();
        let request = wire::request("POST", "/api/v1/sessions", &[], &body);
        let mut connection = Connection::open(address)
            .await
            .doing(|| format!("connecting to {address}"))?;
        let reply = connection
            .exchange(&request)
            .await
            .doing(|| "signing in".to_owned())?;
        let cookie = reply
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next());
        let cookie = Arc::from(cookie.unwrap_or_default());
        let session: SessionInfo = understand("signing in", &reply)?;
        Ok(Self {
            address,
            cookie,
            csrf_token: session.csrf_token.into(),
        })
    }

    /// Opens a connection.
    pub(super) async fn open(&self) -> Outcome<Api> {
        let connection = Connection::open(self.address)
            .await
            .doing(|| format!("connecting to {}", self.address))?;
        Ok(Api {
            account: self.clone(),
            connection,
        })
    }
}

// === impl Api ===

impl Api {
    /// Sends one command.
    pub(super) async fn command(&mut self, command: NewCommand) -> Outcome<CommandAnswer> {
        self.call("POST", "/api/v1/commands", &prepared(command))
            .await
    }

    /// Sends one command that makes something, and returns its id.
    pub(super) async fn create<T: std::str::FromStr>(&mut self, command: NewCommand) -> Outcome<T> {
        let answer = self.command(command).await?;
        answer
            .id
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Failure::new("a command that makes something answered without its id"))
    }

    /// Waits until every gateway that is alive serves a position.
    pub(super) async fn wait_until_served(&mut self, position: u64) -> Outcome {
        let path = format!("/api/v1/served?position={position}&timeout_ms=1000");
        let deadline = Instant::now() + SERVED_TIME;
        loop {
            let Served {
                served,
                gateways,
                lowest_position,
            } = self.get(&path).await?;
            if served && gateways > 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = SERVED_TIME.as_secs();
                return Err(Failure::new(format!(
                    "{gateways} gateways do not serve position {position} after {seconds} s; the \
                     lowest is at {lowest_position:?}"
                )));
            }
        }
    }

    /// The events of positions `first` to `last`, newest first.
    pub(super) async fn events(&mut self, first: u64, last: u64) -> Outcome<Vec<HistoryEvent>> {
        let mut events: Vec<HistoryEvent> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/events?limit={PAGE}{cursor}");
            let page: Page<HistoryEvent> = self.get(&path).await?;
            let reached = page
                .items
                .last()
                .is_none_or(|event| event.position <= first);
            events.extend(
                page.items
                    .into_iter()
                    .filter(|it| (first..=last).contains(&it.position)),
            );
            match page.next_cursor {
                Some(next) if !reached => cursor = format!("&cursor={next}"),
                Some(_) | None => return Ok(events),
            }
        }
    }

    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Outcome<T> {
        self.call("GET", path, "").await
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Outcome<T> {
        let headers = [
            ("cookie", &*self.account.cookie),
            ("x-csrf-token", &*self.account.csrf_token),
        ];
        let request = wire::request(method, path, &headers, body);
        let reply = self
            .connection
            .exchange(&request)
            .await
            .doing(|| format!("{method} {path}"))?;
        understand(&format!("{method} {path}"), &reply)
    }
}

/// The body that carries a command.
fn prepared(command: NewCommand) -> String {
    let request = CommandRequest {
        command_id: None,
        why: None,
        command,
    };
    to_json(&request)
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the API's types have string keys only")
}

fn understand<T: DeserializeOwned>(doing: &str, reply: &wire::Reply<'_>) -> Outcome<T> {
    let body = reply.whole_body();
    if (200..300).contains(&reply.status) {
        return serde_json::from_slice(&body).doing(|| format!("reading the answer to {doing}"));
    }
    let detail = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.detail,
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    Err(Failure::new(format!(
        "{doing} was answered {}: {detail}",
        reply.status
    )))
}

//! Callers: those whose requests must be answered, and those who try what was closed.

use std::sync::atomic::Ordering;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{PAUSE, Worker, quoted};
use crate::client::{self, Answer};
use crate::dice::Dice;
use crate::failure::{Failure, Outcome};
use crate::faults::facts::Door;
use crate::stack::ports::Ports;
use crate::stack::services::url;

/// Of what was closed, so many of the newest are tried most often.
const NEWEST: usize = 8;

// === impl Worker ===

impl Worker {
    /// Asks through one gateway, with a key that must always work.
    pub(super) async fn ask(self, gateway: &'static str, mut dice: Dice) {
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

    pub(super) fn judge(&self, gateway: &'static str, body: &Value, answer: &Answer) {
        self.note_request(gateway, answer);
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

    /// It was answered, so it is in the ledger, and the gateway served what it said.
    pub(super) fn note_request(&self, gateway: &'static str, answer: &Answer) {
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
    }

    pub(super) fn judge_silence(&self, gateway: &str, failure: &str) {
        // An orderly end lets what has begun come to its end.
        let known = self.excuses.killed(gateway)
            || (self.excuses.ended(gateway) && !failure.contains("body"));
        if !known {
            self.found(format!("{gateway} did not answer: {failure}"));
        }
    }

    /// Tries what was closed: a gateway that has served that must never open it again.
    pub(super) async fn try_closed_doors(self, gateway: &'static str, mut dice: Dice) {
        let address = url(gateway_port(self.place.ports, gateway));
        while self.goes_on() {
            let (door, served) = {
                let facts = self.place.notebook.facts();
                let served = facts.served.get(gateway).copied().unwrap_or_default();
                // Now and then an old one.
                let many = facts.doors.len();
                let first = if dice.between(0, 4) == 0 {
                    0
                } else {
                    many.saturating_sub(NEWEST)
                };
                (dice.choose(&facts.doors[first..]).cloned(), served)
            };
            if let Some(door) = door {
                match door.call(&address).await {
                    Ok(answer) => self.judge_door(gateway, served, &door, &answer),
                    Err(failure) => self.judge_silence(gateway, &failure.to_string()),
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// `served`: the highest position that the gateway was known to serve before it was asked.
    fn judge_door(&self, gateway: &'static str, served: u64, door: &Door, answer: &Answer) {
        if answer.status != StatusCode::OK {
            return;
        }
        let (what, closed_at) = (&door.what, door.closed_at);
        let position = served_position(answer);
        // A gateway that was ended begins with what lies on its disk, which is older.
        let went_back = served >= closed_at && !self.excuses.ended(gateway);
        if position >= closed_at || went_back {
            self.found(format!(
                "{gateway} took {what} at position {position}, which was closed at {closed_at}; it had served {served}"
            ));
        }
    }
}

// === impl Door ===

impl Door {
    /// Tries to go in.
    pub(in crate::faults) async fn call(&self, address: &str) -> Outcome<Answer> {
        let path = match &self.model {
            Some(model) => format!("/v1/models/{model}"),
            None => "/v1/models".to_owned(),
        };
        call(address, &path, &self.secret, None).await
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
pub(in crate::faults) fn gateway_port(ports: Ports, gateway: &str) -> u16 {
    if gateway == "gateway" {
        ports.gateway()
    } else {
        ports.second_gateway()
    }
}

/// A call with an API key, on a connection of its own.
pub(in crate::faults) async fn call(
    address: &str,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> Outcome<Answer> {
    call_about(address, path, key, body, None).await
}

/// The same, with metadata.
pub(super) async fn call_about(
    address: &str,
    path: &str,
    key: &str,
    body: Option<&Value>,
    metadata: Option<&Value>,
) -> Outcome<Answer> {
    let header = |value: &str| {
        HeaderValue::from_str(value).map_err(|_| Failure::new("this cannot stand in a header"))
    };
    let method = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let mut headers = vec![(AUTHORIZATION, header(&format!("Bearer {key}"))?)];
    if let Some(metadata) = metadata {
        let name = HeaderName::from_static("x-sluice-metadata");
        headers.push((name, header(&metadata.to_string())?));
    }
    client::call(method, &format!("{address}{path}"), &headers, body).await
}

/// The position of the configuration that decided; 0 where the answer does not say.
fn served_position(answer: &Answer) -> u64 {
    let position = answer.headers.get("x-sluice-position");
    position
        .and_then(|position| position.to_str().ok()?.parse().ok())
        .unwrap_or_default()
}

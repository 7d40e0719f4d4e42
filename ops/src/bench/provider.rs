//! The mock provider as a process of its own, and the question that it is asked.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::load::Target;
use super::wire::{self, Connection};
use crate::failure::{Doing as _, Failure, Outcome};

/// How long the mock may take to listen.
const START_TIME: Duration = Duration::from_secs(10);

/// A model of the mock that answers at once, with about 700 bytes.
pub(super) const MODEL: &str = "mock-tokens-64";

/// A model of the mock whose tokens come 5 ms apart.
pub(super) const PACED_MODEL: &str = "mock-tokens-64-tps-200";

/// What a mock provider has counted since it was started.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Stats {
    /// Calls.
    pub(super) requests: u64,
    /// Of these, those that are under way.
    pub(super) open: u64,
    /// Tokens of all questions.
    pub(super) input_tokens: u64,
    /// Tokens of all answers, as far as they were sent.
    pub(super) output_tokens: u64,
}

/// A running mock provider, killed when dropped.
pub(super) struct Provider {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

// === impl Provider ===

impl Provider {
    /// Starts this very program as the mock; it inherits the core of the calling thread.
    pub(super) fn start() -> Outcome<Self> {
        let program = std::env::current_exe().doing(|| "finding this program".to_owned())?;
        let address = free_address()?;
        let child = Command::new(program)
            .args([
                "mock-provider",
                "--keep-requests",
                "0",
                "--listen",
                &address.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .doing(|| "starting the mock provider".to_owned())?;
        let provider = Self { child, address };
        let deadline = Instant::now() + START_TIME;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "the mock provider does not listen on {address}"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(provider)
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has counted so far.
    pub(super) async fn stats(&self) -> Outcome<Stats> {
        let asking = || format!("asking the mock provider at {}", self.address);
        let mut connection = Connection::open(self.address).await.doing(asking)?;
        let request = wire::request("GET", "/mock/stats", &[], "");
        let reply = connection.exchange(&request).await.doing(asking)?;
        serde_json::from_slice(&reply.whole_body()).doing(asking)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It holds nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine on which nothing listens.
pub(super) fn free_address() -> Outcome<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .doing(|| "looking for a free port".to_owned())
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// About 570 bytes, to be answered with one document.
    Short,
    /// About 64 KiB, to be answered with one document.
    Long,
    /// The short one, to be answered as a stream of some 64 chunks.
    Streamed,
}

/// How often the long question says the user's part of the short one.
const REPETITIONS: usize = 260;

/// How many tokens a question has, as the mock provider counts them.
pub(super) fn tokens_of(question: Question) -> u64 {
    let body = body(MODEL, question);
    let messages = body["messages"].as_array().into_iter().flatten();
    let texts = messages.filter_map(|it| it["content"].as_str());
    texts.map(|text| (text.len() as u64).div_ceil(4)).sum()
}

/// The short question.
pub(super) fn question(address: SocketAddr, model: &str, key: &str) -> Target {
    ask(address, model, key, Question::Short)
}

/// A question for a server that knows the model by this name.
pub(super) fn ask(address: SocketAddr, model: &str, key: &str, question: Question) -> Target {
    ask_with(address, model, key, question, &[])
}

/// The same with these headers beside its own.
pub(super) fn ask_with(
    address: SocketAddr,
    model: &str,
    key: &str,
    question: Question,
    headers: &[(&str, &str)],
) -> Target {
    let request = request(model, key, question, headers);
    Target { address, request }
}

/// The same without saying where it goes.
pub(super) fn request(
    model: &str,
    key: &str,
    question: Question,
    headers: &[(&str, &str)],
) -> Arc<[u8]> {
    asked(key, headers, &body(model, question))
}

/// The request for an answer of so many tokens at most, with these headers beside its own.
pub(super) fn ask_for_at_most(
    tokens: u64,
    model: &str,
    key: &str,
    question: Question,
    headers: &[(&str, &str)],
) -> Arc<[u8]> {
    let mut body = body(model, question);
    body["max_tokens"] = json!(tokens);
    asked(key, headers, &body)
}

fn asked(key: &str, headers: &[(&str, &str)], body: &Value) -> Arc<[u8]> {
    let authorization = format!("Bearer {key}");
    let headers = [&[("authorization", authorization.as_str())], headers].concat();
    let body = body.to_string();
    wire::request("POST", "/v1/chat/completions", &headers, &body).into()
}

fn body(model: &str, question: Question) -> Value {
    let asked = "The Aurelia left Rotterdam on Monday for Valparaiso by way of Lisbon, Dakar and Recife. Today is \
        Thursday, and she reported fair weather and full speed this morning. Where is she now, and when will my eleven \
        crates of seed potatoes be on the quay?";
    let times = if question == Question::Long {
        REPETITIONS
    } else {
        1
    };
    json!({
        "model": model,
        "messages": [
            { "role": "system", "content": "You are the assistant of a shipping company. Answer in \
              one short paragraph, name the ports in the order of the voyage, and say which of them \
              the ship has left already. Never invent a port or a date." },
            { "role": "user", "content": vec![asked; times].join("\n") },
        ],
        "temperature": 0.2,
        "stream": question == Question::Streamed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_as_long_as_they_should_be() {
        let length = |question| body(MODEL, question).to_string().len();
        assert!(
            (500..700).contains(&length(Question::Short)),
            "{}",
            length(Question::Short)
        );
        assert!(
            (62_000..68_000).contains(&length(Question::Long)),
            "{}",
            length(Question::Long)
        );
    }
}

//! The mock provider as a process of its own, and the question that it is asked.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::Target;
use super::wire;
use crate::failure::{Doing as _, Failure, Outcome};

/// How long the mock may take to listen.
const START_TIME: Duration = Duration::from_secs(10);

/// A model of the mock that answers at once, with about 700 bytes.
pub(super) const MODEL: &str = "mock-tokens-64";

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

/// The question of every measurement (about 570 bytes), for a server that knows the model by this name.
pub(super) fn question(address: SocketAddr, model: &str, key: &str) -> Target {
    ask(address, key, &body(model, false))
}

/// The same question, to be answered as a stream of some 64 chunks.
pub(super) fn streamed_question(address: SocketAddr, model: &str, key: &str) -> Target {
    ask(address, key, &body(model, true))
}

fn body(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "messages": [
            { "role": "system", "content": "You are the assistant of a shipping company. Answer in \
              one short paragraph, name the ports in the order of the voyage, and say which of them \
              the ship has left already. Never invent a port or a date." },
            { "role": "user", "content": "The Aurelia left Rotterdam on Monday for Valparaiso by way \
              of Lisbon, Dakar and Recife. Today is Thursday, and she reported fair weather and full \
              speed this morning. Where is she now, and when will my eleven crates of seed potatoes \
              be on the quay?" },
        ],
        "temperature": 0.2,
        "stream": stream,
    })
}

fn ask(address: SocketAddr, key: &str, body: &Value) -> Target {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let request = wire::request("POST", "/v1/chat/completions", &headers, &body.to_string());
    Target {
        address,
        request: Arc::from(request),
    }
}

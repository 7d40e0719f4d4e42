//! `POST /v1/messages` and `POST /v1/messages/count_tokens`, as Anthropic speaks them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{Content, Message, digest_of};
use super::plan::{Ask, Charged, Events, Plan, Refusal};
use super::script::Script;
use super::tokens;
use crate::dice::Dice;

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    system: Option<Content>,
    stream: Option<bool>,
    /// Anthropic asks for it, except where tokens are only counted.
    max_tokens: Option<u64>,
}

/// The parts of an answer that both shapes, whole and streamed, are made of.
struct Reply<'a> {
    id: String,
    model: &'a str,
    pieces: Vec<String>,
    stop_reason: &'static str,
    /// Tokens of the question, without those of a cache.
    input: u64,
    cached: u64,
    cache_write: u64,
}

/// Plans the answer to a message.
pub(super) fn plan(ask: &Ask) -> Result<Plan, Refusal> {
    let request = read(ask)?;
    let script = ask.script(&request.model)?;
    let Some(bound) = request.max_tokens else {
        return Err(Refusal::bad_request("max_tokens: Field required"));
    };
    if let Some(error) = Plan::scripted_error(&script, ask.wire()) {
        return Ok(error);
    }
    let reply = reply(&request, &script, bound);
    if request.stream == Some(true) {
        let (charged, events) = (reply.charged(), reply.events());
        return Ok(Plan::scripted_stream(&script, ask.wire(), charged, events));
    }
    let (charged, document) = (reply.charged(), reply.document());
    Ok(Plan::scripted_whole(&script, charged, &document))
}

/// Plans the answer to the question how many tokens a message would have.
pub(super) fn count(ask: &Ask) -> Result<Plan, Refusal> {
    let request = read(ask)?;
    let script = ask.script(&request.model)?;
    if let Some(error) = Plan::scripted_error(&script, ask.wire()) {
        return Ok(error);
    }
    let document = json!({ "input_tokens": request.tokens() });
    Ok(Plan::scripted_whole(&script, Charged::default(), &document))
}

fn read(ask: &Ask) -> Result<Request, Refusal> {
    let request: Request = serde_json::from_slice(&ask.body)
        .map_err(|error| Refusal::bad_request(format!("The body is not a message: {error}")))?;
    if request.messages.is_empty() {
        return Err(Refusal::bad_request(
            "messages: at least one message is required",
        ));
    }
    Ok(request)
}

fn reply<'a>(request: &'a Request, script: &Script, bound: u64) -> Reply<'a> {
    let seed = script.seed.unwrap_or_default();
    let mut dice = Dice::new(digest_of(seed, &request.model, &request.messages));
    let id = format!("msg_mock{:016x}", dice.roll());
    Reply {
        id,
        model: &request.model,
        pieces: tokens::words(script.length.min(bound), &mut dice),
        stop_reason: if script.length > bound {
            "max_tokens"
        } else {
            "end_turn"
        },
        input: request.tokens(),
        cached: script.cached,
        cache_write: script.cache_write,
    }
}

// === impl Request ===

impl Request {
    fn tokens(&self) -> u64 {
        let system = self.system.as_ref().map_or(0, Content::tokens);
        let messages: u64 = self.messages.iter().map(Message::tokens).sum();
        system + messages
    }
}

// === impl Reply ===

impl Reply<'_> {
    fn charged(&self) -> Charged {
        Charged {
            input: self.input + self.cached + self.cache_write,
            output: self.pieces.len() as u64,
        }
    }

    /// The whole answer.
    fn document(&self) -> Value {
        let content = json!([{ "type": "text", "text": self.pieces.concat() }]);
        let usage = self.usage(self.pieces.len() as u64);
        self.message(&content, Some(self.stop_reason), &usage)
    }

    fn message(&self, content: &Value, stop_reason: Option<&str>, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": usage,
        })
    }

    fn usage(&self, output: u64) -> Value {
        json!({
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cached,
            "output_tokens": output,
            "service_tier": "standard",
        })
    }

    /// The answer as events: the frame of the message and of its one block, a ping, and one event per token.
    fn events(&self) -> Events {
        let begun = self.message(&json!([]), None, &self.usage(1));
        let block = json!({ "type": "text", "text": "" });
        let delta = |text: &String| {
            let delta = json!({ "type": "text_delta", "text": text });
            event("content_block_delta", json!({ "index": 0, "delta": delta }))
        };
        let end = json!({ "stop_reason": self.stop_reason, "stop_sequence": null });
        let usage = json!({ "output_tokens": self.pieces.len() });
        let mut chunks = vec![
            event("message_start", json!({ "message": begun })),
            event(
                "content_block_start",
                json!({ "index": 0, "content_block": block }),
            ),
            event("ping", json!({})),
        ];
        let frame = chunks.len();
        chunks.extend(self.pieces.iter().map(delta));
        chunks.extend([
            event("content_block_stop", json!({ "index": 0 })),
            event("message_delta", json!({ "delta": end, "usage": usage })),
            event("message_stop", json!({})),
        ]);
        Events { chunks, frame }
    }
}

/// One event; its data names it once more.
fn event(name: &str, mut data: Value) -> Bytes {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("type".to_owned(), name.into());
    }
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

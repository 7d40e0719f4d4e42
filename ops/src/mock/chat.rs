//! `POST /v1/chat/completions`: an answer of words that the question and the seed determine.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::embeddings::first_word;
use super::plan::{Ask, Charged, Events, Plan, Refusal};
use super::script::{BadScript, Script};
use super::tokens;
use crate::dice::Dice;

/// `created` lies in the ten million seconds after this one.
pub(super) const CREATED_FROM: u64 = 1_700_000_000;

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    seed: Option<i64>,
    n: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
pub(super) struct Part {
    text: Option<String>,
}

/// The parts of an answer that both shapes, whole and streamed, are made of.
struct Completion<'a> {
    id: String,
    created: u64,
    model: &'a str,
    pieces: Vec<String>,
    finish_reason: &'static str,
    charged: Charged,
    usage: Value,
}

/// Plans the answer to a chat request.
pub(super) fn plan(ask: &Ask) -> Result<Plan, Refusal> {
    let request: Request = serde_json::from_slice(&ask.body).map_err(|error| {
        Refusal::bad_request(format!("The body is not a chat request: {error}"))
    })?;
    let script = ask.script(&request.model)?;
    if request.messages.is_empty() {
        return Err(Refusal {
            param: Some("messages"),
            ..Refusal::bad_request("'messages' must have at least one message")
        });
    }
    if request.n.is_some_and(|n| n != 1) {
        return Err(Refusal {
            param: Some("n"),
            ..Refusal::bad_request("the mock provider answers with one choice: n must be 1")
        });
    }
    if let Some(error) = Plan::scripted_error(&script, ask.wire()) {
        return Ok(error);
    }
    let completion = complete(&request, &script);
    if request.stream == Some(true) {
        let usage = request
            .stream_options
            .as_ref()
            .and_then(|options| options.include_usage);
        Ok(Plan::scripted_stream(
            &script,
            ask.wire(),
            completion.charged,
            completion.events(usage == Some(true)),
        ))
    } else {
        Ok(Plan::scripted_whole(
            &script,
            completion.charged,
            &completion.document(),
        ))
    }
}

/// Makes the answer's words, names and numbers.
fn complete<'a>(request: &'a Request, script: &Script) -> Completion<'a> {
    let mut dice = Dice::new(digest(request, script));
    let id = format!("chatcmpl-mock{:016x}", dice.roll());
    let created = CREATED_FROM + dice.roll() % 10_000_000;
    let bound = request
        .max_completion_tokens
        .or(request.max_tokens)
        .unwrap_or(u64::MAX);
    let pieces = tokens::words(script.length.min(bound), &mut dice);
    let charged = Charged {
        input: request.messages.iter().map(Message::tokens).sum(),
        output: pieces.len() as u64,
    };
    Completion {
        id,
        created,
        model: &request.model,
        pieces,
        finish_reason: if script.length > bound {
            "length"
        } else {
            "stop"
        },
        charged,
        usage: usage(script, charged),
    }
}

/// OpenAI's object of usage.
pub(super) fn usage(script: &Script, charged: Charged) -> Value {
    let (prompt_tokens, completion_tokens) = (charged.input, charged.output);
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": script.cached.min(prompt_tokens), "audio_tokens": 0,
        },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    })
}

/// What the answer's words depend on: the model, the conversation and the seed, but not whether it
/// is streamed.
fn digest(request: &Request, script: &Script) -> u64 {
    let asked = request.seed.map(i64::cast_unsigned);
    let seed = script.seed.or(asked).unwrap_or_default();
    digest_of(seed, &request.model, &request.messages)
}

/// What words depend on, where there is a conversation.
pub(super) fn digest_of(seed: u64, model: &str, messages: &[Message]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut part = |text: &str| {
        hasher
            .update(&(text.len() as u64).to_le_bytes())
            .update(text.as_bytes());
    };
    part(model);
    for message in messages {
        part(&message.role);
        message.texts().for_each(&mut part);
    }
    first_word(&hasher.finalize())
}

// === impl Message ===

impl Message {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.content.iter().flat_map(Content::texts)
    }

    pub(super) fn tokens(&self) -> u64 {
        self.texts().map(tokens::count).sum()
    }
}

// === impl Content ===

impl Content {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (text, parts) = match self {
            Self::Text(text) => (Some(text.as_str()), [].as_slice()),
            Self::Parts(parts) => (None, parts.as_slice()),
        };
        text.into_iter()
            .chain(parts.iter().filter_map(|part| part.text.as_deref()))
    }

    pub(super) fn tokens(&self) -> u64 {
        self.texts().map(tokens::count).sum()
    }
}

// === impl Completion ===

impl Completion<'_> {
    /// The whole answer.
    fn document(&self) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_mock",
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": self.pieces.concat(),
                    "refusal": null,
                },
                "logprobs": null,
                "finish_reason": self.finish_reason,
            }],
            "usage": self.usage,
        })
    }

    /// The answer as events: the role, one per token, the end, the usage if asked for, `[DONE]`.
    fn events(&self, with_usage: bool) -> Events {
        let role = json!({ "role": "assistant", "content": "", "refusal": null });
        let mut chunks = vec![self.chunk(&role, None, with_usage)];
        for piece in &self.pieces {
            chunks.push(self.chunk(&json!({ "content": piece }), None, with_usage));
        }
        chunks.push(self.chunk(&json!({}), Some(self.finish_reason), with_usage));
        if with_usage {
            chunks.push(self.event(&json!([]), Some(&self.usage)));
        }
        chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
        Events { chunks, frame: 1 }
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>, with_usage: bool) -> Bytes {
        let choice = json!({
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        });
        self.event(&json!([choice]), with_usage.then_some(&Value::Null))
    }

    fn event(&self, choices: &Value, usage: Option<&Value>) -> Bytes {
        let mut document = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_mock",
            "choices": choices,
        });
        if let (Some(usage), Some(fields)) = (usage, document.as_object_mut()) {
            fields.insert("usage".to_owned(), usage.clone());
        }
        Bytes::from(format!("data: {document}\n\n"))
    }
}

// === impl Ask ===

impl Ask {
    /// The script that the model's name and the header ask for.
    pub(super) fn script(&self, model: &str) -> Result<Script, Refusal> {
        let header = self.script.as_ref().map(|value| value.to_str()).transpose();
        let header = header.map_err(|_| Refusal::bad_request("x-mock-script is not ASCII"))?;
        Script::read(model, header).map_err(|bad: BadScript| Refusal::bad_request(bad.to_string()))
    }
}

//! `POST /v1/completions`: the text goes on with words that it and the seed determine.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{CREATED_FROM, StreamOptions, usage};
use super::embeddings::{Input, first_word};
use super::plan::{Ask, Charged, Events, Plan, Refusal};
use super::script::Script;
use super::tokens;
use crate::dice::Dice;

#[derive(Deserialize)]
struct Request {
    model: String,
    prompt: Input,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    seed: Option<i64>,
    n: Option<u32>,
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

/// Plans the answer to a request for a completion.
pub(super) fn plan(ask: &Ask) -> Result<Plan, Refusal> {
    let request: Request = serde_json::from_slice(&ask.body).map_err(|error| {
        Refusal::bad_request(format!("The body is not a completions request: {error}"))
    })?;
    let script = ask.script(&request.model)?;
    let prompts = request.prompt.parts();
    let ([(prompt_tokens, prompt)], 1) = (prompts.as_slice(), request.n.unwrap_or(1)) else {
        return Err(Refusal {
            param: Some("n"),
            ..Refusal::bad_request("the mock provider goes on with one prompt, once: n must be 1")
        });
    };
    if let Some(error) = Plan::scripted_error(&script, ask.wire()) {
        return Ok(error);
    }
    let completion = complete(&request, &script, *prompt_tokens, prompt);
    if request.stream == Some(true) {
        let options = request.stream_options.as_ref();
        let with_usage = options.and_then(|options| options.include_usage) == Some(true);
        let events = completion.events(with_usage);
        let charged = completion.charged;
        return Ok(Plan::scripted_stream(&script, ask.wire(), charged, events));
    }
    let document = completion.document();
    Ok(Plan::scripted_whole(&script, completion.charged, &document))
}

fn complete<'a>(
    request: &'a Request,
    script: &Script,
    prompt_tokens: u64,
    prompt: &str,
) -> Completion<'a> {
    let asked = request.seed.map(i64::cast_unsigned);
    let seed = script.seed.or(asked).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(request.model.len() as u64).to_le_bytes());
    hasher
        .update(request.model.as_bytes())
        .update(prompt.as_bytes());
    let mut dice = Dice::new(first_word(&hasher.finalize()));
    let id = format!("cmpl-mock{:016x}", dice.roll());
    let created = CREATED_FROM + dice.roll() % 10_000_000;
    let bound = request.max_tokens.unwrap_or(u64::MAX);
    let pieces = tokens::words(script.length.min(bound), &mut dice);
    let charged = Charged {
        input: prompt_tokens,
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

// === impl Completion ===

impl Completion<'_> {
    /// The whole answer.
    fn document(&self) -> Value {
        let choice = choice(&self.pieces.concat(), Some(self.finish_reason));
        self.with(&json!([choice]), Some(&self.usage))
    }

    /// The answer as events: one per token, the end, the usage if asked for, `[DONE]`.
    fn events(&self, with_usage: bool) -> Events {
        let no_usage = with_usage.then_some(&Value::Null);
        let event = |choices: &Value, usage: Option<&Value>| {
            Bytes::from(format!("data: {}\n\n", self.with(choices, usage)))
        };
        let word = |piece: &String| event(&json!([choice(piece, None)]), no_usage);
        let mut chunks: Vec<Bytes> = self.pieces.iter().map(word).collect();
        let end = choice("", Some(self.finish_reason));
        chunks.push(event(&json!([end]), no_usage));
        if with_usage {
            chunks.push(event(&json!([]), Some(&self.usage)));
        }
        chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
        Events { chunks, frame: 0 }
    }

    fn with(&self, choices: &Value, usage: Option<&Value>) -> Value {
        let mut document = json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_mock",
            "choices": choices,
        });
        if let (Some(usage), Some(fields)) = (usage, document.as_object_mut()) {
            fields.insert("usage".to_owned(), usage.clone());
        }
        document
    }
}

fn choice(text: &str, finish_reason: Option<&str>) -> Value {
    json!({ "text": text, "index": 0, "logprobs": null, "finish_reason": finish_reason })
}

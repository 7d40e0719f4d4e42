//! Decides the whole answer to one request: a pure function from its bytes to what is sent when.
//!
//! Because it is pure, the server keeps the plans of requests that come again and again, and
//! answers those without parsing anything.

use std::time::Duration;

use super::script::{Fault, Script};
use super::wire::Wire;
use super::{chat, completions, embeddings, messages, models};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

/// Everything about a request that its answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    /// The method.
    pub(super) method: Method,
    /// The path, without the query.
    pub(super) path: String,
    /// The header `x-mock-script`.
    pub(super) script: Option<HeaderValue>,
    /// The whole body.
    pub(super) body: Bytes,
}

/// What is sent, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Time before the first byte.
    pub(super) delay: Duration,
    /// The status.
    pub(super) status: StatusCode,
    /// The header `retry-after`.
    pub(super) retry_after: Option<u64>,
    /// What the question and the whole answer are charged for.
    pub(super) charged: Charged,
    /// The body.
    pub(super) answer: Answer,
}

/// Tokens that a provider charges for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Charged {
    /// Of the question, those of a cache among them.
    pub(super) input: u64,
    /// Of the answer.
    pub(super) output: u64,
}

/// The events of an answer.
#[derive(Debug)]
pub(super) struct Events {
    /// All of them.
    pub(super) chunks: Vec<Bytes>,
    /// How many come before the first that carries a token.
    pub(super) frame: usize,
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// None: the connection closes before the first byte.
    HangUp,
    /// One JSON document; of a cut one only the first bytes are sent, and the connection closes.
    Whole {
        /// The document.
        body: Bytes,
        /// How many bytes are sent before the connection closes.
        cut: Option<usize>,
    },
    /// Server-sent events.
    Stream {
        /// One event each.
        chunks: Vec<Bytes>,
        /// How many of them come before the first that carries a token.
        frame: usize,
        /// Time between two of them.
        gap: Duration,
        /// What follows the last one.
        ending: Ending,
    },
}

/// What follows the last chunk of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The well-formed end.
    Whole,
    /// The connection closes without one.
    Cut,
    /// Nothing, for ever.
    Stall,
}

/// A request that a provider would refuse.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: StatusCode,
    /// The sentence.
    pub(super) message: String,
    /// OpenAI's `code`.
    pub(super) code: Option<&'static str>,
    /// OpenAI's `param`.
    pub(super) param: Option<&'static str>,
}

// === impl Ask ===

impl Ask {
    /// The wire format in which it is answered.
    pub(super) fn wire(&self) -> Wire {
        Wire::at(&self.path)
    }
}

// === impl Refusal ===

impl Refusal {
    /// A 400 with a sentence.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            code: None,
            param: None,
        }
    }
}

// === impl Plan ===

impl Plan {
    /// The answer to a request.
    pub(super) fn of(ask: &Ask) -> Self {
        let planned = match (&ask.method, ask.path.as_str()) {
            (&Method::POST, "/v1/chat/completions") => chat::plan(ask),
            (&Method::POST, "/v1/completions") => completions::plan(ask),
            (&Method::POST, "/v1/messages") => messages::plan(ask),
            (&Method::POST, "/v1/messages/count_tokens") => messages::count(ask),
            (&Method::POST, "/v1/embeddings") => embeddings::plan(ask),
            (&Method::GET, "/v1/models") => Ok(models::list()),
            (&Method::GET, path) if path.starts_with("/v1/models/") => {
                Ok(models::one(&path["/v1/models/".len()..]))
            }
            (method, path) => Err(Refusal {
                status: StatusCode::NOT_FOUND,
                message: format!("Invalid URL ({method} {path})"),
                code: Some("unknown_url"),
                param: None,
            }),
        };
        planned.unwrap_or_else(|refusal| Self::refusing(&refusal, ask.wire()))
    }

    /// A whole JSON document, at once.
    pub(super) fn whole(document: &serde_json::Value) -> Self {
        Self {
            delay: Duration::ZERO,
            status: StatusCode::OK,
            retry_after: None,
            charged: Charged::default(),
            answer: Answer::Whole {
                body: Bytes::from(document.to_string()),
                cut: None,
            },
        }
    }

    /// An error.
    pub(super) fn refusing(refusal: &Refusal, wire: Wire) -> Self {
        Self {
            status: refusal.status,
            ..Self::whole(&wire.error(refusal))
        }
    }

    /// The error that a script asks for, if it asks for one.
    pub(super) fn scripted_error(script: &Script, wire: Wire) -> Option<Self> {
        let status =
            StatusCode::from_u16(script.error?).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let refusal = Refusal {
            status,
            message: format!("The mock provider was told to answer {}.", status.as_u16()),
            code: error_code(status),
            param: None,
        };
        let (delay, retry_after) = (script.latency, script.retry_after);
        Some(Self {
            delay,
            retry_after,
            ..Self::refusing(&refusal, wire)
        })
    }

    /// Sends a whole document the way that the script says.
    pub(super) fn scripted_whole(
        script: &Script,
        charged: Charged,
        document: &serde_json::Value,
    ) -> Self {
        let mut plan = Self {
            charged,
            ..Self::whole(document)
        };
        let writing = script
            .tps
            .map_or(0, |tps| charged.output.saturating_mul(1_000_000) / tps);
        plan.delay = script.latency + Duration::from_micros(writing);
        if let (Some(fault), Answer::Whole { body, cut }) = (script.fault, &mut plan.answer) {
            match fault {
                Fault::CutAfter(0) => plan.answer = Answer::HangUp,
                Fault::CutAfter(_) => *cut = Some(body.len() / 2),
                Fault::Malformed(_) => body.truncate(body.len() / 2),
                Fault::FailAfter(_) | Fault::StallAfter(_) => {}
            }
        }
        plan
    }

    /// Sends events the way that the script says.
    pub(super) fn scripted_stream(
        script: &Script,
        wire: Wire,
        mut charged: Charged,
        events: Events,
    ) -> Self {
        let Events { mut chunks, frame } = events;
        let mut ending = Ending::Whole;
        match script.fault {
            None => {}
            Some(Fault::CutAfter(after)) => {
                chunks.truncate(after);
                ending = Ending::Cut;
            }
            Some(Fault::StallAfter(after)) => {
                chunks.truncate(after);
                ending = Ending::Stall;
            }
            Some(Fault::FailAfter(after)) => {
                chunks.truncate(after);
                chunks.push(wire.failing_event());
                let said = after.saturating_sub(frame) as u64;
                charged.output = charged.output.min(said);
            }
            Some(Fault::Malformed(number)) => {
                if let Some(chunk) = number
                    .checked_sub(1)
                    .and_then(|index| chunks.get_mut(index))
                {
                    *chunk = broken(chunk);
                }
            }
        }
        let gap = script.tps.map_or(0, |tps| 1_000_000 / tps);
        let answer = match script.fault {
            Some(Fault::CutAfter(0)) => Answer::HangUp,
            _ => Answer::Stream {
                chunks,
                frame,
                gap: Duration::from_micros(gap),
                ending,
            },
        };
        Self {
            delay: script.latency,
            status: StatusCode::OK,
            retry_after: None,
            charged,
            answer,
        }
    }
}

/// OpenAI's `code` for an error that a script asks for.
fn error_code(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        401 => Some("invalid_api_key"),
        404 => Some("model_not_found"),
        429 => Some("rate_limit_exceeded"),
        _ => None,
    }
}

/// The first half of an event's JSON, still framed as an event.
fn broken(chunk: &Bytes) -> Bytes {
    let mut half = chunk.slice(..chunk.len() / 2).to_vec();
    half.extend_from_slice(b"\n\n");
    Bytes::from(half)
}

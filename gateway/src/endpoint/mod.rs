//! Everything in which endpoints differ, in one place: where they are, what is spoken there, and what their answers use.
//!
//! An endpoint has one [`Description`]. What is the same for all endpoints of one API (how an error is told, which event
//! ends a stream, what the fields of usage are called) is its [`Dialect`]'s.

pub mod anthropic;
pub mod openai;

use bytes::Bytes;
use events_schema::usage::Endpoint;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use crate::{failure::Failure, upstream::usage::Stated};

/// What there is to know of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Its path, after `/v1` here and after the account's base URL at the provider.
    pub path: &'static str,
    /// What is spoken there.
    pub dialect: Dialect,
    /// What its answers are made of.
    pub output: Output,
}

/// The wire format of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

/// What an endpoint's answers are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Text: output tokens.
    Text,
    /// No output tokens: only the input is charged.
    None,
    /// Nothing that a provider charges for.
    Free,
}

/// What an event of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Nothing of the answer: a comment, a ping, what frames the answer.
    Aside,
    /// Some of the answer.
    Content,
    /// It may state usage, to which the stream will add.
    UsageSoFar,
    /// It may state usage, up to the end.
    Usage,
    /// The provider cannot go on.
    Error,
    /// The stream is over.
    End,
}

/// The endpoint's description.
#[must_use]
pub const fn describe(endpoint: Endpoint) -> Description {
    let (path, dialect, output) = match endpoint {
        Endpoint::ChatCompletions => ("/chat/completions", Dialect::OpenAi, Output::Text),
        Endpoint::Embeddings => ("/embeddings", Dialect::OpenAi, Output::None),
        Endpoint::Completions => ("/completions", Dialect::OpenAi, Output::Text),
        Endpoint::Messages => ("/messages", Dialect::Anthropic, Output::Text),
        Endpoint::CountTokens => ("/messages/count_tokens", Dialect::Anthropic, Output::Free),
    };
    Description {
        path,
        dialect,
        output,
    }
}

/// The endpoint at a path, which begins with `/v1`.
#[must_use]
pub fn at(path: &str) -> Option<Endpoint> {
    let rest = path.strip_prefix("/v1")?;
    Endpoint::ALL
        .into_iter()
        .find(|endpoint| describe(*endpoint).path == rest)
}

impl Description {
    /// Whether a stream says what it used only when it is asked to, by `stream_options`.
    #[must_use]
    pub const fn must_be_asked_for_usage(&self) -> bool {
        matches!((self.dialect, self.output), (Dialect::OpenAi, Output::Text))
    }
}

impl Dialect {
    /// What a caller speaks who asks for no model: Anthropic's clients always say which version of its API they speak.
    #[must_use]
    pub fn spoken_in(headers: &HeaderMap) -> Self {
        if headers.contains_key(anthropic::VERSION) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    /// The status under which this API tells a failure.
    #[must_use]
    pub fn status(self, failure: &Failure) -> StatusCode {
        let status = failure.row().status;
        match self {
            Self::OpenAi => status,
            Self::Anthropic => anthropic::status(status),
        }
    }

    /// The body that tells a failure. `model` is the name that the request gave.
    #[must_use]
    pub fn error(self, failure: &Failure, model: &str, request: Uuid) -> Bytes {
        let message = failure.message(model);
        match self {
            Self::OpenAi => openai::error(failure, &message, request),
            Self::Anthropic => anthropic::error(self.status(failure), &message, request),
        }
    }

    /// The event that tells a failure in a stream.
    #[must_use]
    pub fn error_event(self, failure: &Failure, model: &str, request: Uuid) -> Bytes {
        let begin: &[u8] = match self {
            Self::OpenAi => b"data: ",
            Self::Anthropic => b"event: error\ndata: ",
        };
        let json = self.error(failure, model, request);
        [begin, &json, b"\n\n"].concat().into()
    }

    /// What an event is. `begun`: whether some of the answer has come before it.
    #[must_use]
    pub fn kind(self, event: &[u8], begun: bool) -> EventKind {
        match self {
            Self::OpenAi => openai::kind(event, begun),
            Self::Anthropic => anthropic::kind(event),
        }
    }

    /// Reads an object of usage; `None`: it holds no numbers of tokens.
    #[must_use]
    pub fn usage(self, object: &[u8]) -> Option<Stated> {
        match self {
            Self::OpenAi => openai::usage(object),
            Self::Anthropic => anthropic::usage(object),
        }
    }
}

/// The data of an event, from its first `data` field on; `None`: it has none, as comments that keep a stream alive.
fn data_of(event: &[u8]) -> Option<&[u8]> {
    field(event, b"data:")
}

/// What stands after a field's name and colon, to the end of the event.
fn field<'e>(event: &'e [u8], name: &[u8]) -> Option<&'e [u8]> {
    let mut rest = event;
    loop {
        if let Some(value) = rest.strip_prefix(name) {
            return Some(value.trim_ascii_start());
        }
        let line_feed = memchr::memchr(b'\n', rest)?;
        rest = &rest[line_feed + 1..];
    }
}

/// What is left of `text` when these come one after the other, with blanks between.
fn after<'t>(text: &'t [u8], parts: &[&[u8]]) -> Option<&'t [u8]> {
    parts.iter().try_fold(text, |rest, part| {
        rest.strip_prefix(*part).map(<[u8]>::trim_ascii_start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_found_at_its_own_path() {
        for endpoint in Endpoint::ALL {
            let path = format!("/v1{}", describe(endpoint).path);
            assert_eq!(at(&path), Some(endpoint), "{path}");
        }
        for path in [
            "/v1",
            "/v1/",
            "/messages",
            "/v1/messages/",
            "/v1/messages/x",
        ] {
            assert_eq!(at(path), None, "{path}");
        }
    }
}

//! What a request's spans need beside its record.

use std::{cell::RefCell, str::FromStr as _};

use events_schema::snapshot::entries::{ArchivedProviderAccountEntry, ArchivedProviderDialect};
use http::{HeaderMap, Uri};
use memchr::memmem;

use super::context::{Context, Sampler, SpanId, Told, state};
use crate::clock;

/// A longer name of a model is not taken for one, in bytes.
const MOST_NAME_BYTES: usize = 200;

/// A request under way that is part of a trace.
#[derive(Debug)]
pub struct Tracing {
    context: Context,
    state: String,
    /// In the order of the record's attempts.
    attempts: RefCell<Vec<TracedAttempt>>,
}

/// A request whose spans are to be told.
#[derive(Debug, PartialEq, Eq)]
pub struct Traced {
    /// Its trace, and the gateway's span.
    pub context: Context,
    /// The caller's `tracestate`.
    pub state: String,
    /// In the order of the record's attempts.
    pub attempts: Vec<TracedAttempt>,
}

/// An attempt's span.
#[derive(Debug, PartialEq, Eq)]
pub struct TracedAttempt {
    /// The span.
    pub span: SpanId,
    /// Whom it asks; `None`: nobody will be told.
    pub asked: Option<Asked>,
}

/// Whom an attempt asks for what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The provider, by its name in OpenTelemetry's conventions.
    pub provider: &'static str,
    /// The model, by the provider's name for it.
    pub model: String,
    /// The provider's host.
    pub host: String,
    /// The provider's port.
    pub port: Option<u16>,
    /// The model that answers, as it calls itself.
    pub answered_by: Option<String>,
}

impl Tracing {
    /// A request with these headers has arrived.
    #[must_use]
    pub fn begin(headers: &HeaderMap, sampler: Sampler) -> Self {
        let context = Context::of(headers, sampler, clock::draw);
        let goes_on = context.is_sampled() && context.parent.is_some();
        Self {
            context,
            state: if goes_on {
                state(headers)
            } else {
                String::new()
            },
            attempts: RefCell::default(),
        }
    }

    /// An attempt begins.
    pub fn attempt_begins(&self, account: &ArchivedProviderAccountEntry, model: &str) {
        let asked = self.context.is_sampled().then(|| Asked::of(account, model));
        self.attempts.borrow_mut().push(TracedAttempt {
            span: SpanId::drawn(clock::draw),
            asked,
        });
    }

    /// What the provider of an attempt is told, by the attempt's number.
    #[must_use]
    pub fn told(&self, at: usize) -> Option<Told> {
        let attempts = self.attempts.borrow();
        attempts.get(at).map(|it| self.context.told_as(it.span))
    }

    /// An attempt's answer begins so, or is so.
    pub fn answered(&self, at: usize, answer: &[u8]) {
        if let Some(TracedAttempt {
            asked: Some(asked), ..
        }) = self.attempts.borrow_mut().get_mut(at)
        {
            asked.answered_by = model_in(answer);
        }
    }

    /// At the request's end; `None`: nobody is to be told.
    #[must_use]
    pub fn end(self) -> Option<Traced> {
        let Self {
            context,
            state,
            attempts,
        } = self;
        context.is_sampled().then(|| Traced {
            context,
            state,
            attempts: attempts.into_inner(),
        })
    }
}

impl Asked {
    fn of(account: &ArchivedProviderAccountEntry, model: &str) -> Self {
        let provider = match account.provider {
            ArchivedProviderDialect::Anthropic => "anthropic",
            // The conventions tell the format so; who it is the address says.
            ArchivedProviderDialect::Openai | ArchivedProviderDialect::OpenaiCompatible => "openai",
        };
        let base = Uri::from_str(&account.base_url).ok();
        let base = base.as_ref();
        let default = base
            .and_then(Uri::scheme_str)
            .map(|scheme| if scheme == "http" { 80 } else { 443 });
        Self {
            provider,
            model: model.to_owned(),
            host: base.and_then(Uri::host).unwrap_or_default().to_owned(),
            port: base.and_then(Uri::port_u16).or(default),
            answered_by: None,
        }
    }
}

/// The first model that an answer, or the beginning of one, names. Inside a text the quotes would be escaped, and what a
/// model makes up for a tool comes later.
fn model_in(answer: &[u8]) -> Option<String> {
    let key = br#""model""#;
    let at = memmem::find(answer, key)? + key.len();
    let rest = answer[at..].trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', rest)?;
    let name = rest[..end].to_vec();
    let is_one = rest[end] == b'"' && (1..=MOST_NAME_BYTES).contains(&name.len());
    is_one.then(|| String::from_utf8(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_which_model_it_is_from() {
        let check = |answer: &str, expected: Option<&str>| {
            assert_eq!(model_in(answer.as_bytes()).as_deref(), expected, "{answer}");
        };
        check(
            r#"{"id":"x","model":"gpt-4o-2024-08-06"}"#,
            Some("gpt-4o-2024-08-06"),
        );
        check(
            "event: message_start\ndata: {\"message\": {\"model\" : \"claude\", \"content\": []}}\n\n",
            Some("claude"),
        );
        check(r#"{"text":"\"model\":\"no\""}"#, None);
        check(r#"{"model":null}"#, None);
        check(r#"{"model":""}"#, None);
        check(r#"{"model":"cut o"#, None);
        check("", None);
    }
}

//! The body for the provider: the caller's bytes with the model's name replaced and, on streams, usage asked for.
//!
//! Large bodies are not copied: the parts between the edits are slices of what the caller sent.

use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::scan::UsageWish;

/// Bodies up to this size are copied into one buffer: that costs less than several writes.
const JOIN_BYTES: usize = 16 * 1024;

/// Two edits leave three slices and two replacements.
const MAX_PARTS: usize = 5;

/// A request's body in parts. Cheap to clone, for the next attempt.
#[derive(Debug, Clone, Default)]
pub struct Body {
    parts: [Bytes; MAX_PARTS],
    next: usize,
    left: u64,
}

impl Body {
    fn of(parts: [Bytes; MAX_PARTS]) -> Self {
        let total: usize = parts.iter().map(Bytes::len).sum();
        if total > JOIN_BYTES {
            return Self {
                parts,
                next: 0,
                left: total as u64,
            };
        }
        let mut joined = Vec::with_capacity(total);
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        let mut parts = <[Bytes; MAX_PARTS]>::default();
        parts[0] = joined.into();
        Self {
            parts,
            next: 0,
            left: total as u64,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.next < MAX_PARTS {
            let at = self.next;
            self.next += 1;
            let part = std::mem::take(&mut self.parts[at]);
            if !part.is_empty() {
                self.left -= part.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body with `model` in place of the value at `model_at`; with `usage_wish`, also with usage asked for.
#[must_use]
pub fn rewrite(
    body: &Bytes,
    model_at: &Range<usize>,
    model: &str,
    usage_wish: Option<&UsageWish>,
) -> Body {
    let name = (model_at.clone(), quoted(model));
    let wish = usage_wish.and_then(edit);
    let (first, second) = match wish {
        None => return Body::of(around(body, name)),
        Some(wish) if wish.0.start < name.0.start => (wish, name),
        Some(wish) => (name, wish),
    };
    let before = body.slice(..first.0.start);
    let between = body.slice(first.0.end..second.0.start);
    let after = body.slice(second.0.end..);
    Body::of([before, first.1, between, second.1, after])
}

type Edit = (Range<usize>, Bytes);

fn around(body: &Bytes, (at, replacement): Edit) -> [Bytes; MAX_PARTS] {
    [
        body.slice(..at.start),
        replacement,
        body.slice(at.end..),
        Bytes::new(),
        Bytes::new(),
    ]
}

/// A name as JSON. The names of models hold nothing that must be escaped, but nothing here relies on it.
fn quoted(name: &str) -> Bytes {
    serde_json::to_vec(name).expect("text is JSON").into()
}

fn edit(wish: &UsageWish) -> Option<Edit> {
    let insert =
        |at: usize, text: &'static str| Some((at..at, Bytes::from_static(text.as_bytes())));
    match wish {
        UsageWish::Asked => None,
        UsageWish::Silent { insert_at } => {
            insert(*insert_at, r#","stream_options":{"include_usage":true}"#)
        }
        UsageWish::OptionsWithout {
            insert_at,
            empty: true,
        } => insert(*insert_at, r#""include_usage":true"#),
        UsageWish::OptionsWithout {
            insert_at,
            empty: false,
        } => insert(*insert_at, r#""include_usage":true,"#),
        UsageWish::NullOptions(at) => {
            Some((at.clone(), Bytes::from_static(br#"{"include_usage":true}"#)))
        }
        UsageWish::Declined(at) => Some((at.clone(), Bytes::from_static(b"true"))),
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::{super::scan, *};

    fn sent(body: &str, with_usage: bool) -> String {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let found = scan(&bytes).expect("a good body");
        let mut rewritten = rewrite(
            &bytes,
            &found.model_at,
            "gpt",
            with_usage.then_some(&found.usage_wish),
        );
        let length = rewritten.size_hint().exact();
        let mut all = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut rewritten).poll_frame(&mut context) {
            all.extend(frame.into_data().expect("data"));
        }
        assert_eq!(length, Some(all.len() as u64));
        assert!(rewritten.is_end_stream());
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn only_the_model_changes() {
        let body = r#"{ "x" : [1e400, {"model":"no"}],"model": "chat" ,"y":"ü\u00fc"}"#;
        assert_eq!(sent(body, false), body.replace(r#""chat""#, r#""gpt""#));
    }

    #[test]
    fn large_bodies_are_cut_in_the_right_places() {
        let body = format!(
            r#"{{"x":"{}","model":"chat","stream":true,"y":"{}"}}"#,
            "a".repeat(20_000),
            "b".repeat(20_000)
        );
        assert_eq!(sent(&body, false), body.replace(r#""chat""#, r#""gpt""#));
        let with_usage = sent(&body, true);
        assert!(with_usage.ends_with(r#"bb","stream_options":{"include_usage":true}}"#));
    }

    #[test]
    fn usage_is_asked_for_whatever_the_caller_said() {
        for options in [
            "",
            "null",
            "{}",
            r#"{"x":1}"#,
            r#"{"include_usage":false}"#,
            r#"{"x":1, "include_usage": null}"#,
        ] {
            for model_first in [true, false] {
                let options = if options.is_empty() {
                    String::new()
                } else {
                    format!(r#","stream_options":{options}"#)
                };
                let body = if model_first {
                    format!(r#"{{"model":"chat"{options} }}"#)
                } else {
                    format!(r#"{{"z":0{options},"model":"chat"}}"#)
                };
                let sent: serde_json::Value =
                    serde_json::from_str(&sent(&body, true)).expect("JSON");
                assert_eq!(sent["stream_options"]["include_usage"], true, "{body}");
                assert_eq!(sent["model"], "gpt", "{body}");
            }
        }
    }
}

//! The body for the provider: the caller's bytes with the model's name replaced and, on streams, usage asked for.
//!
//! Large bodies are not copied: the parts between the edits are slices of what the caller sent.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use super::scan::UsageWish;

/// A request's body in parts. Cheap to clone, for the next attempt.
#[derive(Debug, Clone, Default)]
pub struct Body {
    parts: [Bytes; Body::MAX_PARTS],
}

impl Body {
    /// Two edits leave three slices and two replacements.
    pub const MAX_PARTS: usize = 5;

    /// How many bytes are left.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// The parts that are left, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().filter(|part| !part.is_empty())
    }

    /// What is left, in one piece.
    #[must_use]
    pub fn joined(&self) -> Bytes {
        let mut joined = BytesMut::with_capacity(usize::try_from(self.length()).unwrap_or(0));
        self.parts().for_each(|part| joined.extend_from_slice(part));
        joined.freeze()
    }

    /// Takes some of it off the front, and gives it: at most so many bytes, and no more than lie together.
    pub fn take(&mut self, most: usize) -> Bytes {
        let first = self.parts.iter_mut().find(|part| !part.is_empty());
        first.map_or_else(Bytes::new, |part| part.split_to(most.min(part.len())))
    }

    /// Takes so many bytes off the front; no more than there are.
    pub fn advance(&mut self, mut bytes: usize) {
        for part in &mut self.parts {
            let now = bytes.min(part.len());
            part.advance(now);
            bytes -= now;
        }
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
        None => return around(body, name),
        Some(wish) if wish.0.start < name.0.start => (wish, name),
        Some(wish) => (name, wish),
    };
    let before = body.slice(..first.0.start);
    let between = body.slice(first.0.end..second.0.start);
    let after = body.slice(second.0.end..);
    Body {
        parts: [before, first.1, between, second.1, after],
    }
}

type Edit = (Range<usize>, Bytes);

fn around(body: &Bytes, (at, replacement): Edit) -> Body {
    let [before, after] = [body.slice(..at.start), body.slice(at.end..)];
    Body {
        parts: [before, replacement, after, Bytes::new(), Bytes::new()],
    }
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
        let whole: Vec<u8> = rewritten.parts().flatten().copied().collect();
        assert_eq!(rewritten.length(), whole.len() as u64);
        // Written in two goes, it is the same.
        let half = whole.len() / 2;
        rewritten.advance(half);
        let rest: Vec<u8> = rewritten.parts().flatten().copied().collect();
        assert_eq!(rest, whole[half..]);
        assert_eq!(rewritten.joined(), whole[half..]);
        // And so it is when it is taken bit by bit.
        let mut taken = Vec::new();
        while rewritten.length() > 0 {
            taken.extend_from_slice(&rewritten.take(7));
        }
        assert_eq!(taken, whole[half..]);
        String::from_utf8(whole).expect("text")
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

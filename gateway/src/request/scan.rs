//! One pass over a JSON body: is it JSON, and where do the values lie that the gateway needs?
//!
//! Keys are compared after their escapes are decoded, so no spelling of `model` gets past the rules; a key that the
//! gateway reads may stand only once, since providers differ on which of two counts.

use std::{borrow::Cow, fmt, num::NonZeroU64, ops::Range};

use gateway_policy::limits::AnswerBound;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What was found in a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan<'b> {
    /// The model's name, decoded.
    pub model: Cow<'b, str>,
    /// Where its value lies in the body, quotes included.
    pub model_at: Range<usize>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// What the caller says about usage at the end of a stream, and where to say otherwise.
    pub usage_wish: UsageWish,
    /// How long the answer may be.
    pub answer: AnswerSize,
}

/// What a body says of how long its answer may be. A value that is no number says nothing: its provider refuses it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerSize {
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    best_of: Option<u64>,
    /// How many questions it has: completions answer each of a list.
    prompts: Option<u64>,
}

impl AnswerSize {
    /// With a member that has this value, written as JSON, in place of the body's; others change nothing.
    #[must_use]
    pub fn with(mut self, name: &str, json: &str) -> Self {
        let of = match name {
            "max_tokens" => &mut self.max_tokens,
            "max_completion_tokens" => &mut self.max_completion_tokens,
            "n" => &mut self.n,
            "best_of" => &mut self.best_of,
            _ => return self,
        };
        *of = number(json);
        self
    }

    /// How many tokens each may have at most, and how many are made. Of two bounds the higher one counts, since providers differ.
    #[must_use]
    pub fn bound(self) -> AnswerBound {
        let choices = self.n.max(self.best_of).unwrap_or(1).max(1);
        AnswerBound {
            most: self.max_tokens.max(self.max_completion_tokens),
            choices: choices.saturating_mul(self.prompts.unwrap_or(1).max(1)),
        }
    }

    /// How many answers are made, where nothing bounds them.
    #[must_use]
    pub fn open(self) -> Option<NonZeroU64> {
        let AnswerBound { most, choices } = self.bound();
        NonZeroU64::new(choices).filter(|_| most.is_none())
    }
}

/// A number that is none of JSON's is none; providers take `16.0` and `1e3` for whole ones.
fn number(json: &str) -> Option<u64> {
    if let Ok(number) = serde_json::from_str(json) {
        return Some(number);
    }
    let number: f64 = serde_json::from_str(json).ok()?;
    // In words, since there is no conversion that does not round: more than any answer has is as good as all.
    if (0.0..1e15).contains(&number) {
        format!("{:.0}", number.ceil()).parse().ok()
    } else {
        None
    }
}

/// How many there are in a list of texts, or of lists of tokens; a list of tokens is one question, and so is a text.
fn prompts(json: &str) -> Option<u64> {
    let first = json.strip_prefix('[')?.trim_ascii_start();
    if !first.starts_with(['"', '[']) {
        return None;
    }
    let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    u64::try_from(list.len()).ok()
}

/// What the caller says about usage at the end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageWish {
    /// It is asked for, or the field is of a shape that only the provider can judge: nothing is changed.
    Asked,
    /// Nothing is said: a member can be inserted at this offset.
    Silent {
        /// Before the closing brace of the body.
        insert_at: usize,
    },
    /// `stream_options` is an object without `include_usage`: a member can be inserted at this offset.
    OptionsWithout {
        /// After the opening brace of `stream_options`.
        insert_at: usize,
        /// Whether the object has no members.
        empty: bool,
    },
    /// A value stands for "no": `null` for the whole of `stream_options`.
    NullOptions(Range<usize>),
    /// `include_usage` is `false` or `null`: its value lies here.
    Declined(Range<usize>),
}

/// Why a body cannot be taken. The text is for the caller; it quotes nothing of the body but names of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8.
    #[error("the body is not valid UTF-8: the first bad byte is at offset {0}")]
    Utf8(usize),
    /// Not JSON, or not an object.
    #[error("the body is not a JSON object: {0}")]
    Json(String),
    /// A field is there twice.
    #[error("the field '{0}' stands twice in the body")]
    Duplicate(&'static str),
    /// No model.
    #[error("you must provide a model parameter")]
    NoModel,
    /// A field of the wrong type.
    #[error("the field '{field}' must be {wanted}")]
    Type {
        /// Which.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Malformed {
    /// The field that is wrong, as OpenAI's errors name it in `param`.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Utf8(_) | Self::Json(_) => None,
            Self::Duplicate(field) | Self::Type { field, .. } => Some(field),
            Self::NoModel => Some("model"),
        }
    }
}

/// Scans a body.
///
/// # Errors
/// See [`Malformed`].
pub fn scan(body: &[u8]) -> Result<Scan<'_>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|error| Malformed::Utf8(error.valid_up_to()))?;
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| match duplicate(&error) {
            Some(field) => Malformed::Duplicate(field),
            None => Malformed::Json(error.to_string()),
        })?;
    let Fields {
        model,
        stream,
        stream_options,
        max_tokens,
        max_completion_tokens,
        n,
        best_of,
        prompt,
    } = fields;
    let said = |of: Option<&RawValue>| of.and_then(|it| number(it.get()));
    let model = model.ok_or(Malformed::NoModel)?;
    let stream = match stream {
        None => false,
        Some(value) => serde_json::from_str::<Option<bool>>(value.get())
            .map_err(|_| Malformed::Type {
                field: "stream",
                wanted: "true or false",
            })?
            .unwrap_or(false),
    };
    Ok(Scan {
        model_at: place(text, model.get()),
        model: name(model)?,
        stream,
        usage_wish: usage_wish(text, stream_options),
        answer: AnswerSize {
            max_tokens: said(max_tokens),
            max_completion_tokens: said(max_completion_tokens),
            n: said(n),
            best_of: said(best_of),
            prompts: prompt.and_then(|it| prompts(it.get())),
        },
    })
}

/// The fields' raw values, as slices of the body.
#[derive(Default)]
struct Fields<'b> {
    model: Option<&'b RawValue>,
    stream: Option<&'b RawValue>,
    stream_options: Option<&'b RawValue>,
    max_tokens: Option<&'b RawValue>,
    max_completion_tokens: Option<&'b RawValue>,
    n: Option<&'b RawValue>,
    best_of: Option<&'b RawValue>,
    prompt: Option<&'b RawValue>,
}

const DUPLICATE: &str = "duplicate field ";

impl<'de: 'b, 'b> Deserialize<'de> for Fields<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key>()? {
            let (slot, name) = match key {
                Key::Model => (&mut fields.model, "model"),
                Key::Stream => (&mut fields.stream, "stream"),
                Key::StreamOptions => (&mut fields.stream_options, "stream_options"),
                Key::MaxTokens => (&mut fields.max_tokens, "max_tokens"),
                Key::MaxCompletionTokens => {
                    (&mut fields.max_completion_tokens, "max_completion_tokens")
                }
                Key::N => (&mut fields.n, "n"),
                Key::BestOf => (&mut fields.best_of, "best_of"),
                Key::Prompt => (&mut fields.prompt, "prompt"),
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(format_args!("{DUPLICATE}{name}")));
            }
        }
        Ok(fields)
    }
}

enum Key {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    N,
    BestOf,
    Prompt,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "model" => Key::Model,
            "stream" => Key::Stream,
            "stream_options" => Key::StreamOptions,
            "max_tokens" => Key::MaxTokens,
            "max_completion_tokens" => Key::MaxCompletionTokens,
            "n" => Key::N,
            "best_of" => Key::BestOf,
            "prompt" => Key::Prompt,
            _ => Key::Other,
        })
    }
}

/// The field that an error of ours names as a duplicate; serde has no other way to carry it.
fn duplicate(error: &serde_json::Error) -> Option<&'static str> {
    let text = error.to_string();
    let rest = text.strip_prefix(DUPLICATE)?;
    [
        "model",
        "stream_options",
        "stream",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "best_of",
        "prompt",
    ]
    .into_iter()
    .find(|field| {
        rest.strip_prefix(field)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

fn name(raw: &RawValue) -> Result<Cow<'_, str>, Malformed> {
    let text = raw.get();
    let plain = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|text| !text.contains('\\'));
    match plain {
        Some(name) => Ok(Cow::Borrowed(name)),
        None => serde_json::from_str(text)
            .map(Cow::Owned)
            .map_err(|_| Malformed::Type {
                field: "model",
                wanted: "a string",
            }),
    }
}

fn usage_wish(text: &str, stream_options: Option<&RawValue>) -> UsageWish {
    let Some(options) = stream_options else {
        // The text is an object with at least one member: what ends it is its brace.
        return UsageWish::Silent {
            insert_at: text.rfind('}').unwrap_or(text.len()),
        };
    };
    let at = place(text, options.get());
    if options.get() == "null" {
        return UsageWish::NullOptions(at);
    }
    let Ok(Options {
        members,
        include_usage,
    }) = serde_json::from_str(options.get())
    else {
        return UsageWish::Asked;
    };
    match include_usage.map(|value| (value.get(), place(text, value.get()))) {
        None => UsageWish::OptionsWithout {
            insert_at: at.start + 1,
            empty: members == 0,
        },
        Some(("false" | "null", value_at)) => UsageWish::Declined(value_at),
        Some(_) => UsageWish::Asked,
    }
}

struct Options<'b> {
    members: usize,
    include_usage: Option<&'b RawValue>,
}

impl<'de: 'b, 'b> Deserialize<'de> for Options<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptionsVisitor;
        impl<'de> Visitor<'de> for OptionsVisitor {
            type Value = Options<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Options<'de>, A::Error> {
                let mut options = Options {
                    members: 0,
                    include_usage: None,
                };
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    options.members += 1;
                    if key == "include_usage" {
                        options.include_usage = Some(value);
                    }
                }
                Ok(options)
            }
        }
        deserializer.deserialize_map(OptionsVisitor)
    }
}

/// Where `part`, a slice of `whole`, lies in it.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(&str, bool, Option<u64>), Malformed>) {
        let found = scan(body.as_bytes());
        if let Ok(found) = &found {
            let value = &body[found.model_at.clone()];
            assert_eq!(
                serde_json::from_str::<String>(value).expect("a string"),
                found.model
            );
        }
        let found = found.map(|it| (it.model.into_owned(), it.stream, it.answer.bound().most));
        assert_eq!(
            found,
            expected.map(|(model, stream, most)| (model.to_owned(), stream, most)),
            "{body}"
        );
    }

    #[test]
    fn the_fields_are_found_wherever_they_stand() {
        check(r#"{"model":"chat"}"#, Ok(("chat", false, None)));
        check(
            r#" { "messages" : [{"model":"no"}], "stream": true ,"model" : "a/b" } "#,
            Ok(("a/b", true, None)),
        );
        check(
            r#"{"max_tokens":5,"model":"x","max_completion_tokens":7}"#,
            Ok(("x", false, Some(7))),
        );
        check(
            r#"{"max_tokens":"many","model":"x","stream":null}"#,
            Ok(("x", false, None)),
        );
    }

    #[test]
    fn what_bounds_the_answer_is_found_and_may_be_replaced() {
        let bound = |members: &str| {
            let body = format!(r#"{{"model":"a"{members}}}"#);
            let found = scan(body.as_bytes()).expect("a body");
            let AnswerBound { most, choices } = found.answer.bound();
            (most, choices)
        };
        assert_eq!(bound(""), (None, 1));
        assert_eq!(bound(r#","max_tokens":5000,"n":3"#), (Some(5_000), 3));
        assert_eq!(bound(r#","max_tokens":1.6e1,"n":0"#), (Some(16), 1));
        assert_eq!(bound(r#","max_tokens":-5,"n":null"#), (None, 1));
        assert_eq!(
            bound(r#","max_tokens":9,"max_completion_tokens":7"#).0,
            Some(9)
        );
        assert_eq!(bound(r#","best_of":4,"n":2"#).1, 4);
        assert_eq!(bound(r#","prompt":["a","b"],"n":2"#).1, 4);
        assert_eq!(bound(r#","prompt":[[1,2],[3]]"#).1, 2);
        assert_eq!(bound(r#","prompt":[1,2,3]"#).1, 1);
        assert_eq!(bound(r#","prompt":"[a, b]""#).1, 1);
        let replaced = AnswerSize::default()
            .with("max_tokens", "8000")
            .with("n", "2");
        let replaced = replaced.with("top_k", "5").bound();
        assert_eq!((replaced.most, replaced.choices), (Some(8_000), 2));
        assert_eq!(AnswerSize::default().with("n", "null").bound().choices, 1);
    }

    #[test]
    fn no_spelling_of_a_key_gets_past() {
        check(r#"{"mod\u0065l":"\u0063hat"}"#, Ok(("chat", false, None)));
        check(
            r#"{"model":"a","mod\u0065l":"b"}"#,
            Err(Malformed::Duplicate("model")),
        );
    }

    #[test]
    fn what_stands_twice_is_refused() {
        check(
            r#"{"model":"a","model":"a"}"#,
            Err(Malformed::Duplicate("model")),
        );
        check(
            r#"{"model":"a","stream":true,"stream":false}"#,
            Err(Malformed::Duplicate("stream")),
        );
        check(
            r#"{"model":"a","max_tokens":1,"max_tokens":2}"#,
            Err(Malformed::Duplicate("max_tokens")),
        );
        check(
            r#"{"model":"a","n":1,"n":2}"#,
            Err(Malformed::Duplicate("n")),
        );
        let options = r#"{"stream_options":null,"model":"a","stream_options":null}"#;
        check(options, Err(Malformed::Duplicate("stream_options")));
    }

    #[test]
    fn what_has_no_model_or_the_wrong_types_says_so() {
        check("{}", Err(Malformed::NoModel));
        check(
            r#"{"model":7}"#,
            Err(Malformed::Type {
                field: "model",
                wanted: "a string",
            }),
        );
        check(
            r#"{"model":null}"#,
            Err(Malformed::Type {
                field: "model",
                wanted: "a string",
            }),
        );
        let stream = Malformed::Type {
            field: "stream",
            wanted: "true or false",
        };
        check(r#"{"model":"a","stream":"yes"}"#, Err(stream));
    }

    #[test]
    fn what_is_not_a_json_object_is_refused() {
        for body in [
            "",
            "[]",
            "null",
            "{",
            r#"{"model":"a"}}"#,
            r#"{"model":"a",}"#,
            r#"{"model":"a","b":tru}"#,
        ] {
            assert!(
                matches!(scan(body.as_bytes()), Err(Malformed::Json(_))),
                "{body}"
            );
        }
        assert_eq!(scan(b"{\"model\":\"\xff\"}"), Err(Malformed::Utf8(10)));
    }

    #[test]
    fn nesting_without_end_is_no_danger() {
        let deep = format!(
            r#"{{"model":"a","x":{}{}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        check(&deep, Ok(("a", false, None)));
    }

    fn check_wish(options: &str, expected: fn(&str) -> UsageWish) {
        let body = format!(r#"{{"model":"a"{options}}}"#);
        assert_eq!(
            scan(body.as_bytes()).map(|it| it.usage_wish),
            Ok(expected(&body)),
            "{body}"
        );
    }

    #[test]
    fn the_wish_for_usage_is_read_from_stream_options() {
        check_wish("", |body| UsageWish::Silent {
            insert_at: body.len() - 1,
        });
        check_wish(r#","stream_options":{"include_usage":true}"#, |_| {
            UsageWish::Asked
        });
        check_wish(r#","stream_options":"odd""#, |_| UsageWish::Asked);
        check_wish(r#","stream_options":null"#, |body| {
            UsageWish::NullOptions(body.len() - 5..body.len() - 1)
        });
        check_wish(r#","stream_options":{}"#, |body| {
            UsageWish::OptionsWithout {
                insert_at: body.len() - 2,
                empty: true,
            }
        });
        check_wish(r#","stream_options":{"x":1}"#, |body| {
            UsageWish::OptionsWithout {
                insert_at: body.len() - 7,
                empty: false,
            }
        });
        check_wish(r#","stream_options":{"include_usage":false}"#, |body| {
            UsageWish::Declined(body.len() - 7..body.len() - 2)
        });
    }
}

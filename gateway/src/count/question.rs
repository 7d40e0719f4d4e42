//! The tokens of a request's body: of the texts in it that reach the model.
//!
//! Messages are counted as OpenAI's cookbook does it ("How to count tokens with tiktoken"): each text, its speaker's role
//! and name, and 3 tokens around each message and before the answer. What tools are, and what they were asked, counts as it
//! stands in the body; a file or an image, however large, as 1,000 tokens, which is what an image costs about.
//!
//! The body is read once, from beginning to end, and no text of it is copied.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::vocabulary::Vocabulary;

/// What stands around a message, and before the answer.
const AROUND: u64 = 3;
/// What the name of a speaker costs beside itself.
const NAMED: u64 = 1;
/// What a file or an image counts: see `request::weight`.
const FILE: u64 = 1_000;

/// How many tokens a request's body has; `None`: it cannot be read.
#[must_use]
pub fn tokens(body: &[u8], vocabulary: Vocabulary) -> Option<u64> {
    let sum = Cell::new(0);
    let counting = Counting {
        vocabulary,
        sum: &sum,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    json.deserialize_map(Walk {
        counting,
        place: Place::Body,
    })
    .ok()?;
    Some(sum.get())
}

/// The count so far.
#[derive(Clone, Copy)]
struct Counting<'s> {
    vocabulary: Vocabulary,
    sum: &'s Cell<u64>,
}

impl Counting<'_> {
    fn add(self, tokens: u64) {
        self.sum.set(self.sum.get().saturating_add(tokens));
    }

    fn text(self, text: &str) {
        self.add(self.vocabulary.count(text));
    }
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The whole body.
    Body,
    /// The list of messages.
    Messages,
    /// A message.
    Message,
    /// Something said: text, a list of parts, or tokens as numbers.
    Said,
    /// A text.
    Text,
    /// Counts as it stands.
    AsItStands,
    /// A file.
    File,
    /// Nothing of it reaches the model, or only what cannot be known.
    Aside,
}

impl Place {
    /// What a member of an object is.
    fn of_member(self, key: &str) -> Self {
        match (self, key) {
            (Self::Body, "messages") => Self::Messages,
            (Self::Body, "system" | "prompt" | "input" | "suffix") => Self::Said,
            (Self::Body, "tools" | "functions" | "response_format") => Self::AsItStands,
            (Self::Message, "role" | "name" | "refusal" | "reasoning_content") => Self::Text,
            (Self::Message, "content") => Self::Said,
            (Self::Message, "tool_calls" | "function_call") => Self::AsItStands,
            // A part of what is said: a text, a thought, a call of a tool and what it gave, a file.
            (Self::Said, "text" | "thinking" | "refusal" | "name") => Self::Text,
            (Self::Said, "content") => Self::Said,
            (Self::Said, "input") => Self::AsItStands,
            (Self::Said, "image_url" | "source" | "input_audio" | "file") => Self::File,
            (
                Self::Body
                | Self::Messages
                | Self::Message
                | Self::Said
                | Self::Text
                | Self::AsItStands
                | Self::File
                | Self::Aside,
                _,
            ) => Self::Aside,
        }
    }

    /// What an element of a list is.
    const fn of_element(self) -> Self {
        match self {
            Self::Messages => Self::Message,
            Self::Said => Self::Said,
            Self::Body
            | Self::Message
            | Self::Text
            | Self::AsItStands
            | Self::File
            | Self::Aside => Self::Aside,
        }
    }
}

/// Goes through a value and counts.
struct Walk<'s> {
    counting: Counting<'s>,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        match self.place {
            Place::AsItStands => {
                let raw = <&RawValue>::deserialize(value)?;
                self.counting.text(raw.get());
                Ok(())
            }
            Place::File => {
                self.counting.add(FILE);
                IgnoredAny::deserialize(value).map(drop)
            }
            Place::Aside => IgnoredAny::deserialize(value).map(drop),
            Place::Body | Place::Messages | Place::Message | Place::Said | Place::Text => {
                value.deserialize_any(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of a request's body")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if matches!(self.place, Place::Said | Place::Text) {
            self.counting.text(text);
        }
        Ok(())
    }

    fn visit_u64<E>(self, _token: u64) -> Result<(), E> {
        // The number of a token, as `prompt` and `input` may have them.
        if self.place == Place::Said {
            self.counting.add(1);
        }
        Ok(())
    }

    fn visit_i64<E>(self, _number: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _number: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _it: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { counting, place } = self;
        if place == Place::Messages {
            counting.add(AROUND);
        }
        let element = || Walk {
            counting,
            place: place.of_element(),
        };
        while list.next_element_seed(element())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { counting, place } = self;
        if place == Place::Message {
            counting.add(AROUND);
        }
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if (place, &*key) == (Place::Message, "name") {
                counting.add(NAMED);
            }
            map.next_value_seed(Walk {
                counting,
                place: place.of_member(&key),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn count(body: &serde_json::Value) -> u64 {
        let body = body.to_string();
        tokens(body.as_bytes(), Vocabulary::O200k).expect("it can be read")
    }

    #[test]
    fn messages_have_the_tokens_that_openai_charges_for_them() {
        // The example of OpenAI's cookbook, and what its API said of it.
        let said = |name: &str, content: &str| json!({ "role": "system", "name": name, "content": content });
        let body = json!({
            "model": "chat",
            "messages": [
                { "role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English." },
                said("example_user", "New synergies will help drive top-line growth."),
                said("example_assistant", "Things working well together will increase revenue."),
                said("example_user", "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
                said("example_assistant", "Let's talk later when we're less busy about how to do better."),
                { "role": "user", "content": "This late pivot means we don't have time to boil the ocean for the client deliverable." },
            ],
        });
        let body = body.to_string();
        let tokens = |vocabulary| tokens(body.as_bytes(), vocabulary);
        assert_eq!(tokens(Vocabulary::O200k), Some(124));
        assert_eq!(tokens(Vocabulary::Cl100k), Some(129));
    }

    #[test]
    fn every_place_where_a_text_may_stand_is_counted() {
        let check =
            |body: serde_json::Value, expected| assert_eq!(count(&body), expected, "{body}");
        // "Hello, world!" has four tokens.
        check(json!({ "prompt": "Hello, world!" }), 4);
        check(json!({ "prompt": ["Hello, world!", "Hello, world!"] }), 8);
        check(json!({ "input": [13_225, 11, 2_375, 0] }), 4);
        check(json!({ "input": [[13_225, 11], [2_375]] }), 3);
        check(
            json!({ "system": "Hello, world!", "max_tokens": 7, "stop": ["Hello"] }),
            4,
        );
        check(
            json!({ "system": [{ "type": "text", "text": "Hello, world!", "cache_control": { "type": "ephemeral" } }] }),
            4,
        );
        // 3 before the answer, 3 around the message, 1 for the role.
        check(json!({ "messages": [] }), 3);
        check(
            json!({ "messages": [{ "role": "user", "content": "Hello, world!" }] }),
            11,
        );
        let parts = json!([
            { "type": "text", "text": "Hello, world!" },
            { "type": "tool_result", "tool_use_id": "x", "content": [{ "type": "text", "text": "Hello, world!" }] },
        ]);
        check(
            json!({ "messages": [{ "role": "user", "content": parts }] }),
            15,
        );
    }

    #[test]
    fn a_file_counts_the_same_however_large_it_is() {
        let image = |bytes| {
            let data = format!("data:image/png;base64,{}", "A".repeat(bytes));
            let openais = json!({ "type": "image_url", "image_url": { "url": data } });
            let source = json!({ "type": "base64", "media_type": "image/png", "data": data });
            let anthropics = json!({ "type": "image", "source": source });
            json!({ "messages": [{ "role": "user", "content": [openais, anthropics] }] })
        };
        assert_eq!(count(&image(10)), 2_007);
        assert_eq!(count(&image(1_000_000)), 2_007);
    }

    #[test]
    fn tools_count_as_they_stand() {
        let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": {} } }]);
        let expected = Vocabulary::O200k.count(&tools.to_string());
        assert_eq!(count(&json!({ "tools": tools })), expected);
    }

    #[test]
    fn escapes_are_undone_and_what_is_no_body_is_not_counted() {
        let tokens = |body: &str| tokens(body.as_bytes(), Vocabulary::O200k);
        assert_eq!(tokens(r#"{"prompt":"Hello\u002c world!"}"#), Some(4));
        assert_eq!(tokens("[]"), None);
        assert_eq!(tokens(r#"{"prompt":"#), None);
    }
}

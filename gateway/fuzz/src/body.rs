//! The body of a caller's request: the scan over it agrees with `serde_json`, and what is made of it for the provider is the
//! same body but for what was to be changed.

use std::{fmt, ops::Range};

use bytes::Bytes;
use gateway::request::{UsageWish, replace::replaced, rewrite, scan, weight};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// The model's name at the provider: it must be escaped.
const UPSTREAM: &str = "up\"stream/ü";

/// The bytes are a body.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    assert!(
        weight(data) <= data.len() as u64,
        "a body weighs what it has, or less"
    );
    let object = Object::of(data);
    match (scan(data), object) {
        (Ok(found), Some(object)) => {
            let model = object.one("model").and_then(Value::as_str);
            assert_eq!(model, Some(&*found.model));
            let name = read(data, &found.model_at);
            assert_eq!(name, found.model, "the name stands where it was found");
            let stream = object.one("stream").and_then(Value::as_bool);
            assert_eq!(found.stream, stream.unwrap_or(false));
            let most = ["max_completion_tokens", "max_tokens"].map(|name| object.one(name));
            let most: Vec<&Value> = most.into_iter().flatten().collect();
            // Of `16.0` and `1e3` the unit tests tell.
            if !most.iter().any(|it| it.is_f64()) {
                let most = most.iter().filter_map(|it| it.as_u64()).max();
                assert_eq!(found.answer.bound().most, most);
            }
            rewritten(data, &object, &found.model_at, &found.usage_wish);
        }
        // What `serde_json` cannot hold may pass: numbers beyond a float's range, deep nesting, half a surrogate pair in
        // a member that is not read. It is the provider's to judge.
        (Ok(found), None) => {
            let why = serde_json::from_slice::<Value>(data).expect_err("it is no object");
            let why = why.to_string();
            let passes = ["out of range", "recursion limit", "surrogate", "hex escape"];
            assert!(passes.iter().any(|it| why.contains(it)), "{why}");
            assert!(data.get(found.model_at).is_some());
        }
        (Err(why), Some(object)) => {
            assert!(!object.is_good(), "{why}");
        }
        (Err(_), None) => {}
    }
}

/// What the provider gets, without and with the wish for usage, and with members that a routing replaces.
fn rewritten(data: &[u8], object: &Object, model_at: &Range<usize>, wish: &UsageWish) {
    let bytes = Bytes::copy_from_slice(data);
    let mut expected = object.map();
    expected.insert("model".into(), UPSTREAM.into());
    assert_eq!(sent(&bytes, model_at, None), expected);

    if *wish != UsageWish::Asked {
        let options = expected
            .entry("stream_options")
            .or_insert_with(|| Value::Object(Map::new()));
        if options.is_null() {
            *options = Value::Object(Map::new());
        }
        options["include_usage"] = true.into();
    }
    assert_eq!(sent(&bytes, model_at, Some(wish)), expected);

    let with = replaced(&bytes, &[("temperature", "0.5"), ("ü", "[]")]);
    let again = scan(&with).expect("it is as good as before");
    let mut expected = object.map();
    expected.insert("temperature".into(), 0.5.into());
    expected.insert("ü".into(), Value::Array(Vec::new()));
    expected.insert("model".into(), UPSTREAM.into());
    assert_eq!(sent(&with, &again.model_at, None), expected);
}

fn sent(body: &Bytes, model_at: &Range<usize>, wish: Option<&UsageWish>) -> Map<String, Value> {
    let sent = rewrite(body, model_at, UPSTREAM, wish);
    let text: Vec<u8> = sent.parts().flatten().copied().collect();
    assert_eq!(sent.length(), text.len() as u64);
    serde_json::from_slice(&text).expect("an object, as before")
}

fn read(data: &[u8], at: &Range<usize>) -> String {
    serde_json::from_slice(&data[at.clone()]).expect("a string")
}

/// A JSON object as `serde_json` sees it, with members that stand twice.
#[derive(Debug)]
struct Object(Vec<(String, Value)>);

impl Object {
    /// `None`: it is none.
    fn of(data: &[u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }

    /// The one member of this name; `None`: there is none.
    fn one(&self, name: &str) -> Option<&Value> {
        let mut of_the_name = self.0.iter().filter(|(it, _)| it == name);
        of_the_name.next().map(|(_, value)| value)
    }

    fn map(&self) -> Map<String, Value> {
        self.0.iter().cloned().collect()
    }

    /// Whether there is nothing about it that the gateway may refuse.
    fn is_good(&self) -> bool {
        let read = [
            "model",
            "stream",
            "stream_options",
            "max_tokens",
            "max_completion_tokens",
            "n",
            "best_of",
            "prompt",
        ];
        let stands_once = |name: &&str| self.0.iter().filter(|(it, _)| it == *name).count() <= 1;
        let stream = self.one("stream");
        read.iter().all(stands_once)
            && self.one("model").is_some_and(Value::is_string)
            && stream.is_none_or(|it| it.is_boolean() || it.is_null())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

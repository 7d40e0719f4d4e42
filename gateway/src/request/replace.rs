//! A request's body with members that a target's routing wants to have: in place of those of the same name, or added.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object, in their order, each with its text.
struct Members<'b>(Vec<(String, &'b RawValue)>);

impl<'de: 'b, 'b> Deserialize<'de> for Members<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Its;
        impl<'de> Visitor<'de> for Its {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Its)
    }
}

/// The body, a JSON object, with `params`: names and the JSON of their values. What is no object stays as it is.
#[must_use]
pub fn replaced(body: &Bytes, params: &[(&str, &str)]) -> Bytes {
    let Ok(Members(members)) = serde_json::from_slice(body) else {
        return body.clone();
    };
    let replaced: BTreeSet<&str> = params.iter().map(|(name, _)| *name).collect();
    let kept = members
        .iter()
        .map(|(name, value)| (name.as_str(), value.get()))
        .filter(|(name, _)| !replaced.contains(name));
    let mut text = String::with_capacity(body.len() + 256);
    for (name, value) in kept.chain(params.iter().copied()) {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(&serde_json::to_string(name).unwrap_or_default());
        text.push(':');
        text.push_str(value);
    }
    if text.is_empty() {
        text.push('{');
    }
    text.push('}');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, params: &[(&str, &str)], expected: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let replaced = replaced(&body, params);
        assert_eq!(replaced, expected.as_bytes(), "{expected}");
    }

    #[test]
    fn members_are_replaced_or_added_and_all_others_stay_as_they_were() {
        check(
            r#"{"model":"chat", "temperature" : 1.0,"messages":[{"temperature":2, "n":1e400}]}"#,
            &[("temperature", "0.5"), ("top_p", "0.9")],
            r#"{"model":"chat","messages":[{"temperature":2, "n":1e400}],"temperature":0.5,"top_p":0.9}"#,
        );
        check(
            r#"{"temper\u0061ture":1}"#,
            &[("temperature", "0")],
            r#"{"temperature":0}"#,
        );
        check("{}", &[], "{}");
    }
}

//! JSON that people give, in one form: the same object is the same text, whether it came as JSON or in a document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, value::RawValue};

/// A JSON object, in a canonical form: as `serde_json` writes it, members in the order of their names. A number that it
/// cannot hold is refused.
#[derive(Clone)]
pub struct JsonObject(Box<RawValue>);

/// A text that is no [`JsonObject`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidObject {
    /// It is no JSON, or no object.
    #[error("this is no JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// A member stands twice.
    #[error("the member '{0}' stands twice")]
    Twice(String),
}

impl JsonObject {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Its members: each name with the JSON text of its value, in the order of the names.
    #[must_use]
    pub fn members(&self) -> Vec<(String, String)> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_str(self.as_str()).unwrap_or_default();
        let text = |(name, value): (String, &RawValue)| (name, value.get().to_owned());
        members.into_iter().map(text).collect()
    }
}

impl FromStr for JsonObject {
    type Err = InvalidObject;

    fn from_str(text: &str) -> Result<Self, InvalidObject> {
        let Members(names) = serde_json::from_str(text)?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.into_iter().find(|name| !seen.insert(name.clone())) {
            return Err(InvalidObject::Twice(twice));
        }
        let mut canonical = String::with_capacity(text.len());
        write(&serde_json::from_str(text)?, &mut canonical);
        Ok(Self(RawValue::from_string(canonical)?))
    }
}

/// Writes a value with the members of objects in the order of their names, whatever order the parser keeps them in.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            text.push('{');
            for (at, (name, value)) in sorted.into_iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

/// The names of an object's members, as they stand.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, de::IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Members(names))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl PartialEq for JsonObject {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JsonObject {}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        text.get().parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for JsonObject {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .additional_properties(Some(
                utoipa::openapi::schema::AdditionalProperties::FreeForm(true),
            ))
            .description(Some("A JSON object."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for JsonObject {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let read = text.parse::<JsonObject>().ok();
        assert_eq!(read.as_ref().map(JsonObject::as_str), expected, "{text}");
        if let Some(read) = read {
            let again: JsonObject = serde_json::from_str(read.as_str()).expect("canonical");
            assert_eq!(again, read);
            assert_eq!(serde_json::to_string(&read).expect("JSON"), read.as_str());
        }
    }

    #[test]
    fn an_object_is_brought_into_one_form_and_loses_nothing() {
        check(
            " { \"b\" : [1.50, 18446744073709551615] , \"a\":\"x \\\" \\u00fc\" } ",
            Some(r#"{"a":"x \" ü","b":[1.5,18446744073709551615]}"#),
        );
        check("{}", Some("{}"));
        check(
            r#"{"a":{"y": 1, "x": "\\"}}"#,
            Some(r#"{"a":{"x":"\\","y":1}}"#),
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1} x"#,
            r#"{"a":1e400}"#,
        ] {
            check(text, None);
        }
    }

    #[test]
    fn members_come_with_their_texts() {
        let object: JsonObject = r#"{"t":0.5,"a":null}"#.parse().expect("an object");
        let expected = [("a", "null"), ("t", "0.5")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(object.members(), expected);
    }
}

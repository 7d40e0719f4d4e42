//! A document as it stands, whatever it means: each part with the place where it begins.
//!
//! For documents that are read field by field, so that whatever is wrong with one of them is told where it stands, and all
//! of it at once. Sluice's own documents are read by serde alone.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// Where something begins: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) spot: Spot,
    pub(super) value: Value,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nothing,
    Flag(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Fields(Vec<Field>),
}

/// A field of a part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// Where its name begins.
    pub(super) spot: Spot,
    pub(super) node: Node,
}

impl Node {
    /// Moves everything down by so many lines.
    pub(super) fn moved_down(mut self, lines: u64) -> Self {
        self.move_down(lines);
        self
    }

    fn move_down(&mut self, lines: u64) {
        self.spot.line += lines;
        match &mut self.value {
            Value::Nothing | Value::Flag(_) | Value::Number(_) | Value::Text(_) => {}
            Value::List(nodes) => nodes.iter_mut().for_each(|it| it.move_down(lines)),
            Value::Fields(fields) => {
                for field in fields {
                    field.spot.line += lines;
                    field.node.move_down(lines);
                }
            }
        }
    }
}

impl Value {
    /// What it is called in the complaint that something else was expected.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Fields(_) => "fields",
        }
    }

    /// The same as JSON.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Nothing => serde_json::Value::Null,
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => number.clone().into(),
            Self::Text(text) => text.as_str().into(),
            Self::List(nodes) => nodes.iter().map(|it| it.value.to_json()).collect(),
            Self::Fields(fields) => {
                let members = fields.iter();
                let members = members.map(|it| (it.name.clone(), it.node.value.to_json()));
                serde_json::Value::Object(members.collect())
            }
        }
    }
}

impl From<Location> for Spot {
    fn from(at: Location) -> Self {
        Self {
            line: at.line(),
            column: at.column(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            spot: spanned.referenced.into(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true, false, a list or fields")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Nothing)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Nothing)
            }

            fn visit_some<D: Deserializer<'de>>(self, it: D) -> Result<Value, D::Error> {
                Value::deserialize(it)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Number(number.into()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
                serde_json::Number::from_f64(number)
                    .map(Value::Number)
                    .ok_or_else(|| E::custom("a number here is finite"))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = items.next_element()? {
                    nodes.push(node);
                }
                Ok(Value::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, node)) = entries.next_entry::<Spanned<String>, Node>()? {
                    fields.push(Field {
                        spot: name.referenced.into(),
                        name: name.value,
                        node,
                    });
                }
                Ok(Value::Fields(fields))
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each part on a line of its own, with its place.
    fn told(node: &Node, name: &str, lines: &mut Vec<String>) {
        let Spot { line, column } = node.spot;
        match &node.value {
            Value::List(nodes) => {
                lines.push(format!("{line}:{column} {name} list"));
                for (index, node) in nodes.iter().enumerate() {
                    told(node, &format!("{name}[{index}]"), lines);
                }
            }
            Value::Fields(fields) => {
                lines.push(format!("{line}:{column} {name} fields"));
                for Field { name, spot, node } in fields {
                    let named = format!("({}:{}) {name}", spot.line, spot.column);
                    told(node, &named, lines);
                }
            }
            leaf => lines.push(format!("{line}:{column} {name} {}", leaf.to_json())),
        }
    }

    #[test]
    fn every_part_knows_its_place_and_what_it_is() {
        let text = "name: x\nlist:\n  - a: 1\n    'b': \"429\"\n  - [true, 0.5, ~]\ndeep: {k: v}\ndate: 2027-01-31\n";
        let node: Node = serde_saphyr::from_str(text).expect("YAML");
        let mut lines = Vec::new();
        told(&node.moved_down(10), "", &mut lines);
        assert_eq!(
            lines,
            [
                "11:1  fields",
                "11:7 (11:1) name \"x\"",
                "13:3 (12:1) list list",
                "13:5 (12:1) list[0] fields",
                "13:8 (13:5) a 1",
                "14:10 (14:5) b \"429\"",
                "15:5 (12:1) list[1] list",
                "15:6 (12:1) list[1][0] true",
                "15:12 (12:1) list[1][1] 0.5",
                "15:17 (12:1) list[1][2] null",
                "16:7 (16:1) deep fields",
                "16:11 (16:8) k \"v\"",
                "17:7 (17:1) date \"2027-01-31\"",
            ]
        );
    }

    #[test]
    fn what_an_alias_stands_for_is_where_the_alias_stands() {
        let text = "a: &one [1]\nb: *one\n";
        let node: Node = serde_saphyr::from_str(text).expect("YAML");
        let Value::Fields(fields) = &node.value else {
            panic!("fields: {node:?}");
        };
        assert_eq!(fields[1].node.spot.line, 2);
        assert_eq!(fields[1].node.value.to_json(), serde_json::json!([1]));
    }
}

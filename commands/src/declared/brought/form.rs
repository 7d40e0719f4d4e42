//! A document read field by field: what is read leaves a value or a fault, and the reading goes on.

use std::{fmt::Display, str::FromStr};

use super::super::{
    node::{Field, Node, Spot, Value},
    read::Fault,
};

/// A part of a document, and its path.
#[derive(Debug, Clone)]
pub(in crate::declared) struct At<'d> {
    node: &'d Node,
    path: String,
}

impl<'d> At<'d> {
    /// A whole document.
    pub(super) const fn document(node: &'d Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    /// What is wrong with it.
    pub(in crate::declared) fn wrong(&self, message: String) -> Fault {
        fault(self.node.spot, &self.path, message)
    }

    /// A field of it; `None`: it has no such field.
    pub(in crate::declared) fn field(&self, name: &str) -> Option<Self> {
        let field = self.fields().iter().find(|it| it.name == name)?;
        Some(Self {
            node: &field.node,
            path: self.path_of(name),
        })
    }

    /// The part that these fields lead to, or as far as they do.
    pub(in crate::declared) fn deepest(&self, fields: &[&str]) -> Self {
        let mut at = self.clone();
        for name in fields {
            let Some(next) = at.field(name) else {
                break;
            };
            at = next;
        }
        at
    }

    /// Its items; none, where it is no list.
    pub(in crate::declared) fn items(&self) -> Vec<Self> {
        let Value::List(nodes) = &self.node.value else {
            return Vec::new();
        };
        let item = |(index, node)| Self {
            node,
            path: format!("{}[{index}]", self.path),
        };
        nodes.iter().enumerate().map(item).collect()
    }

    /// Whether nothing stands there: no value, an empty text, list or fields.
    pub(super) const fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Nothing => true,
            Value::Text(text) => text.is_empty(),
            Value::List(nodes) => nodes.is_empty(),
            Value::Fields(fields) => fields.is_empty(),
            Value::Flag(_) | Value::Number(_) => false,
        }
    }

    /// Whether it is like a field that is missing: no value, an empty text, no fields. An empty list is a list.
    const fn is_like_none(&self) -> bool {
        self.is_empty() && !matches!(self.node.value, Value::List(_))
    }

    pub(super) const fn value(&self) -> &'d Value {
        &self.node.value
    }

    /// Its text.
    pub(super) fn text(&self) -> Result<&'d str, String> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            other => Err(expected("a text", other)),
        }
    }

    fn fields(&self) -> &'d [Field] {
        match &self.node.value {
            Value::Fields(fields) => fields,
            Value::Nothing
            | Value::Flag(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_) => &[],
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

fn fault(spot: Spot, path: &str, message: String) -> Fault {
    Fault {
        line: spot.line,
        column: spot.column,
        field: (!path.is_empty()).then(|| path.to_owned()),
        message,
    }
}

fn expected(what: &str, found: &Value) -> String {
    format!("Here is {}, where {what} is expected.", found.kind())
}

/// Says of every field that is none of these that it is not supported.
pub(super) fn only(at: &At<'_>, known: &[&str], faults: &mut Vec<Fault>) {
    if !matches!(at.node.value, Value::Fields(_)) {
        faults.push(at.wrong(expected("fields", &at.node.value)));
    }
    let unknown = |it: &&Field| !known.contains(&it.name.as_str());
    for Field { name, spot, .. } in at.fields().iter().filter(unknown) {
        let message = format!(
            "`{name}` is not supported here: there are {}.",
            known.join(", ")
        );
        faults.push(fault(*spot, &at.path_of(name), message));
    }
}

/// Says of a field, if something stands in it, why that cannot be.
pub(super) fn refuse(at: &At<'_>, name: &str, why: &str, faults: &mut Vec<Fault>) {
    if let Some(field) = at.field(name).filter(|it| !it.is_empty()) {
        faults.push(field.wrong(why.to_owned()));
    }
}

/// A field in which something stands: in these formats, an empty one is mostly like none.
pub(super) fn filled<'d>(at: &At<'d>, name: &str) -> Option<At<'d>> {
    at.field(name).filter(|it| !it.is_empty())
}

/// A field that may be missing, or empty.
pub(super) fn optional<'d, T>(
    at: &At<'d>,
    name: &str,
    faults: &mut Vec<Fault>,
    read: impl FnOnce(&At<'d>) -> Result<T, String>,
) -> Option<T> {
    let field = at.field(name).filter(|it| !it.is_like_none())?;
    match read(&field) {
        Ok(value) => Some(value),
        Err(message) => {
            faults.push(field.wrong(message));
            None
        }
    }
}

/// A field that must be there; `None`: it is not, or is wrong, which is told.
pub(super) fn required<'d, T>(
    at: &At<'d>,
    name: &str,
    faults: &mut Vec<Fault>,
    read: impl FnOnce(&At<'d>) -> Result<T, String>,
) -> Option<T> {
    if at.field(name).is_some_and(|it| !it.is_like_none()) {
        return optional(at, name, faults, read);
    }
    faults.push(at.wrong(format!("`{name}` is missing.")));
    None
}

/// The items of a field that is a list, each of which `read` reads; `None`: the field is missing, or like none.
pub(super) fn list<'d, T>(
    at: &At<'d>,
    name: &str,
    faults: &mut Vec<Fault>,
    mut read: impl FnMut(&At<'d>, &mut Vec<Fault>) -> Option<T>,
) -> Option<Vec<T>> {
    optional(at, name, faults, is_list)?;
    let items = at.field(name)?.items();
    Some(items.iter().filter_map(|it| read(it, faults)).collect())
}

/// That it is a list.
pub(super) fn is_list(at: &At<'_>) -> Result<(), String> {
    match &at.node.value {
        Value::List(_) => Ok(()),
        other => Err(expected("a list", other)),
    }
}

/// What the reader makes of an item of a list.
pub(super) fn item<'d, T>(
    at: &At<'d>,
    faults: &mut Vec<Fault>,
    read: impl FnOnce(&At<'d>) -> Result<T, String>,
) -> Option<T> {
    read(at)
        .map_err(|message| faults.push(at.wrong(message)))
        .ok()
}

/// A text in the form that its type wants.
pub(super) fn parsed<T: FromStr<Err: Display>>(at: &At<'_>) -> Result<T, String> {
    let text = at.text()?;
    text.parse().map_err(|error| format!("'{text}': {error}."))
}

/// A whole number from 0.
pub(super) fn number<T: TryFrom<u64>>(at: &At<'_>) -> Result<T, String> {
    let found = match &at.node.value {
        Value::Number(number) => number.as_u64().and_then(|it| T::try_from(it).ok()),
        other => return Err(expected("a number", other)),
    };
    found.ok_or_else(|| "The number is no whole one from 0, or too large.".to_owned())
}

/// True or false.
pub(super) fn flag(at: &At<'_>) -> Result<bool, String> {
    match &at.node.value {
        Value::Flag(flag) => Ok(*flag),
        other => Err(expected("true or false", other)),
    }
}

/// The fields of a field, each of which `read` reads by its name; `None`: the field is missing.
pub(super) fn entries<'d, T>(
    at: &At<'d>,
    name: &str,
    faults: &mut Vec<Fault>,
    mut read: impl FnMut(&str, &At<'d>) -> Result<T, String>,
) -> Option<Vec<T>> {
    optional(at, name, faults, is_fields)?;
    let of = at.field(name)?;
    let fields = of.fields().iter();
    let read = fields.filter_map(|it| {
        let entry = At {
            node: &it.node,
            path: of.path_of(&it.name),
        };
        item(&entry, faults, |at| read(&it.name, at))
    });
    Some(read.collect())
}

/// That it has fields.
pub(super) fn is_fields(at: &At<'_>) -> Result<(), String> {
    match &at.node.value {
        Value::Fields(_) => Ok(()),
        other => Err(expected("fields", other)),
    }
}

//! What differs between two states of a thing, as lines that people can read.

use std::collections::BTreeMap;

use serde_json::Value;
use yew::prelude::*;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where: `limits.requests_per_minute`, `targets[0].weight`.
    pub(crate) path: String,
    /// How.
    pub(crate) change: Change,
}

/// How a field differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was not there before.
    Added(String),
    /// It is not there any more.
    Removed(String),
    /// It was one thing and is another.
    Changed(String, String),
}

/// Bookkeeping that changes with every event and says nothing.
const BOOKKEEPING: &str = "life";

/// The fields that differ, in the order of their paths.
pub(crate) fn diff(before: Option<&Value>, after: Option<&Value>) -> Vec<Line> {
    let (before, mut after) = (leaves(before), leaves(after));
    let mut lines = Vec::new();
    for (path, old) in before {
        match after.remove(&path) {
            Some(new) if new == old => {}
            Some(new) => lines.push(Line {
                path,
                change: Change::Changed(old, new),
            }),
            None => lines.push(Line {
                path,
                change: Change::Removed(old),
            }),
        }
    }
    lines.extend(after.into_iter().map(|(path, new)| Line {
        path,
        change: Change::Added(new),
    }));
    lines.sort_by(|one, other| one.path.cmp(&other.path));
    lines
}

/// Every value that holds no others, by its path.
fn leaves(value: Option<&Value>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Some(value) = value {
        collect(value, String::new(), &mut found);
    }
    found
}

fn collect(value: &Value, path: String, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if path.is_empty() && name == BOOKKEEPING {
                    continue;
                }
                let inner = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, inner, found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{path}[{index}]"), found);
            }
        }
        // What is not set is as good as not there.
        Value::Null => {}
        Value::String(text) => drop(found.insert(path, text.clone())),
        Value::Bool(_) | Value::Number(_) => drop(found.insert(path, value.to_string())),
    }
}

/// What differs, line by line; `columns`: what the two sides are called.
pub(crate) fn table(lines: &[Line], columns: [&'static str; 2]) -> Html {
    let row = |line: &Line| {
        let (class, before, after) = match &line.change {
            Change::Added(after) => ("pf-m-added", None, Some(after)),
            Change::Removed(before) => ("pf-m-removed", Some(before), None),
            Change::Changed(before, after) => ("pf-m-both", Some(before), Some(after)),
        };
        html!(
            <tr {class}>
                <th scope="row">{ &line.path }</th>
                <td class="sl-before">{ for before.map(|text| html!(<del>{ text }</del>)) }</td>
                <td class="sl-after">{ for after.map(|text| html!(<ins>{ text }</ins>)) }</td>
            </tr>
        )
    };
    html!(
        <table class="sl-diff" aria-label="What changed">
            <thead><tr><th scope="col">{ "Field" }</th>{ for columns.iter().map(|column| html!(<th scope="col">{ *column }</th>)) }</tr></thead>
            <tbody>{ for lines.iter().map(row) }</tbody>
        </table>
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: Option<&Value>, after: Option<&Value>, expected: &[(&str, Change)]) {
        let expected: Vec<Line> = expected
            .iter()
            .map(|(path, change)| Line {
                path: (*path).to_owned(),
                change: change.clone(),
            })
            .collect();
        assert_eq!(diff(before, after), expected);
    }

    #[test]
    fn a_new_thing_is_all_added() {
        let after = json!({"name": "a", "credential": null, "life": {"version": 1}});
        check(
            None,
            Some(&after),
            &[("name", Change::Added("a".to_owned()))],
        );
    }

    #[test]
    fn only_what_differs_is_shown() {
        let before = json!({"name": "a", "disabled": false, "targets": [{"weight": 1}], "life": {"version": 1}});
        let after = json!({"name": "a", "disabled": true, "targets": [{"weight": 1}, {"weight": 2}], "life": {"version": 2}});
        check(
            Some(&before),
            Some(&after),
            &[
                (
                    "disabled",
                    Change::Changed("false".to_owned(), "true".to_owned()),
                ),
                ("targets[1].weight", Change::Added("2".to_owned())),
            ],
        );
    }

    #[test]
    fn a_thing_that_is_gone_is_all_removed() {
        check(
            Some(&json!({"name": "a"})),
            None,
            &[("name", Change::Removed("a".to_owned()))],
        );
    }
}

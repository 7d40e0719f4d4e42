//! A request as a line for a shell, and as a path with its query. Pure.

use std::collections::BTreeMap;

use super::document::{Document, Operation, Parameter};
use crate::widgets::paging::encode;

/// The values of parameters, by their names.
pub(super) type Values = BTreeMap<String, String>;

/// The path with its query; what has no value stays in braces, or away.
pub(super) fn target(operation: &Operation, values: &Values) -> String {
    let value = |it: &Parameter| values.get(&it.name).map(|it| it.trim()).unwrap_or_default();
    let mut path = operation.path.clone();
    let mut query = Vec::new();
    for parameter in &operation.parameters {
        let value = value(parameter);
        match parameter.place.as_str() {
            _ if value.is_empty() => {}
            "path" => path = path.replace(&format!("{{{}}}", parameter.name), &encode(value)),
            "query" => query.push(format!("{}={}", parameter.name, encode(value))),
            // Headers are not asked for here: the one that there is belongs to a stream.
            _ => {}
        }
    }
    if query.is_empty() {
        path
    } else {
        format!("{path}?{}", query.join("&"))
    }
}

/// Whether everything has a value that must have one.
pub(super) fn is_complete(operation: &Operation, values: &Values) -> bool {
    let has_value = |it: &Parameter| values.get(&it.name).is_some_and(|it| !it.trim().is_empty());
    let mut required = operation.parameters.iter().filter(|it| it.required);
    required.all(has_value)
}

/// The line: with a token in a variable, which is how automation signs in.
pub(super) fn line(
    document: &Document,
    operation: &Operation,
    values: &Values,
    origin: &str,
) -> String {
    let mut parts = vec!["curl -s".to_owned()];
    if operation.method != "GET" {
        parts.push(format!("-X {}", operation.method));
    }
    if !operation.is_public {
        parts.push("-H \"Authorization: Bearer $SLUICE_TOKEN\"".to_owned());
    }
    if let Some(body) = &operation.body {
        let example = body
            .example
            .clone()
            .unwrap_or_else(|| document.example(&body.schema));
        parts.push(format!("-H 'Content-Type: {}'", body.media_type));
        parts.push(format!("-d {}", quoted(&example.to_string())));
    }
    parts.push(quoted(&format!("{origin}{}", target(operation, values))));
    parts.join(" ")
}

/// A text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        Document::read(&json!({"paths": {"/keys/{id}": {
            "get": {
                "security": [{"token": []}],
                "parameters": [
                    {"name": "id", "in": "path", "required": true},
                    {"name": "search", "in": "query"},
                ],
            },
            "post": {
                "requestBody": {"content": {"application/json": {
                    "schema": {}, "example": {"why": "it's time"},
                }}},
            },
        }}}))
    }

    #[test]
    fn a_request_is_written_for_a_shell() {
        let document = document();
        let [get, post] = document.tags[0].operations.as_slice() else {
            panic!("two operations");
        };
        let values = Values::from([
            ("id".into(), "a/b".into()),
            ("search".into(), " x y".into()),
        ]);
        assert_eq!(
            line(&document, get, &values, "https://sluice.example"),
            "curl -s -H \"Authorization: Bearer $SLUICE_TOKEN\" 'https://sluice.example/keys/a%2Fb?search=x%20y'"
        );
        assert_eq!(
            line(&document, post, &Values::new(), ""),
            r#"curl -s -X POST -H 'Content-Type: application/json' -d '{"why":"it'\''s time"}' '/keys/{id}'"#
        );
    }

    #[test]
    fn what_must_be_there_is_asked_for_first() {
        let document = document();
        let get = &document.tags[0].operations[0];
        let mut values = Values::from([("id".into(), " ".into())]);
        assert!(!is_complete(get, &values));
        values.insert("id".into(), "1".into());
        assert!(is_complete(get, &values));
        assert_eq!(target(get, &values), "/keys/1");
    }
}

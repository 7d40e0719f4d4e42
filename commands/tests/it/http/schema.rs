//! As much of JSON Schema as the OpenAPI document uses: does a value look as it says?
//!
//! Stricter than the standard in one point: a member that the schema does not name is a fault, unless the schema
//! names none at all.

use serde_json::{Map, Value};

/// The schemas that references lead to.
pub(super) struct Schemas<'a>(&'a Value);

impl<'a> Schemas<'a> {
    pub(super) const fn of(document: &'a Value) -> Self {
        Self(document)
    }

    /// What of the value is not as the schema says; `at` says where.
    pub(super) fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(schema, value, at, &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        if let Some(to) = schema["$ref"].as_str() {
            let pointer = to
                .strip_prefix('#')
                .expect("a reference within the document");
            let schema = self.0.pointer(pointer);
            return match schema {
                Some(schema) => self.check(schema, value, at, faults),
                None => faults.push(format!("{at}: {to} leads nowhere")),
            };
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.check(part, value, at, faults);
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[choice].as_array() {
                self.check_choice(choices, value, at, faults);
            }
        }
        if !schema["type"].is_null() && !self.is_of_type(&schema["type"], value) {
            faults.push(format!("{at}: {value} is not of type {}", schema["type"]));
            return;
        }
        if let Some(values) = schema["enum"].as_array()
            && !values.contains(value)
        {
            faults.push(format!("{at}: {value} is none of {values:?}"));
        }
        match value {
            Value::Object(members) => self.check_members(schema, members, at, faults),
            Value::Array(items) if schema["items"].is_object() => {
                for (index, item) in items.iter().enumerate() {
                    self.check(&schema["items"], item, &format!("{at}[{index}]"), faults);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {}
        }
    }

    fn check_choice(&self, choices: &[Value], value: &Value, at: &str, faults: &mut Vec<String>) {
        let tried: Vec<_> = choices
            .iter()
            .map(|it| self.faults(it, value, at))
            .collect();
        if tried.iter().all(|faults| !faults.is_empty()) {
            faults.push(format!("{at}: {value} is none of the choices: {tried:?}"));
        }
    }

    fn check_members(
        &self,
        schema: &Value,
        members: &Map<String, Value>,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        for required in schema["required"].as_array().into_iter().flatten() {
            let name = required.as_str().expect("a name");
            if !members.contains_key(name) {
                faults.push(format!("{at}: {name} is missing"));
            }
        }
        let rest = &schema["additionalProperties"];
        for (name, member) in members {
            let at = format!("{at}.{name}");
            match schema["properties"].get(name) {
                Some(schema) => self.check(schema, member, &at, faults),
                None if rest.is_object() => self.check(rest, member, &at, faults),
                None if schema["properties"].is_object() => {
                    faults.push(format!("{at} is not in the document"));
                }
                None => {}
            }
        }
    }

    fn is_of_type(&self, types: &Value, value: &Value) -> bool {
        let is = |name: &str| match name {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{other} is no type of JSON Schema"),
        };
        match types {
            Value::Array(types) => types.iter().any(|it| is(it.as_str().expect("a type"))),
            it => is(it.as_str().expect("a type")),
        }
    }
}

#[test]
fn a_value_that_is_not_as_the_schema_says_is_found_out() {
    let document = serde_json::json!({
        "it": {
            "type": "object", "required": ["a"],
            "properties": { "a": { "type": ["string", "null"] }, "b": { "type": "array", "items": { "enum": [1] } } },
        },
    });
    let schema = serde_json::json!({ "$ref": "#/it" });
    let check = |value: Value, expected: &[&str]| {
        assert_eq!(
            Schemas::of(&document).faults(&schema, &value, "it"),
            expected
        );
    };
    check(serde_json::json!({ "a": null, "b": [1] }), &[]);
    check(serde_json::json!({ "b": [] }), &["it: a is missing"]);
    check(
        serde_json::json!({ "a": 1 }),
        &["it.a: 1 is not of type [\"string\",\"null\"]"],
    );
    check(
        serde_json::json!({ "a": "", "c": 1 }),
        &["it.c is not in the document"],
    );
    check(
        serde_json::json!({ "a": "", "b": [2] }),
        &["it.b[0]: 2 is none of [Number(1)]"],
    );
}

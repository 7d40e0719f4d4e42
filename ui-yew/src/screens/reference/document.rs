//! An OpenAPI document, as far as this console reads one. Pure.

use serde_json::{Map, Value};

/// The methods of operations, in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// How deep an example goes: what holds itself must end somewhere.
const EXAMPLE_DEPTH: usize = 6;

/// The document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// Its version, as the service counts them.
    pub(crate) version: String,
    /// What it says about the whole.
    pub(crate) description: String,
    /// The operations in groups.
    pub(crate) tags: Vec<Tag>,
    schemas: Map<String, Value>,
}

/// A group of operations.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tag {
    /// What it is called.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) description: String,
    /// Its operations.
    pub(crate) operations: Vec<Operation>,
}

/// A method of a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    /// Its id.
    pub(crate) id: String,
    /// `GET`, `POST` and so on.
    pub(crate) method: String,
    /// The path, with the names of its parameters in braces.
    pub(crate) path: String,
    /// What it does, in a few words.
    pub(crate) summary: String,
    /// More about it.
    pub(crate) description: String,
    /// Whether anybody may use it.
    pub(crate) is_public: bool,
    /// What it takes in its path, query and headers.
    pub(crate) parameters: Vec<Parameter>,
    /// What it takes as its body.
    pub(crate) body: Option<Body>,
    /// What it answers.
    pub(crate) answers: Vec<Answer>,
}

/// A part of a path, a query or a header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: String,
    /// `path`, `query` or `header`.
    pub(crate) place: String,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What it says.
    pub(crate) description: String,
    /// What it looks like.
    pub(crate) schema: Value,
}

/// A request's body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Body {
    /// Its media type.
    pub(crate) media_type: String,
    /// What it looks like.
    pub(crate) schema: Value,
    /// One that the document gives as an example.
    pub(crate) example: Option<Value>,
}

/// What an operation may answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: String,
    /// When, and what it says.
    pub(crate) description: String,
    /// Its media type and what it looks like, where there is a body.
    pub(crate) body: Option<(String, Value)>,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// An object with these fields.
    Object(Vec<Field>),
    /// One of these.
    Choice(Vec<Value>),
    /// A list of these.
    List(Value),
    /// Something without parts.
    Plain,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What it says.
    pub(crate) description: String,
    /// What it looks like.
    pub(crate) schema: Value,
}

// === impl Document ===

impl Document {
    /// Reads a document; parts that are not as expected are passed over.
    pub(crate) fn read(document: &Value) -> Self {
        let text = |pointer: &str| text(document.pointer(pointer));
        let mut operations = operations(document);
        let tags = list(&document["tags"]).iter().map(|tag| {
            let name = self::text(tag.get("name"));
            let of_tag = operations.extract_if(.., |(of, _)| *of == name);
            Tag {
                operations: of_tag.map(|(_, operation)| operation).collect(),
                description: self::text(tag.get("description")),
                name,
            }
        });
        let mut tags: Vec<Tag> = tags.collect();
        if !operations.is_empty() {
            tags.push(Tag {
                name: "other".to_owned(),
                description: String::new(),
                operations: operations.into_iter().map(|(_, it)| it).collect(),
            });
        }
        tags.retain(|tag| !tag.operations.is_empty());
        Self {
            version: text("/info/version"),
            description: text("/info/description"),
            tags,
            schemas: document
                .pointer("/components/schemas")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// The schema behind a reference, or the schema itself.
    pub(crate) fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // A chain of references is as long as there are schemas, at most.
        for _ in 0..=self.schemas.len() {
            match reference(schema).and_then(|name| self.schemas.get(name)) {
                Some(next) => schema = next,
                None => return schema,
            }
        }
        schema
    }

    /// What a value of this schema may be.
    pub(crate) fn shape(&self, schema: &Value) -> Shape {
        let schema = self.resolved(schema);
        for word in ["oneOf", "anyOf"] {
            let choices: Vec<Value> = list(&schema[word])
                .iter()
                .filter(|it| it["type"] != "null")
                .cloned()
                .collect();
            match choices.as_slice() {
                [] => {}
                [only] => return self.shape(only),
                _ => return Shape::Choice(choices),
            }
        }
        let mut fields = Vec::new();
        for part in list(&schema["allOf"]) {
            if let Shape::Object(more) = self.shape(part) {
                fields.extend(more);
            }
        }
        fields.extend(own_fields(schema));
        if !fields.is_empty() {
            return Shape::Object(fields);
        }
        match schema.get("items") {
            Some(items) => Shape::List(items.clone()),
            None => Shape::Plain,
        }
    }

    /// What to call a schema, in a few words.
    pub(crate) fn kind(&self, schema: &Value) -> String {
        if let Some(name) = reference(schema) {
            return name.to_owned();
        }
        for word in ["oneOf", "anyOf", "allOf"] {
            let parts = list(&schema[word]);
            if !parts.is_empty() {
                let kinds: Vec<String> = parts.iter().map(|it| self.kind(it)).collect();
                return match kinds.len() {
                    0..=4 => kinds.join(" or "),
                    many => format!("one of {many}"),
                };
            }
        }
        if let Some(items) = schema.get("items") {
            return format!("list of {}", self.kind(items));
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(plain).collect();
            return values.join(" | ");
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().map(plain).collect::<Vec<_>>().join(" or "),
            Value::String(kind) => kind.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "any".to_owned(),
        };
        match schema["format"].as_str() {
            Some(format) => format!("{kinds} ({format})"),
            None => kinds,
        }
    }

    /// What tells one choice from the others: its tag, its name, or what it is.
    pub(crate) fn choice_name(&self, schema: &Value) -> String {
        if let Some(name) = reference(schema) {
            return name.to_owned();
        }
        let properties = schema["properties"].as_object();
        let only = properties.filter(|it| it.len() == 1);
        let tag = properties.into_iter().flatten().find_map(|(_, field)| {
            let values = field["enum"].as_array().filter(|it| it.len() == 1)?;
            values[0].as_str()
        });
        tag.or_else(|| only.and_then(|it| it.keys().next().map(String::as_str)))
            .or_else(|| schema["title"].as_str())
            .map_or_else(|| self.kind(schema), str::to_owned)
    }

    /// A value of this schema, as small as it may be.
    pub(crate) fn example(&self, schema: &Value) -> Value {
        self.example_within(schema, EXAMPLE_DEPTH)
    }

    fn example_within(&self, schema: &Value, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else {
            return Value::Null;
        };
        let schema = self.resolved(schema);
        if let Some(example) = schema.get("example") {
            return example.clone();
        }
        if let Some(value) = list(&schema["enum"]).first() {
            return value.clone();
        }
        match self.shape(schema) {
            Shape::Object(fields) => {
                let fields = fields.into_iter().filter(|field| field.required);
                let example = |field: Field| {
                    let value = self.example_within(&field.schema, depth);
                    (field.name, value)
                };
                Value::Object(fields.map(example).collect())
            }
            Shape::Choice(choices) => choices
                .first()
                .map_or(Value::Null, |first| self.example_within(first, depth)),
            Shape::List(_) => Value::Array(Vec::new()),
            Shape::Plain => plain_example(schema),
        }
    }
}

// === impl Operation ===

impl Operation {
    /// Whether it may be tried here: it only reads, and its answer ends.
    pub(crate) fn may_be_tried(&self) -> bool {
        let streams = self.answers.iter().any(|answer| {
            let body = answer.body.as_ref();
            body.is_some_and(|(media_type, _)| media_type == "text/event-stream")
        });
        self.method == "GET" && !streams
    }

    /// Whether one of its texts holds what is searched for, in lower case.
    pub(crate) fn matches(&self, search: &str) -> bool {
        let texts = [
            &self.id,
            &self.method,
            &self.path,
            &self.summary,
            &self.description,
        ];
        let names = self.parameters.iter().map(|it| &it.name);
        search.split_whitespace().all(|word| {
            texts
                .into_iter()
                .chain(names.clone())
                .any(|text| text.to_lowercase().contains(word))
        })
    }
}

fn operations(document: &Value) -> Vec<(String, Operation)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let of_path = |(path, item): (&String, &Value)| {
        let path = path.clone();
        let item = item.clone();
        METHODS.into_iter().filter_map(move |method| {
            let it = item.get(method)?;
            let tag = text(list(&it["tags"]).first());
            Some((tag, operation(method, &path, it)))
        })
    };
    paths.flat_map(of_path).collect()
}

fn operation(method: &str, path: &str, it: &Value) -> Operation {
    let parameter = |it: &Value| Parameter {
        name: text(it.get("name")),
        place: text(it.get("in")),
        required: it["required"] == true,
        description: text(it.get("description")),
        schema: it["schema"].clone(),
    };
    let answer = |(status, it): (&String, &Value)| Answer {
        status: status.clone(),
        description: text(it.get("description")),
        body: content(it).map(|(media_type, it)| (media_type.clone(), it["schema"].clone())),
    };
    let body = content(&it["requestBody"]).map(|(media_type, it)| Body {
        media_type: media_type.clone(),
        schema: it["schema"].clone(),
        example: it.get("example").cloned(),
    });
    let answers = it["responses"].as_object().into_iter().flatten();
    Operation {
        id: text(it.get("operationId")),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(it.get("summary")),
        description: text(it.get("description")),
        is_public: list(&it["security"]).is_empty(),
        parameters: list(&it["parameters"]).iter().map(parameter).collect(),
        body,
        answers: answers.map(answer).collect(),
    }
}

/// The first media type of a body, with what is said of it.
fn content(it: &Value) -> Option<(&String, &Value)> {
    it["content"].as_object()?.iter().next()
}

fn own_fields(schema: &Value) -> Vec<Field> {
    let required = list(&schema["required"]);
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, schema): (&String, &Value)| Field {
        required: required.iter().any(|it| it == name),
        description: text(schema.get("description")),
        name: name.clone(),
        schema: schema.clone(),
    };
    properties.map(field).collect()
}

/// The name that a schema refers to.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn plain_example(schema: &Value) -> Value {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        Value::String(kind) => Some(kind.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    match kind {
        Some("string") => Value::from("…"),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::from(false),
        Some("object") => Value::Object(Map::new()),
        Some("array") => Value::Array(Vec::new()),
        Some(_) | None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        Document::read(&json!({
            "info": {"version": "1", "description": "An API."},
            "tags": [{"name": "access", "description": "Keys."}, {"name": "unused"}],
            "paths": {"/keys/{id}": {
                "parameters": [],
                "get": {
                    "tags": ["access"], "operationId": "get_key", "summary": "Read a key", "security": [{"token": []}],
                    "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
                    "responses": {"200": {"description": "It.", "content": {"application/json": {"schema": {"$ref": "#/x/Key"}}}}},
                },
                "delete": {"operationId": "delete_key"},
            }},
            "components": {"schemas": {
                "Key": {
                    "type": "object", "required": ["id", "owner"],
                    "properties": {"id": {"type": "string"}, "owner": {"$ref": "#/x/Owner"}, "parent": {"$ref": "#/x/Key"}},
                },
                "Owner": {"oneOf": [
                    {"type": "object", "required": ["user"], "properties": {"user": {"type": ["string", "null"]}}},
                    {"type": "string", "enum": ["everyone"]},
                ]},
                "Itself": {"allOf": [{"$ref": "#/x/Key"}, {"type": "object", "required": ["me"], "properties": {"me": {"$ref": "#/x/Itself"}}}]},
            }},
        }))
    }

    #[test]
    fn operations_are_read_by_their_tags() {
        let document = document();
        let names: Vec<_> = document.tags.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["access", "other"]);
        let get = &document.tags[0].operations[0];
        assert_eq!((get.method.as_str(), get.is_public), ("GET", false));
        assert!(get.may_be_tried() && !document.tags[1].operations[0].may_be_tried());
        assert!(get.matches("read keys") && !get.matches("delete"));
    }

    #[test]
    fn schemas_have_shapes_and_names() {
        let document = document();
        let key = json!({"$ref": "#/x/Key"});
        let Shape::Object(fields) = document.shape(&key) else {
            panic!("an object");
        };
        let told: Vec<_> = fields
            .iter()
            .map(|it| (it.name.as_str(), it.required, document.kind(&it.schema)))
            .collect();
        let expected = [
            ("id", true, "string".to_owned()),
            ("owner", true, "Owner".to_owned()),
            ("parent", false, "Key".to_owned()),
        ];
        assert_eq!(told, expected);
        let Shape::Choice(choices) = document.shape(&json!({"$ref": "#/x/Owner"})) else {
            panic!("a choice");
        };
        let names: Vec<_> = choices.iter().map(|it| document.choice_name(it)).collect();
        assert_eq!(names, ["user", "everyone"]);
        let nullable = json!({"oneOf": [{"type": "null"}, {"$ref": "#/x/Key"}]});
        assert!(matches!(document.shape(&nullable), Shape::Object(_)));
        assert_eq!(document.kind(&nullable), "null or Key");
        let many = json!({"type": "array", "items": {"type": "string", "format": "date-time"}});
        assert_eq!(document.kind(&many), "list of string (date-time)");
    }

    #[test]
    fn an_example_holds_what_must_be_there_and_ends_even_where_a_schema_holds_itself() {
        let document = document();
        let key = json!({"id": "…", "owner": {"user": "…"}});
        assert_eq!(document.example(&json!({"$ref": "#/x/Key"})), key);
        let itself = document.example(&json!({"$ref": "#/x/Itself"}));
        assert_eq!(itself["me"]["me"]["id"], "…");
    }
}

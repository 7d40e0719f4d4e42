//! What a value looks like, opened part by part.

use std::rc::Rc;

use serde_json::Value;
use yew::prelude::*;

use super::document::{Document, Field, Shape};
use crate::widgets::label;

/// Properties of [`Schema`] and what it opens.
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The document that it is part of.
    pub(super) document: Rc<Document>,
    /// The schema.
    pub(super) schema: Value,
}

/// The fields of an object, the choices, or what a list holds.
#[component]
pub(super) fn Schema(props: &Props) -> Html {
    let Props { document, schema } = props;
    let described = document.resolved(schema)["description"].as_str();
    match document.shape(schema) {
        Shape::Object(fields) => html!(
            <ul class="sl-schema">{ for fields.iter().map(|it| field(document, it)) }</ul>
        ),
        Shape::Choice(choices) => {
            let choice = |it: &Value| html!(<li key={document.choice_name(it)}>{ part(document, it, &document.choice_name(it)) }</li>);
            html!(
                <>
                    <p class="sl-quiet">{ "One of:" }</p>
                    <ul class="sl-schema">{ for choices.iter().map(choice) }</ul>
                </>
            )
        }
        Shape::List(items) => html!(
            <ul class="sl-schema"><li>{ "A list of " }{ part(document, &items, &document.kind(&items)) }</li></ul>
        ),
        Shape::Plain => html!(
            <p class="sl-quiet"><code class="sl-code">{ document.kind(document.resolved(schema)) }</code>{ " " }{ label::marked(described.unwrap_or_default()) }</p>
        ),
    }
}

fn field(document: &Rc<Document>, field: &Field) -> Html {
    let described = match field.description.as_str() {
        "" => document.resolved(&field.schema)["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        own => own.to_owned(),
    };
    html!(
        <li key={field.name.clone()}>
            <code class="sl-schema-name">{ &field.name }</code>
            if field.required {
                <span class="sl-required" title="It must be there">{ "*" }</span>
            }
            { " " }{ part(document, &field.schema, &document.kind(&field.schema)) }
            <span class="sl-quiet">{ " " }{ label::marked(&described) }</span>
        </li>
    )
}

/// What it is called; where it has parts, a button that shows them.
fn part(document: &Rc<Document>, schema: &Value, name: &str) -> Html {
    let has_parts = |schema: &Value| match document.shape(schema) {
        Shape::Object(_) | Shape::Choice(_) => true,
        Shape::List(items) => !matches!(document.shape(&items), Shape::Plain),
        Shape::Plain => false,
    };
    if has_parts(schema) {
        html!(<Opened document={Rc::clone(document)} schema={schema.clone()} name={name.to_owned()} />)
    } else {
        html!(<span class="sl-kind-name">{ name.to_owned() }</span>)
    }
}

/// Properties of [`Opened`].
#[derive(Clone, PartialEq, Properties)]
struct OpenedProps {
    document: Rc<Document>,
    schema: Value,
    name: AttrValue,
}

/// Parts that are drawn when they are wanted: schemas may hold themselves.
#[component]
fn Opened(props: &OpenedProps) -> Html {
    let open = use_state_eq(|| false);
    let toggle = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    html!(
        <>
            <button class="sl-link sl-opens" type="button" aria-expanded={open.to_string()} onclick={toggle}>
                { &props.name }<span aria-hidden="true">{ if *open { " −" } else { " +" } }</span>
            </button>
            if *open {
                <Schema document={Rc::clone(&props.document)} schema={props.schema.clone()} />
            }
        </>
    )
}

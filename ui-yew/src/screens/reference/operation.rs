//! One operation: what it takes, what it answers, the line for a shell, and for those that only read a way to try them.

use std::rc::Rc;

use events_schema::api::problem::Problem;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::curl::{Values, is_complete, line, target};
use super::document::{Answer, Document, Operation, Parameter};
use super::schema::Schema;
use crate::api::{Answered, Failure, use_client};
use crate::browser;
use crate::format;
use crate::widgets::button::{Button, Variant};
use crate::widgets::copy::CopyButton;
use crate::widgets::label;

/// How much of an answer is shown, in characters.
const SHOWN: usize = 100_000;

/// Properties of [`Details`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The document that it is part of.
    pub(super) document: Rc<Document>,
    /// The operation.
    pub(super) operation: Operation,
}

/// What came of a try.
#[derive(Clone, PartialEq)]
enum Tried {
    NotYet,
    UnderWay,
    Answered(Rc<Answered>),
    Failed(Failure),
}

/// All that is known of an operation.
#[component]
pub(super) fn Details(props: &Props) -> Html {
    let Props {
        document,
        operation,
    } = props;
    let values = use_state_eq(Values::new);
    let curl = line(document, operation, &values, &browser::origin());
    let schema = |schema: &serde_json::Value| html!(<Schema document={Rc::clone(document)} schema={schema.clone()} />);
    html!(
        <div class="sl-operation">
            if !operation.description.is_empty() {
                <p>{ label::marked(&operation.description) }</p>
            }
            if operation.is_public {
                <p class="sl-quiet">{ "Anybody may ask: neither a session nor a token is needed." }</p>
            }
            if !operation.parameters.is_empty() {
                <h4>{ "Parameters" }</h4>
                { parameters(document, operation, &values) }
            }
            if let Some(body) = &operation.body {
                <h4>{ "Body " }{ label::code(&body.media_type) }</h4>
                { schema(&body.schema) }
            }
            <h4>{ "Answers" }</h4>
            <ul class="sl-answers">{ for operation.answers.iter().map(|it| answer(document, it)) }</ul>
            <div class="sl-curl-head">
                <h4>{ "From a shell" }</h4>
                <CopyButton text={curl.clone()} label="the line" />
            </div>
            <pre class="sl-snippet"><code>{ curl }</code></pre>
            if operation.may_be_tried() {
                <TryIt operation={operation.clone()} values={(*values).clone()} />
            } else if operation.method != "GET" {
                <p class="sl-quiet">{ "It changes something, so it is not offered to be tried here." }</p>
            }
        </div>
    )
}

/// What it takes in its path and query; where it only reads, with fields to fill in.
fn parameters(
    document: &Rc<Document>,
    operation: &Operation,
    values: &UseStateHandle<Values>,
) -> Html {
    let field = |it: &Parameter| {
        let oninput = {
            let (values, name) = (values.clone(), it.name.clone());
            Callback::from(move |event: InputEvent| {
                let value = event.target_unchecked_into::<HtmlInputElement>().value();
                let mut next = (*values).clone();
                next.insert(name.clone(), value);
                values.set(next);
            })
        };
        let value = values.get(&it.name).cloned().unwrap_or_default();
        html!(
            <span class="pf-v6-c-form-control">
                <input type="text" name={it.name.clone()} aria-label={it.name.clone()} {value} {oninput}
                    autocomplete="off" spellcheck="false" />
            </span>
        )
    };
    let row = |it: &Parameter| {
        html!(
            <tr key={it.name.clone()}>
                <th scope="row">
                    { &it.name }
                    if it.required {
                        <span class="sl-required" title="It must be there">{ "*" }</span>
                    }
                </th>
                <td>{ &it.place }{ ", " }{ document.kind(document.resolved(&it.schema)) }</td>
                <td>{ label::marked(&it.description) }</td>
                if operation.may_be_tried() {
                    <td class="sl-parameter-value">{ field(it) }</td>
                }
            </tr>
        )
    };
    html!(
        <table class="sl-diff sl-parameters" aria-label="Parameters">
            <tbody>{ for operation.parameters.iter().map(row) }</tbody>
        </table>
    )
}

fn answer(document: &Rc<Document>, answer: &Answer) -> Html {
    let is_problem = answer
        .body
        .as_ref()
        .is_some_and(|(media_type, _)| media_type.contains("problem"));
    let color = match answer.status.chars().next() {
        Some('2') => Color::Green,
        Some('4') => Color::Orange,
        _ => Color::Red,
    };
    html!(
        <li key={answer.status.clone()}>
            <Label label={answer.status.clone()} {color} compact={true} />
            { " " }{ label::marked(&answer.description) }
            if let Some((media_type, schema)) = &answer.body {
                { " " }{ label::code(media_type) }
                if !is_problem {
                    <Schema document={Rc::clone(document)} schema={schema.clone()} />
                }
            }
        </li>
    )
}

/// Properties of [`TryIt`].
#[derive(Clone, PartialEq, Properties)]
struct TryProps {
    operation: Operation,
    values: Values,
}

/// Sends the request with the session, and shows what is answered.
#[component]
fn TryIt(props: &TryProps) -> Html {
    let client = use_client();
    let tried = use_state_eq(|| Tried::NotYet);
    let path = target(&props.operation, &props.values);
    let ready = is_complete(&props.operation, &props.values);
    let onsubmit = {
        let tried = tried.setter();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let (client, tried, path) = (client.clone(), tried.clone(), path.clone());
            tried.set(Tried::UnderWay);
            spawn_local(async move {
                tried.set(match client.ask(&path).await {
                    Ok(answered) => Tried::Answered(Rc::new(answered)),
                    Err(failure) => Tried::Failed(failure),
                });
            });
        })
    };
    let busy = *tried == Tried::UnderWay;
    html!(
        <form class="sl-try" {onsubmit}>
            <Button submit={true} variant={Variant::Secondary} icon={Icon::Play} label="Try it" {busy} disabled={!ready} />
            if !ready {
                <span class="sl-quiet">{ "Fill in what is marked with * first." }</span>
            }
            <div class="sl-try-answer" aria-live="polite">
                { match &*tried {
                    Tried::NotYet | Tried::UnderWay => Html::default(),
                    Tried::Failed(failure) => html!(<p class="sl-quiet">{ failure.to_string() }</p>),
                    Tried::Answered(answered) => answered_with(answered),
                } }
            </div>
        </form>
    )
}

fn answered_with(answered: &Answered) -> Html {
    let color = match answered.status {
        200..300 => Color::Green,
        400..500 => Color::Orange,
        _ => Color::Red,
    };
    let problem: Option<Problem> = serde_json::from_str(&answered.body).ok();
    let cut: String = answered.body.chars().take(SHOWN).collect();
    let is_cut = cut.len() < answered.body.len();
    html!(
        <>
            <p class="sl-labels">
                <Label label={format!("HTTP {}", answered.status)} {color} />
                <span class="sl-quiet">{ format!("{} after {}", format::bytes(answered.body.len() as u64), format::latency(answered.took_us)) }</span>
                if let Some(problem) = problem {
                    <span>{ problem.title }</span>
                }
            </p>
            <dl class="sl-facts">
                { for answered.headers.iter().map(|(name, value)| html!(<><dt>{ *name }</dt><dd class="sl-mono">{ value }</dd></>)) }
            </dl>
            <pre class="sl-snippet sl-answer-body" tabindex="0"><code>{ cut }</code></pre>
            if is_cut {
                <p class="sl-quiet">{ "The answer goes on; only its beginning is shown." }</p>
            }
        </>
    )
}

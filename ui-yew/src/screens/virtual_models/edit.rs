//! Makes a virtual model, or lets one choose differently.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::VirtualModelItem;
use events_schema::events::RoutingStrategy;
use patternfly_yew::prelude::*;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::draft::{RoutingDraft, TargetDraft};
use super::told;
use crate::command::use_command;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{Chooser, List, Offer, Source};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{Check, Choice, Frame, SelectField, TextArea, TextField, input_id};
use crate::widgets::reference;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["name", "routing", "why"];

/// What can be a target.
const MODELS: Source = Source {
    fixed: &[],
    lists: &[List::Models],
};

/// Properties of [`EditVirtualModel`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The one to change; `None`: a new one.
    pub(super) model: Option<Rc<VirtualModelItem>>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn EditVirtualModel(props: &Props) -> Html {
    let draft = use_draft(|| {
        props
            .model
            .as_deref()
            .map_or_else(RoutingDraft::new, RoutingDraft::of)
    });
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let existing = props.model.as_ref().map(|model| model.id);
    let command = move |draft: &RoutingDraft| {
        let routing = draft.routing()?;
        let name = draft.name.trim().to_owned();
        match existing {
            Some(virtual_model) => Some(NewCommand::ChangeVirtualModelRouting {
                virtual_model,
                routing,
            }),
            None if name.is_empty() => None,
            None => Some(NewCommand::CreateVirtualModel { name, routing }),
        }
    };
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| {
            if let Some(command) = command(&draft) {
                send(command, &why);
            }
        })
    };
    let (title, action) = match &props.model {
        Some(model) => (format!("Change the routing of {}", model.name), "Save"),
        None => ("Create a virtual model".to_owned(), "Create virtual model"),
    };
    let add = draft.edit(|draft: &mut RoutingDraft, _: MouseEvent| draft.add());
    let rejection = commander.rejection;
    html!(
        <FormDialog {title} {action} wide={true} busy={commander.busy} complete={command(&draft).is_some()}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            if props.model.is_none() {
                <TextField name="name" label="Name" required={true} placeholder="chat"
                    hint="What callers ask for." value={draft.name.clone()}
                    onchange={draft.edit(|draft, text| draft.name = text)} rejection={rejection.clone()} />
            }
            <SelectField name="strategy" label="Strategy" value={strategy_value(draft.strategy)} choices={strategies()}
                hint={strategy_hint(draft.strategy)} onchange={draft.edit(|draft, value: String| draft.strategy = strategy_of(&value))} />
            <Frame name="routing" label="Targets" required={true} rejection={rejection.clone()}
                hint="When a target answers with one of its fallback statuses, or not at all, another is tried.">
                <div class="sl-target-drafts">
                    { for draft.targets.iter().enumerate().map(|(index, target)| target_row(&draft, index, target)) }
                </div>
                <Button variant={Variant::Link} icon={Icon::PlusCircle} label="Add target" onclick={add} />
            </Frame>
            { whole(&draft) }
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

const fn strategy_hint(strategy: RoutingStrategy) -> &'static str {
    match strategy {
        RoutingStrategy::WeightBased => {
            "Requests are spread by chance, in proportion to the weights."
        }
        RoutingStrategy::LatencyBased => {
            "One of the fastest targets, by time per output token over their last 20 minutes or 100 answers."
        }
        RoutingStrategy::PriorityBased => {
            "The target with the smallest number, as long as it is well."
        }
    }
}

fn strategies() -> Vec<Choice> {
    let choice = |strategy| Choice {
        value: strategy_value(strategy),
        label: told::strategy(strategy).into(),
    };
    RoutingStrategy::ALL.map(choice).to_vec()
}

const fn strategy_value(strategy: RoutingStrategy) -> AttrValue {
    AttrValue::Static(strategy.as_str())
}

fn strategy_of(value: &str) -> RoutingStrategy {
    let mut all = RoutingStrategy::ALL.into_iter();
    all.find(|strategy| strategy.as_str() == value)
        .unwrap_or(RoutingStrategy::WeightBased)
}

/// One small input with its label above.
fn small(
    class: &'static str,
    label: impl Into<AttrValue>,
    name: String,
    value: &str,
    placeholder: &'static str,
    onchange: &Callback<String>,
) -> Html {
    let typed = |event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value();
    html!(
        <label {class}>
            <span>{ label.into() }</span>
            <span class="pf-v6-c-form-control">
                <input type="text" {name} value={value.to_owned()} {placeholder} autocomplete="off" spellcheck="false"
                    oninput={onchange.reform(typed)} />
            </span>
        </label>
    )
}

/// What holds for all targets together.
fn whole(draft: &Draft<RoutingDraft>) -> Html {
    let edit = |change: fn(&mut RoutingDraft, String)| draft.edit(change);
    let is_used = [
        &draft.ttl_seconds,
        &draft.session_headers,
        &draft.session_metadata,
        &draft.deadline_ms,
        &draft.hedge_after_ms,
    ]
    .into_iter()
    .any(|text| !text.is_empty());
    html!(
        <details class="sl-more" open={is_used}>
            <summary>{ "Sessions, deadline and hedging" }</summary>
            <div class="sl-target-more">
                { small("", "Session lasts (s)", "ttl_seconds".to_owned(), &draft.ttl_seconds, "3600",
                    &edit(|draft, text| draft.ttl_seconds = text)) }
                { small("", "Sessions by headers", "session_headers".to_owned(), &draft.session_headers, "x-user-id",
                    &edit(|draft, text| draft.session_headers = text)) }
                { small("", "Sessions by metadata", "session_metadata".to_owned(), &draft.session_metadata, "conversation",
                    &edit(|draft, text| draft.session_metadata = text)) }
                { small("", "All attempts within (ms)", "deadline_ms".to_owned(), &draft.deadline_ms, "no limit",
                    &edit(|draft, text| draft.deadline_ms = text)) }
                { small("", "Another beside it after (ms)", "hedge_after_ms".to_owned(), &draft.hedge_after_ms, "never",
                    &edit(|draft, text| draft.hedge_after_ms = text)) }
            </div>
        </details>
    )
}

/// One target's inputs: a row, and what few need below it.
fn target_row(draft: &Draft<RoutingDraft>, index: usize, target: &TargetDraft) -> Html {
    let edit = |change: fn(&mut TargetDraft, String)| {
        draft.edit(move |draft: &mut RoutingDraft, text: String| {
            if let Some(target) = draft.targets.get_mut(index) {
                change(target, text);
            }
        })
    };
    let named = |field: &str| format!("target-{index}-{field}");
    let candidate = draft.edit(move |draft: &mut RoutingDraft, checked| {
        if let Some(target) = draft.targets.get_mut(index) {
            target.candidate = checked;
        }
    });
    let remove = draft.edit(move |draft: &mut RoutingDraft, _: MouseEvent| draft.remove(index));
    let part = match draft.strategy {
        RoutingStrategy::WeightBased => small(
            "sl-target-weight",
            format!("Weight ({} %)", draft.percent(index)),
            named("weight"),
            &target.weight,
            "1",
            &edit(|target, text| target.weight = text),
        ),
        RoutingStrategy::PriorityBased => small(
            "sl-target-weight",
            "Priority (0 first)",
            named("priority"),
            &target.priority,
            "0",
            &edit(|target, text| target.priority = text),
        ),
        RoutingStrategy::LatencyBased => html!(<span class="sl-target-weight"></span>),
    };
    html!(
        <div class="sl-target-draft" key={index}>
            <div class="sl-target-model">
                <label for={input_id(&named("model"))}><span>{ "Model" }</span></label>
                <Chooser name={named("model")} label={format!("Model of target {}", index + 1)} source={MODELS}
                    placeholder="Search models"
                    value={if target.model.is_empty() { AttrValue::default() } else { reference::of("model", &target.model) }}
                    onchoose={edit(|target, id| target.model = id).reform(|model: Option<Offer>| {
                        model.map(|it| reference::id(&it.value).to_owned()).unwrap_or_default()
                    })} />
            </div>
            { part }
            { small("sl-target-statuses", "Fallback statuses", named("statuses"), &target.statuses,
                "401, 403, 404, 429, 500, 502, 503", &edit(|target, text| target.statuses = text)) }
            <Check name={named("candidate")} label="Others may fall back to it"
                checked={target.candidate} onchange={candidate} />
            <Button variant={Variant::Plain} icon={Icon::MinusCircle} aria_label="Remove target"
                disabled={draft.targets.len() == 1} onclick={remove} />
            { target_more(index, target, &edit) }
        </div>
    )
}

/// What few targets need.
fn target_more(
    index: usize,
    target: &TargetDraft,
    edit: &impl Fn(fn(&mut TargetDraft, String)) -> Callback<String>,
) -> Html {
    let named = |field: &str| format!("target-{index}-{field}");
    let area = |field: &str,
                label: &'static str,
                value: &str,
                placeholder: &'static str,
                onchange| {
        html!(<TextArea name={named(field)} {label} value={value.to_owned()} {placeholder} rows={2} {onchange} />)
    };
    html!(
        <details class="sl-more sl-target-details" open={target.has_more()}>
            <summary>{ "Retries, cutoffs, parameters, headers, metadata" }</summary>
            <div class="sl-target-more">
                { small("", "Tried again (times)", named("retries"), &target.retries, "never",
                    &edit(|target, text| target.retries = text)) }
                { small("", "After (ms)", named("retry-delay"), &target.retry_delay_ms, "100",
                    &edit(|target, text| target.retry_delay_ms = text)) }
                { small("", "On statuses", named("retry-statuses"), &target.retry_statuses, "429, 500, 502, 503",
                    &edit(|target, text| target.retry_statuses = text)) }
                { small("", "First token within (ms)", named("first-token"), &target.first_token_ms, "any time",
                    &edit(|target, text| target.first_token_ms = text)) }
                { small("", "Each token within (ms)", named("per-token"), &target.per_token_ms, "any time",
                    &edit(|target, text| target.per_token_ms = text)) }
                { small("", "Leave out headers", named("headers-remove"), &target.headers_remove, "x-internal-debug",
                    &edit(|target, text| target.headers_remove = text)) }
            </div>
            <div class="sl-target-more">
                { area("params", "Parameters (JSON)", &target.params, "{\"temperature\": 0.5}",
                    edit(|target, text| target.params = text)) }
                { area("headers-set", "Set headers, one a line", &target.headers_set, "x-region: us-east-1",
                    edit(|target, text| target.headers_set = text)) }
                { area("metadata", "Only requests with metadata", &target.metadata, "tier=gold",
                    edit(|target, text| target.metadata = text)) }
            </div>
        </details>
    )
}

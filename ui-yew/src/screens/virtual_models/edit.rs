//! Makes a virtual model, or lets one choose differently.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::VirtualModelItem;
use patternfly_yew::prelude::*;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::draft::{RoutingDraft, TargetDraft};
use crate::command::use_command;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{Chooser, List, Offer, Source};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{Check, Frame, TextField, input_id};
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
            <Frame name="routing" label="Targets" required={true} rejection={rejection.clone()}
                hint="Requests are spread by weight. When a target answers with one of its fallback statuses, another is tried.">
                <div class="sl-target-drafts">
                    { for draft.targets.iter().enumerate().map(|(index, target)| target_row(&draft, index, target)) }
                </div>
                <Button variant={Variant::Link} icon={Icon::PlusCircle} label="Add target" onclick={add} />
            </Frame>
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// One target's inputs, in one row.
fn target_row(draft: &Draft<RoutingDraft>, index: usize, target: &TargetDraft) -> Html {
    let edit = |change: fn(&mut TargetDraft, String)| {
        draft.edit(move |draft: &mut RoutingDraft, text: String| {
            if let Some(target) = draft.targets.get_mut(index) {
                change(target, text);
            }
        })
    };
    let typed = |event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value();
    let weight = edit(|target, text| target.weight = text).reform(typed);
    let statuses = edit(|target, text| target.statuses = text).reform(typed);
    let candidate = draft.edit(move |draft: &mut RoutingDraft, checked| {
        if let Some(target) = draft.targets.get_mut(index) {
            target.candidate = checked;
        }
    });
    let remove = draft.edit(move |draft: &mut RoutingDraft, _: MouseEvent| draft.remove(index));
    let name = format!("target-{index}-model");
    html!(
        <div class="sl-target-draft" key={index}>
            <div class="sl-target-model">
                <label for={input_id(&name)}><span>{ "Model" }</span></label>
                <Chooser {name} label={format!("Model of target {}", index + 1)} source={MODELS} placeholder="Search models"
                    value={if target.model.is_empty() { AttrValue::default() } else { reference::of("model", &target.model) }}
                    onchoose={edit(|target, id| target.model = id).reform(|model: Option<Offer>| {
                        model.map(|it| reference::id(&it.value).to_owned()).unwrap_or_default()
                    })} />
            </div>
            <label class="sl-target-weight">
                <span>{ format!("Weight ({} %)", draft.percent(index)) }</span>
                <span class="pf-v6-c-form-control">
                    <input type="number" min="0" name={format!("target-{index}-weight")} value={target.weight.clone()} oninput={weight} />
                </span>
            </label>
            <label class="sl-target-statuses">
                <span>{ "Fallback statuses" }</span>
                <span class="pf-v6-c-form-control">
                    <input type="text" name={format!("target-{index}-statuses")} value={target.statuses.clone()}
                        placeholder="401, 403, 404, 429, 500, 502, 503" oninput={statuses} />
                </span>
            </label>
            <Check name={format!("target-{index}-candidate")} label="Others may fall back to it"
                checked={target.candidate} onchange={candidate} />
            <Button variant={Variant::Plain} icon={Icon::MinusCircle} aria_label="Remove target"
                disabled={draft.targets.len() == 1} onclick={remove} />
        </div>
    )
}

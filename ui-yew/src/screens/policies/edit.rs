//! Makes a rate-limit policy, or changes what it limits.

use std::collections::BTreeSet;
use std::rc::Rc;

use events_schema::api::commands::CommandAnswer;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{LimitMode, LimitUnit, LimitWindow};
use yew::prelude::*;

use super::draft::PolicyDraft;
use crate::api::Rejection;
use crate::command::use_command;
use crate::widgets::chooser::{ChoicesField, List, OPENED, Source};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{Check, Choice, Frame, SelectField, TextArea, TextField};
use crate::widgets::reference;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &[
    "name",
    "order",
    "rule.limit",
    "rule.subjects",
    "rule.models",
    "rule.metadata",
    "rule.applies_per",
    "why",
];

/// Whose requests can be limited. Teams first: they are what limits should be made for.
const SUBJECTS: Source = Source {
    fixed: &[],
    lists: &[List::Teams, List::VirtualAccounts, List::Users],
};

/// Properties of [`EditPolicy`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The one whose rule changes; `None`: a new one.
    #[prop_or_default]
    pub(super) policy: Option<Rc<RateLimitPolicyItem>>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn EditPolicy(props: &Props) -> Html {
    let draft = use_draft(|| {
        props
            .policy
            .as_deref()
            .map_or_else(PolicyDraft::default, PolicyDraft::of)
    });
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, draft, why, policy) = (
            commander.send.clone(),
            draft.clone(),
            why.clone(),
            props.policy.clone(),
        );
        Callback::from(move |()| {
            if let Some(command) = draft.command(policy.as_deref()) {
                send(command, &why);
            }
        })
    };
    let (title, action) = match &props.policy {
        Some(policy) => (format!("Change what {} limits", policy.name), "Save"),
        None => ("Create a rate-limit policy".to_owned(), "Create policy"),
    };
    let rejection = commander.rejection;
    let complete = draft.command(props.policy.as_deref()).is_some();
    html!(
        <FormDialog {title} {action} wide={true} busy={commander.busy} {complete} rejection={rejection.clone()} fields={FIELDS}
            {onsubmit} onclose={props.onclose.clone()}>
            if props.policy.is_none() {
                <div class="sl-columns">
                    <TextField name="name" label="Name" required={true} placeholder="research-tokens" value={draft.name.clone()}
                        onchange={draft.edit(|draft, text| draft.name = text)} rejection={rejection.clone()} />
                    <TextField name="order" label="Order" kind="number" required={true} value={draft.order.clone()}
                        hint="The smallest number that matches a request applies."
                        onchange={draft.edit(|draft, text| draft.order = text)} rejection={rejection.clone()} />
                </div>
            }
            { amount_fields(&draft, rejection.as_ref()) }
            { subject_fields(&draft, props.policy.as_deref(), rejection.as_ref()) }
            { model_fields(&draft, props.policy.as_deref(), rejection.as_ref()) }
            <TextArea name="rule.metadata" label="Only with this metadata" rows={2} value={draft.metadata.clone()}
                placeholder="environment=production" hint="One key=value a line, all of which a request must have."
                onchange={draft.edit(|draft, text| draft.metadata = text)} rejection={rejection.clone()} />
            { counter_fields(&draft, rejection.as_ref()) }
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// Whose requests it counts.
fn subject_fields(
    draft: &Draft<PolicyDraft>,
    policy: Option<&RateLimitPolicyItem>,
    rejection: Option<&Rejection>,
) -> Html {
    let choose = |chosen| {
        draft.edit(move |draft: &mut PolicyDraft, value: AttrValue| {
            if let Some(subject) = reference::limited_subject(&value) {
                choose(&mut draft.subjects, subject, chosen);
            }
        })
    };
    let subjects = draft.subjects.iter();
    let known = policy.map(|policy| policy.subjects.as_slice());
    let known = known.unwrap_or_default().iter();
    let known = known.map(|it| (reference::of_limited_subject(it.subject), it.name.clone()));
    html!(
        <Frame name="rule.subjects" label="Whose requests" rejection={rejection.cloned()}>
            <Check name="subjects-all" label="Everybody's" checked={draft.everybody}
                onchange={draft.edit(|draft, all| draft.everybody = all)} />
            if !draft.everybody {
                <div class="sl-below">
                    <ChoicesField name="rule.subjects" label="Whose requests" source={SUBJECTS} placeholder="Search teams, accounts, users"
                        chosen={subjects.map(|it| reference::of_limited_subject(*it)).collect::<Vec<_>>()}
                        known={known.map(|(value, name)| (value, name.into())).collect::<Vec<_>>()}
                        onadd={choose(true)} onremove={choose(false)} />
                </div>
            }
        </Frame>
    )
}

/// To which models the requests are that it counts.
fn model_fields(
    draft: &Draft<PolicyDraft>,
    policy: Option<&RateLimitPolicyItem>,
    rejection: Option<&Rejection>,
) -> Html {
    let choose = |chosen| {
        draft.edit(move |draft: &mut PolicyDraft, value: AttrValue| {
            if let Some(model) = reference::model(&value) {
                choose(&mut draft.models, model, chosen);
            }
        })
    };
    let models = draft.models.iter();
    let known = policy.map(|policy| policy.models.as_slice());
    let known = known.unwrap_or_default().iter();
    let known = known.map(|it| (reference::of_model(it.model), it.name.clone()));
    html!(
        <Frame name="rule.models" label="To which models" rejection={rejection.cloned()}>
            <Check name="models-all" label="All models, also those that come later" checked={draft.all_models}
                onchange={draft.edit(|draft, all| draft.all_models = all)} />
            if !draft.all_models {
                <div class="sl-below">
                    <ChoicesField name="rule.models" label="To which models" source={OPENED}
                        placeholder="Search models, virtual models, accounts"
                        chosen={models.map(|it| reference::of_model(*it)).collect::<Vec<_>>()}
                        known={known.map(|(value, name)| (value, name.into())).collect::<Vec<_>>()}
                        onadd={choose(true)} onremove={choose(false)} />
                </div>
            }
        </Frame>
    )
}

fn choose<T: Ord>(of: &mut BTreeSet<T>, it: T, chosen: bool) {
    if chosen {
        of.insert(it);
    } else {
        of.remove(&it);
    }
}

/// How much, of what, in which time, and what happens above it.
fn amount_fields(draft: &Draft<PolicyDraft>, rejection: Option<&Rejection>) -> Html {
    let units = choices(&[("requests", "requests"), ("tokens", "tokens")]);
    let windows = choices(&[
        ("minute", "a minute"),
        ("hour", "an hour"),
        ("day", "a day"),
    ]);
    let modes = choices(&[
        ("enforce", "Refuse what is above it"),
        ("audit", "Only note what is above it"),
    ]);
    let unit = match draft.unit {
        LimitUnit::Requests => "requests",
        LimitUnit::Tokens => "tokens",
    };
    let window = match draft.window {
        LimitWindow::Minute => "minute",
        LimitWindow::Hour => "hour",
        LimitWindow::Day => "day",
    };
    let mode = match draft.mode {
        LimitMode::Enforce => "enforce",
        LimitMode::Audit => "audit",
    };
    html!(
        <div class="sl-columns">
            <TextField name="rule.limit" label="Limit" required={true} placeholder="600" value={draft.limit.clone()}
                onchange={draft.edit(|draft, text| draft.limit = text)} rejection={rejection.cloned()} />
            <SelectField name="rule.unit" label="Of what" value={unit} choices={units}
                onchange={draft.edit(|draft, unit: String| draft.unit = if unit == "tokens" { LimitUnit::Tokens } else { LimitUnit::Requests })} />
            <SelectField name="rule.window" label="In which time" value={window} choices={windows}
                onchange={draft.edit(|draft, window: String| draft.window = match window.as_str() {
                    "hour" => LimitWindow::Hour,
                    "day" => LimitWindow::Day,
                    _ => LimitWindow::Minute,
                })} />
            <SelectField name="rule.mode" label="Above it" value={mode} choices={modes}
                onchange={draft.edit(|draft, mode: String| draft.mode = if mode == "audit" { LimitMode::Audit } else { LimitMode::Enforce })} />
        </div>
    )
}

/// What has a counter of its own.
fn counter_fields(draft: &Draft<PolicyDraft>, rejection: Option<&Rejection>) -> Html {
    html!(
        <Frame name="rule.applies_per" label="A counter for each" rejection={rejection.cloned()}
            hint="At most two. None: all requests that match share one counter.">
            <div class="sl-columns">
                <Check name="per-user" label="User" checked={draft.per_user} onchange={draft.edit(|draft, it| draft.per_user = it)} />
                <Check name="per-virtual-account" label="Virtual account" checked={draft.per_virtual_account}
                    onchange={draft.edit(|draft, it| draft.per_virtual_account = it)} />
                <Check name="per-model" label="Model" checked={draft.per_model} onchange={draft.edit(|draft, it| draft.per_model = it)} />
            </div>
            <TextField name="per-metadata" label="Value of metadata" placeholder="project" value={draft.per_metadata.clone()}
                onchange={draft.edit(|draft, text| draft.per_metadata = text)} />
        </Frame>
    )
}

fn choices(of: &[(&'static str, &'static str)]) -> Vec<Choice> {
    of.iter()
        .map(|(value, label)| Choice {
            value: (*value).into(),
            label: (*label).into(),
        })
        .collect()
}

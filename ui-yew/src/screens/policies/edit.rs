//! Makes a rate-limit policy, or changes what it limits.

use std::collections::BTreeSet;
use std::rc::Rc;

use events_schema::api::commands::CommandAnswer;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{
    Choice as EventChoice, LimitMode, LimitSegment, LimitUnit, LimitWindow, LimitedSubject,
    ModelRef,
};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::draft::{LimitDraft, OverrideDraft, PolicyDraft};
use crate::api::Rejection;
use crate::command::use_command;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{ChoicesField, ChooserField, List, OPENED, Offer, Source};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{Check, Choice, Frame, SelectField, TextArea, TextField};
use crate::widgets::reference;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &[
    "name",
    "order",
    "rule.limits",
    "rule.when.subjects",
    "rule.when.models",
    "rule.when.metadata",
    "rule.applies_per",
    "rule.overrides",
    "why",
];

/// Whose requests can be limited. Teams first: they are what limits should be made for.
const SUBJECTS: Source = Source {
    fixed: &[],
    lists: &[List::Teams, List::VirtualAccounts, List::Users],
};

/// Who can have other limits than the others.
const USERS: Source = Source {
    fixed: &[],
    lists: &[List::Users],
};

/// See [`USERS`].
const VIRTUAL_ACCOUNTS: Source = Source {
    fixed: &[],
    lists: &[List::VirtualAccounts],
};

/// See [`USERS`].
const MODELS: Source = Source {
    fixed: &[],
    lists: &[List::VirtualModels, List::Models],
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
            <Frame name="rule.limits" label="Limits" required={true} rejection={rejection.clone()}
                hint="A request has to keep all of them.">
                { limit_rows(&draft, "limit", &draft.limits, |draft| Some(&mut draft.limits)) }
            </Frame>
            <SelectField name="rule.mode" label="Above a limit" value={mode_value(draft.mode)} choices={modes()}
                onchange={draft.edit(|draft, mode: String| draft.mode = if mode == "audit" { LimitMode::Audit } else { LimitMode::Enforce })} />
            { subject_fields(&draft, props.policy.as_deref(), rejection.as_ref()) }
            { model_fields(&draft, props.policy.as_deref(), rejection.as_ref()) }
            <TextArea name="rule.when.metadata" label="Only with this metadata" rows={2} value={draft.metadata.clone()}
                placeholder="environment=production" hint="One key=value or key!=value a line. Of several values of one key a request needs one."
                onchange={draft.edit(|draft, text| draft.metadata = text)} rejection={rejection.clone()} />
            { counter_fields(&draft, rejection.as_ref()) }
            { other_limits(&draft, rejection.as_ref()) }
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
    let choose = |chosen, side: Side<LimitedSubject>| {
        draft.edit(move |draft: &mut PolicyDraft, value: AttrValue| {
            if let Some(subject) = reference::limited_subject(&value) {
                choose(side(&mut draft.subjects), subject, chosen);
            }
        })
    };
    let known = policy.map(|policy| policy.subjects.as_slice());
    let known = known.unwrap_or_default().iter();
    let known = known.map(|it| {
        let value = reference::of_limited_subject(it.subject);
        (value, it.name.clone().into())
    });
    let known: Vec<(AttrValue, AttrValue)> = known.collect();
    let values = |of: &BTreeSet<LimitedSubject>| {
        let values = of.iter().map(|it| reference::of_limited_subject(*it));
        values.collect::<Vec<_>>()
    };
    html!(
        <Frame name="rule.when.subjects" label="Whose requests" rejection={rejection.cloned()}>
            <Check name="subjects-all" label="Everybody's" checked={draft.everybody}
                onchange={draft.edit(|draft, all| draft.everybody = all)} />
            if !draft.everybody {
                <div class="sl-below">
                    <ChoicesField name="rule.when.subjects" label="Whose requests" source={SUBJECTS} placeholder="Search teams, accounts, users"
                        chosen={values(&draft.subjects.within)} known={known.clone()}
                        onadd={choose(true, within)} onremove={choose(false, within)} />
                </div>
            }
            <details class="sl-more" open={!draft.subjects.not_in.is_empty()}>
                <summary>{ "But not theirs" }</summary>
                <ChoicesField name="subjects-not-in" label="Not whose requests" source={SUBJECTS} placeholder="Search teams, accounts, users"
                    chosen={values(&draft.subjects.not_in)} {known} onadd={choose(true, not_in)} onremove={choose(false, not_in)} />
            </details>
        </Frame>
    )
}

/// To which models the requests are that it counts.
fn model_fields(
    draft: &Draft<PolicyDraft>,
    policy: Option<&RateLimitPolicyItem>,
    rejection: Option<&Rejection>,
) -> Html {
    let choose = |chosen, side: Side<ModelRef>| {
        draft.edit(move |draft: &mut PolicyDraft, value: AttrValue| {
            if let Some(model) = reference::model(&value) {
                choose(side(&mut draft.models), model, chosen);
            }
        })
    };
    let known = policy.map(|policy| policy.models.as_slice());
    let known = known.unwrap_or_default().iter();
    let known = known.map(|it| (reference::of_model(it.model), it.name.clone().into()));
    let known: Vec<(AttrValue, AttrValue)> = known.collect();
    let values = |of: &BTreeSet<ModelRef>| {
        let values = of.iter().map(|it| reference::of_model(*it));
        values.collect::<Vec<_>>()
    };
    html!(
        <Frame name="rule.when.models" label="To which models" rejection={rejection.cloned()}>
            <Check name="models-all" label="All models, also those that come later" checked={draft.all_models}
                onchange={draft.edit(|draft, all| draft.all_models = all)} />
            if !draft.all_models {
                <div class="sl-below">
                    <ChoicesField name="rule.when.models" label="To which models" source={OPENED}
                        placeholder="Search models, virtual models, accounts"
                        chosen={values(&draft.models.within)} known={known.clone()}
                        onadd={choose(true, within)} onremove={choose(false, within)} />
                </div>
            }
            <details class="sl-more" open={!draft.models.not_in.is_empty()}>
                <summary>{ "But not to these" }</summary>
                <ChoicesField name="models-not-in" label="Not to which models" source={OPENED}
                    placeholder="Search models, virtual models, accounts"
                    chosen={values(&draft.models.not_in)} {known} onadd={choose(true, not_in)} onremove={choose(false, not_in)} />
            </details>
        </Frame>
    )
}

/// One side of a choice.
type Side<T> = fn(&mut EventChoice<T>) -> &mut BTreeSet<T>;

fn within<T: Ord>(choice: &mut EventChoice<T>) -> &mut BTreeSet<T> {
    &mut choice.within
}

fn not_in<T: Ord>(choice: &mut EventChoice<T>) -> &mut BTreeSet<T> {
    &mut choice.not_in
}

fn choose<T: Ord>(of: &mut BTreeSet<T>, it: T, chosen: bool) {
    if chosen {
        of.insert(it);
    } else {
        of.remove(&it);
    }
}

fn modes() -> Vec<Choice> {
    choices(&[
        ("enforce", "Refuse the request"),
        ("audit", "Only note what would have been refused"),
    ])
}

const fn mode_value(mode: LimitMode) -> &'static str {
    match mode {
        LimitMode::Enforce => "enforce",
        LimitMode::Audit => "audit",
    }
}

/// How much of what, in which time, one below the other. `of` finds the limits in a draft.
fn limit_rows(
    draft: &Draft<PolicyDraft>,
    named: &str,
    limits: &[LimitDraft],
    of: impl Fn(&mut PolicyDraft) -> Option<&mut Vec<LimitDraft>> + Copy + 'static,
) -> Html {
    let add = draft.edit(move |draft: &mut PolicyDraft, _: MouseEvent| {
        if let Some(limits) = of(draft) {
            limits.push(LimitDraft {
                unit: LimitUnit::Tokens,
                ..LimitDraft::default()
            });
        }
    });
    let row = |(at, limit): (usize, &LimitDraft)| {
        let edit = |change: fn(&mut LimitDraft, String)| {
            draft.edit(move |draft: &mut PolicyDraft, text: String| {
                if let Some(limit) = of(draft).and_then(|limits| limits.get_mut(at)) {
                    change(limit, text);
                }
            })
        };
        let remove = draft.edit(move |draft: &mut PolicyDraft, _: MouseEvent| {
            if let Some(limits) = of(draft) {
                limits.remove(at);
            }
        });
        html!(
            <div class="sl-limit-draft" key={at}>
                <TextField name={format!("{named}-{at}")} label="Limit" required={true} placeholder="600" value={limit.limit.clone()}
                    onchange={edit(|limit, text| limit.limit = text)} />
                <SelectField name={format!("{named}-{at}-unit")} label="Of what" value={unit_value(limit.unit)}
                    choices={choices(&[("requests", "requests"), ("tokens", "tokens")])}
                    onchange={edit(|limit, unit| limit.unit = if unit == "tokens" { LimitUnit::Tokens } else { LimitUnit::Requests })} />
                <SelectField name={format!("{named}-{at}-window")} label="In which time" value={window_value(limit.window)}
                    choices={choices(&[("minute", "a minute"), ("hour", "an hour"), ("day", "a day")])}
                    onchange={edit(|limit, window| limit.window = match window.as_str() {
                        "hour" => LimitWindow::Hour,
                        "day" => LimitWindow::Day,
                        _ => LimitWindow::Minute,
                    })} />
                <Button variant={Variant::Plain} icon={Icon::MinusCircle} aria_label="Remove limit"
                    disabled={limits.len() == 1} onclick={remove} />
            </div>
        )
    };
    html!(
        <>
            { for limits.iter().enumerate().map(row) }
            <Button variant={Variant::Link} icon={Icon::PlusCircle} label="Add limit" onclick={add} />
        </>
    )
}

const fn unit_value(unit: LimitUnit) -> &'static str {
    match unit {
        LimitUnit::Requests => "requests",
        LimitUnit::Tokens => "tokens",
    }
}

const fn window_value(window: LimitWindow) -> &'static str {
    match window {
        LimitWindow::Minute => "minute",
        LimitWindow::Hour => "hour",
        LimitWindow::Day => "day",
    }
}

/// Other limits for some of those that have a counter.
fn other_limits(draft: &Draft<PolicyDraft>, rejection: Option<&Rejection>) -> Html {
    let per = draft.applies_per().unwrap_or_default();
    if per.is_empty() && draft.overrides.is_empty() {
        return html!();
    }
    let add = draft.edit(|draft: &mut PolicyDraft, _: MouseEvent| {
        draft.overrides.push(OverrideDraft {
            limits: vec![LimitDraft::default()],
            ..OverrideDraft::default()
        });
    });
    let row = |(at, other): (usize, &OverrideDraft)| {
        let remove = draft.edit(move |draft: &mut PolicyDraft, _: MouseEvent| {
            draft.overrides.remove(at);
        });
        html!(
            <div class="sl-override-draft" key={at}>
                { for per.iter().map(|segment| segment_field(draft, at, other, segment)) }
                { limit_rows(draft, &format!("override-{at}"), &other.limits,
                    move |draft| draft.overrides.get_mut(at).map(|it| &mut it.limits)) }
                <Button variant={Variant::Link} icon={Icon::MinusCircle} label="Remove these" onclick={remove} />
            </div>
        )
    };
    html!(
        <Frame name="rule.overrides" label="Other limits for some" rejection={rejection.cloned()}
            hint="They apply in place of the limits above.">
            { for draft.overrides.iter().enumerate().map(row) }
            <Button variant={Variant::Link} icon={Icon::PlusCircle} label="Add an exception" onclick={add} />
        </Frame>
    )
}

/// For which one of a kind other limits are.
fn segment_field(
    draft: &Draft<PolicyDraft>,
    at: usize,
    other: &OverrideDraft,
    segment: &LimitSegment,
) -> Html {
    let chooser = |label: &'static str,
                   source,
                   value: &str,
                   change: fn(&mut OverrideDraft, String)| {
        let onchoose = draft.edit(move |draft: &mut PolicyDraft, offer: Option<Offer>| {
            if let Some(other) = draft.overrides.get_mut(at) {
                change(
                    other,
                    offer.map(|it| it.value.to_string()).unwrap_or_default(),
                );
            }
        });
        html!(<ChooserField name={format!("override-{at}-{label}")} {label} {source} value={value.to_owned()} {onchoose} required={true} />)
    };
    match segment {
        LimitSegment::User => chooser("User", USERS, &other.user, |it, value| it.user = value),
        LimitSegment::VirtualAccount => chooser(
            "Virtual account",
            VIRTUAL_ACCOUNTS,
            &other.virtual_account,
            |it, value| it.virtual_account = value,
        ),
        LimitSegment::Model => chooser("Model", MODELS, &other.model, |it, value| it.model = value),
        LimitSegment::Metadata(key) => {
            let value = other.metadata.get(&key.to_string()).cloned();
            let key = key.to_string();
            let label = format!("Value of {key}");
            let name = format!("override-{at}-{key}");
            let onchange = draft.edit(move |draft: &mut PolicyDraft, text: String| {
                if let Some(other) = draft.overrides.get_mut(at) {
                    other.metadata.insert(key.clone(), text);
                }
            });
            html!(<TextField {name} {label} value={value.unwrap_or_default()} {onchange} required={true} />)
        }
    }
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

//! Makes a rate-limit policy, or changes what it limits.

use std::rc::Rc;

use events_schema::api::commands::CommandAnswer;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::LimitWhenCutOff;
use yew::prelude::*;

use super::draft::PolicyDraft;
use super::{CUT_OFF, CUT_OFF_EXPLAINED, cut_off_word};
use crate::command::use_command;
use crate::screens::rules::{FIELDS, Sort, TryEdited, choices, limit_fields, rule_fields};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{SelectField, TextField};

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
    let known = props.policy.as_deref();
    let known = known.map_or((&[][..], &[][..]), |it| (&it.subjects[..], &it.models[..]));
    let rejection = commander.rejection;
    let complete = draft.command(props.policy.as_deref()).is_some();
    let edited = draft.edited(props.policy.as_deref());
    // What was refused is told first; else what would be.
    let of_rule = rejection.clone().or_else(|| draft.fault());
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
            { limit_fields(&draft, of_rule.as_ref()) }
            { rule_fields(&draft, known, of_rule.as_ref()) }
            { cut_off_field(&draft) }
            <TryEdited sort={Sort::RateLimits} {edited} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// What a gateway does that is cut off.
fn cut_off_field(draft: &Draft<PolicyDraft>) -> Html {
    let ways = choices(CUT_OFF);
    let onway = draft.edit(|draft: &mut PolicyDraft, way: String| {
        draft.when_cut_off = match way.as_str() {
            "open" => LimitWhenCutOff::Open,
            "closed" => LimitWhenCutOff::Closed,
            _ => LimitWhenCutOff::Alone,
        };
    });
    html!(
        <SelectField name="rule.when_cut_off" label="Where a gateway is cut off" value={cut_off_word(draft.when_cut_off)} choices={ways}
            onchange={onway} hint={CUT_OFF_EXPLAINED} />
    )
}

//! Makes a budget, or changes what it limits.

use std::rc::Rc;

use events_schema::api::commands::CommandAnswer;
use events_schema::api::resources::BudgetPolicyItem;
use events_schema::events::WhenCutOff;
use yew::prelude::*;

use super::draft::BudgetDraft;
use crate::api::Rejection;
use crate::command::use_command;
use crate::screens::rules::{FIELDS, Sort, TryEdited, choices, limit_fields, rule_fields};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{SelectField, TextField};

/// Properties of [`EditBudget`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The one whose rule changes; `None`: a new one.
    #[prop_or_default]
    pub(super) policy: Option<Rc<BudgetPolicyItem>>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn EditBudget(props: &Props) -> Html {
    let draft = use_draft(|| {
        props
            .policy
            .as_deref()
            .map_or_else(BudgetDraft::default, BudgetDraft::of)
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
        None => ("Create a budget".to_owned(), "Create budget"),
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
                    <TextField name="name" label="Name" required={true} placeholder="research-monthly" value={draft.name.clone()}
                        onchange={draft.edit(|draft, text| draft.name = text)} rejection={rejection.clone()} />
                    <TextField name="order" label="Order" kind="number" required={true} value={draft.order.clone()}
                        hint="Of those that match a request, the smallest number decides; all of them count it."
                        onchange={draft.edit(|draft, text| draft.order = text)} rejection={rejection.clone()} />
                </div>
            }
            { limit_fields(&draft, of_rule.as_ref()) }
            { rule_fields(&draft, known, of_rule.as_ref()) }
            { budget_fields(&draft, of_rule.as_ref()) }
            <TryEdited sort={Sort::Budgets} {edited} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// What only a budget has.
fn budget_fields(draft: &Draft<BudgetDraft>, rejection: Option<&Rejection>) -> Html {
    let when_cut_off = match draft.when_cut_off {
        WhenCutOff::Open => "open",
        WhenCutOff::Closed => "closed",
    };
    let ways = choices(&[
        ("open", "Let requests through, and count what they use"),
        ("closed", "Refuse requests"),
    ]);
    let onway = draft.edit(|draft: &mut BudgetDraft, way: String| {
        draft.when_cut_off = if way == "closed" {
            WhenCutOff::Closed
        } else {
            WhenCutOff::Open
        };
    });
    html!(
        <div class="sl-columns">
            <SelectField name="rule.when_cut_off" label="Where a gateway is cut off" value={when_cut_off} choices={ways} onchange={onway}
                hint="What it does once it has used what it was given of the budget, and can be given no more." />
            <TextField name="rule.alerts" label="Alerts" placeholder="75, 90, 95, 100" value={draft.alerts.clone()}
                hint="At how many percent of a limit it is told, with commas: on the dashboard, and in the history."
                onchange={draft.edit(|draft: &mut BudgetDraft, text| draft.alerts = text)} rejection={rejection.cloned()} />
        </div>
    )
}

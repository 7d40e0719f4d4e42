//! Lets somebody use models, or changes which.

use std::rc::Rc;

use events_schema::api::commands::CommandAnswer;
use events_schema::api::resources::GrantItem;
use yew::prelude::*;

use super::draft::GrantDraft;
use super::subject_name;
use crate::command::use_command;
use crate::widgets::chooser::{ChoicesField, ChooserField, Fixed, List, OPENED, Offer, Source};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::{Check, Frame};
use crate::widgets::reference;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["subject", "models", "why"];

/// To whom access can be granted. Teams first: they are what grants should be made to.
const SUBJECTS: Source = Source {
    fixed: &[Fixed {
        value: reference::EVERYONE,
        label: "Everyone with a key",
        hint: "",
    }],
    lists: &[List::Teams, List::VirtualAccounts, List::Users, List::Keys],
};

/// Properties of [`EditGrant`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The one to change; `None`: a new one.
    pub(super) grant: Option<Rc<GrantItem>>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn EditGrant(props: &Props) -> Html {
    let draft = use_draft(|| {
        props
            .grant
            .as_deref()
            .map_or_else(GrantDraft::new, GrantDraft::of)
    });
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let existing = props.grant.as_ref().map(|grant| grant.id);
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| {
            if let Some(command) = draft.command(existing) {
                send(command, &why);
            }
        })
    };
    let (title, action) = match &props.grant {
        Some(grant) => (
            format!("Change what {} may use", subject_name(grant)),
            "Save",
        ),
        None => ("Grant access".to_owned(), "Grant access"),
    };
    let choose = |chosen| {
        draft.edit(move |draft: &mut GrantDraft, value: AttrValue| {
            if let Some(model) = reference::model(&value) {
                draft.choose(model, chosen);
            }
        })
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog {title} {action} busy={commander.busy} complete={draft.command(existing).is_some()}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            if props.grant.is_none() {
                <ChooserField name="subject" label="Who" required={true} source={SUBJECTS} value={draft.subject.clone()}
                    placeholder="Search teams, accounts, users, keys" rejection={rejection.clone()}
                    onchoose={draft.edit(|draft: &mut GrantDraft, who: Option<Offer>| draft.subject = who.map(|it| it.value.to_string()).unwrap_or_default())} />
            }
            <Frame name="models" label="May use" required={true} rejection={rejection.clone()}>
                <Check name="models-all" label="All models, also those that come later" checked={draft.all}
                    onchange={draft.edit(|draft, all| draft.all = all)} />
                if !draft.all {
                    <div class="sl-below">
                        <ChoicesField name="models" label="Models" source={OPENED} placeholder="Search models, virtual models, accounts"
                            chosen={draft.models.iter().map(|model| reference::of_model(*model)).collect::<Vec<_>>()}
                            known={known(props.grant.as_deref())} onadd={choose(true)} onremove={choose(false)} />
                    </div>
                }
            </Frame>
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// Names of what the grant opens already.
fn known(grant: Option<&GrantItem>) -> Vec<(AttrValue, AttrValue)> {
    let models = grant.map(|grant| grant.models.as_slice());
    let models = models.unwrap_or_default().iter();
    models
        .map(|it| (reference::of_model(it.model), it.name.clone().into()))
        .collect()
}

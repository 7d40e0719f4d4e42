//! Lets somebody use models, or changes which.

use std::rc::Rc;

use events_schema::api::commands::CommandAnswer;
use events_schema::api::resources::{
    GrantItem, KeyItem, ModelItem, ProviderAccountItem, TeamItem, VirtualModelItem,
};
use events_schema::events::{Aggregate, ModelRef};
use yew::prelude::*;

use super::draft::{EVERYONE, GrantDraft};
use super::subject_name;
use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::{Check, Choice, Frame, SelectField};
use crate::widgets::listing::use_all;
use crate::widgets::owner::use_owner_choices;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["subject", "models", "why"];

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
    let subjects = use_subject_choices();
    let offered = use_offered_models();
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
    let rejection = commander.rejection;
    html!(
        <FormDialog {title} {action} busy={commander.busy} complete={draft.command(existing).is_some()}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            if props.grant.is_none() {
                <SelectField name="subject" label="Who" required={true} placeholder="Choose" choices={subjects}
                    value={draft.subject.clone()} onchange={draft.edit(|draft, text| draft.subject = text)}
                    rejection={rejection.clone()} />
            }
            <Frame name="models" label="May use" required={true} rejection={rejection.clone()}>
                <Check name="models-all" label="All models, also those that come later" checked={draft.all}
                    onchange={draft.edit(|draft, all| draft.all = all)} />
                if !draft.all {
                    <div class="sl-checks">{ for offered.iter().map(|offer| offer_row(&draft, offer)) }</div>
                }
            </Frame>
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// Something that a grant can open.
pub(crate) struct Offer {
    /// What.
    pub(crate) model: ModelRef,
    /// What people call it.
    pub(crate) name: String,
    /// What kind of thing it is.
    pub(crate) hint: &'static str,
}

fn offer_row(draft: &Draft<GrantDraft>, offer: &Offer) -> Html {
    let model = offer.model;
    let onchange = draft.edit(move |draft: &mut GrantDraft, chosen| draft.choose(model, chosen));
    html!(
        <Check key={offer.name.clone()} name={format!("models-{}", offer.name)} label={offer.name.clone()}
            hint={offer.hint} checked={draft.models.contains(&model)} {onchange} />
    )
}

#[hook]
fn use_subject_choices() -> Vec<Choice> {
    let owners = use_owner_choices();
    let keys = use_all::<KeyItem>("/keys", &[Aggregate::Key]);
    let everyone = Choice {
        value: EVERYONE.into(),
        label: "Everyone with a key".into(),
    };
    let keys = keys.iter().map(|key| Choice {
        value: format!("key:{}", key.id).into(),
        label: format!("{} (key of {})", key.label, key.owner_name).into(),
    });
    let teams = use_all::<TeamItem>("/teams", &[Aggregate::Team]);
    let teams = teams.iter().map(|team| Choice {
        value: format!("team:{}", team.id).into(),
        label: format!("{} (team)", team.name).into(),
    });
    std::iter::once(everyone)
        .chain(teams)
        .chain(owners)
        .chain(keys)
        .collect()
}

/// Virtual models first: they are what applications should ask for.
#[hook]
pub(crate) fn use_offered_models() -> Vec<Offer> {
    let virtual_models = use_all::<VirtualModelItem>("/virtual-models", &[Aggregate::VirtualModel]);
    let models = use_all::<ModelItem>("/models", &[Aggregate::Model]);
    let accounts =
        use_all::<ProviderAccountItem>("/provider-accounts", &[Aggregate::ProviderAccount]);
    let virtual_models = virtual_models.iter().map(|model| Offer {
        model: ModelRef::VirtualModel(model.id),
        name: model.name.clone(),
        hint: "Virtual model",
    });
    let accounts = accounts.iter().map(|account| Offer {
        model: ModelRef::ProviderAccount(account.id),
        name: format!("{}/*", account.name),
        hint: "All models of the account, also those that come later",
    });
    let models = models.iter().map(|model| Offer {
        model: ModelRef::Model(model.id),
        name: model.full_name.clone(),
        hint: "Model",
    });
    virtual_models.chain(accounts).chain(models).collect()
}

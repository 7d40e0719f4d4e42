//! Makes a model of a provider account known.

use std::collections::BTreeSet;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::events::ModelType;
use yew::prelude::*;

use super::type_name;
use crate::command::use_command;
use crate::widgets::chooser::{ChooserField, List, Offer, Source};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::{Check, Frame, TextField};
use crate::widgets::reference;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["account", "name", "upstream_name", "model_types", "why"];

/// Whose model it can be.
const ACCOUNTS: Source = Source {
    fixed: &[],
    lists: &[List::ProviderAccounts],
};

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Model {
    account: Option<Offer>,
    name: String,
    upstream_name: String,
    model_types: BTreeSet<ModelType>,
}

/// Properties of [`AddModel`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn AddModel(props: &Props) -> Html {
    let draft = use_draft(Model::new);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| {
            if let Some(command) = draft.command() {
                send(command, &why);
            }
        })
    };
    let check = |kind: ModelType| {
        let onchange = draft.edit(move |draft: &mut Model, checked| draft.choose(kind, checked));
        let checked = draft.model_types.contains(&kind);
        html!(<Check name={format!("model_types-{kind:?}")} label={type_name(kind)} {checked} {onchange} />)
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog title="Add a model" action="Add model" busy={commander.busy} complete={draft.command().is_some()}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <ChooserField name="account" label="Provider account" required={true} source={ACCOUNTS}
                placeholder="Search provider accounts" rejection={rejection.clone()}
                value={draft.account.as_ref().map(|it| it.value.clone()).unwrap_or_default()}
                onchoose={draft.edit(|draft: &mut Model, account| draft.account = account)} />
            <TextField name="name" label="Name" required={true} placeholder="gpt-4o"
                hint={draft.asked_for()} value={draft.name.clone()}
                onchange={draft.edit(|draft, text| draft.name = text)} rejection={rejection.clone()} />
            <TextField name="upstream_name" label="The provider's name for it" placeholder="The same"
                value={draft.upstream_name.clone()} onchange={draft.edit(|draft, text| draft.upstream_name = text)}
                rejection={rejection.clone()} />
            <Frame name="model_types" label="What it can be asked for" required={true} rejection={rejection.clone()}>
                { check(ModelType::Chat) }
                { check(ModelType::Embedding) }
                { check(ModelType::Completion) }
            </Frame>
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Model ===

impl Model {
    fn new() -> Self {
        let model_types = BTreeSet::from([ModelType::Chat]);
        Self {
            account: None,
            name: String::new(),
            upstream_name: String::new(),
            model_types,
        }
    }

    fn choose(&mut self, kind: ModelType, chosen: bool) {
        if chosen {
            self.model_types.insert(kind);
        } else {
            self.model_types.remove(&kind);
        }
    }

    /// What callers will ask for, as far as it is known.
    fn asked_for(&self) -> String {
        let account = self.account.as_ref();
        let account = account.map_or("account", |account| account.label.as_str());
        let name = if self.name.is_empty() {
            "model"
        } else {
            self.name.trim()
        };
        format!("Callers ask for {account}/{name}.")
    }

    /// The command, when enough is filled in to send it.
    fn command(&self) -> Option<NewCommand> {
        let name = self.name.trim();
        if name.is_empty() || self.model_types.is_empty() {
            return None;
        }
        Some(NewCommand::AddModel {
            account: reference::id(&self.account.as_ref()?.value).parse().ok()?,
            name: name.to_owned(),
            upstream_name: Some(self.upstream_name.trim().to_owned())
                .filter(|name| !name.is_empty()),
            model_types: self.model_types.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use events_schema::id::ProviderAccountId;

    use super::*;

    #[test]
    fn a_model_needs_an_account_a_name_and_a_use() {
        let mut draft = Model::new();
        assert!(draft.command().is_none());
        let id = ProviderAccountId::from_bytes([1; 16]);
        draft.account = Some(Offer {
            value: reference::of("provider_account", id),
            label: "mock".into(),
            hint: AttrValue::default(),
        });
        draft.name = " gpt-4o ".to_owned();
        assert_eq!(draft.asked_for(), "Callers ask for mock/gpt-4o.");
        let Some(NewCommand::AddModel {
            name,
            upstream_name,
            ..
        }) = draft.command()
        else {
            unreachable!("enough is filled in");
        };
        assert_eq!((name.as_str(), upstream_name), ("gpt-4o", None));
        draft.choose(ModelType::Chat, false);
        assert!(draft.command().is_none());
    }
}

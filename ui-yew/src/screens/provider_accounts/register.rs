//! Makes an account at a provider known.

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::events::Provider;
use yew::prelude::*;

use super::provider_name;
use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::{Check, Choice, SelectField, TextField};

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["name", "provider", "base_url", "credential", "why"];

/// What the box says, and what it is for.
const PRIVATE: (&str, &str) = (
    "Allow private and local addresses",
    "For a model server of your own, on the gateway's machine or in its network. Otherwise gateways connect to public addresses \
     only, wherever the name leads.",
);

/// The dialects, with their own base URL where they have one.
const PROVIDERS: [(Provider, &str, &str); 3] = [
    (Provider::Openai, "openai", "https://api.openai.com/v1"),
    (
        Provider::Anthropic,
        "anthropic",
        "https://api.anthropic.com/v1",
    ),
    (Provider::OpenaiCompatible, "openai_compatible", ""),
];

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    provider: Provider,
    base_url: String,
    credential: String,
    allows_private_addresses: bool,
}

/// Properties of [`Register`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn Register(props: &Props) -> Html {
    let draft = use_draft(Account::new);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| send(draft.command(), &why))
    };
    let choices = PROVIDERS.iter().map(|(provider, value, _)| Choice {
        value: (*value).into(),
        label: provider_name(*provider).into(),
    });
    let rejection = commander.rejection;
    html!(
        <FormDialog title="Add a provider account" action="Add provider account" busy={commander.busy}
            complete={draft.is_complete()} rejection={rejection.clone()} fields={FIELDS} {onsubmit}
            onclose={props.onclose.clone()}>
            <TextField name="name" label="Name" required={true} placeholder="openai-main"
                hint="The first part of its models' names: callers ask for openai-main/gpt-4o."
                value={draft.name.clone()} onchange={draft.edit(|draft, text| draft.name = text)} rejection={rejection.clone()} />
            <SelectField name="provider" label="Provider" value={draft.provider_value()} choices={choices.collect::<Vec<_>>()}
                onchange={draft.edit(|draft, text: String| draft.choose_provider(&text))} rejection={rejection.clone()} />
            <TextField name="base_url" label="Base URL" required={true} placeholder="https://api.openai.com/v1"
                value={draft.base_url.clone()} onchange={draft.edit(|draft, text| draft.base_url = text)}
                rejection={rejection.clone()} />
            <TextField name="credential" label="Credential" kind="password" autocomplete="new-password"
                hint="The provider's API key. Sealed at once to the gateways' key: nobody can read it again, not even here."
                value={draft.credential.clone()} onchange={draft.edit(|draft, text| draft.credential = text)}
                rejection={rejection.clone()} />
            <Check name="allows_private_addresses" label={PRIVATE.0} hint={PRIVATE.1} checked={draft.allows_private_addresses}
                onchange={draft.edit(|draft, allows| draft.allows_private_addresses = allows)} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Account ===

impl Account {
    fn new() -> Self {
        let (provider, _, base_url) = PROVIDERS[0];
        Self {
            name: String::new(),
            provider,
            base_url: base_url.to_owned(),
            credential: String::new(),
            allows_private_addresses: false,
        }
    }

    fn is_complete(&self) -> bool {
        !self.name.trim().is_empty() && !self.base_url.trim().is_empty()
    }

    fn provider_value(&self) -> &'static str {
        let known = PROVIDERS
            .iter()
            .find(|(provider, ..)| *provider == self.provider);
        known.map_or("", |(_, value, _)| value)
    }

    /// Chooses a dialect; a base URL that nobody has typed follows it.
    fn choose_provider(&mut self, value: &str) {
        let is_untouched = PROVIDERS
            .iter()
            .any(|(_, _, base_url)| *base_url == self.base_url);
        if let Some((provider, _, base_url)) =
            PROVIDERS.iter().find(|(_, known, _)| *known == value)
        {
            self.provider = *provider;
            if is_untouched {
                self.base_url = (*base_url).to_owned();
            }
        }
    }

    fn command(&self) -> NewCommand {
        NewCommand::RegisterProviderAccount {
            name: self.name.trim().to_owned(),
            provider: self.provider,
            // A slash at the end is what people copy; it means the same address.
            base_url: self.base_url.trim().trim_end_matches('/').to_owned(),
            credential: Some(self.credential.trim().to_owned())
                .filter(|credential| !credential.is_empty()),
            allows_private_addresses: self.allows_private_addresses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_follows_the_provider_until_somebody_types_one() {
        let mut draft = Account::new();
        draft.choose_provider("anthropic");
        assert_eq!(draft.base_url, "https://api.anthropic.com/v1");
        draft.base_url = "http://127.0.0.1:7705/v1".to_owned();
        draft.choose_provider("openai_compatible");
        assert_eq!(draft.base_url, "http://127.0.0.1:7705/v1");
        assert_eq!(draft.provider_value(), "openai_compatible");
    }

    #[test]
    fn an_empty_credential_is_none() {
        let mut draft = Account::new();
        draft.credential = "  ".to_owned();
        let NewCommand::RegisterProviderAccount { credential, .. } = draft.command() else {
            unreachable!("a draft makes one kind of command");
        };
        assert_eq!(credential, None);
    }
}

//! Replaces a provider account's credential.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ProviderAccountItem;
use yew::prelude::*;

use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["credential", "why"];

/// Properties of [`ReplaceCredential`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The account.
    pub(super) account: Rc<ProviderAccountItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn ReplaceCredential(props: &Props) -> Html {
    let credential = use_state_eq(String::new);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, account) = (commander.send.clone(), props.account.id);
        let (credential, why) = (credential.clone(), why.clone());
        Callback::from(move |()| {
            let credential =
                Some(credential.trim().to_owned()).filter(|credential| !credential.is_empty());
            send(
                NewCommand::ReplaceProviderCredential {
                    account,
                    credential,
                },
                &why,
            );
        })
    };
    let setter = credential.setter();
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Replace the credential of {}", props.account.name)} action="Replace"
            description="Gateways use the new one as soon as they serve the change. The old one is not kept."
            busy={commander.busy} rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <TextField name="credential" label="Credential" kind="password" autocomplete="new-password"
                hint="The provider's API key; leave it empty if the provider wants none." value={(*credential).clone()}
                onchange={Callback::from(move |text| setter.set(text))} rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

//! Changes where a provider account is; its credential is bound to the server and so asked for again with another.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ProviderAccountItem;
use yew::prelude::*;

use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["base_url", "credential", "why"];

/// Properties of [`Relocate`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The account.
    pub(super) account: Rc<ProviderAccountItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn Relocate(props: &Props) -> Html {
    let base_url = use_state_eq(|| props.account.base_url.clone());
    let credential = use_state_eq(String::new);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, account) = (commander.send.clone(), props.account.id);
        let (base_url, credential, why) = (base_url.clone(), credential.clone(), why.clone());
        Callback::from(move |()| {
            let base_url = base_url.trim().trim_end_matches('/').to_owned();
            let credential =
                Some(credential.trim().to_owned()).filter(|credential| !credential.is_empty());
            send(
                NewCommand::MoveProviderAccount {
                    account,
                    base_url,
                    credential,
                },
                &why,
            );
        })
    };
    let (to_url, to_credential) = (base_url.setter(), credential.setter());
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Change the base URL of {}", props.account.name)} action="Save" busy={commander.busy}
            description="The credential is sealed for one server: where scheme, host or port change, it must be given again."
            complete={!base_url.trim().is_empty()} rejection={rejection.clone()} fields={FIELDS} {onsubmit}
            onclose={props.onclose.clone()}>
            <TextField name="base_url" label="Base URL" required={true} value={(*base_url).clone()}
                onchange={Callback::from(move |text| to_url.set(text))} rejection={rejection.clone()} />
            <TextField name="credential" label="Credential" kind="password" autocomplete="new-password"
                hint="The provider's API key for the new server; empty: the one that is kept." value={(*credential).clone()}
                onchange={Callback::from(move |text| to_credential.set(text))} rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

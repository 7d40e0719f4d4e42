//! Makes a person a user.

use events_schema::api::commands::{CommandAnswer, NewCommand};
use yew::prelude::*;

use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["name", "email", "why"];

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Person {
    name: String,
    email: String,
}

/// Properties of [`AddUser`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn AddUser(props: &Props) -> Html {
    let draft = use_draft(Person::default);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| {
            let (email, name) = (draft.email.trim().to_owned(), draft.name.trim().to_owned());
            send(NewCommand::AddUser { email, name }, &why);
        })
    };
    let complete = !draft.name.trim().is_empty() && !draft.email.trim().is_empty();
    let rejection = commander.rejection;
    html!(
        <FormDialog title="Add a user" action="Add user" busy={commander.busy} {complete} rejection={rejection.clone()}
            fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <TextField name="name" label="Name" required={true} placeholder="Ada Lovelace"
                value={draft.name.clone()} onchange={draft.edit(|draft, text| draft.name = text)}
                rejection={rejection.clone()} />
            <TextField name="email" label="E-mail address" kind="email" required={true} placeholder="ada@example.com"
                value={draft.email.clone()} onchange={draft.edit(|draft, text| draft.email = text)}
                rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

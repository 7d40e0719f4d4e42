//! Lets a person use the console.

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::events::Role;
use yew::prelude::*;

use super::role::RoleField;
use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["name", "email", "role", "password", "why"];

/// What has been filled in.
#[derive(Clone, PartialEq, Eq)]
struct Person {
    name: String,
    email: String,
    role: Role,
    password: String,
}

/// Properties of [`AddOperator`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn AddOperator(props: &Props) -> Html {
    let draft = use_draft(Person::new);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| send(draft.command(), &why))
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog title="Add an operator" action="Add operator" busy={commander.busy} complete={draft.is_complete()}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <TextField name="name" label="Name" required={true} placeholder="Ada Lovelace" value={draft.name.clone()}
                onchange={draft.edit(|draft, text| draft.name = text)} rejection={rejection.clone()} />
            <TextField name="email" label="E-mail address" kind="email" required={true} placeholder="ada@example.com"
                value={draft.email.clone()} onchange={draft.edit(|draft, text| draft.email = text)}
                rejection={rejection.clone()} />
            <RoleField role={draft.role} onchange={draft.edit(|draft, role| draft.role = role)} rejection={rejection.clone()} />
            <TextField name="password" label="First password" kind="password" autocomplete="new-password" required={true}
                hint="At least 12 characters. Ask the operator to change it after signing in." value={draft.password.clone()}
                onchange={draft.edit(|draft, text| draft.password = text)} rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Person ===

impl Person {
    fn new() -> Self {
        Self {
            name: String::new(),
            email: String::new(),
            role: Role::Viewer,
            password: String::new(),
        }
    }

    fn is_complete(&self) -> bool {
        let Self {
            name,
            email,
            role: _,
            password,
        } = self;
        !name.trim().is_empty() && !email.trim().is_empty() && !password.is_empty()
    }

    fn command(&self) -> NewCommand {
        NewCommand::AddOperator {
            email: self.email.trim().to_owned(),
            name: self.name.trim().to_owned(),
            role: self.role,
            password: self.password.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_operator_begins_with_the_least_rights_and_an_untouched_password() {
        let mut draft = Person::new();
        assert!(!draft.is_complete());
        draft.name = " Ada ".to_owned();
        draft.email = "ada@example.com".to_owned();
        draft.password = " a password with spaces ".to_owned();
        assert!(draft.is_complete());
        let NewCommand::AddOperator {
            name,
            role,
            password,
            ..
        } = draft.command()
        else {
            unreachable!("a draft makes one kind of command");
        };
        assert_eq!(
            (name.as_str(), role, password.as_str()),
            ("Ada", Role::Viewer, " a password with spaces ")
        );
    }
}

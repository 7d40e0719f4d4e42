//! A command that needs one text: a new name, label or address.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use yew::prelude::*;

use super::confirm::WhyField;
use super::dialog::FormDialog;
use super::field::TextField;
use crate::command::use_command;

/// What is asked for.
#[derive(Clone)]
pub(crate) struct OneText {
    /// The heading.
    pub(crate) title: String,
    /// What it means.
    pub(crate) consequence: &'static str,
    /// The command's field.
    pub(crate) fields: &'static [&'static str],
    /// What people call the field.
    pub(crate) label: &'static str,
    /// `text`, `email` or `password`.
    pub(crate) kind: &'static str,
    /// What it is now.
    pub(crate) now: String,
    /// The command for a new text.
    pub(crate) command: Rc<dyn Fn(String) -> NewCommand>,
}

/// Properties of [`Rename`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// What is asked for.
    pub(crate) asked: OneText,
    /// Called when it is done, or given up.
    pub(crate) onclose: Callback<()>,
}

/// Asks for the text, and for the reason.
#[component]
pub(crate) fn Rename(props: &Props) -> Html {
    let asked = &props.asked;
    let text = use_state_eq(|| asked.now.clone());
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, text, why, command) = (
            commander.send.clone(),
            text.clone(),
            why.clone(),
            asked.command.clone(),
        );
        let is_password = asked.kind == "password";
        Callback::from(move |()| {
            // Of a password, every character counts.
            let text = if is_password { &text } else { text.trim() };
            send(command(text.to_owned()), &why);
        })
    };
    let setter = text.setter();
    let autocomplete = if asked.kind == "password" {
        "new-password"
    } else {
        "off"
    };
    html!(
        <FormDialog title={asked.title.clone()} description={asked.consequence} action="Save" busy={commander.busy}
            complete={!text.trim().is_empty()} rejection={commander.rejection.clone()} fields={asked.fields}
            {onsubmit} onclose={props.onclose.clone()}>
            <TextField name={asked.fields[0]} label={asked.label} kind={asked.kind} autocomplete={autocomplete} value={(*text).clone()}
                required={true} rejection={commander.rejection.clone()}
                onchange={Callback::from(move |text| setter.set(text))} />
            <WhyField {why} rejection={commander.rejection} />
        </FormDialog>
    )
}

// === impl OneText ===

impl PartialEq for OneText {
    /// A title names the thing and what is asked, so it stands for the whole.
    fn eq(&self, other: &Self) -> bool {
        self.title == other.title
    }
}

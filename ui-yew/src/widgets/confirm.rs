//! A command that needs no more than a reason: disable, enable, delete, revoke.

use events_schema::api::commands::{CommandAnswer, NewCommand};
use yew::prelude::*;

use super::dialog::FormDialog;
use super::field::TextField;
use super::uses::use_uses;
use crate::command::use_command;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["why"];

/// What is about to be done.
#[derive(Clone)]
pub(crate) struct Question {
    /// The heading: `Disable “openai-main”?`
    pub(crate) title: String,
    /// What it means, in a sentence or two.
    pub(crate) consequence: &'static str,
    /// What the button says.
    pub(crate) action: &'static str,
    /// Whether it takes something away.
    pub(crate) danger: bool,
    /// The thing that goes (`<aggregate>.<id>`), so that what refers to it is shown first.
    pub(crate) of: Option<String>,
    /// What is sent.
    pub(crate) command: NewCommand,
}

/// Properties of [`Confirm`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// What is about to be done.
    pub(crate) question: Question,
    /// Called when it is done, or given up.
    pub(crate) onclose: Callback<()>,
}

/// Asks once more, and for the reason.
#[component]
pub(crate) fn Confirm(props: &Props) -> Html {
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, why, command) = (
            commander.send.clone(),
            why.clone(),
            props.question.command.clone(),
        );
        Callback::from(move |()| send(command.clone(), &why))
    };
    let question = &props.question;
    let uses = use_uses(question.of.clone());
    let complete = uses.ready().is_none_or(|uses| !uses.is_blocked());
    html!(
        <FormDialog title={question.title.clone()} description={question.consequence} action={question.action}
            danger={question.danger} busy={commander.busy} rejection={commander.rejection.clone()} fields={FIELDS}
            {complete} {onsubmit} onclose={props.onclose.clone()}>
            if let Some(uses) = uses.ready() {
                { uses.show() }
            }
            <WhyField {why} rejection={commander.rejection} />
        </FormDialog>
    )
}

/// Properties of [`WhyField`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct WhyProps {
    /// The reason.
    pub(crate) why: UseStateHandle<String>,
    /// The refusal of the form that it stands in.
    #[prop_or_default]
    pub(crate) rejection: Option<crate::api::Rejection>,
}

/// The reason for a change, which every form asks for last.
#[component]
pub(crate) fn WhyField(props: &WhyProps) -> Html {
    let setter = props.why.setter();
    html!(
        <TextField name="why" label="Why" value={(*props.why).clone()}
            hint="Kept in the history for ever. Optional." placeholder="For example: requested in ticket 4711"
            onchange={Callback::from(move |why| setter.set(why))} rejection={props.rejection.clone()} />
    )
}

// === impl Question ===

impl PartialEq for Question {
    /// A title names the thing and what is done to it, so it stands for the whole question.
    fn eq(&self, other: &Self) -> bool {
        self.title == other.title
    }
}

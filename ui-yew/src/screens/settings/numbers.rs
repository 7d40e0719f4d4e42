//! Changes a setting that is made of two numbers.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use yew::prelude::*;

use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    /// The command's field.
    pub(super) name: &'static str,
    /// What people call it.
    pub(super) label: &'static str,
    /// What it may be.
    pub(super) hint: &'static str,
    /// What it is now.
    pub(super) now: u32,
}

/// What is asked for.
#[derive(Clone)]
pub(super) struct Asked {
    /// The heading.
    pub(super) title: &'static str,
    /// What it means.
    pub(super) consequence: &'static str,
    /// The fields that show a refusal of their own.
    pub(super) fields: &'static [&'static str],
    /// The two numbers.
    pub(super) numbers: [Number; 2],
    /// The command for two other numbers.
    pub(super) command: fn(u32, u32) -> NewCommand,
}

/// Properties of [`ChangeNumbers`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// What is asked for.
    pub(super) asked: Rc<Asked>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn ChangeNumbers(props: &Props) -> Html {
    let asked = &props.asked;
    let draft = use_draft(|| asked.numbers.map(|number| number.now.to_string()));
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let numbers = read(&draft);
    let onsubmit = {
        let (send, why, command) = (commander.send.clone(), why.clone(), asked.command);
        Callback::from(move |()| {
            if let Some([first, second]) = numbers {
                send(command(first, second), &why);
            }
        })
    };
    let rejection = commander.rejection;
    let field = |at: usize| {
        let Number {
            name, label, hint, ..
        } = asked.numbers[at];
        html!(
            <TextField {name} {label} {hint} kind="number" required={true} value={draft[at].clone()}
                onchange={draft.edit(move |draft: &mut [String; 2], text| draft[at] = text)} rejection={rejection.clone()} />
        )
    };
    html!(
        <FormDialog title={asked.title} description={asked.consequence} action="Save" busy={commander.busy}
            complete={numbers.is_some()} rejection={rejection.clone()} fields={asked.fields} {onsubmit}
            onclose={props.onclose.clone()}>
            { field(0) }
            { field(1) }
            <WhyField {why} rejection={rejection.clone()} />
        </FormDialog>
    )
}

/// What was typed, when both are numbers.
fn read([first, second]: &[String; 2]) -> Option<[u32; 2]> {
    Some([first.trim().parse().ok()?, second.trim().parse().ok()?])
}

// === impl Asked ===

impl PartialEq for Asked {
    /// A title names what is asked, and the numbers what there is.
    fn eq(&self, other: &Self) -> bool {
        (self.title, self.numbers) == (other.title, other.numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_not_sent() {
        let typed = |first: &str, second: &str| read(&[first.to_owned(), second.to_owned()]);
        assert_eq!(typed(" 30 ", "365"), Some([30, 365]));
        for (first, second) in [("", "1"), ("1", "-1"), ("1.5", "1"), ("1", "many")] {
            assert_eq!(typed(first, second), None);
        }
    }
}

//! Gives a key a new secret, and shows it once. The old one may work on for a while.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::KeyItem;
use yew::prelude::*;

use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::field::{Choice, SelectField};
use crate::widgets::secret::ShownOnce;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["grace_seconds", "why"];

/// How long the old secret may work on: seconds, and what people call it.
const GRACES: [(u64, &str); 5] = [
    (0, "Not at all: it stops working at once"),
    (3_600, "For an hour"),
    (86_400, "For a day"),
    (604_800, "For a week"),
    (2_592_000, "For 30 days"),
];

/// What is chosen at first.
const A_DAY: u64 = 86_400;

/// Properties of [`RotateKey`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The key.
    pub(super) of: Rc<KeyItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form, then the new secret.
#[component]
pub(super) fn RotateKey(props: &Props) -> Html {
    let key = &props.of;
    let grace = use_state_eq(|| A_DAY.to_string());
    let why = use_state_eq(String::new);
    let secret = use_state_eq(|| None::<String>);
    let commander = {
        let (secret, onclose) = (secret.setter(), props.onclose.clone());
        use_command(Callback::from(move |answer: CommandAnswer| {
            match answer.secret {
                Some(key) => secret.set(Some(key)),
                // The same command was answered before, and then the secret was shown.
                None => onclose.emit(()),
            }
        }))
    };
    if let Some(secret) = &*secret {
        return html!(
            <ShownOnce title={format!("The new secret of {}", key.label)} secret={secret.clone()} onclose={props.onclose.clone()}>
                <p class="sl-quiet">{ "Give it to your application in place of the old one." }</p>
            </ShownOnce>
        );
    }
    let onsubmit = {
        let (send, grace, why, id) = (commander.send.clone(), grace.clone(), why.clone(), key.id);
        Callback::from(move |()| {
            if let Ok(grace_seconds) = grace.parse() {
                let command = NewCommand::RotateKey {
                    key: id,
                    grace_seconds,
                };
                send(command, &why);
            }
        })
    };
    let choices: Vec<Choice> = GRACES
        .iter()
        .map(|(seconds, label)| Choice {
            value: seconds.to_string().into(),
            label: (*label).into(),
        })
        .collect();
    let setter = grace.setter();
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Rotate {}", key.label)} action="Rotate" busy={commander.busy}
            description="The key gets a new secret, which is shown once. Its limits, grants and history stay."
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <SelectField name="grace_seconds" label="The old secret goes on working" required={true} {choices}
                value={(*grace).clone()} onchange={Callback::from(move |value| setter.set(value))}
                hint="A secret from an earlier rotation stops working in any case." rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

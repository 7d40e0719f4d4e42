//! Sets what a model costs, from a moment on.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ModelItem;
use events_schema::id::ModelId;
use yew::prelude::*;

use super::dollars::{Dollars, PriceFields};
use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;
use crate::widgets::moment;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &[
    "price.input",
    "price.output",
    "price.cached_input",
    "effective_at",
    "why",
];

/// What has been filled in: the price, and from when on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Priced {
    price: Dollars,
    effective_at: String,
}

/// Properties of [`SetPrice`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The model.
    pub(super) model: Rc<ModelItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn SetPrice(props: &Props) -> Html {
    let draft = use_draft(|| Priced {
        price: props.model.price.map(Dollars::of).unwrap_or_default(),
        effective_at: String::new(),
    });
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, model, draft, why) = (
            commander.send.clone(),
            props.model.id,
            draft.clone(),
            why.clone(),
        );
        Callback::from(move |()| {
            if let Some(command) = draft.command(model) {
                send(command, &why);
            }
        })
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Set the price of {}", props.model.full_name)} action="Set price"
            description="In US dollars per million tokens. Earlier requests keep what they cost."
            busy={commander.busy} complete={draft.command(props.model.id).is_some()} rejection={rejection.clone()} fields={FIELDS}
            {onsubmit} onclose={props.onclose.clone()}>
            <PriceFields value={draft.price.clone()} rejection={rejection.clone()}
                onchange={draft.edit(|draft: &mut Priced, price| draft.price = price)} />
            <TextField name="effective_at" label="From" kind="datetime-local" hint="In UTC. Empty: from now on."
                value={draft.effective_at.clone()} onchange={draft.edit(|draft, text| draft.effective_at = text)}
                rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Priced ===

impl Priced {
    /// The command, when everything can be read.
    fn command(&self, model: ModelId) -> Option<NewCommand> {
        Some(NewCommand::SetModelPrice {
            model,
            price: self.price.price()?,
            effective_at: moment::parse(&self.effective_at)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_applies_from_now_on_unless_a_moment_is_named() {
        let model = ModelId::from_bytes([1; 16]);
        let mut draft = Priced {
            price: Dollars {
                input: "1".to_owned(),
                output: "2".to_owned(),
                cached_input: String::new(),
            },
            effective_at: String::new(),
        };
        assert!(matches!(
            draft.command(model),
            Some(NewCommand::SetModelPrice {
                effective_at: None,
                ..
            })
        ));
        draft.effective_at = "2027-01-01T00:00".to_owned();
        assert!(matches!(
            draft.command(model),
            Some(NewCommand::SetModelPrice {
                effective_at: Some(_),
                ..
            })
        ));
        draft.effective_at = "soon".to_owned();
        assert!(draft.command(model).is_none());
    }
}

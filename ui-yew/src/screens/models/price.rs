//! Sets what a model costs, from a moment on.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ModelItem;
use events_schema::id::ModelId;
use events_schema::money::{NanoUsd, Price};
use yew::prelude::*;

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

/// What has been filled in: dollars per million tokens, and from when on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Dollars {
    input: String,
    output: String,
    cached_input: String,
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
    let draft = use_draft(|| props.model.price.map(Dollars::of).unwrap_or_default());
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
            <TextField name="price.input" label="Input" required={true} placeholder="2.50"
                value={draft.input.clone()} onchange={draft.edit(|draft, text| draft.input = text)}
                rejection={rejection.clone()} />
            <TextField name="price.output" label="Output" required={true} placeholder="10.00"
                value={draft.output.clone()} onchange={draft.edit(|draft, text| draft.output = text)}
                rejection={rejection.clone()} />
            <TextField name="price.cached_input" label="Input that the provider has cached" placeholder="As input"
                value={draft.cached_input.clone()} onchange={draft.edit(|draft, text| draft.cached_input = text)}
                rejection={rejection.clone()} />
            <TextField name="effective_at" label="From" kind="datetime-local" hint="In UTC. Empty: from now on."
                value={draft.effective_at.clone()} onchange={draft.edit(|draft, text| draft.effective_at = text)}
                rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Dollars ===

impl Dollars {
    /// A price as people write it.
    fn of(price: Price) -> Self {
        let text = NanoUsd::to_dollars;
        Self {
            input: text(price.input),
            output: text(price.output),
            cached_input: price.cached_input.map(text).unwrap_or_default(),
            effective_at: String::new(),
        }
    }

    /// The command, when everything can be read.
    fn command(&self, model: ModelId) -> Option<NewCommand> {
        Some(NewCommand::SetModelPrice {
            model,
            price: self.price()?,
            effective_at: moment::parse(&self.effective_at)?,
        })
    }

    /// The price, when every amount can be read.
    fn price(&self) -> Option<Price> {
        let cached = self.cached_input.trim();
        let cached_input = if cached.is_empty() {
            None
        } else {
            Some(nanos(cached)?)
        };
        Some(Price {
            input: nanos(&self.input)?,
            output: nanos(&self.output)?,
            cached_input,
        })
    }
}

/// What was typed, as an amount.
fn nanos(text: &str) -> Option<NanoUsd> {
    NanoUsd::from_dollars(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_applies_from_now_on_unless_a_moment_is_named() {
        let model = ModelId::from_bytes([1; 16]);
        let mut draft = Dollars {
            input: "1".to_owned(),
            output: "2".to_owned(),
            ..Dollars::default()
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

//! Sets what a model costs, from a moment on.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ModelItem;
use events_schema::money::{NanoUsd, Price};
use yew::prelude::*;

use crate::command::use_command;
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["price.input", "price.output", "price.cached_input", "why"];

/// Decimals of a dollar that an amount can have: nano-dollars.
const DECIMALS: usize = 9;

/// What has been filled in, in dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Dollars {
    input: String,
    output: String,
    cached_input: String,
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
            if let Some(price) = draft.price() {
                send(
                    NewCommand::SetModelPrice {
                        model,
                        price,
                        effective_at: None,
                    },
                    &why,
                );
            }
        })
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Set the price of {}", props.model.full_name)} action="Set price"
            description="In US dollars per million tokens, from now on. Earlier requests keep what they cost."
            busy={commander.busy} complete={draft.price().is_some()} rejection={rejection.clone()} fields={FIELDS}
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
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Dollars ===

impl Dollars {
    /// A price as people write it.
    fn of(price: Price) -> Self {
        let text = |amount: NanoUsd| dollars(amount.nanos());
        Self {
            input: text(price.input),
            output: text(price.output),
            cached_input: price.cached_input.map(text).unwrap_or_default(),
        }
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

/// Reads dollars exactly: `2.5` is 2,500,000,000 nano-dollars.
fn nanos(text: &str) -> Option<NanoUsd> {
    let text = text.trim().trim_start_matches('$');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > DECIMALS || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    format!("{whole}{fraction:0<DECIMALS$}").parse().ok()
}

/// Writes dollars exactly, with at least two decimals.
fn dollars(nanos: u64) -> String {
    let digits = format!("{nanos:0>10}");
    let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{whole}.{}", &fraction[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly_and_written_back() {
        for (text, amount) in [
            ("2.50", 2_500_000_000),
            ("0.075", 75_000_000),
            ("10.00", 10_000_000_000),
        ] {
            assert_eq!(nanos(text), Some(NanoUsd::new(amount)));
            assert_eq!(dollars(amount), text);
        }
        assert_eq!(nanos("$3"), Some(NanoUsd::new(3_000_000_000)));
    }

    #[test]
    fn what_is_no_amount_is_not_sent() {
        for text in ["", ".", "-1", "1,50", "1.0000000001", "free"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}

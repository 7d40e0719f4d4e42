//! A price as people type it: dollars per million tokens.

use events_schema::money::{NanoUsd, Price};
use yew::prelude::*;

use crate::api::Rejection;
use crate::widgets::field::TextField;

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Dollars {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) cached_input: String,
}

/// Properties of [`PriceFields`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// What has been filled in.
    pub(super) value: Dollars,
    /// Called with what is filled in from now on.
    pub(super) onchange: Callback<Dollars>,
    /// Why it was refused.
    pub(super) rejection: Option<Rejection>,
}

/// The three parts of a price.
#[component]
pub(super) fn PriceFields(props: &Props) -> Html {
    let Props {
        value,
        onchange,
        rejection,
    } = props;
    let part = |edit: fn(&mut Dollars, String)| {
        let value = value.clone();
        onchange.reform(move |text| {
            let mut next = value.clone();
            edit(&mut next, text);
            next
        })
    };
    html!(
        <>
            <TextField name="price.input" label="Input" required={true} placeholder="2.50"
                value={value.input.clone()} onchange={part(|it, text| it.input = text)} rejection={rejection.clone()} />
            <TextField name="price.output" label="Output" required={true} placeholder="10.00"
                value={value.output.clone()} onchange={part(|it, text| it.output = text)} rejection={rejection.clone()} />
            <TextField name="price.cached_input" label="Input that the provider has cached" placeholder="As input"
                value={value.cached_input.clone()} onchange={part(|it, text| it.cached_input = text)}
                rejection={rejection.clone()} />
        </>
    )
}

// === impl Dollars ===

impl Dollars {
    /// A price as people write it.
    pub(super) fn of(price: Price) -> Self {
        let text = NanoUsd::to_dollars;
        Self {
            input: text(price.input),
            output: text(price.output),
            cached_input: price.cached_input.map(text).unwrap_or_default(),
        }
    }

    /// The price, when every amount can be read.
    pub(super) fn price(&self) -> Option<Price> {
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
    fn a_price_is_read_as_it_was_written() {
        let price = Price {
            input: NanoUsd::new(2_500_000_000),
            output: NanoUsd::new(10_000_000_000),
            cached_input: None,
        };
        assert_eq!(Dollars::of(price).price(), Some(price));
        let cheaper = Dollars {
            cached_input: " 1.25 ".to_owned(),
            ..Dollars::of(price)
        };
        let cached = cheaper.price().and_then(|price| price.cached_input);
        assert_eq!(cached, Some(NanoUsd::new(1_250_000_000)));
        assert_eq!(Dollars::default().price(), None);
    }
}

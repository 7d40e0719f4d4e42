//! What a model costs.

use events_schema::{
    money::{NanoUsd, Price},
    snapshot::entries::ArchivedModelEntry,
    time::Timestamp,
};

/// The price of a model at a time; `None`: it has none yet.
#[must_use]
pub fn price_at(model: &ArchivedModelEntry, now: Timestamp) -> Option<Price> {
    let effective = model
        .prices
        .iter()
        .filter(|it| it.effective_at_us.to_native() <= now.micros());
    effective
        .max_by_key(|it| it.effective_at_us.to_native())
        .map(|it| Price {
            input: NanoUsd::new(it.input.to_native()),
            output: NanoUsd::new(it.output.to_native()),
            cached_input: Some(NanoUsd::new(it.cached_input.to_native())),
        })
}

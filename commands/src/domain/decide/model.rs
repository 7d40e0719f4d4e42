//! What commands for models do.

use events_schema::{
    events::{Aggregate, Event, ModelEvent as E, ModelRef, ModelType, Stream},
    id::{ModelId, ProviderAccountId},
    money::{NanoUsd, Price},
    names::ModelName,
    state::{Model, Organisation, PricePoint},
    time::Timestamp,
};
use std::collections::BTreeSet;

use super::{Decision, full_name, is_fresh, no_policy_names, quoted, when};
use crate::domain::{
    command::ModelCommand as C,
    rejection::{Rejection, RepricingFault, UsedBy},
};

/// A million dollars per million tokens: a thousand times what the dearest model costs, and small enough that no
/// request's cost comes near to what a [`NanoUsd`] holds.
const HIGHEST_PRICE: NanoUsd = NanoUsd::new(1_000_000_000_000_000);

/// The longest time whose price is corrected at once, in days: a year.
const MOST_REPRICED_DAYS: u64 = 366;

/// How often the price of a model is corrected: once a day for more than a year. They are shown with the model, and each
/// request is compared with all of them.
const MOST_REPRICINGS: usize = 500;

/// How often the prices of all models together are corrected: the projections send all of them with each of their statements.
const MOST_REPRICINGS_IN_ALL: usize = 1_000;

pub(super) fn decide(state: &Organisation, id: ModelId, command: &C) -> Decision {
    let event = |event| Event::Model(id, event);
    let known = || {
        state
            .models()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::Model))
    };
    match command {
        C::Add {
            account,
            name,
            upstream_name,
            model_types,
        } => {
            is_fresh(state, Stream::Model(id))?;
            can_be_added(state, id, *account, name, model_types)?;
            Ok(vec![event(E::ModelAdded {
                account: *account,
                name: name.clone(),
                upstream_name: upstream_name.clone(),
                model_types: model_types.clone(),
            })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, it.account, name)?;
            Ok(when(it.name != *name, || {
                event(E::ModelRenamed { name: name.clone() })
            }))
        }
        C::ChangeUpstreamName { upstream_name } => {
            Ok(when(known()?.upstream_name != *upstream_name, || {
                event(E::ModelUpstreamNameChanged {
                    upstream_name: upstream_name.clone(),
                })
            }))
        }
        C::SetPrice {
            price,
            effective_at,
        } => {
            let it = known()?;
            price_is_plausible(price)?;
            let already = PricePoint {
                effective_at: *effective_at,
                price: *price,
            };
            Ok(when(!it.prices.contains(&already), || {
                event(E::ModelPriced {
                    price: *price,
                    effective_at: *effective_at,
                })
            }))
        }
        C::RepriceUsage {
            from,
            until,
            price,
            shown,
            found,
            known: corrections,
            now,
        } => {
            let it = known()?;
            can_be_repriced(*from, *until, price, *now)?;
            if is_repriced_so(it, *from, *until, *price) {
                return Ok(Vec::new());
            }
            if it.repricings.len() >= MOST_REPRICINGS {
                let most = MOST_REPRICINGS;
                return Err(RepricingFault::TooMany { most }.into());
            }
            let in_all: usize = state.models().values().map(|it| it.repricings.len()).sum();
            if in_all >= MOST_REPRICINGS_IN_ALL {
                let most = MOST_REPRICINGS_IN_ALL;
                return Err(RepricingFault::TooManyInAll { most }.into());
            }
            if it.repricings.len() != *corrections {
                return Err(RepricingFault::Meanwhile.into());
            }
            if shown != found {
                return Err(RepricingFault::Differs { found: *found }.into());
            }
            Ok(vec![event(E::UsageRepriced {
                from: *from,
                until: *until,
                price: *price,
                shown: *shown,
            })])
        }
        C::Disable => Ok(when(!known()?.disabled, || event(E::ModelDisabled {}))),
        C::Enable => Ok(when(known()?.disabled, || event(E::ModelEnabled {}))),
        C::Delete => {
            is_unused(state, known()?)?;
            Ok(vec![event(E::ModelDeleted {})])
        }
    }
}

fn can_be_added(
    state: &Organisation,
    id: ModelId,
    account: ProviderAccountId,
    name: &ModelName,
    model_types: &BTreeSet<ModelType>,
) -> Result<(), Rejection> {
    if !state.provider_accounts().contains_key(&account) {
        return Err(Rejection::MissingReference {
            what: Aggregate::ProviderAccount,
            id: account.to_string(),
            field: "account",
        });
    }
    if model_types.is_empty() {
        return Err(Rejection::NoModelType);
    }
    name_is_free(state, id, account, name)
}

fn name_is_free(
    state: &Organisation,
    id: ModelId,
    account: ProviderAccountId,
    name: &ModelName,
) -> Result<(), Rejection> {
    match state.model_named(account, name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::Model,
            name: name.to_string(),
            account: state
                .provider_accounts()
                .get(&account)
                .map(|it| it.name.clone()),
        }),
        Some(_) | None => Ok(()),
    }
}

fn price_is_plausible(price: &Price) -> Result<(), Rejection> {
    let Price {
        input,
        output,
        cached_input,
    } = *price;
    let parts = [
        ("price.input", Some(input)),
        ("price.output", Some(output)),
        ("price.cached_input", cached_input),
    ];
    match parts
        .into_iter()
        .find(|(_, part)| part.is_some_and(|part| part > HIGHEST_PRICE))
    {
        Some((field, _)) => Err(Rejection::PriceTooHigh(field)),
        None => Ok(()),
    }
}

/// Whether such a correction is one that can be made at all: of a time that is past and bounded, to a plausible price.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn can_be_repriced(
    from: Timestamp,
    until: Timestamp,
    price: &Price,
    now: Timestamp,
) -> Result<(), Rejection> {
    price_is_plausible(price)?;
    let most = MOST_REPRICED_DAYS;
    if until <= from {
        return Err(RepricingFault::Empty.into());
    }
    if until > now {
        return Err(RepricingFault::ToCome.into());
    }
    if until.micros_since(from) > most * 86_400_000_000 {
        return Err(RepricingFault::TooLong { most }.into());
    }
    Ok(())
}

/// Whether the last correction that has to do with the range is this very one.
fn is_repriced_so(it: &Model, from: Timestamp, until: Timestamp, price: Price) -> bool {
    let mut overlapping = it.repricings.iter().rev();
    let last = overlapping.find(|other| other.from < until && from < other.until);
    last.is_some_and(|last| (last.from, last.until, last.price) == (from, until, price))
}

fn is_unused(state: &Organisation, it: &Model) -> Result<(), Rejection> {
    let used = |by| {
        Err(Rejection::StillUsed {
            what: Aggregate::Model,
            name: quoted(&full_name(state, it.id)),
            by,
        })
    };
    if let Some(virtual_model) = state.virtual_models_over(it.id).next() {
        return used(UsedBy::VirtualModel(virtual_model.name.clone()));
    }
    match state.grants_on(ModelRef::Model(it.id)).count() {
        0 => no_policy_names(state, Stream::Model(it.id), || {
            quoted(&full_name(state, it.id))
        }),
        grants => used(UsedBy::Grants(grants)),
    }
}

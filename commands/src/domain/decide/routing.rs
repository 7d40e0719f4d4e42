//! What commands for virtual models do.

use std::collections::BTreeSet;

use events_schema::{
    events::{
        Aggregate, Event, ModelRef, ModelType, Routing, Stream, VirtualModelEvent as E,
        WeightedTarget,
    },
    id::VirtualModelId,
    names::Slug,
    state::{Organisation, VirtualModel},
};

use super::{Decision, full_name, is_fresh, no_policy_names, quoted, when};
use crate::domain::{
    command::VirtualModelCommand as C,
    rejection::{Rejection, RoutingFault, UsedBy},
};

/// More targets than a request could ever try, and few enough to stand in one snapshot entry.
const MOST_TARGETS: usize = 32;

/// Shares in parts per million; the sum over all targets stays far below what 32 bits hold.
const HIGHEST_WEIGHT: u32 = 1_000_000;

pub(super) fn decide(state: &Organisation, id: VirtualModelId, command: &C) -> Decision {
    let event = |event| Event::VirtualModel(id, event);
    let known = || {
        state
            .virtual_models()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::VirtualModel))
    };
    match command {
        C::Create { name, routing } => {
            is_fresh(state, Stream::VirtualModel(id))?;
            name_is_free(state, id, name)?;
            can_be_followed(state, routing)?;
            Ok(vec![event(E::VirtualModelCreated {
                name: name.clone(),
                routing: routing.clone(),
            })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, name)?;
            Ok(when(it.name != *name, || {
                event(E::VirtualModelRenamed { name: name.clone() })
            }))
        }
        C::ChangeRouting { routing } => {
            let it = known()?;
            can_be_followed(state, routing)?;
            Ok(when(it.routing != *routing, || {
                event(E::VirtualModelRoutingChanged {
                    routing: routing.clone(),
                })
            }))
        }
        C::Disable => Ok(when(!known()?.disabled, || {
            event(E::VirtualModelDisabled {})
        })),
        C::Enable => Ok(when(known()?.disabled, || event(E::VirtualModelEnabled {}))),
        C::Delete => {
            is_unused(state, known()?)?;
            Ok(vec![event(E::VirtualModelDeleted {})])
        }
    }
}

fn name_is_free(state: &Organisation, id: VirtualModelId, name: &Slug) -> Result<(), Rejection> {
    match state.virtual_model_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::VirtualModel,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
}

fn can_be_followed(state: &Organisation, routing: &Routing) -> Result<(), Rejection> {
    let Routing::Weighted { targets } = routing;
    if !(1..=MOST_TARGETS).contains(&targets.len()) {
        return Err(Rejection::Routing(RoutingFault::Count {
            found: targets.len(),
            most: MOST_TARGETS,
        }));
    }
    let mut seen = BTreeSet::new();
    for target in targets {
        target_is_good(state, target)?;
        if !seen.insert(target.model) {
            return Err(Rejection::Routing(RoutingFault::Twice(full_name(
                state,
                target.model,
            ))));
        }
    }
    if targets.iter().all(|target| target.weight == 0) {
        return Err(Rejection::Routing(RoutingFault::NoWeight));
    }
    types_agree(state, targets)
}

fn target_is_good(state: &Organisation, target: &WeightedTarget) -> Result<(), Rejection> {
    if !state.models().contains_key(&target.model) {
        return Err(Rejection::MissingReference {
            what: Aggregate::Model,
            id: target.model.to_string(),
            field: "routing.weighted.targets",
        });
    }
    if target.weight > HIGHEST_WEIGHT {
        return Err(Rejection::Routing(RoutingFault::Weight {
            model: full_name(state, target.model),
            found: target.weight,
            most: HIGHEST_WEIGHT,
        }));
    }
    let codes = target.fallback_status_codes.iter().flatten();
    match codes.copied().find(|code| !(400..=599).contains(code)) {
        Some(code) => Err(Rejection::Routing(RoutingFault::StatusCode(code))),
        None => Ok(()),
    }
}

/// A request that one target can take, any other must be able to take as well.
fn types_agree(state: &Organisation, targets: &[WeightedTarget]) -> Result<(), Rejection> {
    let types_of = |target: &WeightedTarget| {
        state
            .models()
            .get(&target.model)
            .map(|it| it.model_types.clone())
    };
    let Some((first, rest)) = targets.split_first() else {
        return Ok(());
    };
    let mut common: BTreeSet<ModelType> = types_of(first).unwrap_or_default();
    for target in rest {
        let types = types_of(target).unwrap_or_default();
        common.retain(|model_type| types.contains(model_type));
        if common.is_empty() {
            return Err(Rejection::Routing(RoutingFault::NoCommonType {
                first: full_name(state, first.model),
                second: full_name(state, target.model),
            }));
        }
    }
    Ok(())
}

fn is_unused(state: &Organisation, it: &VirtualModel) -> Result<(), Rejection> {
    match state.grants_on(ModelRef::VirtualModel(it.id)).count() {
        0 => no_policy_names(state, Stream::VirtualModel(it.id), || quoted(&it.name)),
        grants => Err(Rejection::StillUsed {
            what: Aggregate::VirtualModel,
            name: quoted(&it.name),
            by: UsedBy::Grants(grants),
        }),
    }
}

//! What commands for virtual models do.

use events_schema::{
    events::{Aggregate, Event, ModelRef, Stream, VirtualModelEvent as E},
    id::VirtualModelId,
    names::VirtualModelName,
    state::{Organisation, VirtualModel},
};

use super::{Decision, is_fresh, no_policy_names, quoted, routing_rules::can_be_followed, when};
use crate::domain::{
    command::VirtualModelCommand as C,
    rejection::{Rejection, UsedBy},
};

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

fn name_is_free(
    state: &Organisation,
    id: VirtualModelId,
    name: &VirtualModelName,
) -> Result<(), Rejection> {
    match state.virtual_model_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::VirtualModel,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
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

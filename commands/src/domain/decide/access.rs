//! What commands for access grants do.

use events_schema::{
    events::{Aggregate, Event, GrantEvent as E, GrantedModels, ModelRef, Stream, Subject},
    id::GrantId,
    state::Organisation,
};

use super::{Decision, is_fresh, when};
use crate::domain::{command::GrantCommand as C, rejection::Rejection};

/// So that a grant fits into one snapshot entry; who needs more grants an account's models, or twice.
const MOST_LISTED: usize = 1_000;

pub(super) fn decide(state: &Organisation, id: GrantId, command: &C) -> Decision {
    let event = |event| Event::Grant(id, event);
    let known = || {
        state
            .grants()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::Grant))
    };
    match command {
        C::Grant { subject, models } => {
            is_fresh(state, Stream::Grant(id))?;
            subject_exists(state, *subject, "subject")?;
            models_exist(state, models)?;
            Ok(vec![event(E::AccessGranted {
                subject: *subject,
                models: models.clone(),
            })])
        }
        C::ChangeModels { models } => {
            let it = known()?;
            models_exist(state, models)?;
            Ok(when(it.models != *models, || {
                event(E::GrantedModelsChanged {
                    models: models.clone(),
                })
            }))
        }
        C::Revoke => {
            known()?;
            Ok(vec![event(E::AccessRevoked {})])
        }
    }
}

/// Whether who is referred to at `field` exists.
pub(super) fn subject_exists(
    state: &Organisation,
    subject: Subject,
    field: &'static str,
) -> Result<(), Rejection> {
    let (exists, what, id) = match subject {
        Subject::Everyone => return Ok(()),
        Subject::User(id) => (
            state.users().contains_key(&id),
            Aggregate::User,
            id.to_string(),
        ),
        Subject::VirtualAccount(id) => (
            state.virtual_accounts().contains_key(&id),
            Aggregate::VirtualAccount,
            id.to_string(),
        ),
        Subject::Team(id) => (
            state.teams().contains_key(&id),
            Aggregate::Team,
            id.to_string(),
        ),
        Subject::Key(id) => (
            state.keys().contains_key(&id),
            Aggregate::Key,
            id.to_string(),
        ),
    };
    if exists {
        Ok(())
    } else {
        Err(Rejection::MissingReference { what, id, field })
    }
}

fn models_exist(state: &Organisation, models: &GrantedModels) -> Result<(), Rejection> {
    let listed = match models {
        GrantedModels::All => return Ok(()),
        GrantedModels::Listed(listed) => listed,
    };
    if !(1..=MOST_LISTED).contains(&listed.len()) {
        return Err(Rejection::GrantSize {
            found: listed.len(),
            most: MOST_LISTED,
        });
    }
    listed
        .iter()
        .try_for_each(|model| model_exists(state, *model, "models"))
}

/// Whether what is referred to at `field` exists.
pub(super) fn model_exists(
    state: &Organisation,
    model: ModelRef,
    field: &'static str,
) -> Result<(), Rejection> {
    let (exists, what, id) = match model {
        ModelRef::Model(id) => (
            state.models().contains_key(&id),
            Aggregate::Model,
            id.to_string(),
        ),
        ModelRef::VirtualModel(id) => (
            state.virtual_models().contains_key(&id),
            Aggregate::VirtualModel,
            id.to_string(),
        ),
        ModelRef::ProviderAccount(id) => (
            state.provider_accounts().contains_key(&id),
            Aggregate::ProviderAccount,
            id.to_string(),
        ),
    };
    if exists {
        Ok(())
    } else {
        Err(Rejection::MissingReference { what, id, field })
    }
}

//! What commands for operators do.

use events_schema::{
    events::{Aggregate, Event, OperatorEvent as E, Role, Stream},
    id::OperatorId,
    state::{Operator, Organisation},
};

use super::{Decision, is_fresh, key::ends_later, when};
use crate::domain::{
    command::{Fingerprints, OperatorCommand as C},
    rejection::Rejection,
};

pub(super) fn decide(state: &Organisation, id: OperatorId, command: &C) -> Decision {
    let event = |event| Event::Operator(id, event);
    let known = || {
        state
            .operators()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::Operator))
    };
    match command {
        C::Add { role, email } => {
            is_fresh(state, Stream::Operator(id))?;
            email_is_free(state, id, email)?;
            Ok(vec![event(E::OperatorAdded {
                role: *role,
                email: email.active.clone(),
            })])
        }
        C::ChangeRole { role } => {
            let it = known()?;
            if *role != Role::Owner {
                an_owner_remains(state, it)?;
            }
            Ok(when(it.role != *role, || {
                event(E::OperatorRoleChanged { role: *role })
            }))
        }
        C::Rename { differs } => {
            known()?;
            Ok(when(*differs, || event(E::OperatorRenamed {})))
        }
        C::ChangeEmail { email } => {
            let it = known()?;
            email_is_free(state, id, email)?;
            Ok(when(it.email != email.active, || {
                event(E::OperatorEmailChanged {
                    email: email.active.clone(),
                })
            }))
        }
        C::ChangePassword => known().map(|_| vec![event(E::OperatorPasswordChanged {})]),
        C::Disable => {
            let it = known()?;
            an_owner_remains(state, it)?;
            Ok(when(!it.disabled, || event(E::OperatorDisabled {})))
        }
        C::Enable => Ok(when(known()?.disabled, || event(E::OperatorEnabled {}))),
        C::Remove => {
            an_owner_remains(state, known()?)?;
            Ok(vec![event(E::OperatorRemoved {})])
        }
        C::Erase => {
            if state.operators().contains_key(&id) {
                return Err(Rejection::StillAnOperator);
            }
            if state.stream_version(Stream::Operator(id)) == 0 {
                return Err(Rejection::NotFound(Aggregate::Operator));
            }
            Ok(when(!state.is_erased(Stream::Operator(id)), || {
                event(E::OperatorErased {})
            }))
        }
        C::IssueToken {
            token,
            label,
            expires_at,
            now,
        } => {
            let it = known()?;
            if it.tokens.iter().any(|known| known.id == *token) {
                return Err(Rejection::TokenIdUsed);
            }
            ends_later(*expires_at, *now)?;
            Ok(vec![event(E::OperatorTokenIssued {
                token: *token,
                label: label.clone(),
                expires_at: *expires_at,
            })])
        }
        C::RevokeToken { token } => {
            let is_there = known()?.tokens.iter().any(|known| known.id == *token);
            Ok(when(is_there, || {
                event(E::OperatorTokenRevoked { token: *token })
            }))
        }
    }
}

fn email_is_free(
    state: &Organisation,
    id: OperatorId,
    email: &Fingerprints,
) -> Result<(), Rejection> {
    let mut known = email.iter().filter_map(|it| state.operator_by_email(it));
    if known.any(|other| other.id != id) {
        Err(Rejection::EmailTaken(Aggregate::Operator))
    } else {
        Ok(())
    }
}

/// Whether somebody other than `it` is an owner who can sign in, or `it` is none to begin with.
fn an_owner_remains(state: &Organisation, it: &Operator) -> Result<(), Rejection> {
    let rules = |operator: &Operator| operator.role == Role::Owner && !operator.disabled;
    if !rules(it)
        || state
            .operators()
            .values()
            .any(|other| other.id != it.id && rules(other))
    {
        Ok(())
    } else {
        Err(Rejection::LastOwner)
    }
}

//! What commands for API keys do.

use events_schema::{
    events::{Aggregate, Event, GrantEvent, KeyEvent as E, KeyLimits, Owner, Stream, Subject},
    id::KeyId,
    names::Label,
    secrets::KeyedHash,
    state::Organisation,
    time::Timestamp,
};

use super::{Decision, is_fresh, when};
use crate::domain::{command::KeyCommand as C, rejection::Rejection};

/// 90 days: time enough to hand a new secret to everybody, and short enough that an old one is not forgotten.
const LONGEST_GRACE_SECONDS: u64 = 90 * 24 * 3_600;

pub(super) fn decide(state: &Organisation, id: KeyId, command: &C) -> Decision {
    let event = |event| Event::Key(id, event);
    let known = || {
        state
            .keys()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::Key))
    };
    match command {
        C::Issue {
            owner,
            label,
            hash,
            hint,
            expires_at,
            limits,
            now,
        } => {
            is_fresh(state, Stream::Key(id))?;
            owner_exists(state, *owner)?;
            label_is_free(state, *owner, label, *now)?;
            is_unknown(state, hash)?;
            ends_later(*expires_at, *now)?;
            limits_let_something_pass(*limits)?;
            Ok(vec![event(E::KeyIssued {
                owner: *owner,
                label: label.clone(),
                hash: hash.clone(),
                hint: hint.clone(),
                expires_at: *expires_at,
                limits: *limits,
            })])
        }
        C::Relabel { label, now } => {
            let it = known()?;
            if it.label == *label {
                return Ok(Vec::new());
            }
            label_is_free(state, it.owner, label, *now)?;
            Ok(vec![event(E::KeyRelabelled {
                label: label.clone(),
            })])
        }
        C::ChangeLimits { limits } => {
            let it = known()?;
            limits_let_something_pass(*limits)?;
            Ok(when(it.limits != *limits, || {
                event(E::KeyLimitsChanged { limits: *limits })
            }))
        }
        C::ChangeExpiry { expires_at, now } => {
            let it = known()?;
            if it.expires_at == *expires_at {
                return Ok(Vec::new());
            }
            ends_later(*expires_at, *now)?;
            Ok(vec![event(E::KeyExpiryChanged {
                expires_at: *expires_at,
            })])
        }
        C::Rotate {
            hash,
            hint,
            grace_seconds,
            now,
        } => {
            let it = known()?;
            if it.hash == *hash {
                return Ok(Vec::new());
            }
            is_unknown(state, hash)?;
            Ok(vec![event(E::KeyRotated {
                hash: hash.clone(),
                hint: hint.clone(),
                former_works_until: end_of_grace(*grace_seconds, *now)?,
            })])
        }
        C::RevokeFormerSecret => Ok(when(known()?.former.is_some(), || {
            event(E::KeyFormerSecretRevoked {})
        })),
        C::Disable => Ok(when(!known()?.disabled, || event(E::KeyDisabled {}))),
        C::Enable => Ok(when(known()?.disabled, || event(E::KeyEnabled {}))),
        C::Revoke => {
            known()?;
            Ok(revoked(state, id))
        }
    }
}

/// No key of the owner's has this label. One that has expired keeps its own until it is revoked: it can be made to work again.
fn label_is_free(
    state: &Organisation,
    owner: Owner,
    label: &Label,
    now: Timestamp,
) -> Result<(), Rejection> {
    match state.keys_labelled(owner, label).next() {
        None => Ok(()),
        Some(holder) => Err(Rejection::LabelTaken {
            label: label.clone(),
            expired: holder.expires_at.is_some_and(|end| end <= now),
        }),
    }
}

/// No key has this secret, nor had it before its last rotation.
fn is_unknown(state: &Organisation, hash: &KeyedHash) -> Result<(), Rejection> {
    match state.key_by_hash(hash) {
        None => Ok(()),
        Some(_) => Err(Rejection::KeyNotUnique),
    }
}

/// Until when the secret before a rotation works; `None`: not at all.
fn end_of_grace(seconds: u64, now: Timestamp) -> Result<Option<Timestamp>, Rejection> {
    if seconds > LONGEST_GRACE_SECONDS {
        return Err(Rejection::GraceTooLong);
    }
    let micros = i64::try_from(seconds * 1_000_000).map_err(|_| Rejection::GraceTooLong)?;
    Ok((seconds > 0).then(|| now.plus_micros(micros)))
}

/// A key is never kept alive by what refers to it: its grants go with it, before it.
fn revoked(state: &Organisation, id: KeyId) -> Vec<Event> {
    let grants = state.grants_of(Subject::Key(id));
    let mut events: Vec<Event> = grants
        .map(|grant| Event::Grant(grant.id, GrantEvent::AccessRevoked {}))
        .collect();
    events.push(Event::Key(id, E::KeyRevoked {}));
    events
}

fn owner_exists(state: &Organisation, owner: Owner) -> Result<(), Rejection> {
    let missing = |what, id| {
        Err(Rejection::MissingReference {
            what,
            id,
            field: "owner",
        })
    };
    match owner {
        Owner::User(id) if !state.users().contains_key(&id) => {
            missing(Aggregate::User, id.to_string())
        }
        Owner::VirtualAccount(id) if !state.virtual_accounts().contains_key(&id) => {
            missing(Aggregate::VirtualAccount, id.to_string())
        }
        Owner::User(_) | Owner::VirtualAccount(_) => Ok(()),
    }
}

/// Whether an end, if there is one, lies in the future.
pub(super) fn ends_later(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), Rejection> {
    if expires_at.is_some_and(|end| end <= now) {
        Err(Rejection::ExpiryInPast)
    } else {
        Ok(())
    }
}

fn limits_let_something_pass(limits: KeyLimits) -> Result<(), Rejection> {
    let KeyLimits {
        requests_per_minute,
        tokens_per_minute,
    } = limits;
    if requests_per_minute == Some(0) {
        return Err(Rejection::LimitTooLow("limits.requests_per_minute"));
    }
    if tokens_per_minute == Some(0) {
        return Err(Rejection::LimitTooLow("limits.tokens_per_minute"));
    }
    Ok(())
}

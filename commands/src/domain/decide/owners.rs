//! What commands for users and virtual accounts, the owners of keys, do.

use events_schema::{
    events::{Aggregate, Event, Owner, Stream, Subject, UserEvent as U, VirtualAccountEvent as V},
    id::{UserId, VirtualAccountId},
    names::Slug,
    state::Organisation,
};

use super::{Decision, is_fresh, no_policy_names, quoted, team, when};
use crate::domain::{
    command::{Fingerprints, UserCommand, VirtualAccountCommand},
    rejection::{Rejection, UsedBy},
};

pub(super) fn decide_user(state: &Organisation, id: UserId, command: &UserCommand) -> Decision {
    use UserCommand as C;
    let event = |event| Event::User(id, event);
    let known = || {
        state
            .users()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::User))
    };
    match command {
        C::Add { email } => {
            is_fresh(state, Stream::User(id))?;
            email_is_free(state, id, email)?;
            Ok(vec![event(U::UserAdded {
                email: email.active.clone(),
            })])
        }
        C::ChangeEmail { email } => {
            let it = known()?;
            if state.is_erased(Stream::User(id)) {
                return Err(Rejection::PersonErased);
            }
            email_is_free(state, id, email)?;
            Ok(when(it.email != email.active, || {
                event(U::UserEmailChanged {
                    email: email.active.clone(),
                })
            }))
        }
        C::Rename { differs } => {
            known()?;
            if state.is_erased(Stream::User(id)) {
                return Err(Rejection::PersonErased);
            }
            Ok(when(*differs, || event(U::UserRenamed {})))
        }
        C::Disable => Ok(when(!known()?.disabled, || event(U::UserDisabled {}))),
        C::Enable => Ok(when(known()?.disabled, || event(U::UserEnabled {}))),
        C::Erase => {
            known()?;
            Ok(when(!state.is_erased(Stream::User(id)), || {
                event(U::UserErased {})
            }))
        }
        C::Delete => {
            known()?;
            owns_nothing(
                state,
                Owner::User(id),
                Subject::User(id),
                Aggregate::User,
                String::new(),
            )?;
            let mut events = team::leave_all(state, id);
            events.push(event(U::UserDeleted {}));
            Ok(events)
        }
    }
}

pub(super) fn decide_virtual_account(
    state: &Organisation,
    id: VirtualAccountId,
    command: &VirtualAccountCommand,
) -> Decision {
    use VirtualAccountCommand as C;
    let event = |event| Event::VirtualAccount(id, event);
    let known = || {
        state
            .virtual_accounts()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::VirtualAccount))
    };
    match command {
        C::Create { name } => {
            is_fresh(state, Stream::VirtualAccount(id))?;
            name_is_free(state, id, name)?;
            Ok(vec![event(V::VirtualAccountCreated { name: name.clone() })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, name)?;
            Ok(when(it.name != *name, || {
                event(V::VirtualAccountRenamed { name: name.clone() })
            }))
        }
        C::Disable => Ok(when(!known()?.disabled, || {
            event(V::VirtualAccountDisabled {})
        })),
        C::Enable => Ok(when(known()?.disabled, || {
            event(V::VirtualAccountEnabled {})
        })),
        C::Delete => {
            let name = quoted(&known()?.name);
            let (owner, subject) = (Owner::VirtualAccount(id), Subject::VirtualAccount(id));
            owns_nothing(state, owner, subject, Aggregate::VirtualAccount, name)?;
            Ok(vec![event(V::VirtualAccountDeleted {})])
        }
    }
}

fn email_is_free(state: &Organisation, id: UserId, email: &Fingerprints) -> Result<(), Rejection> {
    let mut known = email.iter().filter_map(|it| state.user_by_email(it));
    if known.any(|other| other.id != id) {
        Err(Rejection::EmailTaken(Aggregate::User))
    } else {
        Ok(())
    }
}

fn name_is_free(state: &Organisation, id: VirtualAccountId, name: &Slug) -> Result<(), Rejection> {
    match state.virtual_account_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::VirtualAccount,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
}

fn owns_nothing(
    state: &Organisation,
    owner: Owner,
    subject: Subject,
    what: Aggregate,
    name: String,
) -> Result<(), Rejection> {
    match (
        state.keys_of(owner).count(),
        state.grants_of(subject).count(),
    ) {
        (0, 0) => {
            let thing = match owner {
                Owner::User(id) => Stream::User(id),
                Owner::VirtualAccount(id) => Stream::VirtualAccount(id),
            };
            no_policy_names(state, thing, || name)
        }
        (0, grants) => Err(Rejection::StillUsed {
            what,
            name,
            by: UsedBy::Grants(grants),
        }),
        (keys, _) => Err(Rejection::StillUsed {
            what,
            name,
            by: UsedBy::Keys(keys),
        }),
    }
}

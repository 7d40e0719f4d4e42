//! What commands for provider accounts do.

use events_schema::{
    events::{Aggregate, Event, ModelRef, ProviderAccountEvent as E, Stream},
    id::ProviderAccountId,
    names::{BaseUrl, Slug},
    secrets::SealedRef,
    state::{Organisation, ProviderAccount},
};

use super::{Decision, is_fresh, no_policy_names, quoted, when};
use crate::domain::{
    command::{ProviderAccountCommand as C, SealedCredential},
    rejection::{Rejection, UsedBy},
};

pub(super) fn decide(state: &Organisation, id: ProviderAccountId, command: &C) -> Decision {
    let event = |event| Event::ProviderAccount(id, event);
    let known = || {
        state
            .provider_accounts()
            .get(&id)
            .ok_or(Rejection::NotFound(Aggregate::ProviderAccount))
    };
    match command {
        C::Register {
            name,
            provider,
            base_url,
            credential,
            allows_private_addresses,
        } => {
            is_fresh(state, Stream::ProviderAccount(id))?;
            name_is_free(state, id, name)?;
            Ok(vec![event(E::ProviderAccountRegistered {
                name: name.clone(),
                provider: *provider,
                base_url: base_url.clone(),
                credential: sealed_for(base_url, credential.as_ref())?,
                allows_private_addresses: *allows_private_addresses,
            })])
        }
        C::Rename { name } => {
            let it = known()?;
            name_is_free(state, id, name)?;
            Ok(when(it.name != *name, || {
                event(E::ProviderAccountRenamed { name: name.clone() })
            }))
        }
        C::Move {
            base_url,
            credential,
        } => {
            let it = known()?;
            let credential = credential_after_move(it, base_url, credential.as_ref())?;
            let changes = it.base_url != *base_url || it.credential != credential;
            Ok(when(changes, || {
                event(E::ProviderAccountMoved {
                    base_url: base_url.clone(),
                    credential,
                })
            }))
        }
        C::ReplaceCredential { credential } => {
            let it = known()?;
            let credential = sealed_for(&it.base_url, credential.as_ref())?;
            let changes = it.credential != credential || it.credential_shredded;
            Ok(when(changes, || {
                event(E::ProviderCredentialReplaced { credential })
            }))
        }
        C::ShredCredential => {
            let it = known()?;
            let is_there = it.credential.is_some() && !it.credential_shredded;
            Ok(when(is_there, || event(E::ProviderCredentialShredded {})))
        }
        C::AllowPrivateAddresses => Ok(when(!known()?.allows_private_addresses, || {
            event(E::ProviderPrivateAddressesAllowed {})
        })),
        C::ForbidPrivateAddresses => Ok(when(known()?.allows_private_addresses, || {
            event(E::ProviderPrivateAddressesForbidden {})
        })),
        C::Disable => Ok(when(!known()?.disabled, || {
            event(E::ProviderAccountDisabled {})
        })),
        C::Enable => Ok(when(known()?.disabled, || {
            event(E::ProviderAccountEnabled {})
        })),
        C::Delete => {
            is_unused(state, known()?)?;
            Ok(vec![event(E::ProviderAccountDeleted {})])
        }
    }
}

fn name_is_free(state: &Organisation, id: ProviderAccountId, name: &Slug) -> Result<(), Rejection> {
    match state.provider_account_named(name) {
        Some(other) if other.id != id => Err(Rejection::NameTaken {
            what: Aggregate::ProviderAccount,
            name: name.to_string(),
            account: None,
        }),
        Some(_) | None => Ok(()),
    }
}

/// The reference to a credential that is bound to this base URL.
fn sealed_for(
    base_url: &BaseUrl,
    credential: Option<&SealedCredential>,
) -> Result<Option<SealedRef>, Rejection> {
    match credential {
        None => Ok(None),
        Some(credential) if credential.origin == base_url.origin() => {
            Ok(Some(credential.sealed.clone()))
        }
        Some(_) => Err(Rejection::CredentialForElsewhere {
            origin: base_url.origin(),
        }),
    }
}

/// A credential is bound to its origin: it stays with the same origin, and is asked for again at another.
fn credential_after_move(
    it: &ProviderAccount,
    base_url: &BaseUrl,
    credential: Option<&SealedCredential>,
) -> Result<Option<SealedRef>, Rejection> {
    let (old_origin, new_origin) = (it.base_url.origin(), base_url.origin());
    match (&it.credential, credential) {
        (_, Some(_)) => sealed_for(base_url, credential),
        (Some(old), None) if old_origin == new_origin => Ok(Some(old.clone())),
        (Some(_), None) => Err(Rejection::CredentialNeeded {
            old_origin,
            new_origin,
        }),
        (None, None) => Ok(None),
    }
}

fn is_unused(state: &Organisation, it: &ProviderAccount) -> Result<(), Rejection> {
    let used = |by| {
        Err(Rejection::StillUsed {
            what: Aggregate::ProviderAccount,
            name: quoted(&it.name),
            by,
        })
    };
    if let Some(example) = state.models_of(it.id).next() {
        let count = state.models_of(it.id).count();
        return used(UsedBy::Models {
            count,
            example: example.name.to_string(),
        });
    }
    match state.grants_on(ModelRef::ProviderAccount(it.id)).count() {
        0 => no_policy_names(state, Stream::ProviderAccount(it.id), || quoted(&it.name)),
        grants => used(UsedBy::Grants(grants)),
    }
}

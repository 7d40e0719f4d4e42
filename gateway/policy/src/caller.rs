//! Who calls: from a key's hash to a key that works and its owner.

use events_schema::{
    events::Owner,
    id::{KeyId, UserId, VirtualAccountId},
    snapshot::entries::{ArchivedKeyEntry, ArchivedOwnerEntry, SubjectEntry},
    time::Timestamp,
};

use crate::{Configuration, Denial};

/// A caller whose key works.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'c> {
    /// The key.
    pub key: &'c ArchivedKeyEntry,
}

/// Finds the caller by the keyed hash of the key: of its secret, or of the one before its last rotation for as long as
/// that one works.
///
/// # Errors
/// [`Denial::UnknownKey`], [`Denial::SecretReplaced`] (from that very microsecond on), [`Denial::KeyDisabled`], [`Denial::KeyExpired`] (from that very microsecond on),
/// [`Denial::OwnerMissing`], [`Denial::OwnerDisabled`]; the first that applies, in this order.
pub fn authenticate<'c>(
    config: &'c impl Configuration,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<Caller<'c>, Denial> {
    let key = match config.key_by_hash(hash) {
        Some(key) => key,
        None => key_by_former_secret(config, hash, now)?,
    };
    check_key(config, key, now)?;
    Ok(Caller { key })
}

fn key_by_former_secret<'c>(
    config: &'c impl Configuration,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<&'c ArchivedKeyEntry, Denial> {
    let former = config
        .former_secret_by_hash(hash)
        .ok_or(Denial::UnknownKey)?;
    let until = former.works_until_us.to_native();
    if until <= now.micros() {
        return Err(Denial::SecretReplaced {
            at: Timestamp::MIN.plus_micros(until),
        });
    }
    config.key(&former.key).ok_or(Denial::UnknownKey)
}

fn check_key(
    config: &impl Configuration,
    key: &ArchivedKeyEntry,
    now: Timestamp,
) -> Result<(), Denial> {
    if key.disabled {
        return Err(Denial::KeyDisabled);
    }
    if let Some(expiry) = key.expires_at_us.as_ref().map(|it| it.to_native())
        && expiry <= now.micros()
    {
        return Err(Denial::KeyExpired {
            at: Timestamp::MIN.plus_micros(expiry),
        });
    }
    let owner_is_disabled = match &key.owner {
        ArchivedOwnerEntry::User(id) => config.user(id).map(|it| it.disabled),
        ArchivedOwnerEntry::VirtualAccount(id) => config.virtual_account(id).map(|it| it.disabled),
    };
    match owner_is_disabled {
        None => Err(Denial::OwnerMissing),
        Some(true) => Err(Denial::OwnerDisabled),
        Some(false) => Ok(()),
    }
}

impl Caller<'_> {
    /// The key's id.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::from_bytes(self.key.id)
    }

    /// The key's owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        match &self.key.owner {
            ArchivedOwnerEntry::User(id) => Owner::User(UserId::from_bytes(*id)),
            ArchivedOwnerEntry::VirtualAccount(id) => {
                Owner::VirtualAccount(VirtualAccountId::from_bytes(*id))
            }
        }
    }

    /// As whom the caller has grants: as the key, as its owner, as anyone, and as a member of each team of the owner that
    /// is there and not disabled.
    pub(crate) fn subjects(
        self,
        config: &impl Configuration,
    ) -> impl Iterator<Item = SubjectEntry> {
        let owner = match &self.key.owner {
            ArchivedOwnerEntry::User(id) => SubjectEntry::User(*id),
            ArchivedOwnerEntry::VirtualAccount(id) => SubjectEntry::VirtualAccount(*id),
        };
        let memberships = match &self.key.owner {
            ArchivedOwnerEntry::User(id) => config.memberships(id),
            ArchivedOwnerEntry::VirtualAccount(_) => None,
        };
        let teams = memberships.into_iter().flat_map(|it| it.teams.iter());
        let teams = teams.filter(|id| config.team(id).is_some_and(|team| !team.disabled));
        [
            SubjectEntry::Key(self.key.id),
            owner,
            SubjectEntry::Everyone,
        ]
        .into_iter()
        .chain(teams.map(|id| SubjectEntry::Team(*id)))
    }
}

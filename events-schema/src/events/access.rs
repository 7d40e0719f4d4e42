//! Events of those who call: users, virtual accounts, their keys, and what they may use.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{
        InvalidId, KeyId, ModelId, ProviderAccountId, TeamId, UserId, VirtualAccountId,
        VirtualModelId,
    },
    names::{Label, Slug},
    secrets::KeyedHash,
    time::Timestamp,
};

/// What happens to a user. Name and e-mail address lie in the table `people`, under the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UserEvent {
    /// A person may own keys from now on.
    UserAdded {
        /// Fingerprint of the e-mail address, for uniqueness.
        email: KeyedHash,
    },
    /// The person's e-mail address changed.
    UserEmailChanged {
        /// Fingerprint of the new address.
        email: KeyedHash,
    },
    /// The person is called otherwise: the name in `people` was replaced, and the former one is kept nowhere.
    UserRenamed {},
    /// None of the user's keys works any more.
    UserDisabled {},
    /// The user's keys work again.
    UserEnabled {},
    /// The person's name and e-mail address were erased from `people`. The user stays, without a name, and so do the keys.
    UserErased {},
    /// The user is gone.
    UserDeleted {},
}

/// What happens to a virtual account: an owner of keys that is no person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VirtualAccountEvent {
    /// A virtual account was made.
    VirtualAccountCreated {
        /// Its name.
        name: Slug,
    },
    /// It was given another name.
    VirtualAccountRenamed {
        /// The new name.
        name: Slug,
    },
    /// None of its keys works any more.
    VirtualAccountDisabled {},
    /// Its keys work again.
    VirtualAccountEnabled {},
    /// It is gone.
    VirtualAccountDeleted {},
}

/// Who owns a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A user.
    User(UserId),
    /// A virtual account.
    VirtualAccount(VirtualAccountId),
}

/// Text that names no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an owner is user:<id> or virtual_account:<id>")]
pub struct InvalidOwner;

impl From<InvalidId> for InvalidOwner {
    fn from(_: InvalidId) -> Self {
        Self
    }
}

impl fmt::Display for Owner {
    /// `user:<id>` or `virtual_account:<id>`, as the ledger writes it and questions to it do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::VirtualAccount(id) => write!(f, "virtual_account:{id}"),
        }
    }
}

impl FromStr for Owner {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, InvalidOwner> {
        match text.split_once(':').ok_or(InvalidOwner)? {
            ("user", id) => Ok(Self::User(id.parse()?)),
            ("virtual_account", id) => Ok(Self::VirtualAccount(id.parse()?)),
            _ => Err(InvalidOwner),
        }
    }
}

/// A key's own limits. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Requests per minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens per minute, input and output together.
    pub tokens_per_minute: Option<u64>,
}

/// What happens to an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyEvent {
    /// A key was made and shown once.
    KeyIssued {
        /// Who owns it.
        owner: Owner,
        /// What people call it.
        label: Label,
        /// Its hash under the pepper.
        hash: KeyedHash,
        /// Its last four characters, to recognise it by.
        hint: String,
        /// When it ceases to work; `None`: never.
        expires_at: Option<Timestamp>,
        /// Its limits.
        limits: KeyLimits,
    },
    /// People call it something else.
    KeyRelabelled {
        /// The new label.
        label: Label,
    },
    /// Its limits changed.
    KeyLimitsChanged {
        /// The new limits.
        limits: KeyLimits,
    },
    /// It ceases to work at another time.
    KeyExpiryChanged {
        /// The new time; `None`: never.
        expires_at: Option<Timestamp>,
    },
    /// Its secret was replaced by a new one, which was shown once.
    KeyRotated {
        /// The new secret's hash under the pepper.
        hash: KeyedHash,
        /// The new secret's last four characters.
        hint: String,
        /// Until when the secret before it works as well; `None`: it ceased to work at once. Of the secrets before
        /// that one none works any more.
        former_works_until: Option<Timestamp>,
    },
    /// The secret before the last rotation ceased to work before its time.
    KeyFormerSecretRevoked {},
    /// It does not work any more.
    KeyDisabled {},
    /// It works again.
    KeyEnabled {},
    /// It will never work again.
    KeyRevoked {},
}

/// To whom access is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Whoever has a key that works.
    Everyone,
    /// A user, with all of the user's keys.
    User(UserId),
    /// A virtual account, with all of its keys.
    VirtualAccount(VirtualAccountId),
    /// One key.
    Key(KeyId),
    /// A team: all of its members, with all of their keys.
    Team(TeamId),
}

/// Which models a grant opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GrantedModels {
    /// All, also those that come later.
    All,
    /// These; at least one, at most 1,000.
    Listed(BTreeSet<ModelRef>),
}

/// Something that a caller can ask for, or a set of such things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModelRef {
    /// One model.
    Model(ModelId),
    /// A virtual model (its targets need no grant of their own).
    VirtualModel(VirtualModelId),
    /// All models of a provider account, also those that come later.
    ProviderAccount(ProviderAccountId),
}

/// What happens to an access grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantEvent {
    /// A subject may use models.
    AccessGranted {
        /// Who.
        subject: Subject,
        /// What.
        models: GrantedModels,
    },
    /// The grant opens other models.
    GrantedModelsChanged {
        /// What it opens now.
        models: GrantedModels,
    },
    /// The grant is gone.
    AccessRevoked {},
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_written_and_read_back() {
        let owners = [
            Owner::User(UserId::from_bytes([1; 16])),
            Owner::VirtualAccount(VirtualAccountId::from_bytes([2; 16])),
        ];
        for owner in owners {
            assert_eq!(owner.to_string().parse(), Ok(owner));
        }
        let id = "0".repeat(32);
        for text in ["", "user", "user:ada", &format!("team:{id}"), &id] {
            assert_eq!(text.parse::<Owner>(), Err(InvalidOwner), "{text}");
        }
    }
}

//! Typed identifiers: one type per meaning, so that a key's id cannot be passed for a user's.
//!
//! An id is a UUID (version 7 where Sluice makes it, so that ids sort by age), written as 32
//! lower-case hexadecimal digits: `[a-z0-9]` only, fit to stand in a NATS subject. Making ids needs
//! a clock and a random source and therefore belongs to the shells, not to this crate.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// An identifier of a `T`.
pub struct Id<T> {
    uuid: Uuid,
    of: PhantomData<fn() -> T>,
}

/// Marks ids of provider accounts.
#[derive(Debug)]
pub enum ProviderAccountTag {}
/// Marks ids of models.
#[derive(Debug)]
pub enum ModelTag {}
/// Marks ids of virtual models.
#[derive(Debug)]
pub enum VirtualModelTag {}
/// Marks ids of users.
#[derive(Debug)]
pub enum UserTag {}
/// Marks ids of virtual accounts.
#[derive(Debug)]
pub enum VirtualAccountTag {}
/// Marks ids of teams.
#[derive(Debug)]
pub enum TeamTag {}
/// Marks ids of rate-limit policies.
#[derive(Debug)]
pub enum RateLimitPolicyTag {}
/// Marks ids of budget policies.
#[derive(Debug)]
pub enum BudgetPolicyTag {}
/// Marks ids of API keys.
#[derive(Debug)]
pub enum KeyTag {}
/// Marks ids of access grants.
#[derive(Debug)]
pub enum GrantTag {}
/// Marks ids of operators.
#[derive(Debug)]
pub enum OperatorTag {}
/// Marks ids of operators' automation tokens.
#[derive(Debug)]
pub enum TokenTag {}
/// Marks ids of sealed secrets.
#[derive(Debug)]
pub enum SecretTag {}
/// Marks ids of commands.
#[derive(Debug)]
pub enum CommandTag {}
/// Marks ids of events.
#[derive(Debug)]
pub enum EventTag {}

/// A provider account's id.
pub type ProviderAccountId = Id<ProviderAccountTag>;
/// A model's id.
pub type ModelId = Id<ModelTag>;
/// A virtual model's id.
pub type VirtualModelId = Id<VirtualModelTag>;
/// A user's id; also the id of the person in the table `people`.
pub type UserId = Id<UserTag>;
/// A virtual account's id.
pub type VirtualAccountId = Id<VirtualAccountTag>;
/// A team's id.
pub type TeamId = Id<TeamTag>;
/// A rate-limit policy's id.
pub type RateLimitPolicyId = Id<RateLimitPolicyTag>;
/// A budget policy's id.
pub type BudgetPolicyId = Id<BudgetPolicyTag>;
/// An API key's id (not the key itself).
pub type KeyId = Id<KeyTag>;
/// An access grant's id.
pub type GrantId = Id<GrantTag>;
/// An operator's id; also the id of the person in the table `people`.
pub type OperatorId = Id<OperatorTag>;
/// An automation token's id (not the token itself).
pub type TokenId = Id<TokenTag>;
/// The id of a sealed secret, kept beside the log.
pub type SecretId = Id<SecretTag>;
/// A command's id, chosen by whoever sends it.
pub type CommandId = Id<CommandTag>;
/// An event's id.
pub type EventId = Id<EventTag>;

impl<T> Id<T> {
    /// Wraps a UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self {
            uuid,
            of: PhantomData,
        }
    }

    /// The UUID within.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The sixteen bytes, as they stand in hashes and in snapshot entries.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.uuid.into_bytes()
    }

    /// The id with these sixteen bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
}

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct InvalidId;

impl<T> FromStr for Id<T> {
    type Err = InvalidId;

    /// Reads 32 hexadecimal digits, with or without a UUID's hyphens.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text)
            .map(Self::from_uuid)
            .map_err(|_| InvalidId)
    }
}

impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.as_simple().fmt(f)
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<T> hash::Hash for Id<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; uuid::fmt::Simple::LENGTH];
        serializer.serialize_str(self.uuid.as_simple().encode_lower(&mut text))
    }
}

impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_32_hex_digits_and_read_back() {
        let id = KeyId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            serde_json::to_string(&id).expect("an id is JSON"),
            format!("\"{id}\"")
        );
    }

    #[test]
    fn other_text_is_not_an_id() {
        assert_eq!("bob".parse::<KeyId>(), Err(InvalidId));
    }
}

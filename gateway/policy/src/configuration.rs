//! What policy looks up, and nothing else: the seam between the rules and whatever holds the entries.
//!
//! The gateway's view implements it over archives in memory; tests implement it over a few maps; an
//! auditor's replay over the state as of any position. Entries are read in place, never deserialised.

use events_schema::{
    envelope::Epoch,
    snapshot::{
        entries::{
            ArchivedFormerSecretEntry, ArchivedGrantEntry, ArchivedKeyEntry,
            ArchivedMembershipsEntry, ArchivedModelEntry, ArchivedProviderAccountEntry,
            ArchivedTeamEntry, ArchivedUserEntry, ArchivedVirtualAccountEntry,
            ArchivedVirtualModelEntry, SubjectEntry,
        },
        routing::ArchivedRoutingEntry,
    },
};

/// A thing's id, as it stands in entries.
pub type EntryId = [u8; 16];

/// Which configuration decides: it goes into each request's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The epoch of the log; `None`: nothing is loaded.
    pub epoch: Option<Epoch>,
    /// The position of the log; 0: nothing is loaded.
    pub position: u64,
}

/// A whole configuration as of one position: what is not found in it does not exist.
///
/// Lookups by name or hash take text that callers chose: an implementation hashes it with a key of its own.
/// All are expected in constant time and without allocation, except the iterations.
pub trait Configuration {
    /// Which configuration this is.
    fn served(&self) -> Served;

    /// The API key with this keyed hash.
    fn key_by_hash(&self, hash: &[u8; 32]) -> Option<&ArchivedKeyEntry>;

    /// The secret with this keyed hash that a key had before it was rotated.
    fn former_secret_by_hash(&self, hash: &[u8; 32]) -> Option<&ArchivedFormerSecretEntry>;

    /// An API key.
    fn key(&self, id: &EntryId) -> Option<&ArchivedKeyEntry>;

    /// A user.
    fn user(&self, id: &EntryId) -> Option<&ArchivedUserEntry>;

    /// A team.
    fn team(&self, id: &EntryId) -> Option<&ArchivedTeamEntry>;

    /// The teams of a user; `None`: the user is in none.
    fn memberships(&self, user: &EntryId) -> Option<&ArchivedMembershipsEntry>;

    /// A virtual account.
    fn virtual_account(&self, id: &EntryId) -> Option<&ArchivedVirtualAccountEntry>;

    /// A virtual model, by its name.
    fn virtual_model_by_name(&self, name: &str) -> Option<&ArchivedVirtualModelEntry>;

    /// How a virtual model chooses; `None`: by the weights of its own entry alone.
    fn routing(&self, virtual_model: &EntryId) -> Option<&ArchivedRoutingEntry>;

    /// A provider account.
    fn account(&self, id: &EntryId) -> Option<&ArchivedProviderAccountEntry>;

    /// A provider account, by its name.
    fn account_by_name(&self, name: &str) -> Option<&ArchivedProviderAccountEntry>;

    /// A model.
    fn model(&self, id: &EntryId) -> Option<&ArchivedModelEntry>;

    /// Whether a model can be asked for completions of a text.
    fn takes_completions(&self, model: &EntryId) -> bool;

    /// A model, by its account and its name within it.
    fn model_by_name(&self, account: &EntryId, name: &str) -> Option<&ArchivedModelEntry>;

    /// The grants made to exactly this subject (not those that it has through another), in any order.
    fn grants(&self, subject: SubjectEntry) -> impl Iterator<Item = &ArchivedGrantEntry>;

    /// All virtual models, in any order.
    fn virtual_models(&self) -> impl Iterator<Item = &ArchivedVirtualModelEntry>;

    /// All models, in any order.
    fn models(&self) -> impl Iterator<Item = &ArchivedModelEntry>;
}

//! All entries and the indexes over them, in persistent maps: a copy shares its structure, so a staged change
//! costs what it touches, and a swap costs nothing that grows with the number of entries.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use events_schema::snapshot::{
    DigestKey, EntriesDigest, EntryKind, EntrySubject,
    budgets::ArchivedBudgetPolicyEntry,
    entries::{
        ArchivedCompletionModelEntry, ArchivedFormerSecretEntry, ArchivedGrantEntry,
        ArchivedKeyEntry, ArchivedMembershipsEntry, ArchivedModelEntry,
        ArchivedPrivateAddressesEntry, ArchivedProviderAccountEntry, ArchivedSubjectEntry,
        ArchivedTeamEntry, ArchivedUserEntry, ArchivedVirtualAccountEntry,
        ArchivedVirtualModelEntry, SubjectEntry,
    },
    limits::ArchivedRateLimitPolicyEntry,
    routing::ArchivedRoutingEntry,
};
use gateway_policy::Rules;
use imbl::{GenericHashMap, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};
use rkyv::{Portable, api::high::HighValidator, bytecheck::CheckBytes, rancor::Failure};

use super::entry::{Entry, InvalidArchive};

type EntryId = [u8; 16];
// Seeded at random for each process: callers choose names, and must not be able to choose collisions.
type Map<K, V> = GenericHashMap<K, V, foldhash::fast::RandomState, DefaultSharedPtr>;
type Entries<A> = Map<EntryId, Arc<Entry<A>>>;

/// Every entry that a gateway knows, with what is needed to find it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) accounts: Entries<ArchivedProviderAccountEntry>,
    pub(super) models: Entries<ArchivedModelEntry>,
    pub(super) virtual_models: Entries<ArchivedVirtualModelEntry>,
    pub(super) users: Entries<ArchivedUserEntry>,
    pub(super) virtual_accounts: Entries<ArchivedVirtualAccountEntry>,
    pub(super) keys: Entries<ArchivedKeyEntry>,
    pub(super) grants: Entries<ArchivedGrantEntry>,
    pub(super) teams: Entries<ArchivedTeamEntry>,
    /// By user.
    pub(super) memberships: Entries<ArchivedMembershipsEntry>,
    /// By virtual model.
    pub(super) routings: Entries<ArchivedRoutingEntry>,
    /// By model.
    pub(super) completion_models: Entries<ArchivedCompletionModelEntry>,
    /// By provider account.
    pub(super) private_addresses: Entries<ArchivedPrivateAddressesEntry>,
    pub(super) former_secrets: Entries<ArchivedFormerSecretEntry>,
    pub(super) policies: Entries<ArchivedRateLimitPolicyEntry>,
    pub(super) budgets: Entries<ArchivedBudgetPolicyEntry>,
    /// The policies, compiled once they are asked for.
    rules: OnceLock<Arc<Rules>>,
    /// The same of budgets.
    budget_rules: OnceLock<Arc<Rules>>,
    pub(super) former_secrets_by_hash: Map<[u8; 32], EntryId>,
    pub(super) keys_by_hash: Map<[u8; 32], Arc<Entry<ArchivedKeyEntry>>>,
    pub(super) accounts_by_name: Map<Arc<str>, EntryId>,
    pub(super) virtual_models_by_name: Map<Arc<str>, EntryId>,
    pub(super) models_by_name: Map<EntryId, OrdMap<Arc<str>, EntryId>>,
    pub(super) grants_by_subject: Map<SubjectKey, OrdSet<EntryId>>,
    digest: EntriesDigest,
    count: u64,
}

/// A grant's subject, fit to be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SubjectKey(u8, EntryId);

/// Why an entry is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEntry {
    #[error(transparent)]
    Archive(#[from] InvalidArchive),
    #[error("the entry carries another id than its subject")]
    Id,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It stands in the tables now.
    Taken,
    /// A newer one stands there already.
    Older,
}

impl Tables {
    /// How many entries there are.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The digest over all entries, under the key with which they were put.
    pub(super) const fn digest(&self) -> EntriesDigest {
        self.digest
    }

    /// The rules of all rate-limit policies.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        let policies = || self.policies.values().map(|entry| &***entry);
        self.rules
            .get_or_init(|| Arc::new(Rules::compile(policies())))
    }

    /// The rules of all budget policies.
    pub(super) fn budget_rules(&self) -> &Arc<Rules> {
        let policies = || self.budgets.values().map(|entry| &***entry);
        self.budget_rules
            .get_or_init(|| Arc::new(Rules::compile_budgets(policies())))
    }

    /// Compiles the rules of all policies: here, and not when the first request asks for them.
    pub(super) fn compile(&self) {
        let _compiled = (self.rules(), self.budget_rules());
    }

    /// Takes an entry, in place of the one that stood at its subject.
    ///
    /// # Errors
    /// When the payload is not what the subject promises; the tables are then unchanged.
    pub(super) fn put(
        &mut self,
        key: &DigestKey,
        subject: EntrySubject,
        position: u64,
        payload: &[u8],
    ) -> Result<Put, InvalidEntry> {
        let old = self.stored(subject);
        if old.is_some_and(|(old, _)| old > position) {
            return Ok(Put::Older);
        }
        let text = subject.to_string();
        let old_hash = old.map(|(position, payload)| key.hash(&text, position, payload));
        self.replace(subject, position, payload)?;
        match old_hash {
            Some(hash) => self.digest.remove(hash),
            None => self.count += 1,
        }
        self.digest.add(key.hash(&text, position, payload));
        Ok(Put::Taken)
    }

    /// Takes away the entry of a thing whose last event, at `position`, ended it.
    pub(super) fn bury(&mut self, key: &DigestKey, subject: EntrySubject, position: u64) -> Put {
        let Some((old, payload)) = self.stored(subject) else {
            return Put::Taken;
        };
        if old > position {
            return Put::Older;
        }
        let hash = key.hash(&subject.to_string(), old, payload);
        self.digest.remove(hash);
        self.count -= 1;
        self.drop_entry(subject);
        Put::Taken
    }

    /// Computes the digest anew, under another key.
    pub(super) fn rehash(&mut self, key: &DigestKey) {
        let mut digest = EntriesDigest::default();
        self.for_each(|subject, position, payload| {
            digest.add(key.hash(&subject.to_string(), position, payload))
        });
        self.digest = digest;
    }

    /// Calls `visit` with each entry's subject, position and payload.
    pub(super) fn for_each(&self, mut visit: impl FnMut(EntrySubject, u64, &[u8])) {
        each(&self.accounts, EntryKind::ProviderAccount, &mut visit);
        each(&self.models, EntryKind::Model, &mut visit);
        each(&self.virtual_models, EntryKind::VirtualModel, &mut visit);
        each(&self.users, EntryKind::User, &mut visit);
        each(
            &self.virtual_accounts,
            EntryKind::VirtualAccount,
            &mut visit,
        );
        each(&self.keys, EntryKind::Key, &mut visit);
        each(&self.grants, EntryKind::Grant, &mut visit);
        each(&self.former_secrets, EntryKind::FormerSecret, &mut visit);
        each(&self.teams, EntryKind::Team, &mut visit);
        each(&self.memberships, EntryKind::Memberships, &mut visit);
        each(&self.routings, EntryKind::Routing, &mut visit);
        each(
            &self.completion_models,
            EntryKind::CompletionModel,
            &mut visit,
        );
        each(
            &self.private_addresses,
            EntryKind::PrivateAddresses,
            &mut visit,
        );
        each(&self.policies, EntryKind::RateLimitPolicy, &mut visit);
        each(&self.budgets, EntryKind::BudgetPolicy, &mut visit);
    }

    /// The position and payload of the entry at a subject.
    pub(super) fn stored(&self, subject: EntrySubject) -> Option<(u64, &[u8])> {
        let EntrySubject { kind, id } = subject;
        match kind {
            EntryKind::ProviderAccount => stored(&self.accounts, id),
            EntryKind::Model => stored(&self.models, id),
            EntryKind::VirtualModel => stored(&self.virtual_models, id),
            EntryKind::User => stored(&self.users, id),
            EntryKind::VirtualAccount => stored(&self.virtual_accounts, id),
            EntryKind::Key => stored(&self.keys, id),
            EntryKind::Grant => stored(&self.grants, id),
            EntryKind::FormerSecret => stored(&self.former_secrets, id),
            EntryKind::Team => stored(&self.teams, id),
            EntryKind::Memberships => stored(&self.memberships, id),
            EntryKind::Routing => stored(&self.routings, id),
            EntryKind::CompletionModel => stored(&self.completion_models, id),
            EntryKind::PrivateAddresses => stored(&self.private_addresses, id),
            EntryKind::RateLimitPolicy => stored(&self.policies, id),
            EntryKind::BudgetPolicy => stored(&self.budgets, id),
        }
    }

    /// Everything that the entry at a subject says.
    pub(super) fn in_words(&self, subject: EntrySubject) -> Option<String> {
        let EntrySubject { kind, id } = subject;
        match kind {
            EntryKind::ProviderAccount => in_words(&self.accounts, id),
            EntryKind::Model => in_words(&self.models, id),
            EntryKind::VirtualModel => in_words(&self.virtual_models, id),
            EntryKind::User => in_words(&self.users, id),
            EntryKind::VirtualAccount => in_words(&self.virtual_accounts, id),
            EntryKind::Key => in_words(&self.keys, id),
            EntryKind::Grant => in_words(&self.grants, id),
            EntryKind::FormerSecret => in_words(&self.former_secrets, id),
            EntryKind::Team => in_words(&self.teams, id),
            EntryKind::Memberships => in_words(&self.memberships, id),
            EntryKind::Routing => in_words(&self.routings, id),
            EntryKind::CompletionModel => in_words(&self.completion_models, id),
            EntryKind::PrivateAddresses => in_words(&self.private_addresses, id),
            EntryKind::RateLimitPolicy => in_words(&self.policies, id),
            EntryKind::BudgetPolicy => in_words(&self.budgets, id),
        }
    }

    fn replace(
        &mut self,
        subject: EntrySubject,
        position: u64,
        payload: &[u8],
    ) -> Result<(), InvalidEntry> {
        let EntrySubject { kind, id } = subject;
        match kind {
            EntryKind::ProviderAccount => {
                let new: Arc<Entry<ArchivedProviderAccountEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.drop_entry(subject);
                self.accounts_by_name
                    .insert(Arc::from(new.name.as_str()), id);
                self.accounts.insert(id, new);
            }
            EntryKind::Model => {
                let new: Arc<Entry<ArchivedModelEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.drop_entry(subject);
                let mut names = self.models_by_name.remove(&new.account).unwrap_or_default();
                names.insert(Arc::from(new.name.as_str()), id);
                self.models_by_name.insert(new.account, names);
                self.models.insert(id, new);
            }
            EntryKind::VirtualModel => {
                let new: Arc<Entry<ArchivedVirtualModelEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.drop_entry(subject);
                self.virtual_models_by_name
                    .insert(Arc::from(new.name.as_str()), id);
                self.virtual_models.insert(id, new);
            }
            EntryKind::User => {
                let new: Arc<Entry<ArchivedUserEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.users.insert(id, new);
            }
            EntryKind::VirtualAccount => {
                let new: Arc<Entry<ArchivedVirtualAccountEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.virtual_accounts.insert(id, new);
            }
            EntryKind::Key => {
                let new: Arc<Entry<ArchivedKeyEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.drop_entry(subject);
                self.keys_by_hash.insert(new.hash, Arc::clone(&new));
                self.keys.insert(id, new);
            }
            EntryKind::Grant => {
                let new: Arc<Entry<ArchivedGrantEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.drop_entry(subject);
                let to = SubjectKey::of_archived(&new.subject);
                let mut grants = self.grants_by_subject.remove(&to).unwrap_or_default();
                grants.insert(id);
                self.grants_by_subject.insert(to, grants);
                self.grants.insert(id, new);
            }
            EntryKind::FormerSecret => {
                let new: Arc<Entry<ArchivedFormerSecretEntry>> = parse(position, payload)?;
                same_id(new.key, id)?;
                self.drop_entry(subject);
                self.former_secrets_by_hash.insert(new.hash, id);
                self.former_secrets.insert(id, new);
            }
            EntryKind::Team => {
                let new: Arc<Entry<ArchivedTeamEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.teams.insert(id, new);
            }
            EntryKind::Memberships => {
                let new: Arc<Entry<ArchivedMembershipsEntry>> = parse(position, payload)?;
                same_id(new.user, id)?;
                self.memberships.insert(id, new);
            }
            EntryKind::Routing => {
                let new: Arc<Entry<ArchivedRoutingEntry>> = parse(position, payload)?;
                same_id(new.virtual_model, id)?;
                self.routings.insert(id, new);
            }
            EntryKind::CompletionModel => {
                let new: Arc<Entry<ArchivedCompletionModelEntry>> = parse(position, payload)?;
                same_id(new.model, id)?;
                self.completion_models.insert(id, new);
            }
            EntryKind::PrivateAddresses => {
                let new: Arc<Entry<ArchivedPrivateAddressesEntry>> = parse(position, payload)?;
                same_id(new.account, id)?;
                self.private_addresses.insert(id, new);
            }
            EntryKind::RateLimitPolicy => {
                let new: Arc<Entry<ArchivedRateLimitPolicyEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.rules = OnceLock::new();
                self.policies.insert(id, new);
            }
            EntryKind::BudgetPolicy => {
                let new: Arc<Entry<ArchivedBudgetPolicyEntry>> = parse(position, payload)?;
                same_id(new.id, id)?;
                self.budget_rules = OnceLock::new();
                self.budgets.insert(id, new);
            }
        }
        Ok(())
    }

    /// Takes an entry and what points to it out of the maps. A name or hash that meanwhile belongs to another
    /// thing stays with that one: things change places within a batch, and the batch's order is not the log's.
    fn drop_entry(&mut self, subject: EntrySubject) {
        let EntrySubject { kind, id } = subject;
        match kind {
            EntryKind::ProviderAccount => {
                let Some(old) = self.accounts.remove(&id) else {
                    return;
                };
                unindex(&mut self.accounts_by_name, old.name.as_str(), id);
            }
            EntryKind::Model => {
                let Some(old) = self.models.remove(&id) else {
                    return;
                };
                let mut names = self.models_by_name.remove(&old.account).unwrap_or_default();
                if names.get(old.name.as_str()) == Some(&id) {
                    names.remove(old.name.as_str());
                }
                if !names.is_empty() {
                    self.models_by_name.insert(old.account, names);
                }
            }
            EntryKind::VirtualModel => {
                let Some(old) = self.virtual_models.remove(&id) else {
                    return;
                };
                unindex(&mut self.virtual_models_by_name, old.name.as_str(), id);
            }
            EntryKind::User => drop(self.users.remove(&id)),
            EntryKind::VirtualAccount => drop(self.virtual_accounts.remove(&id)),
            EntryKind::Team => drop(self.teams.remove(&id)),
            EntryKind::Memberships => drop(self.memberships.remove(&id)),
            EntryKind::Routing => drop(self.routings.remove(&id)),
            EntryKind::CompletionModel => drop(self.completion_models.remove(&id)),
            EntryKind::PrivateAddresses => drop(self.private_addresses.remove(&id)),
            EntryKind::RateLimitPolicy => {
                self.rules = OnceLock::new();
                drop(self.policies.remove(&id));
            }
            EntryKind::BudgetPolicy => {
                self.budget_rules = OnceLock::new();
                drop(self.budgets.remove(&id));
            }
            EntryKind::Key => {
                let Some(old) = self.keys.remove(&id) else {
                    return;
                };
                if self
                    .keys_by_hash
                    .get(&old.hash)
                    .is_some_and(|now| now.id == id)
                {
                    self.keys_by_hash.remove(&old.hash);
                }
            }
            EntryKind::Grant => {
                let Some(old) = self.grants.remove(&id) else {
                    return;
                };
                let to = SubjectKey::of_archived(&old.subject);
                let mut grants = self.grants_by_subject.remove(&to).unwrap_or_default();
                grants.remove(&id);
                if !grants.is_empty() {
                    self.grants_by_subject.insert(to, grants);
                }
            }
            EntryKind::FormerSecret => {
                let Some(old) = self.former_secrets.remove(&id) else {
                    return;
                };
                if self.former_secrets_by_hash.get(&old.hash) == Some(&id) {
                    self.former_secrets_by_hash.remove(&old.hash);
                }
            }
        }
    }
}

impl SubjectKey {
    pub(super) const fn of(subject: SubjectEntry) -> Self {
        match subject {
            SubjectEntry::Everyone => Self(0, [0; 16]),
            SubjectEntry::User(id) => Self(1, id),
            SubjectEntry::VirtualAccount(id) => Self(2, id),
            SubjectEntry::Key(id) => Self(3, id),
            SubjectEntry::Team(id) => Self(4, id),
        }
    }

    const fn of_archived(subject: &ArchivedSubjectEntry) -> Self {
        match subject {
            ArchivedSubjectEntry::Everyone => Self::of(SubjectEntry::Everyone),
            ArchivedSubjectEntry::User(id) => Self::of(SubjectEntry::User(*id)),
            ArchivedSubjectEntry::VirtualAccount(id) => Self::of(SubjectEntry::VirtualAccount(*id)),
            ArchivedSubjectEntry::Key(id) => Self::of(SubjectEntry::Key(*id)),
            ArchivedSubjectEntry::Team(id) => Self::of(SubjectEntry::Team(*id)),
        }
    }
}

fn parse<A>(position: u64, payload: &[u8]) -> Result<Arc<Entry<A>>, InvalidEntry>
where
    A: Portable + for<'a> CheckBytes<HighValidator<'a, Failure>>,
{
    Ok(Arc::new(Entry::parse(position, payload)?))
}

fn same_id(entry: EntryId, subject: EntryId) -> Result<(), InvalidEntry> {
    if entry == subject {
        Ok(())
    } else {
        Err(InvalidEntry::Id)
    }
}

fn unindex(names: &mut Map<Arc<str>, EntryId>, name: &str, id: EntryId) {
    if names.get(name) == Some(&id) {
        names.remove(name);
    }
}

fn stored<A: Portable>(entries: &Entries<A>, id: EntryId) -> Option<(u64, &[u8])> {
    entries
        .get(&id)
        .map(|entry| (entry.position(), entry.payload()))
}

fn in_words<A: Portable + fmt::Debug>(entries: &Entries<A>, id: EntryId) -> Option<String> {
    entries.get(&id).map(|entry| format!("{:?}", &***entry))
}

fn each<A: Portable>(
    entries: &Entries<A>,
    kind: EntryKind,
    visit: &mut impl FnMut(EntrySubject, u64, &[u8]),
) {
    for (id, entry) in entries {
        visit(
            EntrySubject { kind, id: *id },
            entry.position(),
            entry.payload(),
        );
    }
}

#[cfg(test)]
mod tests {
    use events_schema::snapshot::entries::{
        Entry as Source, GrantEntry, KeyEntry, ModelRefEntry, OwnerEntry, VirtualAccountEntry,
        VirtualModelEntry,
    };

    use super::*;

    fn digest_key() -> DigestKey {
        DigestKey::derive(&[1; 32])
    }

    fn put(tables: &mut Tables, kind: EntryKind, id: u8, position: u64, entry: &Source) -> Put {
        let subject = EntrySubject { kind, id: [id; 16] };
        tables
            .put(&digest_key(), subject, position, &entry.archive())
            .expect("a good entry")
    }

    fn key(id: u8, hash: u8) -> Source {
        Source::Key(KeyEntry {
            id: [id; 16],
            owner: OwnerEntry::User([9; 16]),
            hash: [hash; 32],
            pepper: "k1".into(),
            expires_at_us: None,
            requests_per_minute: None,
            tokens_per_minute: None,
            disabled: false,
        })
    }

    fn virtual_model(id: u8, name: &str) -> Source {
        Source::VirtualModel(VirtualModelEntry {
            id: [id; 16],
            name: name.into(),
            targets: vec![],
            disabled: false,
        })
    }

    #[test]
    fn a_key_is_found_by_its_hash_until_it_is_gone() {
        let mut tables = Tables::default();
        put(&mut tables, EntryKind::Key, 1, 5, &key(1, 7));
        assert!(
            tables
                .keys_by_hash
                .get(&[7; 32])
                .is_some_and(|found| found.id == [1; 16])
        );
        tables.bury(
            &digest_key(),
            EntrySubject {
                kind: EntryKind::Key,
                id: [1; 16],
            },
            6,
        );
        assert!(tables.keys_by_hash.get(&[7; 32]).is_none());
        assert_eq!(
            (tables.count(), tables.digest()),
            (0, EntriesDigest::default())
        );
    }

    #[test]
    fn an_older_entry_or_tombstone_changes_nothing() {
        let mut tables = Tables::default();
        put(&mut tables, EntryKind::Key, 1, 5, &key(1, 7));
        assert_eq!(
            put(&mut tables, EntryKind::Key, 1, 4, &key(1, 8)),
            Put::Older
        );
        let subject = EntrySubject {
            kind: EntryKind::Key,
            id: [1; 16],
        };
        assert_eq!(tables.bury(&digest_key(), subject, 4), Put::Older);
        assert!(tables.keys_by_hash.get(&[7; 32]).is_some());
    }

    #[test]
    fn two_things_that_change_names_within_a_batch_are_both_found() {
        let mut tables = Tables::default();
        put(
            &mut tables,
            EntryKind::VirtualModel,
            1,
            1,
            &virtual_model(1, "a"),
        );
        put(
            &mut tables,
            EntryKind::VirtualModel,
            2,
            2,
            &virtual_model(2, "b"),
        );
        put(
            &mut tables,
            EntryKind::VirtualModel,
            1,
            5,
            &virtual_model(1, "b"),
        );
        put(
            &mut tables,
            EntryKind::VirtualModel,
            2,
            4,
            &virtual_model(2, "a"),
        );
        assert_eq!(tables.virtual_models_by_name.get("a"), Some(&[2; 16]));
        assert_eq!(tables.virtual_models_by_name.get("b"), Some(&[1; 16]));
    }

    #[test]
    fn the_digest_does_not_depend_on_the_way_to_the_state() {
        let mut straight = Tables::default();
        put(&mut straight, EntryKind::Key, 1, 9, &key(1, 8));
        let mut winding = Tables::default();
        put(&mut winding, EntryKind::Key, 1, 5, &key(1, 7));
        put(
            &mut winding,
            EntryKind::VirtualModel,
            2,
            6,
            &virtual_model(2, "b"),
        );
        put(&mut winding, EntryKind::Key, 1, 9, &key(1, 8));
        winding.bury(
            &digest_key(),
            EntrySubject {
                kind: EntryKind::VirtualModel,
                id: [2; 16],
            },
            10,
        );
        assert_eq!(
            (winding.count(), winding.digest()),
            (straight.count(), straight.digest())
        );
        winding.rehash(&digest_key());
        assert_eq!(winding.digest(), straight.digest());
    }

    #[test]
    fn a_grant_is_listed_with_its_subject_alone() {
        let mut tables = Tables::default();
        let grant = |subject| {
            Source::Grant(GrantEntry {
                id: [1; 16],
                subject,
                models: vec![ModelRefEntry::All],
            })
        };
        put(
            &mut tables,
            EntryKind::Grant,
            1,
            1,
            &grant(SubjectEntry::Everyone),
        );
        put(
            &mut tables,
            EntryKind::Grant,
            1,
            2,
            &grant(SubjectEntry::User([3; 16])),
        );
        assert!(
            tables
                .grants_by_subject
                .get(&SubjectKey::of(SubjectEntry::Everyone))
                .is_none()
        );
        assert!(
            tables
                .grants_by_subject
                .get(&SubjectKey::of(SubjectEntry::User([3; 16])))
                .is_some()
        );
    }

    #[test]
    fn an_entry_at_another_things_subject_is_refused() {
        let entry = VirtualAccountEntry {
            id: [1; 16],
            name: "ci".into(),
            disabled: false,
        };
        let subject = EntrySubject {
            kind: EntryKind::VirtualAccount,
            id: [2; 16],
        };
        let refused = Tables::default().put(
            &digest_key(),
            subject,
            1,
            &Source::VirtualAccount(entry).archive(),
        );
        assert_eq!(refused, Err(InvalidEntry::Id));
    }
}

//! A configuration in a few vectors: archives as they are published, looked up by going through them.

use std::marker::PhantomData;

use events_schema::{
    id::GrantId,
    snapshot::entries::{
        ArchivedCompletionModelEntry, ArchivedFormerSecretEntry, ArchivedGrantEntry,
        ArchivedKeyEntry, ArchivedMembershipsEntry, ArchivedModelEntry,
        ArchivedProviderAccountEntry, ArchivedSubjectEntry, ArchivedTeamEntry, ArchivedUserEntry,
        ArchivedVirtualAccountEntry, ArchivedVirtualModelEntry, Entry, GrantEntry, KeyEntry,
        ModelEntry, ModelRefEntry, OwnerEntry, ProviderAccountEntry, ProviderDialect, SubjectEntry,
        TargetEntry, UserEntry, VirtualAccountEntry, VirtualModelEntry,
    },
    snapshot::routing::ArchivedRoutingEntry,
    time::Timestamp,
};
use gateway_policy::{Configuration, EntryId, Served};
use rkyv::{api::high::HighValidator, bytecheck::CheckBytes, rancor::Error, util::AlignedVec};

/// Archives of one type.
struct Archives<A> {
    archives: Vec<AlignedVec>,
    of: PhantomData<A>,
}

impl<A> Default for Archives<A> {
    fn default() -> Self {
        Self {
            archives: Vec::new(),
            of: PhantomData,
        }
    }
}

impl<A> Archives<A>
where
    A: rkyv::Portable + for<'a> CheckBytes<HighValidator<'a, Error>>,
{
    fn iter(&self) -> impl Iterator<Item = &A> {
        self.archives
            .iter()
            .map(|it| rkyv::access::<A, Error>(it).expect("made by this version"))
    }
}

/// The configuration.
#[derive(Default)]
pub(crate) struct Memory {
    accounts: Archives<ArchivedProviderAccountEntry>,
    models: Archives<ArchivedModelEntry>,
    virtual_models: Archives<ArchivedVirtualModelEntry>,
    users: Archives<ArchivedUserEntry>,
    virtual_accounts: Archives<ArchivedVirtualAccountEntry>,
    keys: Archives<ArchivedKeyEntry>,
    grants: Archives<ArchivedGrantEntry>,
    former_secrets: Archives<ArchivedFormerSecretEntry>,
    teams: Archives<ArchivedTeamEntry>,
    memberships: Archives<ArchivedMembershipsEntry>,
    routings: Archives<ArchivedRoutingEntry>,
    completion_models: Archives<ArchivedCompletionModelEntry>,
}

impl Memory {
    pub(crate) fn with(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut memory = Self::default();
        for entry in entries {
            let archives = match &entry {
                Entry::ProviderAccount(_) => &mut memory.accounts.archives,
                Entry::Model(_) => &mut memory.models.archives,
                Entry::VirtualModel(_) => &mut memory.virtual_models.archives,
                Entry::User(_) => &mut memory.users.archives,
                Entry::VirtualAccount(_) => &mut memory.virtual_accounts.archives,
                Entry::Key(_) => &mut memory.keys.archives,
                Entry::Grant(_) => &mut memory.grants.archives,
                Entry::FormerSecret(_) => &mut memory.former_secrets.archives,
                Entry::Team(_) => &mut memory.teams.archives,
                Entry::Memberships(_) => &mut memory.memberships.archives,
                Entry::Routing(_) => &mut memory.routings.archives,
                Entry::CompletionModel(_) => &mut memory.completion_models.archives,
                // Where an account's host may be concerns whoever connects to it.
                Entry::PrivateAddresses(_) => continue,
                // Rules are compiled from them, and looked up by themselves.
                Entry::RateLimitPolicy(_) | Entry::BudgetPolicy(_) => continue,
            };
            archives.push(entry.archive());
        }
        memory
    }
}

impl Configuration for Memory {
    fn served(&self) -> Served {
        Served {
            epoch: None,
            position: 1,
        }
    }

    fn key_by_hash(&self, hash: &[u8; 32]) -> Option<&ArchivedKeyEntry> {
        self.keys.iter().find(|it| it.hash == *hash)
    }

    fn former_secret_by_hash(&self, hash: &[u8; 32]) -> Option<&ArchivedFormerSecretEntry> {
        self.former_secrets.iter().find(|it| it.hash == *hash)
    }

    fn key(&self, id: &EntryId) -> Option<&ArchivedKeyEntry> {
        self.keys.iter().find(|it| it.id == *id)
    }

    fn user(&self, id: &EntryId) -> Option<&ArchivedUserEntry> {
        self.users.iter().find(|it| it.id == *id)
    }

    fn team(&self, id: &EntryId) -> Option<&ArchivedTeamEntry> {
        self.teams.iter().find(|it| it.id == *id)
    }

    fn memberships(&self, user: &EntryId) -> Option<&ArchivedMembershipsEntry> {
        self.memberships.iter().find(|it| it.user == *user)
    }

    fn virtual_account(&self, id: &EntryId) -> Option<&ArchivedVirtualAccountEntry> {
        self.virtual_accounts.iter().find(|it| it.id == *id)
    }

    fn virtual_model_by_name(&self, name: &str) -> Option<&ArchivedVirtualModelEntry> {
        self.virtual_models.iter().find(|it| it.name == name)
    }

    fn routing(&self, virtual_model: &EntryId) -> Option<&ArchivedRoutingEntry> {
        let mut routings = self.routings.iter();
        routings.find(|it| it.virtual_model == *virtual_model)
    }

    fn account(&self, id: &EntryId) -> Option<&ArchivedProviderAccountEntry> {
        self.accounts.iter().find(|it| it.id == *id)
    }

    fn account_by_name(&self, name: &str) -> Option<&ArchivedProviderAccountEntry> {
        self.accounts.iter().find(|it| it.name == name)
    }

    fn model(&self, id: &EntryId) -> Option<&ArchivedModelEntry> {
        self.models.iter().find(|it| it.id == *id)
    }

    fn takes_completions(&self, model: &EntryId) -> bool {
        self.completion_models.iter().any(|it| it.model == *model)
    }

    fn model_by_name(&self, account: &EntryId, name: &str) -> Option<&ArchivedModelEntry> {
        self.models
            .iter()
            .find(|it| it.account == *account && it.name == name)
    }

    fn grants(&self, subject: SubjectEntry) -> impl Iterator<Item = &ArchivedGrantEntry> {
        self.grants
            .iter()
            .filter(move |it| match (&it.subject, subject) {
                (ArchivedSubjectEntry::Everyone, SubjectEntry::Everyone) => true,
                (ArchivedSubjectEntry::User(one), SubjectEntry::User(other))
                | (
                    ArchivedSubjectEntry::VirtualAccount(one),
                    SubjectEntry::VirtualAccount(other),
                )
                | (ArchivedSubjectEntry::Key(one), SubjectEntry::Key(other))
                | (ArchivedSubjectEntry::Team(one), SubjectEntry::Team(other)) => *one == other,
                _ => false,
            })
    }

    fn virtual_models(&self) -> impl Iterator<Item = &ArchivedVirtualModelEntry> {
        self.virtual_models.iter()
    }

    fn models(&self) -> impl Iterator<Item = &ArchivedModelEntry> {
        self.models.iter()
    }
}

pub(crate) const NOW: i64 = 1_795_348_800_000_000;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(NOW).expect("a time in 2026")
}

pub(crate) const fn id(number: u8) -> EntryId {
    [number; 16]
}

pub(crate) const ACCOUNT: EntryId = id(1);
pub(crate) const OTHER_ACCOUNT: EntryId = id(2);
pub(crate) const BIG: EntryId = id(11);
pub(crate) const SMALL: EntryId = id(12);
pub(crate) const EMBED: EntryId = id(13);
pub(crate) const CHAT: EntryId = id(21);
pub(crate) const BOB: EntryId = id(31);
pub(crate) const BOT: EntryId = id(41);
pub(crate) const KEY: EntryId = id(51);

pub(crate) fn account(id: EntryId, name: &str) -> ProviderAccountEntry {
    ProviderAccountEntry {
        id,
        name: name.into(),
        provider: ProviderDialect::OpenaiCompatible,
        base_url: "http://127.0.0.1:1/v1".into(),
        credential: None,
        disabled: false,
    }
}

pub(crate) fn model(id: EntryId, account: EntryId, name: &str) -> ModelEntry {
    ModelEntry {
        id,
        account,
        name: name.into(),
        upstream_name: name.into(),
        chat: id != EMBED,
        embedding: id == EMBED,
        prices: Vec::new(),
        disabled: false,
    }
}

pub(crate) fn target(model: EntryId, weight: u32) -> TargetEntry {
    TargetEntry {
        model,
        weight,
        fallback_status_codes: vec![503],
        fallback_candidate: true,
    }
}

pub(crate) fn virtual_model(targets: Vec<TargetEntry>) -> VirtualModelEntry {
    VirtualModelEntry {
        id: CHAT,
        name: "chat".into(),
        targets,
        disabled: false,
    }
}

pub(crate) fn key(owner: OwnerEntry) -> KeyEntry {
    KeyEntry {
        id: KEY,
        owner,
        hash: [9; 32],
        pepper: "k1".into(),
        expires_at_us: None,
        requests_per_minute: None,
        tokens_per_minute: None,
        disabled: false,
    }
}

pub(crate) fn grant(number: u8, subject: SubjectEntry, models: Vec<ModelRefEntry>) -> Entry {
    Entry::Grant(GrantEntry {
        id: id(number),
        subject,
        models,
    })
}

pub(crate) fn grant_id(number: u8) -> GrantId {
    GrantId::from_bytes(id(number))
}

/// Two accounts, three models, one virtual model over two of them, Bob, a bot, and a key of Bob's. No grants.
pub(crate) fn organisation() -> Vec<Entry> {
    vec![
        Entry::ProviderAccount(account(ACCOUNT, "main")),
        Entry::ProviderAccount(account(OTHER_ACCOUNT, "other")),
        Entry::Model(model(BIG, ACCOUNT, "big")),
        Entry::Model(model(SMALL, OTHER_ACCOUNT, "org/small")),
        Entry::Model(model(EMBED, ACCOUNT, "embed")),
        Entry::VirtualModel(virtual_model(vec![target(BIG, 70), target(SMALL, 30)])),
        Entry::User(UserEntry {
            id: BOB,
            disabled: false,
        }),
        Entry::VirtualAccount(VirtualAccountEntry {
            id: BOT,
            name: "bot".into(),
            disabled: false,
        }),
        Entry::Key(key(OwnerEntry::User(BOB))),
    ]
}

/// The organisation after a change of one of its entries.
pub(crate) fn changed(change: impl Fn(&mut Entry)) -> Memory {
    let mut entries = organisation();
    entries.iter_mut().for_each(change);
    Memory::with(entries)
}

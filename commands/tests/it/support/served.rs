//! What gateways would make of a state: which policy applies to a request, by the rules that they follow.

use std::{collections::BTreeMap, marker::PhantomData};

use events_schema::{
    events::Owner,
    snapshot::{
        entries::{
            ArchivedCompletionModelEntry, ArchivedFormerSecretEntry, ArchivedGrantEntry,
            ArchivedKeyEntry, ArchivedMembershipsEntry, ArchivedModelEntry,
            ArchivedProviderAccountEntry, ArchivedSubjectEntry, ArchivedTeamEntry,
            ArchivedUserEntry, ArchivedVirtualAccountEntry, ArchivedVirtualModelEntry, Entry,
            KeyEntry, OwnerEntry, SubjectEntry,
        },
        routing::ArchivedRoutingEntry,
    },
    state::Organisation,
};
use gateway_policy::{Caller, Configuration, EntryId, Facts, Rule, Rules, Served, resolve};
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
        let archives = self.archives.iter();
        archives.map(|it| rkyv::access::<A, Error>(it).expect("made by this version"))
    }
}

/// A state as gateways have it.
#[derive(Default)]
pub(crate) struct AtGateways {
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
    rules: Rules,
    budgets: Rules,
}

/// A policy that applies to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applies {
    /// Its name.
    pub(crate) policy: String,
    /// At which of its counters the request counts: one, unless each team has one.
    pub(crate) counters: Vec<EntryId>,
    /// How much fits into a window of the first, in the order of the limits.
    pub(crate) most: Vec<u64>,
    /// Whether nothing is refused.
    pub(crate) audits: bool,
}

impl AtGateways {
    pub(crate) fn of(state: &Organisation) -> Self {
        let mut all = Self {
            rules: Rules::of_rate_limits(state),
            budgets: Rules::of_budgets(state),
            ..Self::default()
        };
        for subject in state.entry_subjects() {
            let (_, entry) = state.entry(subject, |_| None).expect("it is there");
            all.take(&entry);
        }
        all
    }

    fn take(&mut self, entry: &Entry) {
        let archives = match entry {
            Entry::ProviderAccount(_) => &mut self.accounts.archives,
            Entry::Model(_) => &mut self.models.archives,
            Entry::VirtualModel(_) => &mut self.virtual_models.archives,
            Entry::User(_) => &mut self.users.archives,
            Entry::VirtualAccount(_) => &mut self.virtual_accounts.archives,
            Entry::Key(_) => &mut self.keys.archives,
            Entry::Grant(_) => &mut self.grants.archives,
            Entry::FormerSecret(_) => &mut self.former_secrets.archives,
            Entry::Team(_) => &mut self.teams.archives,
            Entry::Memberships(_) => &mut self.memberships.archives,
            Entry::Routing(_) => &mut self.routings.archives,
            Entry::CompletionModel(_) => &mut self.completion_models.archives,
            // Where an account's host may be concerns whoever connects to it; rules are compiled from policies.
            Entry::PrivateAddresses(_) | Entry::RateLimitPolicy(_) | Entry::BudgetPolicy(_) => {
                return;
            }
        };
        archives.push(entry.archive());
    }

    /// Which rate-limit policy applies to a request of this owner for this model.
    pub(crate) fn limited(
        &self,
        owner: Owner,
        model: &str,
        metadata: &[(&str, &str)],
    ) -> Option<Applies> {
        self.with_facts(owner, model, metadata, |facts| {
            let rule = self.rules.first(facts);
            rule.map(|rule| Applies::of(rule, facts))
        })
    }

    /// Which budget policies count such a request, in order: the first decides.
    pub(crate) fn budgeted(
        &self,
        owner: Owner,
        model: &str,
        metadata: &[(&str, &str)],
    ) -> Vec<Applies> {
        self.with_facts(owner, model, metadata, |facts| {
            let matching = self.budgets.all(facts);
            matching
                .iter()
                .map(|rule| Applies::of(rule, facts))
                .collect()
        })
    }

    fn with_facts<T>(
        &self,
        owner: Owner,
        model: &str,
        metadata: &[(&str, &str)],
        look: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let key = Entry::Key(KeyEntry {
            id: [1; 16],
            owner: match owner {
                Owner::User(id) => OwnerEntry::User(id.bytes()),
                Owner::VirtualAccount(id) => OwnerEntry::VirtualAccount(id.bytes()),
            },
            hash: [1; 32],
            pepper: "k1".to_owned(),
            expires_at_us: None,
            requests_per_minute: None,
            tokens_per_minute: None,
            disabled: false,
        });
        let archive = key.archive();
        let key = rkyv::access::<ArchivedKeyEntry, Error>(&archive).expect("made by this version");
        let metadata = metadata.iter();
        let metadata: BTreeMap<String, String> = metadata
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let resolved = resolve(self, model).unwrap_or_else(|_| panic!("no '{model}'"));
        look(&Facts::of(self, Caller { key }, resolved, &metadata))
    }
}

impl Applies {
    fn of(rule: &Rule, facts: &Facts<'_>) -> Self {
        let counters = rule.segments(facts).to_vec();
        Self {
            policy: rule.name.to_string(),
            most: rule.limits(&counters[0]).iter().map(|it| it.most).collect(),
            audits: rule.audits,
            counters,
        }
    }
}

impl Configuration for AtGateways {
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
        let mut models = self.models.iter();
        models.find(|it| it.account == *account && it.name == name)
    }

    fn grants(&self, subject: SubjectEntry) -> impl Iterator<Item = &ArchivedGrantEntry> {
        let is_to = move |it: &&ArchivedGrantEntry| match (&it.subject, subject) {
            (ArchivedSubjectEntry::Everyone, SubjectEntry::Everyone) => true,
            (ArchivedSubjectEntry::User(one), SubjectEntry::User(other))
            | (ArchivedSubjectEntry::VirtualAccount(one), SubjectEntry::VirtualAccount(other))
            | (ArchivedSubjectEntry::Key(one), SubjectEntry::Key(other))
            | (ArchivedSubjectEntry::Team(one), SubjectEntry::Team(other)) => *one == other,
            _ => false,
        };
        self.grants.iter().filter(is_to)
    }

    fn virtual_models(&self) -> impl Iterator<Item = &ArchivedVirtualModelEntry> {
        self.virtual_models.iter()
    }

    fn models(&self) -> impl Iterator<Item = &ArchivedModelEntry> {
        self.models.iter()
    }
}

//! The entries: what a gateway must know of each thing, as rkyv archives, and how they follow from the state.
//!
//! One type for each kind, read in place as `ArchivedKeyEntry` and so on. The layout (rkyv 0.8, little-endian,
//! 32-bit offsets, aligned) is fixed by [`super::SCHEMA`]; a change of shape is a new schema, and readers of the
//! old and the new run side by side during an upgrade. What is new about a thing and concerns few of them is a kind of
//! entry of its own: a gateway that is older refuses it, and serves everything else as before. A thing that is disabled
//! stays an entry: a gateway says "disabled", not "unknown".

use std::{fmt, str::FromStr};

use rkyv::{Archive, Serialize};

use super::{
    accounts::provider_account,
    budgets::{self, BudgetPolicyEntry},
    callers::{former_secret, grant, team},
    limits::{self, RateLimitPolicyEntry},
    routing::{self, RoutingEntry},
};
use crate::{
    events::{Event, ModelType, Owner, TeamEvent},
    id::TeamId,
    state::{Key, Model, Organisation, User, VirtualAccount},
};

/// The kinds of things that gateways know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// [`ProviderAccountEntry`]
    ProviderAccount,
    /// [`ModelEntry`]
    Model,
    /// [`VirtualModelEntry`]
    VirtualModel,
    /// [`UserEntry`]
    User,
    /// [`VirtualAccountEntry`]
    VirtualAccount,
    /// [`KeyEntry`]
    Key,
    /// [`GrantEntry`]
    Grant,
    /// [`FormerSecretEntry`]
    FormerSecret,
    /// [`TeamEntry`]
    Team,
    /// [`MembershipsEntry`]
    Memberships,
    /// [`RoutingEntry`]
    Routing,
    /// [`CompletionModelEntry`]
    CompletionModel,
    /// [`PrivateAddressesEntry`]
    PrivateAddresses,
    /// [`RateLimitPolicyEntry`]
    RateLimitPolicy,
    /// [`BudgetPolicyEntry`]
    BudgetPolicy,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::ProviderAccount,
        Self::Model,
        Self::VirtualModel,
        Self::User,
        Self::VirtualAccount,
        Self::Key,
        Self::Grant,
        Self::FormerSecret,
        Self::Team,
        Self::Memberships,
        Self::Routing,
        Self::CompletionModel,
        Self::PrivateAddresses,
        Self::RateLimitPolicy,
        Self::BudgetPolicy,
    ];

    /// Its token in subjects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderAccount => "provider_account",
            Self::Model => "model",
            Self::VirtualModel => "virtual_model",
            Self::User => "user",
            Self::VirtualAccount => "virtual_account",
            Self::Key => "key",
            Self::Grant => "grant",
            Self::FormerSecret => "former_secret",
            Self::Team => "team",
            Self::Memberships => "memberships",
            Self::Routing => "routing",
            Self::CompletionModel => "completion_model",
            Self::PrivateAddresses => "private_addresses",
            Self::RateLimitPolicy => "rate_limit_policy",
            Self::BudgetPolicy => "budget_policy",
        }
    }
}

/// Where an entry stands: `snap.v1.<kind>.<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntrySubject {
    /// What kind of thing.
    pub kind: EntryKind,
    /// The thing's id.
    pub id: [u8; 16],
}

impl EntrySubject {
    /// The entries that the event may change; none where gateways need not know of it.
    pub fn of_event(event: &Event) -> impl Iterator<Item = Self> {
        let at = |kind, id| Some(Self { kind, id });
        let changed = match event {
            Event::Log(_) | Event::Operator(..) | Event::BudgetAlert(..) | Event::Settings(_) => {
                [None, None]
            }
            Event::ProviderAccount(id, _) => [
                at(EntryKind::ProviderAccount, id.bytes()),
                at(EntryKind::PrivateAddresses, id.bytes()),
            ],
            Event::Model(id, _) => [
                at(EntryKind::Model, id.bytes()),
                at(EntryKind::CompletionModel, id.bytes()),
            ],
            Event::VirtualModel(id, _) => [
                at(EntryKind::VirtualModel, id.bytes()),
                at(EntryKind::Routing, id.bytes()),
            ],
            Event::User(id, _) => [
                at(EntryKind::User, id.bytes()),
                at(EntryKind::Memberships, id.bytes()),
            ],
            Event::VirtualAccount(id, _) => [at(EntryKind::VirtualAccount, id.bytes()), None],
            Event::Key(id, _) => [
                at(EntryKind::Key, id.bytes()),
                at(EntryKind::FormerSecret, id.bytes()),
            ],
            Event::Grant(id, _) => [at(EntryKind::Grant, id.bytes()), None],
            Event::Team(id, event) => [Self::of_team_event(*id, event), None],
            Event::RateLimitPolicy(id, _) => [at(EntryKind::RateLimitPolicy, id.bytes()), None],
            Event::BudgetPolicy(id, _) => [at(EntryKind::BudgetPolicy, id.bytes()), None],
        };
        changed.into_iter().flatten()
    }

    /// Who is in a team is told with each user: a change concerns one small entry, however large the team is.
    const fn of_team_event(team: TeamId, event: &TeamEvent) -> Option<Self> {
        let (kind, id) = match event {
            TeamEvent::TeamCreated { .. }
            | TeamEvent::TeamRenamed { .. }
            | TeamEvent::TeamDisabled {}
            | TeamEvent::TeamEnabled {}
            | TeamEvent::TeamDeleted {} => (EntryKind::Team, team.bytes()),
            TeamEvent::TeamMemberAdded { user, .. } | TeamEvent::TeamMemberRemoved { user } => {
                (EntryKind::Memberships, user.bytes())
            }
            TeamEvent::TeamMemberRoleChanged { .. } => return None,
        };
        Some(Self { kind, id })
    }
}

impl fmt::Display for EntrySubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}.{}",
            super::ENTRY_PREFIX,
            self.kind.as_str(),
            uuid::Uuid::from_bytes(self.id).as_simple()
        )
    }
}

/// Text that is no entry's subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry's subject is snap.v1.<kind>.<id>")]
pub struct InvalidEntrySubject;

impl FromStr for EntrySubject {
    type Err = InvalidEntrySubject;

    fn from_str(text: &str) -> Result<Self, InvalidEntrySubject> {
        let rest = text
            .strip_prefix(super::ENTRY_PREFIX)
            .ok_or(InvalidEntrySubject)?;
        let (kind, id) = rest.split_once('.').ok_or(InvalidEntrySubject)?;
        let kind = EntryKind::ALL
            .into_iter()
            .find(|it| it.as_str() == kind)
            .ok_or(InvalidEntrySubject)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| InvalidEntrySubject)?;
        Ok(Self { kind, id: bytes })
    }
}

/// A provider account.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct ProviderAccountEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// The dialect.
    pub provider: ProviderDialect,
    /// Where it is.
    pub base_url: String,
    /// The credential, sealed to the gateways.
    pub credential: Option<SealedCredential>,
    /// Whether no requests go to it.
    pub disabled: bool,
}

/// The dialect that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum ProviderDialect {
    /// OpenAI's own.
    Openai,
    /// Anthropic's own.
    Anthropic,
    /// OpenAI's, by another.
    OpenaiCompatible,
}

/// A credential sealed with HPKE to the gateways' key. With nothing in it, the account had one that was shredded or is
/// lost: nothing can go to it.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct SealedCredential {
    /// The id of the gateways' key in the unsealing ring.
    pub key: String,
    /// The encapsulated key (32 bytes) and the ciphertext.
    pub sealed: Vec<u8>,
}

/// A model of a provider account.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct ModelEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its account's id.
    pub account: [u8; 16],
    /// Its name within the account.
    pub name: String,
    /// The provider's name for it.
    pub upstream_name: String,
    /// Whether it can be asked to chat.
    pub chat: bool,
    /// Whether it can be asked for embeddings.
    pub embedding: bool,
    /// Its prices, by the time from which they apply.
    pub prices: Vec<PriceEntry>,
    /// Whether it takes no requests.
    pub disabled: bool,
}

/// A price and from when on it applies.
#[derive(Debug, Clone, Copy, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct PriceEntry {
    /// From when on, in microseconds since 1970.
    pub effective_at_us: i64,
    /// Nano-dollars per million input tokens.
    pub input: u64,
    /// Nano-dollars per million output tokens.
    pub output: u64,
    /// Nano-dollars per million cached input tokens.
    pub cached_input: u64,
}

/// A virtual model, and its targets as they are by weights alone.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct VirtualModelEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its targets.
    pub targets: Vec<TargetEntry>,
    /// Whether it takes no requests.
    pub disabled: bool,
}

/// A target of a virtual model.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct TargetEntry {
    /// The model's id.
    pub model: [u8; 16],
    /// Its share of the requests.
    pub weight: u32,
    /// On which statuses another target is tried.
    pub fallback_status_codes: Vec<u16>,
    /// Whether others may fall back to it.
    pub fallback_candidate: bool,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct UserEntry {
    /// The user's id.
    pub id: [u8; 16],
    /// Whether none of the user's keys works.
    pub disabled: bool,
}

/// A virtual account.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct VirtualAccountEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Whether none of its keys works.
    pub disabled: bool,
}

/// Who owns a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum OwnerEntry {
    /// A user.
    User([u8; 16]),
    /// A virtual account.
    VirtualAccount([u8; 16]),
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct KeyEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Who owns it.
    pub owner: OwnerEntry,
    /// Its keyed BLAKE3 hash.
    pub hash: [u8; 32],
    /// The id of the pepper that made the hash.
    pub pepper: String,
    /// When it ceases to work, in microseconds since 1970.
    pub expires_at_us: Option<i64>,
    /// Requests per minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens per minute.
    pub tokens_per_minute: Option<u64>,
    /// Whether it does not work.
    pub disabled: bool,
}

/// The secret that a key had before it was rotated, under the key's id. It works until its time, and the entry goes on
/// to say that it did until the next rotation.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct FormerSecretEntry {
    /// The key's id.
    pub key: [u8; 16],
    /// The secret's keyed BLAKE3 hash.
    pub hash: [u8; 32],
    /// The id of the pepper that made the hash.
    pub pepper: String,
    /// When it ceases to work, in microseconds since 1970.
    pub works_until_us: i64,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct TeamEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Whether what was granted to it opens nothing.
    pub disabled: bool,
}

/// The teams that a user is in, under the user's id; there is none for a user who is in no team.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct MembershipsEntry {
    /// The user's id.
    pub user: [u8; 16],
    /// The teams' ids, in order.
    pub teams: Vec<[u8; 16]>,
}

/// That a model can be asked for completions of a text, under the model's id; there is none for a model that cannot.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct CompletionModelEntry {
    /// The model's id.
    pub model: [u8; 16],
}

/// That the host of a provider account may have private and local addresses, under the account's id; there is none for an
/// account whose host may not.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct PrivateAddressesEntry {
    /// The account's id.
    pub account: [u8; 16],
}

/// To whom access is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum SubjectEntry {
    /// Whoever has a key that works.
    Everyone,
    /// A user.
    User([u8; 16]),
    /// A virtual account.
    VirtualAccount([u8; 16]),
    /// One key.
    Key([u8; 16]),
    /// A team.
    Team([u8; 16]),
}

/// Something that a grant opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug, Clone, Copy, PartialEq, Eq))]
pub enum ModelRefEntry {
    /// Everything.
    All,
    /// One model.
    Model([u8; 16]),
    /// A virtual model.
    VirtualModel([u8; 16]),
    /// All models of a provider account.
    ProviderAccount([u8; 16]),
}

/// An access grant.
#[derive(Debug, Clone, PartialEq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct GrantEntry {
    /// Its id.
    pub id: [u8; 16],
    /// Who.
    pub subject: SubjectEntry,
    /// What: `[All]`, or the list in order.
    pub models: Vec<ModelRefEntry>,
}

/// An entry before it is archived.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A provider account, with the sealed credential that [`Organisation::entry`] was given for it.
    ProviderAccount(ProviderAccountEntry),
    /// A model.
    Model(ModelEntry),
    /// A virtual model.
    VirtualModel(VirtualModelEntry),
    /// A user.
    User(UserEntry),
    /// A virtual account.
    VirtualAccount(VirtualAccountEntry),
    /// An API key.
    Key(KeyEntry),
    /// An access grant.
    Grant(GrantEntry),
    /// A key's former secret.
    FormerSecret(FormerSecretEntry),
    /// A team.
    Team(TeamEntry),
    /// The teams of a user.
    Memberships(MembershipsEntry),
    /// How a virtual model chooses.
    Routing(RoutingEntry),
    /// That a model can be asked for completions of a text.
    CompletionModel(CompletionModelEntry),
    /// That a provider account's host may have private and local addresses.
    PrivateAddresses(PrivateAddressesEntry),
    /// A rate-limit policy.
    RateLimitPolicy(RateLimitPolicyEntry),
    /// A budget policy.
    BudgetPolicy(BudgetPolicyEntry),
}

impl Entry {
    /// The archive that is published.
    #[must_use]
    pub fn archive(&self) -> rkyv::util::AlignedVec {
        let archived = match self {
            Self::ProviderAccount(entry) => rkyv::to_bytes::<rkyv::rancor::Error>(entry),
            Self::Model(entry) => rkyv::to_bytes(entry),
            Self::VirtualModel(entry) => rkyv::to_bytes(entry),
            Self::User(entry) => rkyv::to_bytes(entry),
            Self::VirtualAccount(entry) => rkyv::to_bytes(entry),
            Self::Key(entry) => rkyv::to_bytes(entry),
            Self::Grant(entry) => rkyv::to_bytes(entry),
            Self::FormerSecret(entry) => rkyv::to_bytes(entry),
            Self::Team(entry) => rkyv::to_bytes(entry),
            Self::Memberships(entry) => rkyv::to_bytes(entry),
            Self::Routing(entry) => rkyv::to_bytes(entry),
            Self::CompletionModel(entry) => rkyv::to_bytes(entry),
            Self::PrivateAddresses(entry) => rkyv::to_bytes(entry),
            Self::RateLimitPolicy(entry) => rkyv::to_bytes(entry),
            Self::BudgetPolicy(entry) => rkyv::to_bytes(entry),
        };
        archived.expect("an entry is far smaller than 2 GiB")
    }
}

impl Organisation {
    /// The subjects of all live entries, in order.
    pub fn entry_subjects(&self) -> impl Iterator<Item = EntrySubject> + '_ {
        let accounts = self
            .provider_accounts()
            .keys()
            .map(|id| (EntryKind::ProviderAccount, id.bytes()));
        let models = self
            .models()
            .keys()
            .map(|id| (EntryKind::Model, id.bytes()));
        let virtual_models = self
            .virtual_models()
            .keys()
            .map(|id| (EntryKind::VirtualModel, id.bytes()));
        let routed = self.virtual_models().values();
        let routed = routed.filter(|it| routing::says_more(&it.routing));
        let routings = routed.map(|it| (EntryKind::Routing, it.id.bytes()));
        let users = self.users().keys().map(|id| (EntryKind::User, id.bytes()));
        let virtual_accounts = self
            .virtual_accounts()
            .keys()
            .map(|id| (EntryKind::VirtualAccount, id.bytes()));
        let keys = self.keys().keys().map(|id| (EntryKind::Key, id.bytes()));
        let grants = self
            .grants()
            .keys()
            .map(|id| (EntryKind::Grant, id.bytes()));
        let rotated = self.keys().values().filter(|key| key.former.is_some());
        let former = rotated.map(|key| (EntryKind::FormerSecret, key.id.bytes()));
        let callers = users
            .chain(virtual_accounts)
            .chain(keys)
            .chain(grants)
            .chain(former);
        let teams = self.teams().keys().map(|id| (EntryKind::Team, id.bytes()));
        let members = self.users().keys();
        let members = members.filter(|id| self.teams_of(**id).next().is_some());
        let memberships = members.map(|id| (EntryKind::Memberships, id.bytes()));
        let completing = self.models().values().filter(|model| completes(model));
        let completing = completing.map(|model| (EntryKind::CompletionModel, model.id.bytes()));
        let private = self.provider_accounts().values();
        let private = private.filter(|account| account.allows_private_addresses);
        let private = private.map(|account| (EntryKind::PrivateAddresses, account.id.bytes()));
        let policies = self
            .rate_limit_policies()
            .keys()
            .map(|id| (EntryKind::RateLimitPolicy, id.bytes()));
        let budgets = self
            .budget_policies()
            .keys()
            .map(|id| (EntryKind::BudgetPolicy, id.bytes()));
        accounts
            .chain(models)
            .chain(virtual_models)
            .chain(routings)
            .chain(callers)
            .chain(teams)
            .chain(memberships)
            .chain(completing)
            .chain(private)
            .chain(policies)
            .chain(budgets)
            .map(|(kind, id)| EntrySubject { kind, id })
    }

    /// The entry of a subject and the position of the thing's last event; `None` when the thing is not there.
    ///
    /// `credential` gives the sealed credential for a reference; in the place of what it does not give, or of what was
    /// shredded, the entry has an empty one, and the gateway says that the account cannot be used.
    pub fn entry(
        &self,
        subject: EntrySubject,
        credential: impl FnOnce(&crate::secrets::SealedRef) -> Option<SealedCredential>,
    ) -> Option<(u64, Entry)> {
        use crate::id::Id;
        let EntrySubject { kind, id } = subject;
        Some(match kind {
            EntryKind::ProviderAccount => {
                let it = self.provider_accounts().get(&Id::from_bytes(id))?;
                let credential = it.credential.as_ref().map(|reference| {
                    let sealed = (!it.credential_shredded).then(|| credential(reference));
                    sealed.flatten().unwrap_or(SealedCredential {
                        key: String::new(),
                        sealed: Vec::new(),
                    })
                });
                (
                    it.life.position,
                    Entry::ProviderAccount(provider_account(it, credential)),
                )
            }
            EntryKind::Model => {
                let it = self.models().get(&Id::from_bytes(id))?;
                (it.life.position, Entry::Model(model(it)))
            }
            EntryKind::VirtualModel => {
                let it = self.virtual_models().get(&Id::from_bytes(id))?;
                (
                    it.life.position,
                    Entry::VirtualModel(routing::virtual_model(it)),
                )
            }
            EntryKind::Routing => {
                let it = self.virtual_models().get(&Id::from_bytes(id))?;
                if !routing::says_more(&it.routing) {
                    return None;
                }
                (it.life.position, Entry::Routing(routing::routing(it)))
            }
            EntryKind::User => {
                let User {
                    id,
                    life,
                    email: _,
                    disabled,
                    memberships_at: _,
                } = self.users().get(&Id::from_bytes(id))?;
                (
                    life.position,
                    Entry::User(UserEntry {
                        id: id.bytes(),
                        disabled: *disabled,
                    }),
                )
            }
            EntryKind::VirtualAccount => {
                let VirtualAccount {
                    id,
                    life,
                    name,
                    disabled,
                } = self.virtual_accounts().get(&Id::from_bytes(id))?;
                let entry = VirtualAccountEntry {
                    id: id.bytes(),
                    name: name.to_string(),
                    disabled: *disabled,
                };
                (life.position, Entry::VirtualAccount(entry))
            }
            EntryKind::Key => {
                let it = self.keys().get(&Id::from_bytes(id))?;
                (it.life.position, Entry::Key(key(it)))
            }
            EntryKind::Grant => {
                let it = self.grants().get(&Id::from_bytes(id))?;
                (it.life.position, Entry::Grant(grant(it)))
            }
            EntryKind::FormerSecret => {
                let it = self.keys().get(&Id::from_bytes(id))?;
                let former = it.former.as_ref()?;
                (
                    former.position,
                    Entry::FormerSecret(former_secret(it, former)),
                )
            }
            EntryKind::Team => {
                let it = self.teams().get(&Id::from_bytes(id))?;
                (it.own_position, Entry::Team(team(it)))
            }
            EntryKind::Memberships => {
                let user = self.users().get(&Id::from_bytes(id))?;
                let teams: Vec<_> = self
                    .teams_of(user.id)
                    .map(|(team, _)| team.id.bytes())
                    .collect();
                if teams.is_empty() {
                    return None;
                }
                let entry = MembershipsEntry { user: id, teams };
                let position = user.memberships_at.unwrap_or(user.life.position);
                (position, Entry::Memberships(entry))
            }
            EntryKind::CompletionModel => {
                let it = self
                    .models()
                    .get(&Id::from_bytes(id))
                    .filter(|it| completes(it))?;
                let entry = CompletionModelEntry { model: id };
                (it.life.position, Entry::CompletionModel(entry))
            }
            EntryKind::PrivateAddresses => {
                let it = self
                    .provider_accounts()
                    .get(&Id::from_bytes(id))
                    .filter(|it| it.allows_private_addresses)?;
                let entry = PrivateAddressesEntry { account: id };
                (it.life.position, Entry::PrivateAddresses(entry))
            }
            EntryKind::RateLimitPolicy => {
                let it = self.rate_limit_policies().get(&Id::from_bytes(id))?;
                (
                    it.life.position,
                    Entry::RateLimitPolicy(limits::rate_limit_policy(it)),
                )
            }
            EntryKind::BudgetPolicy => {
                let it = self.budget_policies().get(&Id::from_bytes(id))?;
                (
                    it.life.position,
                    Entry::BudgetPolicy(budgets::budget_policy(it)),
                )
            }
        })
    }
}

fn model(it: &Model) -> ModelEntry {
    let Model {
        id,
        life: _,
        account,
        name,
        upstream_name,
        model_types,
        prices,
        // Gateways charge for what is to come.
        repricings: _,
        disabled,
    } = it;
    let price = |point: &crate::state::PricePoint| PriceEntry {
        effective_at_us: point.effective_at.micros(),
        input: point.price.input.nanos(),
        output: point.price.output.nanos(),
        cached_input: point
            .price
            .cached_input
            .unwrap_or(point.price.input)
            .nanos(),
    };
    ModelEntry {
        id: id.bytes(),
        account: account.bytes(),
        name: name.to_string(),
        upstream_name: upstream_name.to_string(),
        chat: model_types.contains(&ModelType::Chat),
        embedding: model_types.contains(&ModelType::Embedding),
        prices: prices.iter().map(price).collect(),
        disabled: *disabled,
    }
}

fn completes(it: &Model) -> bool {
    it.model_types.contains(&ModelType::Completion)
}

fn key(it: &Key) -> KeyEntry {
    let Key {
        id,
        life: _,
        owner,
        label: _,
        hash,
        hint: _,
        expires_at,
        limits,
        disabled,
        former: _,
    } = it;
    KeyEntry {
        id: id.bytes(),
        owner: match owner {
            Owner::User(id) => OwnerEntry::User(id.bytes()),
            Owner::VirtualAccount(id) => OwnerEntry::VirtualAccount(id.bytes()),
        },
        hash: hash.hash,
        pepper: hash.key.to_string(),
        expires_at_us: expires_at.map(crate::time::Timestamp::micros),
        requests_per_minute: limits.requests_per_minute,
        tokens_per_minute: limits.tokens_per_minute,
        disabled: *disabled,
    }
}

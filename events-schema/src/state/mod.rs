//! The state: everything that the events add up to.
//!
//! [`Organisation::evolve`] is the one definition of what an event means. It is pure and total: no clock, no
//! chance, no I/O, no order of a hash map, and no event that it cannot take. `commands` decides on this state,
//! `projections` emits snapshots from it, auditors look at it as of any position.
//!
//! The maps are persistent (structure is shared between copies), so a copy costs nothing: an overlay for
//! undecided commands, or a reader's view, is a clone. Indexes are derived and stand in no digest or checkpoint.
//!
//! `evolve` never changes for a released (kind, schema version). When it must, [`FOLD_VERSION`] goes up:
//! digests and checkpoints carry it.

mod alerts;
mod budgets;
mod checkpoint;
mod digest;
mod entities;
mod evolve;
mod policies;
mod settings;
mod teams;

use imbl::{OrdMap, OrdSet};

pub use self::{
    alerts::{BudgetAlert, BudgetAlertKey, MOST_BUDGET_ALERTS},
    checkpoint::{Checkpoint, CheckpointError},
    digest::{StateDigest, StateHasher},
    entities::{
        BudgetPolicy, FormerSecret, Grant, Key, Life, Membership, Model, Operator, OperatorToken,
        PricePoint, ProviderAccount, RateLimitPolicy, Repricing, Team, User, VirtualAccount,
        VirtualModel,
    },
    settings::{Retention, SessionBounds, Settings},
};
use crate::{
    envelope::Epoch,
    events::{ModelRef, Owner, Stream, Subject},
    id::{
        BudgetPolicyId, GrantId, Id, KeyId, ModelId, OperatorId, ProviderAccountId,
        RateLimitPolicyId, TeamId, UserId, VirtualAccountId, VirtualModelId,
    },
    names::{Label, ModelName, Slug, VirtualModelName},
    secrets::KeyedHash,
    time::Timestamp,
};

/// The version of the fold.
pub const FOLD_VERSION: u16 = 12;

/// The whole configuration as of one position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Organisation {
    position: u64,
    epoch: Option<Epoch>,
    log_version: u64,
    provider_accounts: OrdMap<ProviderAccountId, ProviderAccount>,
    models: OrdMap<ModelId, Model>,
    virtual_models: OrdMap<VirtualModelId, VirtualModel>,
    users: OrdMap<UserId, User>,
    virtual_accounts: OrdMap<VirtualAccountId, VirtualAccount>,
    keys: OrdMap<KeyId, Key>,
    grants: OrdMap<GrantId, Grant>,
    operators: OrdMap<OperatorId, Operator>,
    teams: OrdMap<TeamId, Team>,
    memberships: OrdMap<(TeamId, UserId), Membership>,
    rate_limit_policies: OrdMap<RateLimitPolicyId, RateLimitPolicy>,
    budget_policies: OrdMap<BudgetPolicyId, BudgetPolicy>,
    budget_alerts: OrdMap<BudgetAlertKey, BudgetAlert>,
    /// How many events each policy's alerts have.
    alert_versions: OrdMap<BudgetPolicyId, u64>,
    /// Alerts of windows that ended by then are forgotten.
    alerts_forgotten_until: Option<Timestamp>,
    settings: Settings,
    /// Whose name and address are gone from `people`.
    erased: OrdSet<Stream>,
    /// The last stream version of what is gone: an id is never used again.
    gone: OrdMap<Stream, u64>,
    index: Index,
}

/// Derived from the maps, and from nothing else: sets of pairs, so that it does not depend on the order of events
/// which of two things with one name is found (the log's rules keep names unique; the fold must not need them).
#[derive(Debug, Clone, Default, PartialEq)]
struct Index {
    provider_accounts: OrdSet<(Slug, ProviderAccountId)>,
    models: OrdSet<((ProviderAccountId, ModelName), ModelId)>,
    virtual_models: OrdSet<(VirtualModelName, VirtualModelId)>,
    virtual_accounts: OrdSet<(Slug, VirtualAccountId)>,
    users: OrdSet<(KeyedHash, UserId)>,
    operators: OrdSet<(KeyedHash, OperatorId)>,
    key_hashes: OrdSet<(KeyedHash, KeyId)>,
    keys_by_owner: OrdSet<(Owner, KeyId)>,
    key_labels: OrdSet<((Owner, Label), KeyId)>,
    grants_by_subject: OrdSet<(Subject, GrantId)>,
    grants_by_model: OrdSet<(ModelRef, GrantId)>,
    virtual_models_by_target: OrdSet<(ModelId, VirtualModelId)>,
    teams: OrdSet<(Slug, TeamId)>,
    teams_by_user: OrdSet<(UserId, TeamId)>,
    rate_limit_policies: OrdSet<(Slug, RateLimitPolicyId)>,
    budget_policies: OrdSet<(Slug, BudgetPolicyId)>,
    /// Rate-limit policies and budget policies, by what they name.
    policies_by_thing: OrdSet<(Stream, Stream)>,
    /// Alerts, by the end of their windows.
    alerts_by_end: OrdSet<(Timestamp, BudgetAlertKey)>,
}

impl Organisation {
    /// The position of the last event folded in; 0 before the first.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The epoch; `None` before the log was initialised.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Whether the thing is there: it was made, and is not gone.
    #[must_use]
    pub fn has(&self, stream: Stream) -> bool {
        self.stream_version(stream) > 0 && !self.gone.contains_key(&stream)
    }

    /// How many events the stream has; 0 when it has none.
    #[must_use]
    pub fn stream_version(&self, stream: Stream) -> u64 {
        let life = match stream {
            Stream::Log => return self.log_version,
            Stream::ProviderAccount(id) => self.provider_accounts.get(&id).map(|it| it.life),
            Stream::Model(id) => self.models.get(&id).map(|it| it.life),
            Stream::VirtualModel(id) => self.virtual_models.get(&id).map(|it| it.life),
            Stream::User(id) => self.users.get(&id).map(|it| it.life),
            Stream::VirtualAccount(id) => self.virtual_accounts.get(&id).map(|it| it.life),
            Stream::Key(id) => self.keys.get(&id).map(|it| it.life),
            Stream::Grant(id) => self.grants.get(&id).map(|it| it.life),
            Stream::Operator(id) => self.operators.get(&id).map(|it| it.life),
            Stream::Team(id) => self.teams.get(&id).map(|it| it.life),
            Stream::RateLimitPolicy(id) => self.rate_limit_policies.get(&id).map(|it| it.life),
            Stream::BudgetPolicy(id) => self.budget_policies.get(&id).map(|it| it.life),
            Stream::Settings => self.settings.life,
            Stream::BudgetAlert(id) => return self.alert_version(id),
        };
        life.map(|life| life.version)
            .or_else(|| self.gone.get(&stream).copied())
            .unwrap_or(0)
    }

    fn alert_version(&self, policy: BudgetPolicyId) -> u64 {
        let gone = || self.gone.get(&Stream::BudgetAlert(policy));
        let version = self.alert_versions.get(&policy).or_else(gone);
        version.copied().unwrap_or(0)
    }

    /// All provider accounts, by id.
    #[must_use]
    pub const fn provider_accounts(&self) -> &OrdMap<ProviderAccountId, ProviderAccount> {
        &self.provider_accounts
    }

    /// All models, by id.
    #[must_use]
    pub const fn models(&self) -> &OrdMap<ModelId, Model> {
        &self.models
    }

    /// All virtual models, by id.
    #[must_use]
    pub const fn virtual_models(&self) -> &OrdMap<VirtualModelId, VirtualModel> {
        &self.virtual_models
    }

    /// All users, by id.
    #[must_use]
    pub const fn users(&self) -> &OrdMap<UserId, User> {
        &self.users
    }

    /// All virtual accounts, by id.
    #[must_use]
    pub const fn virtual_accounts(&self) -> &OrdMap<VirtualAccountId, VirtualAccount> {
        &self.virtual_accounts
    }

    /// All keys that were not revoked, by id.
    #[must_use]
    pub const fn keys(&self) -> &OrdMap<KeyId, Key> {
        &self.keys
    }

    /// All access grants, by id.
    #[must_use]
    pub const fn grants(&self) -> &OrdMap<GrantId, Grant> {
        &self.grants
    }

    /// All operators, by id.
    #[must_use]
    pub const fn operators(&self) -> &OrdMap<OperatorId, Operator> {
        &self.operators
    }

    /// All teams, by id.
    #[must_use]
    pub const fn teams(&self) -> &OrdMap<TeamId, Team> {
        &self.teams
    }

    /// That the user is in the team.
    #[must_use]
    pub fn membership(&self, team: TeamId, user: UserId) -> Option<Membership> {
        self.memberships.get(&(team, user)).copied()
    }

    /// The members of a team with an id after `after` (`None`: all), in the order of their ids.
    pub fn members_after(
        &self,
        team: TeamId,
        after: Option<UserId>,
    ) -> impl Iterator<Item = (UserId, Membership)> {
        let from = (team, after.unwrap_or(UserId::from_bytes([0; 16])));
        self.memberships
            .range(from..)
            .take_while(move |((of, _), _)| *of == team)
            .filter(move |((_, user), _)| after != Some(*user))
            .map(|((_, user), membership)| (*user, *membership))
    }

    /// The members of a team, in the order of their ids.
    pub fn members_of(&self, team: TeamId) -> impl Iterator<Item = (UserId, Membership)> {
        self.members_after(team, None)
    }

    /// The teams that a user is in.
    pub fn teams_of(&self, user: UserId) -> impl Iterator<Item = (&Team, Membership)> {
        let from = (user, TeamId::from_bytes([0; 16]));
        self.index
            .teams_by_user
            .range(from..)
            .take_while(move |(of, _)| *of == user)
            .filter_map(move |(_, team)| {
                Some((self.teams.get(team)?, self.membership(*team, user)?))
            })
    }

    /// All rate-limit policies, by id.
    #[must_use]
    pub const fn rate_limit_policies(&self) -> &OrdMap<RateLimitPolicyId, RateLimitPolicy> {
        &self.rate_limit_policies
    }

    /// The rate-limit policy of this name.
    #[must_use]
    pub fn rate_limit_policy_named(&self, name: &Slug) -> Option<&RateLimitPolicy> {
        first(&self.index.rate_limit_policies, name)
            .and_then(|id| self.rate_limit_policies.get(&id))
    }

    /// All budget policies, by id.
    #[must_use]
    pub const fn budget_policies(&self) -> &OrdMap<BudgetPolicyId, BudgetPolicy> {
        &self.budget_policies
    }

    /// The budget policy of this name.
    #[must_use]
    pub fn budget_policy_named(&self, name: &Slug) -> Option<&BudgetPolicy> {
        first(&self.index.budget_policies, name).and_then(|id| self.budget_policies.get(&id))
    }

    /// The rate-limit policies and the budget policies that name a thing, as whose requests they match, as a model, or with
    /// limits of its own.
    pub fn policies_naming(&self, thing: Stream) -> impl Iterator<Item = Stream> {
        let from = (thing, Stream::Log);
        self.index
            .policies_by_thing
            .range(from..)
            .take_while(move |(named, _)| *named == thing)
            .map(|(_, policy)| *policy)
    }

    /// Whether the name and address of the person, a user or an operator, were erased from `people`.
    #[must_use]
    pub fn is_erased(&self, person: Stream) -> bool {
        self.erased.contains(&person)
    }

    /// The team of this name.
    #[must_use]
    pub fn team_named(&self, name: &Slug) -> Option<&Team> {
        first(&self.index.teams, name).and_then(|id| self.teams.get(&id))
    }

    /// The provider account of this name.
    #[must_use]
    pub fn provider_account_named(&self, name: &Slug) -> Option<&ProviderAccount> {
        first(&self.index.provider_accounts, name).and_then(|id| self.provider_accounts.get(&id))
    }

    /// The model of this name in this account.
    #[must_use]
    pub fn model_named(&self, account: ProviderAccountId, name: &ModelName) -> Option<&Model> {
        first(&self.index.models, &(account, name.clone())).and_then(|id| self.models.get(&id))
    }

    /// The virtual model of this name.
    #[must_use]
    pub fn virtual_model_named(&self, name: &VirtualModelName) -> Option<&VirtualModel> {
        first(&self.index.virtual_models, name).and_then(|id| self.virtual_models.get(&id))
    }

    /// The virtual account of this name.
    #[must_use]
    pub fn virtual_account_named(&self, name: &Slug) -> Option<&VirtualAccount> {
        first(&self.index.virtual_accounts, name).and_then(|id| self.virtual_accounts.get(&id))
    }

    /// The user with this e-mail fingerprint; not one who was erased.
    #[must_use]
    pub fn user_by_email(&self, email: &KeyedHash) -> Option<&User> {
        first(&self.index.users, email).and_then(|id| self.users.get(&id))
    }

    /// The operator with this e-mail fingerprint.
    #[must_use]
    pub fn operator_by_email(&self, email: &KeyedHash) -> Option<&Operator> {
        first(&self.index.operators, email).and_then(|id| self.operators.get(&id))
    }

    /// The key whose secret has this hash, or whose former secret had it.
    #[must_use]
    pub fn key_by_hash(&self, hash: &KeyedHash) -> Option<&Key> {
        first(&self.index.key_hashes, hash).and_then(|id| self.keys.get(&id))
    }

    /// The models of an account, in the order of their names.
    pub fn models_of(&self, account: ProviderAccountId) -> impl Iterator<Item = &Model> {
        let from = ((account, ModelName::least()), ModelId::from_bytes([0; 16]));
        self.index
            .models
            .range(from..)
            .take_while(move |((of, _), _)| *of == account)
            .filter_map(|(_, id)| self.models.get(id))
    }

    /// The keys of an owner.
    pub fn keys_of(&self, owner: Owner) -> impl Iterator<Item = &Key> {
        let from = (owner, KeyId::from_bytes([0; 16]));
        self.index
            .keys_by_owner
            .range(from..)
            .take_while(move |(of, _)| *of == owner)
            .filter_map(|(_, id)| self.keys.get(id))
    }

    /// The keys of an owner with this label: one at most, but in logs from before labels were unique within an owner.
    pub fn keys_labelled(&self, owner: Owner, label: &Label) -> impl Iterator<Item = &Key> {
        let name = (owner, label.clone());
        let from = (name.clone(), KeyId::from_bytes([0; 16]));
        self.index
            .key_labels
            .range(from..)
            .take_while(move |(of, _)| *of == name)
            .filter_map(|(_, id)| self.keys.get(id))
    }

    /// The grants of a subject.
    pub fn grants_of(&self, subject: Subject) -> impl Iterator<Item = &Grant> {
        let from = (subject, GrantId::from_bytes([0; 16]));
        self.index
            .grants_by_subject
            .range(from..)
            .take_while(move |(of, _)| *of == subject)
            .filter_map(|(_, id)| self.grants.get(id))
    }

    /// The grants that name this model, virtual model or account.
    pub fn grants_on(&self, model: ModelRef) -> impl Iterator<Item = &Grant> {
        let from = (model, GrantId::from_bytes([0; 16]));
        self.index
            .grants_by_model
            .range(from..)
            .take_while(move |(on, _)| *on == model)
            .filter_map(|(_, id)| self.grants.get(id))
    }

    /// The virtual models that route to this model.
    pub fn virtual_models_over(&self, model: ModelId) -> impl Iterator<Item = &VirtualModel> {
        let from = (model, VirtualModelId::from_bytes([0; 16]));
        self.index
            .virtual_models_by_target
            .range(from..)
            .take_while(move |(on, _)| *on == model)
            .filter_map(|(_, id)| self.virtual_models.get(id))
    }
}

/// The least id that stands with `name`.
fn first<N: Ord + Clone, T>(index: &OrdSet<(N, Id<T>)>, name: &N) -> Option<Id<T>> {
    let from = (name.clone(), Id::from_bytes([0; 16]));
    index
        .range(from..)
        .next()
        .filter(|(found, _)| found == name)
        .map(|(_, id)| *id)
}

//! Commands: orders to change the configuration. Names are parsed, and everything that needs a clock, chance or a
//! secret is already inside: ids, hashes, references to sealed secrets, the time.

use std::collections::BTreeSet;

use events_schema::{
    envelope::Epoch,
    events::{
        BudgetLimit, BudgetRule, CostDifference, GrantedModels, KeyLimits, ModelType, Owner,
        Provider, RateLimitRule, Role, Routing, Subject, TeamRole,
    },
    id::{
        BudgetPolicyId, GrantId, KeyId, ModelId, OperatorId, ProviderAccountId, RateLimitPolicyId,
        TeamId, TokenId, UserId, VirtualAccountId, VirtualModelId,
    },
    money::Price,
    names::{BaseUrl, Label, ModelName, Slug, VirtualModelName},
    secrets::{KeyedHash, SealedRef},
    state::{BudgetAlertKey, Retention, SessionBounds},
    time::Timestamp,
};
use uuid::Uuid;

/// An order, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For the log itself.
    Log(LogCommand),
    /// For a provider account.
    ProviderAccount(ProviderAccountId, ProviderAccountCommand),
    /// For a model.
    Model(ModelId, ModelCommand),
    /// For a virtual model.
    VirtualModel(VirtualModelId, VirtualModelCommand),
    /// For a user.
    User(UserId, UserCommand),
    /// For a virtual account.
    VirtualAccount(VirtualAccountId, VirtualAccountCommand),
    /// For an API key.
    Key(KeyId, KeyCommand),
    /// For an access grant.
    Grant(GrantId, GrantCommand),
    /// For an operator.
    Operator(OperatorId, OperatorCommand),
    /// For a team.
    Team(TeamId, TeamCommand),
    /// For a rate-limit policy.
    RateLimitPolicy(RateLimitPolicyId, RateLimitPolicyCommand),
    /// For a budget policy.
    BudgetPolicy(BudgetPolicyId, BudgetPolicyCommand),
    /// For the alerts of a budget policy.
    BudgetAlert(BudgetPolicyId, BudgetAlertCommand),
    /// For the organisation's settings.
    Settings(SettingsCommand),
}

/// The fingerprints of one e-mail address: under the active key, and under those that were active before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprints {
    /// Under the active key: what is written down.
    pub active: KeyedHash,
    /// Under the other keys of the ring: under which the address may have been written down before.
    pub former: Vec<KeyedHash>,
}

impl Fingerprints {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &KeyedHash> {
        std::iter::once(&self.active).chain(&self.former)
    }
}

/// Orders for the log itself; only Sluice's own parts give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogCommand {
    /// Begin the log. Nothing happens when it has begun.
    Initialise {
        /// The first epoch.
        epoch: Epoch,
    },
    /// Accept that the log was forked or lost, and go on under a higher epoch.
    StartEpoch {
        /// The new epoch; its seconds are higher than those of any before.
        epoch: Epoch,
    },
}

/// A credential that lies sealed beside the log, and the origin to which it is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// Where the ciphertext lies.
    pub sealed: SealedRef,
    /// The origin of the base URL for which it was sealed ([`BaseUrl::origin`]).
    pub origin: String,
}

/// Orders for a provider account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAccountCommand {
    /// Make it known, under a fresh id.
    Register {
        /// Its name.
        name: Slug,
        /// The dialect.
        provider: Provider,
        /// Where it is.
        base_url: BaseUrl,
        /// Its credential, sealed for that base URL.
        credential: Option<SealedCredential>,
        /// Whether its host may have private and local addresses.
        allows_private_addresses: bool,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: Slug,
    },
    /// Change where it is. Without a credential, the old one stays where the origin stays; where the origin
    /// changes, an account that had a credential needs one again.
    Move {
        /// The new base URL.
        base_url: BaseUrl,
        /// The credential, sealed for the new base URL.
        credential: Option<SealedCredential>,
    },
    /// Destroy its credential's ciphertext: nothing can go to it until it is given another.
    ShredCredential,
    /// Replace its credential, or take it away.
    ReplaceCredential {
        /// The new one, sealed for the base URL that the account has.
        credential: Option<SealedCredential>,
    },
    /// Let its host have private and local addresses.
    AllowPrivateAddresses,
    /// Let its host have public addresses only.
    ForbidPrivateAddresses,
    /// Send no requests to it.
    Disable,
    /// Send requests to it again.
    Enable,
    /// Delete it.
    Delete,
}

/// Orders for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelCommand {
    /// Make it known, under a fresh id.
    Add {
        /// Its account.
        account: ProviderAccountId,
        /// Its name within the account.
        name: ModelName,
        /// The provider's own name for it.
        upstream_name: ModelName,
        /// What it can be asked for.
        model_types: BTreeSet<ModelType>,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: ModelName,
    },
    /// Let it stand for another model of the provider.
    ChangeUpstreamName {
        /// The provider's name for it.
        upstream_name: ModelName,
    },
    /// Set its price from a moment on.
    SetPrice {
        /// The price.
        price: Price,
        /// From when on.
        effective_at: Timestamp,
    },
    /// Correct what it cost in a time that is past.
    RepriceUsage {
        /// From when on, inclusive.
        from: Timestamp,
        /// Until when, exclusive.
        until: Timestamp,
        /// The price.
        price: Price,
        /// The difference that the sender was shown.
        shown: CostDifference,
        /// The difference as the ledger tells it now.
        found: CostDifference,
        /// How many corrections that takes into account.
        known: usize,
        /// The time now.
        now: Timestamp,
    },
    /// Let it take no requests.
    Disable,
    /// Let it take requests again.
    Enable,
    /// Delete it.
    Delete,
}

/// Orders for a virtual model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VirtualModelCommand {
    /// Make it, under a fresh id.
    Create {
        /// Its name.
        name: VirtualModelName,
        /// How it chooses.
        routing: Routing,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: VirtualModelName,
    },
    /// Let it choose differently.
    ChangeRouting {
        /// The new routing.
        routing: Routing,
    },
    /// Let it take no requests.
    Disable,
    /// Let it take requests again.
    Enable,
    /// Delete it.
    Delete,
}

/// Orders for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserCommand {
    /// Make the person a user, under a fresh id.
    Add {
        /// The e-mail address.
        email: Fingerprints,
    },
    /// Change the e-mail address.
    ChangeEmail {
        /// The new address.
        email: Fingerprints,
    },
    /// Give the person another name, which stands beside the log.
    Rename {
        /// Whether it is another than the one that stands there: only the shell can know.
        differs: bool,
    },
    /// Let none of the user's keys work.
    Disable,
    /// Let them work again.
    Enable,
    /// Erase name and e-mail address.
    Erase,
    /// Delete the user.
    Delete,
}

/// Orders for a virtual account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VirtualAccountCommand {
    /// Make it, under a fresh id.
    Create {
        /// Its name.
        name: Slug,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: Slug,
    },
    /// Let none of its keys work.
    Disable,
    /// Let them work again.
    Enable,
    /// Delete it.
    Delete,
}

/// Orders for a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamCommand {
    /// Make it, under a fresh id.
    Create {
        /// Its name.
        name: Slug,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: Slug,
    },
    /// Let what was granted to it open nothing.
    Disable,
    /// Let it open models again.
    Enable,
    /// Delete it. Its members leave it.
    Delete,
    /// Let a user come into it; one who is in it already is what is said here from now on.
    AddMember {
        /// Who.
        user: UserId,
        /// What the user is in it.
        role: TeamRole,
    },
    /// Let a member be something else in it.
    ChangeMemberRole {
        /// Who.
        user: UserId,
        /// What the user is in it from now on.
        role: TeamRole,
    },
    /// Let a user leave it.
    RemoveMember {
        /// Who.
        user: UserId,
    },
}

/// Orders for a rate-limit policy.
pub type RateLimitPolicyCommand = PolicyCommand<RateLimitRule>;

/// Orders for a budget policy.
pub type BudgetPolicyCommand = PolicyCommand<BudgetRule>;

/// Orders for a policy with rules of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyCommand<R> {
    /// Make it, under a fresh id.
    Create {
        /// Its name.
        name: Slug,
        /// Where it stands among the policies.
        order: u32,
        /// What it limits.
        rule: R,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: Slug,
    },
    /// Put it elsewhere among the policies.
    Move {
        /// Where it stands from now on.
        order: u32,
    },
    /// Let it limit something else.
    ChangeRule {
        /// What it limits from now on.
        rule: R,
    },
    /// Let it match no request.
    Disable,
    /// Let it match requests again.
    Enable,
    /// Delete it.
    Delete,
}

/// Orders for an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Make it, under a fresh id.
    Issue {
        /// Who owns it.
        owner: Owner,
        /// What to call it.
        label: Label,
        /// Its hash under the pepper.
        hash: KeyedHash,
        /// Its last four characters.
        hint: String,
        /// When it ceases to work.
        expires_at: Option<Timestamp>,
        /// Its limits.
        limits: KeyLimits,
        /// The time now.
        now: Timestamp,
    },
    /// Call it something else.
    Relabel {
        /// The new label.
        label: Label,
        /// The time now.
        now: Timestamp,
    },
    /// Change its limits.
    ChangeLimits {
        /// The new limits.
        limits: KeyLimits,
    },
    /// Change when it ceases to work.
    ChangeExpiry {
        /// The new time; `None`: never.
        expires_at: Option<Timestamp>,
        /// The time now.
        now: Timestamp,
    },
    /// Give it a new secret.
    Rotate {
        /// The new secret's hash under the pepper.
        hash: KeyedHash,
        /// The new secret's last four characters.
        hint: String,
        /// For how long the secret until now works as well, in seconds.
        grace_seconds: u64,
        /// The time now.
        now: Timestamp,
    },
    /// Let the secret from before the last rotation not work any more.
    RevokeFormerSecret,
    /// Let it not work for now.
    Disable,
    /// Let it work again.
    Enable,
    /// Let it never work again. Grants to the key go with it.
    Revoke,
}

/// Orders for an access grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantCommand {
    /// Let a subject use models, under a fresh id.
    Grant {
        /// Who.
        subject: Subject,
        /// What.
        models: GrantedModels,
    },
    /// Change what it opens.
    ChangeModels {
        /// What it opens now.
        models: GrantedModels,
    },
    /// Take it away.
    Revoke,
}

/// Orders for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorCommand {
    /// Let a person use the console, under a fresh id.
    Add {
        /// What the person may do.
        role: Role,
        /// The e-mail address.
        email: Fingerprints,
    },
    /// Change what the operator may do.
    ChangeRole {
        /// The new role.
        role: Role,
    },
    /// Give the person another name, which stands beside the log.
    Rename {
        /// Whether it is another than the one that stands there: only the shell can know.
        differs: bool,
    },
    /// Change the e-mail address.
    ChangeEmail {
        /// The new address.
        email: Fingerprints,
    },
    /// Record that the password was changed, by the operator or for the operator.
    ChangePassword,
    /// Let the operator not sign in.
    Disable,
    /// Let the operator sign in again.
    Enable,
    /// Remove the operator.
    Remove,
    /// Erase name and e-mail address of somebody who was removed.
    Erase,
    /// Make a token for automation.
    IssueToken {
        /// The token's fresh id.
        token: TokenId,
        /// What to call it.
        label: Label,
        /// When it ceases to work.
        expires_at: Option<Timestamp>,
        /// The time now.
        now: Timestamp,
    },
    /// Let a token never work again.
    RevokeToken {
        /// The token.
        token: TokenId,
    },
}

/// Orders for the alerts of a budget policy; only Sluice's own parts give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetAlertCommand {
    /// Tell of each threshold that is reached and was not told yet. Nothing happens where the policy does not have the limit (any
    /// more), its window has been over for long, or too many are remembered ([`events_schema::state::MOST_BUDGET_ALERTS`]).
    Raise(BudgetUse),
}

/// How a counter of a budget stands in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetUse {
    /// Which of the policy's counters; zeros: it has one for all.
    pub segment: Uuid,
    /// How much may be used, in which time.
    pub limit: BudgetLimit,
    /// When the window began.
    pub began_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// How much is used: nano-dollars or tokens, as the limit is.
    pub used: u64,
    /// When that was heard.
    pub at: Timestamp,
}

impl BudgetUse {
    /// What alerts of it are found by.
    #[must_use]
    pub const fn key(&self, policy: BudgetPolicyId) -> BudgetAlertKey {
        BudgetAlertKey {
            policy,
            segment: self.segment,
            limit: self.limit,
            began_at: self.began_at,
        }
    }
}

/// Orders for the organisation's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsCommand {
    /// Call the organisation otherwise.
    RenameOrganisation {
        /// What it is called; `None`: it has no name.
        name: Option<Label>,
    },
    /// Keep what the ledger counts for another time.
    ChangeRetention {
        /// For how long.
        retention: Retention,
    },
    /// Let sessions of the console end after another time.
    ChangeSessionBounds {
        /// After how long.
        bounds: SessionBounds,
    },
}

impl Command {
    /// The id of the thing that the command makes, as the answer shows it; `None` when it makes none.
    #[must_use]
    pub fn makes(&self) -> Option<String> {
        match self {
            Self::ProviderAccount(id, ProviderAccountCommand::Register { .. }) => {
                Some(id.to_string())
            }
            Self::Model(id, ModelCommand::Add { .. }) => Some(id.to_string()),
            Self::VirtualModel(id, VirtualModelCommand::Create { .. }) => Some(id.to_string()),
            Self::User(id, UserCommand::Add { .. }) => Some(id.to_string()),
            Self::VirtualAccount(id, VirtualAccountCommand::Create { .. }) => Some(id.to_string()),
            Self::Key(id, KeyCommand::Issue { .. }) => Some(id.to_string()),
            Self::Grant(id, GrantCommand::Grant { .. }) => Some(id.to_string()),
            Self::Operator(id, OperatorCommand::Add { .. }) => Some(id.to_string()),
            Self::Operator(_, OperatorCommand::IssueToken { token, .. }) => Some(token.to_string()),
            Self::Team(id, TeamCommand::Create { .. }) => Some(id.to_string()),
            Self::RateLimitPolicy(id, RateLimitPolicyCommand::Create { .. }) => {
                Some(id.to_string())
            }
            Self::BudgetPolicy(id, BudgetPolicyCommand::Create { .. }) => Some(id.to_string()),
            Self::Log(_)
            | Self::ProviderAccount(..)
            | Self::Model(..)
            | Self::VirtualModel(..)
            | Self::User(..)
            | Self::VirtualAccount(..)
            | Self::Key(..)
            | Self::Grant(..)
            | Self::Operator(..)
            | Self::Team(..)
            | Self::RateLimitPolicy(..)
            | Self::BudgetPolicy(..)
            | Self::BudgetAlert(..)
            | Self::Settings(_) => None,
        }
    }
}

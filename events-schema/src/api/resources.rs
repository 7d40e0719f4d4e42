//! The things themselves, as lists and single items show them. References come with the name of what they refer to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    events::{
        Aggregate, BudgetRule, KeyLimits, LimitedSubject, ModelRef, ModelType, Owner, Provider,
        RateLimitRule, Role, Routing, Subject, TeamRole,
    },
    id::{
        BudgetPolicyId, GrantId, KeyId, ModelId, OperatorId, ProviderAccountId, RateLimitPolicyId,
        TeamId, UserId, VirtualAccountId, VirtualModelId,
    },
    money::Price,
    state::{Life, PricePoint, Repricing, Retention, SessionBounds},
    time::Timestamp,
};

/// A provider account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProviderAccountItem {
    /// Its id.
    pub id: ProviderAccountId,
    /// Its name.
    pub name: String,
    /// The dialect.
    pub provider: Provider,
    /// Where it is.
    pub base_url: String,
    /// Whether a credential is sealed for it.
    pub has_credential: bool,
    /// Whether its credential was shredded, so that nothing goes to it until it is given another.
    pub credential_shredded: bool,
    /// Whether its host may have private and local addresses.
    pub allows_private_addresses: bool,
    /// Whether no requests go to it.
    pub disabled: bool,
    /// How many models it has.
    pub models: u64,
    /// Where it stands in the history.
    pub life: Life,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelItem {
    /// Its id.
    pub id: ModelId,
    /// What callers ask for: `account/model`.
    pub full_name: String,
    /// Its name within the account.
    pub name: String,
    /// Its account.
    pub account: ProviderAccountId,
    /// The account's name.
    pub account_name: String,
    /// The provider's name for it.
    pub upstream_name: String,
    /// What it can be asked for.
    pub model_types: BTreeSet<ModelType>,
    /// The price that applies now.
    pub price: Option<Price>,
    /// All prices, past and to come.
    pub prices: Vec<PricePoint>,
    /// Corrections of what it cost in times that are past, in the order of the history: of two that overlap, the later holds.
    pub repricings: Vec<Repricing>,
    /// Whether it takes no requests.
    pub disabled: bool,
    /// Where it stands in the history.
    pub life: Life,
}

/// A virtual model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VirtualModelItem {
    /// Its id.
    pub id: VirtualModelId,
    /// The name that callers ask for.
    pub name: String,
    /// How it chooses among its targets.
    pub routing: Routing,
    /// What its targets are called, in the same order.
    pub targets: Vec<TargetItem>,
    /// Whether it takes no requests.
    pub disabled: bool,
    /// Where it stands in the history.
    pub life: Life,
}

/// A target of a virtual model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TargetItem {
    /// The model.
    pub model: ModelId,
    /// Its full name.
    pub full_name: String,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserItem {
    /// The user's id.
    pub id: UserId,
    /// The user's name; `None`: erased.
    pub name: Option<String>,
    /// The user's e-mail address; `None`: erased.
    pub email: Option<String>,
    /// Whether none of the user's keys works.
    pub disabled: bool,
    /// How many keys the user owns.
    pub keys: u64,
    /// The teams that the user is in.
    pub teams: Vec<UserTeamItem>,
    /// Where it stands in the history.
    pub life: Life,
}

/// A team that a user is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserTeamItem {
    /// The team.
    pub team: TeamId,
    /// Its name.
    pub name: String,
    /// What the user is in it.
    pub role: TeamRole,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamItem {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// Whether what was granted to it opens nothing.
    pub disabled: bool,
    /// How many members it has.
    pub members: u64,
    /// How many grants are made to it.
    pub grants: u64,
    /// Where it stands in the history.
    pub life: Life,
}

/// A member of a team: item of `GET /teams/{id}/members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamMemberItem {
    /// The user.
    pub user: UserId,
    /// The user's name; `None`: erased.
    pub name: Option<String>,
    /// The user's e-mail address; `None`: erased.
    pub email: Option<String>,
    /// What the user is in the team.
    pub role: TeamRole,
    /// Since when.
    pub since: Timestamp,
    /// Whether the user is disabled.
    pub disabled: bool,
}

/// A virtual account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VirtualAccountItem {
    /// Its id.
    pub id: VirtualAccountId,
    /// Its name.
    pub name: String,
    /// Whether none of its keys works.
    pub disabled: bool,
    /// How many keys it owns.
    pub keys: u64,
    /// Where it stands in the history.
    pub life: Life,
}

/// An API key (never the key itself).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyItem {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub label: String,
    /// Who owns it.
    pub owner: Owner,
    /// The owner's name.
    pub owner_name: String,
    /// Its last four characters.
    pub hint: String,
    /// When it ceases to work.
    pub expires_at: Option<Timestamp>,
    /// Its limits.
    pub limits: KeyLimits,
    /// Whether it does not work.
    pub disabled: bool,
    /// Whether its owner is disabled, so that it does not work either.
    pub owner_disabled: bool,
    /// The secret before the last rotation, where it was given a while to work on.
    pub former_secret: Option<FormerSecretItem>,
    /// Where it stands in the history.
    pub life: Life,
}

/// A key's secret before it was rotated (never the secret itself).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FormerSecretItem {
    /// Its last four characters.
    pub hint: String,
    /// When it ceases to work, or ceased to.
    pub works_until: Timestamp,
}

/// An access grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantItem {
    /// Its id.
    pub id: GrantId,
    /// Who.
    pub subject: Subject,
    /// The subject's name.
    pub subject_name: String,
    /// Whether it opens all models; `models` is then empty.
    pub all_models: bool,
    /// What it opens.
    pub models: Vec<GrantedModelItem>,
    /// Where it stands in the history.
    pub life: Life,
}

/// One thing that a grant opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantedModelItem {
    /// What.
    pub model: ModelRef,
    /// Its name: `account/model`, a virtual model's name, or `account/*`.
    pub name: String,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperatorItem {
    /// The operator's id.
    pub id: OperatorId,
    /// The operator's name; `None`: erased.
    pub name: Option<String>,
    /// The operator's e-mail address; `None`: erased.
    pub email: Option<String>,
    /// What the operator may do.
    pub role: Role,
    /// Whether the operator may not sign in.
    pub disabled: bool,
    /// Where it stands in the history.
    pub life: Life,
}

/// A rate-limit policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimitPolicyItem {
    /// Its id.
    pub id: RateLimitPolicyId,
    /// Its name.
    pub name: String,
    /// Where it stands among the policies: the smallest number first, then the oldest.
    pub order: u32,
    /// What it limits.
    pub rule: RateLimitRule,
    /// Everybody whom the rule names, by name.
    pub subjects: Vec<LimitedSubjectItem>,
    /// All models that the rule names, by name.
    pub models: Vec<GrantedModelItem>,
    /// Whether it matches no request.
    pub disabled: bool,
    /// The name of the policy before it that matches all that it matches, so that it never applies; `None`: there is none.
    pub unreachable_behind: Option<String>,
    /// Where it stands in the history.
    pub life: Life,
}

/// A budget policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetPolicyItem {
    /// Its id.
    pub id: BudgetPolicyId,
    /// Its name.
    pub name: String,
    /// Where it stands among the budget policies: the smallest number first, then the oldest.
    pub order: u32,
    /// What it limits.
    pub rule: BudgetRule,
    /// Everybody whom the rule names, by name.
    pub subjects: Vec<LimitedSubjectItem>,
    /// All models that the rule names, by name.
    pub models: Vec<GrantedModelItem>,
    /// Whether it matches no request.
    pub disabled: bool,
    /// What was told of its use in windows that are not over; `None`: no threshold was reached.
    pub alerted: Option<BudgetAlerted>,
    /// The name of the policy before it that matches all that it matches, so that it never decides, and only counts; `None`:
    /// there is none, or it decides nothing in any case (`audit`).
    pub unreachable_behind: Option<String>,
    /// Where it stands in the history.
    pub life: Life,
}

/// Which thresholds a budget policy's counters have reached, in windows that are not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetAlerted {
    /// The highest threshold that one of them has reached, in percent.
    pub threshold: u8,
    /// How many of them have reached that one; each window of a counter by itself.
    pub counters: u64,
}

/// One whom a rate-limit policy or a budget policy names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitedSubjectItem {
    /// Who.
    pub subject: LimitedSubject,
    /// The name.
    pub name: String,
}

/// What refers to a thing: answer of `GET /used-by`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsedBy {
    /// The thing: `<aggregate>.<id>`.
    pub stream: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether something must go before it can be deleted.
    pub blocked: bool,
    /// How much refers to it, by the way in which it does.
    pub counts: Vec<UseCount>,
    /// What refers to it; at most 200.
    pub uses: Vec<UseItem>,
    /// The position of the log as of which this is so.
    pub position: u64,
}

/// How many things refer to another in one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UseCount {
    /// In which way.
    pub relation: Relation,
    /// How many.
    pub count: u64,
    /// Whether they must go first; else they go with it.
    pub blocks: bool,
}

/// One thing that refers to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UseItem {
    /// It: `<aggregate>.<id>`.
    pub stream: String,
    /// What kind of thing it is.
    pub aggregate: Aggregate,
    /// Its name; a grant's is that of whom it is made to; `None`: it has none, or the person was erased.
    pub name: Option<String>,
    /// In which way it refers to the other.
    pub relation: Relation,
    /// Whether it must go first; else it goes with it.
    pub blocks: bool,
}

/// In which way one thing refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// It is a model of the provider account.
    ModelOf,
    /// It is a virtual model that routes to the model.
    RoutesTo,
    /// It is a grant that opens it.
    Opens,
    /// It is a grant that is made to it.
    GrantedTo,
    /// It is a key that belongs to it.
    KeyOf,
    /// It is a team that has the user as a member.
    HasMember,
    /// It is a user who is a member of the team.
    MemberOf,
    /// It is a rate-limit policy that names it.
    Limits,
    /// It is a budget policy that names it.
    Budgets,
}

/// The organisation's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SettingsItem {
    /// What the organisation is called; `null`: it has no name.
    pub organisation: Option<String>,
    /// How long what the ledger counts is kept.
    pub retention: Retention,
    /// How long sessions of the console last.
    pub sessions: SessionBounds,
    /// Where they stand in the history; `null`: they are what they were at the beginning.
    pub life: Option<Life>,
}

//! What each thing is made of, as of a position.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    events::{
        BudgetRule, CostDifference, GrantedModels, KeyLimits, ModelType, Owner, Provider,
        RateLimitRule, Role, Routing, Subject, TeamRole,
    },
    id::{
        BudgetPolicyId, GrantId, KeyId, ModelId, OperatorId, ProviderAccountId, RateLimitPolicyId,
        TeamId, TokenId, UserId, VirtualAccountId, VirtualModelId,
    },
    ledger::Repriced,
    money::Price,
    names::{BaseUrl, Label, ModelName, Slug, VirtualModelName},
    secrets::{KeyedHash, SealedRef},
    time::Timestamp,
};

/// Where a thing stands in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Life {
    /// How many events it has.
    pub version: u64,
    /// When its first event was recorded.
    pub created_at: Timestamp,
    /// When its last event was recorded.
    pub changed_at: Timestamp,
    /// The position of its last event.
    pub position: u64,
}

/// An account at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderAccount {
    /// Its id.
    pub id: ProviderAccountId,
    /// Where it stands in the history.
    pub life: Life,
    /// Its name.
    pub name: Slug,
    /// The dialect.
    pub provider: Provider,
    /// Where it is.
    pub base_url: BaseUrl,
    /// Its sealed credential.
    pub credential: Option<SealedRef>,
    /// Whether the credential's ciphertext was destroyed, and nothing can go to the account.
    pub credential_shredded: bool,
    /// Whether its host may have private and local addresses.
    pub allows_private_addresses: bool,
    /// Whether no requests go to it.
    pub disabled: bool,
}

/// A price and from when on it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PricePoint {
    /// From when on.
    pub effective_at: Timestamp,
    /// The price.
    pub price: Price,
}

/// That the price of a time was wrong, and what it was instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Repricing {
    /// The position of its event: of two that overlap, the one with the higher position holds.
    pub position: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// From when on, inclusive.
    pub from: Timestamp,
    /// Until when, exclusive.
    pub until: Timestamp,
    /// What the model cost in that time.
    pub price: Price,
    /// The difference that was shown before it was decided.
    pub shown: CostDifference,
}

/// A model of a provider account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its id.
    pub id: ModelId,
    /// Where it stands in the history.
    pub life: Life,
    /// Its account.
    pub account: ProviderAccountId,
    /// Its name within the account.
    pub name: ModelName,
    /// The provider's name for it.
    pub upstream_name: ModelName,
    /// What it can be asked for.
    pub model_types: BTreeSet<ModelType>,
    /// Its prices, by the time from which they apply, one for each time.
    pub prices: Vec<PricePoint>,
    /// Corrections of what it cost, by their positions.
    pub repricings: Vec<Repricing>,
    /// Whether it takes no requests.
    pub disabled: bool,
}

impl Model {
    /// The price that applies at `time`, if any.
    #[must_use]
    pub fn price_at(&self, time: Timestamp) -> Option<Price> {
        self.prices
            .iter()
            .rev()
            .find(|point| point.effective_at <= time)
            .map(|point| point.price)
    }

    /// The corrections of what it cost, as the ledger's arithmetic takes them.
    pub fn repriced(&self) -> impl Iterator<Item = Repriced> {
        self.repricings.iter().map(|it| Repriced {
            position: it.position,
            model: self.id,
            from: it.from,
            until: it.until,
            price: it.price,
        })
    }
}

/// A name behind which several models stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualModel {
    /// Its id.
    pub id: VirtualModelId,
    /// Where it stands in the history.
    pub life: Life,
    /// The name that callers ask for.
    pub name: VirtualModelName,
    /// How it chooses.
    pub routing: Routing,
    /// Whether it takes no requests.
    pub disabled: bool,
}

/// A person who may own keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id, also in the table `people`.
    pub id: UserId,
    /// Where it stands in the history.
    pub life: Life,
    /// Fingerprint of the e-mail address.
    pub email: KeyedHash,
    /// Whether none of the keys works.
    pub disabled: bool,
    /// The position of the event by which the user last came into a team or left one.
    pub memberships_at: Option<u64>,
}

/// Users who may use the same models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Where it stands in the history.
    pub life: Life,
    /// Its name.
    pub name: Slug,
    /// Whether what was granted to it opens nothing.
    pub disabled: bool,
    /// How many members it has.
    pub members: u64,
    /// The position of the last event that concerned the team itself, and not who is in it.
    pub own_position: u64,
}

/// That a user is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// What the user is in it.
    pub role: TeamRole,
    /// Since when.
    pub since: Timestamp,
}

/// A stored rule on how much may be used in a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitPolicy {
    /// Its id.
    pub id: RateLimitPolicyId,
    /// Where it stands in the history.
    pub life: Life,
    /// Its name.
    pub name: Slug,
    /// Where it stands among the policies: the smallest number first, then the oldest.
    pub order: u32,
    /// What it limits.
    pub rule: RateLimitRule,
    /// Whether it matches no request.
    pub disabled: bool,
}

/// A stored rule on how much may be spent, or how many tokens used, by the calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetPolicy {
    /// Its id.
    pub id: BudgetPolicyId,
    /// Where it stands in the history.
    pub life: Life,
    /// Its name.
    pub name: Slug,
    /// Where it stands among the budget policies: the smallest number first, then the oldest.
    pub order: u32,
    /// What it limits.
    pub rule: BudgetRule,
    /// Whether it matches no request.
    pub disabled: bool,
}

/// An owner of keys that is no person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualAccount {
    /// Its id.
    pub id: VirtualAccountId,
    /// Where it stands in the history.
    pub life: Life,
    /// Its name.
    pub name: Slug,
    /// Whether none of its keys works.
    pub disabled: bool,
}

/// An API key (never the key itself).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Where it stands in the history.
    pub life: Life,
    /// Who owns it.
    pub owner: Owner,
    /// What people call it.
    pub label: Label,
    /// Its hash under the pepper.
    pub hash: KeyedHash,
    /// Its last four characters.
    pub hint: String,
    /// When it ceases to work.
    pub expires_at: Option<Timestamp>,
    /// Its limits.
    pub limits: KeyLimits,
    /// Whether it does not work.
    pub disabled: bool,
    /// The secret before the last rotation, if that one works for a while as well.
    pub former: Option<FormerSecret>,
}

/// A key's secret before it was rotated (never the secret itself).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSecret {
    /// Its hash under the pepper.
    pub hash: KeyedHash,
    /// Its last four characters.
    pub hint: String,
    /// When it ceases to work.
    pub works_until: Timestamp,
    /// The position of the rotation.
    pub position: u64,
}

/// Who may use what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Where it stands in the history.
    pub life: Life,
    /// Who.
    pub subject: Subject,
    /// What.
    pub models: GrantedModels,
}

/// A token for automation (never the token itself).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorToken {
    /// Its id.
    pub id: TokenId,
    /// What the operator calls it.
    pub label: Label,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ceases to work.
    pub expires_at: Option<Timestamp>,
}

/// A person who may use the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The id, also in the table `people`.
    pub id: OperatorId,
    /// Where it stands in the history.
    pub life: Life,
    /// What the person may do.
    pub role: Role,
    /// Fingerprint of the e-mail address.
    pub email: KeyedHash,
    /// Whether the person may not sign in.
    pub disabled: bool,
    /// The tokens that were not revoked, in the order of their making.
    pub tokens: Vec<OperatorToken>,
}

//! The things themselves, as lists and single items show them. References come with the name of what they refer to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    events::{KeyLimits, ModelRef, ModelType, Owner, Provider, Role, Subject},
    id::{
        GrantId, KeyId, ModelId, OperatorId, ProviderAccountId, UserId, VirtualAccountId,
        VirtualModelId,
    },
    money::Price,
    state::{Life, PricePoint},
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
    /// Its targets.
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
    /// Its share of the requests.
    pub weight: u32,
    /// On which statuses another target is tried; `None`: the default.
    pub fallback_status_codes: Option<BTreeSet<u16>>,
    /// Whether others may fall back to it.
    pub fallback_candidate: bool,
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
    /// Where it stands in the history.
    pub life: Life,
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

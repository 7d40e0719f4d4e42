//! All policies of a sort, with the one that is being edited as it stands in its form, ready to be asked what gateways would ask
//! them. Pure, but for reading the list.

use events_schema::api::Page;
use events_schema::api::resources::{BudgetPolicyItem, RateLimitPolicyItem};
use events_schema::events::{Aggregate, BudgetRule, RateLimitRule};
use events_schema::id::Id;
use events_schema::state::{BudgetPolicy, Life, RateLimitPolicy};
use events_schema::time::Timestamp;
use gateway_policy::{EntryId, Rules};
use serde::de::DeserializeOwned;

use crate::api::{Client, Failure};
use crate::remote::Content;
use crate::widgets::paging::encode;

/// How many pages of a list are read: all there may be, which are 10,000 policies.
const MOST_PAGES: usize = 50;

/// How many policies a page has: as many as the API hands out.
const ON_A_PAGE: usize = 200;

/// Which sort of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Of those that match a request, the first applies.
    RateLimits,
    /// Of those that match a request, the first decides, and all count it.
    Budgets,
}

/// A policy that is being edited.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edited {
    /// A rate-limit policy.
    RateLimit(Box<RateLimitPolicy>),
    /// A budget.
    Budget(Box<BudgetPolicy>),
}

/// All policies of one sort.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Policies {
    RateLimits(Vec<RateLimitPolicy>),
    Budgets(Vec<BudgetPolicy>),
}

impl Content for Policies {}

// === impl Edited ===

impl Edited {
    /// A rate-limit policy with this rule; `existing`: the one whose rule changes. `None`: its order is no number.
    pub(crate) fn rate_limit(
        existing: Option<&RateLimitPolicyItem>,
        name: &str,
        order: &str,
        rule: RateLimitRule,
    ) -> Option<Self> {
        let policy = match existing {
            Some(item) => RateLimitPolicy {
                rule,
                ..rate_limit_policy(item.clone())?
            },
            None => RateLimitPolicy {
                id: Id::from_bytes(NEW),
                life: still_to_be_made(),
                name: name.trim().parse().or_else(|_| UNNAMED.parse()).ok()?,
                order: order.trim().parse().ok()?,
                rule,
                disabled: false,
            },
        };
        Some(Self::RateLimit(Box::new(RateLimitPolicy {
            disabled: false,
            ..policy
        })))
    }

    /// A budget with this rule; `existing`: the one whose rule changes. `None`: its order is no number.
    pub(crate) fn budget(
        existing: Option<&BudgetPolicyItem>,
        name: &str,
        order: &str,
        rule: BudgetRule,
    ) -> Option<Self> {
        let policy = match existing {
            Some(item) => BudgetPolicy {
                rule,
                ..budget_policy(item.clone())?
            },
            None => BudgetPolicy {
                id: Id::from_bytes(NEW),
                life: still_to_be_made(),
                name: name.trim().parse().or_else(|_| UNNAMED.parse()).ok()?,
                order: order.trim().parse().ok()?,
                rule,
                disabled: false,
            },
        };
        Some(Self::Budget(Box::new(BudgetPolicy {
            disabled: false,
            ..policy
        })))
    }

    /// Its id, as rules have it.
    pub(super) fn id(&self) -> EntryId {
        match self {
            Self::RateLimit(policy) => policy.id.bytes(),
            Self::Budget(policy) => policy.id.bytes(),
        }
    }
}

/// The id of a policy that is still to be made: none has it.
const NEW: EntryId = [0; 16];

/// What such a one is called until it has a name that it may have.
const UNNAMED: &str = "new-policy";

/// Of two with the same number the older one comes first, and this one will be the youngest.
fn still_to_be_made() -> Life {
    Life {
        version: 1,
        created_at: Timestamp::MAX,
        changed_at: Timestamp::MAX,
        position: u64::MAX,
    }
}

// === impl Policies ===

impl Policies {
    /// Reads all of them, page by page.
    pub(super) async fn read(client: Client, sort: Sort, at_least: u64) -> Result<Self, Failure> {
        Ok(match sort {
            Sort::RateLimits => {
                let items = all(&client, "/rate-limit-policies", at_least).await?;
                Self::RateLimits(items.into_iter().filter_map(rate_limit_policy).collect())
            }
            Sort::Budgets => {
                let items = all(&client, "/budget-policies", at_least).await?;
                Self::Budgets(items.into_iter().filter_map(budget_policy).collect())
            }
        })
    }

    /// The rules, compiled as a gateway does, with the one that is edited in the place of what it was.
    pub(super) fn rules(&self, edited: Option<&Edited>) -> Rules {
        match self {
            Self::RateLimits(policies) => {
                let edited = match edited {
                    Some(Edited::RateLimit(policy)) => Some(&**policy),
                    Some(Edited::Budget(_)) | None => None,
                };
                let others = policies
                    .iter()
                    .filter(|it| edited.is_none_or(|edited| edited.id != it.id));
                Rules::of_rate_limit_policies(others.chain(edited))
            }
            Self::Budgets(policies) => {
                let edited = match edited {
                    Some(Edited::Budget(policy)) => Some(&**policy),
                    Some(Edited::RateLimit(_)) | None => None,
                };
                let others = policies
                    .iter()
                    .filter(|it| edited.is_none_or(|edited| edited.id != it.id));
                Rules::of_budget_policies(others.chain(edited))
            }
        }
    }
}

/// The aggregates whose changes show in a list.
pub(super) const fn aggregates(sort: Sort) -> &'static [Aggregate] {
    match sort {
        Sort::RateLimits => &[Aggregate::RateLimitPolicy],
        Sort::Budgets => &[Aggregate::BudgetPolicy],
    }
}

async fn all<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    at_least: u64,
) -> Result<Vec<T>, Failure> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    for _ in 0..MOST_PAGES {
        let path = format!("{path}?limit={ON_A_PAGE}&at_least={at_least}{cursor}");
        let page = client.get::<Page<T>>(&path).await?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", encode(&next)),
            None => break,
        }
    }
    Ok(items)
}

/// `None`: it is called what no policy may be called.
fn rate_limit_policy(item: RateLimitPolicyItem) -> Option<RateLimitPolicy> {
    let RateLimitPolicyItem {
        id,
        name,
        order,
        rule,
        subjects: _,
        models: _,
        disabled,
        unreachable_behind: _,
        life,
    } = item;
    Some(RateLimitPolicy {
        id,
        life,
        name: name.parse().ok()?,
        order,
        rule,
        disabled,
    })
}

/// `None`: it is called what no policy may be called.
fn budget_policy(item: BudgetPolicyItem) -> Option<BudgetPolicy> {
    let BudgetPolicyItem {
        id,
        name,
        order,
        rule,
        subjects: _,
        models: _,
        disabled,
        unreachable_behind: _,
        alerted: _,
        life,
    } = item;
    Some(BudgetPolicy {
        id,
        life,
        name: name.parse().ok()?,
        order,
        rule,
        disabled,
    })
}

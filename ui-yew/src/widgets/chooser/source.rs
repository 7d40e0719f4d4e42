//! What there is to choose from: lists of the API, asked with their own search, and a few choices that are in none.

use events_schema::api::Page;
use events_schema::api::resources::{
    BudgetPolicyItem, KeyItem, ModelItem, OperatorItem, ProviderAccountItem, RateLimitPolicyItem,
    TeamItem, UserItem, VirtualAccountItem, VirtualModelItem,
};
use events_schema::events::{Aggregate, ModelType};
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use yew::AttrValue;

use crate::api::{Client, Failure};
use crate::widgets::paging::encode;
use crate::widgets::reference;

/// How many things are offered at once, of all lists together: more than anybody reads through, and few enough to be
/// drawn with every letter that is typed.
const OFFERED: usize = 48;

/// How many pages of a list are asked for at most, where some of what it has is not offered.
const MOST_PAGES: usize = 8;

/// One of the things to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// What is chosen.
    pub(crate) value: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// What tells it apart from others that are called the same.
    pub(crate) hint: AttrValue,
}

/// A choice that is in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// What is chosen.
    pub(crate) value: &'static str,
    /// What people call it.
    pub(crate) label: &'static str,
    /// One more word on it.
    pub(crate) hint: &'static str,
}

/// A list of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Users; those who were erased have no name and are not offered.
    Users,
    /// Virtual accounts.
    VirtualAccounts,
    /// Teams.
    Teams,
    /// API keys.
    Keys,
    /// Operators of the console.
    Operators,
    /// Provider accounts.
    ProviderAccounts,
    /// Provider accounts, each standing for all of its models.
    WholeAccounts,
    /// Models.
    Models,
    /// Virtual models.
    VirtualModels,
    /// Models by their full names: what the ledger knows them by.
    ModelNames,
    /// Models that chat and are not disabled, by the names that callers ask for.
    ChatModels,
    /// Virtual models that are not disabled, by their names.
    ChatVirtualModels,
    /// Rate-limit policies.
    RateLimitPolicies,
    /// Budgets.
    BudgetPolicies,
}

/// Where choices come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Source {
    /// Offered before what is in lists.
    pub(crate) fixed: &'static [Fixed],
    /// Asked in this order.
    pub(crate) lists: &'static [List],
}

/// Those who can own keys.
pub(crate) const OWNERS: Source = Source {
    fixed: &[],
    lists: &[List::VirtualAccounts, List::Users],
};

/// What a grant can open and a limit count. Virtual models first: they are what applications should ask for.
pub(crate) const OPENED: Source = Source {
    fixed: &[],
    lists: &[List::VirtualModels, List::WholeAccounts, List::Models],
};

/// What has limits.
pub(crate) const LIMITS: Source = Source {
    fixed: &[],
    lists: &[List::RateLimitPolicies, List::BudgetPolicies, List::Keys],
};

/// What is asked of a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// What is searched for; empty: everything.
    pub(crate) search: String,
    /// What is not offered: it is chosen already.
    pub(crate) taken: Vec<AttrValue>,
    /// The position of the log that the answer is to be as new as.
    pub(crate) at_least: u64,
}

/// The first things that match.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Found {
    /// What was searched for; `None`: nothing was asked.
    pub(crate) search: Option<String>,
    /// They.
    pub(crate) offers: Vec<Offer>,
    /// Whether there are more.
    pub(crate) more: bool,
    /// Why some lists could not be asked.
    pub(crate) failure: Option<Failure>,
}

/// A part of a list, or one of its things.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// A page, by the query that asks for it.
    Page(&'a str),
    /// The thing of this id.
    One(&'a str),
}

// === impl Source ===

impl Source {
    /// The first things that match.
    pub(crate) async fn ask(self, client: &Client, question: Question) -> Found {
        let share = OFFERED / self.lists.len().max(1);
        let asked = self
            .lists
            .iter()
            .map(|list| list.first(client, &question, share));
        let answers = join_all(asked).await;
        let mut found = Found {
            offers: self.fixed_for(&question),
            ..Found::default()
        };
        for answer in answers {
            match answer {
                Ok((offers, more)) => {
                    found.offers.extend(offers);
                    found.more |= more;
                }
                Err(failure) => found.failure = Some(failure),
            }
        }
        found.search = Some(question.search);
        found
    }

    fn fixed_for(self, question: &Question) -> Vec<Offer> {
        let search = question.search.to_lowercase();
        let fits = |it: &&Fixed| {
            it.label.to_lowercase().contains(&search)
                && !question.taken.iter().any(|taken| taken == it.value)
        };
        self.fixed.iter().filter(fits).map(Fixed::offer).collect()
    }

    /// The aggregates whose changes show in its lists.
    pub(super) fn aggregates(self) -> Vec<Aggregate> {
        let lists = self.lists.iter().flat_map(|list| list.aggregates());
        lists.copied().collect()
    }

    /// What a value is called, where nobody need be asked; else the list that knows it, and its id there.
    pub(super) fn known(self, value: &str) -> Result<AttrValue, (List, String)> {
        if let Some(fixed) = self.fixed.iter().find(|it| it.value == value) {
            return Ok(fixed.label.into());
        }
        let listed = reference::parts(value).and_then(|(kind, id)| {
            let list = self.lists.iter().find(|list| list.kind() == Some(kind))?;
            Some((*list, id.to_owned()))
        });
        listed.map_or_else(|| Ok(value.to_owned().into()), Err)
    }
}

// === impl Fixed ===

impl Fixed {
    fn offer(&self) -> Offer {
        Offer {
            value: self.value.into(),
            label: self.label.into(),
            hint: self.hint.into(),
        }
    }
}

// === impl List ===

impl List {
    /// Where it is, below the API.
    const fn path(self) -> &'static str {
        match self {
            Self::Users => "/users",
            Self::VirtualAccounts => "/virtual-accounts",
            Self::Teams => "/teams",
            Self::Keys => "/keys",
            Self::Operators => "/operators",
            Self::ProviderAccounts | Self::WholeAccounts => "/provider-accounts",
            Self::Models | Self::ModelNames | Self::ChatModels => "/models",
            Self::VirtualModels | Self::ChatVirtualModels => "/virtual-models",
            Self::RateLimitPolicies => "/rate-limit-policies",
            Self::BudgetPolicies => "/budget-policies",
        }
    }

    /// The kind of things in its values; `None`: its values are names.
    const fn kind(self) -> Option<&'static str> {
        match self {
            Self::Users => Some("user"),
            Self::VirtualAccounts => Some("virtual_account"),
            Self::Teams => Some("team"),
            Self::Keys => Some("key"),
            Self::Operators => Some("operator"),
            Self::ProviderAccounts | Self::WholeAccounts => Some("provider_account"),
            Self::Models => Some("model"),
            Self::VirtualModels => Some("virtual_model"),
            Self::RateLimitPolicies => Some("rate_limit_policy"),
            Self::BudgetPolicies => Some("budget_policy"),
            Self::ModelNames | Self::ChatModels | Self::ChatVirtualModels => None,
        }
    }

    const fn aggregates(self) -> &'static [Aggregate] {
        match self {
            Self::Users => &[Aggregate::User],
            Self::VirtualAccounts => &[Aggregate::VirtualAccount],
            Self::Teams => &[Aggregate::Team],
            Self::Keys => &[Aggregate::Key],
            Self::Operators => &[Aggregate::Operator],
            Self::ProviderAccounts | Self::WholeAccounts => &[Aggregate::ProviderAccount],
            Self::Models | Self::ModelNames | Self::ChatModels => {
                &[Aggregate::Model, Aggregate::ProviderAccount]
            }
            Self::VirtualModels | Self::ChatVirtualModels => &[Aggregate::VirtualModel],
            Self::RateLimitPolicies => &[Aggregate::RateLimitPolicy],
            Self::BudgetPolicies => &[Aggregate::BudgetPolicy],
        }
    }

    /// The first `share` of its things that match and are not taken, and whether there are more.
    async fn first(
        self,
        client: &Client,
        question: &Question,
        share: usize,
    ) -> Result<(Vec<Offer>, bool), Failure> {
        let mut offers = Vec::new();
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let query = query(question, share, cursor.as_deref());
            let page = self.read(client, Part::Page(&query)).await?;
            let free = page.items.into_iter();
            offers.extend(free.filter(|offer| !question.taken.contains(&offer.value)));
            if offers.len() >= share || page.next_cursor.is_none() {
                let more = offers.len() > share || page.next_cursor.is_some();
                offers.truncate(share);
                return Ok((offers, more));
            }
            cursor = page.next_cursor;
        }
        Ok((offers, true))
    }

    /// The thing of this id, with what people call it.
    pub(super) async fn one(self, client: &Client, id: &str) -> Result<Option<Offer>, Failure> {
        let page = self.read(client, Part::One(id)).await?;
        Ok(page.items.into_iter().next())
    }

    async fn read(self, client: &Client, part: Part<'_>) -> Result<Page<Offer>, Failure> {
        let path = self.path();
        match self {
            Self::Users => read(client, path, part, user).await,
            Self::VirtualAccounts => read(client, path, part, virtual_account).await,
            Self::Teams => read(client, path, part, team).await,
            Self::Keys => read(client, path, part, key).await,
            Self::Operators => read(client, path, part, operator).await,
            Self::ProviderAccounts => read(client, path, part, provider_account).await,
            Self::WholeAccounts => read(client, path, part, whole_account).await,
            Self::Models => read(client, path, part, model).await,
            Self::VirtualModels => read(client, path, part, virtual_model).await,
            Self::ModelNames => read(client, path, part, model_name).await,
            Self::ChatModels => read(client, path, part, chat_model).await,
            Self::ChatVirtualModels => read(client, path, part, chat_virtual_model).await,
            Self::RateLimitPolicies => read(client, path, part, rate_limit_policy).await,
            Self::BudgetPolicies => read(client, path, part, budget_policy).await,
        }
    }
}

fn query(question: &Question, limit: usize, cursor: Option<&str>) -> String {
    let mut query = format!("?limit={limit}&at_least={}", question.at_least);
    // `account/*` is found as the account that it stands for.
    let search = question.search.trim_end_matches("/*");
    for (name, value) in [("search", Some(search)), ("cursor", cursor)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    query
}

async fn read<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    part: Part<'_>,
    offer: fn(T) -> Option<Offer>,
) -> Result<Page<Offer>, Failure> {
    let page = match part {
        Part::Page(query) => client.get::<Page<T>>(&format!("{path}{query}")).await?,
        Part::One(id) => Page {
            items: vec![client.get::<T>(&format!("{path}/{}", encode(id))).await?],
            next_cursor: None,
            position: 0,
        },
    };
    Ok(Page {
        items: page.items.into_iter().filter_map(offer).collect(),
        next_cursor: page.next_cursor,
        position: page.position,
    })
}

fn offer(value: AttrValue, label: String, hint: impl Into<AttrValue>) -> Offer {
    Offer {
        value,
        label: label.into(),
        hint: hint.into(),
    }
}

/// Two people may have the same name; their addresses differ.
fn person(kind: &'static str, email: Option<String>) -> AttrValue {
    match email {
        Some(email) => format!("{kind}, {email}").into(),
        None => kind.into(),
    }
}

fn user(it: UserItem) -> Option<Offer> {
    let hint = person("User", it.email);
    Some(offer(reference::of("user", it.id), it.name?, hint))
}

fn operator(it: OperatorItem) -> Option<Offer> {
    let hint = person("Operator", it.email);
    Some(offer(reference::of("operator", it.id), it.name?, hint))
}

fn virtual_account(it: VirtualAccountItem) -> Option<Offer> {
    let value = reference::of("virtual_account", it.id);
    Some(offer(value, it.name, "Virtual account"))
}

fn team(it: TeamItem) -> Option<Offer> {
    Some(offer(reference::of("team", it.id), it.name, "Team"))
}

fn key(it: KeyItem) -> Option<Offer> {
    let hint = format!("Key of {}, ends in {}", it.owner_name, it.hint);
    Some(offer(reference::of("key", it.id), it.label, hint))
}

fn provider_account(it: ProviderAccountItem) -> Option<Offer> {
    let value = reference::of("provider_account", it.id);
    Some(offer(value, it.name, it.base_url))
}

fn whole_account(it: ProviderAccountItem) -> Option<Offer> {
    let value = reference::of("provider_account", it.id);
    let hint = "All models of the account, also those that come later";
    Some(offer(value, it.name + "/*", hint))
}

fn model(it: ModelItem) -> Option<Offer> {
    let value = reference::of("model", it.id);
    Some(offer(value, it.full_name, "Model"))
}

fn virtual_model(it: VirtualModelItem) -> Option<Offer> {
    let value = reference::of("virtual_model", it.id);
    Some(offer(value, it.name, "Virtual model"))
}

fn rate_limit_policy(it: RateLimitPolicyItem) -> Option<Offer> {
    let value = reference::of("rate_limit_policy", it.id);
    Some(offer(value, it.name, "Rate limit"))
}

fn budget_policy(it: BudgetPolicyItem) -> Option<Offer> {
    let value = reference::of("budget_policy", it.id);
    Some(offer(value, it.name, "Budget"))
}

fn model_name(it: ModelItem) -> Option<Offer> {
    let value = it.full_name.clone().into();
    Some(offer(value, it.full_name, ""))
}

fn chat_model(it: ModelItem) -> Option<Offer> {
    let chats = !it.disabled && it.model_types.contains(&ModelType::Chat);
    let value = it.full_name.clone().into();
    chats.then(|| offer(value, it.full_name, "Model"))
}

fn chat_virtual_model(it: VirtualModelItem) -> Option<Offer> {
    let value = it.name.clone().into();
    (!it.disabled).then(|| offer(value, it.name, "Virtual model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTORS: Source = Source {
        fixed: &[
            Fixed {
                value: "system:init",
                label: "Initialisation",
                hint: "System",
            },
            Fixed {
                value: "system:commands",
                label: "Sluice itself",
                hint: "System",
            },
        ],
        lists: &[List::Operators],
    };

    fn question(search: &str) -> Question {
        Question {
            search: search.to_owned(),
            taken: Vec::new(),
            at_least: 7,
        }
    }

    #[test]
    fn lists_are_asked_with_their_own_search() {
        assert_eq!(query(&question(""), 12, None), "?limit=12&at_least=7");
        assert_eq!(
            query(&question("ada & co"), 12, Some("x")),
            "?limit=12&at_least=7&search=ada%20%26%20co&cursor=x"
        );
        assert_eq!(
            query(&question("mock/*"), 12, None),
            "?limit=12&at_least=7&search=mock"
        );
    }

    #[test]
    fn what_is_in_no_list_is_searched_here() {
        let labels = |question: &Question| -> Vec<String> {
            let fixed = ACTORS.fixed_for(question);
            fixed.iter().map(|it| it.label.to_string()).collect()
        };
        assert_eq!(labels(&question("")), ["Initialisation", "Sluice itself"]);
        assert_eq!(labels(&question("SLUICE")), ["Sluice itself"]);
        let taken = Question {
            taken: vec!["system:init".into()],
            ..question("")
        };
        assert_eq!(labels(&taken), ["Sluice itself"]);
    }

    #[test]
    fn a_chosen_thing_has_its_name_from_its_list_and_anything_else_is_its_own_name() {
        let id = "0".repeat(32);
        assert_eq!(ACTORS.known("system:init"), Ok("Initialisation".into()));
        assert_eq!(
            ACTORS.known(&format!("operator:{id}")),
            Err((List::Operators, id.clone()))
        );
        let elsewhere = format!("user:{id}");
        assert_eq!(ACTORS.known(&elsewhere), Ok(elsewhere.clone().into()));
        let names = Source {
            fixed: &[],
            lists: &[List::ModelNames],
        };
        assert_eq!(names.known("mock/fast"), Ok("mock/fast".into()));
    }
}

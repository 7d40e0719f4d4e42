//! A request that somebody might make: whose it is, what for, and what they say of it.

use std::collections::BTreeMap;

use events_schema::api::Page;
use events_schema::api::resources::{
    KeyItem, ModelItem, TeamItem, UserItem, VirtualAccountItem, VirtualModelItem,
};
use events_schema::events::{KeyLimits, Owner};
use events_schema::id::{TeamId, UserId};
use futures_util::future::try_join_all;
use gateway_policy::{EntryId, ModelIds, Wanted};

use crate::api::{Client, Failure};
use crate::remote::Content;
use crate::widgets::paging::encode;
use crate::widgets::reference;

/// How many things of a name a list is searched for.
const SEARCHED: usize = 200;

/// What has been filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RequestDraft {
    /// A user, somebody in a team, a virtual account, or a key: see [`reference`].
    pub(super) caller: String,
    /// A model or a virtual model.
    pub(super) model: String,
    /// `key=value`, one a line.
    pub(super) metadata: String,
}

/// Whose the request is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Caller {
    pub(super) owner: Owner,
    /// What the owner is called.
    pub(super) name: String,
    /// The owner's teams, as the gateway has them: in the order of their ids.
    pub(super) teams: Vec<(EntryId, String)>,
    /// The limits of the key itself, where one was chosen.
    pub(super) own: Option<KeyLimits>,
}

/// What it asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    /// The name that callers ask for.
    pub(super) name: String,
    /// What a virtual model may lead it to.
    pub(super) targets: Vec<(ModelIds, String)>,
}

/// Both, as far as they were chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known {
    pub(super) caller: Option<Caller>,
    pub(super) asked: Option<Asked>,
}

impl Content for Known {}

/// The id of a user whom nobody is: somebody in a team.
const SOMEBODY: EntryId = [0; 16];

// === impl RequestDraft ===

impl RequestDraft {
    /// The metadata; `None`: a line says no value.
    pub(super) fn pairs(&self) -> Option<BTreeMap<String, String>> {
        let lines = self.metadata.lines().map(str::trim);
        let pairs = lines.filter(|line| !line.is_empty()).map(|line| {
            let (key, value) = line.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        });
        pairs.collect()
    }
}

// === impl Known ===

impl Known {
    /// What there is to know of whoever was chosen, and of the model.
    pub(super) async fn read(
        client: Client,
        caller: String,
        model: String,
    ) -> Result<Self, Failure> {
        let caller = async {
            match reference::parts(&caller) {
                Some((kind, id)) => Caller::read(&client, kind, id).await,
                None => Ok(None),
            }
        };
        let asked = async {
            match reference::parts(&model) {
                Some((kind, id)) => Asked::read(&client, kind, id).await,
                None => Ok(None),
            }
        };
        let (caller, asked) = futures_util::future::try_join(caller, asked).await?;
        Ok(Self { caller, asked })
    }
}

// === impl Caller ===

impl Caller {
    /// Whether it is nobody in particular: somebody in a team.
    pub(super) fn is_made_up(&self) -> bool {
        self.owner == Owner::User(UserId::from_bytes(SOMEBODY))
    }

    async fn read(client: &Client, kind: &str, id: &str) -> Result<Option<Self>, Failure> {
        Ok(match kind {
            "user" => Some(Self::user(client.get(&format!("/users/{id}")).await?)),
            "virtual_account" => {
                let it: VirtualAccountItem = client.get(&format!("/virtual-accounts/{id}")).await?;
                Some(Self::virtual_account(it))
            }
            "team" => Some(Self::member(client.get(&format!("/teams/{id}")).await?)),
            "key" => Some(Self::holder(client, client.get(&format!("/keys/{id}")).await?).await?),
            _ => None,
        })
    }

    fn user(it: UserItem) -> Self {
        let id = it.id;
        let teams = it.teams.into_iter().map(|it| (it.team.bytes(), it.name));
        let mut teams: Vec<(EntryId, String)> = teams.collect();
        teams.sort();
        Self {
            owner: Owner::User(id),
            name: it.name.unwrap_or_else(|| format!("erased person {id}")),
            teams,
            own: None,
        }
    }

    fn virtual_account(it: VirtualAccountItem) -> Self {
        Self {
            owner: Owner::VirtualAccount(it.id),
            name: it.name,
            teams: Vec::new(),
            own: None,
        }
    }

    /// Somebody who is in this team, and in no other.
    fn member(it: TeamItem) -> Self {
        let id: TeamId = it.id;
        Self {
            owner: Owner::User(UserId::from_bytes(SOMEBODY)),
            name: format!("somebody in {}", it.name),
            teams: vec![(id.bytes(), it.name)],
            own: None,
        }
    }

    async fn holder(client: &Client, key: KeyItem) -> Result<Self, Failure> {
        let owner = match key.owner {
            Owner::User(id) => Self::user(client.get(&format!("/users/{id}")).await?),
            Owner::VirtualAccount(id) => Self {
                owner: Owner::VirtualAccount(id),
                name: key.owner_name,
                teams: Vec::new(),
                own: None,
            },
        };
        Ok(Self {
            own: Some(key.limits),
            ..owner
        })
    }
}

// === impl Asked ===

impl Asked {
    async fn read(client: &Client, kind: &str, id: &str) -> Result<Option<Self>, Failure> {
        Ok(match kind {
            "model" => {
                let model: ModelItem = client.get(&format!("/models/{id}")).await?;
                // A virtual model that is called the same stands before it.
                match named(client, "/virtual-models", &model.full_name, virtual_name).await? {
                    Some(it) => Some(Self::virtual_model(client, it, Some(ids(&model))).await?),
                    None => Some(Self {
                        wanted: Wanted::Model(ids(&model)),
                        name: model.full_name,
                        targets: Vec::new(),
                    }),
                }
            }
            "virtual_model" => {
                let it: VirtualModelItem = client.get(&format!("/virtual-models/{id}")).await?;
                let before = if it.name.contains('/') {
                    named(client, "/models", &it.name, full_name).await?
                } else {
                    None
                };
                let before = before.as_ref().map(ids);
                Some(Self::virtual_model(client, it, before).await?)
            }
            _ => None,
        })
    }

    async fn virtual_model(
        client: &Client,
        it: VirtualModelItem,
        before: Option<ModelIds>,
    ) -> Result<Self, Failure> {
        let targets = it.targets.iter().map(|target| async move {
            let model: ModelItem = client.get(&format!("/models/{}", target.model)).await?;
            Ok::<_, Failure>((ids(&model), model.full_name))
        });
        Ok(Self {
            wanted: Wanted::VirtualModel {
                id: it.id.bytes(),
                before,
            },
            targets: try_join_all(targets).await?,
            name: it.name,
        })
    }
}

const fn ids(model: &ModelItem) -> ModelIds {
    ModelIds {
        model: model.id.bytes(),
        account: model.account.bytes(),
    }
}

fn virtual_name(it: &VirtualModelItem) -> &str {
    &it.name
}

fn full_name(it: &ModelItem) -> &str {
    &it.full_name
}

/// The thing of a list that is called exactly so.
async fn named<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    name: &str,
    of: fn(&T) -> &str,
) -> Result<Option<T>, Failure> {
    let path = format!("{path}?limit={SEARCHED}&search={}", encode(name));
    let page = client.get::<Page<T>>(&path).await?;
    Ok(page.items.into_iter().find(|it| of(it) == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_line_by_line() {
        let pairs = |text: &str| {
            let draft = RequestDraft {
                metadata: text.to_owned(),
                ..RequestDraft::default()
            };
            draft.pairs()
        };
        assert_eq!(pairs(""), Some(BTreeMap::new()));
        let two = pairs("project = x\n\n environment=a=b ").expect("readable");
        assert_eq!((&*two["project"], &*two["environment"]), ("x", "a=b"));
        assert_eq!(pairs("project"), None);
        assert_eq!(pairs("=x"), None);
    }
}

//! Keys and grants.

use std::collections::{BTreeSet, HashMap};

use events_schema::{
    api::declared::{Action, NewSecret},
    events::{GrantedModels, KeyLimits, ModelRef, Owner, Subject},
    id::KeyId,
    names::Label,
    state,
    time::Timestamp,
};

use super::{Fields, Planner, Section, Wrong};
use crate::{
    declared::{
        brought::BroughtAccount,
        document::{self, Grant, Key},
        read::Place,
    },
    domain::{Command, GrantCommand, KeyCommand},
    fresh,
    secrets::SecretText,
};

/// What documents want to be granted to a subject.
#[derive(Default)]
struct Wishes<'a> {
    grants: Vec<(Place, &'a Grant, GrantedModels)>,
    /// The permissions that say of all provider accounts whether it may use them; `None`: there are none that do.
    all_accounts: Option<(Place, &'a Grant)>,
}

impl<'a> Planner<'a> {
    pub(super) fn key(&mut self, place: Place, it: &Key) -> Result<(), Wrong> {
        let owner = self
            .owner_named(&it.owner)
            .map_err(|message| (place.at("owner"), message))?;
        let name = key_told(&it.owner, &it.label);
        let named = self.keys_named(owner, &it.label);
        let known = match named[..] {
            [] => None,
            [known] => Some(known),
            _ => {
                let message = format!(
                    "{} keys of this owner have this label: give them others first.",
                    named.len()
                );
                return Err((place.at("label"), message));
            }
        };
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.keys.insert((owner, it.label.clone()), id).is_some() {
            return Err((place.at("label"), super::twice("key", &name)));
        }
        match known {
            Some(known) => self.changed_key(place, it, known, &name),
            None => self.new_key(place, it, (id, owner), &name)?,
        }
        Ok(())
    }

    pub(super) fn keys_named(&self, owner: Owner, label: &Label) -> Vec<&'a state::Key> {
        self.around.state.keys_labelled(owner, label).collect()
    }

    fn new_key(
        &mut self,
        place: Place,
        it: &Key,
        (id, owner): (KeyId, Owner),
        name: &str,
    ) -> Result<(), Wrong> {
        let secrets = self.around.secrets;
        let (hash, hint) = if let Some(known) = &it.secret {
            if secrets.pepper.get(&known.hash.key).is_none() {
                let message = format!(
                    "There is no pepper '{}' here: the key would never work.",
                    known.hash.key
                );
                return Err((place.at("secret"), message));
            }
            (known.hash.clone(), known.hint.clone())
        } else {
            let secret = SecretText::new_api_key();
            self.plan.secrets.push(NewSecret {
                what: "key".to_owned(),
                name: name.to_owned(),
                secret: secret.reveal().to_owned(),
            });
            (secrets.api_key_hash(&secret), secret.hint())
        };
        let mut fields = Fields::default();
        fields.made(
            "secret",
            if it.secret.is_some() {
                "(known)"
            } else {
                "(new)"
            },
        );
        if it.expires_at.is_some() {
            fields.made("expires_at", &expiry(it.expires_at));
        }
        if it.limits != KeyLimits::default() {
            fields.made("limits", &limits(it.limits));
        }
        fields.made_disabled(it.disabled);
        let issue = KeyCommand::Issue {
            owner,
            label: it.label.clone(),
            hash,
            hint,
            expires_at: it.expires_at,
            limits: it.limits,
            now: self.around.now,
        };
        self.order(Some(place), Command::Key(id, issue));
        if it.disabled {
            self.order(Some(place), Command::Key(id, KeyCommand::Disable));
        }
        self.change(Action::Create, "key", name, fields);
        Ok(())
    }

    fn changed_key(&mut self, place: Place, it: &Key, known: &state::Key, name: &str) {
        let mut fields = Fields::default();
        let (before, after) = (expiry(known.expires_at), expiry(it.expires_at));
        if fields.set("expires_at", Some(before), Some(after)) {
            let order = KeyCommand::ChangeExpiry {
                expires_at: it.expires_at,
                now: self.around.now,
            };
            self.order(Some(place.at("expires_at")), Command::Key(known.id, order));
        }
        let (before, after) = (limits(known.limits), limits(it.limits));
        if fields.set("limits", Some(before), Some(after)) {
            let order = KeyCommand::ChangeLimits { limits: it.limits };
            self.order(Some(place.at("limits")), Command::Key(known.id, order));
        }
        self.switch(place, &mut fields, (known.disabled, it.disabled), |off| {
            let order = if off {
                KeyCommand::Disable
            } else {
                KeyCommand::Enable
            };
            Command::Key(known.id, order)
        });
        self.change(Action::Change, "key", name, fields);
    }

    /// A subject may have several grants: those that are there already are found first, others are changed, the rest made.
    /// The permissions that a virtual account brings are all its grants of provider accounts: such ones beside them are revoked.
    pub(super) fn grants(
        &mut self,
        sections: &[Section<'a, [Grant]>],
        brought: &'a [BroughtAccount<'a>],
    ) {
        let own = sections.iter().flat_map(Section::items);
        let mut grants: Vec<_> = own.map(|(place, it)| (place, it, false)).collect();
        for (it, origin) in brought.iter().filter_map(|it| it.permissions.as_ref()) {
            grants.push((self.place_of(origin), it, true));
        }
        let mut by_subject: HashMap<Subject, Wishes<'a>> = HashMap::new();
        let mut order = Vec::new();
        for (place, it, is_brought) in grants {
            match self.grant(place, it) {
                Ok((subject, models)) => {
                    let of_it = by_subject.entry(subject).or_insert_with(|| {
                        order.push(subject);
                        Wishes::default()
                    });
                    if is_brought {
                        of_it.all_accounts = Some((place, it));
                    }
                    // Permissions may be none; an empty grant of Sluice's own is refused by the rules.
                    let is_none = is_brought && models == GrantedModels::Listed(BTreeSet::new());
                    if !is_none {
                        of_it.grants.push((place, it, models));
                    }
                }
                Err((place, message)) => self.wrong(place, message),
            }
        }
        for subject in order {
            let wishes = by_subject.remove(&subject).unwrap_or_default();
            self.grants_of(subject, wishes);
        }
    }

    fn grant(&self, place: Place, it: &Grant) -> Result<(Subject, GrantedModels), Wrong> {
        let subject = self
            .subject_named(&it.to)
            .map_err(|message| (place.at("to"), message))?;
        let models = match &it.models {
            document::Models::All => Ok(GrantedModels::All),
            document::Models::Listed(listed) => {
                let listed: Result<_, String> =
                    listed.iter().map(|it| self.model_ref(it)).collect();
                listed.map(GrantedModels::Listed)
            }
        };
        Ok((
            subject,
            models.map_err(|message| (place.at("models"), message))?,
        ))
    }

    fn grants_of(&mut self, subject: Subject, wishes: Wishes<'a>) {
        let mut known: Vec<_> = self.around.state.grants_of(subject).collect();
        let mut missing = Vec::new();
        for wish in wishes.grants {
            match known.iter().position(|known| known.models == wish.2) {
                Some(at) => {
                    self.grants.insert(known.remove(at).id);
                }
                None => missing.push(wish),
            }
        }
        for (place, it, models) in missing {
            let (name, after) = (subject_told(&it.to), models_told(&it.models));
            let mut fields = Fields::default();
            let like = known
                .iter()
                .position(|known| may_become(subject, &known.models, &models));
            if let Some(at) = like {
                let known = known.remove(at);
                let before = self.granted_told(&known.models);
                fields.set("models", Some(before), Some(after));
                self.grants.insert(known.id);
                let order = GrantCommand::ChangeModels { models };
                self.order(Some(place.at("models")), Command::Grant(known.id, order));
                self.change(Action::Change, "grant", &name, fields);
            } else {
                fields.made("models", &after);
                let id = fresh::id();
                self.grants.insert(id);
                let order = GrantCommand::Grant { subject, models };
                self.order(Some(place), Command::Grant(id, order));
                self.change(Action::Create, "grant", &name, fields);
            }
        }
        let Some((place, it)) = wishes.all_accounts else {
            return;
        };
        for known in known {
            if !lists_accounts_alone(&known.models) {
                continue;
            }
            let mut fields = Fields::default();
            fields.set("models", Some(self.granted_told(&known.models)), None);
            self.grants.insert(known.id);
            let order = Command::Grant(known.id, GrantCommand::Revoke);
            self.order(Some(place), order);
            self.change(Action::Delete, "grant", &subject_told(&it.to), fields);
        }
    }

    fn subject_named(&self, subject: &document::Subject) -> Result<Subject, String> {
        Ok(match subject {
            document::Subject::Everyone => Subject::Everyone,
            document::Subject::User(email) => Subject::User(self.user_named(email)?),
            document::Subject::Team(name) => Subject::Team(self.team_named(name)?),
            document::Subject::VirtualAccount(name) => {
                match self.owner_named(&document::Owner::VirtualAccount(name.clone()))? {
                    Owner::VirtualAccount(id) => Subject::VirtualAccount(id),
                    Owner::User(id) => Subject::User(id),
                }
            }
            document::Subject::Key(key) => {
                let owner = self.owner_named(&key.owner)?;
                if let Some(declared) = self.keys.get(&(owner, key.label.clone())) {
                    return Ok(Subject::Key(*declared));
                }
                match self.keys_named(owner, &key.label)[..] {
                    [known] => Subject::Key(known.id),
                    [] => return Err(format!("There is no key '{}' of this owner.", key.label)),
                    _ => {
                        return Err(format!(
                            "Several keys of this owner are labelled '{}'.",
                            key.label
                        ));
                    }
                }
            }
        })
    }

    pub(super) fn model_ref(&self, it: &document::ModelRef) -> Result<ModelRef, String> {
        Ok(match it {
            document::ModelRef::Model(name) => ModelRef::Model(self.model_named(name)?),
            document::ModelRef::ProviderAccount(name) => {
                ModelRef::ProviderAccount(self.account_named(name)?)
            }
            document::ModelRef::VirtualModel(name) => {
                let declared = self.virtual_models.get(name).copied();
                let known = || self.around.state.virtual_model_named(name);
                let id = declared.or_else(|| known().map(|it| it.id));
                ModelRef::VirtualModel(
                    id.ok_or_else(|| format!("There is no virtual model '{name}'."))?,
                )
            }
        })
    }

    fn granted_told(&self, models: &GrantedModels) -> String {
        models_told(&crate::declared::export::models(self.around.state, models))
    }
}

/// Whether a grant may be changed into another. What a virtual account may use can stand in two documents, the provider accounts
/// in its own and the rest in `grants`: neither takes the other's grant for its own.
fn may_become(subject: Subject, before: &GrantedModels, after: &GrantedModels) -> bool {
    !matches!(subject, Subject::VirtualAccount(_))
        || lists_accounts_alone(before) == lists_accounts_alone(after)
}

fn lists_accounts_alone(models: &GrantedModels) -> bool {
    let is_account = |it: &ModelRef| matches!(it, ModelRef::ProviderAccount(_));
    match models {
        GrantedModels::All => false,
        GrantedModels::Listed(listed) => listed.iter().all(is_account),
    }
}

fn expiry(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.to_string())
}

fn limits(limits: KeyLimits) -> String {
    let KeyLimits {
        requests_per_minute,
        tokens_per_minute,
    } = limits;
    let told = |limit: Option<u64>, of: &str| limit.map(|limit| format!("{limit} {of} a minute"));
    let told: Vec<_> = [
        told(requests_per_minute, "requests"),
        told(tokens_per_minute, "tokens"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if told.is_empty() {
        "none".to_owned()
    } else {
        told.join(", ")
    }
}

/// What a key is called in a difference: its owner, and its label.
pub(in crate::declared) fn key_told(owner: &document::Owner, label: &Label) -> String {
    match owner {
        document::Owner::User(email) => format!("{email}: {label}"),
        document::Owner::VirtualAccount(name) => format!("{name}: {label}"),
    }
}

/// What a subject is called in a difference.
pub(super) fn subject_told(subject: &document::Subject) -> String {
    match subject {
        document::Subject::Everyone => "everyone".to_owned(),
        document::Subject::User(email) => email.clone(),
        document::Subject::Team(name) | document::Subject::VirtualAccount(name) => name.to_string(),
        document::Subject::Key(key) => key_told(&key.owner, &key.label),
    }
}

/// What is granted, for people.
pub(super) fn models_told(models: &document::Models) -> String {
    let document::Models::Listed(listed) = models else {
        return "all".to_owned();
    };
    listed.iter().map(model_told).collect::<Vec<_>>().join(", ")
}

pub(super) fn model_told(model: &document::ModelRef) -> String {
    match model {
        document::ModelRef::Model(name) => name.clone(),
        document::ModelRef::VirtualModel(name) => name.to_string(),
        document::ModelRef::ProviderAccount(name) => format!("{name}/*"),
    }
}

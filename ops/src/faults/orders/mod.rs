//! What operators do in a round, drawn from the seed, and what must follow from each of their commands.
//!
//! Each writer has things of its own, so that no command is refused because of another's, and no name is ever used twice.

pub(super) mod access;
mod keys;
mod models;
mod organisation;
pub(super) mod people;
pub(super) mod policies;

use events_schema::api::commands::NewCommand;
use events_schema::id::{ProviderAccountId, VirtualAccountId};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::facts::{Door, Facts, Fields, Former, Secrets, Thing};
use crate::dice::Dice;

/// The lists of the API in which drawn things stand.
pub(super) const LISTS: [&str; 9] = [
    USERS,
    TEAMS,
    ACCOUNTS,
    KEYS,
    MODELS,
    VIRTUAL_MODELS,
    GRANTS,
    LIMITS,
    BUDGETS,
];
pub(super) const USERS: &str = "/users";
pub(super) const TEAMS: &str = "/teams";
pub(super) const ACCOUNTS: &str = "/virtual-accounts";
pub(super) const KEYS: &str = "/keys";
pub(super) const MODELS: &str = "/models";
pub(super) const VIRTUAL_MODELS: &str = "/virtual-models";
pub(super) const GRANTS: &str = "/grants";
pub(super) const LIMITS: &str = "/rate-limit-policies";
pub(super) const BUDGETS: &str = "/budget-policies";

/// What the name of everything drawn begins with.
pub(super) const MARK: &str = "drawn-";

/// Things of one writer in one list; then it makes no more.
const MOST_OF_A_KIND: usize = 6;

/// Rolls until something is found that can be done: with nothing there, most cannot.
const TRIES: usize = 64;

/// What a writer works with that is always there.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) writer: usize,
    /// An owner of keys who may use everything.
    pub(super) member: VirtualAccountId,
    /// An owner of keys who may use nothing, but with keys that were granted something.
    pub(super) stranger: VirtualAccountId,
    /// The account that models are added to.
    pub(super) provider: ProviderAccountId,
    /// A key that may use everything and is never touched.
    pub(super) steady_key: String,
}

/// What is given, and what must follow.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) given: Given,
    pub(super) effects: Vec<Effect>,
}

/// What is sent.
#[derive(Clone)]
pub(super) enum Given {
    Command(NewCommand),
    Document(String),
}

/// One thing that follows from a command.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// What the answer names is in this list from now on.
    Made(&'static str, Fields),
    /// A thing has other fields.
    Set(String, Fields),
    /// A thing is gone, and what goes with it.
    Gone(String),
    /// A key has another secret, and the former one works for so many seconds more.
    Rotated(String, u64),
    /// The secret from before the last rotation works no more.
    FormerRevoked(String),
    /// Nothing of this name is answered any more.
    NameGone(String),
    /// This key may not use this model any more.
    Shut { key: String, model: String },
    /// A document says so of a thing with this name.
    Declared(&'static str, String, Fields),
    /// The settings are other.
    Settings(Fields),
}

/// What an answer says, as far as effects depend on it.
pub(super) struct Said<'a> {
    pub(super) position: u64,
    pub(super) id: Option<&'a str>,
    pub(super) secret: Option<&'a str>,
    /// When the command was sent first.
    pub(super) sent: Instant,
}

/// The next thing to do.
pub(super) fn next(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Order {
    for _ in 0..TRIES {
        let order = match dice.between(0, 16) {
            0..4 => keys::draw(plot, facts, dice),
            4..7 => people::draw(plot, facts, dice),
            7..10 => models::draw(plot, facts, dice),
            10..13 => access::draw(plot, facts, dice),
            13..15 => policies::draw(plot, facts, dice),
            _ => Some(organisation::draw(plot, dice)),
        };
        if let Some(order) = order {
            return order;
        }
    }
    organisation::draw(plot, dice)
}

// === impl Order ===

impl Order {
    pub(super) fn new(command: NewCommand, effect: Effect) -> Self {
        Self {
            given: Given::Command(command),
            effects: vec![effect],
        }
    }

    fn also(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

// === impl Effect ===

impl Effect {
    /// Disabled or enabled.
    fn disabled(id: &str, disabled: bool) -> Self {
        Self::Set(id.to_owned(), fields([("disabled", disabled.into())]))
    }

    fn named(id: &str, name: &str) -> Self {
        Self::Set(id.to_owned(), fields([("name", name.into())]))
    }
}

// === impl Plot ===

impl Plot {
    /// This writer's things in a list, in the order of their ids.
    fn mine<'f>(&self, facts: &'f Facts, list: &str) -> Vec<(&'f str, &'f Thing)> {
        let mine = |thing: &Thing| thing.writer == self.writer && thing.list == list;
        let all = facts.things.iter().filter(|(_, thing)| mine(thing));
        all.map(|(id, thing)| (id.as_str(), thing)).collect()
    }

    /// One of them.
    fn one<'f>(
        &self,
        facts: &'f Facts,
        list: &str,
        dice: &mut Dice,
    ) -> Option<(&'f str, &'f Thing)> {
        dice.choose(&self.mine(facts, list)).copied()
    }

    fn has_room(&self, facts: &Facts, list: &str) -> bool {
        self.mine(facts, list).len() < MOST_OF_A_KIND
    }

    /// A name that nothing has had.
    fn name(&self, dice: &mut Dice) -> String {
        format!("{MARK}{}-{:016x}", self.writer + 1, dice.roll())
    }
}

// === impl Thing ===

impl Thing {
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn is_disabled(&self) -> bool {
        self.fields.get("disabled") == Some(&Value::Bool(true))
    }
}

// === impl Facts ===

impl Facts {
    /// Notes what follows from a command of this writer.
    pub(super) fn follow(&mut self, plot: &Plot, effects: &[Effect], said: &Said<'_>) {
        for effect in effects {
            self.follow_one(plot, effect, said);
        }
    }

    fn follow_one(&mut self, plot: &Plot, effect: &Effect, said: &Said<'_>) {
        match effect {
            Effect::Made(list, fields) => {
                let id = said.id.unwrap_or_default().to_owned();
                if *list == KEYS
                    && let Ok(key) = id.parse()
                {
                    let current = said.secret.map(ToOwned::to_owned);
                    let former = None;
                    self.keys.insert(key, Secrets { current, former });
                }
                let thing = Thing {
                    list,
                    writer: plot.writer,
                    fields: fields.clone(),
                };
                self.things.insert(id, thing);
            }
            Effect::Set(id, fields) => {
                if let Some(thing) = self.things.get_mut(id) {
                    thing.fields.extend(fields.clone());
                }
            }
            Effect::Gone(id) => self.is_gone(id, said.position),
            Effect::Rotated(id, grace) => self.is_rotated(id, *grace, said),
            Effect::FormerRevoked(id) => {
                let secrets = id.parse().ok().and_then(|id| self.keys.get_mut(&id));
                if let Some(former) = secrets.and_then(|it| it.former.take()) {
                    self.shut("a former secret", former.secret, None, said.position);
                }
            }
            Effect::NameGone(name) => {
                let what = format!("the name {name}");
                let secret = plot.steady_key.clone();
                self.shut(&what, secret, Some(name.clone()), said.position);
            }
            Effect::Shut { key, model } => {
                self.shut_keys.insert(key.clone());
                let secrets = key.parse().ok().and_then(|key| self.keys.get(&key));
                if let Some(secret) = secrets.and_then(|it| it.current.clone()) {
                    let what = format!("the grant of {model} to key {key}");
                    self.shut(&what, secret, Some(model.clone()), said.position);
                }
            }
            Effect::Declared(list, name, fields) => {
                self.declared.insert((*list, name.clone()), fields.clone());
            }
            Effect::Settings(fields) => self.settings.extend(fields.clone()),
        }
    }

    fn is_gone(&mut self, id: &str, position: u64) {
        if let Some(thing) = self.things.remove(id) {
            self.gone.insert(id.to_owned(), thing.list);
        }
        if let Some(secrets) = id.parse().ok().and_then(|id| self.keys.remove(&id)) {
            let former = secrets.former.map(|it| it.secret);
            for secret in secrets.current.into_iter().chain(former) {
                self.shut(&format!("key {id}"), secret, None, position);
            }
        }
    }

    fn is_rotated(&mut self, id: &str, grace: u64, said: &Said<'_>) {
        let Some(secrets) = id.parse().ok().and_then(|id| self.keys.get_mut(&id)) else {
            return;
        };
        let current = said.secret.map(ToOwned::to_owned);
        let replaced = std::mem::replace(&mut secrets.current, current);
        let before = secrets.former.take();
        let grace_lasts = Duration::from_secs(grace);
        let mut closed = Vec::from_iter(before.map(|it| it.secret));
        match replaced {
            Some(secret) if grace > 0 => {
                secrets.former = Some(Former {
                    secret,
                    works_until: said.sent + grace_lasts,
                    refused_from: Instant::now() + grace_lasts,
                });
            }
            replaced => closed.extend(replaced),
        }
        for secret in closed {
            let what = format!("a replaced secret of key {id}");
            self.shut(&what, secret, None, said.position);
        }
    }

    fn shut(&mut self, what: &str, secret: String, model: Option<String>, closed_at: u64) {
        self.doors.push(Door {
            what: what.to_owned(),
            secret,
            model,
            closed_at,
        });
    }
}

/// Fields, written down.
pub(super) fn fields<const N: usize>(of: [(&str, Value); N]) -> Fields {
    of.map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A value as the API tells it.
fn told(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Draws and follows so many orders, as if each were done at once.
    fn draw(seed: u64, many: u64) -> (Vec<String>, Facts) {
        let mut dice = Dice::new(seed);
        let id = |number| uuid::Uuid::from_u64_pair(number, 0).as_simple().to_string();
        let plots = [0, 1].map(|writer| Plot {
            writer,
            member: id(1).parse().unwrap(),
            stranger: id(2).parse().unwrap(),
            provider: id(3).parse().unwrap(),
            steady_key: "steady".into(),
        });
        let (mut facts, mut given) = (Facts::default(), Vec::new());
        for number in 10..10 + many {
            let plot = &plots[usize::from(number % 2 == 0)];
            let order = next(plot, &facts, &mut dice);
            let said = Said {
                position: number,
                id: Some(&id(number)),
                secret: Some("secret"),
                sent: Instant::now(),
            };
            facts.follow(plot, &order.effects, &said);
            given.push(match order.given {
                Given::Command(command) => told(&command).to_string(),
                Given::Document(document) => document,
            });
        }
        (given, facts)
    }

    #[test]
    fn a_seed_gives_the_same_orders_and_every_kind_comes_up() {
        let (given, facts) = draw(7, 4_000);
        assert_eq!(given, draw(7, 4_000).0);
        assert_ne!(given, draw(8, 4_000).0);
        let type_of = |text: &String| {
            let command: Value = serde_json::from_str(text).unwrap_or_default();
            command["type"].as_str().unwrap_or("a document").to_owned()
        };
        let kinds: BTreeSet<String> = given.iter().map(type_of).collect();
        let thing = |name: &str, verbs: &[&str]| -> Vec<String> {
            verbs.iter().map(|verb| format!("{verb}_{name}")).collect()
        };
        let usual = ["rename", "disable", "enable", "delete"];
        let expected = [
            thing("user", &[&usual[..], &["add", "erase"]].concat()),
            thing("team", &[&usual[..], &["create"]].concat()),
            thing("team_member", &["add", "remove"]),
            thing("virtual_account", &[&usual[..], &["create"]].concat()),
            thing("model", &[&usual[..], &["add"]].concat()),
            thing("virtual_model", &[&usual[..], &["create"]].concat()),
            thing(
                "rate_limit_policy",
                &[&usual[..], &["create", "move"]].concat(),
            ),
            thing("budget_policy", &[&usual[..], &["create", "move"]].concat()),
            thing(
                "key",
                &["issue", "relabel", "rotate", "disable", "enable", "revoke"],
            ),
            thing("access", &["grant", "revoke"]),
            [
                "change_user_email",
                "change_team_member_role",
                "set_model_price",
                "change_virtual_model_routing",
                "change_granted_models",
                "change_rate_limit_rule",
                "change_budget_rule",
                "revoke_former_secret",
                "rename_organisation",
                "change_session_bounds",
                "change_retention",
                "a document",
            ]
            .map(str::to_owned)
            .into(),
        ]
        .concat();
        for kind in expected {
            assert!(kinds.contains(&kind), "{kind} never came up");
        }
        assert!(facts.doors.iter().any(|door| door.model.is_some()));
    }

    #[test]
    fn nothing_is_deleted_that_something_names() {
        let (_, facts) = draw(9, 4_000);
        let named = facts.gone.keys().filter(|id| facts.is_named(id));
        assert_eq!(named.count(), 0);
    }
}

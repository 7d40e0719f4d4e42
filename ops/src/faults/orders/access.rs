//! Grants: given, changed, and taken away.

use std::collections::BTreeSet;

use events_schema::api::commands::NewCommand;
use events_schema::events::{GrantedModels, ModelRef, Subject};
use events_schema::id::KeyId;
use serde_json::{Value, json};

use super::{ACCOUNTS, Effect, GRANTS, KEYS, MODELS, Order, Plot, TEAMS, USERS, VIRTUAL_MODELS};
use super::{fields, told};
use crate::dice::Dice;
use crate::faults::facts::{Facts, Fields};

/// Grants of one writer at the same time; then it takes some away.
const MOST_GRANTS: usize = 12;

pub(super) fn draw(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let draw = dice.between(0, 8);
    if draw < 4 && plot.mine(facts, GRANTS).len() < MOST_GRANTS {
        return give(plot, facts, dice);
    }
    let (id, thing) = plot.one(facts, GRANTS, dice)?;
    let grant = id.parse().ok()?;
    // What a key was granted is never granted to it again, so that it must stay closed.
    let key = thing
        .fields
        .get("subject")
        .and_then(|it| it["key"].as_str());
    if let Some(key) = key {
        let opened = thing.fields.get("models")?.as_array()?;
        let names = opened.iter().filter_map(|model| name_of(facts, model));
        let revoke = Order::new(
            NewCommand::RevokeAccess { grant },
            Effect::Gone(id.to_owned()),
        );
        return Some(names.fold(revoke, |order, model| {
            let key = key.to_owned();
            order.also(Effect::Shut { key, model })
        }));
    }
    if draw < 6 {
        let models = models(plot, facts, dice)?;
        let effect = Effect::Set(id.to_owned(), opened(&models));
        let change = NewCommand::ChangeGrantedModels { grant, models };
        return Some(Order::new(change, effect));
    }
    Some(Order::new(
        NewCommand::RevokeAccess { grant },
        Effect::Gone(id.to_owned()),
    ))
}

fn give(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let (subject, models) = match dice.between(0, 5) {
        0..2 => to_a_key(plot, facts, dice)?,
        2 => {
            let user = plot.one(facts, USERS, dice)?.0.parse().ok()?;
            (Subject::User(user), models(plot, facts, dice)?)
        }
        3 => {
            let team = plot.one(facts, TEAMS, dice)?.0.parse().ok()?;
            (Subject::Team(team), models(plot, facts, dice)?)
        }
        _ => {
            let account = plot.one(facts, ACCOUNTS, dice)?.0.parse().ok()?;
            let subject = Subject::VirtualAccount(account);
            (subject, models(plot, facts, dice)?)
        }
    };
    let mut made = opened(&models);
    made.insert("subject".to_owned(), told(subject));
    let grant = NewCommand::GrantAccess { subject, models };
    Some(Order::new(grant, Effect::Made(GRANTS, made)))
}

/// One model, to a key of the account that may use nothing, which had no grant yet.
fn to_a_key(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<(Subject, GrantedModels)> {
    let keys = plot.mine(facts, KEYS);
    let stranger = plot.stranger.to_string();
    let fresh: Vec<KeyId> = keys
        .iter()
        .filter(|(_, key)| key.fields.get("owner") == Some(&json!({ "virtual_account": stranger })))
        .filter(|(id, _)| !facts.is_named(id) && !facts.shut_keys.contains(*id))
        .filter_map(|(id, _)| id.parse().ok())
        .collect();
    let key = *dice.choose(&fresh)?;
    let model = one_model(plot, facts, dice)?;
    Some((
        Subject::Key(key),
        GrantedModels::Listed(BTreeSet::from([model])),
    ))
}

/// All of them, or one or two of the writer's own.
fn models(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<GrantedModels> {
    if dice.between(0, 5) == 0 {
        return Some(GrantedModels::All);
    }
    let one = one_model(plot, facts, dice)?;
    let other = one_model(plot, facts, dice)?;
    Some(GrantedModels::Listed(BTreeSet::from([one, other])))
}

fn one_model(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<ModelRef> {
    if dice.between(0, 2) == 0 {
        let model = plot.one(facts, MODELS, dice)?.0.parse().ok()?;
        return Some(ModelRef::Model(model));
    }
    let model = plot.one(facts, VIRTUAL_MODELS, dice)?.0.parse().ok()?;
    Some(ModelRef::VirtualModel(model))
}

fn opened(models: &GrantedModels) -> Fields {
    let listed = match models {
        GrantedModels::All => Vec::new(),
        GrantedModels::Listed(models) => models.iter().map(told).collect(),
    };
    let mut listed: Vec<Value> = listed;
    listed.sort_by_key(ToString::to_string);
    fields([
        ("all_models", Value::Bool(*models == GrantedModels::All)),
        ("models", listed.into()),
    ])
}

/// What callers say to ask for a model of a grant.
pub(in crate::faults) fn name_of(facts: &Facts, model: &Value) -> Option<String> {
    let (prefix, id) = match (model["model"].as_str(), model["virtual_model"].as_str()) {
        (Some(id), _) => ("mock/", id),
        (None, Some(id)) => ("", id),
        (None, None) => return None,
    };
    let name = facts.field(id, "name")?.as_str()?;
    Some(format!("{prefix}{name}"))
}

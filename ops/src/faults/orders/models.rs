//! Models with prices, and virtual models over them.

use std::collections::BTreeSet;

use events_schema::api::commands::NewCommand;
use events_schema::events::{ModelType, Routing, RoutingTarget};
use events_schema::money::{NanoUsd, Price};
use serde_json::Value;

use super::{Effect, MODELS, Order, Plot, VIRTUAL_MODELS, fields, told};
use crate::dice::Dice;
use crate::faults::facts::Facts;

/// The provider's model that all of these are.
const UPSTREAM: &str = "fast";

/// The most that a drawn price is, in nano-dollars a million tokens: five dollars.
const DEAREST: u64 = 5_000_000_000;

/// What callers say before the name of a model of the example's provider account.
const ACCOUNT: &str = "mock/";

pub(super) fn draw(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    if dice.between(0, 2) == 0 {
        model(plot, facts, dice)
    } else {
        virtual_model(plot, facts, dice)
    }
}

fn model(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let name = plot.name(dice);
    let draw = dice.between(0, 8);
    if draw < 3 && plot.has_room(facts, MODELS) {
        let made = fields([
            ("name", name.clone().into()),
            ("disabled", Value::Bool(false)),
            ("price", Value::Null),
        ]);
        let add = NewCommand::AddModel {
            account: plot.provider,
            name,
            upstream_name: Some(UPSTREAM.to_owned()),
            model_types: BTreeSet::from([ModelType::Chat]),
        };
        return Some(Order::new(add, Effect::Made(MODELS, made)));
    }
    let (id, thing) = plot.one(facts, MODELS, dice)?;
    let model = id.parse().ok()?;
    let called = format!("{ACCOUNT}{}", thing.text("name"));
    match draw {
        0..3 if facts.is_named(id) => None,
        0..3 => {
            let delete = NewCommand::DeleteModel { model };
            Some(Order::new(delete, Effect::Gone(id.to_owned())).also(Effect::NameGone(called)))
        }
        3 if thing.is_disabled() => Some(Order::new(
            NewCommand::EnableModel { model },
            Effect::disabled(id, false),
        )),
        3 if dice.between(0, 2) == 0 => Some(Order::new(
            NewCommand::DisableModel { model },
            Effect::disabled(id, true),
        )),
        3..6 => {
            let price = Price {
                input: NanoUsd::new(dice.between(1, DEAREST)),
                output: NanoUsd::new(dice.between(1, DEAREST)),
                cached_input: None,
            };
            let effect = Effect::Set(id.to_owned(), fields([("price", told(price))]));
            let set = NewCommand::SetModelPrice {
                model,
                price,
                effective_at: None,
            };
            Some(Order::new(set, effect))
        }
        _ => {
            let effect = Effect::named(id, &name);
            let rename = NewCommand::RenameModel { model, name };
            Some(Order::new(rename, effect).also(Effect::NameGone(called)))
        }
    }
}

fn virtual_model(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let name = plot.name(dice);
    let draw = dice.between(0, 8);
    let routing = routing(plot, facts, dice)?;
    if draw < 3 && plot.has_room(facts, VIRTUAL_MODELS) {
        let made = fields([
            ("name", name.clone().into()),
            ("disabled", Value::Bool(false)),
            ("routing", told(&routing)),
        ]);
        let create = NewCommand::CreateVirtualModel { name, routing };
        return Some(Order::new(create, Effect::Made(VIRTUAL_MODELS, made)));
    }
    let (id, thing) = plot.one(facts, VIRTUAL_MODELS, dice)?;
    let virtual_model = id.parse().ok()?;
    let called = thing.text("name").to_owned();
    match draw {
        0..3 if facts.is_named(id) => None,
        0..3 => {
            let delete = NewCommand::DeleteVirtualModel { virtual_model };
            Some(Order::new(delete, Effect::Gone(id.to_owned())).also(Effect::NameGone(called)))
        }
        3 if thing.is_disabled() => Some(Order::new(
            NewCommand::EnableVirtualModel { virtual_model },
            Effect::disabled(id, false),
        )),
        3 => Some(Order::new(
            NewCommand::DisableVirtualModel { virtual_model },
            Effect::disabled(id, true),
        )),
        4..7 => {
            let effect = Effect::Set(id.to_owned(), fields([("routing", told(&routing))]));
            let change = NewCommand::ChangeVirtualModelRouting {
                virtual_model,
                routing,
            };
            Some(Order::new(change, effect))
        }
        _ => {
            let effect = Effect::named(id, &name);
            let rename = NewCommand::RenameVirtualModel {
                virtual_model,
                name,
            };
            Some(Order::new(rename, effect).also(Effect::NameGone(called)))
        }
    }
}

/// One or two of the writer's models, the first of which takes nine requests in ten.
fn routing(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Routing> {
    let one = plot.one(facts, MODELS, dice)?.0;
    let other = plot.one(facts, MODELS, dice)?.0;
    let models: BTreeSet<&str> = [one, other].into();
    let targets = models
        .into_iter()
        .zip([90, 10])
        .filter_map(|(model, weight)| Some(RoutingTarget::weighted(model.parse().ok()?, weight)))
        .collect();
    Some(Routing::weighted(targets))
}

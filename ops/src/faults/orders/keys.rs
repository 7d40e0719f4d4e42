//! Keys: issued, called otherwise, rotated, disabled and revoked.

use events_schema::api::commands::NewCommand;
use events_schema::events::{KeyLimits, Owner};
use serde_json::Value;

use super::{ACCOUNTS, Effect, GRANTS, KEYS, Order, Plot, USERS, fields, told};
use crate::dice::Dice;
use crate::faults::facts::Facts;

/// Keys of one writer at the same time; then it takes some away.
const MOST_KEYS: usize = 14;

/// For how long a former secret works: not at all, until it runs out within a round or two, beyond the run.
const GRACES_SECONDS: [u64; 3] = [0, 4, 86_400];

pub(super) fn draw(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let draw = dice.between(0, 12);
    let full = plot.mine(facts, KEYS).len() >= MOST_KEYS;
    if draw < 4 && !full {
        return issue(plot, facts, dice);
    }
    let (id, thing) = plot.one(facts, KEYS, dice)?;
    let key = id.parse().ok()?;
    Some(match draw {
        0..6 => {
            let order = Order::new(NewCommand::RevokeKey { key }, Effect::Gone(id.to_owned()));
            // Grants to it go with it.
            let subject = told(events_schema::events::Subject::Key(key));
            let grants = plot.mine(facts, GRANTS);
            let to_it = grants
                .iter()
                .filter(|(_, grant)| grant.fields.get("subject") == Some(&subject));
            to_it.fold(order, |order, (grant, _)| {
                order.also(Effect::Gone((*grant).to_owned()))
            })
        }
        6..8 => {
            let grace_seconds = *dice.choose(&GRACES_SECONDS)?;
            let rotate = NewCommand::RotateKey { key, grace_seconds };
            Order::new(rotate, Effect::Rotated(id.to_owned(), grace_seconds))
        }
        8 => Order::new(
            NewCommand::RevokeFormerSecret { key },
            Effect::FormerRevoked(id.to_owned()),
        ),
        9 if thing.is_disabled() => {
            Order::new(NewCommand::EnableKey { key }, Effect::disabled(id, false))
        }
        9 => Order::new(NewCommand::DisableKey { key }, Effect::disabled(id, true)),
        _ => {
            let label = plot.name(dice);
            let effect = Effect::Set(id.to_owned(), fields([("label", label.clone().into())]));
            Order::new(NewCommand::RelabelKey { key, label }, effect)
        }
    })
}

/// For one of the two accounts that are always there, or for a user or an account that was drawn.
fn issue(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let owner = match dice.between(0, 4) {
        0 => Owner::VirtualAccount(plot.member),
        1 => Owner::VirtualAccount(plot.stranger),
        2 => Owner::User(plot.one(facts, USERS, dice)?.0.parse().ok()?),
        _ => Owner::VirtualAccount(plot.one(facts, ACCOUNTS, dice)?.0.parse().ok()?),
    };
    let label = plot.name(dice);
    let made = fields([
        ("label", label.clone().into()),
        ("owner", told(owner)),
        ("disabled", Value::Bool(false)),
    ]);
    let issue = NewCommand::IssueKey {
        owner,
        label,
        expires_at: None,
        limits: KeyLimits::default(),
    };
    Some(Order::new(issue, Effect::Made(KEYS, made)))
}

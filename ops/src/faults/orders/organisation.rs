//! Settings, and a small document that is applied as a whole.

use events_schema::api::commands::NewCommand;
use serde_json::{Value, json};

use super::{ACCOUNTS, Effect, Given, LIMITS, Order, Plot, fields};
use crate::dice::Dice;

/// How long records may be kept in a run, in days: longer than any budget's window.
const DAYS: std::ops::Range<u64> = 100..1_000;

/// When sessions end, in hours: longer than a run.
const HOURS: std::ops::Range<u64> = 200..2_000;

/// A session may be unused for so many minutes: longer than a run, and at most a week.
const IDLE_MINUTES: std::ops::Range<u64> = 600..10_000;

pub(super) fn draw(plot: &Plot, dice: &mut Dice) -> Order {
    match (dice.between(0, 2), plot.writer) {
        (0, _) => document(plot, dice),
        // Settings there are only once: each writer has some of them.
        (_, 0) if dice.between(0, 2) == 0 => {
            let name = plot.name(dice);
            let effect = Effect::Settings(fields([("organisation", name.clone().into())]));
            Order::new(NewCommand::RenameOrganisation { name: Some(name) }, effect)
        }
        (_, 0) => sessions(dice),
        _ => retention(dice),
    }
}

fn sessions(dice: &mut Dice) -> Order {
    let (idle_minutes, longest_hours) = (number(dice, IDLE_MINUTES), number(dice, HOURS));
    let told = json!({ "idle_minutes": idle_minutes, "longest_hours": longest_hours });
    let change = NewCommand::ChangeSessionBounds {
        idle_minutes,
        longest_hours,
    };
    Order::new(change, Effect::Settings(fields([("sessions", told)])))
}

fn retention(dice: &mut Dice) -> Order {
    let requests_days = number(dice, DAYS);
    let sums_days = requests_days + number(dice, DAYS);
    let told = json!({ "requests_days": requests_days, "sums_days": sums_days });
    let change = NewCommand::ChangeRetention {
        requests_days,
        sums_days,
    };
    Order::new(change, Effect::Settings(fields([("retention", told)])))
}

fn number(dice: &mut Dice, range: std::ops::Range<u64>) -> u32 {
    u32::try_from(dice.between(range.start, range.end)).unwrap_or(u32::MAX)
}

/// A virtual account, what it may use, and a limit for it: all of it changes at once.
fn document(plot: &Plot, dice: &mut Dice) -> Order {
    let name = format!("declared-{}", plot.writer + 1);
    let disabled = dice.between(0, 2) == 0;
    let model = if dice.between(0, 2) == 0 {
        "fast"
    } else {
        "slow"
    };
    let order = number(dice, 100..1_000);
    let document = format!(
        "sluice: v1
virtual_accounts:
  - {{name: {name}, disabled: {disabled}}}
grants:
  - to: {{virtual_account: {name}}}
    models: {{listed: [{{model: mock/{model}}}]}}
rate_limit_policies:
  - name: {name}
    order: {order}
    disabled: {disabled}
    when: {{subjects: {{in: [{{virtual_account: {name}}}]}}}}
    limits: [{{unit: requests, window: day, limit: 1000000}}]
"
    );
    let switched = ("disabled", Value::Bool(disabled));
    let account = fields([switched.clone()]);
    let policy = fields([switched, ("order", order.into())]);
    Order {
        given: Given::Document(document),
        effects: vec![
            Effect::Declared(ACCOUNTS, name.clone(), account),
            Effect::Declared(LIMITS, name, policy),
        ],
    }
}

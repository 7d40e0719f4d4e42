//! Rate-limit policies and budget policies: made, changed, moved, disabled and deleted. They are too large to refuse
//! anything; the ones that do are the round's own (`tight`).

use events_schema::api::commands::NewCommand;
use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, Choice, LimitMode, LimitUnit,
    LimitWhenCutOff, LimitWindow, LimitedSubject, RateLimit, RateLimitRule, When, WhenCutOff,
};
use events_schema::money::NanoUsd;
use serde_json::Value;

use super::{ACCOUNTS, BUDGETS, Effect, LIMITS, Order, Plot, TEAMS, USERS, fields, told};
use crate::dice::Dice;
use crate::faults::facts::Facts;

/// More than a run can use, in requests, tokens, or nano-dollars.
const PLENTY: std::ops::Range<u64> = 1_000_000_000..2_000_000_000;

/// Where drawn policies stand: behind those of the round.
const ORDERS: std::ops::Range<u64> = 100..1_000;

pub(super) fn draw(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    if dice.between(0, 2) == 0 {
        limit(plot, facts, dice)
    } else {
        budget(plot, facts, dice)
    }
}

fn limit(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let (name, order) = (plot.name(dice), order(dice));
    let rule = requests(when(plot, facts, dice)?, dice);
    let draw = dice.between(0, 8);
    if draw < 3 && plot.has_room(facts, LIMITS) {
        let made = fields([
            ("name", name.clone().into()),
            ("order", order.into()),
            ("rule", told(&rule)),
            ("disabled", Value::Bool(false)),
        ]);
        let rule = Box::new(rule);
        let create = NewCommand::CreateRateLimitPolicy { name, order, rule };
        return Some(Order::new(create, Effect::Made(LIMITS, made)));
    }
    let (id, thing) = plot.one(facts, LIMITS, dice)?;
    let policy = id.parse().ok()?;
    let owned = id.to_owned();
    Some(match draw {
        0..4 => Order::new(
            NewCommand::DeleteRateLimitPolicy { policy },
            Effect::Gone(owned),
        ),
        4 if thing.is_disabled() => Order::new(
            NewCommand::EnableRateLimitPolicy { policy },
            Effect::disabled(id, false),
        ),
        4 => Order::new(
            NewCommand::DisableRateLimitPolicy { policy },
            Effect::disabled(id, true),
        ),
        5 => {
            let effect = Effect::named(id, &name);
            Order::new(NewCommand::RenameRateLimitPolicy { policy, name }, effect)
        }
        6 => Order::new(
            NewCommand::MoveRateLimitPolicy { policy, order },
            Effect::Set(owned, fields([("order", order.into())])),
        ),
        _ => {
            let effect = Effect::Set(owned, fields([("rule", told(&rule))]));
            let rule = Box::new(rule);
            Order::new(NewCommand::ChangeRateLimitRule { policy, rule }, effect)
        }
    })
}

fn budget(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let (name, order) = (plot.name(dice), order(dice));
    let rule = money(when(plot, facts, dice)?, dice);
    let draw = dice.between(0, 8);
    if draw < 3 && plot.has_room(facts, BUDGETS) {
        let made = fields([
            ("name", name.clone().into()),
            ("order", order.into()),
            ("rule", told(&rule)),
            ("disabled", Value::Bool(false)),
        ]);
        let rule = Box::new(rule);
        let create = NewCommand::CreateBudgetPolicy { name, order, rule };
        return Some(Order::new(create, Effect::Made(BUDGETS, made)));
    }
    let (id, thing) = plot.one(facts, BUDGETS, dice)?;
    let policy = id.parse().ok()?;
    let owned = id.to_owned();
    Some(match draw {
        0..4 => Order::new(
            NewCommand::DeleteBudgetPolicy { policy },
            Effect::Gone(owned),
        ),
        4 if thing.is_disabled() => Order::new(
            NewCommand::EnableBudgetPolicy { policy },
            Effect::disabled(id, false),
        ),
        4 => Order::new(
            NewCommand::DisableBudgetPolicy { policy },
            Effect::disabled(id, true),
        ),
        5 => {
            let effect = Effect::named(id, &name);
            Order::new(NewCommand::RenameBudgetPolicy { policy, name }, effect)
        }
        6 => Order::new(
            NewCommand::MoveBudgetPolicy { policy, order },
            Effect::Set(owned, fields([("order", order.into())])),
        ),
        _ => {
            let effect = Effect::Set(owned, fields([("rule", told(&rule))]));
            let rule = Box::new(rule);
            Order::new(NewCommand::ChangeBudgetRule { policy, rule }, effect)
        }
    })
}

fn order(dice: &mut Dice) -> u32 {
    u32::try_from(dice.between(ORDERS.start, ORDERS.end)).unwrap_or(u32::MAX)
}

/// The requests of somebody who was drawn.
fn when(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<When> {
    let subject = match dice.between(0, 3) {
        0 => LimitedSubject::User(plot.one(facts, USERS, dice)?.0.parse().ok()?),
        1 => LimitedSubject::Team(plot.one(facts, TEAMS, dice)?.0.parse().ok()?),
        _ => LimitedSubject::VirtualAccount(plot.one(facts, ACCOUNTS, dice)?.0.parse().ok()?),
    };
    Some(When {
        subjects: Choice::only([subject]),
        ..When::default()
    })
}

fn requests(when: When, dice: &mut Dice) -> RateLimitRule {
    let window = match dice.between(0, 3) {
        0 => LimitWindow::Minute,
        1 => LimitWindow::Hour,
        _ => LimitWindow::Day,
    };
    let limit = dice.between(PLENTY.start, PLENTY.end);
    let when_cut_off = match dice.between(0, 3) {
        0 => LimitWhenCutOff::Alone,
        1 => LimitWhenCutOff::Open,
        _ => LimitWhenCutOff::Closed,
    };
    RateLimitRule {
        when_cut_off,
        ..limit_rule(when, window, limit, mode(dice))
    }
}

fn money(when: When, dice: &mut Dice) -> BudgetRule {
    let amount = dice.between(PLENTY.start, PLENTY.end);
    let amount = match dice.between(0, 2) {
        0 => BudgetAmount::Cost(NanoUsd::new(amount)),
        _ => BudgetAmount::Tokens(amount),
    };
    let window = match dice.between(0, 3) {
        0 => BudgetWindow::Day,
        1 => BudgetWindow::Week,
        _ => BudgetWindow::Month,
    };
    let limit = BudgetLimit { amount, window };
    budget_rule(when, limit, mode(dice), WhenCutOff::Open)
}

fn mode(dice: &mut Dice) -> LimitMode {
    if dice.between(0, 2) == 0 {
        LimitMode::Audit
    } else {
        LimitMode::Enforce
    }
}

/// A rule of so many requests.
pub(in crate::faults) fn limit_rule(
    when: When,
    window: LimitWindow,
    limit: u64,
    mode: LimitMode,
) -> RateLimitRule {
    RateLimitRule {
        when,
        applies_per: [].into(),
        limits: [RateLimit {
            unit: LimitUnit::Requests,
            window,
            limit,
        }]
        .into(),
        overrides: [].into(),
        mode,
        when_cut_off: LimitWhenCutOff::USUAL,
    }
}

/// A rule of a budget.
pub(in crate::faults) fn budget_rule(
    when: When,
    limit: BudgetLimit,
    mode: LimitMode,
    when_cut_off: WhenCutOff,
) -> BudgetRule {
    BudgetRule {
        when,
        applies_per: [].into(),
        limits: [limit].into(),
        overrides: [].into(),
        mode,
        when_cut_off,
        alerts: [50, 100].into(),
    }
}

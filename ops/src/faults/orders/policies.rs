//! Rate-limit policies and budget policies: made, changed, moved, disabled and deleted. They are too large to refuse
//! anything; the ones that do are the round's own (`tight`).

use std::str::FromStr;

use events_schema::api::commands::NewCommand;
use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, Choice, LimitMode, LimitUnit,
    LimitWhenCutOff, LimitWindow, LimitedSubject, RateLimit, RateLimitRule, When, WhenCutOff,
};
use events_schema::id::{BudgetPolicyId, RateLimitPolicyId};
use events_schema::money::NanoUsd;
use serde::Serialize;
use serde_json::Value;

use super::{ACCOUNTS, BUDGETS, Effect, LIMITS, Order, Plot, TEAMS, USERS, fields, told};
use crate::dice::Dice;
use crate::faults::facts::Facts;

/// More than a run can use, in requests, tokens, or nano-dollars.
const PLENTY: std::ops::Range<u64> = 1_000_000_000..2_000_000_000;

/// Where drawn policies stand: behind those of the round.
const ORDERS: std::ops::Range<u64> = 100..1_000;

/// A kind of policies: its rules, and its commands.
struct Kind<Id, Rule> {
    list: &'static str,
    rule: fn(When, &mut Dice) -> Rule,
    create: fn(String, u32, Box<Rule>) -> NewCommand,
    delete: fn(Id) -> NewCommand,
    enable: fn(Id) -> NewCommand,
    disable: fn(Id) -> NewCommand,
    rename: fn(Id, String) -> NewCommand,
    shift: fn(Id, u32) -> NewCommand,
    change: fn(Id, Box<Rule>) -> NewCommand,
}

const OF_LIMITS: Kind<RateLimitPolicyId, RateLimitRule> = Kind {
    list: LIMITS,
    rule: requests,
    create: |name, order, rule| NewCommand::CreateRateLimitPolicy { name, order, rule },
    delete: |policy| NewCommand::DeleteRateLimitPolicy { policy },
    enable: |policy| NewCommand::EnableRateLimitPolicy { policy },
    disable: |policy| NewCommand::DisableRateLimitPolicy { policy },
    rename: |policy, name| NewCommand::RenameRateLimitPolicy { policy, name },
    shift: |policy, order| NewCommand::MoveRateLimitPolicy { policy, order },
    change: |policy, rule| NewCommand::ChangeRateLimitRule { policy, rule },
};

const OF_BUDGETS: Kind<BudgetPolicyId, BudgetRule> = Kind {
    list: BUDGETS,
    rule: money,
    create: |name, order, rule| NewCommand::CreateBudgetPolicy { name, order, rule },
    delete: |policy| NewCommand::DeleteBudgetPolicy { policy },
    enable: |policy| NewCommand::EnableBudgetPolicy { policy },
    disable: |policy| NewCommand::DisableBudgetPolicy { policy },
    rename: |policy, name| NewCommand::RenameBudgetPolicy { policy, name },
    shift: |policy, order| NewCommand::MoveBudgetPolicy { policy, order },
    change: |policy, rule| NewCommand::ChangeBudgetRule { policy, rule },
};

pub(super) fn draw(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    if dice.between(0, 2) == 0 {
        OF_LIMITS.draw(plot, facts, dice)
    } else {
        OF_BUDGETS.draw(plot, facts, dice)
    }
}

impl<Id: FromStr, Rule: Serialize> Kind<Id, Rule> {
    fn draw(&self, plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
        let (name, order) = (plot.name(dice), order(dice));
        let rule = (self.rule)(when(plot, facts, dice)?, dice);
        let draw = dice.between(0, 8);
        if draw < 3 && plot.has_room(facts, self.list) {
            let made = fields([
                ("name", name.clone().into()),
                ("order", order.into()),
                ("rule", told(&rule)),
                ("disabled", Value::Bool(false)),
            ]);
            let create = (self.create)(name, order, Box::new(rule));
            return Some(Order::new(create, Effect::Made(self.list, made)));
        }
        let (id, thing) = plot.one(facts, self.list, dice)?;
        let policy = id.parse().ok()?;
        let set = |name, value| Effect::Set(id.to_owned(), fields([(name, value)]));
        let (command, effect) = match draw {
            0..4 => ((self.delete)(policy), Effect::Gone(id.to_owned())),
            4 if thing.is_disabled() => ((self.enable)(policy), Effect::disabled(id, false)),
            4 => ((self.disable)(policy), Effect::disabled(id, true)),
            5 => {
                let effect = Effect::named(id, &name);
                ((self.rename)(policy, name), effect)
            }
            6 => ((self.shift)(policy, order), set("order", order.into())),
            _ => {
                let effect = set("rule", told(&rule));
                ((self.change)(policy, Box::new(rule)), effect)
            }
        };
        Some(Order::new(command, effect))
    }
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

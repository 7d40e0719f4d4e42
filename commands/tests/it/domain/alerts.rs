//! Alerts of budgets: which thresholds are told of, and when not.

use std::collections::BTreeSet;

use commands::domain::{BudgetAlertCommand, BudgetPolicyCommand as B, BudgetUse, Command, decide};
use events_schema::{
    envelope::DecodedEnvelope,
    events::{BudgetAlertEvent, BudgetAmount, BudgetOverride, BudgetRule, Event, SegmentValue},
    money::NanoUsd,
    state::{MOST_BUDGET_ALERTS, Organisation},
};
use uuid::Uuid;

use super::{and, check};
use crate::support::{
    journal::{Journal, NOW},
    world::*,
};

/// Everybody's 60 dollars a month, with alerts at 75 and 100 %; and a budget of one user's.
fn world() -> Vec<Command> {
    vec![
        add_user(1),
        create_budget(1, "all", dollars_per_month(60)),
        create_budget(
            2,
            "audited",
            BudgetRule {
                mode: events_schema::events::LimitMode::Audit,
                alerts: BTreeSet::from([50]),
                ..dollars_per_month(60)
            },
        ),
    ]
}

/// So many cents are used of 60 dollars.
fn cents(cents: u64) -> BudgetUse {
    BudgetUse {
        used: cents * 10_000_000,
        ..of_this_month()
    }
}

fn raise(policy: u8, reached: BudgetUse) -> Command {
    Command::BudgetAlert(id(policy), BudgetAlertCommand::Raise(reached))
}

#[test]
fn each_threshold_that_is_reached_is_told_of_once_in_a_window() {
    const RAISED: &str = "budget_alert_raised";
    check(&world(), raise(1, cents(4_499)), "nothing");
    check(&world(), raise(1, cents(4_500)), RAISED);
    check(&world(), raise(1, cents(5_999)), RAISED);
    check(
        &world(),
        raise(1, cents(6_000)),
        "budget_alert_raised, budget_alert_raised",
    );
    let warned = and(world(), [raise(1, cents(4_500))]);
    check(&warned, raise(1, cents(4_500)), "nothing");
    check(&warned, raise(1, cents(5_999)), "nothing");
    check(&warned, raise(1, cents(9_000)), RAISED);
    let told = and(warned, [raise(1, cents(9_000))]);
    // Less is used again, where the ledger lost something, and then more.
    check(&told, raise(1, cents(100)), "nothing");
    check(&told, raise(1, cents(9_000)), "nothing");
    // Each counter, each window and each policy has alerts of its own; what only counts has them, too.
    let other = BudgetUse {
        segment: Uuid::from_u128(7),
        ..cents(4_500)
    };
    check(&told, raise(1, other), RAISED);
    let next = BudgetUse {
        began_at: of_this_month().ends_at,
        ends_at: "2027-01-01T00:00:00Z".parse().expect("a time"),
        ..cents(4_500)
    };
    check(&told, raise(1, next), RAISED);
    check(&told, raise(2, cents(3_000)), RAISED);
}

#[test]
fn what_is_raised_says_of_which_limit_and_how_much_is_used() {
    let mut journal = Journal::of(&world());
    let events = journal.submit(&raise(1, cents(4_600))).expect("it is due");
    let reached = cents(4_600);
    let expected = BudgetAlertEvent::BudgetAlertRaised {
        segment: Uuid::nil(),
        limit: monthly(60),
        began_at: reached.began_at,
        ends_at: reached.ends_at,
        threshold: 75,
        used: BudgetAmount::Cost(NanoUsd::new(46_000_000_000)),
    };
    assert_eq!(events, [Event::BudgetAlert(id(1), expected)]);
}

#[test]
fn a_limit_that_the_policy_does_not_have_any_more_is_not_told_of() {
    let rule = dollars_per_month(600);
    let raised = and(world(), [budget(1, B::ChangeRule { rule: rule.clone() })]);
    // A gateway has not heard of it yet.
    check(&raised, raise(1, cents(6_000)), "nothing");
    let of_new = BudgetUse {
        limit: monthly(600),
        ..cents(45_000)
    };
    check(&raised, raise(1, of_new), "budget_alert_raised");
    // Whoever was told of the former limit wants to know of the new one. Under the former again, nothing is new.
    let told = and(
        world(),
        [raise(1, cents(4_500)), budget(1, B::ChangeRule { rule })],
    );
    check(&told, raise(1, of_new), "budget_alert_raised");
    let back = B::ChangeRule {
        rule: dollars_per_month(60),
    };
    let back = and(told, [raise(1, of_new), budget(1, back)]);
    check(&back, raise(1, cents(4_500)), "nothing");
    let for_one = BudgetRule {
        applies_per: BTreeSet::from([events_schema::events::LimitSegment::User]),
        overrides: BTreeSet::from([BudgetOverride {
            of: BTreeSet::from([SegmentValue::User(id(1))]),
            limits: BTreeSet::from([monthly(600)]),
        }]),
        ..dollars_per_month(60)
    };
    let per_user = and(world(), [budget(1, B::ChangeRule { rule: for_one })]);
    let of_one = BudgetUse {
        segment: id::<()>(1).uuid(),
        ..of_new
    };
    check(&per_user, raise(1, of_one), "budget_alert_raised");
}

#[test]
fn nothing_is_told_of_a_budget_that_is_gone_or_switched_off_or_has_no_thresholds() {
    check(&[], raise(1, cents(6_000)), "nothing");
    let gone = and(world(), [budget(1, B::Delete)]);
    check(&gone, raise(1, cents(6_000)), "nothing");
    let off = and(world(), [budget(1, B::Disable)]);
    check(&off, raise(1, cents(6_000)), "nothing");
    let silent = BudgetRule {
        alerts: BTreeSet::new(),
        ..dollars_per_month(60)
    };
    let silent = and(world(), [budget(1, B::ChangeRule { rule: silent })]);
    check(&silent, raise(1, cents(6_000)), "nothing");
    // Another is asked for: it is told of, and the others not again.
    let more = BudgetRule {
        alerts: BTreeSet::from([75, 80, 100]),
        ..dollars_per_month(60)
    };
    let more = and(
        world(),
        [
            raise(1, cents(6_000)),
            budget(1, B::ChangeRule { rule: more }),
        ],
    );
    check(&more, raise(1, cents(6_000)), "budget_alert_raised");
}

#[test]
fn of_more_counters_than_are_remembered_no_others_are_told_of_until_windows_are_over() {
    let mut state = Journal::of(&world()).state;
    let of = |number: usize| BudgetUse {
        segment: Uuid::from_u128(number as u128),
        ..cents(4_500)
    };
    let decided = |state: &Organisation, reached| {
        decide(state, &raise(1, reached)).expect("it is never refused")
    };
    let BudgetUse {
        limit,
        began_at,
        ends_at,
        ..
    } = of(1);
    for number in 1..=MOST_BUDGET_ALERTS {
        let raised = BudgetAlertEvent::BudgetAlertRaised {
            segment: of(number).segment,
            limit,
            began_at,
            ends_at,
            threshold: 75,
            used: limit.amount,
        };
        let event = Event::BudgetAlert(id(1), raised);
        state.evolve(&DecodedEnvelope {
            position: state.position() + 1,
            recorded_at: NOW,
            stream_version: number as u64,
            event: &event,
        });
    }
    assert_eq!(decided(&state, of(MOST_BUDGET_ALERTS + 1)), []);
    let more = BudgetUse {
        used: 60_000_000_000,
        ..of(7)
    };
    assert_eq!(decided(&state, more).len(), 1, "100 % of one that is known");
    let later = BudgetUse {
        began_at: ends_at,
        ends_at: "2027-01-01T00:00:00Z".parse().expect("a time"),
        at: ends_at.plus_micros(3_600_000_000),
        ..of(MOST_BUDGET_ALERTS + 1)
    };
    assert_eq!(decided(&state, later).len(), 1, "the others are over");
}

#[test]
fn a_window_that_the_log_has_forgotten_is_not_told_of_again() {
    let october = BudgetUse {
        began_at: "2026-10-01T00:00:00Z".parse().expect("a time"),
        ends_at: of_this_month().began_at,
        ..cents(4_500)
    };
    // As long as nothing was written since, it may be late news.
    check(&world(), raise(1, october), "budget_alert_raised");
    let later = and(world(), [raise(2, cents(3_000))]);
    check(&later, raise(1, october), "nothing");
    let told = and(world(), [raise(1, october)]);
    check(&told, raise(1, october), "nothing");
}

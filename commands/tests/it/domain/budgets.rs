//! Budget policies: what may be stored, and what it keeps from being deleted.

use std::collections::BTreeSet;

use commands::domain::{
    BudgetPolicyCommand as B, Command, ModelCommand as M, TeamCommand as T, UserCommand as U,
};
use events_schema::{
    events::{
        BudgetAmount, BudgetLimit, BudgetOverride, BudgetRule, BudgetWindow, Choice, LimitMode,
        LimitOverride, LimitSegment, LimitedSubject, ModelRef, ModelType::Chat, RateLimitRule,
        SegmentValue, When, WhenCutOff,
    },
    money::NanoUsd,
};

use super::{and, check};
use crate::support::world::*;

fn world() -> Vec<Command> {
    vec![
        register_account(1, "openai"),
        add_model(1, 1, "gpt", &[Chat]),
        add_user(1),
        create_team(1, "backend"),
        create_budget(1, "all", dollars_per_month(60)),
    ]
}

#[test]
fn a_budget_has_a_name_a_place_and_a_rule() {
    let change = |rule| budget(1, B::ChangeRule { rule });
    check(&world(), change(dollars_per_month(60)), "nothing");
    for rule in [
        dollars_per_month(61),
        BudgetRule {
            when_cut_off: WhenCutOff::Closed,
            ..dollars_per_month(60)
        },
        BudgetRule {
            alerts: BTreeSet::new(),
            ..dollars_per_month(60)
        },
        BudgetRule {
            mode: LimitMode::Audit,
            ..dollars_per_month(60)
        },
    ] {
        check(&world(), change(rule), "budget_rule_changed");
    }
    check(&world(), budget(1, B::Move { order: 10 }), "nothing");
    check(
        &world(),
        budget(1, B::Move { order: 5 }),
        "budget_policy_moved",
    );
    let rename = |to| budget(1, B::Rename { name: name(to) });
    check(&world(), rename("all"), "nothing");
    check(&world(), rename("everyone"), "budget_policy_renamed");
    check(
        &world(),
        create_budget(2, "all", dollars_per_month(1)),
        "409 name_taken at name: There is already a budget policy named 'all'.",
    );
    // A rate-limit policy may be called the same.
    check(
        &world(),
        create_policy(1, "all", requests_per_minute(1)),
        "rate_limit_policy_created",
    );
    check(&world(), budget(1, B::Enable), "nothing");
    check(&world(), budget(1, B::Disable), "budget_policy_disabled");
    check(&world(), budget(1, B::Delete), "budget_policy_deleted");
    check(
        &[],
        budget(1, B::Delete),
        "404 not_found: There is no budget policy with this id.",
    );
}

#[test]
fn a_budget_that_cannot_be_followed_is_refused_with_its_field() {
    let with = |change: &dyn Fn(&mut BudgetRule), expected: &str| {
        let mut rule = dollars_per_month(60);
        change(&mut rule);
        check(&world(), create_budget(2, "new", rule.clone()), expected);
        check(&world(), budget(1, B::ChangeRule { rule }), expected);
    };
    let limit = |amount, window| BudgetLimit { amount, window };
    for nothing in [BudgetAmount::Cost(NanoUsd::ZERO), BudgetAmount::Tokens(0)] {
        with(
            &|rule| rule.limits = BTreeSet::from([limit(nothing, BudgetWindow::Day)]),
            "422 bad_policy at rule.limits: A limit is at least 1.",
        );
    }
    with(
        &|rule| rule.limits.clear(),
        "422 bad_policy at rule.limits: There are 1 to 8 limits, and here are 0.",
    );
    // The two stand apart in the order of amounts.
    with(
        &|rule| {
            assert!(rule.limits.insert(monthly(62)));
            let between = BudgetAmount::Cost(NanoUsd::new(61_000_000_000));
            assert!(rule.limits.insert(limit(between, BudgetWindow::Quarter)));
        },
        "422 bad_policy at rule.limits: There is one limit of each unit and window, and here are two of cost a month.",
    );
    with(
        &|rule| rule.alerts = BTreeSet::from([0, 50]),
        "422 bad_policy at rule.alerts: A threshold is 1 to 100 percent, and this one is 0.",
    );
    with(
        &|rule| rule.alerts = BTreeSet::from([50, 101]),
        "422 bad_policy at rule.alerts: A threshold is 1 to 100 percent, and this one is 101.",
    );
    with(
        &|rule| rule.alerts = (1..=9).collect(),
        "422 bad_policy at rule.alerts: A budget has at most 8 thresholds, and this one has 9.",
    );
    with(
        &|rule| rule.when.subjects = Choice::only([LimitedSubject::Team(id(7))]),
        "422 missing_reference at rule.when.subjects: There is no team with the id 07070707070707070707070707070707.",
    );
    with(
        &|rule| rule.applies_per = (1..=3).map(|key| metadata(&format!("key-{key}"))).collect(),
        "422 bad_policy at rule.applies_per: A policy applies per two things at most, and this one per 3.",
    );
}

fn metadata(key: &str) -> LimitSegment {
    LimitSegment::Metadata(name(key))
}

#[test]
fn a_budget_of_each_kind_and_window_may_stand_beside_the_others() {
    let windows = [
        BudgetWindow::Day,
        BudgetWindow::Week,
        BudgetWindow::Month,
        BudgetWindow::Quarter,
    ];
    let limits = windows.into_iter().flat_map(|window| {
        let amounts = [BudgetAmount::Cost(NanoUsd::new(7)), BudgetAmount::Tokens(7)];
        amounts.map(|amount| BudgetLimit { amount, window })
    });
    let rule = BudgetRule {
        limits: limits.collect(),
        ..dollars_per_month(1)
    };
    check(
        &world(),
        create_budget(2, "all-of-them", rule),
        "budget_policy_created",
    );
}

#[test]
fn another_budget_is_for_a_team_that_the_rule_applies_per() {
    let with = |of: SegmentValue, expected: &str| {
        let rule = BudgetRule {
            applies_per: BTreeSet::from([LimitSegment::Team]),
            overrides: BTreeSet::from([BudgetOverride {
                of: BTreeSet::from([of]),
                limits: BTreeSet::from([monthly(5)]),
            }]),
            ..dollars_per_month(60)
        };
        check(&world(), create_budget(2, "new", rule), expected);
    };
    with(SegmentValue::Team(id(1)), "budget_policy_created");
    with(
        SegmentValue::Team(id(7)),
        "422 missing_reference at rule.overrides: There is no team with the id 07070707070707070707070707070707.",
    );
    with(
        SegmentValue::User(id(1)),
        "422 bad_policy at rule.overrides: Other limits are for one of each that the policy applies per: team.",
    );
}

#[test]
fn what_a_budget_names_is_not_deleted_under_it() {
    let narrow = BudgetRule {
        when: When {
            subjects: Choice::only([LimitedSubject::User(id(1))]),
            models: Choice::only([ModelRef::Model(id(1))]),
            ..When::default()
        },
        applies_per: BTreeSet::from([LimitSegment::Team]),
        overrides: BTreeSet::from([BudgetOverride {
            of: BTreeSet::from([SegmentValue::Team(id(1))]),
            limits: BTreeSet::from([monthly(6)]),
        }]),
        ..dollars_per_month(60)
    };
    let given = and(world(), [create_budget(2, "narrow", narrow.clone())]);
    for (command, thing) in [
        (user(1, U::Delete), "user "),
        (team(1, T::Delete), "team 'backend' "),
        (model(1, M::Delete), "model 'openai/gpt' "),
    ] {
        let expected = format!(
            "409 still_used: The {thing}cannot be deleted: 1 budget policy names it; change what they limit first."
        );
        check(&given, command, &expected);
    }
    // Nor is it under several policies of both sorts.
    let also = RateLimitRule {
        applies_per: BTreeSet::from([LimitSegment::Team]),
        overrides: BTreeSet::from([LimitOverride {
            of: BTreeSet::from([SegmentValue::Team(id(1))]),
            limits: BTreeSet::from([rate_limit(6)]),
        }]),
        ..requests_per_minute(60)
    };
    let given = and(
        given,
        [
            create_budget(3, "narrower", narrow),
            create_policy(1, "also", also),
        ],
    );
    check(
        &given,
        team(1, T::Delete),
        "409 still_used: The team 'backend' cannot be deleted: 1 rate-limit policy and 2 budget policies name it; change what they limit first.",
    );
    // What they name no more is free.
    let given = and(
        given,
        [
            budget(
                2,
                B::ChangeRule {
                    rule: dollars_per_month(1),
                },
            ),
            budget(3, B::Delete),
        ],
    );
    check(&given, user(1, U::Delete), "user_deleted");
}

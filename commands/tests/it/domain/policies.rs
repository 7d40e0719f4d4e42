//! Rate-limit policies: what may be stored, and what it keeps from being deleted.

use std::collections::{BTreeMap, BTreeSet};

use commands::domain::{
    Command, ModelCommand as M, RateLimitPolicyCommand as P, TeamCommand as T, UserCommand as U,
    VirtualAccountCommand as V,
};
use events_schema::events::{
    Choice, LimitOverride, LimitSegment, LimitUnit, LimitWindow, LimitedSubject, ModelRef,
    ModelType::Chat, RateLimit, RateLimitRule, SegmentValue, When,
};

use super::{and, check};
use crate::support::world::*;

fn world() -> Vec<Command> {
    vec![
        register_account(1, "openai"),
        add_model(1, 1, "gpt", &[Chat]),
        add_user(1),
        create_team(1, "backend"),
        create_virtual_account(1, "ci"),
        create_policy(1, "all", requests_per_minute(60)),
    ]
}

#[test]
fn a_policy_has_a_name_a_place_and_a_rule() {
    let change = |rule| policy(1, P::ChangeRule { rule });
    check(&world(), change(requests_per_minute(60)), "nothing");
    check(
        &world(),
        change(requests_per_minute(61)),
        "rate_limit_rule_changed",
    );
    check(&world(), policy(1, P::Move { order: 10 }), "nothing");
    check(
        &world(),
        policy(1, P::Move { order: 5 }),
        "rate_limit_policy_moved",
    );
    let rename = |to| policy(1, P::Rename { name: name(to) });
    check(&world(), rename("all"), "nothing");
    check(&world(), rename("everyone"), "rate_limit_policy_renamed");
    check(
        &world(),
        create_policy(2, "all", requests_per_minute(1)),
        "409 name_taken at name: There is already a rate-limit policy named 'all'.",
    );
    check(&world(), policy(1, P::Enable), "nothing");
    check(
        &world(),
        policy(1, P::Disable),
        "rate_limit_policy_disabled",
    );
    check(&world(), policy(1, P::Delete), "rate_limit_policy_deleted");
    check(
        &[],
        policy(1, P::Delete),
        "404 not_found: There is no rate-limit policy with this id.",
    );
}

#[test]
fn a_rule_that_cannot_be_followed_is_refused_with_its_field() {
    let with = |change: &dyn Fn(&mut RateLimitRule), expected: &str| {
        let mut rule = requests_per_minute(60);
        change(&mut rule);
        check(&world(), create_policy(2, "new", rule.clone()), expected);
        check(&world(), policy(1, P::ChangeRule { rule }), expected);
    };
    with(
        &|rule| rule.limits = BTreeSet::from([rate_limit(0)]),
        "422 bad_policy at rule.limits: A limit is at least 1.",
    );
    with(
        &|rule| rule.limits.clear(),
        "422 bad_policy at rule.limits: There are 1 to 8 limits, and here are 0.",
    );
    with(
        &|rule| assert!(rule.limits.insert(rate_limit(61))),
        "422 bad_policy at rule.limits: There is one limit of each unit and window, and here are two of requests a minute.",
    );
    let at_a_time = |unit| RateLimit {
        unit,
        window: LimitWindow::AtATime,
        limit: 5,
    };
    with(
        &|rule| assert!(rule.limits.insert(at_a_time(LimitUnit::Tokens))),
        "422 bad_policy at rule.limits: At a time only requests are limited: tokens need a minute, an hour or a day.",
    );
    let mut both = requests_per_minute(60);
    both.limits.insert(at_a_time(LimitUnit::Requests));
    check(
        &world(),
        create_policy(2, "new", both.clone()),
        "rate_limit_policy_created",
    );
    with(
        &|rule| {
            rule.limits.clone_from(&both.limits);
            let other = RateLimit {
                limit: 6,
                ..at_a_time(LimitUnit::Requests)
            };
            assert!(rule.limits.insert(other));
        },
        "422 bad_policy at rule.limits: There is one limit of each unit and window, and here are two of requests at a time.",
    );
    with(
        &|rule| {
            rule.applies_per = BTreeSet::from([
                LimitSegment::User,
                LimitSegment::Model,
                LimitSegment::Metadata(name("project")),
            ]);
        },
        "422 bad_policy at rule.applies_per: A policy applies per two things at most, and this one per 3.",
    );
    with(
        &|rule| {
            let many = (0..17).map(|number| (name(&format!("key-{number}")), Choice::all()));
            rule.when.metadata = many.collect();
        },
        "422 bad_policy at rule.when.metadata: A policy has at most 16 conditions on metadata, and this one has 17.",
    );
    with(
        &|rule| {
            let long = Choice::only(["x".repeat(129)]);
            rule.when.metadata = BTreeMap::from([(name("key"), long)]);
        },
        "422 bad_policy at rule.when.metadata: A value of metadata has at most 128 characters.",
    );
    with(
        &|rule| {
            let many = (0..1_001).map(|number| number.to_string());
            rule.when.metadata = BTreeMap::from([(name("key"), Choice::only(many))]);
        },
        "422 bad_policy at rule.when.metadata: A policy names at most 1,000 of them, and this one names 1001.",
    );
    with(
        &|rule| {
            rule.applies_per = BTreeSet::from([LimitSegment::Team]);
            let of = BTreeSet::from([SegmentValue::Team(id(7))]);
            let limits = BTreeSet::from([rate_limit(6)]);
            rule.overrides = BTreeSet::from([LimitOverride { of, limits }]);
        },
        "422 missing_reference at rule.overrides: There is no team with the id 07070707070707070707070707070707.",
    );
    with(
        &|rule| {
            rule.applies_per = BTreeSet::from([LimitSegment::Key]);
            let of = BTreeSet::from([SegmentValue::Team(id(7))]);
            let limits = BTreeSet::from([rate_limit(6)]);
            rule.overrides = BTreeSet::from([LimitOverride { of, limits }]);
        },
        "422 bad_policy at rule.overrides: Single keys have no other limits than those of all keys, and those that are their own.",
    );
    with(
        &|rule| rule.when.subjects = Choice::only([LimitedSubject::Team(id(7))]),
        "422 missing_reference at rule.when.subjects: There is no team with the id 07070707070707070707070707070707.",
    );
    with(
        &|rule| {
            rule.when.models = Choice {
                within: BTreeSet::new(),
                not_in: BTreeSet::from([ModelRef::VirtualModel(id(7))]),
            };
        },
        "422 missing_reference at rule.when.models: There is no virtual model with the id 07070707070707070707070707070707.",
    );
}

#[test]
fn other_limits_are_for_a_counter_that_the_rule_has() {
    let of = |values: &[SegmentValue], limit| LimitOverride {
        of: values.iter().cloned().collect(),
        limits: BTreeSet::from([rate_limit(limit)]),
    };
    let with = |overrides: &[LimitOverride], expected: &str| {
        let rule = RateLimitRule {
            applies_per: BTreeSet::from([LimitSegment::User, LimitSegment::Model]),
            overrides: overrides.iter().cloned().collect(),
            ..requests_per_minute(60)
        };
        check(&world(), create_policy(2, "new", rule), expected);
    };
    let (bob, gpt) = (
        SegmentValue::User(id(1)),
        SegmentValue::Model(ModelRef::Model(id(1))),
    );
    let both = [bob.clone(), gpt.clone()];
    with(&[of(&both, 6)], "rate_limit_policy_created");
    with(
        &[of(std::slice::from_ref(&bob), 6)],
        "422 bad_policy at rule.overrides: Other limits are for one of each that the policy applies per: user, model.",
    );
    with(
        &[of(&both, 6), of(&both, 7)],
        "422 bad_policy at rule.overrides: There are two other limits for one counter.",
    );
    with(
        &[of(&both, 0)],
        "422 bad_policy at rule.limits: A limit is at least 1.",
    );
    with(
        &[of(
            &[bob, SegmentValue::Model(ModelRef::ProviderAccount(id(1)))],
            6,
        )],
        "422 bad_policy at rule.overrides: A model that has a counter of its own is a model or a virtual model, not a provider account.",
    );
    with(
        &[of(&[SegmentValue::User(id(7)), gpt], 6)],
        "422 missing_reference at rule.overrides: There is no user with the id 07070707070707070707070707070707.",
    );
}

#[test]
fn what_a_policy_names_is_not_deleted_under_it() {
    let narrow = RateLimitRule {
        when: When {
            subjects: Choice {
                within: BTreeSet::from([LimitedSubject::Team(id(1))]),
                not_in: BTreeSet::from([LimitedSubject::User(id(1))]),
            },
            models: Choice::only([ModelRef::Model(id(1))]),
            metadata: BTreeMap::new(),
        },
        applies_per: BTreeSet::from([LimitSegment::VirtualAccount]),
        overrides: BTreeSet::from([LimitOverride {
            of: BTreeSet::from([SegmentValue::VirtualAccount(id(1))]),
            limits: BTreeSet::from([rate_limit(6)]),
        }]),
        ..requests_per_minute(60)
    };
    let given = and(world(), [create_policy(2, "narrow", narrow)]);
    for (command, thing) in [
        (user(1, U::Delete), "user "),
        (team(1, T::Delete), "team 'backend' "),
        (virtual_account(1, V::Delete), "virtual account 'ci' "),
        (model(1, M::Delete), "model 'openai/gpt' "),
    ] {
        let expected = format!(
            "409 still_used: The {thing}cannot be deleted: 1 rate-limit policy names it; change what they limit first."
        );
        check(&given, command, &expected);
    }
}

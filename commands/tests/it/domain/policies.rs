//! Rate-limit policies: what may be stored, and what it keeps from being deleted.

use std::collections::{BTreeMap, BTreeSet};

use commands::domain::{
    Command, ModelCommand as M, RateLimitPolicyCommand as P, TeamCommand as T, UserCommand as U,
    VirtualAccountCommand as V,
};
use events_schema::events::{
    LimitSegment, LimitedModels, LimitedSubject, LimitedSubjects, ModelRef, ModelType::Chat,
    RateLimitRule,
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
        &|rule| rule.limit = 0,
        "422 bad_policy at rule.limit: A limit is at least 1.",
    );
    with(
        &|rule| rule.subjects = LimitedSubjects::Listed(BTreeSet::new()),
        "422 bad_policy at rule.subjects: A policy lists 1 to 1,000 of them, or applies to all, and this one lists 0.",
    );
    with(
        &|rule| rule.models = LimitedModels::Listed(BTreeSet::new()),
        "422 bad_policy at rule.models: A policy lists 1 to 1,000 of them, or applies to all, and this one lists 0.",
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
            let many = (0..17).map(|number| (name(&format!("key-{number}")), "x".to_owned()));
            rule.metadata = many.collect();
        },
        "422 bad_policy at rule.metadata: A policy has at most 16 conditions on metadata, and this one has 17.",
    );
    with(
        &|rule| rule.metadata = BTreeMap::from([(name("key"), "x".repeat(129))]),
        "422 bad_policy at rule.metadata: A value of metadata has at most 128 characters.",
    );
    with(
        &|rule| {
            let subject = LimitedSubject::Team(id(7));
            rule.subjects = LimitedSubjects::Listed(BTreeSet::from([subject]));
        },
        "422 missing_reference at rule.subjects: There is no team with the id 07070707070707070707070707070707.",
    );
    with(
        &|rule| {
            let model = ModelRef::VirtualModel(id(7));
            rule.models = LimitedModels::Listed(BTreeSet::from([model]));
        },
        "422 missing_reference at rule.models: There is no virtual model with the id 07070707070707070707070707070707.",
    );
}

#[test]
fn what_a_policy_names_is_not_deleted_under_it() {
    let narrow = RateLimitRule {
        subjects: LimitedSubjects::Listed(BTreeSet::from([
            LimitedSubject::User(id(1)),
            LimitedSubject::Team(id(1)),
            LimitedSubject::VirtualAccount(id(1)),
        ])),
        models: LimitedModels::Listed(BTreeSet::from([ModelRef::Model(id(1))])),
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

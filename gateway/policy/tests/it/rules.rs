//! Which rate-limit rule applies to a request, and at which of its counters it counts.

use std::collections::BTreeMap;

use events_schema::snapshot::{
    entries::{Entry, MembershipsEntry, ModelRefEntry, OwnerEntry},
    limits::{
        LimitOverrideEntry, LimitUnitEntry, LimitWindowEntry, LimitedSubjectEntry as Subject,
        MetadataConditionEntry, RateLimitEntry, RateLimitPolicyEntry, SegmentEntry,
        SegmentValueEntry, WhenCutOffEntry,
    },
};
use gateway_policy::{
    Caller, Configuration as _, EntryId, Facts, Measure, Rule, RuleLimit,
    limits::{counter::WhenCutOff, period::Period},
    resolve,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    memory::{
        ACCOUNT, BIG, BOB, BOT, CHAT, KEY, Memory, OTHER_ACCOUNT, SMALL, id, key, organisation,
    },
    strangers::{self, EVERYBODYS, compiled},
};

pub(crate) const TEAM: EntryId = id(61);
pub(crate) const OTHER_TEAM: EntryId = id(62);

/// A policy for everything: of those made with a lower number, the older.
pub(crate) fn policy(number: u8) -> RateLimitPolicyEntry {
    RateLimitPolicyEntry {
        id: id(number),
        name: format!("policy-{number}"),
        order: 0,
        created_at_us: i64::from(number),
        subjects_in: Vec::new(),
        subjects_not_in: Vec::new(),
        models_in: Vec::new(),
        models_not_in: Vec::new(),
        metadata: Vec::new(),
        applies_per: Vec::new(),
        limits: vec![per_minute(600)],
        overrides: Vec::new(),
        audits: false,
        disabled: false,
        when_cut_off: WhenCutOffEntry::Alone,
    }
}

const fn per_minute(most: u64) -> RateLimitEntry {
    RateLimitEntry {
        unit: LimitUnitEntry::Requests,
        window: LimitWindowEntry::Minute,
        most,
    }
}

fn condition(key: &str, within: &[&str], not_in: &[&str]) -> MetadataConditionEntry {
    let owned = |values: &[&str]| values.iter().map(|it| (*it).to_owned()).collect();
    MetadataConditionEntry {
        key: key.to_owned(),
        within: owned(within),
        not_in: owned(not_in),
    }
}

/// Bob is in a team; the key is his, or the bot's.
pub(crate) fn organisation_with_key_of(owner: OwnerEntry) -> Memory {
    organisation_with_bob_in(owner, vec![TEAM])
}

/// The key is Bob's, or the bot's.
pub(crate) fn organisation_with_bob_in(owner: OwnerEntry, teams: Vec<EntryId>) -> Memory {
    let mut entries = organisation();
    entries.retain(|it| !matches!(it, Entry::Key(_)));
    entries.push(Entry::Key(key(owner)));
    entries.push(Entry::Memberships(MembershipsEntry { user: BOB, teams }));
    Memory::with(entries)
}

pub(crate) fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// What `look` sees of a request of this owner for this model.
fn with_facts<T>(
    owner: OwnerEntry,
    model: &str,
    metadata: &BTreeMap<String, String>,
    look: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let config = organisation_with_key_of(owner);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let resolved = resolve(&config, model).expect("it is there");
    look(&Facts::of(&config, caller, resolved, metadata))
}

/// The number of the policy that applies.
fn applies(
    policies: &[RateLimitPolicyEntry],
    owner: OwnerEntry,
    model: &str,
    pairs: &[(&str, &str)],
) -> Option<u8> {
    let rules = compiled(policies.iter().cloned());
    with_facts(owner, model, &metadata(pairs), |facts| {
        rules.first(facts).map(|rule| rule.id[0])
    })
}

pub(crate) const BOBS: OwnerEntry = OwnerEntry::User(BOB);
pub(crate) const BOTS: OwnerEntry = OwnerEntry::VirtualAccount(BOT);

#[test]
fn the_first_rule_that_matches_applies_and_of_two_with_one_number_the_older() {
    let mut late = policy(1);
    late.order = 5;
    assert_eq!(
        applies(&[late.clone(), policy(3), policy(2)], BOBS, "chat", &[]),
        Some(2)
    );
    late.order = 0;
    assert_eq!(
        applies(&[policy(3), policy(2), late], BOBS, "chat", &[]),
        Some(1)
    );
    assert_eq!(applies(&[], BOBS, "chat", &[]), None);
}

#[test]
fn what_a_policy_says_of_gateways_that_are_cut_off_is_compiled() {
    let check = |said, expected| {
        let mut of = policy(1);
        of.when_cut_off = said;
        with_facts(BOBS, "chat", &metadata(&[]), |facts| {
            let rules = compiled([of.clone()]);
            let then = rules.first(facts).map(|rule| rule.when_cut_off);
            assert_eq!(then, Some(expected));
        });
    };
    check(WhenCutOffEntry::Alone, WhenCutOff::Alone);
    check(WhenCutOffEntry::Open, WhenCutOff::Open);
    check(WhenCutOffEntry::Closed, WhenCutOff::Closed);
}

#[test]
fn the_rules_of_strangers_do_not_apply_however_many_they_are() {
    let rules = strangers::among(3_000);
    with_facts(BOBS, "chat", &metadata(&[("project", "mine")]), |facts| {
        assert_eq!(rules.first(facts).map(|rule| rule.id), Some(EVERYBODYS));
    });
    let theirs = metadata(&[("project", "project-2")]);
    with_facts(BOBS, "chat", &theirs, |facts| {
        let rule = rules.first(facts).expect("two match");
        assert_eq!(rule.name.as_ref(), "policy-2");
    });
}

#[test]
fn a_rule_that_is_disabled_matches_nothing() {
    let mut off = policy(1);
    off.disabled = true;
    assert_eq!(applies(&[off, policy(2)], BOBS, "chat", &[]), Some(2));
}

#[test]
fn subjects_are_users_their_teams_and_virtual_accounts() {
    let of = |subject| {
        let mut rule = policy(1);
        rule.subjects_in = vec![subject];
        [rule, policy(2)]
    };
    let bobs = |subject| applies(&of(subject), BOBS, "chat", &[]) == Some(1);
    let bots = |subject| applies(&of(subject), BOTS, "chat", &[]) == Some(1);
    assert!(bobs(Subject::User(BOB)) && !bots(Subject::User(BOB)));
    assert!(bobs(Subject::Team(TEAM)) && !bots(Subject::Team(TEAM)));
    assert!(!bobs(Subject::Team(OTHER_TEAM)));
    assert!(bots(Subject::VirtualAccount(BOT)) && !bobs(Subject::VirtualAccount(BOT)));
    assert!(
        !bobs(Subject::VirtualAccount(BOB)),
        "the same id of another kind"
    );
}

#[test]
fn whoever_is_left_out_is_not_matched_though_their_team_is() {
    let mut rule = policy(1);
    rule.subjects_in = vec![Subject::Team(TEAM)];
    rule.subjects_not_in = vec![Subject::User(BOB)];
    assert_eq!(applies(&[rule.clone()], BOBS, "chat", &[]), None);
    rule.subjects_not_in = vec![Subject::User(BOT)];
    assert_eq!(applies(&[rule.clone()], BOBS, "chat", &[]), Some(1));
    rule.subjects_in.clear();
    rule.subjects_not_in = vec![Subject::Team(TEAM)];
    assert_eq!(applies(&[rule.clone()], BOBS, "chat", &[]), None);
    assert_eq!(applies(&[rule], BOTS, "chat", &[]), Some(1));
}

#[test]
fn models_are_virtual_models_models_and_all_of_an_account() {
    let of = |model: ModelRefEntry, name: &str| {
        let mut rule = policy(1);
        rule.models_in = vec![model];
        applies(&[rule], BOBS, name, &[]).is_some()
    };
    assert!(of(ModelRefEntry::VirtualModel(CHAT), "chat"));
    assert!(!of(ModelRefEntry::VirtualModel(CHAT), "main/big"));
    assert!(of(ModelRefEntry::Model(BIG), "main/big"));
    assert!(of(ModelRefEntry::ProviderAccount(ACCOUNT), "main/big"));
    assert!(!of(
        ModelRefEntry::ProviderAccount(OTHER_ACCOUNT),
        "main/big"
    ));
    assert!(
        !of(ModelRefEntry::Model(BIG), "chat"),
        "a target's limits are for attempts at it"
    );
}

#[test]
fn an_attempt_has_the_limits_of_rules_that_name_its_target() {
    let mut named = policy(1);
    named.models_in = vec![ModelRefEntry::ProviderAccount(OTHER_ACCOUNT)];
    let rules = compiled([named, policy(2)]);
    let config = organisation_with_key_of(BOBS);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let (chat, none) = (
        resolve(&config, "chat").expect("it is there"),
        metadata(&[]),
    );
    let facts = Facts::of(&config, caller, chat, &none);
    let at = |account: &EntryId, model: &EntryId| {
        facts.at(gateway_policy::Target {
            account: config.account(account).expect("it is there"),
            model: config.model(model).expect("it is there"),
        })
    };
    let number = |rule: Option<&Rule>| rule.map(|rule| rule.id[0]);
    assert_eq!(number(rules.first(&facts)), Some(2));
    assert_eq!(
        number(rules.first_naming(&at(&OTHER_ACCOUNT, &SMALL))),
        Some(1)
    );
    assert_eq!(number(rules.first_naming(&at(&ACCOUNT, &BIG))), None);
}

#[test]
fn metadata_has_one_of_the_values_and_none_of_the_others() {
    let with = |conditions: Vec<MetadataConditionEntry>, pairs: &[(&str, &str)]| {
        let mut rule = policy(1);
        rule.metadata = conditions;
        applies(&[rule], BOBS, "chat", pairs).is_some()
    };
    let production = || vec![condition("environment", &["production"], &[])];
    assert!(with(
        production(),
        &[("environment", "production"), ("x", "y")]
    ));
    assert!(!with(production(), &[("environment", "staging")]));
    assert!(!with(production(), &[]));
    let not_staging = || vec![condition("environment", &[], &["staging"])];
    assert!(with(not_staging(), &[]));
    assert!(with(not_staging(), &[("environment", "production")]));
    assert!(!with(not_staging(), &[("environment", "staging")]));
}

/// The one counter that a request has of a rule.
fn one_of(rule: &Rule, facts: &Facts<'_>) -> EntryId {
    let segments = rule.segments(facts);
    assert_eq!((segments.len(), segments.are_cut), (1, false));
    segments[0]
}

/// The counters of two requests.
fn counters(per: &[SegmentEntry], one: &[(&str, &str)], other: &[(&str, &str)]) -> [EntryId; 2] {
    let mut rule = policy(1);
    rule.applies_per = per.to_vec();
    let rules = compiled([rule]);
    [one, other].map(|pairs| {
        with_facts(BOBS, "chat", &metadata(pairs), |facts| {
            one_of(rules.first(facts).expect("it matches all"), facts)
        })
    })
}

#[test]
fn what_a_rule_applies_per_has_a_counter_of_its_own() {
    let project = || SegmentEntry::Metadata("project".into());
    let (a, b) = ([("project", "a")], [("project", "b")]);
    let [one, other] = counters(&[], &a, &b);
    assert_eq!((one, other), ([0; 16], [0; 16]));
    let [one, other] = counters(&[SegmentEntry::User], &a, &b);
    assert_eq!((one, other), (BOB, BOB));
    let [one, other] = counters(&[SegmentEntry::Model], &a, &b);
    assert_eq!((one, other), (CHAT, CHAT));
    let [one, other] = counters(&[project()], &a, &b);
    assert_ne!(one, other);
    let [one, other] = counters(&[project()], &a, &[]);
    assert_ne!(one, other);
    let [one, other] = counters(&[SegmentEntry::User, project()], &a, &b);
    assert_ne!(one, other);
    let [one, other] = counters(&[SegmentEntry::User, project()], &a, &a);
    assert_eq!(one, other);
    let [one, other] = counters(&[SegmentEntry::Key], &a, &b);
    assert_eq!((one, other), (KEY, KEY), "whatever it asks for");
    let [one, other] = counters(&[SegmentEntry::Model, SegmentEntry::Key], &a, &b);
    assert_eq!(one, other);
    assert!(one != KEY && one != CHAT);
    // A virtual account's requests share one counter of a rule per user.
    let [one, other] = counters(&[SegmentEntry::VirtualAccount], &a, &b);
    assert_eq!(one, other);
    assert_ne!(one, [0; 16]);
}

#[test]
fn a_rule_per_team_has_a_counter_for_each_team_of_the_caller_that_it_names() {
    let teams: Vec<EntryId> = (70..80).map(id).collect();
    let counters = |named: &[EntryId], teams: &[EntryId]| {
        let mut rule = policy(1);
        rule.applies_per = vec![SegmentEntry::Team];
        rule.subjects_in = named.iter().map(|it| Subject::Team(*it)).collect();
        let rules = compiled([rule]);
        let config = organisation_with_bob_in(BOBS, teams.to_vec());
        let (caller, none) = (
            Caller {
                key: config.key(&KEY).expect("it is there"),
            },
            metadata(&[]),
        );
        let resolved = resolve(&config, "chat").expect("it is there");
        let facts = Facts::of(&config, caller, resolved, &none);
        let segments = rules.first(&facts).expect("it matches").segments(&facts);
        (segments.to_vec(), segments.are_cut)
    };
    assert_eq!(counters(&[], &teams[..3]), (teams[..3].to_vec(), false));
    assert_eq!(counters(&teams[1..2], &teams[..3]), (vec![teams[1]], false));
    assert_eq!(counters(&[], &teams), (teams[..8].to_vec(), true));
    // Whoever is in no team shares a counter with the others who are not.
    let (of_nobody, _) = counters(&[], &[]);
    assert_eq!(of_nobody.len(), 1);
    assert!(!teams.contains(&of_nobody[0]) && of_nobody[0] != [0; 16]);
}

#[test]
fn teams_and_models_together_have_a_counter_for_each_pair() {
    let mut rule = policy(1);
    rule.applies_per = vec![SegmentEntry::Team, SegmentEntry::Model];
    let rules = compiled([rule]);
    let config = organisation_with_bob_in(BOBS, vec![TEAM, OTHER_TEAM]);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let none = metadata(&[]);
    let of = |model| {
        let resolved = resolve(&config, model).expect("it is there");
        let facts = Facts::of(&config, caller, resolved, &none);
        rules
            .first(&facts)
            .expect("it matches")
            .segments(&facts)
            .to_vec()
    };
    let mut all = [of("chat"), of("main/big")].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[test]
fn values_do_not_meet_however_they_are_cut() {
    let two = [
        SegmentEntry::Metadata("a".into()),
        SegmentEntry::Metadata("b".into()),
    ];
    let [one, other] = counters(&two, &[("a", "xy"), ("b", "z")], &[("a", "x"), ("b", "yz")]);
    assert_ne!(one, other);
    let [one, other] = counters(&two, &[("a", ""), ("b", "z")], &[("b", "z")]);
    assert_ne!(one, other);
}

#[test]
fn some_have_other_limits() {
    let mut rule = policy(1);
    rule.applies_per = vec![SegmentEntry::User, SegmentEntry::Metadata("project".into())];
    rule.overrides = vec![LimitOverrideEntry {
        of: vec![
            SegmentValueEntry::Metadata("project".into(), "big".into()),
            SegmentValueEntry::User(BOB),
        ],
        limits: vec![RateLimitEntry {
            unit: LimitUnitEntry::Tokens,
            window: LimitWindowEntry::Day,
            most: 7,
        }],
    }];
    let rules = compiled([rule]);
    let limits = |owner, project| {
        with_facts(owner, "chat", &metadata(&[("project", project)]), |facts| {
            let rule = rules.first(facts).expect("it matches all");
            rule.limits(&one_of(rule, facts)).to_vec()
        })
    };
    let usual = [RuleLimit {
        measure: Measure::Requests,
        period: Period::SlidingMinute,
        most: 600,
    }];
    let other = [RuleLimit {
        measure: Measure::Tokens,
        period: Period::Day,
        most: 7,
    }];
    assert_eq!(limits(BOBS, "big"), other);
    assert_eq!(limits(BOBS, "small"), usual);
    assert_eq!(limits(BOTS, "big"), usual);
}

#[test]
fn a_rule_behind_one_that_takes_all_of_its_requests_is_told() {
    let mut team = policy(2);
    team.subjects_in = vec![Subject::Team(TEAM)];
    let mut production = team.clone();
    production.id = id(3);
    production.created_at_us = 3;
    production.metadata = vec![condition("environment", &["production"], &[])];
    let unreached = |policies: &[&RateLimitPolicyEntry]| {
        let rules = compiled(policies.iter().map(|it| (*it).clone()));
        let told = rules.unreachable();
        told.map(|(rule, before)| (rule.id[0], before.id[0]))
            .collect::<Vec<_>>()
    };
    assert_eq!(unreached(&[&team, &production]), [(3, 2)]);
    assert_eq!(unreached(&[&policy(1), &team]), [(2, 1)]);
    team.order = 9;
    assert_eq!(unreached(&[&team, &production]), []);
    let mut some = policy(4);
    some.subjects_not_in = vec![Subject::User(BOT)];
    let last = policy(5);
    assert_eq!(unreached(&[&some, &last]), []);
}

#[test]
fn a_rule_that_names_a_model_is_reached_by_attempts_behind_one_that_names_none() {
    let naming = |number: u8, models: &[ModelRefEntry]| {
        let mut rule = policy(number);
        rule.models_in = models.to_vec();
        rule
    };
    let unreached = |policies: &[RateLimitPolicyEntry]| {
        let rules = compiled(policies.iter().cloned());
        let told = rules.unreachable();
        told.map(|(rule, before)| (rule.id[0], before.id[0]))
            .collect::<Vec<_>>()
    };
    let (big, chat) = (ModelRefEntry::Model(BIG), ModelRefEntry::VirtualModel(CHAT));
    let account = ModelRefEntry::ProviderAccount(ACCOUNT);
    // The first applies to each request; but a request for a virtual model may be led on to the model.
    assert_eq!(unreached(&[policy(1), naming(2, &[big])]), []);
    assert_eq!(unreached(&[policy(1), naming(2, &[account])]), []);
    assert_eq!(unreached(&[policy(1), naming(2, &[chat])]), [(2, 1)]);
    let both = naming(1, &[chat, big]);
    assert_eq!(unreached(&[both, naming(2, &[big])]), [(2, 1)]);
}

// === however many there are ===

pub(crate) fn any_policy() -> impl Strategy<Value = RateLimitPolicyEntry> {
    let subject = || {
        select(vec![
            Subject::User(BOB),
            Subject::Team(TEAM),
            Subject::Team(OTHER_TEAM),
            Subject::VirtualAccount(BOT),
            Subject::User(id(99)),
        ])
    };
    let model = || {
        select(vec![
            ModelRefEntry::VirtualModel(CHAT),
            ModelRefEntry::Model(BIG),
            ModelRefEntry::ProviderAccount(ACCOUNT),
            ModelRefEntry::Model(id(98)),
        ])
    };
    let value = || select(vec!["production".to_owned(), "staging".to_owned()]);
    let metadata = (vec(value(), 0..2), vec(value(), 0..2), any::<bool>());
    let choices = (
        vec(subject(), 0..3),
        vec(subject(), 0..2),
        vec(model(), 0..3),
        vec(model(), 0..2),
        metadata,
    );
    (choices, 0_u32..3).prop_map(|((within, not_in, models, not_models, metadata), order)| {
        let (values, no_values, wanted) = metadata;
        RateLimitPolicyEntry {
            order,
            subjects_in: within,
            subjects_not_in: not_in,
            models_in: models,
            models_not_in: not_models,
            metadata: wanted
                .then_some(MetadataConditionEntry {
                    key: "environment".to_owned(),
                    within: values,
                    not_in: no_values,
                })
                .into_iter()
                .collect(),
            ..policy(0)
        }
    })
}

proptest! {
    /// What is told to be unreachable applies to no request; and it is told of each rule that is, behind one of the others alone.
    #[test]
    fn a_rule_that_is_told_to_be_unreachable_never_applies(
        mut policies in vec(any_policy(), 0..12),
        of_bob: bool,
        model in select(vec!["chat", "main/big", "other/org/small"]),
        environment in select(vec![None, Some("production"), Some("staging")]),
    ) {
        for (number, policy) in (1_u8..).zip(&mut policies) {
            (policy.id, policy.created_at_us) = (id(number), i64::from(number));
        }
        let rules = compiled(policies.iter().cloned());
        let unreachable: Vec<_> = rules.unreachable().map(|(rule, _)| rule.id).collect();
        let owner = if of_bob { BOBS } else { BOTS };
        let pairs: Vec<(&str, &str)> =
            environment.iter().map(|value| ("environment", *value)).collect();
        let applying = with_facts(owner, model, &metadata(&pairs), |facts| {
            rules.first(facts).map(|rule| rule.id)
        });
        prop_assert!(applying.is_none_or(|id| !unreachable.contains(&id)));
        // The index finds what comparing each with each does.
        let alone = |one: &RateLimitPolicyEntry, other: &RateLimitPolicyEntry| {
            let rules = compiled([one.clone(), other.clone()]);
            rules.unreachable().next().is_some_and(|(rule, _)| rule.id == other.id)
        };
        policies.sort_by_key(|it| (it.order, it.created_at_us));
        let expected = policies.iter().enumerate().filter(|(at, rule)| {
            policies[..*at].iter().any(|before| alone(before, rule))
        });
        let expected: Vec<_> = expected.map(|(_, rule)| rule.id).collect();
        prop_assert_eq!(unreachable, expected);
    }

    /// One rule alone needs no index that could lead astray: the first of those that apply alone is the one that applies.
    #[test]
    fn the_rule_that_applies_is_the_first_of_those_that_would_alone(
        mut policies in vec(any_policy(), 0..12),
        of_bob: bool,
        virtually: bool,
        environment in select(vec![None, Some("production"), Some("staging")]),
    ) {
        for (number, policy) in (1_u8..).zip(&mut policies) {
            (policy.id, policy.created_at_us) = (id(number), i64::from(number));
        }
        let owner = if of_bob { BOBS } else { BOTS };
        let model = if virtually { "chat" } else { "main/big" };
        let pairs: Vec<(&str, &str)> =
            environment.iter().map(|value| ("environment", *value)).collect();
        let alone = policies.iter().filter(|policy| {
            applies(std::slice::from_ref(*policy), owner, model, &pairs).is_some()
        });
        let expected = alone.min_by_key(|it| (it.order, it.created_at_us)).map(|it| it.id[0]);
        prop_assert_eq!(applies(&policies, owner, model, &pairs), expected);
    }
}

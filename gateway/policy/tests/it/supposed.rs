//! What rules would make of a request that nobody has made: the same as of one that comes.

use std::collections::BTreeMap;

use events_schema::{
    events::{
        Choice, LimitMode, LimitSegment, LimitUnit, LimitWhenCutOff, LimitWindow, ModelRef,
        Override, Owner, RateLimit, RateLimitRule, SegmentValue, When,
    },
    id::{Id, ProviderAccountId, UserId, VirtualAccountId},
    snapshot::{
        entries::OwnerEntry,
        limits::{RateLimitPolicyEntry, SegmentEntry},
    },
};
use gateway_policy::{
    Caller, Configuration as _, EntryId, Facts, ModelIds, Wanted, resolve,
    rules::{
        Segment, Value,
        fault::{Fault, check_rate_limit},
    },
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    memory::{ACCOUNT, BIG, BOB, BOT, CHAT, KEY, id},
    rules::{
        BOBS, BOTS, OTHER_TEAM, TEAM, any_policy, metadata, organisation_with_bob_in,
        organisation_with_key_of, policy,
    },
    strangers::compiled,
};

const DIRECT: ModelIds = ModelIds {
    model: BIG,
    account: ACCOUNT,
};

const VIRTUAL: Wanted = Wanted::VirtualModel {
    id: CHAT,
    before: None,
};

fn bob() -> Owner {
    Owner::User(UserId::from_bytes(BOB))
}

proptest! {
    /// Whatever rules there are, those that match are the same ones, with the same counters, for a request that is only
    /// supposed.
    #[test]
    fn a_supposed_request_is_matched_as_one_that_came(
        mut policies in vec(any_policy(), 0..12),
        of_bob: bool,
        virtually: bool,
        environment in select(vec![None, Some("production"), Some("staging")]),
    ) {
        for (number, policy) in (1_u8..).zip(&mut policies) {
            (policy.id, policy.created_at_us) = (id(number), i64::from(number));
            policy.applies_per = vec![SegmentEntry::Team, SegmentEntry::Model];
        }
        let rules = compiled(policies);
        let pairs: Vec<(&str, &str)> =
            environment.iter().map(|value| ("environment", *value)).collect();
        let metadata = metadata(&pairs);
        let (owner, supposed) = if of_bob {
            (BOBS, bob())
        } else {
            (BOTS, Owner::VirtualAccount(VirtualAccountId::from_bytes(BOT)))
        };
        let config = organisation_with_key_of(owner);
        let caller = Caller { key: config.key(&KEY).expect("it is there") };
        let name = if virtually { "chat" } else { "main/big" };
        let resolved = resolve(&config, name).expect("it is there");
        let came = Facts::of(&config, caller, resolved, &metadata);
        let teams: &[EntryId] = if of_bob { &[TEAM] } else { &[] };
        let wanted = if virtually { VIRTUAL } else { Wanted::Model(DIRECT) };
        let supposed = Facts::supposed(supposed, teams, wanted, &metadata);
        let found = |facts: &Facts<'_>| -> Vec<(EntryId, Vec<EntryId>)> {
            let all = rules.all(facts);
            all.iter().map(|rule| (rule.id, rule.segments(facts).to_vec())).collect()
        };
        prop_assert_eq!(found(&came), found(&supposed));
        let naming = |facts: &Facts<'_>| rules.first_naming(facts).map(|it| it.id);
        let target = gateway_policy::Target {
            account: config.account(&ACCOUNT).expect("it is there"),
            model: config.model(&BIG).expect("it is there"),
        };
        prop_assert_eq!(naming(&came.at(target)), naming(&supposed.led_to(DIRECT)));
    }
}

/// The counters of a rule, in words.
fn told(applies_per: &[SegmentEntry], teams: &[EntryId], pairs: &[(&str, &str)]) -> Vec<String> {
    let mut of = policy(1);
    of.applies_per = applies_per.to_vec();
    let rules = compiled([of]);
    let metadata = metadata(pairs);
    let facts = Facts::supposed(bob(), teams, VIRTUAL, &metadata);
    let rule = rules.first(&facts).expect("it matches all");
    let counters = rule.counters(&facts);
    let segments: Vec<_> = counters.iter().map(|it| it.segment).collect();
    assert_eq!(segments, rule.segments(&facts).to_vec());
    let word = |(segment, value): &(&Segment, Value<'_>)| {
        let value = match value {
            Value::Absent => "none".to_owned(),
            Value::Id(id) => id[0].to_string(),
            Value::Text(text) => (*text).to_owned(),
        };
        match segment {
            Segment::User => format!("user {value}"),
            Segment::VirtualAccount => format!("account {value}"),
            Segment::Model => format!("model {value}"),
            Segment::Metadata(key) => format!("{key} {value}"),
            Segment::Team => format!("team {value}"),
            Segment::Key => format!("key {value}"),
        }
    };
    let words = counters.iter().map(|it| it.of.iter().map(word).collect());
    words.map(|it: Vec<_>| it.join(", ")).collect()
}

#[test]
fn a_counter_says_what_it_is_of() {
    let project = || SegmentEntry::Metadata("project".into());
    let (bob, chat) = (BOB[0], CHAT[0]);
    assert_eq!(told(&[], &[TEAM], &[]), [""]);
    assert_eq!(
        told(&[SegmentEntry::User, SegmentEntry::Model], &[], &[]),
        [format!("user {bob}, model {chat}")]
    );
    assert_eq!(told(&[project()], &[], &[("project", "x")]), ["project x"]);
    assert_eq!(told(&[project()], &[], &[]), ["project none"]);
    assert_eq!(
        told(&[SegmentEntry::VirtualAccount], &[TEAM], &[]),
        ["account none"]
    );
    assert_eq!(
        told(
            &[SegmentEntry::Team, project()],
            &[TEAM, OTHER_TEAM],
            &[("project", "x")]
        ),
        [
            format!("team {}, project x", TEAM[0]),
            format!("team {}, project x", OTHER_TEAM[0])
        ]
    );
    assert_eq!(told(&[SegmentEntry::Team], &[], &[]), ["team none"]);
    assert_eq!(told(&[SegmentEntry::Key], &[], &[]), ["key none"]);
}

#[test]
fn the_rules_of_the_gateway_s_own_entries_match_the_same() {
    // As in a view: the config's key and memberships, instead of plain ids.
    let config = organisation_with_bob_in(OwnerEntry::User(BOB), vec![TEAM, OTHER_TEAM]);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let resolved = resolve(&config, "chat").expect("it is there");
    let none = BTreeMap::new();
    let mut of: RateLimitPolicyEntry = policy(1);
    of.applies_per = vec![SegmentEntry::Team];
    let rules = compiled([of]);
    let came = Facts::of(&config, caller, resolved, &none);
    let rule = rules.first(&came).expect("it matches all");
    let supposed = Facts::supposed(bob(), &[TEAM, OTHER_TEAM], VIRTUAL, &none);
    assert_eq!(rule.counters(&came), rule.counters(&supposed));
    assert_eq!(rule.counters(&came).len(), 2);
}

fn rule() -> RateLimitRule {
    let limit = RateLimit {
        unit: LimitUnit::Requests,
        window: LimitWindow::Minute,
        limit: 5,
    };
    RateLimitRule {
        when: When::default(),
        applies_per: [LimitSegment::Model].into(),
        limits: [limit].into(),
        overrides: [].into(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    }
}

#[test]
fn what_is_wrong_with_a_rule_says_the_field() {
    assert_eq!(check_rate_limit(&rule()), Ok(()));
    let fault = |change: fn(&mut RateLimitRule)| {
        let mut rule = rule();
        change(&mut rule);
        let fault = check_rate_limit(&rule).expect_err("it has one");
        let field = fault.field();
        (fault, field)
    };
    assert_eq!(
        fault(|it| it.limits.clear()),
        (Fault::Limits(0), "rule.limits")
    );
    let account = |it: &mut RateLimitRule| {
        let account: ProviderAccountId = Id::from_bytes(ACCOUNT);
        let of = SegmentValue::Model(ModelRef::ProviderAccount(account));
        let limits = it.limits.clone();
        it.overrides.insert(Override {
            of: [of].into(),
            limits,
        });
    };
    assert_eq!(fault(account), (Fault::OverrideOfAccount, "rule.overrides"));
    let of_key = |it: &mut RateLimitRule| {
        let of = SegmentValue::User(UserId::from_bytes(BOB));
        let limits = it.limits.clone();
        it.applies_per = [LimitSegment::Key].into();
        it.overrides.insert(Override {
            of: [of].into(),
            limits,
        });
    };
    assert_eq!(fault(of_key), (Fault::OverrideOfKey, "rule.overrides"));
    let long = |it: &mut RateLimitRule| {
        let key = "project".parse().expect("a key");
        it.when
            .metadata
            .insert(key, Choice::only(["x".repeat(129)]));
    };
    assert_eq!(fault(long), (Fault::LongValue, "rule.when.metadata"));
}

#[test]
fn a_supposed_request_may_have_a_key_and_a_counter_is_found_by_it() {
    let mut of = policy(1);
    of.applies_per = vec![SegmentEntry::Model, SegmentEntry::Key];
    let rules = compiled([of]);
    let metadata = metadata(&[]);
    let supposed = Facts::supposed(bob(), &[], VIRTUAL, &metadata);
    let rule = rules.of(&id(1)).expect("it is there");
    let [one, other] = [1, 2].map(|key| supposed.with_key([key; 16]));
    let counter = rule.segments(&one)[0];
    assert_ne!(counter, rule.segments(&other)[0]);
    let found = rule.counter(&counter, &one).expect("it is its own");
    let of = [
        (&Segment::Model, Value::Id(CHAT)),
        (&Segment::Key, Value::Id([1; 16])),
    ];
    assert_eq!(found.of, of);
    assert_eq!(rule.counter(&counter, &other), None);
    assert_eq!(rules.of(&id(2)), None);
}

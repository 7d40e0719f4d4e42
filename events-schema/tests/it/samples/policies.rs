//! Histories of rate-limit policies and budget policies.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        BudgetAmount, BudgetLimit, BudgetOverride, BudgetPolicyEvent, BudgetRule, BudgetWindow,
        Choice, Event, LimitMode, LimitOverride, LimitSegment, LimitUnit, LimitWhenCutOff,
        LimitWindow, LimitedSubject, LogEvent, ModelRef, RateLimit, RateLimitPolicyEvent,
        RateLimitRule, SegmentValue, When, WhenCutOff,
    },
    id::{BudgetPolicyId, Id, RateLimitPolicyId},
    money::NanoUsd,
};

use super::{ACCOUNT, APP, MODEL, SPARE_TEAM, SPARE_USER, TEAM, USER, VIRTUAL_MODEL, name, of};
use crate::log::EPOCH;

const POLICY: RateLimitPolicyId = Id::from_bytes([0xc1; 16]);
const SPARE_POLICY: RateLimitPolicyId = Id::from_bytes([0xc2; 16]);
const BUDGET: BudgetPolicyId = Id::from_bytes([0xd1; 16]);
const SPARE_BUDGET: BudgetPolicyId = Id::from_bytes([0xd2; 16]);

/// A rate-limit policy as they were at first: lists of whom and of what, and one limit; and one that is gone.
pub(super) fn policies() -> Vec<Event> {
    use RateLimitPolicyEvent as E;
    let hourly = RateLimit {
        unit: LimitUnit::Tokens,
        window: LimitWindow::Hour,
        limit: 50_000,
    };
    let narrow = RateLimitRule {
        when: When {
            subjects: Choice::only([
                LimitedSubject::User(USER),
                LimitedSubject::Team(TEAM),
                LimitedSubject::VirtualAccount(APP),
            ]),
            models: Choice::only([ModelRef::Model(MODEL)]),
            metadata: BTreeMap::from([(
                name("environment"),
                Choice::only(["production ☕".to_owned()]),
            )]),
        },
        applies_per: BTreeSet::from([
            LimitSegment::Metadata(name("project_id")),
            LimitSegment::Model,
        ]),
        limits: BTreeSet::from([hourly]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let wide = RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::from([LimitSegment::User, LimitSegment::VirtualAccount]),
        limits: BTreeSet::from([RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
            limit: 1,
        }]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Audit,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let kept = [
        policy_created("hourly", 10, &narrow),
        E::RateLimitPolicyRenamed {
            name: name("per-project-hourly"),
        },
        E::RateLimitPolicyMoved { order: 20 },
        E::RateLimitRuleChanged {
            rule: RateLimitRule {
                limits: BTreeSet::from([RateLimit {
                    window: LimitWindow::Day,
                    ..hourly
                }]),
                ..narrow.clone()
            },
        },
        E::RateLimitPolicyDisabled {},
        E::RateLimitPolicyEnabled {},
    ];
    let gone = [
        policy_created("all", 0, &wide),
        E::RateLimitPolicyDeleted {},
    ];
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    let policies = of(Event::RateLimitPolicy, POLICY, kept, SPARE_POLICY, gone);
    begin.into_iter().chain(policies).collect()
}

fn policy_created(slug: &str, order: u32, rule: &RateLimitRule) -> RateLimitPolicyEvent {
    RateLimitPolicyEvent::RateLimitPolicyCreated {
        name: name(slug),
        order,
        rule: rule.clone(),
    }
}

/// A rate-limit policy with several limits, and with everything else that a rule may have.
pub(super) fn limits() -> Vec<Event> {
    use RateLimitPolicyEvent as E;
    let limit = |unit, window, limit| RateLimit {
        unit,
        window,
        limit,
    };
    let rule = RateLimitRule {
        when: When {
            subjects: Choice {
                within: BTreeSet::from([LimitedSubject::Team(TEAM)]),
                not_in: BTreeSet::from([LimitedSubject::User(USER)]),
            },
            models: Choice {
                within: BTreeSet::new(),
                not_in: BTreeSet::from([
                    ModelRef::VirtualModel(VIRTUAL_MODEL),
                    ModelRef::ProviderAccount(ACCOUNT),
                ]),
            },
            metadata: BTreeMap::from([(
                name("environment"),
                Choice {
                    within: BTreeSet::new(),
                    not_in: BTreeSet::from(["staging".to_owned()]),
                },
            )]),
        },
        applies_per: BTreeSet::from([
            LimitSegment::User,
            LimitSegment::Metadata(name("project_id")),
        ]),
        limits: BTreeSet::from([
            limit(LimitUnit::Requests, LimitWindow::Minute, 600),
            limit(LimitUnit::Tokens, LimitWindow::Minute, 100_000),
            limit(LimitUnit::Tokens, LimitWindow::Day, 10_000_000),
        ]),
        overrides: BTreeSet::from([LimitOverride {
            of: BTreeSet::from([
                SegmentValue::User(SPARE_USER),
                SegmentValue::Metadata {
                    key: name("project_id"),
                    value: "sluice ☕".to_owned(),
                },
            ]),
            limits: BTreeSet::from([limit(LimitUnit::Requests, LimitWindow::Hour, 6)]),
        }]),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let audited = RateLimitRule {
        mode: LimitMode::Audit,
        ..rule.clone()
    };
    let kept = [
        policy_created("several", 10, &rule),
        E::RateLimitRuleChanged { rule: audited },
    ];
    let gone = [
        policy_created("all", 0, &rule),
        E::RateLimitPolicyDeleted {},
    ];
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    let policies = of(Event::RateLimitPolicy, POLICY, kept, SPARE_POLICY, gone);
    begin.into_iter().chain(policies).collect()
}

/// A budget policy with everything that a rule may have, and one that is gone; and a rate-limit policy for each team.
pub(super) fn budgets() -> Vec<Event> {
    use BudgetPolicyEvent as E;
    let limit = |amount, window| BudgetLimit { amount, window };
    let dollars = |dollars: u64| BudgetAmount::Cost(NanoUsd::new(dollars * 1_000_000_000));
    let rule = BudgetRule {
        when: When {
            subjects: Choice {
                within: BTreeSet::from([LimitedSubject::Team(TEAM)]),
                not_in: BTreeSet::from([LimitedSubject::User(USER)]),
            },
            models: Choice::only([ModelRef::Model(MODEL)]),
            metadata: BTreeMap::from([(
                name("environment"),
                Choice {
                    within: BTreeSet::from(["production ☕".to_owned()]),
                    not_in: BTreeSet::from(["staging".to_owned()]),
                },
            )]),
        },
        applies_per: BTreeSet::from([
            LimitSegment::Team,
            LimitSegment::Metadata(name("project_id")),
        ]),
        limits: BTreeSet::from([
            limit(dollars(500), BudgetWindow::Day),
            limit(dollars(2_000), BudgetWindow::Week),
            limit(dollars(5_000), BudgetWindow::Month),
            limit(BudgetAmount::Tokens(u64::MAX), BudgetWindow::Quarter),
        ]),
        overrides: BTreeSet::from([BudgetOverride {
            of: BTreeSet::from([
                SegmentValue::Team(SPARE_TEAM),
                SegmentValue::Metadata {
                    key: name("project_id"),
                    value: "sluice ☕".to_owned(),
                },
            ]),
            limits: BTreeSet::from([limit(
                BudgetAmount::Cost(NanoUsd::new(1)),
                BudgetWindow::Month,
            )]),
        }]),
        mode: LimitMode::Enforce,
        when_cut_off: WhenCutOff::Closed,
        alerts: BTreeSet::from([75, 90, 95, 100]),
    };
    let wide = BudgetRule {
        when: When::default(),
        applies_per: BTreeSet::new(),
        overrides: BTreeSet::new(),
        mode: LimitMode::Audit,
        when_cut_off: WhenCutOff::Open,
        alerts: BTreeSet::new(),
        ..rule.clone()
    };
    let created = |slug: &str, order, rule: &BudgetRule| E::BudgetPolicyCreated {
        name: name(slug),
        order,
        rule: rule.clone(),
    };
    let kept = [
        created("monthly", 10, &wide),
        E::BudgetPolicyRenamed {
            name: name("per-team-monthly"),
        },
        E::BudgetPolicyMoved { order: 20 },
        E::BudgetRuleChanged { rule: rule.clone() },
        E::BudgetPolicyDisabled {},
        E::BudgetPolicyEnabled {},
    ];
    let gone = [created("all", 0, &rule), E::BudgetPolicyDeleted {}];
    let for_teams = RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::from([LimitSegment::User, LimitSegment::Team]),
        limits: BTreeSet::from([RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
            limit: 600,
        }]),
        overrides: BTreeSet::from([LimitOverride {
            of: BTreeSet::from([SegmentValue::User(USER), SegmentValue::Team(TEAM)]),
            limits: BTreeSet::from([RateLimit {
                unit: LimitUnit::Requests,
                window: LimitWindow::Minute,
                limit: 60,
            }]),
        }]),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    let budgets = of(Event::BudgetPolicy, BUDGET, kept, SPARE_BUDGET, gone);
    let rates = Event::RateLimitPolicy(POLICY, policy_created("for-teams", 10, &for_teams));
    begin.into_iter().chain(budgets).chain([rates]).collect()
}

/// A rate-limit policy on what is under way at a time with each key, and a budget policy for each key and model.
pub(super) fn per_key() -> Vec<Event> {
    let rule = RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::from([LimitSegment::Key]),
        limits: BTreeSet::from([RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::AtATime,
            limit: 5,
        }]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let budget = BudgetRule {
        when: When::default(),
        applies_per: BTreeSet::from([LimitSegment::Model, LimitSegment::Key]),
        limits: BTreeSet::from([BudgetLimit {
            amount: BudgetAmount::Tokens(1_000_000),
            window: BudgetWindow::Day,
        }]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Audit,
        when_cut_off: WhenCutOff::Open,
        alerts: BTreeSet::new(),
    };
    let budget = BudgetPolicyEvent::BudgetPolicyCreated {
        name: name("key-daily"),
        order: 10,
        rule: budget,
    };
    vec![
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::RateLimitPolicy(POLICY, policy_created("few-per-key", 10, &rule)),
        Event::BudgetPolicy(BUDGET, budget),
    ]
}

/// A rate-limit policy on what is under way at a time, beside a limit in a time, and with another limit for one.
pub(super) fn at_a_time() -> Vec<Event> {
    let at_a_time = |limit| RateLimit {
        unit: LimitUnit::Requests,
        window: LimitWindow::AtATime,
        limit,
    };
    let rule = RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::from([LimitSegment::User]),
        limits: BTreeSet::from([
            at_a_time(20),
            RateLimit {
                window: LimitWindow::Minute,
                ..at_a_time(600)
            },
        ]),
        overrides: BTreeSet::from([LimitOverride {
            of: BTreeSet::from([SegmentValue::User(USER)]),
            limits: BTreeSet::from([at_a_time(u64::MAX)]),
        }]),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let created = policy_created("at-a-time", 10, &rule);
    vec![
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::RateLimitPolicy(POLICY, created),
    ]
}

/// Rate-limit policies with each choice of what a gateway does that is cut off.
pub(super) fn cut_off() -> Vec<Event> {
    let rule = |when_cut_off| RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
            limit: 600,
        }]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off,
    };
    let kept = [
        policy_created("strict", 10, &rule(LimitWhenCutOff::Alone)),
        RateLimitPolicyEvent::RateLimitRuleChanged {
            rule: rule(LimitWhenCutOff::Closed),
        },
    ];
    let other = policy_created("lax", 20, &rule(LimitWhenCutOff::Open));
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    let kept = kept.map(|event| Event::RateLimitPolicy(POLICY, event));
    let other = [Event::RateLimitPolicy(SPARE_POLICY, other)];
    begin.into_iter().chain(kept).chain(other).collect()
}

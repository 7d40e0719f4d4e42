//! The real rules, asked of made-up callers.

use std::collections::BTreeSet;

use events_schema::api::resources::{LimitedSubjectItem, RateLimitPolicyItem};
use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, Choice, LimitMode, LimitSegment,
    LimitUnit, LimitWhenCutOff, LimitWindow, LimitedSubject, ModelRef, Override, RateLimit,
    RateLimitRule, SegmentValue, When, WhenCutOff,
};
use events_schema::id::{Id, TeamId, UserId};
use events_schema::money::NanoUsd;
use events_schema::state::{BudgetPolicy, Life, RateLimitPolicy};
use events_schema::time::Timestamp;
use gateway_policy::ModelIds;

use super::super::policies::{Edited, Policies};
use super::*;

const ANN: EntryId = [1; 16];
const RESEARCH: EntryId = [2; 16];
const CHAT: EntryId = [3; 16];
const FAST: ModelIds = ModelIds {
    model: [4; 16],
    account: [5; 16],
};

fn life(at: u8) -> Life {
    let at = Timestamp::MIN.plus_micros(i64::from(at));
    Life {
        version: 1,
        created_at: at,
        changed_at: at,
        position: 1,
    }
}

fn requests(limit: u64) -> RateLimit {
    RateLimit {
        unit: LimitUnit::Requests,
        window: LimitWindow::Minute,
        limit,
    }
}

fn rule(limit: u64) -> RateLimitRule {
    RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::new(),
        limits: [requests(limit)].into(),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    }
}

fn policy(number: u8, name: &str, rule: RateLimitRule) -> RateLimitPolicy {
    RateLimitPolicy {
        id: Id::from_bytes([number; 16]),
        life: life(number),
        name: name.parse().expect("a name"),
        order: u32::from(number),
        rule,
        disabled: false,
    }
}

fn ann() -> Caller {
    Caller {
        owner: Owner::User(UserId::from_bytes(ANN)),
        name: "Ann".to_owned(),
        teams: vec![(RESEARCH, "research".to_owned())],
        own: None,
    }
}

fn chat() -> Asked {
    Asked {
        wanted: Wanted::VirtualModel {
            id: CHAT,
            before: None,
        },
        name: "chat".to_owned(),
        targets: vec![(FAST, "mock/fast".to_owned())],
    }
}

fn asked(policies: &Policies, edited: Option<&Edited>, pairs: &[(&str, &str)]) -> Shown {
    let rules = policies.rules(edited);
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let question = Question {
        sort: match policies {
            Policies::RateLimits(_) => Sort::RateLimits,
            Policies::Budgets(_) => Sort::Budgets,
        },
        rules: &rules,
        edited: edited.map(Edited::id),
        caller: &ann(),
        asked: &chat(),
        metadata: &pairs.collect(),
    };
    question.shown()
}

/// `name part: of, limits`, one a row.
fn lines(rows: &[Row]) -> Vec<String> {
    let line = |row: &Row| {
        let part = match &row.part {
            Part::Applies => "applies".to_owned(),
            Part::Decides => "decides".to_owned(),
            Part::Counts => "counts".to_owned(),
            Part::Behind(before) => format!("behind {before}"),
        };
        let counters = row.counters.iter().map(|it| {
            let exception = if it.is_exception { "!" } else { "" };
            format!(
                " [{}] {}{exception}",
                it.of.join(", "),
                it.limits.join(", ")
            )
        });
        format!("{} {part}{}", row.name, counters.collect::<String>())
    };
    rows.iter().map(line).collect()
}

#[test]
fn the_first_rate_limit_that_matches_applies_and_the_others_are_not_reached() {
    let theirs = RateLimitRule {
        when: When {
            subjects: Choice::only([LimitedSubject::Team(TeamId::from_bytes(RESEARCH))]),
            ..When::default()
        },
        applies_per: [LimitSegment::User].into(),
        ..rule(10)
    };
    let strangers = RateLimitRule {
        when: When {
            subjects: Choice::only([LimitedSubject::Team(TeamId::from_bytes([9; 16]))]),
            ..When::default()
        },
        ..rule(1)
    };
    let policies = Policies::RateLimits(vec![
        policy(3, "all", rule(600)),
        policy(1, "strangers", strangers),
        policy(2, "research", theirs),
    ]);
    let shown = asked(&policies, None, &[]);
    assert_eq!(
        lines(&shown.request),
        [
            "research applies [Ann] 10 requests a minute",
            "all behind research"
        ]
    );
    assert_eq!((shown.edited_matches, shown.left_out), (None, None));
}

#[test]
fn the_policy_in_the_form_stands_where_it_would_once_it_is_saved() {
    let policies = Policies::RateLimits(vec![policy(1, "all", rule(600))]);
    let new = |order: &str| Edited::rate_limit(None, "of the form", order, rule(5));
    // A name that it may not have yet does not keep it from being tried, and a number that is none does.
    assert_eq!(new("first"), None);
    let before = new("0").expect("complete");
    let shown = asked(&policies, Some(&before), &[]);
    assert_eq!(
        lines(&shown.request),
        [
            "new-policy applies [] 5 requests a minute",
            "all behind new-policy"
        ]
    );
    assert_eq!(shown.edited_matches, Some(true));
    // Of two with one number the older comes first.
    let behind = new("1").expect("complete");
    let shown = asked(&policies, Some(&behind), &[]);
    assert_eq!(lines(&shown.request)[1], "new-policy behind all");
    let rules = policies.rules(Some(&behind));
    assert_eq!(
        never_first(Sort::RateLimits, &rules, behind.id()).as_deref(),
        Some("all")
    );

    // One that is there already stands in its own place, once.
    let item = RateLimitPolicyItem {
        id: Id::from_bytes([1; 16]),
        name: "all".to_owned(),
        order: 1,
        rule: rule(600),
        subjects: Vec::<LimitedSubjectItem>::new(),
        models: Vec::new(),
        disabled: true,
        unreachable_behind: None,
        life: life(1),
    };
    let edited = Edited::rate_limit(Some(&item), "", "", rule(7)).expect("complete");
    let shown = asked(&policies, Some(&edited), &[]);
    assert_eq!(
        lines(&shown.request),
        ["all applies [] 7 requests a minute"]
    );
    assert!(shown.request[0].is_edited);
}

#[test]
fn an_exception_is_told_where_it_is_for_the_caller() {
    let of_ann = Override {
        of: [SegmentValue::User(UserId::from_bytes(ANN))].into(),
        limits: [requests(60)].into(),
    };
    let exception = RateLimitRule {
        applies_per: [LimitSegment::User].into(),
        overrides: [of_ann].into(),
        ..rule(10)
    };
    let policies = Policies::RateLimits(vec![policy(1, "each", exception)]);
    let shown = asked(&policies, None, &[]);
    assert_eq!(
        lines(&shown.request),
        ["each applies [Ann] 60 requests a minute!"]
    );
}

#[test]
fn a_limit_of_a_target_stands_in_the_way_of_attempts_at_it() {
    let named = RateLimitRule {
        when: When {
            models: Choice::only([ModelRef::Model(Id::from_bytes(FAST.model))]),
            ..When::default()
        },
        applies_per: [LimitSegment::Model].into(),
        ..rule(3)
    };
    let policies = Policies::RateLimits(vec![policy(1, "fast", named)]);
    let shown = asked(&policies, None, &[]);
    assert_eq!(shown.request, []);
    let (target, rows) = &shown.targets[0];
    assert_eq!(target, "mock/fast");
    assert_eq!(
        lines(rows),
        ["fast applies [mock/fast] 3 requests a minute"]
    );
}

#[test]
fn of_budgets_the_first_decides_and_all_that_match_count() {
    let budget = |number: u8, name: &str, applies_per: BTreeSet<LimitSegment>, mode| {
        let when = When {
            metadata: [(
                "env".parse().expect("a key"),
                Choice::only(["prod".to_owned()]),
            )]
            .into(),
            ..When::default()
        };
        BudgetPolicy {
            id: Id::from_bytes([number; 16]),
            life: life(number),
            name: name.parse().expect("a name"),
            order: u32::from(number),
            rule: BudgetRule {
                when: if number == 3 { when } else { When::default() },
                applies_per,
                limits: [BudgetLimit {
                    amount: BudgetAmount::Cost(NanoUsd::new(5_000_000_000)),
                    window: BudgetWindow::Month,
                }]
                .into(),
                overrides: BTreeSet::new(),
                mode,
                when_cut_off: WhenCutOff::Open,
                alerts: BTreeSet::new(),
            },
            disabled: false,
        }
    };
    let project = LimitSegment::Metadata("project".parse().expect("a key"));
    let policies = Policies::Budgets(vec![
        budget(1, "teams", [LimitSegment::Team].into(), LimitMode::Audit),
        budget(2, "projects", [project].into(), LimitMode::Enforce),
        budget(3, "production", BTreeSet::new(), LimitMode::Enforce),
    ]);
    let shown = asked(&policies, None, &[("project", "x")]);
    assert_eq!(
        lines(&shown.request),
        [
            "teams decides [team research] $5.00 a month",
            "projects counts [project=x] $5.00 a month"
        ]
    );
    assert!(shown.request[0].audits && !shown.request[1].audits);
    let shown = asked(&policies, None, &[("env", "prod")]);
    assert_eq!(
        lines(&shown.request)[1..],
        [
            "projects counts [all without project] $5.00 a month",
            "production counts [] $5.00 a month"
        ]
    );
}

#[test]
fn a_request_is_told_in_a_sentence() {
    assert_eq!(
        told(&ann(), &chat()),
        "A request of the user Ann, in the team research, to the virtual model chat:"
    );
    let somebody = Caller {
        owner: Owner::User(UserId::from_bytes([0; 16])),
        name: "somebody in research".to_owned(),
        ..ann()
    };
    let direct = Asked {
        wanted: Wanted::Model(FAST),
        name: "mock/fast".to_owned(),
        targets: Vec::new(),
    };
    assert_eq!(
        told(&somebody, &direct),
        "A request of somebody in research, to the model mock/fast:"
    );
}

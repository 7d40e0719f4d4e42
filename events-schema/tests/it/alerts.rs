//! What the state remembers of alerts, and for how long.

use std::collections::BTreeSet;

use events_schema::{
    envelope::DecodedEnvelope,
    events::{
        BudgetAlertEvent, BudgetAmount, BudgetLimit, BudgetPolicyEvent, BudgetRule, BudgetWindow,
        Event, LimitMode, Stream, When, WhenCutOff,
    },
    id::{BudgetPolicyId, Id},
    state::{BudgetAlert, BudgetAlertKey, Organisation},
    time::Timestamp,
};
use uuid::Uuid;

const BUDGET: BudgetPolicyId = Id::from_bytes([1; 16]);
const LIMIT: BudgetLimit = BudgetLimit {
    amount: BudgetAmount::Tokens(100),
    window: BudgetWindow::Day,
};

fn at(time: &str) -> Timestamp {
    format!("2026-11-{time}Z").parse().expect("a time")
}

/// Folds in the event, as recorded at this time.
fn fold(state: &mut Organisation, time: &str, event: &Event) {
    state.evolve(&DecodedEnvelope {
        position: state.position() + 1,
        recorded_at: at(time),
        stream_version: state.stream_version(event.stream()) + 1,
        event,
    });
}

fn with_a_budget() -> Organisation {
    let mut state = Organisation::default();
    let rule = BudgetRule {
        when: When::default(),
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([LIMIT]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: WhenCutOff::Open,
        alerts: BTreeSet::from([75, 90]),
    };
    let created = BudgetPolicyEvent::BudgetPolicyCreated {
        name: "all".parse().expect("a name"),
        order: 1,
        rule,
    };
    fold(
        &mut state,
        "20T00:00:00",
        &Event::BudgetPolicy(BUDGET, created),
    );
    state
}

/// So much is used of the counter with this number on this day.
fn raised(day: u8, segment: u128, threshold: u8) -> Event {
    let event = BudgetAlertEvent::BudgetAlertRaised {
        segment: Uuid::from_u128(segment),
        limit: LIMIT,
        began_at: at(&format!("{day}T00:00:00")),
        ends_at: at(&format!("{}T00:00:00", day + 1)),
        threshold,
        used: BudgetAmount::Tokens(threshold.into()),
    };
    Event::BudgetAlert(BUDGET, event)
}

/// What is remembered: of which day and counter, which thresholds.
fn remembered(state: &Organisation) -> Vec<(String, u128, Vec<u8>)> {
    let told = |it: &BudgetAlert| {
        let day = it.began_at.to_string()[8..10].to_owned();
        let thresholds = it.thresholds.iter().copied().collect();
        (day, it.segment.as_u128(), thresholds)
    };
    let mut all: Vec<_> = state.budget_alerts_of(BUDGET).map(told).collect();
    all.sort();
    all
}

#[test]
fn each_counter_has_one_entry_in_each_window_with_all_its_thresholds() {
    let mut state = with_a_budget();
    for (time, event) in [
        ("22T10:00:00", raised(22, 1, 75)),
        ("22T11:00:00", raised(22, 2, 75)),
        ("22T12:00:00", raised(22, 1, 90)),
        ("23T00:30:00", raised(23, 1, 75)),
    ] {
        fold(&mut state, time, &event);
    }
    let expected = [
        ("22", 1, vec![75, 90]),
        ("22", 2, vec![75]),
        ("23", 1, vec![75]),
    ];
    assert_eq!(
        remembered(&state),
        expected.map(|(day, of, all)| (day.to_owned(), of, all))
    );
    let key = BudgetAlertKey {
        policy: BUDGET,
        segment: Uuid::from_u128(1),
        limit: LIMIT,
        began_at: at("22T00:00:00"),
    };
    let alert = state.budget_alert(&key).expect("it was raised");
    assert_eq!((alert.highest(), alert.raised_at), (90, at("22T12:00:00")));
    assert_eq!(alert.used, BudgetAmount::Tokens(90));
}

#[test]
fn a_window_is_forgotten_an_hour_after_its_end_and_then_nothing_is_raised_of_it() {
    let mut state = with_a_budget();
    fold(&mut state, "22T10:00:00", &raised(22, 1, 75));
    fold(&mut state, "23T00:59:59", &raised(23, 1, 75));
    assert_eq!(remembered(&state).len(), 2);
    assert!(!state.has_forgotten_alerts_of(at("23T00:00:00")));
    fold(&mut state, "23T01:00:00", &raised(23, 1, 90));
    assert_eq!(remembered(&state), [("23".to_owned(), 1, vec![75, 90])]);
    assert!(state.has_forgotten_alerts_of(at("23T00:00:00")));
    // What came too late all the same is not kept.
    fold(&mut state, "23T02:00:00", &raised(22, 1, 90));
    assert_eq!(remembered(&state).len(), 1);
}

#[test]
fn what_holds_now_is_of_windows_that_last_and_limits_that_there_are() {
    let mut state = with_a_budget();
    fold(&mut state, "22T10:00:00", &raised(22, 1, 75));
    let current = |state: &Organisation, time| state.current_budget_alerts(at(time)).count();
    assert_eq!(current(&state, "22T23:59:59"), 1);
    assert_eq!(current(&state, "23T00:00:00"), 0);
    let policy = &state.budget_policies()[&BUDGET];
    let rule = BudgetRule {
        limits: BTreeSet::from([BudgetLimit {
            amount: BudgetAmount::Tokens(200),
            ..LIMIT
        }]),
        ..policy.rule.clone()
    };
    let mut doubled = state.clone();
    let changed = Event::BudgetPolicy(BUDGET, BudgetPolicyEvent::BudgetRuleChanged { rule });
    fold(&mut doubled, "22T11:00:00", &changed);
    assert_eq!(current(&doubled, "22T12:00:00"), 0);
    let disabled = Event::BudgetPolicy(BUDGET, BudgetPolicyEvent::BudgetPolicyDisabled {});
    fold(&mut state, "22T11:00:00", &disabled);
    assert_eq!(current(&state, "22T12:00:00"), 0);
    let enabled = Event::BudgetPolicy(BUDGET, BudgetPolicyEvent::BudgetPolicyEnabled {});
    fold(&mut state, "22T12:00:00", &enabled);
    assert_eq!(current(&state, "22T12:00:00"), 1);
}

#[test]
fn alerts_go_with_their_policy_and_leave_its_own_history_alone() {
    let mut state = with_a_budget();
    let life = state.budget_policies()[&BUDGET].life;
    fold(&mut state, "22T10:00:00", &raised(22, 1, 75));
    fold(&mut state, "22T11:00:00", &raised(22, 2, 75));
    assert_eq!(state.budget_policies()[&BUDGET].life, life);
    assert_eq!(state.stream_version(Stream::BudgetPolicy(BUDGET)), 1);
    assert_eq!(state.stream_version(Stream::BudgetAlert(BUDGET)), 2);
    let deleted = Event::BudgetPolicy(BUDGET, BudgetPolicyEvent::BudgetPolicyDeleted {});
    fold(&mut state, "22T12:00:00", &deleted);
    assert_eq!(remembered(&state), []);
    assert_eq!(state.stream_version(Stream::BudgetAlert(BUDGET)), 2);
    // There is nothing that it could be about.
    fold(&mut state, "22T13:00:00", &raised(22, 1, 90));
    assert_eq!(remembered(&state), []);
}

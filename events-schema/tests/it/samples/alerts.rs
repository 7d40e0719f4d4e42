//! A history of alerts of budgets.

use std::collections::BTreeSet;

use events_schema::{
    events::{
        BudgetAlertEvent, BudgetAmount, BudgetLimit, BudgetPolicyEvent, BudgetRule, BudgetWindow,
        Event, LimitMode, LimitSegment, LogEvent, When, WhenCutOff,
    },
    id::{BudgetPolicyId, Id},
    money::NanoUsd,
    time::Timestamp,
};
use uuid::Uuid;

use super::{USER, name};
use crate::log::EPOCH;

const BUDGET: BudgetPolicyId = Id::from_bytes([0xd1; 16]);
const SPARE_BUDGET: BudgetPolicyId = Id::from_bytes([0xd2; 16]);

/// Thresholds of a budget that is there, in a window that is over for long and in two that are not; and of one that is gone.
pub(super) fn alerts() -> Vec<Event> {
    let dollars = |dollars: u64| BudgetAmount::Cost(NanoUsd::new(dollars * 1_000_000_000));
    let monthly = BudgetLimit {
        amount: dollars(100),
        window: BudgetWindow::Month,
    };
    let daily = BudgetLimit {
        amount: BudgetAmount::Tokens(1_000),
        window: BudgetWindow::Day,
    };
    let created = |slug: &str| BudgetPolicyEvent::BudgetPolicyCreated {
        name: name(slug),
        order: 10,
        rule: BudgetRule {
            when: When::default(),
            applies_per: BTreeSet::from([LimitSegment::User]),
            limits: BTreeSet::from([monthly, daily]),
            overrides: BTreeSet::new(),
            mode: LimitMode::Enforce,
            when_cut_off: WhenCutOff::Open,
            alerts: BTreeSet::from([75, 90, 100]),
        },
    };
    let raised = |limit, [began_at, ends_at]: [&str; 2], threshold, used| {
        BudgetAlertEvent::BudgetAlertRaised {
            segment: USER.uuid(),
            limit,
            began_at: at(began_at),
            ends_at: at(ends_at),
            threshold,
            used,
        }
    };
    let [october, november, today] = [
        ["2026-10-01", "2026-11-01"],
        ["2026-11-01", "2026-12-01"],
        ["2026-11-22", "2026-11-23"],
    ];
    let of_all = BudgetAlertEvent::BudgetAlertRaised {
        segment: Uuid::nil(),
        limit: monthly,
        began_at: at("2026-11-01"),
        ends_at: at("2026-12-01"),
        threshold: 100,
        used: dollars(101),
    };
    let used = BudgetAmount::Tokens;
    vec![
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::BudgetPolicy(BUDGET, created("per-user")),
        Event::BudgetPolicy(SPARE_BUDGET, created("all")),
        Event::BudgetAlert(BUDGET, raised(monthly, october, 100, dollars(100))),
        Event::BudgetAlert(BUDGET, raised(monthly, november, 75, dollars(76))),
        Event::BudgetAlert(SPARE_BUDGET, of_all),
        Event::BudgetAlert(BUDGET, raised(daily, today, 75, used(760))),
        Event::BudgetAlert(BUDGET, raised(monthly, november, 90, dollars(91))),
        Event::BudgetPolicy(SPARE_BUDGET, BudgetPolicyEvent::BudgetPolicyDeleted {}),
    ]
}

fn at(day: &str) -> Timestamp {
    format!("{day}T00:00:00Z").parse().expect("a time")
}

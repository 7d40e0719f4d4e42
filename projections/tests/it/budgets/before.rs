//! A budget that is new, or means something else since, counts what its window has seen before.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        BudgetAmount, BudgetLimit, BudgetPolicyEvent, BudgetRule, BudgetWindow, Choice, Event,
        LimitMode, LimitSegment, LimitedSubject, Owner, When, WhenCutOff,
    },
    id::{BudgetPolicyId, ModelId, VirtualAccountId},
    money::NanoUsd,
    state::{BudgetPolicy, Life},
};
use gateway_policy::{Facts, ModelIds, Rules, Wanted};

use super::*;
use crate::history::{History, OWNER};

const POLICY: BudgetPolicyId = BudgetPolicyId::from_bytes([7; 16]);
const MODEL: ModelId = ModelId::from_bytes([8; 16]);
const OTHER: VirtualAccountId = VirtualAccountId::from_bytes([10; 16]);
/// More than anything here costs.
const MOST: u64 = 1_000_000;

fn cost_per(window: BudgetWindow) -> BudgetLimit {
    BudgetLimit {
        amount: BudgetAmount::Cost(NanoUsd::new(MOST)),
        window,
    }
}

/// Of one virtual account, a day.
fn rule() -> BudgetRule {
    BudgetRule {
        when: When {
            subjects: Choice::only([LimitedSubject::VirtualAccount(OWNER)]),
            ..When::default()
        },
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([cost_per(BudgetWindow::Day)]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: WhenCutOff::Closed,
        alerts: BTreeSet::new(),
    }
}

fn happens(history: &mut History, event: BudgetPolicyEvent) {
    history.command(&[Event::BudgetPolicy(POLICY, event)]);
}

fn created(history: &mut History, rule: BudgetRule) {
    let created = BudgetPolicyEvent::BudgetPolicyCreated {
        name: "all".parse().expect("a slug"),
        order: 0,
        rule,
    };
    happens(history, created);
}

fn of(period: Period, segment: [u8; 16]) -> BudgetId {
    let counter = CounterId {
        rule: POLICY.bytes(),
        measure: Measure::Cost,
        period,
        segment,
    };
    BudgetId {
        counter,
        slot: period.slot_at(noon()),
    }
}

/// A request as the ledger has it.
struct Request<'r> {
    at: &'r str,
    owner: VirtualAccountId,
    /// The position of the configuration that decided on it.
    position: u64,
    cost: u64,
    counts: bool,
    project: &'r str,
}

/// Of the owner, this morning, decided on before anything here.
const REQUEST: Request<'static> = Request {
    at: "2026-11-22 08:00:00",
    owner: OWNER,
    position: 1,
    cost: 0,
    counts: false,
    project: "",
};

impl ClickHouse {
    async fn answered(&self, requests: &[Request<'_>]) {
        let rows = requests.iter().map(|it| {
            let counted = if it.counts {
                let policy = POLICY.uuid().as_simple().to_string();
                format!("'{policy}:{}'", Uuid::nil().simple())
            } else {
                String::new()
            };
            format!(
                "(generateUUIDv4(), '{}', '00000000-0000-0000-0000-000000000001', \
                 '00000000-0000-0000-0000-000000000011', {}, '{}', 'model:{MODEL}', '{MODEL}', {}, 1, \
                 [{counted}], map('project', '{}'))",
                it.at,
                it.position,
                Owner::VirtualAccount(it.owner),
                it.cost,
                it.project
            )
        });
        let rows: Vec<String> = rows.collect();
        let insert = format!(
            "INSERT INTO requests (request, received_at, gateway, incarnation, position, owner, resolved, \
             answered_by, cost, input_tokens, budgets, metadata) VALUES {}",
            rows.join(", ")
        );
        self.execute(&insert).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_budget_counts_what_its_window_has_seen_and_it_did_not() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    clickhouse.warehouse().migrate().await.expect("tables");
    let mut history = History::new();
    created(&mut history, rule());
    let since = history.position();
    let before = Request {
        position: since - 1,
        ..REQUEST
    };
    clickhouse
        .answered(&[
            Request { cost: 1, ..before },
            Request { cost: 2, ..before },
            // Not its: of somebody else, of yesterday, or of a time when it did not match, for whatever reason.
            Request {
                cost: 40,
                owner: OTHER,
                ..before
            },
            Request {
                cost: 80,
                at: "2026-11-21 23:59:59",
                ..before
            },
            Request {
                cost: 160,
                position: since,
                ..before
            },
            // Counted.
            Request {
                cost: 320,
                position: since,
                counts: true,
                ..before
            },
        ])
        .await;
    history.relay(&nats.jetstream().await).await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, of(Period::Day, [0; 16]), MOST).await;
    assert_eq!(gateway.spent_beside().await, 1 + 2 + 320);
    // It outlives the loss of whoever knows it.
    drop(worker);
    let jetstream = nats.jetstream().await;
    for stream in [subjects::BUDGETS, subjects::LIMITS] {
        jetstream.delete_stream(stream).await.expect("deleted");
    }
    let worker = Worker::start(&nats, &clickhouse, 2).await;
    assert_eq!(gateway.spent_beside().await, 1 + 2 + 320);
    // And what was written down is enough where the history is away.
    drop(worker);
    jetstream
        .delete_stream(subjects::EVENTS)
        .await
        .expect("deleted");
    let _worker = Worker::start(&nats, &clickhouse, 3).await;
    assert_eq!(gateway.spent_beside().await, 1 + 2 + 320);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_later_of_the_time_before_is_counted_when_it_does() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let mut history = History::new();
    created(&mut history, rule());
    history.relay(&nats.jetstream().await).await;
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, of(Period::Day, [0; 16]), MOST).await;
    assert_eq!(gateway.spent_beside().await, 0);
    clickhouse.answered(&[Request { cost: 5, ..REQUEST }]).await;
    eventually("it counts", async || {
        (gateway.spent_beside().await == 5).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_matches_more_counts_what_it_did_not_match() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    clickhouse.warehouse().migrate().await.expect("tables");
    let mut history = History::new();
    created(&mut history, rule());
    let context = nats.jetstream().await;
    history.relay(&context).await;
    let first = history.position();
    let later = Request {
        position: first,
        ..REQUEST
    };
    clickhouse
        .answered(&[
            Request {
                cost: 1,
                counts: true,
                ..later
            },
            Request {
                cost: 2,
                owner: OTHER,
                ..later
            },
        ])
        .await;
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, of(Period::Day, [0; 16]), MOST).await;
    assert_eq!(gateway.spent_beside().await, 1);
    // Another name, and another place, change nothing of what it has counted.
    happens(
        &mut history,
        BudgetPolicyEvent::BudgetPolicyMoved { order: 9 },
    );
    let matches_all = BudgetRule {
        when: When::default(),
        ..rule()
    };
    happens(
        &mut history,
        BudgetPolicyEvent::BudgetRuleChanged { rule: matches_all },
    );
    history.relay(&context).await;
    eventually("it counts", async || {
        (gateway.spent_beside().await == 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_a_rule_is_given_later_counts_what_the_rule_counted_before() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    clickhouse.warehouse().migrate().await.expect("tables");
    let mut history = History::new();
    created(&mut history, rule());
    let first = history.position();
    let both = BudgetRule {
        limits: [BudgetWindow::Day, BudgetWindow::Month]
            .map(cost_per)
            .into(),
        ..rule()
    };
    happens(
        &mut history,
        BudgetPolicyEvent::BudgetRuleChanged { rule: both },
    );
    let second = history.position();
    clickhouse
        .answered(&[
            Request {
                cost: 1,
                at: "2026-11-03 08:00:00",
                position: first - 1,
                ..REQUEST
            },
            Request {
                cost: 2,
                position: first,
                counts: true,
                ..REQUEST
            },
            Request {
                cost: 4,
                position: second,
                counts: true,
                ..REQUEST
            },
        ])
        .await;
    history.relay(&nats.jetstream().await).await;
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    let [mut day, mut month] = [
        Gateway::start(&nats, 1, of(Period::Day, [0; 16]), MOST).await,
        Gateway::start(&nats, 2, of(Period::Month, [0; 16]), MOST).await,
    ];
    assert_eq!(day.spent_beside().await, 2 + 4);
    assert_eq!(month.spent_beside().await, 1 + 2 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_that_has_a_budget_of_its_own_has_what_it_used_before() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    clickhouse.warehouse().migrate().await.expect("tables");
    let mut history = History::new();
    let project = LimitSegment::Metadata("project".parse().expect("a key"));
    let per_project = BudgetRule {
        applies_per: BTreeSet::from([project]),
        ..rule()
    };
    created(&mut history, per_project.clone());
    let asked = Request {
        position: history.position() - 1,
        ..REQUEST
    };
    clickhouse
        .answered(&[
            Request {
                cost: 1,
                project: "apollo",
                ..asked
            },
            Request {
                cost: 2,
                project: "apollo",
                ..asked
            },
            Request {
                cost: 4,
                project: "gemini",
                ..asked
            },
        ])
        .await;
    history.relay(&nats.jetstream().await).await;
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    for (at, (project, used)) in (1..).zip([("apollo", 3), ("gemini", 4), ("mercury", 0)]) {
        let segment = segment(&per_project, project);
        let mut gateway = Gateway::start(&nats, at, of(Period::Day, segment), MOST).await;
        assert_eq!(gateway.spent_beside().await, used, "{project}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn corrected_prices_change_what_is_spent_and_what_was_used_before() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    clickhouse.warehouse().migrate().await.expect("tables");
    let mut history = History::new();
    created(&mut history, rule());
    let since = history.position();
    let before = Request {
        position: since - 1,
        ..REQUEST
    };
    let counted = Request {
        position: since,
        counts: true,
        ..REQUEST
    };
    clickhouse
        .answered(&[
            Request { cost: 10, ..before },
            Request {
                cost: 500,
                ..counted
            },
        ])
        .await;
    history.relay(&nats.jetstream().await).await;
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, of(Period::Day, [0; 16]), MOST).await;
    assert_eq!(gateway.spent_beside().await, 510);
    for (ordinal, factor, spent) in [(1, "-0.9", 51), (2, "0.4", 51 + 204)] {
        clickhouse
            .execute(&format!(
                "INSERT INTO cost_corrections (request, received_at, owner, incarnation, budgets, amount, position, pass, ordinal) \
                 SELECT request, received_at, owner, incarnation, budgets, toInt128(cost * {factor}), 9, \
                 toUUID('00000000-0000-0000-0000-00000000000{ordinal}'), {ordinal} FROM requests"
            ))
            .await;
        clickhouse
            .execute(&format!(
                "INSERT INTO correction_passes (ordinal, pass) \
                 VALUES ({ordinal}, '00000000-0000-0000-0000-00000000000{ordinal}')"
            ))
            .await;
        eventually("it counts", async || {
            (gateway.spent_beside().await == spent).then_some(())
        })
        .await;
    }
}

/// The counter of a project, as gateways find it.
fn segment(rule: &BudgetRule, project: &str) -> [u8; 16] {
    let policy = BudgetPolicy {
        id: POLICY,
        life: Life {
            version: 1,
            created_at: noon(),
            changed_at: noon(),
            position: 1,
        },
        name: "all".parse().expect("a slug"),
        order: 0,
        rule: rule.clone(),
        disabled: false,
    };
    let rules = Rules::of_budget_policies([&policy]);
    let metadata = BTreeMap::from([("project".to_owned(), project.to_owned())]);
    let wanted = Wanted::Model(ModelIds {
        model: MODEL.bytes(),
        account: [0; 16],
    });
    let facts = Facts::supposed(Owner::VirtualAccount(OWNER), &[], wanted, &metadata);
    let rule = rules.first(&facts).expect("it matches");
    rule.segments(&facts)[0]
}

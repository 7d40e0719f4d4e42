//! Alerts of budgets: told of once, whatever is lost, and shown.

use commands::{
    alerts::Alerts,
    clock,
    control::{Control, ControlOptions},
};
use events_schema::{
    api::{Page, history::HistoryEvent, limits::BudgetAlertItem},
    events::Role,
    subjects,
    time::Timestamp,
    totals::{LimitTotal, LimitTotals},
    usage::{LimitMeasure, LimitPeriod},
};
use gateway_policy::limits::period::Period;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{
    eventually,
    service::{Caller, PASSWORD, Service},
};

/// The alerts that `rule` asks for.
fn create(name: &str, applies_per: &Value, alerts: &Value) -> Value {
    json!({ "type": "create_budget_policy", "name": name, "order": 1, "rule": {
        "when": {
            "subjects": { "in": [], "not_in": [] }, "models": { "in": [], "not_in": [] }, "metadata": {},
        },
        "applies_per": applies_per,
        "limits": [{ "amount": { "tokens": 100 }, "window": "quarter" }],
        "overrides": [],
        "mode": "enforce",
        "when_cut_off": "open",
        "alerts": alerts,
    } })
}

async fn make(owner: &Caller<'_>, command: Value) -> Uuid {
    let id = owner.command(command).await.field("id");
    id.parse().expect("an id")
}

/// So much of 100 tokens is used in this quarter.
fn total(policy: Uuid, segment: Uuid, used: u64) -> LimitTotal {
    let slot = Period::Quarter.slot_at(clock::now());
    LimitTotal {
        rule: policy,
        segment,
        measure: LimitMeasure::Tokens,
        period: LimitPeriod::Quarter,
        began_at: Period::Quarter.slot_begins(slot),
        ends_at: Period::Quarter.slot_begins(slot.plus(1)),
        most: 100,
        used,
        held: 0,
        refused: 0,
        is_lower_bound: false,
    }
}

/// Tells how budgets stand, as the worker in office does.
async fn tell(service: &Service, totals: &[LimitTotal]) {
    let told = LimitTotals {
        at: clock::now(),
        counters: totals.len() as u64,
        totals: totals.to_vec(),
    };
    let json = serde_json::to_vec(&told).expect("JSON");
    let nats = service.nats.as_ref().expect("with NATS");
    let client = nats.client().await;
    let sent = client.publish(subjects::BUDGETS_USED, json.into()).await;
    sent.expect("sent");
    client.flush().await.expect("flushed");
}

/// What `control` raises for as long as it is not dropped.
struct Raising {
    task: JoinHandle<()>,
    alerts: Alerts,
}

impl Drop for Raising {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn raising(service: &Service, control: &Control, alerts: Alerts) -> Raising {
    let nats = service.nats.as_ref().expect("with NATS").client().await;
    let task = alerts.clone().raise(control.clone(), nats);
    Raising {
        task: tokio::spawn(task),
        alerts,
    }
}

/// A further process on the same log.
async fn replica(service: &Service) -> Control {
    let options = ControlOptions {
        postgres_url: service.postgres.url("sluice_service"),
        postgres_owner_url: None,
        nats: None,
        relay: false,
    };
    Control::start(options).await.expect("the control starts")
}

/// The thresholds that the history tells of, the oldest first.
async fn told(owner: &Caller<'_>, policy: Uuid) -> Vec<u64> {
    let stream = format!("budget_alert.{}", policy.simple());
    let page = owner
        .get(&format!("/events?stream={stream}&limit=200"))
        .await;
    let page: Page<HistoryEvent> = page.read();
    let events = page.items.iter().rev();
    let told = events.map(|event| {
        assert_eq!(
            (event.kind.as_str(), event.actor.as_str()),
            ("budget_alert_raised", "system:commands")
        );
        event.payload["threshold"].as_u64().expect("a number")
    });
    told.collect()
}

/// Tells of these again and again until the history tells of these thresholds.
async fn until_told(
    service: &Service,
    owner: &Caller<'_>,
    totals: &[LimitTotal],
    (policy, expected): (Uuid, &[u64]),
) {
    eventually("it is told", || async {
        tell(service, totals).await;
        let told = told(owner, policy).await;
        assert!(
            told.len() <= expected.len(),
            "{told:?} in place of {expected:?}"
        );
        told == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_is_told_of_once_though_two_processes_tell_and_all_else_is_lost() {
    let mut service = Service::start_with_nats().await;
    let (budget, mark) = {
        let owner = service.owner().await;
        (
            make(&owner, create("all", &json!([]), &json!([75, 90]))).await,
            make(&owner, create("mark", &json!([]), &json!([1, 2, 3, 4]))).await,
        )
    };
    let (all, of_mark) = (
        |used| total(budget, Uuid::nil(), used),
        |used| total(mark, Uuid::nil(), used),
    );
    let other = replica(&service).await;
    let first = raising(
        &service,
        &service.control,
        service.app.parts().alerts.clone(),
    )
    .await;
    let second = raising(&service, &other, Alerts::default()).await;
    {
        let owner = service.owner().await;
        // The mark says that what was told with it was heard.
        until_told(&service, &owner, &[all(74), of_mark(1)], (mark, &[1])).await;
        assert_eq!(told(&owner, budget).await, Vec::<u64>::new());
        until_told(&service, &owner, &[all(76)], (budget, &[75])).await;
        until_told(&service, &owner, &[all(95)], (budget, &[75, 90])).await;
        until_told(&service, &owner, &[all(99), of_mark(2)], (mark, &[1, 2])).await;
        assert_eq!(told(&owner, budget).await, [75, 90]);
        let raised = || first.alerts.raised() + second.alerts.raised();
        eventually("each is counted by whoever wrote it", || async {
            raised() >= 4
        })
        .await;
        assert_eq!(raised(), 4);
    }
    // NATS is lost with all that it knew, and both processes with all that they knew.
    drop((first, second));
    other.stop().await;
    let nats = service.nats.as_mut().expect("with NATS");
    nats.kill();
    nats.forget_everything();
    nats.resume().await;
    let next = replica(&service).await;
    let _next = raising(&service, &next, Alerts::default()).await;
    let owner = service.owner().await;
    until_told(&service, &owner, &[all(99), of_mark(3)], (mark, &[1, 2, 3])).await;
    assert_eq!(told(&owner, budget).await, [75, 90]);
    // What is spent may be counted anew, from less.
    until_told(
        &service,
        &owner,
        &[all(10), of_mark(4)],
        (mark, &[1, 2, 3, 4]),
    )
    .await;
    assert_eq!(told(&owner, budget).await, [75, 90]);
    let report = service.control.verify().await.expect("it is checked");
    assert!(report.findings.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_does_not_get_between_a_difference_and_its_being_applied() {
    let service = Service::start_with_nats().await;
    let owner = service.owner().await;
    let budget = make(&owner, create("all", &json!([]), &json!([75]))).await;
    let document = "sluice: v1\nteams:\n  - name: astronomy\n";
    let dry = json!({ "document": document, "dry_run": true });
    let seen = owner.post("/apply", &dry).await.position();
    let _raising = raising(&service, &service.control, Alerts::default()).await;
    let used = [total(budget, Uuid::nil(), 76)];
    until_told(&service, &owner, &used, (budget, &[75])).await;
    assert!(service.control.head().position > seen);
    let body = json!({ "document": document, "position": seen });
    let done = owner.post("/apply", &body).await;
    assert!(done.position() > seen, "{}", done.json());
    // But whatever else was changed does.
    let other = "sluice: v1\nteams:\n  - name: chemistry\n";
    let late = json!({ "document": other, "position": seen });
    owner.post("/apply", &late).await.refuses(409, "moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_the_highest_first_and_stand_with_their_budgets() {
    let service = Service::start_with_nats().await;
    let owner = service.owner().await;
    let user = make(
        &owner,
        json!({ "type": "add_user", "email": "ada@example.com", "name": "Ada Lovelace" }),
    )
    .await;
    let per_user = make(
        &owner,
        create("per-user", &json!(["user"]), &json!([75, 90, 100])),
    )
    .await;
    let all = make(&owner, create("all", &json!([]), &json!([50]))).await;
    let _raising = raising(
        &service,
        &service.control,
        service.app.parts().alerts.clone(),
    )
    .await;
    let somebody = Uuid::from_u128(7);
    let totals = [
        total(per_user, somebody, 80),
        total(per_user, user, 120),
        total(all, Uuid::nil(), 60),
    ];
    eventually("all are told of", || async {
        tell(&service, &totals).await;
        owner.get("/budget-alerts").await.json()["items"]
            .as_array()
            .map(Vec::len)
            == Some(3)
    })
    .await;
    let list = async |query: &str| -> Page<BudgetAlertItem> {
        let answer = owner.get(&format!("/budget-alerts{query}")).await;
        answer.read()
    };
    let short = |page: &Page<BudgetAlertItem>| -> Vec<(String, u8)> {
        let items = page.items.iter();
        items
            .map(|it| (it.policy_name.clone(), it.threshold))
            .collect()
    };
    let expected = [("per-user", 100), ("per-user", 75), ("all", 50)];
    let expected = expected.map(|(name, threshold)| (name.to_owned(), threshold));
    let everything = list("").await;
    assert_eq!(short(&everything), expected);
    let highest = &everything.items[0];
    assert_eq!(highest.segment_name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(highest.thresholds, [75, 90, 100].into());
    assert_eq!(everything.items[1].segment_name, None);
    assert!(highest.raised_at > Timestamp::MIN && highest.position > 0);
    assert_eq!(short(&list("?percent=76").await), expected[..1]);
    assert_eq!(short(&list(&format!("?policy={all}")).await), expected[2..]);
    let first = list("?limit=2").await;
    assert_eq!(short(&first), expected[..2]);
    let cursor = first.next_cursor.expect("there is another");
    let second = list(&format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (short(&second), second.next_cursor),
        (expected[2..].to_vec(), None)
    );
    owner
        .get("/budget-alerts?limit=0")
        .await
        .refuses_at(422, "invalid", "limit");

    let policies = owner.get("/budget-policies").await.json();
    let alerted = |name: &str| {
        let items = policies["items"].as_array().expect("a list");
        let found = items.iter().find(|it| it["name"] == name).expect(name);
        found["alerted"].clone()
    };
    assert_eq!(
        alerted("per-user"),
        json!({ "threshold": 100, "counters": 1 })
    );
    assert_eq!(alerted("all"), json!({ "threshold": 50, "counters": 1 }));

    // No event names anybody, and an erased person is not named any more.
    let position = highest.position;
    let event = owner.get(&format!("/events/{position}")).await.json();
    assert_eq!(
        (&event["before"], &event["after"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(event["event"]["subject_name"], "per-user");
    assert!(!event.to_string().contains("Ada"));
    owner
        .command(json!({ "type": "erase_user", "user": user }))
        .await;
    let erased = list("").await.items.swap_remove(0);
    let name = erased.segment_name.expect("it is known whose it was");
    assert_eq!(name, format!("erased person {}", user.simple()));

    // What a viewer may see of the dashboard holds for alerts; a budget that is gone has none.
    service
        .add_operator("viewer@example.com", Role::Viewer)
        .await;
    let viewer = service.sign_in("viewer@example.com", PASSWORD).await;
    assert_eq!(viewer.get("/budget-alerts").await.status, 200);
    owner
        .command(json!({ "type": "delete_budget_policy", "policy": per_user }))
        .await;
    assert_eq!(short(&list("").await), expected[2..]);

    let metrics = service.anybody().get("//metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("sluice_budget_alerts_raised_total 5\n"),
        "{metrics}"
    );
    assert!(metrics.contains("sluice_budget_alerts 1\n"), "{metrics}");
    assert!(
        metrics.contains("sluice_budget_alerts_waiting 0\n"),
        "{metrics}"
    );
}

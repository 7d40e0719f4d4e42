//! Budget policies over HTTP: made, listed in their order, named by what they limit, and as a document.

use events_schema::events::Role;
use serde_json::{Value, json};

use super::declared::{apply, names};
use crate::support::service::{Caller, PASSWORD, Service};

fn rule(dollars: u64, subjects: &Value) -> Value {
    let cost = (dollars * 1_000_000_000).to_string();
    json!({
        "when": {
            "subjects": { "in": subjects, "not_in": [] }, "models": { "in": [], "not_in": [] }, "metadata": {},
        },
        "applies_per": ["team"],
        "limits": [{ "amount": { "cost": cost }, "window": "month" }],
        "overrides": [],
        "mode": "enforce",
        "when_cut_off": "open",
        "alerts": [75, 100],
    })
}

async fn make(owner: &Caller<'_>, command: Value) -> String {
    owner.command(command).await.field("id")
}

fn create(name: &str, order: u32, rule: &Value) -> Value {
    json!({ "type": "create_budget_policy", "name": name, "order": order, "rule": rule })
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_stand_in_their_order_and_name_whom_they_limit() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let team = make(&owner, json!({ "type": "create_team", "name": "research" })).await;
    let everybody = rule(100, &json!([]));
    let narrow = rule(5, &json!([{ "team": team }]));
    let wide = make(&owner, create("everybody", 20, &everybody)).await;
    let first = make(&owner, create("research-monthly", 10, &narrow)).await;

    let listed = owner.get("/budget-policies").await.json();
    let items = listed["items"].as_array().expect("a list");
    let ids: Vec<_> = items.iter().map(|it| it["id"].as_str()).collect();
    assert_eq!(ids, [Some(first.as_str()), Some(wide.as_str())]);
    assert_eq!(items[0]["rule"], narrow);
    assert_eq!(
        items[0]["subjects"],
        json!([{ "subject": { "team": team }, "name": "research" }])
    );
    let one = owner.get(&format!("/budget-policies/{first}")).await.json();
    assert_eq!(one, items[0]);
    let found = owner.get("/budget-policies?search=every").await.json();
    assert_eq!(found["items"][0]["id"].as_str(), Some(wide.as_str()));

    let used_by = owner.get(&format!("/used-by?stream=team.{team}")).await;
    let used_by = used_by.json();
    assert_eq!(
        used_by["counts"],
        json!([{ "relation": "budgets", "count": 1, "blocks": true }])
    );
    assert_eq!(used_by["uses"][0]["name"], "research-monthly");
    let delete = json!({ "command": { "type": "delete_team", "team": team } });
    let refused = owner.post("/commands", &delete).await;
    refused.refuses(409, "still_used");

    let before = service.control.head().position;
    owner
        .command(json!({ "type": "delete_budget_policy", "policy": first }))
        .await;
    owner
        .command(json!({ "type": "delete_team", "team": team }))
        .await;
    let then = format!("/state/budget_policy?position={before}");
    let then = owner.get(&then).await.json();
    assert_eq!(then["items"][0]["since"], "gone");
    assert_eq!(then["items"][0]["then"]["budget_policy"]["rule"], narrow);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_looks_makes_no_budget() {
    let service = Service::start().await;
    service
        .add_operator("viewer@example.com", Role::Viewer)
        .await;
    let viewer = service.sign_in("viewer@example.com", PASSWORD).await;
    let body = json!({ "command": create("everybody", 20, &rule(1, &json!([]))) });
    viewer
        .post("/commands", &body)
        .await
        .refuses(403, "forbidden");
    assert_eq!(viewer.get("/budget-policies").await.status, 200);
}

const DOCUMENT: &str = "sluice: v1
teams:
  - name: research
users:
  - {email: ada@example.com, name: Ada}
budget_policies:
  - name: monthly
    order: 10
    when: {subjects: {in: [{team: research}, {user: ada@example.com}]}}
    applies_per: [team, {metadata: project}]
    limits:
      - {cost: 2500.5, window: month}
      - {tokens: 1000000, window: day}
    overrides:
      - of: [{team: research}, {metadata: {key: project, value: big}}]
        limits: [{cost: \"4000\", window: month}]
    alerts: [75, 100]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_document_says_budgets_in_dollars_and_its_difference_does() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let made = apply(&owner, DOCUMENT).await;
    assert_eq!(made.status, 200, "{made:?}");
    let made = made.json()["changes"][2].clone();
    let fields: Vec<_> = made["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .map(|it| json!([it["field"], it["after"]]))
        .collect();
    assert_eq!(
        json!(fields),
        json!([
            ["order", "10"],
            ["limits", "$2500.50 a month, 1000000 tokens a day"],
            ["subjects", "ada@example.com, research"],
            ["models", "all"],
            ["applies_per", "project, team"],
            ["overrides", "project=big, research: $4000.00 a month"],
            ["mode", "enforce"],
            ["when_cut_off", "open"],
            ["alerts", "75 %, 100 %"],
        ])
    );
    let export = owner.get("/export").await;
    let export = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(export.contains("cost: \"2500.50\""), "{export}");
    assert_eq!(names(&apply(&owner, &export).await), Vec::<String>::new());

    let changed = DOCUMENT
        .replace("2500.5", "3000")
        .replace("alerts: [75, 100]", "when_cut_off: closed");
    let changed = apply(&owner, &changed).await;
    assert_eq!(
        changed.json()["changes"][0]["fields"],
        json!([
            {
                "field": "limits",
                "before": "$2500.50 a month, 1000000 tokens a day",
                "after": "$3000.00 a month, 1000000 tokens a day",
            },
            { "field": "when_cut_off", "before": "open", "after": "closed" },
            { "field": "alerts", "before": "75 %, 100 %", "after": "" },
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_budget_is_told_where_it_stands() {
    let service = Service::start().await;
    let owner = service.owner().await;
    for (wrong, line, message) in [
        (
            DOCUMENT.replace("{cost: 2500.5, window: month}", "{window: month}"),
            12,
            "A budget's limit is either a `cost` or `tokens`.",
        ),
        (
            DOCUMENT.replace("cost: 2500.5", "cost: 2500.5, tokens: 7"),
            12,
            "A budget's limit is either a `cost` or `tokens`.",
        ),
        (
            DOCUMENT.replace("2500.5", "much"),
            12,
            "'much': an amount of dollars is a decimal number with at most 9 decimals, as 2.50.",
        ),
        (
            DOCUMENT.replace("of: [{team: research}", "of: [{team: search}"),
            15,
            "There is no team 'search'.",
        ),
    ] {
        let answer = apply(&owner, &wrong).await;
        answer.refuses(422, "bad_document");
        let fault = answer.json()["faults"][0].clone();
        assert_eq!(
            (&fault["line"], &fault["message"]),
            (&json!(line), &json!(message))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_budget_says_of_somebody_who_was_erased_stays() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let ada = owner.get("/users?search=ada").await.json()["items"][0]["id"].clone();
    let only = rule(5, &json!([{ "user": ada }]));
    make(&owner, create("ada-alone", 5, &only)).await;
    owner
        .command(json!({ "type": "erase_user", "user": ada }))
        .await;

    let export = owner.get("/export").await;
    let export = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(!export.contains("ada@"), "{export}");
    let body = json!({ "document": export, "prune": true });
    assert_eq!(
        names(&owner.post("/apply", &body).await),
        Vec::<String>::new()
    );
    let listed = owner.get("/budget-policies").await.json();
    let whom = |at: usize| listed["items"][at]["rule"]["when"]["subjects"]["in"].clone();
    assert_eq!(whom(0), json!([{ "user": ada }]));
    assert_eq!(whom(1).as_array().map(Vec::len), Some(2));
}

//! What counters of metadata and of two things are called: gateways, NATS and the worker know a hash, and the ledger of what.

use std::collections::BTreeMap;

use events_schema::api::Page;
use events_schema::api::analytics::Refusals;
use events_schema::api::limits::{BudgetAlertItem, LimitUsage};
use serde_json::{Value, json};

use crate::refusals::{ask, make};
use crate::requests::range;
use crate::stack::{Session, Stack, block_on, wait_until};

/// How many requests are made.
const REQUESTS: u64 = 3;

fn everything() -> Value {
    let all = json!({ "in": [], "not_in": [] });
    json!({ "subjects": all, "models": all, "metadata": {} })
}

/// For each project.
fn rate_limit() -> Value {
    json!({
        "type": "create_rate_limit_policy", "name": "projects", "order": 1,
        "rule": {
            "when": everything(), "applies_per": [{ "metadata": "project" }],
            "limits": [{ "unit": "requests", "window": "day", "limit": 1_000 }],
            "overrides": [], "mode": "enforce", "when_cut_off": "alone",
        },
    })
}

/// For each project of each virtual account: the first token is told of.
fn budget() -> Value {
    json!({
        "type": "create_budget_policy", "name": "spent", "order": 1,
        "rule": {
            "when": everything(), "applies_per": ["virtual_account", { "metadata": "project" }],
            "limits": [{ "amount": { "tokens": 100 }, "window": "day" }],
            "overrides": [], "mode": "audit", "when_cut_off": "open", "alerts": [1],
        },
    })
}

/// What the counters of each policy are called, but for the example's.
async fn called(session: &Session) -> BTreeMap<(String, Option<String>), usize> {
    let usage: LimitUsage = session.get("/limit-usage").await;
    let mut called = BTreeMap::new();
    for item in usage.items {
        let policy = item.name.unwrap_or_default();
        if !["projects", "spent"].contains(&policy.as_str()) {
            continue;
        }
        let name = (policy, item.segment_name);
        *called.entry(name).or_default() += 1;
    }
    called
}

#[test]
fn counters_are_called_by_what_they_are_of() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        make(&session, 1, rate_limit()).await;
        let (_, position) = make(&session, 2, budget()).await;
        let served = format!("/served?position={position}&timeout_ms=30000");
        session.get::<Value>(&served).await;
        for project in ["apollo", "apollo", "it's, gemini"] {
            assert_eq!(ask(&stack, "mock/fast", project).await, 200);
        }
        // Before the ledger has them it is not known, and for a while it is not looked for again.
        wait_until("the ledger has them all", || async {
            let path = format!("/analytics/refusals?{}", range());
            let all: Refusals = session.get(&path).await;
            match all.requests {
                REQUESTS => Ok(()),
                some => Err(format!("{some} of {REQUESTS}")),
            }
        })
        .await;

        let name = |policy: &str, of: &str| ((policy.to_owned(), Some(of.to_owned())), 1);
        let expected = BTreeMap::from([
            name("projects", "project=apollo"),
            name("projects", "project=it's, gemini"),
            name("spent", "example-app, project=apollo"),
            name("spent", "example-app, project=it's, gemini"),
        ]);
        wait_until("all have a name", || async {
            let called = called(&session).await;
            if called == expected {
                Ok(())
            } else {
                Err(format!("{called:?}"))
            }
        })
        .await;
        wait_until("alerts have names as well", || async {
            let alerts: Page<BudgetAlertItem> = session.get("/budget-alerts").await;
            let names = alerts.items.into_iter().filter_map(|it| it.segment_name);
            let mut names: Vec<String> = names.collect();
            names.sort();
            if names == expected_alerts() {
                Ok(())
            } else {
                Err(format!("{names:?}"))
            }
        })
        .await;
    });
}

fn expected_alerts() -> [&'static str; 2] {
    [
        "example-app, project=apollo",
        "example-app, project=it's, gemini",
    ]
}

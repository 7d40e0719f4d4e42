//! What was refused and why, what policies would have refused that only audit, and what was led elsewhere: as the gateway decides
//! it, the ledger counts it and the API tells it.

use std::collections::BTreeMap;

use events_schema::api::Page;
use events_schema::api::analytics::{RefusalEffect, RefusalItem, Refusals, RequestItem};
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::ModelItem;
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::client;
use crate::requests::range;
use crate::stack::{Session, Stack, block_on, chat_as, wait_until};

/// Makes something; returns its id.
pub(crate) async fn make(session: &Session, number: u8, command: Value) -> (String, u64) {
    let command: NewCommand = serde_json::from_value(command).expect("it is a command");
    let id = format!("{number:02x}").repeat(16);
    let answer = session.try_command(&id, command).await;
    let answer = answer.expect("the command is taken");
    let made = answer.id.expect("something was made");
    (made, answer.position)
}

/// A rate-limit policy for the requests of a project: so many a day.
fn policy(name: &str, project: &str, most: u64, mode: &str) -> Value {
    let when = json!({
        "subjects": { "in": [], "not_in": [] },
        "models": { "in": [], "not_in": [] },
        "metadata": { "project": { "in": [project], "not_in": [] } },
    });
    json!({
        "type": "create_rate_limit_policy", "name": name, "order": 1,
        "rule": {
            "when": when, "applies_per": [],
            "limits": [{ "unit": "requests", "window": "day", "limit": most }],
            "overrides": [], "mode": mode, "when_cut_off": "alone",
        },
    })
}

/// Asks for a model for a project; returns the status.
pub(crate) async fn ask(stack: &Stack, model: &str, project: &str) -> u16 {
    let bearer = format!("Bearer {}", stack.info.api_key);
    let metadata = json!({ "project": project }).to_string();
    let headers = [
        (
            AUTHORIZATION,
            HeaderValue::from_str(&bearer).expect("a key is ASCII"),
        ),
        (
            HeaderName::from_static("x-sluice-metadata"),
            HeaderValue::from_str(&metadata).expect("it is ASCII"),
        ),
    ];
    let body = json!({
        "model": model, "max_tokens": 8,
        "messages": [{ "role": "user", "content": "again" }],
    });
    let url = format!("{}/v1/chat/completions", stack.info.gateway);
    let answer = client::call(Method::POST, &url, &headers, Some(&body)).await;
    answer.expect("the gateway answers").status.as_u16()
}

pub(crate) async fn refusals(session: &Session, filter: &str) -> Refusals {
    let path = format!("/analytics/refusals?{}{filter}", range());
    session.get(&path).await
}

/// How often each thing had each effect.
fn counted(refusals: &Refusals) -> BTreeMap<(RefusalEffect, String), u64> {
    let items = refusals.items.iter();
    items
        .map(|it| ((it.effect, it.by.clone()), it.requests))
        .collect()
}

/// What the names in the API's answers are.
fn name(item: &RefusalItem) -> Option<&str> {
    item.of.as_ref()?.name.as_deref()
}

#[test]
fn what_was_refused_is_told_by_whom_for_whom_and_how_often() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let models: Page<ModelItem> = session.get("/models?limit=200").await;
        let model = |name: &str| {
            let found = models.items.iter().find(|it| it.full_name == name);
            found.expect("the example has it").id.to_string()
        };
        let (fast, slow) = (model("mock/fast"), model("mock/slow"));
        let target = |model: &str, priority: u8| json!({ "model": model, "priority": priority, "fallback_candidate": true });
        let targets = [target(&fast, 0), target(&slow, 1)];
        let routing = json!({ "strategy": "priority_based", "targets": targets });
        let first_fast =
            json!({ "type": "create_virtual_model", "name": "first-fast", "routing": routing });
        make(&session, 1, first_fast).await;
        let (strict, _) = make(&session, 2, policy("strict", "strict", 2, "enforce")).await;
        let (tried, _) = make(&session, 3, policy("tried-out", "loose", 1, "audit")).await;
        let mut few = policy("fast-few", "led", 1, "enforce");
        few["rule"]["when"]["models"]["in"] = json!([{ "model": fast }]);
        let (few, position) = make(&session, 4, few).await;
        let served = format!("/served?position={position}&timeout_ms=30000");
        session.get::<Value>(&served).await;

        // Two a day at most, of four: the second may have to wait until the first is known to all.
        let mut over = 0;
        for _ in 0..4 {
            match ask(&stack, "chat", "strict").await {
                200 => {}
                429 => over += 1,
                other => panic!("{other}"),
            }
        }
        assert!((2..4).contains(&over), "{over} of four are refused");
        // Whoever only audits lets all of them through.
        for _ in 0..3 {
            assert_eq!(ask(&stack, "mock/fast", "loose").await, 200);
        }
        // The second attempt at the first target is refused, and the other one answers.
        for _ in 0..3 {
            assert_eq!(ask(&stack, "first-fast", "led").await, 200);
        }
        assert_eq!(ask(&stack, "no-such-model", "none").await, 404);
        let stranger = chat_as(&stack.info, "sk-sluice-nobody", "chat", "hello").await;
        assert_eq!(stranger.expect("the gateway answers").status, 401);

        let all = wait_until("the ledger has them all", || async {
            let all = refusals(&session, "").await;
            if all.requests == 12 {
                Ok(all)
            } else {
                Err(format!("{} of 12", all.requests))
            }
        })
        .await;
        let [strict, tried, few] = [strict, tried, few].map(|id| format!("rate_limit_policy:{id}"));
        let of = |effect, by: &str, times: u64| ((effect, by.to_owned()), times);
        let expected = BTreeMap::from([
            of(RefusalEffect::Refused, &strict, over),
            of(RefusalEffect::Refused, "model_not_found", 1),
            of(RefusalEffect::Refused, "invalid_api_key", 1),
            of(RefusalEffect::Audited, &tried, 2),
            of(RefusalEffect::Diverted, &few, 2),
        ]);
        assert_eq!(counted(&all), expected, "{all:?}");
        assert_eq!((all.refused, all.audited, all.diverted), (over + 2, 2, 2));
        assert!(
            !all.more
                && all
                    .items
                    .is_sorted_by(|one, next| one.requests >= next.requests)
        );
        let item = |by: &str| all.items.iter().find(|it| it.by == by).expect("it is told");
        assert_eq!(name(item(&strict)), Some("strict"));
        assert_eq!(item(&strict).owner_name.as_deref(), Some("example-app"));
        let unknown = item("invalid_api_key");
        assert_eq!((name(unknown), &unknown.owner), (None, &None));

        by_filters(&session, &all, [&strict, &tried]).await;
        in_the_log(&session, [&strict, &tried, &few], over).await;
    });
}

/// The groups of one owner, one effect, one policy.
async fn by_filters(session: &Session, all: &Refusals, [strict, tried]: [&str; 2]) {
    let owner = all.items.iter().find_map(|it| it.owner.clone());
    let owner = owner.expect("somebody was refused");
    let hyphenated = |by: &str| {
        let (kind, id) = by.split_once(':').expect("it is a policy's");
        let id: uuid::Uuid = id.parse().expect("an id");
        format!("{kind}:{id}")
    };
    for (filter, groups, requests) in [
        (format!("&owner={owner}"), 4, 11),
        ("&effect=audited".to_owned(), 1, 12),
        (format!("&by={strict}"), 1, 12),
        (format!("&by={}", hyphenated(tried)), 1, 12),
        ("&by=invalid_api_key".to_owned(), 1, 12),
        (format!("&by={strict}&effect=audited"), 0, 12),
        ("&by=%27%20OR%201%3D1".to_owned(), 0, 12),
    ] {
        let found = refusals(session, &filter).await;
        let told = (found.items.len(), found.requests);
        assert_eq!(told, (groups, requests), "{filter}");
    }
}

/// The requests behind the groups.
async fn in_the_log(session: &Session, [strict, tried, few]: [&str; 3], over: u64) {
    for (filter, expected) in [
        (format!("&exceeded={strict}&outcome=limit_exceeded"), over),
        (format!("&exceeded={tried}&audited=true"), 2),
        ("&audited=true".to_owned(), 2),
        (format!("&exceeded={few}&audited=false"), 2),
        ("&error_code=model_not_found".to_owned(), 1),
        (format!("&exceeded={strict}&outcome=success"), 0),
    ] {
        let path = format!("/analytics/requests?{}{filter}", range());
        let page: Page<RequestItem> = session.get(&path).await;
        assert_eq!(page.items.len() as u64, expected, "{filter}");
    }
}

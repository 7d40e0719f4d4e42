//! The OpenAPI document is true: it names every route, every route answers, and each answer looks as it says.

use std::collections::{BTreeMap, BTreeSet};

use commands::auth::roles::ROUTES;
use events_schema::events::Role;
use http::Method;
use serde_json::{Value, json};

use super::schema::Schemas;
use crate::support::service::{Answer, Caller, PASSWORD, Service};

const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
];

async fn document(service: &Service) -> Value {
    let answer = service.anybody().get("/openapi.json").await;
    assert_eq!(answer.text_of("content-type"), "application/json");
    answer.json()
}

/// The document's operations by method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("a path's item").clone();
        let path = path.clone();
        item.into_iter()
            .filter(|(method, _)| {
                METHODS
                    .iter()
                    .any(|it| it.as_str().eq_ignore_ascii_case(method))
            })
            .map(move |(method, operation)| ((method.to_uppercase(), path.clone()), operation))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_exactly_the_routes_that_there_are() {
    let service = Service::start().await;
    let document = document(&service).await;
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|it| it.starts_with("3.1"))
    );
    let documented: BTreeSet<_> = operations(&document).into_keys().collect();
    let in_the_table: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, _)| (method.to_string(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, in_the_table);

    // What is not documented is not answered: neither another method nor, as others test, another path.
    let owner = service.owner().await;
    let paths: BTreeSet<_> = documented.iter().map(|(_, path)| path.clone()).collect();
    for path in paths {
        let asked = path
            .trim_start_matches("/api/v1")
            .replace("{id}", "00000000000000000000000000000000")
            .replace("{position}", "1")
            .replace("{kind}", "key");
        for method in METHODS {
            if !documented.contains(&(method.to_string(), path.clone())) {
                let answer = owner.send(method.clone(), &asked, None).await;
                answer.refuses(405, "method_not_allowed");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_described_and_every_reference_leads_somewhere() {
    let service = Service::start().await;
    let document = document(&service).await;
    let mut ids = BTreeSet::new();
    for (at, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an id").to_owned();
        assert!(ids.insert(id.clone()), "{id} is there twice");
        assert!(operation["summary"].is_string(), "{at:?} has no summary");
        for response in operation["responses"]
            .as_object()
            .expect("responses")
            .values()
        {
            assert!(
                response["description"]
                    .as_str()
                    .is_some_and(|it| !it.is_empty()),
                "{at:?}"
            );
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let described = parameter["description"]
                .as_str()
                .is_some_and(|it| !it.is_empty());
            assert!(described, "{at:?}: {parameter}");
        }
    }
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    for reference in references {
        let found = document.pointer(reference.trim_start_matches('#'));
        assert!(found.is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            into.extend(
                members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            members.values().for_each(|it| collect_references(it, into));
        }
        Value::Array(items) => items.iter().for_each(|it| collect_references(it, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One of each thing, by the path of its list.
async fn one_of_each(owner: &Caller<'_>) -> BTreeMap<&'static str, String> {
    let make = async |command: Value| owner.command(command).await.field("id");
    let account = make(json!({
        "type": "register_provider_account", "name": "openai", "provider": "openai_compatible",
        "base_url": "https://api.example/v1", "credential": "sk-upstream",
    }))
    .await;
    let model = make(json!({
        "type": "add_model", "account": account, "name": "gpt", "upstream_name": null,
        "model_types": ["chat", "embedding"],
    }))
    .await;
    let price = json!({ "input": "2500000000", "output": "10000000000", "cached_input": null });
    let priced =
        json!({ "type": "set_model_price", "model": model, "price": price, "effective_at": null });
    owner.command(priced).await;
    let target = json!({
        "model": model, "weight": 9, "fallback_status_codes": [429], "fallback_candidate": true,
    });
    let virtual_model = make(json!({
        "type": "create_virtual_model", "name": "chat", "routing": { "strategy": "weight_based", "targets": [target] },
    }))
    .await;
    let user = make(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" })).await;
    let virtual_account = make(json!({ "type": "create_virtual_account", "name": "ci" })).await;
    let key = make(json!({
        "type": "issue_key", "owner": { "user": user }, "label": "laptop",
        "expires_at": "2100-01-01T00:00:00Z",
        "limits": { "requests_per_minute": 5, "tokens_per_minute": null },
    }))
    .await;
    let policy = make(json!({
        "type": "create_rate_limit_policy", "name": "per-project", "order": 10,
        "rule": {
            "when": {
                "subjects": { "in": [{ "user": user }], "not_in": [] }, "models": { "in": [], "not_in": [] },
                "metadata": { "environment": { "in": ["production"], "not_in": [] } },
            },
            "applies_per": [{ "metadata": "project_id" }],
            "limits": [{ "unit": "tokens", "window": "hour", "limit": 50_000 }],
            "overrides": [{
                "of": [{ "metadata": { "key": "project_id", "value": "big" } }],
                "limits": [{ "unit": "tokens", "window": "hour", "limit": 500_000 }],
            }],
            "mode": "audit",
            "when_cut_off": "open",
        },
    }))
    .await;
    let team = make(json!({ "type": "create_team", "name": "backend" })).await;
    let budget = make(json!({
        "type": "create_budget_policy", "name": "per-team-monthly", "order": 10,
        "rule": {
            "when": {
                "subjects": { "in": [{ "team": team }], "not_in": [{ "user": user }] },
                "models": { "in": [{ "model": model }], "not_in": [] }, "metadata": {},
            },
            "applies_per": ["team"],
            "limits": [
                { "amount": { "cost": "5000000000000" }, "window": "month" },
                { "amount": { "tokens": 1_000_000 }, "window": "day" },
            ],
            "overrides": [{
                "of": [{ "team": team }],
                "limits": [{ "amount": { "cost": "1" }, "window": "quarter" }],
            }],
            "mode": "enforce",
            "when_cut_off": "closed",
            "alerts": [75, 90, 100],
        },
    }))
    .await;
    let member =
        json!({ "type": "add_team_member", "team": team, "user": user, "role": "manager" });
    owner.command(member).await;
    make(json!({ "type": "grant_access", "subject": { "team": team }, "models": "all" })).await;
    let grant = make(json!({
        "type": "grant_access", "subject": { "key": key },
        "models": { "listed": [{ "model": model }, { "virtual_model": virtual_model }] },
    }))
    .await;
    make(json!({ "type": "grant_access", "subject": "everyone", "models": "all" })).await;
    let token = owner
        .post("/tokens", &json!({ "label": "ci", "expires_at": null }))
        .await
        .field("id");
    BTreeMap::from([
        ("provider-accounts", account),
        ("models", model),
        ("virtual-models", virtual_model),
        ("users", user),
        ("virtual-accounts", virtual_account),
        ("teams", team),
        ("rate-limit-policies", policy),
        ("budget-policies", budget),
        ("keys", key),
        ("grants", grant),
        (
            "operators",
            owner.get("/sessions/current").await.field("operator"),
        ),
        ("tokens", token),
        // The ledger is away in these tests; what it answers is looked at end to end.
        ("analytics", "0".repeat(32)),
    ])
}

/// What a route is asked with: a query, or a body.
fn question(method: &str, path: &str) -> (&'static str, Option<Value>) {
    const RANGE: &str = "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
    match (method, path) {
        ("POST", "/sessions") => (
            "",
            Some(json!({ "email": "second@example.com", "password": PASSWORD })),
        ),
        ("POST", "/tokens") => ("", Some(json!({ "label": "another", "expires_at": null }))),
        ("POST", "/commands") => (
            "",
            Some(json!({
                "why": "a test",
                "command": { "type": "issue_key", "owner": { "user": "USER" }, "label": "a", "expires_at": null },
            })),
        ),
        ("POST", "/apply") => (
            "",
            Some(json!({ "document": "sluice: v1\nvirtual_accounts:\n  - name: applied\n" })),
        ),
        ("POST", "/playground/chat/completions") => {
            ("", Some(json!({ "model": "chat", "messages": [] })))
        }
        ("PUT", "/me/name") => ("", Some(json!({ "name": "Third" }))),
        ("PUT", "/me/password") => (
            "",
            Some(json!({ "current": PASSWORD, "new": "a better horse battery" })),
        ),
        ("GET", "/models/{id}/repricing") => (
            "?from=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z&input=1&output=2&cached_input=3",
            None,
        ),
        ("GET", "/used-by") => ("?stream=user.USER", None),
        ("GET", "/served") => ("?position=1&timeout_ms=0", None),
        ("GET", "/analytics/summary" | "/analytics/refusals" | "/analytics/requests") => {
            (RANGE, None)
        }
        ("GET", "/analytics/series") => (
            "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step_seconds=3600",
            None,
        ),
        _ => ("", None),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_as_the_document_says() {
    let service = Service::start_with_nats().await;
    let document = document(&service).await;
    service
        .add_operator("second@example.com", Role::Owner)
        .await;
    service
        .add_operator("third@example.com", Role::Viewer)
        .await;
    let owner = service.owner().await;
    let things = one_of_each(&owner).await;
    let operations = operations(&document);
    // What ends sessions and things comes last.
    let (last, first): (Vec<_>, Vec<_>) = operations
        .iter()
        .partition(|((method, _), _)| method == "DELETE");
    for ((method, path), operation) in first.into_iter().chain(last) {
        let short = path.trim_start_matches("/api/v1");
        let (query, mut body) = question(method, short);
        if let Some(key) = body
            .as_mut()
            .and_then(|it| it.pointer_mut("/command/owner/user"))
        {
            *key = json!(things["users"]);
        }
        let what = short
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        // Whoever ends sessions or changes a password needs none afterwards.
        let caller = match (method.as_str(), what) {
            ("PUT", "me") => service.sign_in("third@example.com", PASSWORD).await,
            (_, "sessions") => service.sign_in("second@example.com", PASSWORD).await,
            _ => owner.clone(),
        };
        let id = match what {
            "sessions" => caller.get("/sessions").await.json()[0]["id"]
                .as_str()
                .map(str::to_owned),
            it => things.get(it).cloned(),
        };
        let asked = short
            .replace("{id}", &id.unwrap_or_default())
            .replace("{position}", "3")
            .replace("{kind}", "virtual_model");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        if short.ends_with("/events/live") {
            let response = caller.open(method, &asked, "", None).await;
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            continue;
        }
        let query = query.replace("USER", &things["users"]);
        let answer = caller
            .send(method, &format!("{asked}{query}"), body.as_ref())
            .await;
        is_as_documented(&document, operation, &answer, path);
        let away = ["/analytics", "/playground"]
            .iter()
            .any(|it| short.starts_with(it))
            || short.ends_with("/repricing");
        assert!(answer.status.is_success() || away, "{path}: {answer:?}");
    }
}

/// Whether status, media type and body are in the document.
fn is_as_documented(document: &Value, operation: &Value, answer: &Answer, path: &str) {
    let status = answer.status.as_str();
    let response = &operation["responses"][status];
    assert!(
        response.is_object(),
        "{path}: {status} is not documented: {answer:?}"
    );
    if answer.body.is_empty() {
        assert!(
            response["content"].is_null(),
            "{path}: a body is documented for {status}"
        );
        return;
    }
    let media_type = answer.text_of("content-type");
    let content = &response["content"][&media_type];
    assert!(
        content.is_object(),
        "{path}: {media_type} is not documented for {status}: {response}"
    );
    let body = if media_type == "application/yaml" {
        let text = String::from_utf8(answer.body.to_vec()).expect("text");
        serde_saphyr::from_str(&text).expect("YAML")
    } else {
        answer.json()
    };
    let faults = Schemas::of(document).faults(&content["schema"], &body, path);
    assert!(faults.is_empty(), "{path}: {faults:#?}");
}

/// The bodies of commands are documented one by one.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_documented_and_its_example_is_taken() {
    let service = Service::start().await;
    let document = document(&service).await;
    let operation = &document["paths"]["/api/v1/commands"]["post"];
    let content = &operation["requestBody"]["content"]["application/json"];
    let schemas = Schemas::of(&document);
    let check = |body: &Value| schemas.faults(&content["schema"], body, "body");
    assert_eq!(check(&content["example"]), Vec::<String>::new());
    let commands = document["components"]["schemas"]["NewCommand"]["oneOf"].as_array();
    let commands = commands.expect("one of the commands");
    let types: BTreeSet<_> = commands
        .iter()
        .filter_map(|it| it["properties"]["type"]["enum"][0].as_str())
        .collect();
    assert!(
        types.len() == commands.len() && types.contains("revoke_key"),
        "{types:?}"
    );
    let owner = service.owner().await;
    // The example's account does not exist here, which is all that is wrong with it.
    let answer = owner.post("/commands", &content["example"]).await;
    answer.refuses_at(422, "missing_reference", "owner");
}

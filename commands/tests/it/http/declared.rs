//! `POST /apply` and `GET /export`: one document, one difference, all of it or nothing.

use events_schema::events::Role;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    eventually,
    service::{Answer, Caller, PASSWORD, Service},
};

/// Something of everything.
const DOCUMENT: &str = r#"sluice: v1
settings:
  organisation: Acme
  retention:
    requests_days: 90
    sums_days: 365
  console_sessions:
    idle_minutes: 60
    longest_hours: 24
provider_accounts:
  - name: openai
    provider: openai
    base_url: https://api.openai.com/v1
    credential: sk-very-secret
  - name: local
    provider: openai_compatible
    base_url: http://127.0.0.1:9000/v1
    disabled: true
models:
  - name: openai/gpt-5
    types: [chat]
    prices:
      - from: 2026-01-01T00:00:00Z
        input: 2.50
        output: 10
        cached_input: 0.25
  - name: local/small
    upstream_name: small-7b
    types: [chat, embedding]
virtual_models:
  - name: chat
    targets:
      - model: openai/gpt-5
        weight: 90
        fallback_status_codes: [429, 500]
      - model: local/small
        weight: 10
        fallback_candidate: false
  - name: routed
    strategy: priority_based
    targets:
      - model: openai/gpt-5
        priority: 0
        retry:
          attempts: 2
          delay_ms: 250
          on_status_codes: [429, 503]
        sla_cutoff:
          time_to_first_token_ms: 800
          time_per_output_token_ms: 50
        override_params:
          temperature: 0.5
          stop: [x, z]
        headers_override:
          set:
            x-region: us-east-1
          remove: [x-internal-debug]
        metadata_match:
          tier: gold
      - model: local/small
        priority: 1
    sticky:
      ttl_seconds: 3600
      session_identifiers:
        - source: headers
          key: x-user-id
    deadline_ms: 20000
    hedge_after_ms: 1500
users:
  - email: ada@example.com
    name: Ada Lovelace
  - email: bob@example.com
    name: Bob
    disabled: true
teams:
  - name: research
    members:
      - user: ada@example.com
        role: manager
      - user: bob@example.com
        role: member
virtual_accounts:
  - name: billing
keys:
  - owner:
      virtual_account: billing
    label: production
    limits:
      requests_per_minute: 600
      tokens_per_minute: null
  - owner:
      user: ada@example.com
    label: laptop
    expires_at: 2099-01-01T00:00:00Z
grants:
  - to:
      user: ada@example.com
    models: all
  - to:
      team: research
    models:
      listed:
        - model: local/small
  - to:
      key:
        owner:
          virtual_account: billing
        label: production
    models:
      listed:
        - virtual_model: chat
        - provider_account: local
rate_limit_policies:
  - name: research-tokens
    order: 10
    when:
      subjects:
        in: [{team: research}, {user: ada@example.com}]
      models:
        in: [{virtual_model: chat}]
        not_in: [{provider_account: local}]
      metadata:
        environment: {in: [production]}
    applies_per: [user, {metadata: project}]
    limits:
      - {unit: tokens, window: day, limit: 1000000}
      - {unit: requests, window: minute, limit: 60}
    overrides:
      - of: [{user: ada@example.com}, {metadata: {key: project, value: big}}]
        limits: [{unit: tokens, window: day, limit: 7000000}]
  - name: everybody
    order: 20
    applies_per: [key]
    limits: [{unit: requests, window: minute, limit: 500}, {unit: requests, window: at_a_time, limit: 40}]
    mode: audit
    when_cut_off: open
budget_policies:
  - name: research-monthly
    order: 10
    when:
      subjects:
        in: [{team: research}]
    applies_per: [team]
    limits:
      - {cost: 2500.50, window: month}
      - {tokens: 1000000, window: day}
    overrides:
      - of: [{team: research}]
        limits: [{cost: "4000", window: month}]
    when_cut_off: closed
    alerts: [75, 100]
operators:
  - email: auditor@example.com
    name: The Auditor
    role: auditor
"#;

pub(super) async fn apply(caller: &Caller<'_>, document: &str) -> Answer {
    let body = json!({ "document": document, "why": "as it should be" });
    caller.post("/apply", &body).await
}

pub(super) fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let changes = answer.json()["changes"].clone();
    let name = |it: &Value| {
        let text = |field: &str| it[field].as_str().expect("text").to_owned();
        [text("action"), text("what"), text("name")].join(" ")
    };
    changes
        .as_array()
        .expect("a list")
        .iter()
        .map(name)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_applied_once_and_changes_nothing_the_second_time() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let before = service.control.head().position;
    let dry = owner
        .post("/apply", &json!({ "document": DOCUMENT, "dry_run": true }))
        .await;
    assert_eq!(
        (dry.position(), &dry.json()["events"]),
        (before, &json!([]))
    );
    assert_eq!(dry.json()["secrets"], json!([]));
    assert_eq!(service.control.head().position, before, "nothing was done");

    let done = apply(&owner, DOCUMENT).await;
    assert_eq!(names(&done), names(&dry), "what was announced was done");
    assert_eq!(
        names(&done),
        [
            "change settings of the organisation",
            "create provider account openai",
            "create provider account local",
            "create model openai/gpt-5",
            "create model local/small",
            "create virtual model chat",
            "create virtual model routed",
            "create user ada@example.com",
            "create user bob@example.com",
            "create team research",
            "create virtual account billing",
            "create key billing: production",
            "create key ada@example.com: laptop",
            "create grant ada@example.com",
            "create grant research",
            "create grant billing: production",
            "create rate-limit policy research-tokens",
            "create rate-limit policy everybody",
            "create budget policy research-monthly",
            "create operator auditor@example.com",
        ]
    );
    let events = done.json()["events"].as_array().expect("a list").len() as u64;
    assert_eq!(done.position(), before + events);
    // One undertaking: every event has the same cause.
    let history = owner.get(&format!("/events?limit={events}")).await.json();
    let causes: std::collections::BTreeSet<_> = history["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["command_id"].to_string())
        .collect();
    assert_eq!(causes.len(), 1);

    // The secrets work: the key is found by its hash, the operator signs in.
    let secrets = done.json()["secrets"].clone();
    let secret = |name: &str| {
        let all = secrets.as_array().expect("a list");
        let found = all.iter().find(|it| it["name"] == name).expect("made");
        found["secret"].as_str().expect("text").to_owned()
    };
    let key = commands::secrets::SecretText::shown(&secret("billing: production"));
    let hash = service.app.secrets().api_key_hash(&key);
    assert!(service.control.state().key_by_hash(&hash).is_some());
    let password = secret("auditor@example.com");
    service.sign_in("auditor@example.com", &password).await;

    let again = apply(&owner, DOCUMENT).await;
    assert_eq!(names(&again), Vec::<String>::new());
    assert_eq!(service.control.head().position, done.position());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_changed_and_told_before_and_after() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let changed = DOCUMENT
        .replace("requests_per_minute: 600", "requests_per_minute: 60")
        .replace("weight: 90", "weight: 50")
        .replace("deadline_ms: 20000", "deadline_ms: 30000")
        .replace("temperature: 0.5", "temperature: 0.7")
        .replace("    disabled: true\nmodels", "models")
        .replace("input: 2.50", "input: 3.00")
        .replace("        - provider_account: local\n", "")
        .replace("      - user: bob@example.com\n        role: member\n", "")
        .replace("limit: 500", "limit: 50")
        .replace("sums_days: 365", "sums_days: 400")
        .replace("name: Bob", "name: Robert")
        .replace("name: The Auditor", "name: Eve")
        .replace("role: auditor", "role: viewer");
    let done = apply(&owner, &changed).await;
    assert_eq!(
        names(&done),
        [
            "change settings of the organisation",
            "change provider account local",
            "change model openai/gpt-5",
            "change virtual model chat",
            "change virtual model routed",
            "change user bob@example.com",
            "change team research",
            "change key billing: production",
            "change grant billing: production",
            "change rate-limit policy everybody",
            "change operator auditor@example.com",
        ]
    );
    let changes = done.json()["changes"].clone();
    assert_eq!(
        changes[0]["fields"],
        json!([{
            "field": "retention",
            "before": "requests 90 days, sums by the minute 365 days",
            "after": "requests 90 days, sums by the minute 400 days"
        }])
    );
    assert_eq!(
        changes[5]["fields"],
        json!([{ "field": "name", "before": "Bob", "after": "Robert" }])
    );
    assert_eq!(
        changes[6]["fields"],
        json!([{ "field": "member bob@example.com", "before": "member", "after": null }])
    );
    assert_eq!(
        changes[7]["fields"],
        json!([{ "field": "limits", "before": "600 requests a minute", "after": "60 requests a minute" }])
    );
    assert_eq!(
        changes[4]["fields"][1],
        json!({ "field": "deadline_ms", "before": "20000", "after": "30000" })
    );
    let targets = changes[4]["fields"][0]["after"].as_str().expect("text");
    assert!(
        targets
            .starts_with("openai/gpt-5 (priority 0, tried again 2 times after 250 ms on 429 503, ")
            && targets.contains(r#"with {"stop":["x","z"],"temperature":0.7}"#)
            && targets.ends_with("only where tier=gold), local/small (priority 1)"),
        "{targets}"
    );
    assert_eq!(
        changes[2]["fields"][0]["before"],
        "$2.50 in, $10.00 out, $0.25 cached per million tokens"
    );
    assert_eq!(done.json()["events"].as_array().expect("a list").len(), 12);
    let export = owner.get("/export").await;
    let export = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(
        export.contains("name: Robert") && export.contains("name: Eve"),
        "{export}"
    );
    assert_eq!(names(&apply(&owner, &changed).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mistake_and_nothing_is_done() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let before = service.control.head().position;
    let check = async |document: &str, line: u64, field: Option<&str>, message: &str| {
        for dry_run in [true, false] {
            let body = json!({ "document": document, "dry_run": dry_run });
            let answer = owner.post("/apply", &body).await;
            answer.refuses(422, "bad_document");
            let fault = answer.json()["faults"][0].clone();
            assert_eq!(fault["line"], line, "{fault}");
            assert_eq!(fault["field"].as_str(), field, "{fault}");
            let said = fault["message"].as_str().expect("text");
            assert!(said.contains(message), "{said}");
        }
        assert_eq!(service.control.head().position, before);
    };
    check("sluice: v1\nmodels: {", 2, None, "").await;
    let unknown = DOCUMENT.replace("model: openai/gpt-5\n", "model: openai/gpt-6\n");
    check(
        &unknown,
        33,
        Some("virtual_models[0].targets"),
        "no model 'openai/gpt-6'",
    )
    .await;
    let money = DOCUMENT.replace("input: 2.50", "input: 2,50");
    check(
        &money,
        23,
        Some("models[0].prices"),
        "'2,50': an amount of dollars",
    )
    .await;
    // What only the rules can know, in the last section of all.
    let weights = "sluice: v1\nprovider_accounts:\n- {name: a, provider: openai, base_url: 'http://a'}\nmodels:\n- {name: a/m, types: [chat]}\nvirtual_models:\n- name: v\n  targets:\n  - {model: a/m, weight: 0}\n";
    check(
        weights,
        7,
        Some("virtual_models[0]"),
        "At least one target needs a weight",
    )
    .await;
    let settings =
        "sluice: v1\nsettings:\n  retention:\n    requests_days: 400\n    sums_days: 30\n";
    check(
        settings,
        4,
        Some("settings.retention"),
        "at least as long as the request records",
    )
    .await;
    let twice = "sluice: v1\nvirtual_accounts:\n- name: a\n- name: a\n";
    check(twice, 4, Some("virtual_accounts[1].name"), "twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_that_was_looked_at_is_what_is_done() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let document = "sluice: v1\nvirtual_accounts:\n  - name: ci\n";
    let dry = owner
        .post("/apply", &json!({ "document": document, "dry_run": true }))
        .await;
    let command = json!({ "type": "create_virtual_account", "name": "meanwhile" });
    owner.command(command).await;
    let body = json!({ "document": document, "position": dry.position() });
    owner.post("/apply", &body).await.refuses(409, "moved");
    let body = json!({ "document": document, "position": service.control.head().position });
    assert_eq!(owner.post("/apply", &body).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_deletes_what_sections_do_not_name_and_leaves_the_others() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let body = json!({ "prune": true, "document": "sluice: v1\nrate_limit_policies: []\nbudget_policies: []\nvirtual_models: []\nkeys: []\ngrants:\n  - to: everyone\n    models: all\n" });
    let done = owner.post("/apply", &body).await;
    assert_eq!(
        names(&done),
        [
            "create grant everyone",
            "delete rate-limit policy everybody",
            "delete rate-limit policy research-tokens",
            "delete budget policy research-monthly",
            "delete grant ada@example.com",
            "delete grant billing: production",
            "delete grant research",
            "delete key ada@example.com: laptop",
            "delete key billing: production",
            "delete virtual model chat",
            "delete virtual model routed",
        ]
    );
    let state = service.control.state();
    assert_eq!((state.models().len(), state.users().len()), (2, 2));
    // What is still used by something else is refused with all the rest.
    let body = json!({ "prune": true, "document": "sluice: v1\nprovider_accounts: []\n" });
    owner.post("/apply", &body).await.refuses(409, "still_used");
    let body = json!({ "prune": true, "document": "sluice: v1\nrate_limit_policies: []\nteams: []\nusers: []\nmodels: []\nprovider_accounts: []\nvirtual_accounts: []\n" });
    assert_eq!(names(&owner.post("/apply", &body).await).len(), 8);
    assert_eq!(service.control.state().provider_accounts().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_document_does_not_name_stay_and_pruning_takes_only_the_name() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let document = "sluice: v1\nsettings:\n  retention: {requests_days: 90, sums_days: 90}\n";
    apply(&owner, document).await;
    let now = service.control.state().settings().clone();
    assert_eq!(
        now.organisation.as_ref().map(|it| it.as_str()),
        Some("Acme")
    );
    assert_eq!(
        (now.retention.sums_days, now.sessions.idle_minutes),
        (90, 60)
    );
    let body = json!({ "prune": true, "document": document });
    let done = owner.post("/apply", &body).await;
    let fields = done.json()["changes"][0]["fields"].clone();
    assert_eq!(
        fields,
        json!([{ "field": "organisation", "before": "Acme", "after": null }])
    );
    let now = service.control.state().settings().clone();
    assert_eq!(
        (now.retention.sums_days, now.sessions.idle_minutes),
        (90, 60)
    );
    // A document without the section says nothing of it.
    let body = json!({ "prune": true, "document": "sluice: v1\n" });
    assert_eq!(
        names(&owner.post("/apply", &body).await),
        Vec::<String>::new()
    );
}

/// The state with everything blanked that two deployments cannot have in common: ids, times, positions, and references to
/// sealed secrets.
fn without_ids_and_times(service: &Service) -> Value {
    let state = service.control.state();
    let mut checkpoint = serde_json::to_value(&state).expect("JSON");
    blank(&mut checkpoint);
    checkpoint
}

fn blank(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for own in [
                "life",
                "position",
                "epoch",
                "log_version",
                "gone",
                "since",
                "own_position",
                "memberships_at",
                "credential",
            ] {
                members.remove(own);
            }
            members.values_mut().for_each(blank);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(blank);
            // Things stand in the order of their ids.
            items.sort_by_key(ToString::to_string);
        }
        Value::String(text)
            if text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit()) =>
        {
            "id".clone_into(text);
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_applied_elsewhere_gives_the_same_configuration() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let export = owner.get("/export?key_hashes=true").await;
    assert_eq!(export.text_of("content-type"), "application/yaml");
    let document = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(!document.contains("sk-very-secret"), "{document}");

    let elsewhere = Service::start().await;
    let other_owner = elsewhere.owner().await;
    let done = apply(&other_owner, &document).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    assert_eq!(
        without_ids_and_times(&elsewhere),
        without_ids_and_times(&service)
    );
    // And by what refers to what.
    let again = other_owner.get("/export?key_hashes=true").await;
    assert_eq!(again.body, export.body);
    assert_eq!(
        names(&apply(&other_owner, &document).await),
        Vec::<String>::new()
    );
    // Without the hashes, keys get new secrets.
    let without = owner.get("/export").await;
    let text = String::from_utf8(without.body.to_vec()).expect("text");
    assert!(!text.contains("hash"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_bound_what_a_document_may_change() {
    let service = Service::start().await;
    service.add_operator("op@example.com", Role::Operator).await;
    service.add_operator("eve@example.com", Role::Auditor).await;
    let operator = service.sign_in("op@example.com", PASSWORD).await;
    apply(&operator, DOCUMENT).await.refuses(403, "forbidden");
    let without = DOCUMENT.split("operators:").next().expect("a beginning");
    apply(&operator, without).await.refuses(403, "forbidden");
    let (_, rest) = without.split_once("provider_accounts:").expect("a section");
    let without = &format!("sluice: v1\nprovider_accounts:{rest}");
    assert_eq!(apply(&operator, without).await.status, StatusCode::OK);
    operator
        .get("/export?key_hashes=true")
        .await
        .refuses(403, "forbidden");
    let auditor = service.sign_in("eve@example.com", PASSWORD).await;
    apply(&auditor, without).await.refuses(403, "forbidden");
    assert_eq!(auditor.get("/export").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_gives_the_same_answer_without_the_secrets() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let body = json!({ "document": DOCUMENT, "command_id": commands::fresh::id::<()>() });
    let first = owner.post("/apply", &body).await;
    let again = owner.post("/apply", &body).await;
    assert_eq!(again.json()["events"], first.json()["events"]);
    assert_eq!(again.json()["secrets"], json!([]));
    assert_eq!(service.control.head().position, first.position());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_was_erased_keeps_what_no_document_can_name() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let users = owner.get("/users").await.json();
    let all = users["items"].as_array().expect("a list");
    let ada = all.iter().find(|it| it["email"] == "ada@example.com");
    let ada = &ada.expect("she is there")["id"];
    owner
        .command(json!({ "type": "erase_user", "user": ada }))
        .await;
    let export = owner.get("/export").await;
    let document = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(!document.contains("ada@"), "{document}");
    for prune in [false, true] {
        let body = json!({ "document": document, "prune": prune });
        let answer = owner.post("/apply", &body).await;
        assert_eq!(names(&answer), Vec::<String>::new(), "prune: {prune}");
    }
    assert_eq!(service.control.state().keys().len(), 2);
}

/// What a version without the rule on labels would have appended: a second key like the one of the event at `position`.
async fn a_former_version_issues_it_again(service: &Service, position: u64, expires_at: Value) {
    let read = async |position| {
        let event = service.control.event(position).await.expect("it is read");
        event.expect("it is there")
    };
    let last = read(service.control.head().position).await;
    let mut row = read(position).await;
    let mut payload: Value = serde_json::from_str(&row.payload).expect("JSON");
    payload["hash"]["hash"] = json!("ab".repeat(32));
    payload["hint"] = json!("twin");
    payload["expires_at"] = expires_at;
    row.payload = payload.to_string();
    row.stream = events_schema::events::Stream::Key(commands::fresh::id());
    row.event_id = commands::fresh::id();
    (row.position, row.prev_hash, row.recorded_at) =
        (last.position + 1, last.hash, last.recorded_at);
    row.hash = row.computed_hash();
    let position = i64::try_from(row.position).expect("a short log");
    let mut connection = service.postgres.connect("sluice_service").await;
    sqlx::query(
        "WITH row AS (INSERT INTO events (position, event_id, stream, stream_version, kind, schema_version, recorded_at,
             actor, cause, correlation, why, payload, prev_hash, hash)
             VALUES ($1, $2, $3, 1, $4, 1, 'epoch'::timestamptz + $5 * interval '1 microsecond', $6, $7, $8, $9, $10, $11, $12)
             RETURNING position, hash, recorded_at)
         UPDATE log_head SET position = row.position, hash = row.hash, recorded_at = row.recorded_at FROM row",
    )
    .bind(position)
    .bind(row.event_id.uuid())
    .bind(row.stream.to_string())
    .bind(&row.kind)
    .bind(row.recorded_at.micros())
    .bind(row.actor.to_string())
    .bind(row.cause.uuid())
    .bind(row.correlation)
    .bind(&row.why)
    .bind(&row.payload)
    .bind(row.prev_hash.to_vec())
    .bind(row.hash.to_vec())
    .execute(&mut connection)
    .await
    .expect("the log takes it");
    sqlx::query("SELECT pg_notify('sluice_log', $1)")
        .bind(position.to_string())
        .execute(&mut connection)
        .await
        .expect("a word to the others");
    eventually("the service has followed", || async {
        service.control.head().position == row.position
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_which_keys_share_a_label_loads_and_an_export_says_which_need_another() {
    let service = Service::start().await;
    let owner = service.owner().await;
    apply(&owner, DOCUMENT).await;
    let keys = owner.get("/keys?search=production").await.json();
    let first = keys["items"][0].clone();
    let position = first["life"]["position"].as_u64().expect("a position");
    a_former_version_issues_it_again(&service, position, Value::Null).await;
    let keys = owner.get("/keys?search=production").await.json();
    assert_eq!(keys["items"].as_array().expect("a list").len(), 2);

    let refused = owner.get("/export").await;
    refused.refuses(409, "shared_labels");
    let said = refused.json()["detail"].as_str().expect("text").to_owned();
    for part in [
        "'billing: production'",
        "twin",
        first["hint"].as_str().expect("text"),
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("laptop"), "{said}");
    // What the document says of that key would be said of both.
    let answer = apply(&owner, DOCUMENT).await;
    answer.refuses(422, "bad_document");
    // One is called otherwise, and both are known again.
    let twin = owner.get("/keys?search=twin").await.json()["items"][0]["id"].clone();
    let relabel = |label: &str| json!({ "type": "relabel_key", "key": twin, "label": label });
    let taken = owner.try_command(relabel("laptop")).await;
    assert_eq!(taken.status, StatusCode::OK, "that one is another owner's");
    let taken = owner.try_command(relabel("production")).await;
    taken.refuses_at(409, "label_taken", "label");
    let export = owner.get("/export?key_hashes=true").await;
    let document = String::from_utf8(export.body.to_vec()).expect("text");
    assert_eq!(names(&apply(&owner, &document).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_keeps_its_label_and_stands_in_no_document_and_neither_do_its_grants() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let soon = commands::clock::now().plus_micros(1_500_000);
    let document = format!(
        "sluice: v1\nvirtual_accounts:\n- name: ci\nkeys:\n- {{owner: {{virtual_account: ci}}, label: night, expires_at: {soon}}}\ngrants:\n- to: {{key: {{owner: {{virtual_account: ci}}, label: night}}}}\n  models: all\n"
    );
    assert_eq!(names(&apply(&owner, &document).await).len(), 3);
    let key = owner.get("/keys").await.json()["items"][0]["owner"].clone();
    let again = json!({ "type": "issue_key", "owner": key, "label": "night", "expires_at": null });
    eventually("the key expires", || async {
        let refused = owner.try_command(again.clone()).await;
        refused.refuses_at(409, "label_taken", "label");
        let said = refused.json()["detail"].as_str().expect("text").to_owned();
        said.contains("expired")
    })
    .await;
    let export = owner.get("/export").await;
    let export = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(!export.contains("night"), "{export}");
    let elsewhere = Service::start().await;
    let there = elsewhere.owner().await;
    assert_eq!(apply(&there, &export).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_as_a_document_says_and_stay_as_they_are_where_it_says_nothing() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let document = |said: &str| {
        format!(
            "sluice: v1\nprovider_accounts:\n- {{name: own, provider: openai_compatible, \
             base_url: 'http://10.0.0.7/v1'{said}}}\n"
        )
    };
    let check = async |said: &str, fields: Value, allows: bool| {
        let done = apply(&owner, &document(said)).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
        let changes = done.json()["changes"].clone();
        let changed = changes[0]["fields"].as_array().into_iter().flatten();
        let changed: Vec<_> = changed
            .filter(|it| it["field"] == "allows_private_addresses")
            .collect();
        assert_eq!(json!(changed), fields, "{said}");
        let export = owner.get("/export").await;
        let export = String::from_utf8(export.body.to_vec()).expect("text");
        let exported = format!("allows_private_addresses: {allows}");
        assert!(export.contains(&exported), "{export}");
        let items = owner.get("/provider-accounts").await.json()["items"].clone();
        assert_eq!(items[0]["allows_private_addresses"], json!(allows));
    };
    let changes = |before: &str, after: &str| json!([{ "field": "allows_private_addresses", "before": before, "after": after }]);
    check("", json!([]), false).await;
    let (yes, no) = (
        ", allows_private_addresses: true",
        ", allows_private_addresses: false",
    );
    check(yes, changes("false", "true"), true).await;
    check("", json!([]), true).await;
    check(no, changes("true", "false"), false).await;
    check(no, json!([]), false).await;
}

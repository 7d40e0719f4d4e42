//! Rate limits in the format of other gateways: each rule is a policy, which applies to the requests that the document says; and
//! policies, written in that format, are the same again.

use events_schema::{
    events::{LimitMode, LimitSegment, LimitUnit, LimitWhenCutOff, LimitWindow, RateLimit},
    state::RateLimitPolicy,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    changes_nothing, faults, file,
    people::{ADA, BOB, CI, EVE, NIGHTLY, OWN, taken, warnings, whose, with_people},
};
use crate::{
    http::declared::{apply, names},
    support::{
        served::{Applies, AtGateways},
        service::{Caller, Service},
    },
};

/// A rule as that format's users write it.
const RATE_LIMITS: &str = include_str!("rate-limits.yaml");

/// A document with these rules.
fn config(rules: &str) -> String {
    format!("name: limits\ntype: gateway-rate-limiting-config\nrules:\n{rules}")
}

fn policy(service: &Service, name: &str) -> RateLimitPolicy {
    let state = service.control.state();
    let found = state.rate_limit_policy_named(&name.parse().expect("a name"));
    found.unwrap_or_else(|| panic!("no '{name}'")).clone()
}

/// The policies with their numbers, in the order in which they apply.
fn in_order(service: &Service) -> Vec<(String, u32)> {
    let state = service.control.state();
    let mut policies: Vec<_> = state.rate_limit_policies().values().collect();
    policies.sort_by_key(|it| (it.order, it.life.created_at, it.id));
    let told = policies.iter().map(|it| (it.name.to_string(), it.order));
    told.collect()
}

/// Which policy applies to a request, as gateways see it.
fn applies(
    service: &Service,
    who: &str,
    model: &str,
    metadata: &[(&str, &str)],
) -> Option<Applies> {
    AtGateways::of(&service.control.state()).limited(whose(service, who), model, metadata)
}

/// Its name.
fn named(applies: Option<Applies>) -> Option<String> {
    applies.map(|it| it.policy)
}

async fn exported(owner: &Caller<'_>) -> String {
    taken(owner, "gateway-rate-limiting-config").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_of_the_format_limits_those_whom_it_names_each_project_by_itself() {
    let service = Service::start().await;
    let owner = service.owner().await;
    // The rule stands before those whom it names: the order of documents is nothing.
    let document = file(&[RATE_LIMITS, OWN]);
    let body = json!({ "document": document, "dry_run": true });
    let dry = owner.post("/apply", &body).await;
    assert_eq!(service.control.state().rate_limit_policies().len(), 0);
    let done = apply(&owner, &document).await;
    assert_eq!(names(&done), names(&dry));
    let changes = done.json()["changes"].clone();
    let made = changes.as_array().and_then(|it| it.last());
    assert_eq!(
        made,
        Some(
            &json!({ "action": "create", "what": "rate-limit policy", "name": "per-project-hourly", "fields": [
            { "field": "order", "before": null, "after": "10" },
            { "field": "limits", "before": null, "after": "50000 tokens an hour" },
            { "field": "subjects", "before": null, "after": "backend, bob@example.com, ci" },
            { "field": "models", "before": null, "after": "openai-main/gpt-4o" },
            { "field": "metadata", "before": null, "after": "environment: production" },
            { "field": "applies_per", "before": null, "after": "project_id" },
            { "field": "mode", "before": null, "after": "enforce" },
            { "field": "when_cut_off", "before": null, "after": "alone" },
        ] })
        )
    );
    let production = [("environment", "production")];
    let asks = |who, model, metadata| named(applies(&service, who, model, metadata));
    for who in [BOB, ADA, CI] {
        let applied = asks(who, "openai-main/gpt-4o", &production);
        assert_eq!(applied.as_deref(), Some("per-project-hourly"), "{who}");
    }
    assert_eq!(asks(EVE, "openai-main/gpt-4o", &production), None);
    assert_eq!(asks(NIGHTLY, "openai-main/gpt-4o", &production), None);
    assert_eq!(asks(BOB, "openai-main/small", &production), None);
    assert_eq!(asks(BOB, "openai-main/gpt-4o", &[]), None);
    let staging = [("environment", "staging")];
    assert_eq!(asks(BOB, "openai-main/gpt-4o", &staging), None);
    // Each project has 50,000 tokens, whoever asks.
    let of_project = |who, project| {
        let metadata = [("environment", "production"), ("project_id", project)];
        applies(&service, who, "openai-main/gpt-4o", &metadata).expect("it applies")
    };
    assert_eq!(of_project(BOB, "a").most, [50_000]);
    assert_eq!(of_project(BOB, "a"), of_project(CI, "a"));
    assert_ne!(of_project(BOB, "a").counters, of_project(BOB, "b").counters);

    changes_nothing(&owner, &document).await;
    changes_nothing(&owner, RATE_LIMITS).await;
    let export = exported(&owner).await;
    assert_eq!(
        export,
        "name: rate-limits
type: gateway-rate-limiting-config
rules:
- id: per-project-hourly
  when:
    subjects:
    - team:backend
    - user:bob@example.com
    - virtualaccount:ci
    models:
    - openai-main/gpt-4o
    metadata:
      environment: production
  limit_to: 50000
  unit: tokens_per_hour
  rate_limit_applies_per:
  - metadata.project_id
"
    );
    changes_nothing(&owner, &export).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_of_the_file_that_matches_applies() {
    let service = with_people().await;
    let owner = service.owner().await;
    let document = config(
        "- {id: ada, when: {subjects: ['user:ada@example.com']}, limit_to: 1, unit: requests_per_minute}
- {id: nobodys, when: {subjects: ['*'], models: ['local/llama']}, limit_to: 2, unit: requests_per_hour}
- {id: everybody, when: {}, limit_to: 3, unit: requests_per_day, rate_limit_applies_per: [key, model]}
",
    );
    apply(&owner, &document).await;
    let asks = |who, model| named(applies(&service, who, model, &[]));
    assert_eq!(asks(ADA, "local/llama").as_deref(), Some("ada"));
    assert_eq!(asks(BOB, "local/llama").as_deref(), Some("nobodys"));
    assert_eq!(asks(BOB, "chat").as_deref(), Some("everybody"));
    let rule = policy(&service, "everybody").rule;
    let per = [LimitSegment::Key, LimitSegment::Model];
    assert_eq!(rule.applies_per, per.into());
    let limit = RateLimit {
        unit: LimitUnit::Requests,
        window: LimitWindow::Day,
        limit: 3,
    };
    assert_eq!(
        (rule.limits, rule.mode),
        ([limit].into(), LimitMode::Enforce)
    );
    let numbered = |names: &[(&str, u32)]| -> Vec<_> {
        let names = names.iter();
        names
            .map(|(name, order)| ((*name).to_owned(), *order))
            .collect()
    };
    assert_eq!(
        in_order(&service),
        numbered(&[("ada", 10), ("nobodys", 20), ("everybody", 30)])
    );
    // A rule that is put between two others is all that changes.
    let more = document.replace(
        "- {id: everybody",
        "- {id: ci, when: {subjects: ['virtualaccount:ci']}, limit_to: 5, unit: tokens_per_day}\n- {id: everybody",
    );
    let done = apply(&owner, &more).await;
    assert_eq!(names(&done), ["create rate-limit policy ci"]);
    assert_eq!(
        in_order(&service),
        numbered(&[("ada", 10), ("nobodys", 20), ("ci", 25), ("everybody", 30)])
    );
    // And so is one that has moved.
    let last = more.replace("- {id: ada", "- {id: x-ada");
    let ada = "- {id: ada, when: {subjects: ['user:ada@example.com']}, limit_to: 1, unit: requests_per_minute}\n";
    let last = last.replace(&ada.replace("id: ada", "id: x-ada"), "") + ada;
    let done = apply(&owner, &last).await;
    assert_eq!(names(&done), ["change rate-limit policy ada"]);
    assert_eq!(
        done.json()["changes"][0]["fields"],
        json!([{ "field": "order", "before": "10", "after": "40" }])
    );
    // It never applies now, which is told.
    let told = "The rate-limit policy 'ada' can match no request: 'everybody' before it matches all of its.";
    assert_eq!(warnings(&done), json!([told]));
}

/// Rules of all shapes.
const ALL_SHAPES: &str = "- id: newer
  when:
    subjects: { in: ['team:backend', 'user:bob@example.com'], not_in: ['virtualaccount:ci'] }
    models: { in: [chat, 'openai-main/*'], not_in: ['openai-main/small'] }
    metadata: { tier: { in: [gold, silver], not_in: [lead] }, environment: production }
  limits: { requests_per_minute: 60, tokens_per_day: 1000000 }
  applies_to:
    type: per-user
    overrides:
    - users: ['ada@example.com', 'bob@example.com']
      limits: { requests_per_minute: 600, tokens_per_day: 7000000 }
    - users: ['eve@example.com']
      limits: { requests_per_minute: 6 }
  mode: audit
- id: not-interns
  when:
    subjects: { teams: { not_in: [interns] }, virtual_accounts: { not_in: [ci, nightly] } }
    provider_accounts: { in: [local] }
  limit_to: 18446744073709551615
  unit: tokens_per_minute
  rate_limit_applies_per: [key, metadata.project]
- id: models
  when: { models: { not_in: [chat] }, metadata: { tier: { not_in: [gold] } } }
  limit_to: 5
  unit: requests_per_hour
  applies_to:
    type: per-model
    overrides: [{ models: ['local/llama', chat], limits: { requests_per_hour: 50 } }]
- id: accounts
  when: { subjects: { virtual_accounts: { in: [ci] } } }
  limit_to: 5
  unit: requests_per_hour
  applies_to:
    type: per-virtual-account
    overrides: [{ virtual_accounts: [ci], limits: { requests_per_day: 50 } }]
- id: projects
  when: { subjects: '*', models: '*', metadata: {} }
  limit_to: 5
  unit: requests_per_hour
  applies_to:
    type: metadata
    metadata: project
    overrides:
    - metadata_values: ['a b', '7', '', 'off', 'no', 'y', 'null', '~', '1e3', '0x1F', 'true', '- a', '# b', 'a: b', ' x ', '.5',
        '1_000', '*a', '&a', '!t', '%', '@x', '`', '\"', \"it's\", \"a\\nb\\t\", '2026-01-01', '{', '[', '|', '>', '=', '<<', 'ünï']
      limits: { requests_per_day: 50 }
- id: rest
  limit_to: 5
  unit: requests_per_hour
  applies_to: { type: aggregate, overrides: [] }
  mode: enforce
";

#[tokio::test(flavor = "multi_thread")]
async fn both_shapes_are_read_and_what_they_say_holds() {
    let service = with_people().await;
    let owner = service.owner().await;
    let done = apply(&owner, &config(ALL_SHAPES)).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let gold = [("tier", "gold"), ("environment", "production")];
    let asks = |who, model, metadata| named(applies(&service, who, model, metadata));
    assert_eq!(asks(ADA, "chat", &gold).as_deref(), Some("newer"));
    assert_eq!(
        asks(BOB, "openai-main/gpt-4o", &gold).as_deref(),
        Some("newer")
    );
    assert_eq!(
        asks(BOB, "openai-main/small", &gold).as_deref(),
        Some("projects")
    );
    let lead = [("tier", "lead"), ("environment", "production")];
    assert_eq!(asks(BOB, "chat", &lead).as_deref(), Some("projects"));
    assert_eq!(
        asks(BOB, "local/llama", &[]).as_deref(),
        Some("not-interns")
    );
    assert_eq!(asks(EVE, "local/llama", &[]).as_deref(), Some("models"));
    assert_eq!(asks(CI, "chat", &[]).as_deref(), Some("accounts"));
    assert_eq!(asks(NIGHTLY, "chat", &[]).as_deref(), Some("projects"));
    // Some have other limits; the requests a minute come first.
    let most = |who, model, metadata| applies(&service, who, model, metadata).expect("one").most;
    assert_eq!(most(BOB, "chat", &gold), [600, 7_000_000]);
    assert_eq!(most(EVE, "local/llama", &[]), [50]);
    assert_eq!(most(EVE, "openai-main/small", &[]), [5]);
    assert_eq!(most(NIGHTLY, "chat", &[("project", "a b")]), [50]);
    assert_eq!(most(NIGHTLY, "chat", &[("project", "a")]), [5]);
    let newer = policy(&service, "newer").rule;
    assert_eq!((newer.mode, newer.overrides.len()), (LimitMode::Audit, 3));
    changes_nothing(&owner, &config(ALL_SHAPES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_brought_is_taken_away_again_and_is_the_same_elsewhere() {
    let service = with_people().await;
    let owner = service.owner().await;
    apply(&owner, &config(ALL_SHAPES)).await;
    let taken = exported(&owner).await;
    changes_nothing(&owner, &taken).await;
    let elsewhere = with_people().await;
    let there = elsewhere.owner().await;
    let done = apply(&there, &taken).await;
    assert_eq!(names(&done).len(), 6);
    assert_eq!(exported(&there).await, taken);
    changes_nothing(&there, &config(ALL_SHAPES)).await;
    let own = async |caller: &Caller<'_>| caller.get("/export").await.body;
    assert_eq!(own(&there).await, own(&owner).await);
    // Without policies, it says that there are none.
    let empty = with_people().await;
    let nothing = exported(&empty.owner().await).await;
    assert_eq!(
        nothing,
        "name: rate-limits\ntype: gateway-rate-limiting-config\nrules: []\n"
    );
    changes_nothing(&empty.owner().await, &nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_format_has_no_words_for_is_told_in_the_document() {
    let service = with_people().await;
    let owner = service.owner().await;
    // A virtual model in the place of a model: a name stands for the virtual one.
    let own = "sluice: v1
virtual_models:
- {name: openai-main/small, targets: [{model: openai-main/gpt-4o, weight: 1}]}
rate_limit_policies:
- {name: asleep, order: 1, disabled: true, limits: [{unit: requests, window: day, limit: 1}]}
- {name: behind, order: 2, when: {models: {in: [{model: openai-main/small}]}}, limits: [{unit: requests, window: day, limit: 2}]}
- name: pairs
  order: 3
  applies_per: [user, model]
  limits: [{unit: requests, window: day, limit: 3}]
  overrides: [{of: [{user: bob@example.com}, {model: local/llama}], limits: [{unit: requests, window: day, limit: 4}]}]
- {name: at-once, order: 4, limits: [{unit: requests, window: at_a_time, limit: 6}]}
- {name: plain, order: 5, when: {models: {in: [{virtual_model: openai-main/small}]}}, limits: [{unit: requests, window: day, limit: 5}]}
";
    apply(&owner, own).await;
    let taken = exported(&owner).await;
    let (comments, document) = taken.split_at(taken.find("name: rate-limits").expect("a name"));
    assert_eq!(
        comments,
        "# Not in this document, since the format has no words for it:
# - 'asleep': it is switched off
# - 'behind': it names the model 'openai-main/small', and not the virtual model that is called the same
# - 'pairs': it has other limits for some pairs of what has a counter of its own
# - 'at-once': it limits how many requests are under way at a time
# Applied with --prune, the document deletes policies that it does not name.
"
    );
    assert!(document.contains("- id: plain\n") && !document.contains("- id: pairs\n"));
    changes_nothing(&owner, &taken).await;
    // What is switched off stays so when the format names it.
    let named = config("- {id: asleep, when: {}, limit_to: 9, unit: requests_per_day}\n");
    let done = apply(&owner, &named).await;
    assert_eq!(names(&done), ["change rate-limit policy asleep"]);
    let asleep = policy(&service, "asleep");
    assert!(asleep.disabled && asleep.rule.limits.iter().all(|it| it.limit == 9));
    // Keys stand in no document of another format.
    let answer = owner
        .get("/export?format=gateway-rate-limiting-config&key_hashes=true")
        .await;
    answer.refuses(422, "invalid");
    owner
        .get("/export?format=xml")
        .await
        .refuses(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_does_that_is_cut_off_stays_and_is_told_in_the_document() {
    let service = with_people().await;
    let owner = service.owner().await;
    let own = "sluice: v1
rate_limit_policies:
- {name: strict, order: 7, limits: [{unit: requests, window: day, limit: 1}], when_cut_off: closed}
- {name: lax, order: 8, limits: [{unit: requests, window: hour, limit: 1}], when_cut_off: open}
- {name: usual, order: 9, limits: [{unit: requests, window: minute, limit: 1}]}
";
    assert_eq!(names(&apply(&owner, own).await).len(), 3);
    let then = |name: &str| policy(&service, name).rule.when_cut_off;
    assert_eq!(then("usual"), LimitWhenCutOff::Alone);
    let taken = exported(&owner).await;
    let told = "# Not said in this document, since the format has no words for it:
# - 'strict': a gateway that is cut off refuses its requests
# - 'lax': a gateway that is cut off lets all its requests through
";
    assert!(taken.starts_with(told), "{taken}");
    changes_nothing(&owner, &taken).await;
    let other = taken.replacen("limit_to: 1", "limit_to: 2", 1);
    let done = apply(&owner, &other).await;
    assert_eq!(names(&done), ["change rate-limit policy strict"]);
    assert_eq!(then("strict"), LimitWhenCutOff::Closed);
    assert_eq!(then("lax"), LimitWhenCutOff::Open);

    // The difference of a document of Sluice's own says it, and what it does not say is usual.
    let own = own
        .replace(", when_cut_off: closed", "")
        .replace("limit: 1}", "limit: 2}");
    let dry = json!({ "document": own, "dry_run": true });
    let changes = owner.post("/apply", &dry).await.json()["changes"].clone();
    let of_strict = json!([{ "field": "when_cut_off", "before": "closed", "after": "alone" }]);
    assert_eq!(changes[0]["fields"], of_strict, "{changes}");
    let export = owner.get("/export").await;
    let export = String::from_utf8(export.body.to_vec()).expect("text");
    assert!(export.contains("when_cut_off: closed"), "{export}");
    changes_nothing(&owner, &export).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_the_list_of_all_rate_limits_when_it_prunes() {
    let service = with_people().await;
    let owner = service.owner().await;
    let rule =
        |id: &str| format!("- {{id: {id}, when: {{}}, limit_to: 1, unit: requests_per_day}}\n");
    apply(&owner, &config(&(rule("one") + &rule("two")))).await;
    // Without pruning, what it does not name stays.
    changes_nothing(&owner, &config(&rule("two"))).await;
    let pruned = async |document: &str| {
        let body = json!({ "document": document, "prune": true });
        names(&owner.post("/apply", &body).await)
    };
    // Another format's document says nothing of rate limits.
    assert_eq!(pruned("sluice: v1\nusers: []\n").await.len(), 3);
    assert_eq!(in_order(&service).len(), 2);
    let own = "sluice: v1\nrate_limit_policies:\n- {name: three, order: 5, limits: [{unit: requests, window: day, limit: 1}]}\n";
    assert_eq!(
        pruned(&file(&[own, &config(&rule("two"))])).await,
        [
            "create rate-limit policy three",
            "delete rate-limit policy one",
        ]
    );
    assert_eq!(
        pruned(&config("").replace("rules:", "rules: []")).await,
        [
            "delete rate-limit policy three",
            "delete rate-limit policy two",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_can_match_no_request_are_told() {
    let service = with_people().await;
    let owner = service.owner().await;
    let document = config(
        "- {id: all, when: {}, limit_to: 1, unit: requests_per_day}
- {id: team, when: {subjects: ['team:backend']}, limit_to: 1, unit: requests_per_day}
- {id: target, when: {models: ['local/llama']}, limit_to: 1, unit: requests_per_day}
",
    );
    let told =
        "The rate-limit policy 'team' can match no request: 'all' before it matches all of its.";
    let body = json!({ "document": document, "dry_run": true });
    let dry = owner.post("/apply", &body).await;
    // A rule for a model is for attempts at it as well, which the first is not.
    assert_eq!(warnings(&dry), json!([told]));
    assert_eq!(warnings(&apply(&owner, &document).await), json!([told]));
    let behind = async || {
        let page = owner.get("/rate-limit-policies").await.json();
        let items = page["items"].as_array().expect("a list").clone();
        let told = items.iter().map(|it| it["unreachable_behind"].clone());
        told.collect::<Vec<_>>()
    };
    assert_eq!(behind().await, [Value::Null, json!("all"), Value::Null]);
    let id = policy(&service, "team").id;
    let one = owner.get(&format!("/rate-limit-policies/{id}")).await;
    assert_eq!(one.json()["unreachable_behind"], "all");
    // It is told for as long as it is so, whatever is applied.
    let again = apply(&owner, "sluice: v1\n").await;
    assert_eq!(warnings(&again), json!([told]));
    let off = "sluice: v1\nrate_limit_policies:\n- {name: all, order: 10, disabled: true, limits: [{unit: requests, window: day, limit: 1}]}\n";
    assert_eq!(warnings(&apply(&owner, off).await), json!([]));
    assert_eq!(behind().await, [Value::Null, Value::Null, Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_told_at_its_line_and_nothing_is_done() {
    let service = with_people().await;
    let owner = service.owner().await;
    let before = service.control.head().position;
    let check = async |document: &str, change: (&str, &str), expected: (u64, &str, &str)| {
        assert!(document.contains(change.0), "{change:?}");
        let document = document.replacen(change.0, change.1, 1);
        let found = faults(&apply(&owner, &document).await);
        let (line, field, message) = expected;
        let [(found_line, found_field, said)] = &found[..] else {
            panic!("one fault: {found:?}");
        };
        assert_eq!((*found_line, found_field.as_str()), (line, field), "{said}");
        assert!(said.contains(message), "{said}");
        assert_eq!(service.control.head().position, before);
    };
    let of_rule = |field: &str| format!("rules[0].{field}");
    for (change, (line, field, message)) in [
        (
            ("id: per-project-hourly", "id: Per Project"),
            (4, "id", "a name here has"),
        ),
        (
            ("id: per-project-hourly", "id: '{user}-hourly'"),
            (4, "id", "an id stands for one rule"),
        ),
        (
            ("    when:", "    burst: 5\n    when:"),
            (5, "burst", "`burst` is not supported"),
        ),
        (
            (
                r#"["user:bob@example.com", "#,
                r#"["user:nobody@example.com", "#,
            ),
            (6, "when.subjects[0]", "There is no user"),
        ),
        (
            (r#"["user:bob@example.com", "#, r#"["user:nobody", "#),
            (6, "when.subjects[0]", "address"),
        ),
        (
            (r#""team:backend", "#, r#""team:frontend", "#),
            (6, "when.subjects[1]", "There is no team 'frontend'"),
        ),
        (
            (r#""virtualaccount:ci"]"#, r#""virtualaccount:cd"]"#),
            (6, "when.subjects[2]", "There is no virtual account 'cd'"),
        ),
        (
            (r#""team:backend", "#, r#""group:backend", "#),
            (6, "when.subjects[1]", "'group:backend' is nobody"),
        ),
        (
            (r#""virtualaccount:ci"]"#, "7]"),
            (6, "when.subjects[2]", "a number, where a text"),
        ),
        (
            (
                r#"subjects: ["user:bob@example.com", "team:backend", "virtualaccount:ci"]"#,
                "subjects: bob",
            ),
            (6, "when.subjects", "a text, where a list"),
        ),
        (
            ("openai-main/gpt-4o", "openai-main/gpt-5"),
            (
                7,
                "when.models[0]",
                "There is no model and no virtual model 'openai-main/gpt-5'",
            ),
        ),
        (
            ("openai-main/gpt-4o", "nobody/*"),
            (7, "when.models[0]", "There is no provider account 'nobody'"),
        ),
        (
            ("models: [", "hosts: ["),
            (7, "when.hosts", "`hosts` is not supported"),
        ),
        (
            ("environment: production", "environment: 5"),
            (8, "when.metadata.environment", "A value is a text"),
        ),
        (
            ("environment: production", "environment: { like: prod }"),
            (8, "when.metadata.environment.like", "not supported"),
        ),
        (
            ("limit_to: 50000", "limit_to: 0"),
            (9, "limit_to", "at least 1"),
        ),
        (
            ("limit_to: 50000", "limit_to: 1.5"),
            (9, "limit_to", "no whole one"),
        ),
        (
            ("limit_to: 50000", "limit_to: '5'"),
            (9, "limit_to", "a text, where a number"),
        ),
        (
            ("unit: tokens_per_hour", "unit: tokens_per_month"),
            (
                10,
                "unit",
                "'tokens_per_month' is none of requests_per_minute",
            ),
        ),
        (
            ("metadata.project_id", "project_id"),
            (11, "rate_limit_applies_per[0]", "'project_id' is none of"),
        ),
        (
            (
                r#"["metadata.project_id"]"#,
                "[user, model, virtualaccount]",
            ),
            (
                11,
                "rate_limit_applies_per",
                "per two things at most, and this one per 3",
            ),
        ),
    ] {
        check(RATE_LIMITS, change, (line, &of_rule(field), message)).await;
    }
    check(
        RATE_LIMITS,
        ("    limit_to: 50000\n", ""),
        (4, "rules[0]", "`limit_to` is missing"),
    )
    .await;
    let twice = config(
        "- {id: a, when: {}, limit_to: 1, unit: requests_per_day}\n- {id: b, when: {}, limit_to: 1, unit: requests_per_day}\n",
    );
    check(
        &twice,
        ("id: b", "id: a"),
        (5, "rules[1].id", "Another rule has the id 'a'"),
    )
    .await;
    let long = format!("when: {{metadata: {{a: '{}'}}}}", "x".repeat(129));
    check(
        &twice,
        ("when: {}", &long),
        (4, "rules[0].when.metadata", "at most 128 characters"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_newer_shape_cannot_mean_is_told_at_its_line() {
    let service = with_people().await;
    let owner = service.owner().await;
    let rule = "- id: a
  when:
    subjects: { users: { in: ['bob@example.com'] } }
    models: { in: [chat] }
  limits: { requests_per_day: 5 }
  applies_to: { type: per-user, overrides: [{ users: ['bob@example.com'], limits: { requests_per_day: 6 } }] }
  mode: enforce
";
    changes_nothing_wrong(&owner, rule).await;
    let check = async |change: (&str, &str), (line, field, message): (u64, &str, &str)| {
        assert!(rule.contains(change.0), "{change:?}");
        let document = config(&rule.replacen(change.0, change.1, 1));
        let found = faults(&apply(&owner, &document).await);
        let places: Vec<_> = found
            .iter()
            .map(|(line, field, _)| (*line, field.as_str()))
            .collect();
        assert_eq!(
            places,
            [(line, format!("rules[0].{field}").as_str())],
            "{found:?}"
        );
        assert!(found[0].2.contains(message), "{found:?}");
    };
    let to = "{ type: per-user, overrides: [{ users: ['bob@example.com'], limits: { requests_per_day: 6 } }] }";
    for (change, expected) in [
        (
            ("{ users: {", "{ teams: { in: [backend] }, users: {"),
            (6, "when.subjects", "Two lists"),
        ),
        (
            (
                "{ in: [chat] }",
                "{ in: [chat] }\n    provider_accounts: { in: [local] }",
            ),
            (8, "when.provider_accounts", "Two lists"),
        ),
        (
            ("{ in: [chat] }", "{ not_in: ['*'] }"),
            (7, "when.models.not_in", "matches no request"),
        ),
        (
            ("{ users: {", "{ operator: and, users: {"),
            (6, "when.subjects.operator", "not supported"),
        ),
        (
            (
                "limits: { requests_per_day: 5 }",
                "limits: { cost_per_day: 5 }",
            ),
            (8, "limits.cost_per_day", "'cost_per_day' is none of"),
        ),
        (
            (
                "limits: { requests_per_day: 5 }",
                "limits: { requests_per_day: 5 }\n  limit_to: 5",
            ),
            (9, "limit_to", "says it already"),
        ),
        (
            (to, "{ type: per-project }"),
            (9, "applies_to.type", "'per-project' is none of"),
        ),
        (
            (to, "{ type: metadata }"),
            (9, "applies_to", "`metadata` is missing"),
        ),
        (
            (to, "{ type: per-user, metadata: a }"),
            (9, "applies_to.metadata", "belongs to `type: metadata`"),
        ),
        (
            ("type: per-user", "type: aggregate"),
            (9, "applies_to.overrides", "share one counter"),
        ),
        (
            (
                "{ users: ['bob@example.com'], l",
                "{ users: ['bob@example.com'], teams: [backend], l",
            ),
            (9, "applies_to.overrides[0].teams", "not supported"),
        ),
        (
            ("[{ users: ['bob@example.com'],", "[{"),
            (9, "applies_to.overrides[0]", "`users` is missing"),
        ),
        (
            (", limits: { requests_per_day: 6 }", ""),
            (9, "applies_to.overrides[0]", "`limits` is missing"),
        ),
        (
            (
                "users: ['bob@example.com'], l",
                "users: ['eva@example.com'], l",
            ),
            (9, "applies_to.overrides[0].users[0]", "There is no user"),
        ),
        (
            ("mode: enforce", "rate_limit_applies_per: [user]"),
            (9, "applies_to", "says it already"),
        ),
        (
            ("mode: enforce", "mode: dry"),
            (10, "mode", "'dry' is none of enforce and audit"),
        ),
    ] {
        check(change, expected).await;
    }
    let twice = to.replace(
        "}] }",
        "}, { users: ['bob@example.com'], limits: { requests_per_day: 7 } }] }",
    );
    check(
        (to, &twice),
        (
            9,
            "applies_to.overrides",
            "two other limits for one counter",
        ),
    )
    .await;
}

/// That there is nothing wrong with the rule, without doing anything.
async fn changes_nothing_wrong(owner: &Caller<'_>, rule: &str) {
    let body = json!({ "document": config(rule), "dry_run": true });
    assert_eq!(names(&owner.post("/apply", &body).await).len(), 1);
}

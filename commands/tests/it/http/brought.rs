//! Documents of the formats that users bring, applied: what they declare becomes what they say, and what Sluice has not is
//! refused at its line.

use std::collections::BTreeSet;

use events_schema::{
    events::{
        GrantedModels, HeadersOverride, ModelRef, Owner, Retry, Routing, RoutingStrategy,
        RoutingTarget, SessionIdentifier, SessionSource, SlaCutoff, StickySessions, Subject,
    },
    id::ModelId,
    state::VirtualModel,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::declared::{apply, names};
use crate::support::service::{Answer, Caller, Service};

mod again;
mod budgets;
mod limits;
mod people;

/// A rule as that format's users write it.
const LOAD_BALANCING: &str = include_str!("brought/load-balancing.yaml");

/// What else such a rule may say: priorities, and what a target may take.
const BY_PRIORITY: &str = "name: r\ntype: gateway-load-balancing-config\nrules:
- id: by-priority
  type: priority-based-routing
  when: { models: [openai/gpt-4o] }
  load_balance_targets:
  - target: azure-backup/gpt-4o
    priority: 1
    fallback_candidate: false
    retry_config: { attempts: 0 }
    fallback_status_codes: []
  - target: openai-main/gpt-4o
    priority: 0
    sla_cutoff: { time_per_output_token_ms: 50, time_to_first_token_ms: 800 }
    retry_config: { attempts: 2, on_status_codes: [503] }
    override_params: {}
    headers_override: { set: {}, remove: [] }
    metadata_match: {}
";

/// The third kind of routing, and the other source of sessions.
const BY_LATENCY: &str = "name: r\ntype: gateway-load-balancing-config\nrules:
- id: by-latency
  type: latency-based-routing
  when: { subjects: ['*'], models: [openai/gpt-4o], metadata: {} }
  sticky_routing:
    ttl_seconds: 60
    session_identifiers: [{ source: metadata, key: conversation }, { source: headers, key: x-user-id }]
  load_balance_targets:
  - target: azure-backup/gpt-4o
  - target: openai-main/gpt-4o
    metadata_match: { tier: gold }
";

/// A group of virtual models without targets, and a virtual account whose permission says nothing.
const VIRTUAL_MODELS: &str = include_str!("brought/virtual-models.yaml");

/// The accounts and models that they lead to.
const OWN: &str = "sluice: v1
provider_accounts:
  - {name: openai-main, provider: openai, base_url: 'https://api.openai.com/v1'}
  - {name: azure-backup, provider: openai_compatible, base_url: 'https://azure.example/v1'}
models:
  - {name: openai-main/gpt-4o, types: [chat]}
  - {name: openai-main/embed, types: [embedding]}
  - {name: azure-backup/gpt-4o, types: [chat, completion]}
";

/// The documents of one file.
fn file(documents: &[&str]) -> String {
    documents.join("---\n")
}

/// A service that has the accounts and models.
async fn with_models() -> Service {
    let service = Service::start().await;
    let owner = service.owner().await;
    assert_eq!(apply(&owner, OWN).await.status, StatusCode::OK);
    service
}

fn model(service: &Service, account: &str, name: &str) -> ModelId {
    let state = service.control.state();
    let account = state.provider_account_named(&account.parse().expect("a name"));
    let account = account.expect("it is there").id;
    let model = state.model_named(account, &name.parse().expect("a name"));
    model.expect("it is there").id
}

fn virtual_model(service: &Service, name: &str) -> VirtualModel {
    let state = service.control.state();
    let found = state.virtual_model_named(&name.parse().expect("a name"));
    found.unwrap_or_else(|| panic!("no '{name}'")).clone()
}

fn codes(codes: &[u16]) -> Option<BTreeSet<u16>> {
    Some(codes.iter().copied().collect())
}

async fn changes_nothing(owner: &Caller<'_>, document: &str) {
    let again = apply(owner, document).await;
    assert_eq!(names(&again), Vec::<String>::new());
    assert_eq!(again.json()["events"], json!([]));
}

/// What is wrong: each fault's line and field, and its message.
fn faults(answer: &Answer) -> Vec<(u64, String, String)> {
    answer.refuses(422, "bad_document");
    let faults = answer.json()["faults"].clone();
    let told = |it: &Value| {
        let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        let line = it["line"].as_u64().expect("a line");
        (line, text("field"), text("message"))
    };
    faults
        .as_array()
        .expect("a list")
        .iter()
        .map(told)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_becomes_a_virtual_model_of_the_name_that_it_is_for() {
    let service = Service::start().await;
    let owner = service.owner().await;
    // The rule stands before the models that it leads to: the order of documents is nothing.
    let document = file(&[LOAD_BALANCING, OWN]);
    let body = json!({ "document": document, "dry_run": true });
    let dry = owner.post("/apply", &body).await;
    assert_eq!(service.control.state().virtual_models().len(), 0);
    let done = apply(&owner, &document).await;
    assert_eq!(names(&done), names(&dry));
    assert_eq!(
        names(&done),
        [
            "create provider account openai-main",
            "create provider account azure-backup",
            "create model openai-main/gpt-4o",
            "create model openai-main/embed",
            "create model azure-backup/gpt-4o",
            "create virtual model openai/gpt-4o",
        ]
    );
    let found = virtual_model(&service, "openai/gpt-4o");
    assert!(!found.disabled);
    let Routing {
        strategy,
        targets,
        sticky,
        deadline_ms,
        hedge_after_ms,
    } = found.routing;
    assert_eq!(strategy, RoutingStrategy::WeightBased);
    assert_eq!(
        sticky,
        Some(StickySessions {
            ttl_seconds: 3600,
            session_identifiers: vec![SessionIdentifier {
                source: SessionSource::Headers,
                key: "x-user-id".parse().expect("a key"),
            }],
        })
    );
    assert_eq!((deadline_ms, hedge_after_ms), (None, None));
    let expected = RoutingTarget {
        model: model(&service, "openai-main", "gpt-4o"),
        weight: Some(70),
        priority: None,
        fallback_status_codes: codes(&[401, 403, 404, 429, 500, 502, 503]),
        fallback_candidate: true,
        retry: Some(Retry {
            attempts: 1,
            delay_ms: Some(100),
            on_status_codes: codes(&[429, 500, 502, 503]),
        }),
        sla_cutoff: None,
        override_params: Some(r#"{"temperature":0.5}"#.parse().expect("an object")),
        headers_override: Some(HeadersOverride {
            set: [(
                "x-region".parse().expect("a name"),
                "us-east-1".parse().expect("a value"),
            )]
            .into(),
            remove: ["x-internal-debug".parse().expect("a name")].into(),
        }),
        metadata_match: Some([("tier".parse().expect("a key"), "gold".to_owned())].into()),
    };
    assert_eq!(targets, [expected]);
    changes_nothing(&owner, &document).await;
    changes_nothing(&owner, LOAD_BALANCING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_says_anew_changes_the_virtual_model_that_there_is() {
    let service = with_models().await;
    let owner = service.owner().await;
    apply(&owner, LOAD_BALANCING).await;
    let before = virtual_model(&service, "openai/gpt-4o");
    let done = apply(&owner, BY_PRIORITY).await;
    assert_eq!(names(&done), ["change virtual model openai/gpt-4o"]);
    let fields = done.json()["changes"][0]["fields"].clone();
    assert_eq!(fields[0]["after"], "priority_based");
    let found = virtual_model(&service, "openai/gpt-4o");
    assert_eq!(found.id, before.id);
    let usual = |account, priority| RoutingTarget {
        weight: None,
        priority: Some(priority),
        ..RoutingTarget::weighted(model(&service, account, "gpt-4o"), 0)
    };
    let expected = Routing {
        strategy: RoutingStrategy::PriorityBased,
        targets: vec![
            RoutingTarget {
                fallback_candidate: false,
                fallback_status_codes: codes(&[]),
                ..usual("azure-backup", 1)
            },
            RoutingTarget {
                sla_cutoff: Some(SlaCutoff {
                    time_to_first_token_ms: Some(800),
                    time_per_output_token_ms: Some(50),
                }),
                retry: Some(Retry {
                    attempts: 2,
                    delay_ms: None,
                    on_status_codes: codes(&[503]),
                }),
                ..usual("openai-main", 0)
            },
        ],
        sticky: None,
        deadline_ms: None,
        hedge_after_ms: None,
    };
    assert_eq!(found.routing, expected);
    changes_nothing(&owner, BY_PRIORITY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_names_a_model_applies_and_one_that_never_does_is_told() {
    let service = with_models().await;
    let owner = service.owner().await;
    let rule = |id: &str, models: &str, target: &str| {
        format!(
            "- id: {id}\n  type: latency-based-routing\n  when: {{subjects: '*', models: {models}}}\n  load_balance_targets: [{{target: {target}}}]\n"
        )
    };
    let head = "name: r\ntype: gateway-load-balancing-config\nrules:\n";
    let first = rule(
        "first",
        "[gpt-4, default/chat, gpt-4]",
        "openai-main/gpt-4o",
    );
    let second = rule("second", "[default/chat, other]", "azure-backup/gpt-4o");
    let document = format!("{head}{first}{second}");
    let done = apply(&owner, &document).await;
    assert_eq!(
        names(&done),
        [
            "create virtual model gpt-4",
            "create virtual model default/chat",
            "create virtual model other",
        ]
    );
    let led_to = |name: &str| virtual_model(&service, name).routing.targets[0].model;
    let (main, backup) = (
        model(&service, "openai-main", "gpt-4o"),
        model(&service, "azure-backup", "gpt-4o"),
    );
    assert_eq!(led_to("gpt-4"), main);
    assert_eq!(led_to("default/chat"), main);
    assert_eq!(led_to("other"), backup);

    // Also where the earlier rules stand in another document.
    let third = rule("third", "[other, gpt-4]", "azure-backup/gpt-4o");
    let document = format!("{document}---\n{head}{third}");
    let found = faults(&apply(&owner, &document).await);
    let message = "This rule never applies: 'first' and 'second' before it has all its models. The first rule that names a model applies.";
    assert_eq!(
        found,
        [(18, "rules[0].when.models".to_owned(), message.to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_model_of_a_group_is_called_by_its_path_and_by_its_slug() {
    let service = with_models().await;
    let owner = service.owner().await;
    // As it stands, it leads nowhere, and the account is given what there is not.
    let found = faults(&apply(&owner, VIRTUAL_MODELS).await);
    let places: Vec<_> = found
        .iter()
        .map(|(line, field, _)| (*line, field.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (8, "integrations[0].routing_config.load_balance_targets"),
            (12, "permissions[0].resource_fqn"),
            (12, "permissions[0].resource_type"),
            (12, "permissions[0].role_id"),
            (14, "auto_rotate"),
        ]
    );
    let targets =
        "[{target: openai-main/gpt-4o, priority: 0}, {target: azure-backup/gpt-4o, priority: 1}]";
    let group = VIRTUAL_MODELS.split("---\n").next().expect("a group");
    let group = group.replace("[] }", &format!("{targets} }}"));
    let done = apply(&owner, &group).await;
    assert_eq!(
        names(&done),
        [
            "create virtual model my-group/chat",
            "create virtual model chat",
        ]
    );
    let path = virtual_model(&service, "my-group/chat").routing;
    assert_eq!(path, virtual_model(&service, "chat").routing);
    assert_eq!(path.strategy, RoutingStrategy::PriorityBased);
    let priorities: Vec<_> = path
        .targets
        .iter()
        .map(|it| (it.model, it.priority))
        .collect();
    assert_eq!(
        priorities,
        [
            (model(&service, "openai-main", "gpt-4o"), Some(0)),
            (model(&service, "azure-backup", "gpt-4o"), Some(1)),
        ]
    );
    changes_nothing(&owner, &group).await;
    // What it must take, each of its targets must take.
    let wider = group.replace("model_types: [chat]", "model_types: [chat, completion]");
    let found = faults(&apply(&owner, &wider).await);
    let message = "The model 'openai-main/gpt-4o' cannot be asked for completion, and the virtual model must take it.";
    let field = "integrations[0].routing_config.load_balance_targets[0].target";
    assert_eq!(found, [(8, field.to_owned(), message.to_owned())]);
}

/// A virtual account of which Sluice has all.
const ACCOUNT: &str = r#"type: virtual-account
name: billing-bot
permissions:
  - { resource_fqn: "acme:openai:openai-main", resource_type: provider-account, role_id: provider-account-access }
expiration_date: "2099-01-31"
tags: {}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_account_has_a_key_for_its_token_and_a_grant_for_its_permissions() {
    let service = with_models().await;
    let owner = service.owner().await;
    let done = apply(&owner, ACCOUNT).await;
    assert_eq!(
        names(&done),
        [
            "create virtual account billing-bot",
            "create key billing-bot: token",
            "create grant billing-bot",
        ]
    );
    assert_eq!(done.json()["secrets"][0]["name"], "billing-bot: token");
    let state = service.control.state();
    let account = state.virtual_account_named(&"billing-bot".parse().expect("a name"));
    let account = account.expect("it is there").id;
    let label = "token".parse().expect("a label");
    let keys: Vec<_> = state
        .keys_labelled(Owner::VirtualAccount(account), &label)
        .collect();
    let end = "2099-01-31T00:00:00Z".parse().expect("a time");
    assert_eq!((keys.len(), keys[0].expires_at), (1, Some(end)));
    let grants: Vec<_> = state.grants_of(Subject::VirtualAccount(account)).collect();
    let opened = state.provider_account_named(&"openai-main".parse().expect("a name"));
    let opened = ModelRef::ProviderAccount(opened.expect("it is there").id);
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].models, GrantedModels::Listed([opened].into()));
    changes_nothing(&owner, ACCOUNT).await;
    let later = ACCOUNT.replace("\"2099-01-31\"", "2099-06-30T12:00:00Z");
    let done = apply(&owner, &later).await;
    assert_eq!(names(&done), ["change key billing-bot: token"]);
    assert_eq!(done.json()["secrets"], json!([]), "it is the same key");
    // What the rules say of it is told at the date.
    let past = ACCOUNT.replace("2099", "1999");
    let found = faults(&apply(&owner, &past).await);
    assert_eq!((found[0].0, found[0].1.as_str()), (5, "expiration_date"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_told_at_its_line_and_nothing_is_done() {
    let service = with_models().await;
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
    let rules = LOAD_BALANCING;
    let target = "rules[0].load_balance_targets[0]";
    let of_target = |field: &str| format!("{target}.{field}");
    for (change, expected) in [
        (
            ("type: gateway-load", "type: gateway-fair"),
            (2, "type", "'gateway-fair-balancing-config' are not read"),
        ),
        (
            ("name: chat-routing", "name: [a]"),
            (1, "name", "a list, where a text"),
        ),
        (
            ("name: chat-routing", "title: x\nname: chat-routing"),
            (1, "title", "`title` is not supported"),
        ),
        (
            ("id: weighted-chat", "id: weighted-chat\n    timeout: 5"),
            (5, "rules[0].timeout", "`timeout` is not supported"),
        ),
        (
            ("type: weight-based-routing", "type: round-robin"),
            (5, "rules[0].type", "'round-robin' is none of"),
        ),
        (
            (r#"subjects: ["*"]"#, r#"subjects: ["team:backend"]"#),
            (6, "rules[0].when.subjects", "cannot depend on who asks"),
        ),
        (
            ("metadata: {}", "metadata: {tier: gold}"),
            (
                6,
                "rules[0].when.metadata",
                "`metadata_match` of its targets",
            ),
        ),
        (
            (r#"["openai/gpt-4o"]"#, r#"["*"]"#),
            (6, "rules[0].when.models[0]", "must name the models"),
        ),
        (
            (r#"models: ["openai/gpt-4o"], "#, ""),
            (6, "rules[0].when", "must name the models"),
        ),
        (
            (r#"["openai/gpt-4o"]"#, r#"["Open AI"]"#),
            (6, "rules[0].when.models[0]", "a virtual model's name"),
        ),
        (
            ("metadata: {} }", "metadata: {}, region: eu }"),
            (6, "rules[0].when.region", "`region` is not supported"),
        ),
        (
            ("ttl_seconds: 3600", "ttl_seconds: 0"),
            (8, "rules[0].sticky_routing.ttl_seconds", "1 to 604800"),
        ),
        (
            ("source: headers", "source: cookies"),
            (
                9,
                "rules[0].sticky_routing.session_identifiers[0].source",
                "'cookies' is none of",
            ),
        ),
        (
            ("sticky_routing:\n", "sticky_routing:\n      scope: all\n"),
            (8, "rules[0].sticky_routing.scope", "not supported"),
        ),
    ] {
        check(rules, change, expected).await;
    }
    for (change, line, field, message) in [
        (
            ("openai-main/gpt-4o", "openai-main/gpt-5"),
            11,
            "target",
            "There is no model",
        ),
        (("weight: 70", "weight: heavy"), 12, "weight", "a number"),
        (("weight: 70", "weight: -1"), 12, "weight", "whole one"),
        (
            ("weight: 70", "weight: 70000000"),
            12,
            "weight",
            "at most 1000000",
        ),
        (
            ("# priority: 0 ", "timeout_ms: 30000 # "),
            13,
            "timeout_ms",
            "not supported",
        ),
        (
            ("# priority: 0 ", "sla_cutoff: {e2e_ms: 1} # "),
            13,
            "sla_cutoff.e2e_ms",
            "not supported",
        ),
        (
            ("attempts: 1", "attempts: 11"),
            15,
            "retry_config.attempts",
            "1 to 10",
        ),
        (
            ("delay: 100", "delay: 100000"),
            15,
            "retry_config.delay",
            "0 to 60000",
        ),
        (
            ("delay: 100", "backoff: 2"),
            15,
            "retry_config.backoff",
            "not supported",
        ),
        (
            (r#"["429","500","502","503"] }"#, r#"["200"] }"#),
            15,
            "retry_config.on_status_codes",
            "no HTTP status",
        ),
        (
            (r#"["401","403""#, r#"["401","4xx""#),
            16,
            "fallback_status_codes[1]",
            "'4xx' is no HTTP status",
        ),
        (
            ("fallback_candidate: true", "fallback_candidate: maybe"),
            17,
            "fallback_candidate",
            "true or false",
        ),
        (
            ("{ temperature: 0.5 }", "{ model: other }"),
            18,
            "override_params",
            "`model` cannot be overridden",
        ),
        (
            ("x-region: us-east-1", "authorization: secret"),
            19,
            "headers_override.set.authorization",
            "a header's name",
        ),
        (
            ("[x-internal-debug] }", "[x-region] }"),
            19,
            "headers_override",
            "both set and left out",
        ),
        (
            ("tier: gold", "tier: 1"),
            20,
            "metadata_match.tier",
            "a number, where a text",
        ),
    ] {
        check(rules, change, (line, &of_target(field), message)).await;
    }
    let priority = ("type: weight-based-routing", "type: priority-based-routing");
    let lacks = "needs a priority, and 'openai-main/gpt-4o' has none";
    check(rules, priority, (11, target, lacks)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_groups_and_virtual_accounts_have_that_sluice_has_not_is_told_at_its_line() {
    let service = with_models().await;
    let owner = service.owner().await;
    let group = VIRTUAL_MODELS.split("---\n").next().expect("a group");
    let group = &group.replace("[] }", "[{target: openai-main/gpt-4o, priority: 0}] }");
    let check = async |document: &str, change: (&str, &str), expected: (u64, &str, &str)| {
        assert!(document.contains(change.0), "{change:?}");
        let document = document.replacen(change.0, change.1, 1);
        let found = faults(&apply(&owner, &document).await);
        let (line, field, message) = expected;
        assert_eq!(
            (found[0].0, found[0].1.as_str()),
            (line, field),
            "{found:?}"
        );
        assert!(found[0].2.contains(message), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    };
    for (change, expected) in [
        (
            (
                "integrations:",
                "collaborators: [{role_id: a, subject: b}]\nintegrations:",
            ),
            (3, "collaborators", "write `grants` on the virtual models"),
        ),
        (
            ("name: my-group", "name: My Group"),
            (2, "name", "a name here has"),
        ),
        (
            ("integration/model/virtual", "integration/model/openai"),
            (5, "integrations[0].type", "not integration/model/virtual"),
        ),
        (
            ("model_types: [chat]", "model_types: [chat, rerank]"),
            (7, "integrations[0].model_types[1]", "'rerank'"),
        ),
        (
            ("    model_types: [chat] ", "    # "),
            (4, "integrations[0]", "`model_types` is missing"),
        ),
        (
            ("slug: chat", "slug: chat\n    description: x"),
            (7, "integrations[0].description", "not supported"),
        ),
        (
            (
                "priority-based-routing,",
                "priority-based-routing, region: eu,",
            ),
            (8, "integrations[0].routing_config.region", "not supported"),
        ),
        (
            // It would be called like the one that it stands beside.
            ("slug: chat", "slug: my-group/chat"),
            (6, "integrations[0].slug", "stands in the documents twice"),
        ),
    ] {
        check(group, change, expected).await;
    }
    for (change, expected) in [
        (("tags: {}", "tags: {team: a}"), (6, "tags", "no tags here")),
        (
            ("tags: {}", "auto_rotate: {auto_rotate_interval: 360}"),
            (6, "auto_rotate", "No key is rotated by itself"),
        ),
        (
            ("2099-01-31", "31.01.2099"),
            (5, "expiration_date", "no date like 2027-01-31"),
        ),
        (
            ("-account-access", "-account-manager"),
            (4, "permissions[0].role_id", "cannot be given here"),
        ),
        (
            (
                "resource_type: provider-account",
                "resource_type: workspace",
            ),
            (
                4,
                "permissions[0].resource_type",
                "'workspace' cannot be opened",
            ),
        ),
        (
            ("acme:openai:openai-main", "acme:virtual-model:my-group"),
            (4, "permissions[0].resource_fqn", "write `grants` on them"),
        ),
        (
            ("acme:openai:openai-main", "acme:openai:nobody"),
            (4, "permissions", "There is no provider account 'nobody'"),
        ),
        (
            ("tags: {}", "ownedBy: {team: a}"),
            (6, "ownedBy", "not supported"),
        ),
    ] {
        check(ACCOUNT, change, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines() {
    let service = with_models().await;
    let owner = service.owner().await;
    let own = "sluice: v1\nvirtual_accounts:\n- name: a\n- name: a\n";
    let rules = LOAD_BALANCING
        .replace("weight: 70", "weight: heavy")
        .replace("source: headers", "source: cookies");
    let document = file(&[&rules, own, &ACCOUNT.replace("tags: {}", "tags: {a: b}")]);
    let found = faults(&apply(&owner, &document).await);
    let places: Vec<_> = found
        .iter()
        .map(|(line, field, _)| (*line, field.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (9, "rules[0].sticky_routing.session_identifiers[0].source"),
            (12, "rules[0].load_balance_targets[0].weight"),
            (25, "virtual_accounts[1].name"),
            (32, "tags"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_documents_of_sluices_own_are_one_undertaking() {
    let service = Service::start().await;
    let owner = service.owner().await;
    // The second refers to what the first makes, and the other way round.
    let one = "sluice: v1\nvirtual_accounts:\n- name: ci\ngrants:\n- {to: {virtual_account: bot}, models: all}\n";
    let other = "sluice: v1\nvirtual_accounts:\n- name: bot\ngrants:\n- {to: {virtual_account: ci}, models: all}\n";
    let document = file(&[one, other]);
    assert_eq!(names(&apply(&owner, &document).await).len(), 4);
    changes_nothing(&owner, &document).await;
    let settings = "sluice: v1\nsettings:\n  organisation: Acme\n";
    let found = faults(&apply(&owner, &file(&[settings, settings])).await);
    assert_eq!((found[0].0, found[0].1.as_str()), (7, "settings"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_formats_prune_nothing_and_what_they_name_is_not_pruned() {
    let service = with_models().await;
    let owner = service.owner().await;
    let other = "sluice: v1\nvirtual_models:\n- name: other\n  targets: [{model: openai-main/gpt-4o, weight: 1}]\n";
    apply(&owner, other).await;
    let pruned = async |document: &str| {
        let body = json!({ "document": document, "prune": true });
        names(&owner.post("/apply", &body).await)
    };
    assert_eq!(
        pruned(LOAD_BALANCING).await,
        ["create virtual model openai/gpt-4o"]
    );
    let document = file(&[LOAD_BALANCING, "sluice: v1\nvirtual_models: []\n"]);
    assert_eq!(pruned(&document).await, ["delete virtual model other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_be_known_by_metadata_and_the_fastest_be_chosen() {
    let service = with_models().await;
    let owner = service.owner().await;
    apply(&owner, BY_LATENCY).await;
    let routing = virtual_model(&service, "openai/gpt-4o").routing;
    assert_eq!(routing.strategy, RoutingStrategy::LatencyBased);
    let identifier = |source, key: &str| SessionIdentifier {
        source,
        key: key.parse().expect("a key"),
    };
    let expected = StickySessions {
        ttl_seconds: 60,
        session_identifiers: vec![
            identifier(SessionSource::Metadata, "conversation"),
            identifier(SessionSource::Headers, "x-user-id"),
        ],
    };
    assert_eq!(routing.sticky, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_brought_is_exported_as_sluices_own_and_means_the_same_elsewhere() {
    let targets =
        "[{target: openai-main/gpt-4o, priority: 0}, {target: azure-backup/gpt-4o, priority: 1}]";
    let group = VIRTUAL_MODELS.split("---\n").next().expect("a group");
    let group = group.replace("[] }", &format!("{targets} }}"));
    for (brought, name) in [
        (LOAD_BALANCING, "openai/gpt-4o"),
        (BY_PRIORITY, "openai/gpt-4o"),
        (BY_LATENCY, "openai/gpt-4o"),
        (&group, "my-group/chat"),
    ] {
        is_exported(brought, name).await;
    }
}

/// Also with a grant of the virtual model that came of it.
async fn is_exported(brought: &str, name: &str) {
    let service = with_models().await;
    let owner = service.owner().await;
    apply(&owner, brought).await;
    let grant = format!(
        "sluice: v1\ngrants:\n- to: everyone\n  models: {{listed: [{{virtual_model: {name}}}]}}\n"
    );
    let done = apply(&owner, &grant).await;
    assert_eq!(names(&done), ["create grant everyone"]);
    let export = owner.get("/export").await;
    let document = String::from_utf8(export.body.to_vec()).expect("text");
    let elsewhere = Service::start().await;
    let there = elsewhere.owner().await;
    assert_eq!(apply(&there, &document).await.status, StatusCode::OK);
    changes_nothing(&there, brought).await;
    assert_eq!(there.get("/export").await.body, export.body);
}

//! Budgets in the format of other gateways, in both of its shapes: each rule is a policy, which decides about the requests that the
//! document says, and counts them; and policies, written in that format, are the same again.

use events_schema::{
    events::{BudgetAmount, BudgetLimit, BudgetWindow, LimitMode, LimitSegment, WhenCutOff},
    money::NanoUsd,
    state::BudgetPolicy,
};
use http::StatusCode;
use serde_json::json;

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
const BUDGETS: &str = include_str!("budgets.yaml");

/// The team of the rule, with Ada, who is in another one as well, and Eve.
const ENGINEERING: &str = "sluice: v1
teams:
- {name: engineering, members: [{user: ada@example.com, role: member}, {user: eve@example.com, role: member}]}
";

/// A document with these rules.
fn config(rules: &str) -> String {
    format!("name: budgets\ntype: gateway-budget-config\nrules:\n{rules}")
}

fn policy(service: &Service, name: &str) -> BudgetPolicy {
    let state = service.control.state();
    let found = state.budget_policy_named(&name.parse().expect("a name"));
    found.unwrap_or_else(|| panic!("no '{name}'")).clone()
}

/// Which policies count a request, as gateways see it: the first decides.
fn counting(service: &Service, who: &str, model: &str, metadata: &[(&str, &str)]) -> Vec<Applies> {
    AtGateways::of(&service.control.state()).budgeted(whose(service, who), model, metadata)
}

/// Their names.
fn named(applying: &[Applies]) -> Vec<&str> {
    applying.iter().map(|it| it.policy.as_str()).collect()
}

async fn exported(owner: &Caller<'_>) -> String {
    taken(owner, "gateway-budget-config").await
}

fn dollars(text: &str) -> NanoUsd {
    NanoUsd::from_dollars(text).expect("dollars")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_of_the_format_gives_the_team_its_dollars_a_month() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let document = file(&[BUDGETS, OWN, ENGINEERING]);
    let body = json!({ "document": document, "dry_run": true });
    let dry = owner.post("/apply", &body).await;
    assert_eq!(service.control.state().budget_policies().len(), 0);
    let done = apply(&owner, &document).await;
    assert_eq!(names(&done), names(&dry));
    let changes = done.json()["changes"].clone();
    assert_eq!(
        changes.as_array().and_then(|it| it.last()),
        Some(
            &json!({ "action": "create", "what": "budget policy", "name": "team-monthly-budget", "fields": [
            { "field": "order", "before": null, "after": "10" },
            { "field": "limits", "before": null, "after": "$5000.00 a month" },
            { "field": "subjects", "before": null, "after": "engineering" },
            { "field": "models", "before": null, "after": "all" },
            { "field": "applies_per", "before": null, "after": "team" },
            { "field": "mode", "before": null, "after": "enforce" },
            { "field": "when_cut_off", "before": null, "after": "open" },
            { "field": "alerts", "before": null, "after": "75 %, 90 %, 95 %, 100 %" },
        ] })
        )
    );
    // 5,000 dollars in nano-dollars, of the team alone: one that its members are in as well has no part in it.
    let of = |who| counting(&service, who, "chat", &[]);
    let [ada] = &of(ADA)[..] else {
        panic!("one: {:?}", of(ADA));
    };
    assert_eq!(
        (&*ada.policy, &ada.most[..]),
        ("team-monthly-budget", &[5_000_000_000_000][..])
    );
    assert_eq!((ada.counters.len(), ada.audits), (1, false));
    assert_eq!(of(EVE), of(ADA));
    assert_eq!(of(BOB), []);
    assert_eq!(of(CI), []);

    changes_nothing(&owner, &document).await;
    let export = exported(&owner).await;
    assert_eq!(
        export,
        "name: budget-controls
type: gateway-budget-config
rules:
- id: team-monthly-budget
  when:
    subjects:
    - team:engineering
  limit_to: 5000
  unit: cost_per_month
  budget_applies_per:
  - team
  alerts:
    thresholds:
    - 75
    - 90
    - 95
    - 100
"
    );
    changes_nothing(&owner, &export).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_matches_decides_and_all_that_match_count() {
    let service = with_people().await;
    let owner = service.owner().await;
    let document = config(
        "- {id: backend, when: {subjects: ['team:backend']}, limit_to: 100, unit: cost_per_day, budget_applies_per: [user]}
- {id: each, when: {}, limit_to: 10, unit: cost_per_day, budget_applies_per: [user]}
- {id: tokens, when: {subjects: '*', models: [chat]}, limit_to: 1000000, unit: tokens_per_month, audit_mode: true}
- {id: tokens-daily, when: {}, limit_to: 5, unit: tokens_per_day, budget_applies_per: [virtualaccount, metadata.project]}
",
    );
    let done = apply(&owner, &document).await;
    // The last never decides, since the second takes all. The third is there to count.
    assert_eq!(
        warnings(&done),
        json!([
            "The budget policy 'tokens-daily' can refuse no request, and only counts: 'each' before it matches all of its, and decides."
        ])
    );
    let page = owner.get("/budget-policies").await.json();
    let behind: Vec<_> = page["items"].as_array().expect("a list").iter().collect();
    let behind: Vec<_> = behind
        .iter()
        .map(|it| it["unreachable_behind"].as_str())
        .collect();
    assert_eq!(behind, [None, None, None, Some("each")]);
    let of = |who, model| counting(&service, who, model, &[]);
    assert_eq!(
        named(&of(ADA, "chat")),
        ["backend", "each", "tokens", "tokens-daily"]
    );
    assert_eq!(named(&of(BOB, "chat")), ["each", "tokens", "tokens-daily"]);
    assert_eq!(named(&of(BOB, "local/llama")), ["each", "tokens-daily"]);
    assert!(of(BOB, "chat")[1].audits && !of(BOB, "chat")[0].audits);
    assert_ne!(of(BOB, "chat")[0].counters, of(ADA, "chat")[1].counters);
    assert_eq!(of(BOB, "chat")[1].counters, of(ADA, "chat")[2].counters);
    let limits = policy(&service, "tokens").rule.limits;
    let million = BudgetLimit {
        amount: BudgetAmount::Tokens(1_000_000),
        window: BudgetWindow::Month,
    };
    assert_eq!(limits, [million].into());
    changes_nothing(&owner, &document).await;
}

/// Rules of both shapes.
const ALL_SHAPES: &str = "- id: newer
  when:
    subjects: { users: { in: ['ada@example.com', 'bob@example.com'], not_in: ['eve@example.com'] } }
    models: { not_in: ['openai-main/small'] }
    metadata: { tier: { in: [gold] } }
  limits: { cost_per_day: 12.5, cost_per_week: 0.000001, cost_per_month: 300, cost_per_quarter: '900.000000001' }
  applies_to:
    type: per-user
    overrides:
    - users: ['ada@example.com']
      limits: { cost_per_day: 100, tokens_per_week: 7, tokens_per_quarter: 8 }
  mode: audit
  alerts: { thresholds: [50, 100] }
- id: models
  when: { models: { in: [chat, 'local/*'] } }
  limits: { cost_per_day: 2 }
  applies_to: { type: per-model, overrides: [{ models: ['local/llama'], limits: { cost_per_day: 4 } }] }
- id: accounts
  when: { subjects: { in: ['virtualaccount:ci', 'virtualaccount:nightly'] } }
  limits: { cost_per_day: 18446744073.709551615 }
  applies_to: { type: per-virtual-account, overrides: [{ virtual_accounts: [ci], limits: { cost_per_day: '18446744073.709551615' } }] }
  mode: enforce
- id: projects
  when: {}
  limit_to: 5
  unit: cost_per_quarter
  applies_to: { type: metadata, metadata: project, overrides: [{ metadata_values: [big, huge], limits: { cost_per_quarter: 50 } }] }
- id: teams
  limits: { cost_per_week: 1 }
  applies_to: { type: per-team, overrides: [{ teams: [backend], limits: { cost_per_week: 2 } }] }
- id: all
  when: {}
  limits: { tokens_per_day: 5, cost_per_month: 1 }
  applies_to: { type: aggregate }
  mode: audit
";

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_shape_is_read_and_what_it_says_holds() {
    let service = with_people().await;
    let owner = service.owner().await;
    // What has more digits than a number holds is written as a text.
    let told = "rules[2].limits.cost_per_day";
    let found = faults(&apply(&owner, &config(ALL_SHAPES)).await);
    assert_eq!((found.len(), found[0].1.as_str()), (1, told));
    let shapes = ALL_SHAPES.replacen("18446744073.709551615", "'18446744073.709551615'", 1);
    let done = apply(&owner, &config(&shapes)).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let newer = policy(&service, "newer").rule;
    let cost = |text, window| BudgetLimit {
        amount: BudgetAmount::Cost(dollars(text)),
        window,
    };
    let expected = [
        cost("12.50", BudgetWindow::Day),
        cost("0.000001", BudgetWindow::Week),
        cost("300", BudgetWindow::Month),
        cost("900.000000001", BudgetWindow::Quarter),
    ];
    assert_eq!(newer.limits, expected.into());
    assert_eq!(
        (newer.mode, newer.when_cut_off),
        (LimitMode::Audit, WhenCutOff::Open)
    );
    assert_eq!(newer.applies_per, [LimitSegment::User].into());
    assert_eq!(newer.alerts, [50, 100].into());
    let gold = [("tier", "gold")];
    let of = |who, model, metadata| counting(&service, who, model, metadata);
    assert_eq!(
        named(&of(ADA, "chat", &gold)),
        ["newer", "models", "projects", "teams", "all"]
    );
    assert_eq!(
        named(&of(BOB, "openai-main/small", &gold)),
        ["projects", "teams", "all"]
    );
    assert_eq!(
        named(&of(EVE, "local/llama", &gold)),
        ["models", "projects", "teams", "all"]
    );
    assert_eq!(
        named(&of(CI, "openai-main/gpt-4o", &[])),
        ["accounts", "projects", "teams", "all"]
    );
    // Some have other limits. Those on cost come first, each by its window.
    assert_eq!(of(ADA, "chat", &gold)[0].most, [100_000_000_000, 7, 8]);
    assert_eq!(of(EVE, "local/llama", &gold)[0].most, [4_000_000_000]);
    assert_eq!(of(EVE, "chat", &gold)[0].most, [2_000_000_000]);
    assert_eq!(of(NIGHTLY, "openai-main/gpt-4o", &[])[0].most, [u64::MAX]);
    let big = [("project", "big")];
    assert_eq!(of(BOB, "openai-main/small", &big)[0].most, [50_000_000_000]);
    assert_eq!(of(ADA, "openai-main/small", &big)[1].most, [2_000_000_000]);
    assert_eq!(of(EVE, "openai-main/small", &big)[1].most, [1_000_000_000]);
    changes_nothing(&owner, &config(&shapes)).await;

    // Written in that format, they are the same again, here and elsewhere.
    let export = exported(&owner).await;
    changes_nothing(&owner, &export).await;
    let elsewhere = with_people().await;
    let there = elsewhere.owner().await;
    assert_eq!(names(&apply(&there, &export).await).len(), 6);
    assert_eq!(exported(&there).await, export);
    changes_nothing(&there, &config(&shapes)).await;
    let own = async |caller: &Caller<'_>| caller.get("/export").await.body;
    assert_eq!(own(&there).await, own(&owner).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_format_has_no_words_for_stays_and_is_told_in_the_document() {
    let service = with_people().await;
    let owner = service.owner().await;
    let own = "sluice: v1
budget_policies:
- {name: closed, order: 7, limits: [{cost: '1', window: day}], when_cut_off: closed}
- {name: off, order: 8, disabled: true, limits: [{tokens: 1, window: week}]}
";
    apply(&owner, own).await;
    let export = exported(&owner).await;
    assert_eq!(
        export,
        "# Not in this document, since the format has no words for it:
# - 'off': it is switched off
# Not said in this document, since the format has no words for it:
# - 'closed': a gateway that is cut off refuses its requests
# Applied with --prune, the document deletes policies that it does not name.
name: budget-controls
type: gateway-budget-config
rules:
- id: closed
  when: {}
  limit_to: 1
  unit: cost_per_day
"
    );
    changes_nothing(&owner, &export).await;
    let other = export.replace("limit_to: 1", "limit_to: 2.25");
    let done = apply(&owner, &other).await;
    assert_eq!(names(&done), ["change budget policy closed"]);
    assert_eq!(
        done.json()["changes"][0]["fields"],
        json!([{ "field": "limits", "before": "$1.00 a day", "after": "$2.25 a day" }])
    );
    let closed = policy(&service, "closed");
    assert_eq!(
        (closed.order, closed.rule.when_cut_off),
        (7, WhenCutOff::Closed)
    );
    // With pruning, the file is the list of all budgets, and says nothing of rate limits.
    let limit = "sluice: v1\nrate_limit_policies:\n- {name: r, order: 5, limits: [{unit: requests, window: day, limit: 1}]}\n";
    apply(&owner, limit).await;
    let body = json!({ "document": other, "prune": true });
    let done = owner.post("/apply", &body).await;
    assert_eq!(names(&done), ["delete budget policy off"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_told_at_its_line_and_nothing_is_done() {
    let service = with_people().await;
    let owner = service.owner().await;
    apply(&owner, ENGINEERING).await;
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
    let target = "[{ type: email, notification_channel: alerts, to_emails: [lead@example.com] }]";
    let own_line = format!("\n      notification_target: {target}\n      thresholds: [75]\n");
    let of_rule = |field: &str| format!("rules[0].{field}");
    for (change, (line, field, message)) in [
        (
            (
                "notification_target: []",
                &*format!("notification_target: {target}"),
            ),
            (
                10,
                "alerts.notification_target",
                "Nobody is written to from here",
            ),
        ),
        (
            (
                " { thresholds: [75, 90, 95, 100], notification_target: [] }",
                &*own_line,
            ),
            (
                11,
                "alerts.notification_target",
                "Nobody is written to from here",
            ),
        ),
        (
            ("thresholds: [75, 90,", "thresholds: [75, 101,"),
            (
                10,
                "alerts.thresholds[1]",
                "101 is no percentage from 1 to 100",
            ),
        ),
        (
            ("thresholds: [75, 90,", "thresholds: [7.5, 90,"),
            (10, "alerts.thresholds[0]", "no whole one"),
        ),
        (
            (
                "thresholds: [75, 90, 95, 100]",
                "thresholds: [1, 2, 3, 4, 5, 6, 7, 8, 9]",
            ),
            (10, "alerts", "at most"),
        ),
        (
            ("alerts: {", "alerts: { send_to: a,"),
            (10, "alerts.send_to", "not supported"),
        ),
        (
            ("limit_to: 5000", "limit_to: 0"),
            (6, "limit_to", "more than 0"),
        ),
        (
            ("limit_to: 5000", "limit_to: -5"),
            (6, "limit_to", "'-5': an amount of dollars"),
        ),
        (
            ("limit_to: 5000", "limit_to: 0.0000000001"),
            (6, "limit_to", "at most 9 decimals"),
        ),
        (
            ("limit_to: 5000", "limit_to: []"),
            (6, "limit_to", "no amount of dollars"),
        ),
        (
            ("unit: cost_per_month", "unit: cost_per_hour"),
            (7, "unit", "'cost_per_hour' is none of cost_per_day"),
        ),
        (
            ("unit: cost_per_month", "unit: requests_per_day"),
            (7, "unit", "'requests_per_day' is none of"),
        ),
        (
            (
                "budget_applies_per: [\"team\"]",
                "rate_limit_applies_per: [user]",
            ),
            (8, "rate_limit_applies_per", "not supported"),
        ),
        (
            ("audit_mode: false", "audit_mode: dry"),
            (9, "audit_mode", "true or false"),
        ),
        (
            ("audit_mode: false", "audit_mode: false\n    mode: audit"),
            (10, "mode", "says it already"),
        ),
        (
            ("team:engineering", "team:nobody"),
            (5, "when.subjects[0]", "There is no team 'nobody'"),
        ),
    ] {
        check(BUDGETS, change, (line, &of_rule(field), message)).await;
    }
    // A lifetime has no end, and here each budget has.
    let lifetime = config("- {id: a, limits: {cost_per_day: 1}}\n");
    check(
        &lifetime,
        ("cost_per_day", "cost_per_lifetime"),
        (
            4,
            "rules[0].limits.cost_per_lifetime",
            "'cost_per_lifetime' is none of",
        ),
    )
    .await;
    let tenant = "name: a\ntype: tenant-budget-config\nlimits: { cost_per_day: 1 }\n";
    check(
        tenant,
        ("tenant", "tenant"),
        (
            2,
            "type",
            "each budget that matches a request must have room for it",
        ),
    )
    .await;
}

//! Documents of other formats, applied again: what they say anew becomes so, also that something is no longer there, and what
//! they cannot say, or others said, stays as it is.

use events_schema::{
    events::{GrantedModels, KeyLimits, ModelRef, Owner, Subject},
    id::VirtualAccountId,
    state::Key,
};
use serde_json::json;

use super::{ACCOUNT, changes_nothing, faults, file, virtual_model, with_models};
use crate::{
    http::declared::{apply, names},
    support::service::Service,
};

const PERMISSION: &str = r#"  - { resource_fqn: "acme:openai:openai-main", resource_type: provider-account, role_id: provider-account-access }
"#;

/// A rule that leads to one model.
const RULE: &str = "name: r\ntype: gateway-load-balancing-config\nrules:
- id: one
  type: latency-based-routing
  when: { models: [chat] }
  load_balance_targets:
  - target: openai-main/gpt-4o
";

/// The account with these permissions, as the lines of its document.
fn account(permissions: &str) -> String {
    let now = format!("permissions:\n{PERMISSION}");
    assert!(ACCOUNT.contains(&now));
    ACCOUNT.replace(&now, permissions)
}

fn billing_bot(service: &Service) -> VirtualAccountId {
    let state = service.control.state();
    let found = state.virtual_account_named(&"billing-bot".parse().expect("a name"));
    found.expect("it is there").id
}

fn token(service: &Service) -> Key {
    let state = service.control.state();
    let label = "token".parse().expect("a label");
    let owner = Owner::VirtualAccount(billing_bot(service));
    let found = state.keys_labelled(owner, &label).next();
    found.expect("it is there").clone()
}

/// What the account may use: for each grant, the provider accounts in it by their names, and how many others there are.
fn granted(service: &Service) -> Vec<(Vec<String>, usize)> {
    let state = service.control.state();
    let subject = Subject::VirtualAccount(billing_bot(service));
    let mut granted: Vec<_> = state
        .grants_of(subject)
        .map(|it| {
            let GrantedModels::Listed(listed) = &it.models else {
                panic!("{it:?}");
            };
            let mut accounts: Vec<_> = listed
                .iter()
                .filter_map(|it| match it {
                    ModelRef::ProviderAccount(id) => Some(id),
                    ModelRef::Model(_) | ModelRef::VirtualModel(_) => None,
                })
                .map(|id| state.provider_accounts()[id].name.to_string())
                .collect();
            let others = listed.len() - accounts.len();
            accounts.sort();
            (accounts, others)
        })
        .collect();
    granted.sort();
    granted
}

fn accounts(names: &[&str]) -> (Vec<String>, usize) {
    (names.iter().map(ToString::to_string).collect(), 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_a_virtual_account_no_longer_has_are_revoked() {
    let service = with_models().await;
    let owner = service.owner().await;
    let backup = PERMISSION.replace("openai-main", "azure-backup");
    let both = account(&format!("permissions:\n{PERMISSION}{backup}"));
    apply(&owner, &both).await;
    assert_eq!(
        granted(&service),
        [accounts(&["azure-backup", "openai-main"])]
    );
    let done = apply(&owner, ACCOUNT).await;
    assert_eq!(names(&done), ["change grant billing-bot"]);
    assert_eq!(granted(&service), [accounts(&["openai-main"])]);
    // A document that says nothing of them leaves them.
    changes_nothing(&owner, &account("")).await;
    assert_eq!(granted(&service), [accounts(&["openai-main"])]);
    // In which way ever they are none.
    for none in ["permissions: []\n", "permissions:\n", "permissions: {}\n"] {
        apply(&owner, ACCOUNT).await;
        assert_eq!(granted(&service), [accounts(&["openai-main"])]);
        let none = account(none);
        let done = apply(&owner, &none).await;
        assert_eq!(names(&done), ["delete grant billing-bot"]);
        assert_eq!(
            done.json()["changes"][0]["fields"],
            json!([{ "field": "models", "before": "openai-main/*", "after": null }])
        );
        assert_eq!(granted(&service), []);
        changes_nothing(&owner, &none).await;
        changes_nothing(&owner, &account("")).await;
    }
    // What is not the list that it must be revokes nothing.
    apply(&owner, ACCOUNT).await;
    let found = faults(&apply(&owner, &account("permissions: none\n")).await);
    assert_eq!(found[0].1, "permissions");
    assert_eq!(granted(&service), [accounts(&["openai-main"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_all_grants_of_provider_accounts_and_no_others() {
    let service = with_models().await;
    let owner = service.owner().await;
    let to = "- to: {virtual_account: billing-bot}\n  models: {listed:";
    // The second lists an account, and not alone.
    let others = format!(
        "sluice: v1\ngrants:\n{to} [{{virtual_model: chat}}]}}\n{to} [{{model: openai-main/embed}}, {{provider_account: azure-backup}}]}}\n"
    );
    let mixed = (vec!["azure-backup".to_owned()], 1);
    let unrelated = [(Vec::new(), 1), mixed];
    apply(&owner, RULE).await;
    // Whichever file is there first, neither takes the other's grants for its own.
    apply(&owner, &account("permissions: []\n")).await;
    apply(&owner, &others).await;
    let done = apply(&owner, ACCOUNT).await;
    assert_eq!(names(&done), ["create grant billing-bot"]);
    let all = [&unrelated[..], &[accounts(&["openai-main"])]].concat();
    assert_eq!(granted(&service), all);
    changes_nothing(&owner, &others).await;
    changes_nothing(&owner, ACCOUNT).await;
    let done = apply(&owner, &account("permissions: []\n")).await;
    assert_eq!(names(&done), ["delete grant billing-bot"]);
    assert_eq!(granted(&service), unrelated);

    let prune = "sluice: v1\ngrants: []\n";
    let pruned = async |document: &str| {
        let body = json!({ "document": document, "prune": true });
        names(&owner.post("/apply", &body).await)
    };
    assert_eq!(pruned(prune).await.len(), 2);
    assert_eq!(
        names(&apply(&owner, ACCOUNT).await),
        ["create grant billing-bot"]
    );
    let done = apply(&owner, &others).await;
    assert_eq!(names(&done), ["create grant billing-bot"; 2]);
    changes_nothing(&owner, ACCOUNT).await;
    changes_nothing(&owner, &others).await;
    assert_eq!(granted(&service), all);

    // Another grant of a provider account alone is one that the permissions do not say, unless the same file does.
    let beside = format!("sluice: v1\ngrants:\n{to} [{{provider_account: azure-backup}}]}}\n");
    let both = file(&[ACCOUNT, &beside]);
    let done = apply(&owner, &both).await;
    assert_eq!(names(&done), ["create grant billing-bot"]);
    changes_nothing(&owner, &both).await;
    let done = apply(&owner, ACCOUNT).await;
    assert_eq!(names(&done), ["delete grant billing-bot"]);
    assert_eq!(granted(&service), all);

    // What is revoked is not pruned once more.
    let none = file(&[&account("permissions: []\n"), prune]);
    assert_eq!(pruned(&none).await, ["delete grant billing-bot"; 3]);
    assert_eq!(granted(&service), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_virtual_accounts_document_cannot_say_stays_as_it_is() {
    let service = with_models().await;
    let owner = service.owner().await;
    apply(&owner, ACCOUNT).await;
    let made = token(&service);
    assert_eq!((made.limits, made.disabled), (KeyLimits::default(), false));
    let limited = "sluice: v1\nvirtual_accounts:\n- {name: billing-bot, disabled: true}\nkeys:
- {owner: {virtual_account: billing-bot}, label: token, expires_at: 2099-01-31T00:00:00Z, limits: {requests_per_minute: 60}, disabled: true}\n";
    let done = apply(&owner, limited).await;
    assert_eq!(
        names(&done),
        [
            "change virtual account billing-bot",
            "change key billing-bot: token",
        ]
    );
    changes_nothing(&owner, ACCOUNT).await;
    // Nor does it change with what the document can say.
    let later = ACCOUNT.replace("2099-01-31", "2099-06-30");
    apply(&owner, &later).await;
    let state = service.control.state();
    assert!(state.virtual_accounts()[&billing_bot(&service)].disabled);
    let limits = KeyLimits {
        requests_per_minute: Some(60),
        tokens_per_minute: None,
    };
    let now = token(&service);
    assert_eq!((now.limits, now.disabled), (limits, true));
    assert_eq!(
        now.expires_at,
        Some("2099-06-30T00:00:00Z".parse().expect("a time"))
    );
    // An empty date is none: the key does not end.
    let never = ACCOUNT.replace("2099-01-31", "");
    let done = apply(&owner, &never).await;
    assert_eq!(names(&done), ["change key billing-bot: token"]);
    assert_eq!(token(&service).expires_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_cannot_say_stays_as_it_is() {
    let service = with_models().await;
    let owner = service.owner().await;
    apply(&owner, RULE).await;
    let more = "sluice: v1\nvirtual_models:
- {name: chat, strategy: latency_based, targets: [{model: openai-main/gpt-4o}], deadline_ms: 30000, hedge_after_ms: 500, disabled: true}\n";
    let done = apply(&owner, more).await;
    assert_eq!(names(&done), ["change virtual model chat"]);
    changes_nothing(&owner, RULE).await;
    let longer = format!("{RULE}  - target: azure-backup/gpt-4o\n");
    let done = apply(&owner, &longer).await;
    let fields = done.json()["changes"][0]["fields"].clone();
    let fields = fields.as_array().expect("a list");
    assert_eq!(
        fields.iter().map(|it| &it["field"]).collect::<Vec<_>>(),
        ["targets"]
    );
    let found = virtual_model(&service, "chat");
    assert_eq!(found.routing.targets.len(), 2);
    assert_eq!(found.routing.deadline_ms, Some(30000));
    assert_eq!(found.routing.hedge_after_ms, Some(500));
    assert!(found.disabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_field_is_like_none_where_it_must_be_there_too() {
    let service = with_models().await;
    let owner = service.owner().await;
    let group = "type: provider-account/virtual-model
name: g
integrations:
- name: chat
  type: integration/model/virtual
  slug: ''
  model_types: [chat]
  routing_config:
    type: latency-based-routing
    sticky_routing: {}
    load_balance_targets: [{target: openai-main/gpt-4o, weight: ''}]
";
    let done = apply(&owner, group).await;
    assert_eq!(names(&done), ["create virtual model g/chat"]);
    assert_eq!(virtual_model(&service, "g/chat").routing.sticky, None);
    let found = faults(&apply(&owner, &group.replace("name: g\n", "name: ''\n")).await);
    let missing = "`name` is missing.".to_owned();
    assert_eq!(found, [(1, String::new(), missing)]);
}

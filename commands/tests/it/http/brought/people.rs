//! Whom and what the rules of the documents name, and what their tests have alike.

use events_schema::events::Owner;
use http::StatusCode;
use serde_json::Value;

use crate::{
    http::declared::apply,
    support::service::{Answer, Caller, Service},
};

/// Whom and what its rules name, and others.
pub(super) const OWN: &str = "sluice: v1
provider_accounts:
  - {name: openai-main, provider: openai, base_url: 'https://api.openai.com/v1'}
  - {name: local, provider: openai_compatible, base_url: 'https://models.example/v1'}
models:
  - {name: openai-main/gpt-4o, types: [chat]}
  - {name: openai-main/small, types: [chat]}
  - {name: local/llama, types: [chat]}
virtual_models:
  - name: chat
    targets: [{model: openai-main/gpt-4o, weight: 1}]
users:
  - {email: bob@example.com, name: Bob}
  - {email: ada@example.com, name: Ada}
  - {email: eve@example.com, name: Eve}
teams:
  - {name: backend, members: [{user: ada@example.com, role: member}]}
  - {name: interns, members: [{user: eve@example.com, role: member}]}
virtual_accounts:
  - name: ci
  - name: nightly
";

pub(super) const BOB: &str = "user:bob@example.com";
pub(super) const ADA: &str = "user:ada@example.com";
pub(super) const EVE: &str = "user:eve@example.com";
pub(super) const CI: &str = "virtualaccount:ci";
pub(super) const NIGHTLY: &str = "virtualaccount:nightly";

pub(super) async fn with_people() -> Service {
    let service = Service::start().await;
    let owner = service.owner().await;
    assert_eq!(apply(&owner, OWN).await.status, StatusCode::OK);
    service
}

/// Somebody, as an owner of keys.
pub(super) fn whose(service: &Service, who: &str) -> Owner {
    let state = service.control.state();
    match who.split_once(':').expect("somebody") {
        ("user", email) => {
            let email = email.parse().expect("an address");
            let prints = service.app.secrets().fingerprints(&email);
            let user = prints.iter().find_map(|print| state.user_by_email(print));
            Owner::User(user.expect("it is there").id)
        }
        (_, name) => {
            let account = state.virtual_account_named(&name.parse().expect("a name"));
            Owner::VirtualAccount(account.expect("it is there").id)
        }
    }
}

/// The policies as a document of this format.
pub(super) async fn taken(owner: &Caller<'_>, format: &str) -> String {
    let answer = owner.get(&format!("/export?format={format}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.text_of("content-type"), "application/yaml");
    String::from_utf8(answer.body.to_vec()).expect("text")
}

/// What is warned of after something was applied.
pub(super) fn warnings(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["warnings"].clone()
}

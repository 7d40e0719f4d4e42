//! `POST /commands`: one answer, one identity, and secrets that are shown once.

use events_schema::{events::Role, id::CommandId};
use serde_json::{Value, json};

use crate::support::service::{Answer, Caller, PASSWORD, Service};

async fn virtual_account(owner: &Caller<'_>, name: &str) -> String {
    let command = json!({ "type": "create_virtual_account", "name": name });
    owner.command(command).await.field("id")
}

fn issue_key(account: &str) -> Value {
    json!({
        "type": "issue_key", "owner": { "virtual_account": account }, "label": "laptop", "expires_at": null,
        "limits": { "requests_per_minute": 60, "tokens_per_minute": null },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_with_its_position_its_events_and_what_it_made() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let before = service.control.head().position;
    let answer = owner
        .post(
            "/commands",
            &json!({
                "why": "for the build server",
                "command": { "type": "create_virtual_account", "name": "ci" },
            }),
        )
        .await;
    let (id, position) = (answer.field("id"), answer.position());
    assert_eq!(position, before + 1);
    assert_eq!(
        answer.json()["events"],
        json!([{
            "position": position, "kind": "virtual_account_created", "stream": format!("virtual_account.{id}"),
        }])
    );
    assert!(answer.field("command_id").parse::<CommandId>().is_ok());

    let event = owner.get(&format!("/events/{position}")).await.json()["event"].clone();
    assert_eq!(
        (
            &event["why"],
            &event["actor_name"],
            &event["command_id"],
            &event["subject_name"]
        ),
        (
            &json!("for the build server"),
            &json!("owner"),
            &json!(answer.field("command_id")),
            &json!("ci")
        )
    );
    let needless = owner
        .command(json!({ "type": "enable_virtual_account", "virtual_account": id }))
        .await;
    assert_eq!(
        (needless.position(), &needless.json()["events"]),
        (position, &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sent_again_gives_the_same_answer_without_the_secret() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let account = virtual_account(&owner, "ci").await;
    let id: CommandId = commands::fresh::id();
    let body = json!({ "command_id": id, "why": "x", "command": issue_key(&account) });
    let first = owner.post("/commands", &body).await;
    let again = owner.post("/commands", &body).await;
    let without_secret = |answer: &Answer| {
        let mut json = answer.json();
        let secret = json.as_object_mut().and_then(|it| it.remove("secret"));
        (json, secret)
    };
    let ((first, secret), (again, none)) = (without_secret(&first), without_secret(&again));
    assert_eq!(first, again);
    assert!(secret.is_some() && none.is_none());
    assert_eq!(service.control.state().keys().len(), 1);

    let mut other = body.clone();
    other["why"] = json!("y");
    owner
        .post("/commands", &other)
        .await
        .refuses(409, "command_id_reused");
    let mut other = body.clone();
    other["command"]["label"] = json!("desk");
    owner
        .post("/commands", &other)
        .await
        .refuses(409, "command_id_reused");
    service.add_operator("other@example.com", Role::Owner).await;
    let somebody = service.sign_in("other@example.com", PASSWORD).await;
    somebody
        .post("/commands", &body)
        .await
        .refuses(409, "command_id_reused");
    assert_eq!(service.control.state().keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_shows_its_new_secret_once_and_how_long_the_old_one_works() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let account = virtual_account(&owner, "ci").await;
    let issued = owner.command(issue_key(&account)).await;
    let (key, old) = (issued.field("id"), issued.field("secret"));
    let rotate = json!({
        "command_id": commands::fresh::id::<events_schema::id::CommandTag>(),
        "command": { "type": "rotate_key", "key": key, "grace_seconds": 3600 },
    });
    let first = owner.post("/commands", &rotate).await;
    let new = first.field("secret");
    assert!(new.starts_with("sk-") && new != old, "{new}");
    let again = owner.post("/commands", &rotate).await;
    assert_eq!(again.json()["secret"], Value::Null);
    assert_eq!(again.position(), first.position());

    let ends_with = |text: &str| text[text.len() - 4..].to_owned();
    let item = owner.get(&format!("/keys/{key}")).await.json();
    assert_eq!(item["hint"], ends_with(&new));
    assert_eq!(item["former_secret"]["hint"], ends_with(&old));
    assert!(item["former_secret"]["works_until"].is_string(), "{item}");

    owner
        .command(json!({ "type": "revoke_former_secret", "key": key }))
        .await;
    let item = owner.get(&format!("/keys/{key}")).await.json();
    assert_eq!(item["former_secret"], Value::Null);
    owner
        .try_command(json!({ "type": "rotate_key", "key": key, "grace_seconds": 7_776_001 }))
        .await
        .refuses_at(422, "grace_too_long", "grace_seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_again_also_when_its_subject_is_gone_since() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let made = owner
        .command(json!({
            "type": "register_provider_account", "name": "openai", "provider": "openai",
            "base_url": "https://api.example/v1", "credential": "sk-upstream-1",
        }))
        .await;
    let account = made.field("id");
    let id: CommandId = commands::fresh::id();
    let replace = json!({
        "command_id": id,
        "command": { "type": "replace_provider_credential", "account": account, "credential": "sk-upstream-2" },
    });
    let first = owner.post("/commands", &replace).await;
    owner
        .command(json!({ "type": "delete_provider_account", "account": account }))
        .await;
    let again = owner.post("/commands", &replace).await;
    assert_eq!(first.json(), again.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_a_problem_with_the_field_and_can_be_sent_again_when_it_no_longer_holds() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let account = virtual_account(&owner, "ci").await;
    let body = json!({
        "command_id": commands::fresh::id::<events_schema::id::CommandTag>(),
        "command": { "type": "create_virtual_account", "name": "ci" },
    });
    let refused = owner.post("/commands", &body).await;
    refused.refuses_at(409, "name_taken", "name");
    assert_eq!(
        refused.json()["detail"],
        "There is already a virtual account named 'ci'."
    );
    owner
        .command(json!({ "type": "delete_virtual_account", "virtual_account": account }))
        .await;
    assert_eq!(owner.post("/commands", &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_checked_at_the_edge_and_the_mistake_is_named() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let account = virtual_account(&owner, "ci").await;
    let register = |base_url: &str, credential: &str| {
        json!({
            "type": "register_provider_account", "name": "a", "provider": "openai", "base_url": base_url,
            "credential": credential,
        })
    };
    let mut unlabelled = issue_key(&account);
    unlabelled["label"] = json!(" ");
    let mut without_limits = issue_key(&account);
    without_limits["limits"] = json!({ "requests_per_minute": 0, "tokens_per_minute": null });
    for (command, code, field) in [
        (
            json!({ "type": "create_virtual_account", "name": "No Slug" }),
            "invalid",
            "name",
        ),
        (register("ftp://x", "k"), "invalid", "base_url"),
        (
            register("https://api.example/v1", "two words"),
            "invalid",
            "credential",
        ),
        (
            register("https://api.example/v1", ""),
            "invalid",
            "credential",
        ),
        (
            json!({ "type": "add_user", "email": "bob", "name": "Bob" }),
            "invalid",
            "email",
        ),
        (
            json!({ "type": "add_user", "email": "bob@example.com", "name": "" }),
            "invalid",
            "name",
        ),
        (
            json!({
                "type": "add_operator", "email": "bob@example.com", "name": "Bob", "role": "viewer",
                "password": "short",
            }),
            "invalid",
            "password",
        ),
        (unlabelled, "invalid", "label"),
        (
            without_limits,
            "limit_too_low",
            "limits.requests_per_minute",
        ),
    ] {
        let answer = owner.try_command(command).await;
        answer.refuses_at(422, code, field);
    }
    let long = json!({ "why": "x".repeat(501), "command": issue_key(&account) });
    owner
        .post("/commands", &long)
        .await
        .refuses_at(422, "invalid", "why");
    let unknown = owner.try_command(json!({ "type": "launch_rocket" })).await;
    unknown.refuses(400, "bad_json");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once_and_lie_nowhere_in_plain_text() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let account = virtual_account(&owner, "ci").await;
    let key = owner.command(issue_key(&account)).await;
    let (id, secret) = (key.field("id"), key.field("secret"));
    assert!(secret.starts_with("sk-sluice-"), "{secret}");
    owner
        .command(json!({
            "type": "register_provider_account", "name": "openai", "provider": "openai",
            "base_url": "https://api.example/v1", "credential": "sk-upstream-secret",
        }))
        .await;
    let token = owner
        .post("/tokens", &json!({ "label": "ci", "expires_at": null }))
        .await
        .field("secret");
    let shown = owner.get(&format!("/keys/{id}")).await;
    assert!(secret.ends_with(&shown.field("hint")));

    let mut connection = service.postgres.connect("postgres").await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("Postgres answers");
    assert!(tables.len() >= 10, "{tables:?}");
    for table in tables {
        let sql = format!("SELECT string_agg(it::text, ' ') FROM \"{table}\" it");
        let all: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await
            .expect("Postgres answers");
        let all = all.unwrap_or_default();
        for plain in [&secret, &token, "sk-upstream-secret", PASSWORD] {
            let as_bytes = hex::encode(plain);
            assert!(
                !all.contains(plain) && !all.contains(&as_bytes),
                "{table} holds {plain}"
            );
        }
    }
    for path in ["/keys", "/events?limit=200", "/provider-accounts", "/state"] {
        let body = String::from_utf8_lossy(&owner.get(path).await.body).into_owned();
        for plain in [&secret, &token, "sk-upstream-secret"] {
            assert!(!body.contains(plain), "{path} shows {plain}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_name_and_address_are_in_no_event_and_gone_when_the_user_is_deleted() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let bob = owner
        .command(json!({ "type": "add_user", "email": "Bob@Example.com", "name": "Bob Baker" }))
        .await
        .field("id");
    let twin = owner
        .try_command(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" }))
        .await;
    twin.refuses_at(409, "email_taken", "email");
    let shown = owner.get(&format!("/users/{bob}")).await;
    assert_eq!(
        (shown.field("name"), shown.field("email")),
        ("Bob Baker".into(), "Bob@Example.com".into())
    );
    let digest = owner.get("/status").await.field("state_digest");
    let log: String = sqlx::query_scalar("SELECT string_agg(payload, ' ') FROM events")
        .fetch_one(service.control.pool())
        .await
        .expect("Postgres answers");
    assert!(!log.to_lowercase().contains("bob"), "{log}");

    owner
        .command(json!({ "type": "delete_user", "user": bob }))
        .await;
    let people: i64 = sqlx::query_scalar("SELECT count(*) FROM people WHERE email ILIKE 'bob@%'")
        .fetch_one(service.control.pool())
        .await
        .expect("Postgres answers");
    assert_eq!(people, 0);
    let verified = owner.post("/verify", &json!({})).await;
    assert_eq!(verified.json()["ok"], true, "{verified:?}");
    assert_ne!(owner.get("/status").await.field("state_digest"), digest);
}

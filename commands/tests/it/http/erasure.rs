//! What is erased or shredded leaves no trace beside the log, and the log stays as it was.

use events_schema::events::Role;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::service::{PASSWORD, Service};

/// Every row of every table that the service has, as text.
async fn everything_in_postgres(service: &Service) -> String {
    let pool = sqlx::PgPool::connect(&service.postgres.url("sluice_owner"))
        .await
        .expect("Postgres answers");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&pool)
    .await
    .expect("a list of tables");
    assert!(tables.len() > 8, "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let sql = format!("SELECT t::text FROM {table} t");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await;
        for row in rows.expect("the rows of a table") {
            text.push_str(&table);
            text.push_str(row.try_get::<&str, _>(0).expect("text"));
            text.push('\n');
        }
    }
    text
}

/// What the history and the state are, and that both are whole.
async fn digest_at(service: &Service, position: u64) -> String {
    let state = service.control.state_at(position).await;
    let state = state.expect("the log is read").expect("it reaches so far");
    state.state_digest().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_leaves_no_name_and_no_address_and_the_history_stays() {
    let service = Service::start_with_nats().await;
    let owner = service.owner().await;
    let user = owner
        .command(json!({ "type": "add_user", "email": "Ada.Lovelace@Example.com", "name": "Ada Lovelace" }))
        .await
        .field("id");
    let key = json!({
        "type": "issue_key", "owner": { "user": user }, "label": "laptop", "expires_at": null,
    });
    owner.command(key).await;
    let gone = service
        .add_operator("grace.hopper@example.com", Role::Operator)
        .await;
    let operator = service.sign_in("grace.hopper@example.com", PASSWORD).await;
    let created = operator
        .command(json!({ "type": "create_virtual_account", "name": "ci" }))
        .await;
    for email in ["ada.lovelace@example.com", "grace.hopper@example.com"] {
        let refused = service.try_to_sign_in(email, "wrong horse battery").await;
        refused.refuses(401, "unauthenticated");
    }
    let traces = ["lovelace", "hopper"];
    let found = everything_in_postgres(&service).await.to_lowercase();
    assert!(traces.iter().all(|trace| found.contains(trace)), "{found}");

    let before = owner
        .command(json!({ "type": "remove_operator", "operator": gone }))
        .await
        .position();
    let (digest, hash) = (
        digest_at(&service, before).await,
        service.control.head().hash,
    );
    owner
        .command(json!({ "type": "erase_operator", "operator": gone }))
        .await;
    let erased = owner
        .command(json!({ "type": "erase_user", "user": user }))
        .await;
    assert_eq!(erased.json()["events"][0]["kind"], "user_erased");

    let found = everything_in_postgres(&service).await.to_lowercase();
    for trace in traces {
        assert!(!found.contains(trace), "'{trace}' is left: {found}");
    }
    // The chain, the fold and its digest are what they were, and the history says who did what by id.
    assert_eq!(digest_at(&service, before).await, digest);
    let event = service.control.event(before).await.expect("it is read");
    assert_eq!(event.expect("it is there").hash, hash);
    let report = service.control.verify().await.expect("it can be verified");
    assert!(report.ok, "{:?}", report.findings);
    let event = owner
        .get(&format!("/events/{}", created.position()))
        .await
        .json();
    assert_eq!(event["event"]["actor"], format!("operator:{gone}"));
    assert_eq!(event["event"]["actor_name"], Value::Null);
    let item = owner.get(&format!("/users/{user}")).await.json();
    assert_eq!(
        (&item["name"], &item["email"]),
        (&Value::Null, &Value::Null)
    );
    let keys = owner.get("/keys").await.json();
    assert_eq!(
        keys["items"][0]["owner_name"],
        format!("erased person {user}")
    );

    // Whoever was erased may come back, as somebody else.
    owner
        .command(json!({ "type": "add_user", "email": "ada.lovelace@example.com", "name": "Ada" }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_name_and_a_former_address_are_kept_nowhere_and_the_history_says_that_they_changed()
 {
    let service = Service::start_with_nats().await;
    let owner = service.owner().await;
    let user = owner
        .command(json!({ "type": "add_user", "email": "ada@byron.example", "name": "Ada Byron" }))
        .await
        .field("id");
    let operator = service
        .add_operator("grace@murray.example", Role::Viewer)
        .await;
    owner
        .command(json!({ "type": "rename_operator", "operator": operator, "name": "Grace Murray" }))
        .await;
    let traces = ["byron", "murray"];
    let found = everything_in_postgres(&service).await.to_lowercase();
    assert!(traces.iter().all(|trace| found.contains(trace)), "{found}");

    let why = json!({
        "why": "married",
        "command": { "type": "rename_user", "user": user, "name": "Ada Lovelace" },
    });
    let renamed = owner.post("/commands", &why).await;
    assert_eq!(renamed.json()["events"][0]["kind"], "user_renamed");
    let orders = [
        json!({ "type": "change_user_email", "user": user, "email": "ada@example.com" }),
        json!({ "type": "rename_operator", "operator": operator, "name": "Grace Hopper" }),
        json!({ "type": "change_operator_email", "operator": operator, "email": "grace@example.com" }),
    ];
    for order in &orders {
        owner.command(order.clone()).await;
    }
    let found = everything_in_postgres(&service).await.to_lowercase();
    for trace in traces {
        assert!(!found.contains(trace), "'{trace}' is left: {found}");
    }
    let path = format!("/events/{}", renamed.position());
    let event = owner.get(&path).await.json();
    assert_eq!(event["event"]["why"], "married");
    assert_eq!(event["event"]["payload"], json!({}));
    assert_eq!(event["event"]["subject_name"], "Ada Lovelace");
    assert_eq!(
        owner.get(&format!("/users/{user}")).await.field("name"),
        "Ada Lovelace"
    );
    // What already is so changes nothing.
    let position = service.control.head().position;
    for order in &orders {
        let again = owner.command(order.clone()).await;
        assert_eq!(again.json()["events"], json!([]), "{order}");
    }
    assert_eq!(service.control.head().position, position);
    owner
        .command(json!({ "type": "erase_user", "user": user }))
        .await;
    owner
        .try_command(why["command"].clone())
        .await
        .refuses_at(409, "person_erased", "user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_or_replaced_credential_leaves_no_ciphertext() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let register = |name: &str| {
        json!({
            "type": "register_provider_account", "name": name, "provider": "openai",
            "base_url": "https://api.example/v1", "credential": "sk-upstream-1",
        })
    };
    let account = owner.command(register("openai")).await.field("id");
    owner.command(register("other")).await;
    let pool = service.control.pool();
    let sealed = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM sealed_secrets WHERE account = $1::uuid")
            .bind(&account)
            .fetch_one(pool)
            .await
            .expect("Postgres answers")
    };
    assert_eq!(sealed().await, 1);
    let replace = json!({
        "type": "replace_provider_credential", "account": account, "credential": "sk-upstream-2",
    });
    owner.command(replace.clone()).await;
    assert_eq!(sealed().await, 1, "the one that was replaced is gone");
    let shred = json!({ "type": "shred_provider_credential", "account": account });
    owner.command(shred).await;
    assert_eq!(sealed().await, 0);
    let path = format!("/provider-accounts/{account}");
    let item = owner.get(&path).await.json();
    assert_eq!(
        (&item["has_credential"], &item["credential_shredded"]),
        (&json!(false), &json!(true))
    );
    owner.command(replace).await;
    assert_eq!(sealed().await, 1);
    let item = owner.get(&path).await.json();
    assert_eq!(item["credential_shredded"], json!(false));
    owner
        .command(json!({ "type": "delete_provider_account", "account": account }))
        .await;
    assert_eq!(sealed().await, 0, "nobody needs it any more");
    let others: i64 = sqlx::query_scalar("SELECT count(*) FROM sealed_secrets")
        .fetch_one(pool)
        .await
        .expect("Postgres answers");
    assert_eq!(others, 1, "the other account's stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_owner_erases_people() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let add = json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" });
    let user = owner.command(add).await.field("id");
    for role in [Role::Operator, Role::Auditor, Role::Viewer] {
        let email = format!("{role:?}@example.com").to_lowercase();
        service.add_operator(&email, role).await;
        let caller = service.sign_in(&email, PASSWORD).await;
        for command in [
            json!({ "type": "erase_user", "user": user }),
            json!({ "type": "erase_operator", "operator": user }),
        ] {
            caller.try_command(command).await.refuses(403, "forbidden");
        }
    }
    assert_eq!(
        owner.get(&format!("/users/{user}")).await.field("name"),
        "Bob"
    );
}

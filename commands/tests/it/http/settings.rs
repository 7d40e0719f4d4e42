//! What holds for the whole organisation: read by everybody, changed by owners, and felt at once.

use events_schema::events::Role;
use serde_json::{Value, json};

use crate::support::service::{Caller, PASSWORD, Service};

fn bounds(idle_minutes: u32, longest_hours: u32) -> Value {
    json!({ "type": "change_session_bounds", "idle_minutes": idle_minutes, "longest_hours": longest_hours })
}

/// Makes all sessions as old as if they had begun, or been used last, so many minutes ago.
async fn ages(service: &Service, column: &str, minutes: i64) {
    let then = commands::clock::now().micros() - minutes * 60_000_000;
    let sql = format!("UPDATE sessions SET {column} = $1");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(then)
        .execute(service.control.pool())
        .await
        .expect("the sessions age");
}

async fn works(caller: &Caller<'_>) -> bool {
    caller.get("/sessions/current").await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_changed_is_as_it_was_and_what_was_changed_is_told_with_the_history() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let first = json!({
        "organisation": null,
        "retention": { "requests_days": 400, "sums_days": 1_200 },
        "sessions": { "idle_minutes": 720, "longest_hours": 168 },
        "life": null,
    });
    assert_eq!(owner.get("/settings").await.json(), first);
    let named = owner
        .command(json!({ "type": "rename_organisation", "name": "Acme" }))
        .await;
    let keep = json!({ "type": "change_retention", "requests_days": 30, "sums_days": 365 });
    let kept = owner.command(keep).await;
    owner.command(bounds(15, 8)).await;
    let now = owner.get("/settings").await.json();
    assert_eq!(
        (&now["organisation"], &now["retention"], &now["sessions"]),
        (
            &json!("Acme"),
            &json!({ "requests_days": 30, "sums_days": 365 }),
            &json!({ "idle_minutes": 15, "longest_hours": 8 })
        )
    );
    assert_eq!(now["life"]["version"], 3);
    let event = owner
        .get(&format!("/events/{}", kept.position()))
        .await
        .json();
    assert_eq!(
        (&event["event"]["kind"], &event["event"]["stream"]),
        (&json!("retention_changed"), &json!("settings"))
    );
    assert_eq!(event["before"]["retention"], first["retention"]);
    assert_eq!(event["after"]["retention"], now["retention"]);
    let listed = owner.get("/events?aggregate=settings").await.json();
    assert_eq!(listed["items"].as_array().expect("a list").len(), 3);
    // As of any position, and as of the beginning.
    let past = owner
        .get(&format!("/state?position={}", named.position()))
        .await;
    assert_eq!(
        past.json()["state"]["settings"]["retention"],
        first["retention"]
    );
    for (command, field) in [
        (
            json!({ "type": "rename_organisation", "name": " " }),
            "name",
        ),
        (bounds(4, 8), "idle_minutes"),
    ] {
        let (status, _, at) = owner.try_command(command).await.problem();
        assert_eq!((status, at.as_deref()), (422, Some(field)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_there_are_obey_a_new_bound_at_once() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let made = owner
        .post("/tokens", &json!({ "label": "ci", "expires_at": null }))
        .await;
    let ci = service.bearer(&made.field("secret"));
    service.add_operator("eve@example.com", Role::Viewer).await;
    let sign_in = async || service.sign_in("eve@example.com", PASSWORD).await;

    // Six minutes without use.
    let eve = sign_in().await;
    ages(&service, "last_used_us", 6).await;
    assert!(works(&eve).await, "and it is used now");
    ages(&service, "last_used_us", 6).await;
    ci.command(bounds(5, 168)).await;
    assert!(!works(&eve).await);
    // What was too long then is not too long now.
    ci.command(bounds(7, 168)).await;
    assert!(works(&eve).await);

    // Two hours since the sign-in, in use all the time.
    ages(&service, "created_us", 121).await;
    assert!(works(&eve).await);
    ci.command(bounds(7, 2)).await;
    assert!(!works(&eve).await);
    assert_eq!(eve.get("/sessions").await.status, 401);
    ci.command(bounds(7, 3)).await;
    assert!(works(&eve).await);
    let shown = eve.get("/sessions").await.json()[0].clone();
    let time = |field: &str| -> events_schema::time::Timestamp {
        serde_json::from_value(shown[field].clone()).expect("a time")
    };
    let lasts = time("expires_at").micros() - time("created_at").micros();
    assert_eq!(lasts, 3 * 3_600_000_000);

    // Whoever signs in takes away what has ended.
    ci.command(bounds(7, 2)).await;
    sign_in().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(service.control.pool())
        .await
        .expect("Postgres answers");
    assert_eq!(left, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_reads_the_settings_and_owners_change_them() {
    let service = Service::start().await;
    for role in [Role::Operator, Role::Auditor, Role::Viewer] {
        let email = format!("{role:?}@example.com").to_lowercase();
        service.add_operator(&email, role).await;
        let caller = service.sign_in(&email, PASSWORD).await;
        assert_eq!(caller.get("/settings").await.status, 200, "{role:?}");
        for command in [
            json!({ "type": "rename_organisation", "name": "Acme" }),
            json!({ "type": "change_retention", "requests_days": 30, "sums_days": 365 }),
            bounds(15, 8),
        ] {
            caller.try_command(command).await.refuses(403, "forbidden");
        }
        let document = "sluice: v1\nsettings:\n  organisation: Acme\n";
        let body = json!({ "document": document });
        caller.post("/apply", &body).await.refuses(403, "forbidden");
    }
    assert_eq!(service.control.state().settings().life, None);
}

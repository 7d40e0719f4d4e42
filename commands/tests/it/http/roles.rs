//! Who may do what: every route and every role, against the table.

use commands::auth::roles::{ROUTES, Right, allows};
use events_schema::events::Role;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::service::{PASSWORD, Service};

const ROLES: [(Role, &str); 4] = [
    (Role::Owner, "an-owner@example.com"),
    (Role::Operator, "an-operator@example.com"),
    (Role::Auditor, "an-auditor@example.com"),
    (Role::Viewer, "a-viewer@example.com"),
];

/// A path of the table with something in the place of its parameters, below `/api/v1`.
fn filled(path: &str) -> String {
    path.trim_start_matches("/api/v1")
        .replace("{id}", "00000000000000000000000000000000")
        .replace("{position}", "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_a_sign_in_but_the_public_ones() {
    let service = Service::start().await;
    for (method, path, right) in ROUTES {
        let body = (method != Method::GET).then(|| json!({}));
        let answer = service
            .anybody()
            .send(method.clone(), &filled(path), body.as_ref())
            .await;
        let asks = answer.status == StatusCode::UNAUTHORIZED;
        assert_eq!(asks, *right != Right::Public, "{method} {path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_do_what_the_table_says_and_nothing_else() {
    let service = Service::start().await;
    for (role, email) in ROLES {
        service.add_operator(email, role).await;
        let mut caller = service.sign_in(email, PASSWORD).await;
        for (method, path, right) in ROUTES {
            // An empty body: whoever may come in is told what is missing, and nothing changes.
            let body = (method != Method::GET).then(|| json!({}));
            let answer = caller
                .open(
                    method.clone(),
                    &filled(path),
                    "application/json",
                    body.map(|body| body.to_string().into()),
                )
                .await;
            let refused = answer.status() == StatusCode::FORBIDDEN;
            assert_eq!(refused, !allows(role, *right), "{role:?}: {method} {path}");
            if path.ends_with("/sessions/current") && method == Method::DELETE {
                caller = service.sign_in(email, PASSWORD).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_change_operators_and_only_owners_and_operators_anything_at_all() {
    let service = Service::start().await;
    let commands = |name: &str| -> [(Value, [bool; 4]); 2] {
        let account = json!({ "type": "create_virtual_account", "name": name });
        let operator = json!({
            "type": "add_operator", "email": format!("{name}@example.com"), "name": name, "role": "viewer",
            "password": PASSWORD,
        });
        [
            (account, [true, true, false, false]),
            (operator, [true, false, false, false]),
        ]
    };
    for (number, (role, email)) in ROLES.into_iter().enumerate() {
        service.add_operator(email, role).await;
        let caller = service.sign_in(email, PASSWORD).await;
        for (command, may) in commands(&format!("by-{number}")) {
            let answer = caller.try_command(command.clone()).await;
            if may[number] {
                assert_eq!(answer.status, StatusCode::OK, "{role:?}: {command}");
            } else {
                answer.refuses(403, "forbidden");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_can_manage_operators_always_remains() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let id = owner.get("/sessions/current").await.field("operator");
    let remove = json!({ "type": "remove_operator", "operator": id });
    owner
        .try_command(remove.clone())
        .await
        .refuses(409, "last_owner");
    service
        .add_operator("second@example.com", Role::Owner)
        .await;
    let second = service.sign_in("second@example.com", PASSWORD).await;
    second.command(remove).await;
    owner
        .get("/sessions/current")
        .await
        .refuses(401, "unauthenticated");
    // The history goes on to say who it was.
    let first = second.get("/events?kind=operator_added&limit=1").await;
    assert_eq!(first.status, 200);
}

//! Who may do what: every route and every role, against the table.

use commands::auth::roles::{ROUTES, Right, allows, right_of_command};
use events_schema::{api::commands::NewCommand, events::Role};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::service::{Answer, Caller, PASSWORD, Service};

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
        .replace("{kind}", "key")
}

/// A request to a route with a body that is empty: whoever may come in is told what is missing, and nothing changes.
async fn ask(caller: &Caller<'_>, method: &Method, path: &str) -> Answer {
    let body = (method != Method::GET).then(|| json!({}));
    caller
        .send(method.clone(), &filled(path), body.as_ref())
        .await
}

/// That whoever shows this is asked to sign in, wherever not everybody may come in.
async fn is_asked_to_sign_in(caller: &Caller<'_>, who: &str) {
    for (method, path, right) in ROUTES {
        let answer = ask(caller, method, path).await;
        if *right == Right::Public {
            assert_ne!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{who}: {method} {path}"
            );
        } else {
            answer.refuses(401, "unauthenticated");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_a_sign_in_but_the_public_ones() {
    let service = Service::start().await;
    let pool = service.control.pool();
    let hours = |hours: i64| commands::clock::now().micros() - hours * 3_600_000_000;
    is_asked_to_sign_in(&service.anybody(), "nobody").await;
    let unknown = "0".repeat(64);
    let made_up = service
        .anybody()
        .with("cookie", &format!("sluice_session={unknown}"))
        .with("x-csrf-token", &unknown);
    is_asked_to_sign_in(&made_up, "somebody with a made-up cookie").await;
    let bearer = service.bearer(&format!("slt-{unknown}"));
    is_asked_to_sign_in(&bearer, "somebody with a made-up token").await;
    for (role, email) in ROLES {
        let id = service.add_operator(email, role).await;
        // A session after seven days, and one that nobody has used for twelve hours.
        for (column, micros) in [("created_us", hours(7 * 24)), ("last_used_us", hours(12))] {
            let caller = service.sign_in(email, PASSWORD).await;
            let sql = format!("UPDATE sessions SET {column} = $1 WHERE operator_id = $2");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(micros)
                .bind(id.uuid())
                .execute(pool)
                .await
                .expect("the sessions end");
            is_asked_to_sign_in(
                &caller,
                &format!("{role:?} with a session past its {column}"),
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_sessions_own_csrf_token_nobody_changes_anything() {
    let service = Service::start().await;
    for (role, email) in ROLES {
        service.add_operator(email, role).await;
        let caller = service.sign_in(email, PASSWORD).await;
        let other = service.sign_in(email, PASSWORD).await;
        let position = service.control.head().position;
        let forged = [
            caller.clone().without("x-csrf-token"),
            caller.clone().with("x-csrf-token", ""),
            caller.clone().with("x-csrf-token", &"0".repeat(64)),
            other.clone().with("cookie", &caller.header("cookie")),
        ];
        for (method, path, right) in ROUTES {
            for forged in &forged {
                if *method == Method::GET || *right == Right::Public {
                    continue;
                }
                ask(forged, method, path).await.refuses(403, "csrf");
            }
        }
        assert_eq!(service.control.head().position, position);
        // What reads needs no token, and the session is as good as before.
        let status = forged[0].get("/sessions/current").await.status;
        assert_eq!(status, StatusCode::OK, "{role:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_in_where_its_operator_does_but_not_to_what_asks_for_a_session() {
    let service = Service::start().await;
    for (role, email) in ROLES {
        service.add_operator(email, role).await;
        let caller = service.sign_in(email, PASSWORD).await;
        let token = json!({ "label": "ci", "expires_at": null });
        let made = caller.post("/tokens", &token).await;
        let bearer = service.bearer(&made.field("secret"));
        for (method, path, right) in ROUTES {
            let mut answer = bearer
                .open(
                    method.clone(),
                    &filled(path),
                    "application/json",
                    (*method != Method::GET).then(|| "{}".into()),
                )
                .await;
            answer.headers_mut().clear();
            let refused = answer.status() == StatusCode::FORBIDDEN;
            let may = allows(role, *right) && *right != Right::OwnBySession;
            assert_eq!(refused, !may, "{role:?} with a token: {method} {path}");
        }
        caller
            .delete(&format!("/tokens/{}", made.field("id")))
            .await;
        is_asked_to_sign_in(&bearer, "somebody with a revoked token").await;
    }
}

/// A value of this schema that is as small as it can be.
fn smallest(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return smallest(document, target.expect("it leads somewhere"));
    }
    for one_of in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[one_of].as_array().and_then(|all| all.last()) {
            return smallest(document, first);
        }
    }
    if let Some(value) = schema["enum"].as_array().and_then(|all| all.first()) {
        return value.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].clone(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten();
            let names = required.filter_map(Value::as_str);
            let fields = names.map(|name| {
                let field = smallest(document, &schema["properties"][name]);
                (name.to_owned(), field)
            });
            Value::Object(fields.collect())
        }
        Some("array") => json!([]),
        Some("integer") => json!(1),
        Some("boolean") => json!(false),
        Some("string")
            if schema["pattern"]
                .as_str()
                .is_some_and(|it| it.contains("32")) =>
        {
            json!("0".repeat(32))
        }
        Some("string")
            if schema["pattern"]
                .as_str()
                .is_some_and(|it| it.contains("0-9")) =>
        {
            json!("1")
        }
        Some("string") if schema["format"] == "date-time" => json!("2030-01-01T00:00:00Z"),
        Some("string") => json!("a"),
        _ => Value::Null,
    }
}

/// What only owners may do.
const OWNERS_ALONE: [&str; 13] = [
    "rename_organisation",
    "change_retention",
    "change_session_bounds",
    "add_operator",
    "change_operator_role",
    "rename_operator",
    "change_operator_email",
    "set_operator_password",
    "disable_operator",
    "enable_operator",
    "remove_operator",
    "erase_user",
    "erase_operator",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_taken_from_those_who_may_give_it_and_from_nobody_else() {
    let service = Service::start().await;
    let document = service.anybody().get("/openapi.json").await.json();
    let all = document["components"]["schemas"]["NewCommand"]["oneOf"].as_array();
    let commands: Vec<Value> = all
        .expect("one of the commands")
        .iter()
        .map(|schema| smallest(&document, schema))
        .collect();
    assert!(commands.len() > 50, "{}", commands.len());
    for (role, email) in ROLES {
        service.add_operator(email, role).await;
        let caller = service.sign_in(email, PASSWORD).await;
        for command in &commands {
            let kind = command["type"].as_str().expect("a type");
            let parsed: NewCommand = serde_json::from_value(command.clone())
                .unwrap_or_else(|error| panic!("{kind}: {error}: {command}"));
            let may = match role {
                Role::Owner => true,
                Role::Operator => !OWNERS_ALONE.contains(&kind),
                Role::Auditor | Role::Viewer => false,
            };
            assert_eq!(
                allows(role, right_of_command(&parsed)),
                may,
                "{role:?}: {kind}"
            );
            let position = service.control.head().position;
            let answer = caller.try_command(command.clone()).await;
            if may {
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{role:?}: {kind}");
            } else {
                answer.refuses(403, "forbidden");
                assert_eq!(
                    service.control.head().position,
                    position,
                    "{role:?}: {kind}"
                );
            }
        }
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

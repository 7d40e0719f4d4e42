//! Signing in and out, cookies, forged requests, passwords and tokens.

use events_schema::events::Role;
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    eventually,
    service::{Caller, OWNER, PASSWORD, Service, Wanted},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_the_password_and_ends_by_signing_out() {
    let service = Service::start().await;
    let answer = service
        .try_to_sign_in(" Owner@Example.com ", PASSWORD)
        .await;
    let cookie = answer.text_of("set-cookie");
    for part in [
        "sluice_session=",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Path=/",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "this service speaks http: {cookie}"
    );
    assert_eq!(answer.text_of("cache-control"), "no-store");

    let owner = service.owner().await;
    let info = owner.get("/sessions/current").await;
    assert_eq!(
        (info.field("role"), info.field("email"), info.field("name")),
        ("owner".into(), OWNER.into(), "owner".into())
    );
    let out = owner.delete("/sessions/current").await;
    assert_eq!(out.status, 204);
    assert!(out.text_of("set-cookie").contains("Max-Age=0"));
    owner
        .get("/sessions/current")
        .await
        .refuses(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_of_ours_that_speaks_https_the_cookie_is_secure() {
    for trust_forwarded in [true, false] {
        let service = Service::start_as(Wanted {
            trust_forwarded,
            ..Wanted::default()
        })
        .await;
        let body = json!({ "email": OWNER, "password": PASSWORD });
        let through_proxy = service.anybody().with("x-forwarded-proto", "https");
        let cookie = through_proxy
            .post("/sessions", &body)
            .await
            .text_of("set-cookie");
        assert_eq!(cookie.ends_with("; Secure"), trust_forwarded, "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_sign_in_does_not_learn_why() {
    let service = Service::start().await;
    let id = service
        .add_operator("disabled@example.com", Role::Viewer)
        .await;
    let owner = service.owner().await;
    owner
        .command(json!({ "type": "disable_operator", "operator": id }))
        .await;
    let mut bodies = Vec::new();
    for (email, password) in [
        (OWNER, "wrong horse battery"),
        ("nobody@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("disabled@example.com", PASSWORD),
        (OWNER, ""),
    ] {
        let answer = service.try_to_sign_in(email, password).await;
        answer.refuses(401, "unauthenticated");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eleventh_wrong_password_is_refused_unseen_and_so_is_the_right_one_after_it() {
    let service = Service::start().await;
    service
        .add_operator("other@example.com", Role::Viewer)
        .await;
    for _ in 0..10 {
        let answer = service.try_to_sign_in(OWNER, "wrong horse battery").await;
        answer.refuses(401, "unauthenticated");
    }
    let answer = service.try_to_sign_in(OWNER, PASSWORD).await;
    answer.refuses(429, "too_many_sign_ins");
    let wait: u64 = answer.text_of("retry-after").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{wait}");
    service.sign_in("other@example.com", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_site_sends_is_not_believed() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let create = |name: &str| json!({ "type": "create_virtual_account", "name": name });
    let forged = [
        owner.clone().without("x-csrf-token"),
        owner.clone().with("x-csrf-token", "x"),
        owner.clone().with("sec-fetch-site", "cross-site"),
        owner.clone().with("sec-fetch-site", "same-site"),
        owner.clone().with("origin", "https://evil.example"),
        owner.clone().with("origin", "null"),
    ];
    for caller in forged {
        let refused = caller.try_command(create("forged")).await;
        refused.refuses(403, "csrf");
    }
    assert!(service.control.state().virtual_accounts().is_empty());
    let ours = owner.clone().with("sec-fetch-site", "same-origin");
    ours.command(create("ours")).await;

    // Reading changes nothing and needs no token; signing in from another site's page is refused.
    let reader = owner.without("x-csrf-token");
    assert_eq!(reader.get("/virtual-accounts").await.status, 200);
    let body = json!({ "email": OWNER, "password": PASSWORD });
    let elsewhere = service.anybody().with("origin", "https://evil.example");
    elsewhere
        .post("/sessions", &body)
        .await
        .refuses(403, "csrf");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changes_ones_own_password_by_showing_the_old_one_and_other_sessions_end() {
    const NEW: &str = "a better horse battery";
    let service = Service::start().await;
    let (here, there) = (service.owner().await, service.owner().await);
    let change = |current: &str, new: &str| json!({ "current": current, "new": new });
    let path = "/me/password";
    let refused = here.put(path, &change("wrong horse battery", NEW)).await;
    refused.refuses_at(422, "invalid", "current");
    let refused = here.put(path, &change(PASSWORD, "short")).await;
    refused.refuses_at(422, "invalid", "new");
    assert_eq!(there.get("/sessions/current").await.status, 200);

    assert_eq!(here.put(path, &change(PASSWORD, NEW)).await.status, 204);
    assert_eq!(here.get("/sessions/current").await.status, 200);
    there
        .get("/sessions/current")
        .await
        .refuses(401, "unauthenticated");
    let old = service.try_to_sign_in(OWNER, PASSWORD).await;
    old.refuses(401, "unauthenticated");
    service.sign_in(OWNER, NEW).await;
    let kind = here.get("/events?limit=1").await.json()["items"][0]["kind"].clone();
    assert_eq!(kind, "operator_password_changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_role_one_changes_ones_own_name_and_nobody_elses() {
    let service = Service::start().await;
    service.add_operator("eve@example.com", Role::Viewer).await;
    let viewer = service.sign_in("eve@example.com", PASSWORD).await;
    let name = |name: &str| json!({ "name": name });
    let refused = viewer.put("/me/name", &name(" ")).await;
    refused.refuses_at(422, "invalid", "name");
    assert_eq!(viewer.put("/me/name", &name("Eve")).await.status, 204);
    assert_eq!(viewer.get("/sessions/current").await.field("name"), "Eve");
    let head = service.control.head().position;
    let event = service.control.event(head).await.expect("it is read");
    let event = event.expect("it is there");
    let operator = viewer.get("/sessions/current").await.field("operator");
    assert_eq!(
        (event.kind.as_str(), event.stream.to_string()),
        ("operator_renamed", format!("operator.{operator}"))
    );
    // The same name again is no change.
    assert_eq!(viewer.put("/me/name", &name("Eve")).await.status, 204);
    assert_eq!(service.control.head().position, head);
    viewer
        .try_command(json!({ "type": "rename_operator", "operator": operator, "name": "Mallory" }))
        .await
        .refuses(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_signs_in_with_the_new_address() {
    let service = Service::start().await;
    let id = service.add_operator("eve@example.com", Role::Viewer).await;
    let owner = service.owner().await;
    let change =
        |email: &str| json!({ "type": "change_operator_email", "operator": id, "email": email });
    let refused = owner.try_command(change(OWNER)).await;
    refused.refuses_at(409, "email_taken", "email");
    owner.command(change("Eve@Example.org")).await;
    let old = service.try_to_sign_in("eve@example.com", PASSWORD).await;
    old.refuses(401, "unauthenticated");
    let eve = service.sign_in("eve@example.org", PASSWORD).await;
    let shown = eve.get("/sessions/current").await.field("email");
    assert_eq!(shown, "Eve@Example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_from_within_a_session_are_counted_too() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let wrong = json!({ "current": "wrong horse battery", "new": PASSWORD });
    for _ in 0..10 {
        let answer = owner.put("/me/password", &wrong).await;
        answer.refuses_at(422, "invalid", "current");
    }
    let answer = owner.put("/me/password", &wrong).await;
    answer.refuses(429, "too_many_sign_ins");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sees_and_ends_ones_own_sessions_and_nobody_elses() {
    let service = Service::start().await;
    service.add_operator("other@example.com", Role::Owner).await;
    let other = service.sign_in("other@example.com", PASSWORD).await;
    let (one, two) = (service.owner().await, service.owner().await);
    let third = service.owner().await;

    let list = one.own_sessions().await;
    assert_eq!(list.len(), 3);
    let current: Vec<_> = list.iter().filter(|it| it["current"] == true).collect();
    assert_eq!(current.len(), 1);
    let of_two = two.own_sessions().await;
    let of_two = of_two
        .iter()
        .find(|it| it["current"] == true)
        .expect("it is one");
    let path = format!("/sessions/{}", of_two["id"].as_str().expect("an id"));

    other.delete(&path).await.refuses(404, "not_found");
    assert_eq!(one.delete(&path).await.status, 204);
    two.get("/sessions/current")
        .await
        .refuses(401, "unauthenticated");
    assert_eq!(third.get("/sessions/current").await.status, 200);
    assert_eq!(one.delete("/sessions").await.status, 204);
    third
        .get("/sessions/current")
        .await
        .refuses(401, "unauthenticated");
    assert_eq!(one.get("/sessions/current").await.status, 200);
    assert_eq!(other.get("/sessions/current").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_or_demoted_operator_feels_it_with_the_next_request() {
    let service = Service::start().await;
    let id = service
        .add_operator("other@example.com", Role::Operator)
        .await;
    let owner = service.owner().await;
    let other = service.sign_in("other@example.com", PASSWORD).await;
    let create = |name: &str| json!({ "type": "create_virtual_account", "name": name });
    other.command(create("one")).await;
    owner
        .command(json!({ "type": "change_operator_role", "operator": id, "role": "viewer" }))
        .await;
    other
        .try_command(create("two"))
        .await
        .refuses(403, "forbidden");
    owner
        .command(json!({ "type": "disable_operator", "operator": id }))
        .await;
    other.get("/keys").await.refuses(401, "unauthenticated");
    owner
        .command(json!({ "type": "enable_operator", "operator": id }))
        .await;
    // The session ended for good; the password works again.
    other.get("/keys").await.refuses(401, "unauthenticated");
    service.sign_in("other@example.com", PASSWORD).await;

    owner
        .command(json!({ "type": "set_operator_password", "operator": id, "password": "another horse battery" }))
        .await;
    let old = service.try_to_sign_in("other@example.com", PASSWORD).await;
    old.refuses(401, "unauthenticated");
    service
        .sign_in("other@example.com", "another horse battery")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_operator_may_but_makes_no_other_and_ends_no_session() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let made = owner
        .post("/tokens", &json!({ "label": "ci", "expires_at": null }))
        .await;
    let secret = made.field("secret");
    assert!(secret.starts_with("slt-"), "{secret}");
    let listed = owner.get("/tokens").await;
    assert_eq!(listed.json()[0]["label"], "ci");
    assert!(!String::from_utf8_lossy(&listed.body).contains(&secret));

    // No cookie, no CSRF token: nobody else's page can send it.
    let ci = service.bearer(&secret);
    let done = ci
        .command(json!({ "type": "create_virtual_account", "name": "by-ci" }))
        .await;
    let event = ci.get(&format!("/events/{}", done.position())).await.json();
    let actor = event["event"]["actor"]
        .as_str()
        .expect("an actor")
        .to_owned();
    assert!(
        actor.starts_with("operator:") && actor.contains("/token:"),
        "{actor}"
    );
    assert_eq!(event["event"]["actor_name"], "owner (token ci)");

    let another = json!({ "label": "another", "expires_at": null });
    ci.post("/tokens", &another).await.refuses(403, "forbidden");
    ci.delete("/sessions").await.refuses(403, "forbidden");
    let password = json!({ "current": PASSWORD, "new": "a better horse battery" });
    ci.put("/me/password", &password)
        .await
        .refuses(403, "forbidden");

    let path = format!("/tokens/{}", made.field("id"));
    assert_eq!(owner.delete(&path).await.status, 204);
    ci.get("/keys").await.refuses(401, "unauthenticated");
    owner.delete(&path).await.refuses(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_does_not_work() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let past = json!({ "label": "ci", "expires_at": "2020-01-01T00:00:00Z" });
    let refused = owner.post("/tokens", &past).await;
    refused.refuses_at(422, "expiry_in_past", "expires_at");
    let soon = commands::clock::now().plus_micros(1_500_000);
    let made = owner
        .post("/tokens", &json!({ "label": "ci", "expires_at": soon }))
        .await;
    let ci = service.bearer(&made.field("secret"));
    assert_eq!(ci.get("/keys").await.status, 200);
    eventually("the token expires", || async {
        ci.get("/keys").await.status == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_and_known_to_nobody_is_answered_with_how_to_sign_in() {
    let service = Service::start().await;
    for caller in [
        service.anybody(),
        service.bearer("slt-nobodys"),
        service.bearer("sk-sluice-akey"),
        service.anybody().with("cookie", "sluice_session=nobodys"),
        service.anybody().with("authorization", "Basic eDp5"),
    ] {
        let answer = caller.get("/keys").await;
        answer.refuses(401, "unauthenticated");
        assert_eq!(
            answer.text_of("www-authenticate"),
            "Bearer realm=\"sluice\""
        );
        assert_eq!(caller.send(Method::HEAD, "/keys", None).await.status, 401);
    }
}

impl Caller<'_> {
    /// One's own sessions.
    async fn own_sessions(&self) -> Vec<Value> {
        let answer = self.get("/sessions").await;
        answer.json().as_array().expect("a list").clone()
    }
}

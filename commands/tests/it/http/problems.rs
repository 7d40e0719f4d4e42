//! What goes wrong is answered with a problem document (RFC 9457), whatever it is.

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    eventually,
    service::{self, Answer, Caller, Service},
};

async fn post(caller: &Caller<'_>, media_type: &str, body: &str) -> Answer {
    let body = Some(Bytes::copy_from_slice(body.as_bytes()));
    caller
        .send_bytes(Method::POST, "/commands", media_type, body)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_a_problem_that_says_where() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let json = "application/json";
    for (body, says) in [
        ("", "EOF"),
        ("{", "line 1 column 1"),
        (r#"{"command": {"type": "revoke_key"}}"#, "key"),
        (
            r#"{"command": {"type": "revoke_key", "key": "x"}}"#,
            "32 hexadecimal digits",
        ),
        (r#"{"commando": {}}"#, "commando"),
        (
            r#"{"command": {"type": "create_virtual_account", "name": "a", "nam": 1}}"#,
            "nam",
        ),
        ("[]", "CommandRequest"),
    ] {
        let answer = post(&owner, json, body).await;
        answer.refuses(400, "bad_json");
        let detail = answer.field("detail");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    post(&owner, "text/plain", "{}")
        .await
        .refuses(415, "unsupported_media_type");
    let large = format!(r#"{{"why": "{}"}}"#, "x".repeat(300 * 1024));
    post(&owner, json, &large)
        .await
        .refuses(413, "body_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_path_method_or_parameter_is_a_problem() {
    let service = Service::start().await;
    let owner = service.owner().await;
    for path in ["/rockets", "/keys/1/2", "//api", "//api/v2/keys", "//api/"] {
        owner.get(path).await.refuses(404, "unknown_route");
    }
    for (method, path, allows) in [
        (Method::PATCH, "/keys", "GET,HEAD"),
        (Method::DELETE, "/commands", "POST"),
        (Method::PUT, "/sessions", "POST,GET,HEAD,DELETE"),
    ] {
        let answer = owner.send(method.clone(), path, None).await;
        answer.refuses(405, "method_not_allowed");
        assert_eq!(answer.text_of("allow"), allows, "{method} {path}");
    }
    for (path, field) in [
        ("/keys?limit=x", "limit"),
        ("/keys?limit=201", "limit"),
        ("/keys?cursor=x", "cursor"),
        ("/keys?at_least=-1", "at_least"),
        ("/keys?colour=blue", "colour"),
        ("/served", "query"),
        ("/analytics/summary?from=x&to=x", "from"),
        (&asked_of_the_ledger("owner=bob"), "owner"),
        (&asked_of_the_ledger("key=bob"), "key"),
        (&asked_of_the_ledger("outcome=sideways"), "outcome"),
        (&asked_of_the_ledger("failed=perhaps"), "failed"),
        (&asked_of_the_ledger("exceeded=overloaded"), "exceeded"),
        (&asked_of_the_ledger("exceeded=user:00"), "exceeded"),
        (&asked_of_the_ledger("audited=perhaps"), "audited"),
        (&refused_in_a_day("owner=bob"), "owner"),
        (&refused_in_a_day("effect=sideways"), "effect"),
        (&refused_in_a_day("limit=1"), "limit"),
        (&asked_of_the_ledger("status=70000"), "status"),
        (&asked_of_the_ledger("streamed=2"), "streamed"),
        (&asked_of_the_ledger("gateway=here"), "gateway"),
        (&asked_of_the_ledger("request='x'"), "request"),
        (&asked_of_the_ledger("cursor=x"), "cursor"),
        (&asked_of_the_ledger("limit=201"), "limit"),
        ("/state/key?differs=perhaps", "differs"),
        ("/state/key?cursor=x", "cursor"),
        ("/state/key?position=999", "position"),
        ("/state/summary?position=1&at=2026-01-01T00:00:00Z", "at"),
        (
            "/analytics/summary?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "to",
        ),
    ] {
        let answer = owner.get(path).await;
        answer.refuses_at(422, "invalid", field);
    }
}

/// A list of requests of a day.
fn asked_of_the_ledger(filter: &str) -> String {
    format!("/analytics/requests?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&{filter}")
}

/// What was refused in a day.
fn refused_in_a_day(filter: &str) -> String {
    format!("/analytics/refusals?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&{filter}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_said_so_and_the_rest_goes_on() {
    let mut service = Service::start().await;
    let range = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
    {
        let owner = service.owner().await;
        // Nothing listens at the ledger's and the gateway's URLs.
        let answer = owner.get(&format!("/analytics/summary?{range}")).await;
        answer.refuses(503, "ledger_unavailable");
        let answer = owner.get(&format!("/analytics/refusals?{range}")).await;
        answer.refuses(503, "ledger_unavailable");
        let request = format!("/analytics/requests/{}", "0".repeat(32));
        owner.get(&request).await.refuses(503, "ledger_unavailable");
        let no_id = owner.get("/analytics/requests/no-id").await;
        no_id.refuses(404, "not_found");
        let status = owner.get("/status").await;
        assert_eq!(status.status, 200);
        assert_ne!(status.field("ledger_error"), "null");
        let chat = json!({ "model": "chat", "messages": [] });
        let answer = owner.post("/playground/chat/completions", &chat).await;
        answer.refuses(502, "gateway_unavailable");
        assert_eq!(owner.get("//readyz").await.status, 200);
    }
    service.postgres.kill().await;
    let anybody = service.anybody();
    anybody
        .get("//readyz")
        .await
        .refuses(503, "log_unavailable");
    assert_eq!(anybody.get("//healthz").await.status, 200);
    let answer = service.bearer("slt-something").get("/keys").await;
    answer.refuses(503, "log_unavailable");
    assert_eq!(answer.text_of("retry-after"), "1");
    service.postgres.resume().await;
    eventually("the service is ready again", || async {
        service.anybody().get("//readyz").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_starting_says_why_it_is_not_ready() {
    let service = Service::start().await;
    let app = service::app(false, CancellationToken::new());
    app.set_not_ready("Postgres cannot be reached".into());
    let starting = service.elsewhere(service::listen(&app).await);
    for path in ["//readyz", "/keys", "/status"] {
        let answer = starting
            .clone()
            .with("authorization", "Bearer slt-x")
            .get(path)
            .await;
        answer.refuses(503, "log_unavailable");
        let detail = answer.field("detail");
        assert!(detail.contains("Postgres cannot be reached"), "{detail}");
    }
    assert_eq!(starting.get("//healthz").await.status, 200);
    assert_eq!(starting.get("/openapi.json").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_and_headers_that_keep_browsers_careful() {
    let service = Service::start().await;
    let owner = service.owner().await;
    for path in ["/keys", "/rockets", "//healthz"] {
        let answer = owner.get(path).await;
        assert!(answer.text_of("x-request-id").parse::<uuid::Uuid>().is_ok());
        assert_eq!(answer.text_of("x-content-type-options"), "nosniff");
        assert_eq!(answer.text_of("referrer-policy"), "no-referrer");
    }
    let answer = owner.get("/keys").await;
    assert_eq!(answer.text_of("cache-control"), "no-store");
    assert!(
        answer
            .text_of("content-security-policy")
            .starts_with("default-src 'none'")
    );
    let page = owner.get("//").await;
    assert!(
        page.text_of("content-security-policy")
            .contains("script-src 'self'")
    );

    let metrics = String::from_utf8_lossy(&owner.get("//metrics").await.body).into_owned();
    let counted = "sluice_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/keys\",status=\"200\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    let position = format!("sluice_log_position {}\n", service.control.head().position);
    assert!(metrics.contains(&position), "{metrics}");
}

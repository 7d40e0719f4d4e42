//! Whole answers, errors, fallbacks and limits.

use events_schema::usage::Outcome;
use http::Method;

use crate::support::{
    gateway::Scene,
    provider::{Reply, answer, error},
    snapshots::{KEY, LIMITED_KEY, POOR_KEY},
};

const QUESTION: &str = r#"{"model":"both","messages":[{"role":"user","content":"Hello"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_passes_untouched_but_for_the_model_and_is_recorded_with_its_cost() {
    let scene = Scene::set(&[]).await;
    let body = r#"{"odd":[1e400,"ü"],"model":"both", "messages":[],"x_unknown":{"a":null}}"#;
    let headers = [
        ("authorization", &*format!("Bearer {KEY}")),
        ("x-sluice-metadata", r#"{"project":"p1"}"#),
        ("x-custom", "kept"),
        ("cookie", "secret=1"),
    ];
    let mut client = scene.gateway.client().await;
    let answer = client
        .send(Method::POST, "/v1/chat/completions", &headers, body)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hi");
    assert_eq!(answer.header("x-sluice-target"), "one/first");
    assert_eq!(answer.header("x-sluice-position"), "11");
    assert_eq!(answer.header("x-provider"), "yes");

    let requests = scene.one.requests();
    let [asked] = &requests[..] else {
        panic!("one request: {requests:?}");
    };
    assert_eq!(asked.path, "/v1/chat/completions");
    assert_eq!(asked.body, body.replace("\"both\"", "\"upstream-first\""));
    let head = asked.head.to_ascii_lowercase();
    assert!(head.contains("x-custom: kept"), "{head}");
    for kept_back in ["authorization", "cookie", "x-sluice-", KEY] {
        assert!(!head.contains(kept_back), "{kept_back} in {head}");
    }

    let record = scene.record_of(&answer).await;
    assert_eq!((record.outcome, record.status), (Outcome::Success, 200));
    assert_eq!((record.tokens.input, record.tokens.output), (10, 5));
    assert!(!record.tokens.estimated);
    // 10 tokens at 2,000 nano-dollars and 5 at 4,000.
    assert_eq!(record.cost.map(|it| it.nanos()), Some(40_000));
    assert_eq!(record.metadata["project"], "p1");
    assert_eq!(record.position, 11);
    assert_eq!(record.target.as_deref(), Some("one/first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again_in_both_directions() {
    let scene = Scene::set(&[]).await;
    let bearer = format!("Bearer {KEY}");
    let mut client = scene.gateway.client().await;
    for _ in 0..20 {
        let headers = [("authorization", bearer.as_str())];
        let answer = client
            .send(Method::POST, "/v1/chat/completions", &headers, QUESTION)
            .await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(scene.one.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_close_its_connections_whenever_it_likes() {
    let scene = Scene::set(&[]).await;
    let bearer = format!("Bearer {KEY}");
    let mut client = scene.gateway.client().await;
    let body = r#"{"usage":{"prompt_tokens":1,"completion_tokens":1}}"#.to_owned();
    for reply in [Reply::Last(body.clone()), Reply::UntilClose(body.clone())] {
        scene.one.replies(reply);
        for _ in 0..5 {
            let headers = [("authorization", bearer.as_str())];
            let answer = client
                .send(Method::POST, "/v1/chat/completions", &headers, QUESTION)
                .await;
            assert_eq!((answer.status.as_u16(), &answer.body), (200, &body));
            assert_eq!(answer.header("x-sluice-target"), "one/first");
        }
    }
    assert_eq!(scene.one.connections(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_did_wrong_is_told_in_openais_shape() {
    let scene = Scene::set(&[]).await;
    let check = async |key: &str, body: &str, status: u16, code: &str, outcome: Outcome| {
        let answer = scene.gateway.chat_as(key, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{body}");
        assert!(error["message"].as_str().is_some_and(|it| it.len() > 10));
        assert_eq!(error["request_id"], answer.header("x-request-id"));
        let record = scene.record_of(&answer).await;
        assert_eq!((record.outcome, record.status), (outcome, status), "{body}");
        assert_eq!(record.error_code.as_deref(), Some(code));
    };
    check(
        "wrong",
        QUESTION,
        401,
        "invalid_api_key",
        Outcome::Unauthenticated,
    )
    .await;
    check(
        POOR_KEY,
        QUESTION,
        403,
        "model_not_allowed",
        Outcome::Forbidden,
    )
    .await;
    check(
        KEY,
        r#"{"model":"none"}"#,
        404,
        "model_not_found",
        Outcome::UnknownModel,
    )
    .await;
    check(
        KEY,
        r#"{"messages":[]}"#,
        400,
        "invalid_request",
        Outcome::BadRequest,
    )
    .await;
    check(KEY, "{", 400, "invalid_request", Outcome::BadRequest).await;
    check(
        KEY,
        r#"{"model":"both","model":"none"}"#,
        400,
        "invalid_request",
        Outcome::BadRequest,
    )
    .await;
    check(
        KEY,
        r#"{"model":"both","stream":"yes"}"#,
        400,
        "invalid_request",
        Outcome::BadRequest,
    )
    .await;
    assert_eq!(
        scene.one.requests().len(),
        0,
        "none of it went to the provider"
    );

    let mut client = scene.gateway.client().await;
    for (method, path, status) in [
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/v1/chat/completions", 405),
        (Method::POST, "/v1/models", 405),
        (Method::POST, "/v1/chat/completions", 401),
    ] {
        let answer = client.send(method, path, &[], "").await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.json()["error"]["message"].is_string(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_the_models_that_it_may_use() {
    let scene = Scene::set(&[]).await;
    let names = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let mut client = scene.gateway.client().await;
        let answer = client.send(Method::GET, "/v1/models", &headers, "").await;
        let list = answer.json()["data"].as_array().cloned().expect("a list");
        let names: Vec<_> = list
            .iter()
            .map(|it| it["id"].as_str().expect("a name").to_owned())
            .collect();
        names
    };
    assert_eq!(names(KEY).await, ["both", "one/first", "two/second"]);
    assert_eq!(names(LIMITED_KEY).await, ["both"]);
    assert_eq!(names(POOR_KEY).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_target_stands_in_for_one_that_fails() {
    let scene = Scene::set(&["--response-timeout-ms", "300"]).await;
    let failing = [
        (error(503), Some(503), None),
        (error(429), Some(429), None),
        (Reply::Break, None, Some("broken")),
        (Reply::Silence, None, Some("timeout")),
        (
            Reply::Whole(500, "text/html", "<h1>Oh</h1>".into()),
            Some(500),
            None,
        ),
    ];
    for (reply, status, why) in failing {
        scene.one.replies(reply);
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("x-sluice-target"), "two/second");
        let record = scene.record_of(&answer).await;
        let attempts: Vec<_> = record
            .attempts
            .iter()
            .map(|it| (it.target.as_str(), it.status, it.error.as_deref()))
            .collect();
        assert_eq!(
            attempts,
            [("one/first", status, why), ("two/second", Some(200), None)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_targets_error_is_the_callers() {
    let scene = Scene::set(&["--response-timeout-ms", "300"]).await;
    let check = async |reply: Reply, status: u16, code: &str, outcome: Outcome| {
        scene.one.replies(reply.clone());
        scene.two.replies(reply);
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (status, &code.into())
        );
        assert_eq!(scene.record_of(&answer).await.outcome, outcome);
    };
    check(error(503), 503, "c", Outcome::ProviderError).await;
    check(error(400), 400, "c", Outcome::ProviderError).await;
    check(
        error(401),
        502,
        "provider_credential_refused",
        Outcome::ProviderError,
    )
    .await;
    check(
        Reply::Whole(502, "text/html", "Bad".into()),
        502,
        "provider_error",
        Outcome::ProviderError,
    )
    .await;
    check(
        Reply::Break,
        502,
        "provider_connection_broken",
        Outcome::ProviderUnreachable,
    )
    .await;
    check(
        Reply::Silence,
        504,
        "provider_timeout",
        Outcome::ProviderUnreachable,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_refuse_say_when_to_come_back_and_count_what_was_used() {
    let scene = Scene::set(&[]).await;
    let first = scene.gateway.chat_as(LIMITED_KEY, QUESTION).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    let second = scene.gateway.chat_as(LIMITED_KEY, QUESTION).await;
    // Of the first request's reservation, all but the 15 tokens that it used has come back.
    let reserved = 1_024 + QUESTION.len().div_ceil(4);
    let left = 2_000 - 15 - reserved;
    assert_eq!(
        second.header("x-ratelimit-remaining-tokens"),
        left.to_string()
    );
    let third = scene.gateway.chat_as(LIMITED_KEY, QUESTION).await;
    assert_eq!(third.status, 429);
    assert_eq!(third.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(third.json()["error"]["type"], "requests");
    let seconds: u64 = third.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    let record = scene.record_of(&third).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    assert!(
        record.rules.contains(&"key:requests_per_minute".to_owned()),
        "{:?}",
        record.rules
    );
    assert_eq!(scene.one.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_and_too_large_ones_are_refused() {
    let scene = Scene::set(&[]).await;
    let large = format!(
        r#"{{"model":"both","messages":[{{"content":"{}"}}]}}"#,
        "x".repeat(3_000_000)
    );
    assert_eq!(scene.gateway.chat(&large).await.status, 200);
    assert_eq!(
        scene.one.requests()[0].body,
        large.replace("\"both\"", "\"upstream-first\"")
    );
    scene.one.replies(Reply::Whole(
        200,
        "application/json",
        format!(r#"{{"x":"{}"}}"#, "y".repeat(3_000_000)),
    ));
    let answer = scene.gateway.chat(QUESTION).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.len(), answer.whole),
        (200, 3_000_008, true)
    );
    assert!(scene.record_of(&answer).await.tokens.estimated);

    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-length", "40000000"),
    ];
    let mut client = scene.gateway.client().await;
    let answer = client
        .send(Method::POST, "/v1/chat/completions", &headers, "")
        .await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["error"]["code"], "request_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_it_answers_what_is_under_way_and_keeps_every_record() {
    let mut scene = Scene::set(&[]).await;
    scene.one.replies(Reply::Silence);
    scene.two.replies(answer());
    let gateway = scene.gateway.address;
    let slow = tokio::spawn(async move {
        let mut client = crate::support::client::Client::connect(gateway).await;
        let bearer = format!("Bearer {KEY}");
        let headers = [("authorization", bearer.as_str())];
        let body = r#"{"model":"one/first"}"#;
        client
            .send(Method::POST, "/v1/chat/completions", &headers, body)
            .await
            .status
    });
    crate::support::eventually("the slow request has arrived", async || {
        (scene.one.requests().len() == 1).then_some(())
    })
    .await;
    scene.gateway.terminate();
    crate::support::eventually("no new connections are taken", async || {
        tokio::net::TcpStream::connect(gateway).await.err()
    })
    .await;
    assert!(!slow.is_finished(), "what is under way goes on");
    slow.abort();
    assert!(scene.gateway.ended().await);
    let record = scene
        .record("its record arrives", |record| {
            record.outcome == Outcome::ClientGone
        })
        .await;
    assert_eq!(record.requested_model, "one/first");
}

//! Anthropic's API, passed through to Anthropic's accounts.

use events_schema::usage::{Endpoint, Outcome};
use http::Method;

use crate::support::{
    client::Answer,
    gateway::Scene,
    provider::{End, Reply},
    snapshots::{KEY, LIMITED_KEY, PROVIDER_KEY, two_is_anthropics},
};

const QUESTION: &str =
    r#"{"model":"both","max_tokens":64,"messages":[{"role":"user","content":"Hello"}]}"#;
const STREAM: &str = r#"{"model":"both","max_tokens":64,"messages":[],"stream":true}"#;

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":30,\"cache_read_input_tokens\":200,\"output_tokens\":1}}}\n\n";
const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
const LAST: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":20}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

async fn scene() -> Scene {
    Scene::set_as(&[], |snapshots, _, two| {
        snapshots.with(&two_is_anthropics(two))
    })
    .await
}

async fn send(scene: &Scene, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut client = scene.gateway.client().await;
    client.send(Method::POST, path, headers, body).await
}

async fn ask(scene: &Scene, body: &str) -> Answer {
    send(scene, "/v1/messages", &[("x-api-key", KEY)], body).await
}

fn stream(pieces: &[&str], end: End) -> Reply {
    Reply::Stream(pieces.iter().map(|it| (*it).to_owned()).collect(), end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_passes_untouched_but_for_the_model_and_is_accounted_for() {
    let scene = scene().await;
    let reply = r#"{"type":"message","content":[{"type":"text","text":"Hi"}],"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":200,"output_tokens":20}}"#;
    scene
        .two
        .replies(Reply::Whole(200, "application/json", reply.into()));
    let headers = [
        ("x-api-key", KEY),
        ("anthropic-beta", "one-2026-01-01,two-2026-02-02"),
        ("cookie", "secret=1"),
    ];
    let answer = send(&scene, "/v1/messages?beta=true", &headers, QUESTION).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, reply));
    assert_eq!(answer.header("x-sluice-target"), "two/second");
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));

    assert_eq!(scene.one.requests().len(), 0, "it does not speak this API");
    let asked = &scene.two.requests()[0];
    assert_eq!(asked.path, "/v1/messages?beta=true");
    assert_eq!(
        asked.body,
        QUESTION.replace("\"both\"", "\"upstream-second\"")
    );
    let head = asked.head.to_ascii_lowercase();
    assert!(
        head.contains(&format!("x-api-key: {PROVIDER_KEY}\r\n")),
        "{head}"
    );
    assert!(head.contains("anthropic-version: 2023-06-01\r\n"), "{head}");
    assert!(
        head.contains("anthropic-beta: one-2026-01-01,two-2026-02-02\r\n"),
        "{head}"
    );
    for kept_back in ["authorization", "cookie", KEY] {
        assert!(!head.contains(kept_back), "{kept_back} in {head}");
    }

    let record = scene.record_of(&answer).await;
    assert_eq!(
        (record.endpoint, record.outcome),
        (Endpoint::Messages, Outcome::Success)
    );
    let tokens = record.tokens;
    assert_eq!(
        (tokens.input, tokens.cached_input, tokens.output),
        (240, 200, 20)
    );
    assert_eq!(
        (tokens.cache_write_input, tokens.estimated),
        (Some(30), false)
    );
    // 40 tokens at 2,000 nano-dollars, 200 from the cache at 1,000, 20 at 4,000.
    assert_eq!(record.cost.map(|it| it.nanos()), Some(360_000));
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.attempts[0].tokens, Some(tokens));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_version_passes_and_a_bearer_is_a_key_as_well() {
    let scene = scene().await;
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("anthropic-version", "2027-01-01"),
    ];
    let answer = send(&scene, "/v1/messages", &headers, QUESTION).await;
    assert_eq!(answer.status, 200);
    let head = scene.two.requests()[0].head.to_ascii_lowercase();
    assert_eq!(
        head.matches("anthropic-version: 2027-01-01").count(),
        1,
        "{head}"
    );
    assert_eq!(head.matches("anthropic-version").count(), 1, "{head}");
    assert!(!head.contains(KEY), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_as_it_is_and_its_numbers_add_up() {
    let scene = scene().await;
    let pieces = [START, PING, DELTA, DELTA, LAST, STOP];
    scene.two.replies(stream(&pieces, End::Well));
    let answer = ask(&scene, STREAM).await;
    assert_eq!(answer.body, pieces.concat());
    let record = scene.record_of(&answer).await;
    assert_eq!(record.outcome, Outcome::Success);
    let tokens = record.tokens;
    assert_eq!(
        (tokens.input, tokens.cached_input, tokens.output),
        (240, 200, 20)
    );
    assert_eq!(
        (tokens.cache_write_input, tokens.estimated),
        (Some(30), false)
    );
    let attempt = &record.attempts[0];
    assert!(attempt.first_token_us.is_some() && attempt.per_output_token_us.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_ends_with_anthropics_error_and_keeps_what_was_stated() {
    let scene = scene().await;
    scene
        .two
        .replies(stream(&[START, DELTA, DELTA, DELTA], End::Cut));
    let answer = ask(&scene, STREAM).await;
    let rest = answer
        .body
        .strip_prefix(&[START, DELTA, DELTA, DELTA].concat())
        .expect("what came before the cut");
    let json = rest
        .strip_prefix("event: error\ndata: ")
        .expect("an event of Anthropic's");
    let error: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "api_error");
    assert_eq!(error["request_id"], answer.header("request-id"));
    let record = scene.record_of(&answer).await;
    assert_eq!(record.outcome, Outcome::StreamCut);
    let tokens = record.tokens;
    assert_eq!(
        (tokens.input, tokens.output, tokens.estimated),
        (240, 3, true)
    );

    // Where only the connection's end says that it is over, `message_stop` must have come.
    for (text, outcome) in [
        ([START, DELTA, LAST].concat(), Outcome::StreamCut),
        ([START, DELTA, LAST, STOP].concat(), Outcome::Success),
    ] {
        scene.two.replies(Reply::StreamUntilClose(text.clone()));
        let answer = ask(&scene, STREAM).await;
        assert!(answer.body.starts_with(&text));
        let record = scene.record_of(&answer).await;
        assert_eq!((record.outcome, record.tokens.output), (outcome, 20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_as_the_first_word_is_followed_by_the_next_target() {
    let scene = Scene::set_as(&[], |snapshots, one, two| {
        let first = crate::support::snapshots::one_is_anthropics(one);
        snapshots.with(&first).with(&two_is_anthropics(two))
    })
    .await;
    scene.one.replies(stream(&[ERROR], End::Well));
    scene
        .two
        .replies(stream(&[START, DELTA, LAST, STOP], End::Well));
    let answer = ask(&scene, STREAM).await;
    assert_eq!(answer.header("x-sluice-target"), "two/second");
    let record = scene.record_of(&answer).await;
    assert_eq!(record.attempts[0].error.as_deref(), Some("error_event"));

    // 529 is not among the statuses on which another target is tried unless a target names it.
    let overloaded =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    scene
        .one
        .replies(Reply::Whole(529, "application/json", overloaded.into()));
    let answer = ask(&scene, QUESTION).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (529, overloaded)
    );

    // In the middle of a stream it is the caller's.
    scene.one.replies(stream(&[START, DELTA, ERROR], End::Well));
    let answer = ask(&scene, STREAM).await;
    assert_eq!(answer.body, [START, DELTA, ERROR].concat());
    assert_eq!(
        scene.record_of(&answer).await.outcome,
        Outcome::ProviderError
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_did_wrong_is_told_in_anthropics_shape() {
    let scene = scene().await;
    let check = async |key: &str, body: &str, status: u16, kind: &str, outcome: Outcome| {
        let answer = send(&scene, "/v1/messages", &[("x-api-key", key)], body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
        let told = answer.json();
        assert_eq!(
            (&told["type"], &told["error"]["type"]),
            (&"error".into(), &kind.into())
        );
        assert!(
            told["error"]["message"]
                .as_str()
                .is_some_and(|it| it.len() > 10)
        );
        assert_eq!(told["request_id"], answer.header("request-id"));
        let record = scene.record_of(&answer).await;
        assert_eq!((record.outcome, record.status), (outcome, status), "{body}");
        told["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    check(
        "wrong",
        QUESTION,
        401,
        "authentication_error",
        Outcome::Unauthenticated,
    )
    .await;
    check(
        KEY,
        r#"{"model":"none"}"#,
        404,
        "not_found_error",
        Outcome::UnknownModel,
    )
    .await;
    check(KEY, "{", 400, "invalid_request_error", Outcome::BadRequest).await;
    let of_one = r#"{"model":"one/first"}"#;
    check(
        LIMITED_KEY,
        of_one,
        403,
        "permission_error",
        Outcome::Forbidden,
    )
    .await;
    let told = check(
        KEY,
        of_one,
        400,
        "invalid_request_error",
        Outcome::BadRequest,
    )
    .await;
    assert!(
        told.contains("/v1/chat/completions"),
        "it says what to do: {told}"
    );
    scene
        .two
        .replies(Reply::Whole(401, "application/json", "{}".into()));
    check(KEY, QUESTION, 502, "api_error", Outcome::ProviderError).await;
    scene.two.replies(Reply::Break);
    check(
        KEY,
        QUESTION,
        502,
        "api_error",
        Outcome::ProviderUnreachable,
    )
    .await;
    scene.two.replies(crate::support::provider::answer());
    for _ in 0..2 {
        let headers = [("x-api-key", LIMITED_KEY)];
        assert_eq!(
            send(&scene, "/v1/messages", &headers, QUESTION)
                .await
                .status,
            200
        );
    }
    check(
        LIMITED_KEY,
        QUESTION,
        429,
        "rate_limit_error",
        Outcome::LimitExceeded,
    )
    .await;

    let mut client = scene.gateway.client().await;
    let version = [("anthropic-version", "2023-06-01")];
    for (method, path, status) in [
        (Method::GET, "/v1/messages", 405),
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/v1/models", 401),
    ] {
        let answer = client.send(method, path, &version, "").await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.json()["type"], "error", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_model_without_a_target_that_speaks_it_says_so() {
    let scene = Scene::set(&[]).await;
    let answer = ask(&scene, QUESTION).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(answer.body.contains("Anthropic account"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_tokens_passes_is_recorded_and_costs_nothing() {
    let scene = scene().await;
    let reply = r#"{"input_tokens":2095}"#;
    scene
        .two
        .replies(Reply::Whole(200, "application/json", reply.into()));
    let path = "/v1/messages/count_tokens";
    let answer = send(&scene, path, &[("x-api-key", KEY)], QUESTION).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, reply));
    assert_eq!(scene.two.requests()[0].path, path);
    let record = scene.record_of(&answer).await;
    assert_eq!(
        (record.endpoint, record.outcome),
        (Endpoint::CountTokens, Outcome::Success)
    );
    assert_eq!((record.tokens, record.cost), (Default::default(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_clients_see_the_models_that_they_can_ask_for() {
    let scene = scene().await;
    let mut client = scene.gateway.client().await;
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let answer = client.send(Method::GET, "/v1/models", &headers, "").await;
    let list = answer.json();
    let model = |id: &str| {
        serde_json::json!({
            "type": "model", "id": id, "display_name": id, "created_at": "2026-11-18T11:06:40.000000Z",
        })
    };
    let expected = serde_json::json!({
        "data": [model("both"), model("two/second")],
        "has_more": false, "first_id": "both", "last_id": "two/second",
    });
    assert_eq!(list, expected);
    let answer = client
        .send(Method::GET, "/v1/models/two/second", &headers, "")
        .await;
    assert_eq!(answer.json(), model("two/second"));
    let answer = client
        .send(Method::GET, "/v1/models/no/such", &headers, "")
        .await;
    assert_eq!(answer.json()["error"]["type"], "not_found_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_goes_to_anthropics_accounts_as_it_always_did() {
    let scene = scene().await;
    let answer = scene
        .gateway
        .chat(r#"{"model":"two/second","messages":[]}"#)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let asked = &scene.two.requests()[0];
    assert_eq!(asked.path, "/v1/chat/completions");
    let bearer = format!("authorization: Bearer {PROVIDER_KEY}\r\n");
    assert!(asked.head.contains(&bearer), "{}", asked.head);
}

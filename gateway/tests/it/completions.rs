//! OpenAI's completions of texts, and what records say of every attempt.

use events_schema::usage::{Endpoint, Outcome};
use http::Method;

use crate::support::{
    client::Answer,
    gateway::Scene,
    provider::{End, Reply, error},
    snapshots::{KEY, first_completes},
};

const DONE: &str = "data: [DONE]\n\n";

async fn scene() -> Scene {
    Scene::set_as(&[], |snapshots, _, _| snapshots.with(&first_completes())).await
}

async fn complete(scene: &Scene, body: &str) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let mut client = scene.gateway.client().await;
    client
        .send(Method::POST, "/v1/completions", &headers, body)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_completed_by_the_models_that_can() {
    let scene = scene().await;
    let reply = r#"{"choices":[{"text":"Hi"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":1}}}"#;
    scene
        .one
        .replies(Reply::Whole(200, "application/json", reply.into()));
    let body = r#"{"prompt":"Say","model":"one/first"}"#;
    let answer = complete(&scene, body).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, reply),
        "it passes untouched"
    );
    let asked = &scene.one.requests()[0];
    assert_eq!(asked.path, "/v1/completions");
    assert_eq!(asked.body, body.replace("one/first", "upstream-first"));
    let record = scene.record_of(&answer).await;
    assert_eq!(record.endpoint, Endpoint::Completions);
    assert_eq!((record.tokens.input, record.tokens.output), (10, 5));
    assert_eq!(
        (record.tokens.cached_input, record.tokens.reasoning),
        (4, 2)
    );
    let audio = (record.tokens.audio_input, record.tokens.audio_output);
    assert_eq!(audio, (Some(3), Some(1)));
    // 6 tokens at 2,000 nano-dollars, 4 from the cache at 1,000, 5 at 4,000.
    assert_eq!(record.cost.map(|it| it.nanos()), Some(36_000));
    let attempt = &record.attempts[0];
    assert_eq!(attempt.tokens, Some(record.tokens));
    assert_eq!(attempt.sent, Some(true));
    assert_eq!(
        (attempt.first_token_us, attempt.per_output_token_us),
        (None, None)
    );

    let refused = complete(&scene, r#"{"model":"two/second","prompt":""}"#).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "model_not_supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_asked_for_usage_and_timed_between_its_tokens() {
    let scene = scene().await;
    let text = |word: &str| format!("data: {{\"choices\":[{{\"text\":\"{word}\"}}]}}\n\n");
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    let pieces = [text("a"), text("b"), usage.into(), DONE.into()];
    scene.one.replies(Reply::Stream(pieces.into(), End::Well));
    let body = r#"{"model":"one/first","prompt":"","stream":true}"#;
    let answer = complete(&scene, body).await;
    assert_eq!(answer.body, [&text("a"), &text("b"), DONE].concat());
    let sent: serde_json::Value =
        serde_json::from_str(&scene.one.requests()[0].body).expect("JSON");
    assert_eq!(sent["stream_options"]["include_usage"], true);
    let record = scene.record_of(&answer).await;
    assert_eq!((record.tokens.input, record.tokens.output), (3, 2));
    let attempt = &record.attempts[0];
    let first_token = attempt.first_token_us.expect("it was a stream");
    assert!(first_token <= attempt.duration_us, "{attempt:?}");
    let between = attempt.per_output_token_us.expect("there were two tokens");
    assert!(first_token + between <= attempt.duration_us, "{attempt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_says_what_it_may_have_cost() {
    let scene = Scene::set(&["--response-timeout-ms", "300"]).await;
    let question = r#"{"model":"both","messages":[{"role":"user","content":"Hello"}]}"#;
    // The provider has the question, and is never heard of again.
    scene.one.replies(Reply::Silence);
    let answer = scene.gateway.chat(question).await;
    assert_eq!(answer.status, 200);
    let record = scene.record_of(&answer).await;
    let [silent, answering] = &record.attempts[..] else {
        panic!("two attempts: {record:?}");
    };
    assert_eq!(silent.sent, Some(true));
    let lost = silent.tokens.expect("it has read the question");
    assert!(
        lost.estimated && lost.input > 0 && lost.output == 0,
        "{lost:?}"
    );
    assert_eq!(answering.tokens, Some(record.tokens));
    assert_eq!((record.tokens.input, record.tokens.output), (10, 5));
    assert!(!record.tokens.estimated);

    // Errors are not charged.
    scene.one.replies(error(503));
    let answer = scene.gateway.chat(question).await;
    let record = scene.record_of(&answer).await;
    let failed = &record.attempts[0];
    assert_eq!((failed.sent, failed.tokens), (Some(true), None));

    // When nobody answers, what was asked in vain is all that there is.
    scene.one.replies(Reply::Silence);
    scene.two.replies(Reply::Break);
    let answer = scene.gateway.chat(question).await;
    assert_eq!(answer.status, 502);
    let record = scene.record_of(&answer).await;
    assert_eq!(record.outcome, Outcome::ProviderUnreachable);
    assert!(record.tokens.estimated && record.tokens.input > 0);
    assert!(record.cost.is_some());
}

//! Tokens that a provider did not state are counted, from the texts themselves.

use std::time::Instant;

use events_schema::usage::Outcome;
use gateway::count::{question::tokens, vocabulary::Vocabulary};
use http::Method;
use serde_json::json;

use crate::support::{
    gateway::Scene,
    provider::{End, Reply, word},
    snapshots::{KEY, two_is_anthropics},
};

/// 11 tokens: 4 of text, 1 for the role, 3 around the message and 3 before the answer.
const QUESTION: &str = r#"{"model":"both","messages":[{"role":"user","content":"Hello, world!"}]}"#;
const STREAM: &str =
    r#"{"model":"both","stream":true,"messages":[{"role":"user","content":"Hello, world!"}]}"#;

fn whole(body: &str) -> Reply {
    Reply::Whole(200, "application/json", body.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_has_the_tokens_of_its_text() {
    let scene = Scene::set(&[]).await;
    // One event for each letter: the tokens are those of the text.
    let letters = "Hello, world!".chars().map(|it| word(&it.to_string()));
    scene
        .one
        .replies(Reply::Stream(letters.collect(), End::Cut));
    let answer = scene.gateway.chat(STREAM).await;
    let record = scene.record_of(&answer).await;
    assert_eq!(record.outcome, Outcome::StreamCut);
    let used = record.tokens;
    assert_eq!((used.input, used.output, used.estimated), (11, 4, true));
    assert_eq!(record.attempts[0].tokens, Some(used));
    // 11 at 2,000 nano-dollars, 4 at 4,000.
    assert_eq!(record.cost.map(|it| it.nanos()), Some(38_000));
    let between = record.attempts[0].per_output_token_us;
    assert!(between.is_some(), "over the tokens that were counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_usage_is_counted() {
    let scene = Scene::set_as(&[], |snapshots, _, two| {
        snapshots.with(&two_is_anthropics(two))
    })
    .await;
    scene.one.replies(whole(
        r#"{"id":"a long name that is no text","choices":[{"message":{"role":"assistant","content":"Hello, world!"}}]}"#,
    ));
    let answer = scene.gateway.chat(QUESTION).await;
    let used = scene.record_of(&answer).await.tokens;
    assert_eq!((used.input, used.output, used.estimated), (11, 4, true));

    scene.two.replies(whole(
        r#"{"type":"message","content":[{"type":"text","text":"Hello, world!"}]}"#,
    ));
    let headers = [("x-api-key", KEY)];
    let question = QUESTION.replace("both", "two/second");
    let mut client = scene.gateway.client().await;
    let answer = client
        .send(Method::POST, "/v1/messages", &headers, &question)
        .await;
    let used = scene.record_of(&answer).await.tokens;
    assert_eq!((used.input, used.output, used.estimated), (11, 4, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_in_vain_is_counted_beside_what_was_stated() {
    let scene = Scene::set(&["--response-timeout-ms", "300"]).await;
    scene.one.replies(Reply::Silence);
    let answer = scene.gateway.chat(QUESTION).await;
    let record = scene.record_of(&answer).await;
    let [silent, answered] = &record.attempts[..] else {
        panic!("two attempts: {record:?}");
    };
    let lost = silent.tokens.expect("it has read the question");
    assert_eq!((lost.input, lost.output, lost.estimated), (11, 0, true));
    assert_eq!(answered.tokens, Some(record.tokens));
    assert_eq!((record.tokens.input, record.tokens.estimated), (10, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_question_that_is_counted_holds_up_no_other() {
    let scene = Scene::set(&[]).await;
    scene
        .one
        .replies(whole(r#"{"choices":[{"message":{"content":"Hi"}}]}"#));
    let text = "word ".repeat(600_000);
    let large = json!({ "model": "both", "messages": [{ "role": "user", "content": text }] });
    let large = large.to_string();
    // What it takes to count it, once the vocabulary is there.
    let small = tokens(QUESTION.as_bytes(), Vocabulary::O200k);
    assert_eq!(small, Some(11));
    let begin = Instant::now();
    let counted = tokens(large.as_bytes(), Vocabulary::O200k).expect("it can be read");
    let takes = begin.elapsed();

    let answer = scene.gateway.chat(&large).await;
    assert_eq!(answer.status, 200);
    for _ in 0..20 {
        let begin = Instant::now();
        let small = scene.gateway.chat(r#"{"model":"two/second"}"#).await;
        assert_eq!(small.status, 200);
        let took = begin.elapsed();
        assert!(
            took < takes,
            "{took:?}, as if it waited for {takes:?} of counting"
        );
    }
    let record = scene.record_of(&answer).await;
    let used = record.tokens;
    assert_eq!(
        (used.input, used.output, used.estimated),
        (counted, 1, true)
    );
    let uncounted = scene.gateway.metric("sluice_gateway_uncounted_total").await;
    assert_eq!(uncounted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_when_the_end_is_asked_for_is_not_lost() {
    let mut scene = Scene::set(&[]).await;
    scene
        .one
        .replies(whole(r#"{"choices":[{"message":{"content":"Hi"}}]}"#));
    let answer = scene.gateway.chat(QUESTION).await;
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
    let record = scene.record_of(&answer).await;
    assert_eq!((record.tokens.input, record.tokens.output), (11, 1));
}

//! Streams of events.

use http::Method;
use http_body_util::BodyExt as _;

use crate::support::{
    gateway::Scene,
    provider::{End, Reply, word},
    snapshots::KEY,
};

const QUESTION: &str = r#"{"model":"both","stream":true,"messages":[]}"#;
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn stream(pieces: &[&str], end: End) -> Reply {
    Reply::Stream(pieces.iter().map(|it| (*it).to_owned()).collect(), end)
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_asked_for_and_kept_from_whoever_did_not_ask() {
    let scene = Scene::set(&[]).await;
    let (hello, world) = (word("Hello"), word("world"));
    scene
        .one
        .replies(stream(&[&hello, &world, USAGE, DONE], End::Well));
    // One connection stays with one worker thread, and so with its connections to the provider.
    let mut client = scene.gateway.client().await;
    let bearer = format!("Bearer {KEY}");
    let mut chat = async |body: &str| {
        let headers = [("authorization", bearer.as_str())];
        client
            .send(Method::POST, "/v1/chat/completions", &headers, body)
            .await
    };
    let answer = chat(QUESTION).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.body, [&hello, &world, DONE].concat());
    let sent: serde_json::Value =
        serde_json::from_str(&scene.one.requests()[0].body).expect("JSON");
    assert_eq!(sent["stream_options"]["include_usage"], true);
    let record = scene.record_of(&answer).await;
    assert_eq!(
        (
            record.tokens.input,
            record.tokens.output,
            record.tokens.estimated
        ),
        (3, 2, false)
    );
    assert!(record.streamed && record.first_byte_us.is_some());

    let asked = r#"{"model":"both","stream":true,"stream_options":{"include_usage":true}}"#;
    let answer = chat(asked).await;
    assert_eq!(answer.body, [&hello, &world, USAGE, DONE].concat());
    assert_eq!(
        scene.one.connections(),
        1,
        "a stream that ended leaves its connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_before_its_first_event_is_tried_elsewhere() {
    let scene = Scene::set(&[]).await;
    scene.one.replies(stream(&[], End::Cut));
    let hello = word("Hello");
    scene.two.replies(stream(&[&hello, DONE], End::Well));
    let answer = scene.gateway.chat(QUESTION).await;
    assert_eq!(answer.header("x-sluice-target"), "two/second");
    assert_eq!(answer.body, [&hello, DONE].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_passed_on_when_it_comes() {
    let scene = Scene::set(&[]).await;
    let hello = word("Hello");
    scene.one.replies(stream(&[&hello], End::Never));
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let mut client = scene.gateway.client().await;
    let response = client
        .begin(Method::POST, "/v1/chat/completions", &headers, QUESTION)
        .await;
    // The provider keeps the stream open, so what comes now was not held back for more.
    let first = response
        .into_body()
        .frame()
        .await
        .expect("a frame")
        .expect("data");
    assert_eq!(first.into_data().expect("data"), hello);
}

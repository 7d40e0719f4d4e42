//! Streams of events.

use events_schema::usage::Outcome;
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
async fn a_stream_that_breaks_off_ends_with_an_error_event_and_is_settled() {
    let scene = Scene::set(&[]).await;
    let hello = word("Hello");
    scene
        .one
        .replies(stream(&[&hello, "data: {\"half"], End::Cut));
    let answer = scene.gateway.chat(QUESTION).await;
    assert!(answer.whole, "the stream itself is well-formed");
    let rest = answer
        .body
        .strip_prefix(&hello)
        .expect("what came before the cut");
    let event = rest.strip_prefix("data: ").expect("one more event");
    let event: serde_json::Value = serde_json::from_str(event).expect("an error in JSON");
    assert_eq!(event["error"]["code"], "provider_stream_cut");
    let record = scene.record_of(&answer).await;
    assert_eq!((record.outcome, record.status), (Outcome::StreamCut, 200));
    assert_eq!((record.tokens.output, record.tokens.estimated), (1, true));
    assert_eq!(record.attempts[0].error.as_deref(), Some("broken"));
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
async fn a_stream_that_pauses_for_too_long_is_cut() {
    let scene = Scene::set(&["--idle-timeout-ms", "300"]).await;
    let hello = word("Hello");
    scene.one.replies(stream(&[&hello], End::Never));
    let answer = scene.gateway.chat(QUESTION).await;
    assert!(
        answer.body.contains("provider_stream_cut"),
        "{}",
        answer.body
    );
    let record = scene.record_of(&answer).await;
    assert_eq!(record.attempts[0].error.as_deref(), Some("timeout"));
    scene.one.cancelled(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_cancels_the_request_and_is_recorded() {
    let scene = Scene::set(&[]).await;
    let hello = word("Hello");
    scene.one.replies(stream(&[&hello], End::Never));
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    // In the middle of a stream, and before anything was answered.
    let mut client = scene.gateway.client().await;
    let response = client
        .begin(Method::POST, "/v1/chat/completions", &headers, QUESTION)
        .await;
    let first = response
        .into_body()
        .frame()
        .await
        .expect("a frame")
        .expect("data");
    assert_eq!(first.into_data().expect("data"), hello);
    client.vanish();
    scene.one.cancelled(1).await;
    let record = scene
        .record("its record", |record| record.outcome == Outcome::ClientGone)
        .await;
    assert_eq!((record.tokens.output, record.tokens.estimated), (1, true));

    scene.one.replies(Reply::Silence);
    let mut client = scene.gateway.client().await;
    let waiting = async {
        client
            .send(Method::POST, "/v1/chat/completions", &headers, QUESTION)
            .await
    };
    let arrived = crate::support::eventually("it has arrived", async || {
        (scene.one.requests().len() == 2).then_some(())
    });
    tokio::select! {
        answer = waiting => panic!("nothing can be answered: {answer:?}"),
        () = arrived => {}
    }
    client.vanish();
    scene.one.cancelled(2).await;
    assert_eq!(scene.gateway.metric("sluice_gateway_in_flight").await, 0);
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

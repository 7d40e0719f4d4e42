//! Providers and callers that misbehave, and the end of a gateway in the middle of its work.

use std::time::Duration;

use events_schema::usage::Outcome;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    client::Client,
    eventually,
    gateway::{Gateway, Scene},
    nats::Nats,
    provider::{End, Provider, Reply, answer, word},
    snapshots::{KEY, Snapshots},
};

const QUESTION: &str = r#"{"model":"both","messages":[]}"#;
const STREAM: &str = r#"{"model":"both","stream":true,"messages":[]}"#;
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";

fn bearer() -> String {
    format!("Bearer {KEY}")
}

async fn chat(client: &mut Client, body: &str) -> crate::support::client::Answer {
    let bearer = bearer();
    let headers = [("authorization", bearer.as_str())];
    client
        .send(Method::POST, "/v1/chat/completions", &headers, body)
        .await
}

async fn begin(client: &mut Client, body: &str) -> hyper::Response<hyper::body::Incoming> {
    let bearer = bearer();
    let headers = [("authorization", bearer.as_str())];
    client
        .begin(Method::POST, "/v1/chat/completions", &headers, body)
        .await
}

fn pieces(of: &[&str], end: End) -> Reply {
    Reply::Stream(of.iter().map(|it| (*it).to_owned()).collect(), end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_under_tls_reads_requests_of_every_size() {
    let nats = Nats::start().await;
    let (one, certificate) = Provider::start_with_tls(answer()).await;
    let two = Provider::start(answer()).await;
    Snapshots::of(&one, &two)
        .publish(&nats.jetstream().await)
        .await;
    let mut gateway = Gateway::prepare(&nats, &[]);
    gateway.trust(&certificate);
    gateway.run();
    gateway.ready().await;
    let mut client = gateway.client().await;
    for size in [1, 10_000, 100_000, 1_000_000, 8_000_000] {
        let question = format!(r#"{{"model":"one/first","user":"{}"}}"#, "x".repeat(size));
        let answer = chat(&mut client, &question).await;
        assert_eq!(answer.status, 200, "{size}: {}", answer.body);
        let sent = one.requests().pop().expect("it has arrived");
        assert!(sent.body.len() > size);
    }
    assert_eq!(
        one.connections(),
        1,
        "a connection is used again under TLS, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_certificate_nobody_vouches_for_is_not_asked() {
    let nats = Nats::start().await;
    let (one, _) = Provider::start_with_tls(answer()).await;
    let two = Provider::start(answer()).await;
    Snapshots::of(&one, &two)
        .publish(&nats.jetstream().await)
        .await;
    let gateway = Gateway::start(&nats, &[]).await;
    let answer = gateway.chat(r#"{"model":"one/first"}"#).await;
    assert_eq!(answer.json()["error"]["code"], "provider_unreachable");
    assert_eq!(one.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_provider_had_for_a_while_is_not_sent_again() {
    let scene = Scene::set(&[]).await;
    let mut client = scene.gateway.client().await;
    let question = r#"{"model":"one/first","messages":[]}"#;
    assert_eq!(chat(&mut client, question).await.status, 200);
    scene
        .one
        .replies(Reply::BreakLate(Duration::from_millis(1_200)));
    let answer = chat(&mut client, question).await;
    assert_eq!(answer.json()["error"]["code"], "provider_connection_broken");
    assert_eq!(scene.one.requests().len(), 2, "it would be charged twice");
    let record = scene.record_of(&answer).await;
    assert!(
        record.tokens.estimated && record.tokens.input > 0,
        "it may be charged once"
    );
    assert!(record.cost.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_whose_body_never_comes_keeps_nobody_waiting() {
    let scene = Scene::set(&[]).await;
    scene.one.replies(Reply::HeadOnly(500));
    let answer = scene.gateway.chat(QUESTION).await;
    assert_eq!(answer.header("x-sluice-target"), "two/second");
    let record = scene.record_of(&answer).await;
    assert!(record.duration_us < 5_000_000, "{} us", record.duration_us);
    assert_eq!(record.attempts[0].status, Some(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_take_as_long_to_begin_as_any_answer() {
    let scene = Scene::set(&["--idle-timeout-ms", "200"]).await;
    let text = [&word("Hello"), DONE].concat();
    let late = Reply::LateStream(Duration::from_millis(800), text.clone());
    scene.one.replies(late);
    let answer = scene.gateway.chat(STREAM).await;
    assert_eq!(answer.body, text);
    assert_eq!(answer.header("x-sluice-target"), "one/first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_first_word_is_an_error_is_followed_by_the_next_target() {
    let scene = Scene::set(&[]).await;
    scene.one.replies(pieces(&[ERROR, DONE], End::Well));
    let text = [&word("Hello"), DONE].concat();
    scene.two.replies(pieces(&[&text], End::Well));
    let answer = scene.gateway.chat(STREAM).await;
    assert_eq!(answer.body, text);
    let record = scene.record_of(&answer).await;
    assert_eq!(record.attempts[0].error.as_deref(), Some("error_event"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_reading_does_not_hold_the_provider() {
    let scene = Scene::set(&["--write-timeout-ms", "400"]).await;
    scene.one.replies(Reply::Torrent(word(&"x".repeat(8_000))));
    let mut client = scene.gateway.client().await;
    let response = begin(&mut client, STREAM).await;
    assert_eq!(response.status(), 200);
    // The client's connection is not read from here on: its buffers fill, and the gateway's writes stand still.
    scene.one.cancelled(1).await;
    let record = scene.record("its record", |_| true).await;
    assert_eq!(record.outcome, Outcome::ClientGone);
    assert!(record.tokens.output > 0);
    drop(response);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_beyond_the_bound_wait_for_a_place() {
    let scene = Scene::set(&["--max-connections", "2"]).await;
    let mut first = scene.gateway.client().await;
    let mut second = scene.gateway.client().await;
    assert_eq!(chat(&mut first, QUESTION).await.status, 200);
    assert_eq!(chat(&mut second, QUESTION).await.status, 200);
    let mut third = scene.gateway.client().await;
    let waiting = chat(&mut third, QUESTION);
    let served = async {
        assert_eq!(chat(&mut first, QUESTION).await.status, 200);
        first.vanish();
    };
    let (answer, ()) = tokio::join!(waiting, served);
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_that_is_refused_learns_why() {
    let scene = Scene::set(&[]).await;
    for (key, size, code) in [
        ("sk-sluice-guessed", 20_000_000, "invalid_api_key"),
        (KEY, 40_000_000, "request_too_large"),
    ] {
        // A client that reads nothing before it has written everything.
        let address = scene.gateway.address;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let body = vec![b'x'; size];
        stream.write_all(&body).await.expect("all of it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains(code), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_have_a_bound_together() {
    let scene = Scene::set(&["--max-held-body-bytes", "1000000"]).await;
    let of = |size| format!(r#"{{"model":"both","user":"{}"}}"#, "x".repeat(size));
    let answer = scene.gateway.chat(&of(2_000_000)).await;
    assert_eq!(answer.json()["error"]["code"], "overloaded");
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, "1")
    );
    for _ in 0..3 {
        let answer = scene.gateway.chat(&of(900_000)).await;
        assert_eq!(answer.status, 200, "what is over is given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_waited_for_at_the_end_is_told_so() {
    let mut scene = Scene::set(&["--drain-timeout-ms", "300"]).await;
    let hello = word("Hello");
    scene.one.replies(pieces(&[&hello], End::Never));
    let mut streaming = scene.gateway.client().await;
    let mut stream = begin(&mut streaming, STREAM).await.into_body();
    let first = stream.frame().await.expect("a frame").expect("data");
    assert_eq!(first.into_data().expect("data"), hello);
    scene.one.replies(Reply::Silence);
    let mut waiting = scene.gateway.client().await;
    let waiting = chat(&mut waiting, QUESTION);
    let asked = eventually("it has arrived", async || {
        (scene.one.requests().len() == 2).then_some(())
    });
    let stop = async {
        asked.await;
        scene.gateway.terminate();
        stream.collect().await.expect("the stream itself ends well")
    };
    let (answer, rest) = tokio::join!(waiting, stop);
    assert_eq!(answer.json()["error"]["code"], "gateway_stopping");
    assert_eq!(answer.status, 503);
    let rest = String::from_utf8(rest.to_bytes().to_vec()).expect("text");
    assert!(rest.contains("gateway_stopping"), "{rest}");
    let record = scene
        .record("the stream's record", |record| record.streamed)
        .await;
    assert_eq!(record.error_code.as_deref(), Some("gateway_stopping"));
    assert_eq!(
        (record.outcome, record.tokens.output),
        (Outcome::StreamCut, 1)
    );
    assert!(scene.gateway.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_waiting() {
    let mut scene = Scene::set(&[]).await;
    scene.one.replies(Reply::Silence);
    let mut client = scene.gateway.client().await;
    let waiting = chat(&mut client, QUESTION);
    let stop = async {
        eventually("it has arrived", async || {
            (scene.one.requests().len() == 1).then_some(())
        })
        .await;
        scene.gateway.terminate();
        eventually("nobody is let in any more", async || {
            let connected = TcpStream::connect(scene.gateway.address).await;
            connected.is_err().then_some(())
        })
        .await;
        scene.gateway.terminate();
    };
    let (answer, ()) = tokio::join!(waiting, stop);
    assert_eq!(answer.json()["error"]["code"], "gateway_stopping");
    assert!(scene.gateway.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_has_time_to_notice_the_end() {
    let mut scene = Scene::set(&["--lame-duck-ms", "60000"]).await;
    scene.gateway.terminate();
    eventually("it says that it goes", async || {
        (scene.gateway.status("/readyz").await? == 503).then_some(())
    })
    .await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_name_may_be_encoded_in_a_path() {
    let scene = Scene::set(&[]).await;
    let bearer = bearer();
    let headers = [("authorization", bearer.as_str())];
    for path in ["/v1/models/one/first", "/v1/models/one%2Ffirst"] {
        let mut client = scene.gateway.client().await;
        let answer = client.send(Method::GET, path, &headers, "").await;
        assert_eq!(answer.json()["id"], "one/first", "{path}");
    }
}

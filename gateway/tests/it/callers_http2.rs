//! Callers over HTTP/2 that take their time: what takes nothing of an answer loses it, and what asks nothing is closed, as
//! over HTTP/1.1.

use events_schema::usage::Outcome;
use h2::{Reason, client};
use http::Request;
use hyper::body::Bytes;
use tokio::net::TcpStream;

use crate::support::{
    client::{Http2, chat, http2_over, text},
    eventually,
    gateway::{Gateway, Scene},
    in_time,
    provider::{End, Reply, word},
    snapshots::KEY,
};

const STREAM: &str = r#"{"model":"one/first","stream":true,"messages":[]}"#;
const QUESTION: &str = r#"{"model":"one/first","messages":[]}"#;

/// A caller that lets so many bytes of each answer come and never any more, and answers pings.
async fn stingy(gateway: &Gateway, window: u32) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address)
        .await
        .expect("it listens");
    let (sender, connection) = client::Builder::new()
        .initial_window_size(window)
        .handshake(stream)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(async move {
        // What broke shows at the request.
        let _ended = connection.await;
    });
    sender
}

/// Asks; the stream of the answer, whose head has come.
async fn ask(caller: &mut client::SendRequest<Bytes>, body: &'static str) -> h2::RecvStream {
    let head = Request::post("http://gateway/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"))
        .body(())
        .expect("a good head");
    let (answer, mut stream) = caller.send_request(head, false).expect("it is open");
    stream.send_data(body.into(), true).expect("it is open");
    answer.await.expect("an answer").into_body()
}

/// How a stream ends of which nobody takes more than its window lets through.
async fn end_of(mut stream: h2::RecvStream) -> Option<Reason> {
    let ending = async {
        loop {
            match stream.data().await? {
                Ok(_) => {}
                Err(error) => return error.reason(),
            }
        }
    };
    in_time("the stream ends", ending).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_opens_no_window_loses_its_answer_and_the_provider_is_told() {
    let scene = Scene::set(&["--write-timeout-ms", "300"]).await;
    scene.one.replies(Reply::Torrent(word("x")));
    // Nothing at all, or nothing after a beginning.
    for (times, window) in [(1, 0), (3, 1_000)] {
        let mut caller = stingy(&scene.gateway, window).await;
        let stream = ask(&mut caller, STREAM).await;
        assert_eq!(end_of(stream).await, Some(Reason::CANCEL));
        scene.one.cancelled(times).await;
        // The connection goes on.
        let stream = ask(&mut caller, STREAM).await;
        drop(stream);
        scene.one.cancelled(times + 1).await;
    }
    scene
        .record("it counts as a caller that left", |it| {
            it.outcome == Outcome::ClientGone
        })
        .await;
    // An answer that was whole before is no different.
    scene.one.replies(crate::support::provider::answer());
    let mut caller = stingy(&scene.gateway, 0).await;
    let stream = ask(&mut caller, QUESTION).await;
    assert_eq!(end_of(stream).await, Some(Reason::CANCEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_for_its_provider_is_not_slow() {
    let scene = Scene::set(&["--write-timeout-ms", "200"]).await;
    let pause = std::time::Duration::from_millis(800);
    scene.one.replies(Reply::LateStream(pause, word("late")));
    let mut caller = connect(&scene.gateway).await;
    let answer = caller.send_request(chat(STREAM)).await.expect("an answer");
    assert_eq!(text(answer).await, word("late"));
}

async fn connect(gateway: &Gateway) -> Http2 {
    let stream = TcpStream::connect(gateway.address).await;
    http2_over(stream.expect("it listens")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_which_nothing_is_asked_is_closed() {
    let scene = Scene::set(&["--caller-idle-ms", "300"]).await;
    let never_used = connect(&scene.gateway).await;
    let mut used = connect(&scene.gateway).await;
    let answer = used.send_request(chat(QUESTION)).await.expect("an answer");
    text(answer).await;
    let mut busy = connect(&scene.gateway).await;
    scene
        .one
        .replies(Reply::Stream(vec![word("a")], End::Never));
    let stays = busy.send_request(chat(STREAM)).await.expect("an answer");
    for idle in [never_used, used] {
        eventually("the gateway closes it", async || {
            idle.is_closed().then_some(())
        })
        .await;
    }
    assert!(!busy.is_closed(), "something is under way there");
    drop(stays);
    eventually("the gateway closes it", async || {
        busy.is_closed().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_leaves_lying_at_the_end_does_not_keep_its_connection() {
    let flags = ["--caller-idle-ms", "300", "--write-timeout-ms", "300"];
    let scene = Scene::set(&flags).await;
    // The answer is given out as a whole with the first byte that is let through.
    let mut caller = stingy(&scene.gateway, 1).await;
    let stream = ask(&mut caller, QUESTION).await;
    assert_ne!(end_of(stream).await, Some(Reason::CANCEL));
    let ready = std::future::poll_fn(|cx| caller.poll_ready(cx));
    let ended = in_time("the connection is closed", ready).await;
    assert!(ended.is_err(), "the connection is closed");
}

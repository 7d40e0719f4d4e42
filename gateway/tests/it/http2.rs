//! HTTP/2 to providers: chosen under TLS or told beforehand, many requests at once on a connection, and everything that can
//! happen to a stream or its connection.

use std::time::Duration;

use events_schema::usage::{Outcome, UsageRecord};
use h2::Reason;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    client::{Http2, chat, http2_over, text},
    eventually,
    gateway::Gateway,
    http2::{End, Http2Provider, Reply},
    nats::Nats,
    provider::{self, Provider, word},
    snapshots::Snapshots,
};

const QUESTION: &str = r#"{"model":"one/first","messages":[]}"#;
const EITHER: &str = r#"{"model":"both","messages":[]}"#;
const STREAM: &str = r#"{"model":"one/first","stream":true,"messages":[]}"#;
const DONE: &str = "data: [DONE]\n\n";
const ANSWER: &str = r#"{"id":"x","usage":{"prompt_tokens":10,"completion_tokens":5}}"#;

fn answer() -> Reply {
    Reply::Whole(ANSWER.to_owned())
}

/// A gateway before a provider of HTTP/2, `one`, and one of HTTP/1.1, `two`; and a caller, all of whose requests are
/// served by one thread.
struct Scene {
    nats: Nats,
    two: Provider,
    gateway: Gateway,
    caller: Http2,
}

impl Scene {
    /// `one` is an origin at which HTTP/2 is spoken without TLS.
    async fn set(one: &str, flags: &[&str]) -> Self {
        let flags = [flags, &["--upstream-http2-plain", one]].concat();
        Self::of(one, None, &flags).await
    }

    async fn set_with_tls(one: &str, certificate: &str) -> Self {
        Self::of(one, Some(certificate), &[]).await
    }

    async fn of(one: &str, certificate: Option<&str>, flags: &[&str]) -> Self {
        let nats = Nats::start().await;
        let two = Provider::start(provider::answer()).await;
        Snapshots::at(format!("{one}/v1"), two.base_url())
            .publish(&nats.jetstream().await)
            .await;
        let mut gateway = Gateway::prepare(&nats, flags);
        if let Some(certificate) = certificate {
            gateway.trust(certificate);
        }
        gateway.run();
        gateway.ready().await;
        let stream = TcpStream::connect(gateway.address).await;
        let caller = http2_over(stream.expect("it listens")).await;
        Self {
            nats,
            two,
            gateway,
            caller,
        }
    }

    async fn ask(&self, body: &str) -> Response<Incoming> {
        let mut caller = self.caller.clone();
        caller.send_request(chat(body)).await.expect("an answer")
    }

    /// The answers to so many requests at once.
    async fn ask_at_once(&self, times: usize) -> Vec<StatusCode> {
        let asking = (0..times).map(|_| {
            let mut caller = self.caller.clone();
            tokio::spawn(async move {
                let answer = caller
                    .send_request(chat(QUESTION))
                    .await
                    .expect("an answer");
                let status = answer.status();
                text(answer).await;
                status
            })
        });
        let mut statuses = Vec::new();
        for asked in asking.collect::<Vec<_>>() {
            statuses.push(asked.await.expect("no panic"));
        }
        statuses
    }

    /// The first record with this outcome.
    async fn record(&self, outcome: Outcome) -> UsageRecord {
        eventually("its record arrives", async || {
            let batches = self.nats.batches().await;
            let mut records = batches.into_iter().flat_map(|batch| batch.records);
            records.find(|record| record.outcome == outcome)
        })
        .await
    }
}

fn all_good(statuses: &[StatusCode]) -> bool {
    statuses.iter().all(|it| *it == StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_the_provider_chooses_http2() {
    let (one, certificate) = Http2Provider::start_with_tls(answer()).await;
    let scene = Scene::set_with_tls(&one.origin(), &certificate).await;
    for size in [1, 10_000, 100_000, 3_000_000] {
        let question = format!(r#"{{"model":"one/first","user":"{}"}}"#, "x".repeat(size));
        let answer = scene.ask(&question).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["x-provider"], "yes");
        assert_eq!(text(answer).await, ANSWER);
        let asked = one.asked().pop().expect("it has arrived");
        assert_eq!(asked.body, question.replace("one/first", "upstream-first"));
        assert_eq!(asked.uri, format!("{}/v1/chat/completions", one.origin()));
        assert_eq!(
            asked.headers["content-length"],
            asked.body.len().to_string()
        );
        for of_a_connection in [
            "host",
            "connection",
            "transfer-encoding",
            "keep-alive",
            "te",
        ] {
            assert!(!asked.headers.contains_key(of_a_connection));
        }
    }
    assert_eq!(one.connections(), 1);
    let record = scene.record(Outcome::Success).await;
    assert_eq!((record.tokens.input, record.tokens.output), (10, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_a_provider_that_knows_only_http1_is_spoken_to_in_it() {
    for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
        let (one, certificate) =
            Provider::start_with_protocols(provider::answer(), protocols).await;
        let origin = one.base_url().trim_end_matches("/v1").to_owned();
        let scene = Scene::set_with_tls(&origin, &certificate).await;
        for _ in 0..3 {
            assert_eq!(scene.ask(QUESTION).await.status(), StatusCode::OK);
        }
        assert_eq!(one.connections(), 1, "and its connection is used again");
        // Also when nobody knew what it speaks, and all came at once.
        assert!(all_good(&scene.ask_at_once(20).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_share_a_connection() {
    let one = Http2Provider::start(Reply::Together(50, ANSWER.to_owned()), 100).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    // Each is answered only when all are there.
    assert!(all_good(&scene.ask_at_once(50).await));
    assert_eq!((one.connections(), one.asked().len()), (1, 50));
    assert_eq!(
        scene
            .gateway
            .metric("sluice_gateway_upstream_connections_total")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_connections_as_the_provider_allows_streams_on_one() {
    let one = Http2Provider::start(answer(), 10).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    // What it allows, it says with its first answer.
    assert_eq!(scene.ask(QUESTION).await.status(), StatusCode::OK);
    one.replies(Reply::Together(51, ANSWER.to_owned()));
    assert!(all_good(&scene.ask_at_once(50).await));
    assert_eq!(one.connections(), 5);
    let mut of_each = [0; 5];
    for asked in one.asked() {
        of_each[asked.connection] += 1;
    }
    assert_eq!(of_each, [11, 10, 10, 10, 10]);
    // They are used again.
    one.replies(answer());
    assert!(all_good(&scene.ask_at_once(50).await));
    assert_eq!(one.connections(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_resets_its_stream_and_no_other() {
    let pieces = vec![word("a")];
    let one = Http2Provider::start(Reply::Stream(pieces, End::Well), 100).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    let stays = scene.ask(STREAM).await;
    let leaves = scene.ask(STREAM).await;
    drop(leaves);
    eventually("the stream is reset at the provider", async || {
        (one.resets() == [Reason::CANCEL]).then_some(())
    })
    .await;
    one.go_on();
    assert_eq!(text(stays).await, word("a"));
    assert_eq!(one.connections(), 1);
    scene.record(Outcome::ClientGone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_too_long_is_reset() {
    let one = Http2Provider::start(Reply::Silence, 100).await;
    let scene = Scene::set(&one.origin(), &["--response-timeout-ms", "300"]).await;
    let answer = scene.ask(EITHER).await;
    assert_eq!(answer.headers()["x-sluice-target"], "two/second");
    assert_eq!(one.asked().len(), 1, "it may be working on it");
    eventually("the stream is reset at the provider", async || {
        (one.resets() == [Reason::CANCEL]).then_some(())
    })
    .await;
    let record = scene.record(Outcome::Success).await;
    let first = &record.attempts[0];
    assert_eq!(
        (first.error.as_deref(), first.sent),
        (Some("timeout"), Some(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_ends_with_an_error_event() {
    // Two tokens: "ab" would be one.
    let pieces = vec![word("a"), word(" b")];
    let whole = pieces.concat();
    let reset = End::Reset(Reason::INTERNAL_ERROR);
    let one = Http2Provider::start(Reply::Stream(pieces, reset), 100).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    let mut cut = scene.ask(STREAM).await;
    let mut told = String::new();
    while told.len() < whole.len() {
        let frame = cut.body_mut().frame().await.expect("it goes on");
        let data = frame.expect("it is whole").into_data().expect("data");
        told.push_str(std::str::from_utf8(&data).expect("text"));
    }
    assert_eq!(told, whole);
    one.go_on();
    let rest = text(cut).await;
    assert!(rest.contains("provider_stream_cut"), "{rest}");
    assert_eq!(scene.record(Outcome::StreamCut).await.tokens.output, 2);
    // The connection goes on.
    one.replies(answer());
    assert_eq!(scene.ask(QUESTION).await.status(), StatusCode::OK);
    assert_eq!(one.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_tried_again_and_not_for_ever() {
    let one = Http2Provider::start(Reply::Refusals(2, ANSWER.to_owned()), 100).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    let answer = scene.ask(EITHER).await;
    assert_eq!(answer.headers()["x-sluice-target"], "one/first");
    assert_eq!(one.refused(), 3, "twice it was refused");
    let record = scene.record(Outcome::Success).await;
    assert_eq!(record.attempts.len(), 1, "that was one attempt");
    assert_eq!(
        scene
            .gateway
            .metric("sluice_gateway_upstream_resent_total")
            .await,
        2
    );

    one.replies(Reply::Refusals(usize::MAX, String::new()));
    let answer = scene.ask(EITHER).await;
    assert_eq!(answer.headers()["x-sluice-target"], "two/second");
    assert_eq!(one.refused(), 3 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_goes_away_ends_its_streams_and_gets_no_more() {
    let pieces = vec![word("a")];
    let one = Http2Provider::start(Reply::Stream(pieces, End::Well), 100).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    let under_way = scene.ask(STREAM).await;
    one.go_away();
    one.replies(answer());
    eventually("requests go over another connection", async || {
        let answer = scene.ask(QUESTION).await;
        assert_eq!(answer.status(), StatusCode::OK);
        (one.connections() == 2).then_some(())
    })
    .await;
    one.go_on();
    assert_eq!(text(under_way).await, word("a"));
    one.ended(1).await;
    assert_eq!(scene.ask(QUESTION).await.status(), StatusCode::OK);
    assert_eq!(one.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_not_fetched() {
    const WINDOWS: u64 = 8 * 1024 * 1024;
    let event = word(&"x".repeat(8_000));
    let one = Http2Provider::start(Reply::Torrent(event), 100).await;
    let scene = Scene::set(&one.origin(), &[]).await;
    let mut slow = scene.ask(STREAM).await;
    let sent = until_still(&one).await;
    assert!(sent < WINDOWS, "{sent} bytes wait somewhere");
    // It holds up nobody else on the connection.
    one.replies(answer());
    assert_eq!(text(scene.ask(QUESTION).await).await, ANSWER);
    assert_eq!(one.connections(), 1);
    // And it goes on when it is read.
    let mut read = 0;
    while read < 2 * WINDOWS {
        let frame = slow.body_mut().frame().await.expect("it goes on");
        let data = frame.expect("it is whole").into_data().expect("data");
        read += data.len() as u64;
    }
    assert!(one.sent() > 2 * WINDOWS);
}

/// Waits until the provider has sent nothing for a while; how much it sent.
async fn until_still(provider: &Http2Provider) -> u64 {
    const LOOKS: usize = 50;
    let (mut last, mut still) = (0, 0);
    eventually("the provider stops sending", async || {
        let sent = provider.sent();
        still = if sent > 0 && sent == last {
            still + 1
        } else {
            0
        };
        last = sent;
        (still > LOOKS).then_some(sent)
    })
    .await
}

/// The head of a frame: its length, type, flags and stream.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// GOAWAY: no stream was looked at, and nothing is wrong.
const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads up to a request's head. Frames are not taken apart further than that.
async fn read_to_the_request(stream: &mut TcpStream) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.expect("a preface");
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.expect("a payload");
        if head[3] == 1 {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_provider_has_not_looked_at_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    let scene = Scene::set(&origin, &[]).await;
    let asking = scene.ask(QUESTION);
    let answering = async {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(&SETTINGS).await.expect("sent");
            read_to_the_request(&mut stream).await;
            stream.write_all(&GO_AWAY).await.expect("sent");
            // Read on to the end, lest the word be lost in a reset.
            let mut rest = Vec::new();
            let _ended = stream.read_to_end(&mut rest).await;
        }
        let (stream, _) = listener.accept().await.expect("a third connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (_, mut respond) = connection.accept().await.expect("asked").expect("well");
        let head = Response::builder().header("content-type", "application/json");
        let head = head.body(()).expect("a good head");
        let mut stream = respond.send_response(head, false).expect("open");
        stream.send_data(ANSWER.into(), true).expect("open");
        // Drives it to its end, in which the gateway has no part.
        while connection.accept().await.is_some() {}
    };
    tokio::select! {
        answer = asking => {
            assert_eq!(answer.headers()["x-sluice-target"], "one/first");
        }
        () = answering => panic!("the third connection ended before the answer"),
    }
    let record = scene.record(Outcome::Success).await;
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(scene.two.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_no_ping_is_dead() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    let scene = Scene::set(&origin, &["--upstream-ping-ms", "100"]).await;
    let dead = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(&SETTINGS).await.expect("sent");
        read_to_the_request(&mut stream).await;
        // It reads on, and never says a word.
        let mut rest = Vec::new();
        let _ended = stream.read_to_end(&mut rest).await;
        rest
    });
    let answer = scene.ask(EITHER).await;
    assert_eq!(answer.headers()["x-sluice-target"], "two/second");
    let rest = dead.await.expect("no panic");
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0];
    assert!(
        rest.windows(9).any(|it| it == ping),
        "it was asked: {rest:?}"
    );
    let record = scene.record(Outcome::Success).await;
    let first = &record.attempts[0];
    assert_eq!(
        (first.error.as_deref(), first.sent),
        (Some("broken"), Some(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_pings_may_think_for_longer() {
    let pieces = vec![word("a"), DONE.to_owned()];
    let one = Http2Provider::start(Reply::Stream(pieces, End::Well), 100).await;
    let scene = Scene::set(&one.origin(), &["--upstream-ping-ms", "50"]).await;
    let begin = std::time::Instant::now();
    let answer = scene.ask(STREAM).await;
    eventually("several pings were answered", async || {
        (begin.elapsed() > Duration::from_millis(500)).then_some(())
    })
    .await;
    one.go_on();
    assert_eq!(text(answer).await, [word("a"), DONE.to_owned()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_told_as_over_http1() {
    let one = crate::support::free_address();
    let scene = Scene::set(&format!("http://{one}"), &[]).await;
    let answer = scene.ask(QUESTION).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(text(answer).await.contains("provider_unreachable"));
    let answer = scene.ask(EITHER).await;
    assert_eq!(answer.headers()["x-sluice-target"], "two/second");
}

//! What else callers do: send what is not HTTP or could be understood in two ways, too much, too slowly, or several requests
//! without waiting.

use std::time::Duration;

use events_schema::usage::Outcome;

use super::{
    Ask, Row, Sees, Used, check, refused, scene, success,
    wire::Act::{Drip, Send, Until},
};
use crate::support::provider::{End, Reply, answer, word};

const CLOSES: &str = "connection: close\r\n";

/// A chat whose fields and body are these.
fn chat(fields: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\n{{fields}}{fields}\r\n{body}")
}

/// A chat with a body that ends the connection.
fn closing(fields: &str, body: &str) -> String {
    chat(&format!("{CLOSES}{fields}"), body)
}

/// The usual answer.
fn good() -> Sees {
    let Reply::Whole(status, _, body) = answer() else {
        unreachable!("it is whole")
    };
    Sees::Whole(status, body)
}

const USED: Used = Used::Exactly(10, 5);

/// What cannot be understood, and is nobody's.
fn not_understood() -> Vec<Row> {
    let body = Ask::Chat.body();
    let length = format!("content-length: {}\r\n", body.len());
    let many = "x: y\r\n".repeat(120);
    let long = format!("x: {}\r\n", "y".repeat(140_000));
    let path = "x".repeat(70_000);
    let of = [
        ("no-http", "\x16\x03\x01\x02\r\n\r\n".to_owned(), 400),
        ("no-version", "POST /v1/chat/completions\r\n\r\n".to_owned(), 400),
        ("other-version", "POST / HTTP/3.0\r\n{fields}\r\n".to_owned(), 400),
        ("two-lengths", chat("content-length: 2\r\ncontent-length: 3\r\n", "{}!"), 400),
        ("list-of-lengths", chat("content-length: 2, 2\r\n", "{}"), 400),
        ("signed-length", chat("content-length: +2\r\n", "{}"), 400),
        ("no-length", chat("content-length: \r\n", "{}"), 400),
        ("other-coding", chat("transfer-encoding: gzip\r\n", "{}"), 400),
        ("chunked-is-not-the-last", chat("transfer-encoding: chunked, gzip\r\n", "{}"), 400),
        ("folded", chat(&format!("x-a: 1\r\n 2\r\n{length}"), body), 400),
        ("folded-length", chat("content-length: 2\r\n 3\r\n", "{}"), 400),
        ("blank-before-the-colon", chat("content-length : 2\r\n", "{}"), 400),
        ("carriage-return-in-a-value", chat(&format!("x-a: 1\r2\r\n{length}"), body), 400),
        ("nul-in-a-value", chat(&format!("x-a: 1\02\r\n{length}"), body), 400),
        ("carriage-returns-alone", "GET /healthz HTTP/1.1\rhost: a\r\r".to_owned(), 400),
        ("many-fields", chat(&many, ""), 431),
        ("long-head", chat(&long, ""), 431),
        ("long-target", format!("POST /{path} HTTP/1.1\r\n\r\n"), 414),
        (
            "chunks-in-old-http",
            "POST /v1/chat/completions HTTP/1.0\r\n{fields}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            400,
        ),
    ];
    of.map(|(name, text, status)| {
        Row::new(name, Ask::Chat)
            .caller([Send(text)])
            .sees(Sees::Bare(status))
    })
    .to_vec()
}

/// Requests that are understood, however odd they are.
fn understood() -> Vec<Row> {
    let body = Ask::Chat.body();
    let size = body.len();
    let length = format!("content-length: {size}\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    let chunks = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
    let extended = format!("{size:X} ;a=b;c=\"d\"\r\n{body}\r\n000;e\r\nx-trailer: 1\r\n\r\n");
    let lines = closing(&length, "").replace("\r\n", "\n");
    let of = [
        ("same-length-twice", closing(&length.repeat(2), body)),
        ("chunks", closing(chunked, &chunks)),
        ("extensions-and-trailers", closing(chunked, &extended)),
        (
            "empty-lines-before",
            format!("\r\n\r\n{}", closing(&length, body)),
        ),
        ("line-feeds-alone", format!("{lines}{body}")),
        (
            "old-http",
            chat(&length, body).replace("HTTP/1.1", "HTTP/1.0"),
        ),
    ];
    of.map(|(name, text)| {
        // `{fields}` brings lines of its own, which end as HTTP has it.
        Row::new(name, Ask::Chat)
            .caller([Send(text)])
            .sees(good())
            .recorded(success(USED))
    })
    .to_vec()
}

/// Bodies that are refused.
fn bodies() -> Vec<Row> {
    let chunked = "transfer-encoding: chunked\r\n";
    let long = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000));
    let of = [
        ("no-size", "\r\n\r\n"),
        ("size-of-letters", "xyz\r\n"),
        ("signed-size", "-1\r\n"),
        ("size-too-large", "fffffffffffffffff\r\n"),
        ("size-with-line-feed", "2\n{}\n"),
        ("extension-with-line-feed", "2;a\n{}\r\n"),
        ("chunk-too-long", "2\r\n{}{}\r\n0\r\n\r\n"),
        ("long-extension", long.as_str()),
    ];
    let malformed = of.map(|(name, chunks)| (name, closing(chunked, chunks)));
    let others = [
        ("nothing", closing("", "")),
        ("no-json", closing("content-length: 2\r\n", "{]")),
        ("half-an-object", closing("content-length: 1\r\n", "{")),
    ];
    let told = malformed.into_iter().chain(others).map(|(name, text)| {
        Row::new(name, Ask::Chat)
            .caller([Send(text)])
            .sees(Sees::Error(400, "invalid_request"))
            .recorded(refused(Outcome::BadRequest, "invalid_request"))
    });
    told.collect()
}

/// A caller that waits to be told to send its body is told, unless nobody would read it.
fn waiting_to_be_told() -> Vec<Row> {
    let body = Ask::Chat.body();
    let expects = |length: usize| {
        closing(
            &format!("content-length: {length}\r\nexpect: 100-continue\r\n"),
            "",
        )
    };
    let told = [
        Send(expects(body.len())),
        Until("HTTP/1.1 100 Continue\r\n\r\n"),
        Send(body.to_owned()),
    ];
    vec![
        Row::new("told-to-go-on", Ask::Chat)
            .caller(told)
            .sees(good())
            .recorded(success(USED)),
        Row::new("refused-before-it-is-told", Ask::Chat)
            .caller([Send(expects(40_000_000))])
            .sees(Sees::Error(413, "request_too_large"))
            .recorded(refused(Outcome::BadRequest, "request_too_large")),
    ]
}

/// Lengths of two kinds: the chunks count (RFC 9112, 6.1), what follows them is nobody's request, and the connection ends.
fn smuggled() -> Vec<Row> {
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n";
    let body = Ask::Chat.body();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}", body.len());
    let length = format!("content-length: {}\r\n", chunks.len());
    let chunked = "transfer-encoding: chunked\r\n";
    let of = [
        ("length-then-chunks", [&length, chunked].concat()),
        ("chunks-then-length", [chunked, &length].concat()),
    ];
    of.map(|(name, fields)| {
        Row::new(name, Ask::Chat)
            .caller([Send(chat(&fields, &chunks))])
            .sees(good())
            .recorded(success(USED))
    })
    .to_vec()
}

/// Chunks that are malformed only where they go on: what follows them is nobody's request, however it looks.
fn malformed_in_the_middle() -> Row {
    let expects = "transfer-encoding: chunked\r\nexpect: 100-continue\r\n";
    let rest = "\r\n0 ;x HTTP/1.1\r\na: b\n\r\nGET /healthz HTTP/1.1\r\nhost: g\r\n\r\n";
    let acts = [
        Send(chat(expects, "1\r\n{")),
        // What has come was taken: the rest comes apart.
        Until("HTTP/1.1 100 Continue\r\n\r\n"),
        Send(rest.to_owned()),
    ];
    Row::new("malformed-in-the-middle", Ask::Chat)
        .caller(acts)
        .sees(Sees::Error(400, "invalid_request"))
        .recorded(refused(Outcome::BadRequest, "invalid_request"))
}

/// Several requests at once: each is answered in its turn, or the connection ends.
fn pipelined() -> Vec<Row> {
    let body = Ask::Chat.body();
    let first = chat(&format!("content-length: {}\r\n", body.len()), body);
    let health = |closes: &str| format!("GET /healthz HTTP/1.1\r\nhost: gateway\r\n{closes}\r\n");
    let ok = || Sees::Whole(200, "ok\n".into());
    let stream = Ask::ChatStream.body();
    let streaming = chat(&format!("content-length: {}\r\n", stream.len()), stream);
    let done = [&word("a"), "data: [DONE]\n\n"].concat();
    let slowly = Reply::LateWhole(Duration::from_millis(200), "{\"late\":true}".into());
    let hidden = health("");
    let with_a_body = format!(
        "GET /v1/models HTTP/1.1\r\n{{fields}}content-length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    vec![
        Row::new("two-in-a-row", Ask::Chat)
            .provider(slowly)
            .caller([Send([first.clone(), health(CLOSES)].concat())])
            .sees(Sees::Whole(200, "{\"late\":true}".into()))
            .sees(ok())
            .recorded(success(Used::asking(Ask::Chat, 4, 4))),
        Row::new("behind-a-stream", Ask::ChatStream)
            .provider(Reply::Stream(vec![done.clone()], End::Well))
            .caller([Send([streaming, health(""), health(CLOSES)].concat())])
            .sees(Sees::Whole(200, done))
            .sees(ok())
            .sees(ok())
            .recorded(success(Used::asking(Ask::ChatStream, 1, 1))),
        Row::new("nonsense-behind-a-request", Ask::Chat)
            .caller([Send([first.clone(), "nonsense\r\n\r\n".into()].concat())])
            .sees(good())
            .sees(Sees::Bare(400))
            .recorded(success(USED)),
        Row::new("behind-a-refused-body", Ask::Chat)
            .caller([Send(
                [chat("content-length: 2\r\n", "{]"), health(CLOSES)].concat(),
            )])
            .sees(Sees::Error(400, "invalid_request"))
            .sees(ok())
            .recorded(refused(Outcome::BadRequest, "invalid_request")),
        Row::new("behind-chunks-that-are-none", Ask::Chat)
            .caller([Send(
                [
                    chat("transfer-encoding: chunked\r\n", "xyz\r\n"),
                    health(""),
                ]
                .concat(),
            )])
            .sees(Sees::Error(400, "invalid_request"))
            .recorded(refused(Outcome::BadRequest, "invalid_request")),
        Row::new("hidden-in-a-body-that-nobody-reads", Ask::Chat)
            .caller([Send([with_a_body, health(CLOSES)].concat())])
            .sees(Sees::Status(200))
            .sees(ok()),
        Row::new("old-http-that-goes-on", Ask::Chat)
            .caller([Send(
                [health("connection: keep-alive\r\n"), health("")]
                    .concat()
                    .replace("HTTP/1.1", "HTTP/1.0"),
            )])
            .sees(ok())
            .sees(ok()),
        Row::new("three-chats", Ask::Chat)
            .caller([Send([first.repeat(3), health(CLOSES)].concat())])
            .sees(good())
            .sees(good())
            .sees(good())
            .sees(ok())
            .recorded(success(USED))
            .recorded(success(USED))
            .recorded(success(USED)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_caller_sends_is_understood_in_one_way_or_refused() {
    let rows = [
        not_understood(),
        understood(),
        bodies(),
        waiting_to_be_told(),
        smuggled(),
        vec![malformed_in_the_middle()],
        pipelined(),
    ]
    .concat();
    let scene = scene(&[], rows.len()).await;
    check(&scene, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_sends_too_slowly_is_not_waited_for() {
    let often = Duration::from_millis(50);
    let head = chat("content-length: 9\r\n", "");
    let body = |pause| {
        [
            Send(chat("content-length: 900\r\n", "")),
            Drip("{".repeat(900), pause),
        ]
    };
    let chunks = [
        Send(chat("transfer-encoding: chunked\r\n", "")),
        Drip("1\r\n{\r\n".repeat(100), often),
    ];
    let late = || refused(Outcome::BadRequest, "request_timeout");
    let told = || Sees::Error(408, "request_timeout");
    let rows = [
        // Nobody knows yet what it is: the connection ends.
        Row::new("nothing-at-all", Ask::Chat).caller([]),
        Row::new("a-head-without-end", Ask::Chat).caller([Drip(head.clone(), often)]),
        Row::new("a-head-behind-a-request", Ask::Chat)
            .caller([Send(chat("content-length: 2\r\n", "{]")), Drip(head, often)])
            .sees(Sees::Error(400, "invalid_request"))
            .recorded(refused(Outcome::BadRequest, "invalid_request")),
        Row::new("a-body-that-pauses", Ask::Chat)
            .caller([Send(chat("content-length: 9\r\n", "{"))])
            .sees(told())
            .recorded(late()),
        Row::new("a-body-without-end", Ask::Chat)
            .caller(body(often))
            .sees(told())
            .recorded(late()),
        Row::new("chunks-without-end", Ask::Chat)
            .caller(chunks)
            .sees(told())
            .recorded(late()),
    ];
    let flags = [
        "--caller-idle-ms",
        "2000",
        "--body-pause-timeout-ms",
        "1000",
        "--body-timeout-ms",
        "2000",
    ];
    let scene = scene(&flags, rows.len()).await;
    check(&scene, &rows).await;
}

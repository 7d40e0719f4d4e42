//! What else providers do: refuse, say nothing, answer with errors, garbage or what is framed in two ways, and take their time.

use events_schema::usage::Outcome;

use super::{Ask, Recorded, Row, Sees, Used, check, keys, scene, success};
use crate::support::{
    gateway::{Gateway, Scene},
    nats::Nats,
    provider::{End, Provider, Reply, answer, error, word},
    snapshots::Snapshots,
};

const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// Short enough to be waited for, and long enough for what answers at once.
const IMPATIENT: [&str; 6] = [
    "--response-timeout-ms",
    "1000",
    "--idle-timeout-ms",
    "1000",
    "--connect-timeout-ms",
    "1000",
];

fn bytes(text: impl AsRef<[u8]>) -> Reply {
    Reply::Bytes(text.as_ref().to_vec())
}

fn pieces(of: &[&str], end: End) -> Reply {
    Reply::Stream(of.iter().map(|it| (*it).to_owned()).collect(), end)
}

/// There was no answer.
fn unreachable(code: &'static str, attempt: &'static str, used: Used) -> Recorded {
    Recorded {
        outcome: Outcome::ProviderUnreachable,
        error_code: Some(code),
        used,
        attempt: Some(attempt),
    }
}

/// The provider may have worked on the question.
fn asked(ask: Ask) -> Used {
    Used::asking(ask, 0, 0)
}

/// An answer that is no HTTP, or cannot be one.
fn broken(name: &str, ask: Ask, text: impl AsRef<[u8]>) -> Row {
    let code = "provider_connection_broken";
    Row::new(name, ask)
        .provider(bytes(text))
        .sees(Sees::Error(502, code))
        .recorded(unreachable(code, "broken", asked(ask)))
}

/// A stream that is cut behind one word.
fn cut(name: &str, reply: Reply, why: &'static str) -> Row {
    let ask = Ask::ChatStream;
    let recorded = Recorded {
        outcome: Outcome::StreamCut,
        error_code: Some("provider_stream_cut"),
        used: Used::asking(ask, 1, 1),
        attempt: Some(why),
    };
    Row::new(name, ask)
        .provider(reply)
        .sees(Sees::Cut(word("a"), "provider_stream_cut"))
        .recorded(recorded)
}

/// An answer that is passed on as an error, and charged by nobody.
fn fails(name: &str, reply: Reply, sees: Sees, code: Option<&'static str>) -> Row {
    let recorded = Recorded {
        outcome: Outcome::ProviderError,
        error_code: code,
        used: Used::Nothing,
        attempt: None,
    };
    Row::new(name, Ask::Chat)
        .provider(reply)
        .sees(sees)
        .recorded(recorded)
}

/// Answers whose beginning is no head, or one that could be understood in two ways.
fn heads() -> Vec<Row> {
    let with = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}");
    let many = "x: y\r\n".repeat(101);
    let long = format!("x: {}\r\n", "y".repeat(70_000));
    let of = [
        ("garbage", "SSH-2.0-OpenSSH\r\n".to_owned()),
        ("old", "HTTP/0.9 200 OK\r\n\r\n{}".to_owned()),
        ("status-of-letters", "HTTP/1.1 two OK\r\n\r\n".to_owned()),
        (
            "switching",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        ),
        ("folded", with("x-a: 1\r\n 2\r\ncontent-length: 2", "{}")),
        (
            "two-lengths",
            with("content-length: 2\r\ncontent-length: 3", "{}!"),
        ),
        (
            "length-and-chunks",
            with(
                "content-length: 2\r\ntransfer-encoding: chunked",
                "0\r\n\r\n",
            ),
        ),
        ("list-of-lengths", with("content-length: 2, 2", "{}")),
        ("signed-length", with("content-length: +2", "{}")),
        (
            "other-coding",
            with("transfer-encoding: gzip, chunked", "0\r\n\r\n"),
        ),
        ("many-fields", with(&format!("{many}x: z"), "{}")),
        ("long-head", with(&format!("{long}x: z"), "{}")),
    ];
    of.iter()
        .map(|(name, text)| broken(name, Ask::Chat, text))
        .collect()
}

/// Chunks that are none; in a stream, behind one word.
fn chunks() -> Vec<Row> {
    let trailer = format!("0\r\n{}", "x".repeat(20_000));
    let of = [
        ("no-size", "\r\n"),
        ("size-of-letters", "xyz\r\n"),
        ("signed-size", "-1\r\n"),
        ("size-too-large", "fffffffffffffffff\r\n"),
        ("size-with-line-feed", "2\n{}\n"),
        ("chunk-too-long", "2\r\n{}{}\r\n"),
        ("endless-trailer", trailer.as_str()),
    ];
    let head = "transfer-encoding: chunked\r\n\r\n";
    let a = word("a");
    let first = format!("{:x}\r\n{a}\r\n", a.len());
    of.iter()
        .flat_map(|(name, chunks)| {
            let whole = format!("HTTP/1.1 200 OK\r\n{head}{chunks}");
            let stream = format!("{EVENTS}{head}{first}{chunks}");
            [
                broken(&format!("{name}-whole"), Ask::Chat, whole),
                cut(&format!("{name}-stream"), bytes(stream), "broken"),
            ]
        })
        .collect()
}

/// Errors: what the API says passes, what does not come from it is told as an error of the gateway.
fn errors() -> Vec<Row> {
    let said = |status: u16| {
        format!(r#"{{"error":{{"message":"status {status}","type":"t","code":"c"}}}}"#)
    };
    let passes = |status: u16| {
        let sees = Sees::Whole(status, said(status));
        fails(&format!("status-{status}"), error(status), sees, None)
    };
    let of_the_credential = |status: u16| {
        let code = "provider_credential_refused";
        let sees = Sees::Error(502, code);
        fails(&format!("status-{status}"), error(status), sees, Some(code))
    };
    let html = |status| Reply::Whole(status, "text/html", "<h1>No</h1>".into());
    let told = |name: &str, reply, status| {
        let code = "provider_error";
        fails(name, reply, Sees::Error(status, code), Some(code))
    };
    let json = Reply::Whole(307, "application/json", "{}".into());
    let mut rows: Vec<Row> = [400, 404, 429, 500, 503, 529].map(passes).into();
    rows.extend([401, 403].map(of_the_credential));
    rows.extend([
        told("html-500", html(500), 500),
        told("html-404", html(404), 404),
        told("led-elsewhere", json, 502),
    ]);
    rows
}

/// Answers that are odd, and pass.
fn odd() -> Vec<Row> {
    let ask = Ask::Chat;
    // In these nothing is found that could be counted.
    let about = |text: &str| {
        let length = text.len().div_ceil(4) as u64;
        Used::asking(ask, length, length)
    };
    let garbage = "{\"choices\":[nonsense";
    let beyond = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}{\"more\":1}";
    let whole = [&word("a"), DONE].concat();
    let until_close = format!("{EVENTS}\r\n{whole}");
    let first_words = format!("{EVENTS}\r\n{}", word("a"));
    let Reply::Whole(_, _, good) = answer() else {
        unreachable!("it is whole")
    };
    let slowly = format!(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{good}",
        good.len()
    );
    let a = word("a");
    let slow_stream = format!(
        "{EVENTS}transfer-encoding: chunked\r\n\r\n{:x};x=y\r\n{a}\r\n{:x}\r\n{DONE}\r\n0\r\nx: y\r\n\r\n",
        a.len(),
        DONE.len()
    );
    let row = |name: &str, ask, reply, seen: &str, used| {
        Row::new(name, ask)
            .provider(reply)
            .sees(Sees::Whole(200, seen.to_owned()))
            .recorded(success(used))
    };
    let stream = Ask::ChatStream;
    let one_word = Used::asking(stream, 1, 1);
    vec![
        row(
            "nonsense",
            ask,
            Reply::Whole(200, "application/json", garbage.into()),
            garbage,
            about(garbage),
        ),
        row(
            "more-than-its-length",
            ask,
            bytes(beyond),
            "{}",
            about("{}"),
        ),
        row(
            "byte-by-byte",
            ask,
            Reply::Drip(slowly.into()),
            &good,
            Used::Exactly(10, 5),
        ),
        row(
            "stream-byte-by-byte",
            stream,
            Reply::Drip(slow_stream.into()),
            &whole,
            one_word,
        ),
        row(
            "stream-until-the-end",
            stream,
            bytes(until_close),
            &whole,
            one_word,
        ),
        cut("stream-that-only-ends", bytes(first_words), "broken"),
    ]
}

/// Errors within streams.
fn error_events() -> Vec<Row> {
    let ask = Ask::ChatStream;
    let row = |name: &str, text: &str, used| {
        let recorded = Recorded {
            outcome: Outcome::ProviderError,
            error_code: Some("provider_error"),
            used,
            attempt: Some("error_event"),
        };
        Row::new(name, ask)
            .provider(pieces(&[text], End::Well))
            .sees(Sees::Whole(200, text.to_owned()))
            .recorded(recorded)
    };
    let later = [&word("a"), ERROR].concat();
    vec![
        row("error-first", ERROR, Used::asking(ask, 0, 0)),
        row("error-later", &later, Used::asking(ask, 1, 1)),
    ]
}

/// An answer that is too large to be held, and breaks off when some of it has gone to the caller.
fn large() -> Row {
    const SENT: usize = 1_500_000;
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2000000\r\n\r\n";
    let recorded = Recorded {
        outcome: Outcome::StreamCut,
        error_code: Some("provider_stream_cut"),
        // Of what has passed by nothing is kept.
        used: Used::asking(Ask::Chat, SENT as u64 / 4, SENT as u64 / 4),
        attempt: Some("broken"),
    };
    Row::new("large", Ask::Chat)
        .provider(bytes([head, &"x".repeat(SENT)].concat()))
        .sees(Sees::Broken)
        .recorded(recorded)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_provider_says_the_caller_gets_it_or_learns_what_is_wrong_with_it() {
    let rows = [
        heads(),
        chunks(),
        errors(),
        odd(),
        error_events(),
        vec![large()],
    ]
    .concat();
    let scene = scene(&[], rows.len()).await;
    check(&scene, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_nothing_more_is_not_waited_for_without_end() {
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
    let timeout = "provider_timeout";
    let silent = |name: &str, ask, reply, told| {
        Row::new(name, ask)
            .provider(reply)
            .sees(Sees::Error(504, told))
            .recorded(unreachable(timeout, "timeout", asked(ask)))
    };
    let stays = |text: &str| Reply::BytesAndStay(text.into());
    let no_event = format!("{EVENTS}transfer-encoding: chunked\r\n\r\n");
    let a = word("a");
    let half = format!("{no_event}{:x}\r\n{a}\r\n20\r\ndata: {{\"half", a.len());
    let rows = [
        silent("no-word", Ask::Chat, Reply::Silence, timeout),
        silent(
            "no-word-to-anthropics",
            Ask::Message,
            Reply::Silence,
            "timeout_error",
        ),
        silent("half-a-head", Ask::Chat, stays("HTTP/1.1 200"), timeout),
        silent("half-a-body", Ask::Chat, stays(whole), timeout),
        silent("no-event", Ask::ChatStream, stays(&no_event), timeout),
        cut("half-an-event", stays(&half), "timeout"),
        cut("one-event", pieces(&[&a], End::Never), "timeout"),
    ];
    let scene = scene(&IMPATIENT, rows.len()).await;
    check(&scene, &rows).await;
    scene.one.cancelled(rows.len() - 1).await;
    scene.two.cancelled(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached_has_used_nothing() {
    for (name, two, status, code, told, attempt) in [
        (
            "refuses",
            Provider::away(),
            502,
            "provider_unreachable",
            "api_error",
            "connect",
        ),
        (
            "says-nothing-under-tls",
            Provider::mute_under_tls().await,
            504,
            "provider_timeout",
            "timeout_error",
            "timeout",
        ),
    ] {
        let row = Row::new(name, Ask::Message)
            .sees(Sees::Error(status, told))
            .recorded(unreachable(code, attempt, Used::Nothing));
        let nats = Nats::start().await;
        let one = Provider::start(answer()).await;
        let snapshots = keys(Snapshots::of(&one, &two), &two, 1);
        snapshots.publish(&nats.jetstream().await).await;
        let mut gateway = Gateway::prepare(&nats, &IMPATIENT);
        // Whom to trust is looked up before anybody is connected to.
        gateway.trust(&Provider::start_with_tls(answer()).await.1);
        gateway.run();
        gateway.ready().await;
        let scene = Scene {
            nats,
            one,
            two,
            snapshots,
            gateway,
        };
        check(&scene, &[row]).await;
    }
}

//! The caller goes away: within its request, before the answer, within it; and what it used until then counts.

use events_schema::usage::Outcome;

use super::{
    Ask, Recorded, Row, Sees, Used, check, scene, success,
    wire::Act::{Asked, Finish, Leave, Send, Until},
};
use crate::support::provider::{End, Reply, word};

const DONE: &str = "data: [DONE]\n\n";

fn gone(used: Used) -> Recorded {
    Recorded {
        outcome: Outcome::ClientGone,
        error_code: Some("client_gone"),
        used,
        attempt: None,
    }
}

/// The beginning of a chat, up to what frames its body.
fn chat(framing: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\n{{fields}}{framing}\r\n\r\n{body}")
}

/// Within its request: of what has not come whole nothing is understood, but whose it was.
fn within_the_request() -> Vec<Row> {
    let in_head = [
        ("in-the-method", "PO"),
        ("in-the-target", "POST /v1/chat"),
        (
            "in-a-field",
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gat",
        ),
        (
            "before-the-body",
            "POST /v1/chat/completions HTTP/1.1\r\n{fields}content-length: 9\r\n",
        ),
    ];
    let in_body = [
        ("before-any-of-the-body", chat("content-length: 9", "")),
        (
            "in-the-body",
            chat("content-length: 90", "{\"model\":\"one/"),
        ),
        ("in-a-chunks-size", chat("transfer-encoding: chunked", "1")),
        (
            "in-a-chunk",
            chat("transfer-encoding: chunked", "9\r\n{\"mod"),
        ),
        (
            "between-chunks",
            chat("transfer-encoding: chunked", "2\r\n{}\r\n"),
        ),
        (
            "before-the-last-chunks-end",
            chat("transfer-encoding: chunked", "2\r\n{}\r\n0\r\n"),
        ),
    ];
    let in_head = in_head
        .map(|(name, text)| Row::new(name, Ask::Chat).caller([Send(text.to_owned()), Leave]));
    let in_body = in_body.map(|(name, text)| {
        let row = Row::new(name, Ask::Chat).caller([Send(text), Leave]);
        row.recorded(gone(Used::Nothing))
    });
    let says_so = chat("content-length: 90", "{\"model\":\"one/");
    let says_so = Row::new("with-less-than-its-length", Ask::Chat)
        .caller([Send(says_so), Finish])
        .sees(Sees::Error(400, "client_gone"))
        .recorded(gone(Used::Nothing));
    [in_head.to_vec(), in_body.to_vec(), vec![says_so]].concat()
}

/// Rows of a caller that goes while a provider works for it; the call is cancelled.
fn while_the_provider_works() -> Vec<Row> {
    let begun = |ask: Ask| Reply::Stream(vec![first(ask)], End::Never);
    let waiting = [Ask::Chat, Ask::ChatStream, Ask::Message, Ask::MessageStream].map(|ask| {
        Row::new(format!("before-the-answer-{ask:?}"), ask)
            .provider(Reply::Silence)
            .caller([Send(ask.request()), Asked, Leave])
            .recorded(gone(Used::asking(ask, 0, 0)))
    });
    let finished = Row::new("closing-one-way-before-the-answer", Ask::Chat)
        .provider(Reply::Silence)
        .caller([Send(Ask::Chat.request()), Asked, Finish])
        .recorded(gone(Used::asking(Ask::Chat, 0, 0)));
    let streams = [Ask::ChatStream, Ask::MessageStream]
        .into_iter()
        .flat_map(|ask| {
            ["HTTP/1.1 2", "\r\n\r\n", "\n\n"].map(|place| {
                Row::new(format!("in-the-stream-{ask:?}-{}", place.len()), ask)
                    .provider(begun(ask))
                    .caller([Send(ask.request()), Until(place), Leave])
                    .recorded(gone(so_far(ask)))
            })
        });
    waiting
        .into_iter()
        .chain([finished])
        .chain(streams)
        .collect()
}

/// The first event of a stream that goes on for ever.
fn first(ask: Ask) -> String {
    if ask.is_openais() {
        word("a")
    } else {
        "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"
            .to_owned()
    }
}

/// What that event has used.
fn so_far(ask: Ask) -> Used {
    if ask.is_openais() {
        Used::asking(ask, 1, 1)
    } else {
        Used::so_far(10, 1)
    }
}

/// A caller that has read all that it wants, or could have: there the answer is whole.
fn behind_the_answer() -> Vec<Row> {
    let ask = Ask::ChatStream;
    let over = Reply::Stream(vec![[&word("a"), DONE].concat()], End::Never);
    vec![
        Row::new("behind-done", ask)
            .provider(over)
            .caller([Send(ask.request()), Until("[DONE]\n\n"), Leave])
            .recorded(success(Used::asking(ask, 1, 1))),
        // It lay in the connection's buffers, all of it.
        Row::new("within-a-whole-answer", Ask::Chat)
            .caller([Send(Ask::Chat.request()), Until("HTTP/1.1 2"), Leave])
            .recorded(success(Used::Exactly(10, 5))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_caller_goes_away_its_call_is_cancelled_and_what_it_used_is_settled() {
    let working = while_the_provider_works();
    let openais = working.iter().filter(|row| row.ask.is_openais()).count();
    let anthropics = working.len() - openais;
    let rows = [within_the_request(), working, behind_the_answer()].concat();
    let scene = scene(&[], rows.len()).await;
    check(&scene, &rows).await;
    // And the one that was over.
    scene.one.cancelled(openais + 1).await;
    scene.two.cancelled(anthropics).await;
}

//! The provider breaks off behind each single byte of its answer: within the status line, the headers, a chunk's size, an event,
//! behind `[DONE]`, before the last chunk's end; streaming and not, in both dialects.

use events_schema::usage::Outcome;

use super::{Ask, Recorded, Row, Sees, Used, check, scene, success};
use crate::support::provider::{Reply, word};

/// So many bytes of content are in each chunk, wherever events end.
const CHUNK: usize = 40;

/// An answer as it lies on the wire: its bytes, and how many of them are head.
struct Wire {
    bytes: Vec<u8>,
    head: usize,
    /// Behind each byte, how much of the content has come.
    content_after: Vec<usize>,
}

impl Wire {
    fn begin(head: &str) -> Self {
        let mut wire = Self {
            bytes: Vec::new(),
            head: head.len(),
            content_after: Vec::new(),
        };
        wire.frame(head.as_bytes());
        wire
    }

    /// What is no content.
    fn frame(&mut self, bytes: &[u8]) {
        let content = self.content_after.last().copied().unwrap_or(0);
        self.bytes.extend_from_slice(bytes);
        self.content_after.resize(self.bytes.len(), content);
    }

    fn content(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let content = self.content_after.last().copied().unwrap_or(0);
            self.bytes.push(*byte);
            self.content_after.push(content + 1);
        }
    }

    fn in_chunks(kind: &str, content: &str) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut wire = Self::begin(&head);
        for chunk in content.as_bytes().chunks(CHUNK) {
            wire.frame(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.content(chunk);
            wire.frame(b"\r\n");
        }
        wire.frame(b"0\r\n\r\n");
        wire
    }

    fn of_a_length(kind: &str, content: &str) -> Self {
        let length = content.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
        let mut wire = Self::begin(&head);
        wire.content(content.as_bytes());
        wire
    }

    /// How much of the content is among the first bytes.
    fn content_in(&self, bytes: usize) -> usize {
        bytes.checked_sub(1).map_or(0, |at| self.content_after[at])
    }
}

/// An answer that has not begun when the provider breaks off.
fn not_begun(row: Row) -> Row {
    let code = if row.ask.is_openais() {
        "provider_connection_broken"
    } else {
        "api_error"
    };
    let recorded = Recorded {
        outcome: Outcome::ProviderUnreachable,
        error_code: Some("provider_connection_broken"),
        // The provider has had the question, and may charge for it.
        used: Used::asking(row.ask, 0, 0),
        attempt: Some("broken"),
    };
    row.sees(Sees::Error(502, code)).recorded(recorded)
}

/// A row for each place at which the provider can break off, and one in which it does not. `ended` makes of a row, and of how
/// much of the content has come, what becomes of an answer that has begun.
fn rows(name: &str, ask: Ask, wire: &Wire, ended: impl Fn(Row, usize, bool) -> Row) -> Vec<Row> {
    let cut_at = |place: usize| {
        let row = Row::new(format!("{name}-{place}"), ask);
        let row = row.provider(Reply::Bytes(wire.bytes[..place].to_vec()));
        let content = wire.content_in(place);
        if place < wire.head || content == 0 {
            return not_begun(row);
        }
        ended(row, content, place == wire.bytes.len())
    };
    (0..=wire.bytes.len()).map(cut_at).collect()
}

/// Rows of an answer that is no stream: passed on when all of it is there, and not before.
fn whole(name: &str, ask: Ask, wire: &Wire, content: &str, used: Used) -> Vec<Row> {
    rows(name, ask, wire, |row, _, is_all| {
        if is_all {
            let sees = Sees::Whole(200, content.to_owned());
            row.sees(sees).recorded(success(used))
        } else {
            not_begun(row)
        }
    })
}

/// An event: its text, whether the caller gets it, and what has been used once it has come.
type Event<'t> = (&'t str, bool, Used);

/// Rows of a stream: the events that have come whole, and an error event, unless the one that ends it has come.
fn stream(name: &str, ask: Ask, events: &[Event<'_>]) -> Vec<Row> {
    let content: String = events.iter().map(|(text, ..)| *text).collect();
    let wire = Wire::in_chunks("text/event-stream", &content);
    rows(name, ask, &wire, |row, came, _| {
        let (mut end, mut seen, mut used) = (0, String::new(), Used::asking(row.ask, 0, 0));
        let mut is_over = true;
        for (text, passes, so_far) in events {
            end += text.len();
            if end > came {
                is_over = false;
                break;
            }
            used = *so_far;
            if *passes {
                seen.push_str(text);
            }
        }
        if is_over {
            return row.sees(Sees::Whole(200, seen)).recorded(success(used));
        }
        let code = if row.ask.is_openais() {
            "provider_stream_cut"
        } else {
            "api_error"
        };
        let recorded = Recorded {
            outcome: Outcome::StreamCut,
            error_code: Some("provider_stream_cut"),
            used,
            attempt: Some("broken"),
        };
        row.sees(Sees::Cut(seen, code)).recorded(recorded)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_provider_breaks_off_its_answer_in_openais_dialect_the_caller_is_told_and_usage_settled()
 {
    let answer = r#"{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    let used = Used::Exactly(10, 5);
    let of_a_length = Wire::of_a_length("application/json", answer);
    let in_chunks = Wire::in_chunks("application/json", answer);
    let (a, b) = (word("a"), word(" b"));
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    let ask = Ask::ChatStream;
    let events = [
        (a.as_str(), true, Used::asking(ask, 1, 1)),
        (b.as_str(), true, Used::asking(ask, 2, 2)),
        // The caller has not asked for it.
        (usage, false, Used::Exactly(3, 2)),
        ("data: [DONE]\n\n", true, Used::Exactly(3, 2)),
    ];
    let rows = [
        whole("length", Ask::Chat, &of_a_length, answer, used),
        whole("chunks", Ask::Chat, &in_chunks, answer, used),
        stream("stream", ask, &events),
    ]
    .concat();
    let scene = scene(&[], rows.len()).await;
    check(&scene, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_provider_breaks_off_its_answer_in_anthropics_dialect_the_caller_is_told_and_usage_settled()
 {
    let answer = r#"{"type":"message","content":[{"type":"text","text":"Hi"}],"usage":{"input_tokens":10,"output_tokens":5}}"#;
    let used = Used::Exactly(10, 5);
    let of_a_length = Wire::of_a_length("application/json", answer);
    let in_chunks = Wire::in_chunks("application/json", answer);
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":200,\"output_tokens\":1}}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"Hi\"}}\n\n";
    let more = "event: content_block_delta\ndata: {\"delta\":{\"text\":\" there\"}}\n\n";
    let last = "event: message_delta\ndata: {\"usage\":{\"output_tokens\":20}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let events = [
        (start, true, Used::so_far(210, 1)),
        (delta, true, Used::so_far(210, 1)),
        (more, true, Used::so_far(210, 2)),
        (last, true, Used::Exactly(210, 20)),
        (stop, true, Used::Exactly(210, 20)),
    ];
    let rows = [
        whole("length", Ask::Message, &of_a_length, answer, used),
        whole("chunks", Ask::Message, &in_chunks, answer, used),
        stream("stream", Ask::MessageStream, &events),
    ]
    .concat();
    let scene = scene(&[], rows.len()).await;
    check(&scene, &rows).await;
}

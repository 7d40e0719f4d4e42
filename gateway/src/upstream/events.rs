//! Server-sent events on their way through: cut at their borders, never inside, so that an error can follow at any time.
//!
//! Pieces that end with an event pass as they are, without a copy. Where the caller did not ask for usage, the event that
//! only brings usage is taken out.

use bytes::{Bytes, BytesMut};
use events_schema::usage::Tokens;
use memchr::{memchr_iter, memmem, memrchr_iter};

use super::usage::{Stated, usage_in};
use crate::{
    count::{heard::Heard, kept::Kept},
    endpoint::{Dialect, EventKind},
};

/// An unfinished event may have this many bytes; a longer one passes in parts.
const MAX_HELD_BYTES: usize = 1024 * 1024;

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    dialect: Dialect,
    /// Whether the event that only brings usage is taken out.
    strip_usage: bool,
    held: BytesMut,
    usage: Option<Stated>,
    /// Whether usage was stated up to the end.
    settled: bool,
    count: u64,
    heard: Heard,
    done: bool,
    error: bool,
}

impl Events {
    /// At the beginning.
    #[must_use]
    pub fn new(dialect: Dialect, strip_usage: bool) -> Self {
        Self {
            dialect,
            strip_usage,
            held: BytesMut::new(),
            usage: None,
            settled: false,
            count: 0,
            heard: Heard::default(),
            done: false,
            error: false,
        }
    }

    /// Its text is heard as well, in case that it has to be counted, and takes room of `kept`.
    #[must_use]
    pub fn heard_with(mut self, kept: Kept) -> Self {
        self.heard = Heard::nothing(kept);
        self
    }

    /// The text that was heard.
    pub fn take_heard(&mut self) -> Heard {
        std::mem::take(&mut self.heard)
    }

    /// How much of the output was stated so far.
    #[must_use]
    pub fn stated_output(&self) -> u64 {
        self.usage.and_then(|it| it.output).unwrap_or(0)
    }

    /// The usage that events have brought. Where the stream has not come to the event that settles it, the output is
    /// what was stated or what was counted, whichever is more.
    #[must_use]
    pub fn usage(&self) -> Option<Tokens> {
        let mut tokens = self.usage?.tokens();
        if !self.settled {
            tokens.output = tokens.output.max(self.count);
            tokens.estimated = true;
        }
        Some(tokens)
    }

    /// How many events there were that carried some of the answer: about one for each token.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether the event was seen that ends a stream: `[DONE]`, or `message_stop`.
    #[must_use]
    pub const fn done(&self) -> bool {
        self.done
    }

    /// Whether an event was an error: a provider that fails after it has begun to answer says so in the stream.
    #[must_use]
    pub const fn error(&self) -> bool {
        self.error
    }

    /// Takes the next piece; gives what may be sent on, perhaps nothing.
    pub fn push(&mut self, piece: &Bytes) -> Bytes {
        if self.held.is_empty() {
            let border = last_border(piece, 0);
            self.held.extend_from_slice(&piece[border..]);
            return self.pass(piece.slice(..border));
        }
        let old = self.held.len();
        self.held.extend_from_slice(piece);
        match last_border(&self.held, old) {
            0 if self.held.len() > MAX_HELD_BYTES => self.held.split().freeze(),
            0 => Bytes::new(),
            border => {
                let events = self.held.split_to(border).freeze();
                self.pass(events)
            }
        }
    }

    /// What is held of an unfinished event at the end of the stream.
    pub fn finish(&mut self) -> Bytes {
        let rest = self.held.split().freeze();
        self.pass(rest)
    }

    /// Whole events, without those to be taken out.
    fn pass(&mut self, events: Bytes) -> Bytes {
        let may_hold_usage = memmem::find(&events, br#""usage""#).is_some();
        let mut kept: Option<BytesMut> = None;
        let mut start = 0;
        for end in borders(&events).chain([events.len()]) {
            let event = &events[start..end];
            if event.is_empty() {
                continue;
            }
            let kind = self.note(event);
            if may_hold_usage && self.take_usage(kind, event) {
                kept.get_or_insert_with(|| BytesMut::from(&events[..start]));
            } else if let Some(kept) = &mut kept {
                kept.extend_from_slice(event);
            }
            start = end;
        }
        kept.map_or(events, BytesMut::freeze)
    }

    /// Notes what an event is.
    fn note(&mut self, event: &[u8]) -> EventKind {
        let kind = self.dialect.kind(event, self.count > 0);
        match kind {
            EventKind::Aside | EventKind::UsageSoFar | EventKind::Usage => {}
            EventKind::Content => {
                self.count += 1;
                self.heard.hear(event);
            }
            EventKind::Error => self.error = true,
            EventKind::End => self.done = true,
        }
        kind
    }

    /// Notes the usage of an event; whether the event is to be taken out.
    fn take_usage(&mut self, kind: EventKind, event: &[u8]) -> bool {
        let settles = match (self.dialect, kind) {
            // Every event of OpenAI's may state it, and each is the last word so far.
            (Dialect::OpenAi, _) | (Dialect::Anthropic, EventKind::Usage) => true,
            (Dialect::Anthropic, EventKind::UsageSoFar) => false,
            (
                Dialect::Anthropic,
                EventKind::Aside | EventKind::Content | EventKind::Error | EventKind::End,
            ) => return false,
        };
        let Some(stated) = usage_in(self.dialect, event) else {
            return false;
        };
        self.usage = Some(stated.after(self.usage));
        self.settled |= settles;
        self.strip_usage && has_no_choices(event)
    }
}

/// Whether the first that a stream says, but for what frames the answer, is an error: then another target can still be
/// tried.
#[must_use]
pub fn begins_with_error(dialect: Dialect, piece: &[u8]) -> bool {
    let mut start = 0;
    let kinds = borders(piece).chain([piece.len()]).map(|end| {
        let event = &piece[start..end];
        start = end;
        dialect.kind(event, false)
    });
    let says = |kind: &EventKind| !matches!(kind, EventKind::Aside | EventKind::UsageSoFar);
    kinds.into_iter().find(says) == Some(EventKind::Error)
}

/// Whether `choices` is an empty list, as in the event that OpenAI adds for usage.
fn has_no_choices(event: &[u8]) -> bool {
    let key = br#""choices""#;
    memmem::find(event, key).is_some_and(|at| {
        let rest = event[at + key.len()..].trim_ascii_start();
        let rest = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii_start();
        rest.strip_prefix(b"[")
            .is_some_and(|rest| rest.trim_ascii_start().starts_with(b"]"))
    })
}

/// Where events end in a text that begins with one: after a line that is empty, and ends with LF or CR LF. An empty line where
/// an event could begin is one that says nothing.
fn borders(text: &[u8]) -> impl Iterator<Item = usize> {
    memchr_iter(b'\n', text)
        .filter(|at| ends_event(text, *at))
        .map(|at| at + 1)
}

/// Where the last whole event ends whose last byte is at `from` or later; 0: nowhere.
fn last_border(text: &[u8], from: usize) -> usize {
    memrchr_iter(b'\n', &text[from..])
        .map(|at| from + at)
        .find(|at| ends_event(text, *at))
        .map_or(0, |at| at + 1)
}

fn ends_event(text: &[u8], line_feed: usize) -> bool {
    let before = &text[..line_feed];
    let before = before.strip_suffix(b"\r").unwrap_or(before);
    before.is_empty() || before.ends_with(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
    const USAGE: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    const LAST_WITH_USAGE: &str =
        "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    /// Sends `text` through in pieces of every size and expects the same each time.
    fn check(strip: bool, text: &str, expected: &str, usage: bool) {
        for size in 1..=text.len() {
            let mut events = Events::new(Dialect::OpenAi, strip);
            let mut sent = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                let passed = events.push(&Bytes::copy_from_slice(piece));
                assert!(
                    passed.is_empty() || passed.ends_with(b"\n"),
                    "cut within an event"
                );
                sent.extend_from_slice(&passed);
            }
            sent.extend_from_slice(&events.finish());
            assert_eq!(std::str::from_utf8(&sent), Ok(expected), "pieces of {size}");
            assert_eq!(events.usage().is_some(), usage);
            assert_eq!(events.done(), text.contains("[DONE]"));
        }
    }

    #[test]
    fn nothing_is_changed_when_usage_was_asked_for() {
        let text = [CHUNK, CHUNK, USAGE, DONE].concat();
        check(false, &text, &text, true);
    }

    #[test]
    fn the_event_that_only_brings_usage_is_taken_out() {
        check(
            true,
            &[CHUNK, CHUNK, USAGE, DONE].concat(),
            &[CHUNK, CHUNK, DONE].concat(),
            true,
        );
        check(true, &[USAGE, CHUNK].concat(), CHUNK, true);
    }

    #[test]
    fn usage_that_comes_with_a_choice_stays() {
        let text = [CHUNK, LAST_WITH_USAGE, DONE].concat();
        check(true, &text, &text, true);
    }

    #[test]
    fn carriage_returns_comments_and_other_fields_pass() {
        let text = ": hello\r\n\r\nevent: x\r\ndata: {}\r\n\r\ndata: [DONE]\r\n\r\n";
        check(true, text, text, false);
    }

    #[test]
    fn what_is_left_at_the_end_passes() {
        let text = [CHUNK, "data: {\"half"].concat();
        check_unfinished(&text);
    }

    fn check_unfinished(text: &str) {
        let mut events = Events::new(Dialect::OpenAi, true);
        let passed = events.push(&Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(passed, CHUNK);
        assert_eq!(events.finish(), "data: {\"half");
    }

    #[test]
    fn a_piece_that_ends_with_an_event_is_not_copied() {
        let piece = Bytes::from_static(b"data: {}\n\n");
        let passed = Events::new(Dialect::OpenAi, true).push(&piece);
        assert_eq!(passed.as_ptr(), piece.as_ptr());
    }

    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"cache_creation_input_tokens\":2,\"output_tokens\":1}}}\n\n";
    const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"partial_json\":\"{\\\"usage\\\":{\\\"output_tokens\\\":9}}\"}}\n\n";
    const LAST: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n";
    const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    const ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n";

    #[test]
    fn what_anthropics_events_state_adds_up() {
        let check = |text: &str, (output, estimated, done)| {
            for size in 1..=text.len() {
                let mut events = Events::new(Dialect::Anthropic, false);
                for piece in text.as_bytes().chunks(size) {
                    events.push(&Bytes::copy_from_slice(piece));
                }
                let used = events.usage().expect("it is stated");
                assert_eq!((used.input, used.cached_input), (17, 5), "{text}");
                assert_eq!(used.cache_write_input, Some(2), "{text}");
                assert_eq!((used.output, used.estimated), (output, estimated), "{text}");
                assert_eq!(events.done(), done, "{text}");
            }
        };
        check(
            &[START, DELTA, DELTA, LAST, STOP].concat(),
            (7, false, true),
        );
        check(&[START, DELTA, DELTA, LAST].concat(), (7, false, false));
        // Cut off before the end: what was stated stays, and what was not is counted.
        check(&[START, DELTA, DELTA, DELTA].concat(), (3, true, false));
        check(START, (1, true, false));
    }

    #[test]
    fn an_error_is_the_first_word_when_only_the_frame_came_before() {
        let begins = |text: &str| begins_with_error(Dialect::Anthropic, text.as_bytes());
        assert!(begins(ERROR));
        assert!(begins(&["event: ping\ndata: {}\n\n", ERROR].concat()));
        assert!(begins(&[START, ERROR].concat()));
        assert!(!begins(&[START, DELTA, ERROR].concat()));
        assert!(!begins(START));
    }

    #[test]
    fn what_events_are_is_seen_by_how_their_data_begins() {
        let check = |text: &str, expected: (u64, bool, bool)| {
            let mut events = Events::new(Dialect::OpenAi, false);
            assert_eq!(events.push(&Bytes::copy_from_slice(text.as_bytes())), text);
            let seen = (events.count(), events.done(), events.error());
            assert_eq!(seen, expected, "{text}");
            assert_eq!(
                begins_with_error(Dialect::OpenAi, text.as_bytes()),
                expected.2,
                "{text}"
            );
        };
        check(CHUNK, (1, false, false));
        check(": keep alive\n\n: again\n\n", (0, false, false));
        check(
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            (0, false, false),
        );
        check("data: [DONE]\n\n", (0, true, false));
        check("data:[DONE]\r\n\r\n", (0, true, false));
        check("data: {\"text\":\"[DONE]\"}\n\n", (1, false, false));
        check(
            "data: {\"error\":{\"message\":\"x\"}}\n\n",
            (0, false, true),
        );
        check(
            "event: error\ndata: { \"error\" : {}}\n\n",
            (0, false, true),
        );
        check(
            "data: {\"error\":null,\"choices\":[]}\n\n",
            (1, false, false),
        );
    }
}

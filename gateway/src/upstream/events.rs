//! Server-sent events on their way through: cut at their borders, never inside, so that an error can follow at any time.
//!
//! Pieces that end with an event pass as they are, without a copy. Where the caller did not ask for usage, the event that
//! only brings usage is taken out.

use bytes::{Bytes, BytesMut};
use events_schema::usage::Tokens;
use memchr::{memchr, memchr_iter, memmem, memrchr_iter};

use super::usage::usage_in;

/// An unfinished event may have this many bytes; a longer one passes in parts.
const MAX_HELD_BYTES: usize = 1024 * 1024;

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    /// Whether the event that only brings usage is taken out.
    strip_usage: bool,
    held: BytesMut,
    usage: Option<Tokens>,
    count: u64,
    done: bool,
    error: bool,
}

impl Events {
    /// At the beginning.
    #[must_use]
    pub fn new(strip_usage: bool) -> Self {
        Self {
            strip_usage,
            held: BytesMut::new(),
            usage: None,
            count: 0,
            done: false,
            error: false,
        }
    }

    /// The usage that an event has brought.
    #[must_use]
    pub const fn usage(&self) -> Option<Tokens> {
        self.usage
    }

    /// How many events with data there were: about one for each token.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether `[DONE]` was seen.
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
            self.note(event);
            if may_hold_usage && self.take_usage(event) {
                kept.get_or_insert_with(|| BytesMut::from(&events[..start]));
            } else if let Some(kept) = &mut kept {
                kept.extend_from_slice(event);
            }
            start = end;
        }
        kept.map_or(events, BytesMut::freeze)
    }

    /// Notes what an event is, by how its data begins.
    fn note(&mut self, event: &[u8]) {
        let Some(data) = data_of(event) else { return };
        if data.starts_with(b"[DONE]") {
            self.done = true;
        } else if is_error(data) {
            self.error = true;
        } else {
            self.count += 1;
        }
    }

    /// Notes the usage of an event; whether the event is to be taken out.
    fn take_usage(&mut self, event: &[u8]) -> bool {
        let Some(tokens) = usage_in(event) else {
            return false;
        };
        self.usage = Some(tokens);
        self.strip_usage && has_no_choices(event)
    }
}

/// Whether the first that a stream says is an error: then another target can still be tried.
#[must_use]
pub fn begins_with_error(piece: &[u8]) -> bool {
    data_of(piece).is_some_and(is_error)
}

/// The data of an event, from its first `data` field on; `None`: it has none, as comments that keep a stream alive.
fn data_of(event: &[u8]) -> Option<&[u8]> {
    let mut rest = event;
    loop {
        if let Some(data) = rest.strip_prefix(b"data:") {
            return Some(data.trim_ascii_start());
        }
        let line_feed = memchr(b'\n', rest)?;
        rest = &rest[line_feed + 1..];
    }
}

/// Whether data begins as an error in OpenAI's shape does: `{"error":`, and no `null` after it.
fn is_error(data: &[u8]) -> bool {
    let mut rest = data;
    for what in [&b"{"[..], br#""error""#, b":"] {
        let Some(left) = rest.strip_prefix(what) else {
            return false;
        };
        rest = left.trim_ascii_start();
    }
    !rest.starts_with(b"null")
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

/// Where an event ends, after a line that is empty: LF LF or LF CR LF.
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
    before.ends_with(b"\n") || before.ends_with(b"\n\r")
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
            let mut events = Events::new(strip);
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
        let mut events = Events::new(true);
        let passed = events.push(&Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(passed, CHUNK);
        assert_eq!(events.finish(), "data: {\"half");
    }

    #[test]
    fn a_piece_that_ends_with_an_event_is_not_copied() {
        let piece = Bytes::from_static(b"data: {}\n\n");
        let passed = Events::new(true).push(&piece);
        assert_eq!(passed.as_ptr(), piece.as_ptr());
    }

    #[test]
    fn what_events_are_is_seen_by_how_their_data_begins() {
        let check = |text: &str, expected: (u64, bool, bool)| {
            let mut events = Events::new(false);
            assert_eq!(events.push(&Bytes::copy_from_slice(text.as_bytes())), text);
            let seen = (events.count(), events.done(), events.error());
            assert_eq!(seen, expected, "{text}");
            assert_eq!(begins_with_error(text.as_bytes()), expected.2, "{text}");
        };
        check(CHUNK, (1, false, false));
        check(": keep alive\n\n: again\n\n", (0, false, false));
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

//! Finds the usage that a provider states in its answer, without parsing the answer.
//!
//! The bytes `"usage"` followed by a colon can only be a key of an object: inside a string the quotes would be escaped.
//! The last such object that holds numbers of tokens counts. What Anthropic's models give to tools is no string but an
//! object, so a whole answer of theirs is parsed; only where it is too large to be held is the last such object believed.

use std::sync::LazyLock;

use events_schema::usage::Tokens;
use memchr::memmem::Finder;

use crate::endpoint::{Dialect, anthropic};

/// The key.
const KEY: &[u8] = br#""usage""#;

/// A larger object is no usage: a provider's has about 500 bytes.
const MAX_OBJECT_BYTES: usize = 8 * 1024;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

/// Looks through an answer that comes in pieces.
#[derive(Debug)]
pub struct UsageScan {
    dialect: Dialect,
    state: State,
    /// The last bytes of the pieces so far: the key may begin in them.
    tail: Tail,
    found: Option<Stated>,
}

#[derive(Debug, Default)]
enum State {
    /// Looking for the key.
    #[default]
    Searching,
    /// The key was found: a colon and an object should follow.
    AfterKey,
    /// Within the object.
    Object {
        text: Vec<u8>,
        depth: usize,
        in_string: bool,
        escaped: bool,
    },
}

/// Up to one byte less than the key.
#[derive(Debug, Default)]
struct Tail {
    bytes: [u8; KEY.len() - 1],
    length: usize,
}

impl UsageScan {
    /// At the beginning of an answer in this dialect.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            state: State::default(),
            tail: Tail::default(),
            found: None,
        }
    }

    /// What was found in the pieces so far.
    #[must_use]
    pub fn found(&self) -> Option<Tokens> {
        self.found.map(Stated::tokens)
    }

    /// Looks through the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        if matches!(self.state, State::Searching)
            && let Some(after_key) = self.across_the_border(piece)
        {
            self.key_found();
            rest = after_key;
        }
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Searching => match FINDER.find(rest) {
                    Some(at) => {
                        self.key_found();
                        &rest[at + KEY.len()..]
                    }
                    None => {
                        self.tail.keep(rest);
                        break;
                    }
                },
                State::AfterKey => self.after_key(rest),
                State::Object { .. } => self.object(rest),
            };
        }
    }

    /// What belongs to a key is no beginning of another one.
    fn key_found(&mut self) {
        self.state = State::AfterKey;
        self.tail.length = 0;
    }

    /// What follows the key in `piece` when the key begins in an earlier one.
    fn across_the_border<'p>(&self, piece: &'p [u8]) -> Option<&'p [u8]> {
        let tail = &self.tail.bytes[..self.tail.length];
        let begin = (1..=tail.len()).find(|begin| {
            let (early, late) = KEY.split_at(*begin);
            tail.ends_with(early) && piece.starts_with(late)
        })?;
        Some(&piece[KEY.len() - begin..])
    }

    fn after_key<'p>(&mut self, rest: &'p [u8]) -> &'p [u8] {
        match rest[0] {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => &rest[1..],
            b'{' => {
                self.state = State::Object {
                    text: Vec::new(),
                    depth: 0,
                    in_string: false,
                    escaped: false,
                };
                rest
            }
            _ => {
                self.state = State::Searching;
                rest
            }
        }
    }

    fn object<'p>(&mut self, rest: &'p [u8]) -> &'p [u8] {
        let State::Object {
            text,
            depth,
            in_string,
            escaped,
        } = &mut self.state
        else {
            return rest;
        };
        // However it comes in pieces, an object that is too large is left at the same place.
        let room = MAX_OBJECT_BYTES - text.len();
        let within = &rest[..rest.len().min(room)];
        let mut at = 0;
        while at < within.len() {
            if std::mem::take(escaped) {
                at += 1;
                continue;
            }
            if *in_string {
                let Some(next) = memchr::memchr2(b'"', b'\\', &within[at..]) else {
                    break;
                };
                at += next + 1;
                (*in_string, *escaped) = match within[at - 1] {
                    b'"' => (false, false),
                    _ => (true, true),
                };
                continue;
            }
            match within[at] {
                b'"' => *in_string = true,
                b'{' => *depth += 1,
                b'}' => *depth -= 1,
                _ => {}
            }
            at += 1;
            if *depth == 0 {
                let end = &within[..at];
                let stated = if text.is_empty() {
                    self.dialect.usage(end)
                } else {
                    text.extend_from_slice(end);
                    self.dialect.usage(text)
                };
                self.found = stated.or(self.found);
                self.state = State::Searching;
                return &rest[at..];
            }
        }
        if rest.len() >= room {
            self.state = State::Searching;
            return &rest[room..];
        }
        text.extend_from_slice(rest);
        &[]
    }
}

impl Tail {
    fn keep(&mut self, piece: &[u8]) {
        let most = self.bytes.len();
        if piece.len() >= most {
            self.bytes.copy_from_slice(&piece[piece.len() - most..]);
            self.length = most;
            return;
        }
        let kept = self.length.min(most - piece.len());
        self.bytes.copy_within(self.length - kept..self.length, 0);
        self.bytes[kept..kept + piece.len()].copy_from_slice(piece);
        self.length = kept + piece.len();
    }
}

/// What a provider has stated of the tokens that a request used, as far as it has. A stream states it in several events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stated {
    /// Input tokens.
    pub input: Option<u64>,
    /// Read from the provider's cache.
    pub cached_input: Option<u64>,
    /// Written to the provider's cache.
    pub cache_write_input: Option<u64>,
    /// Whether `input` leaves those two out.
    pub cache_is_apart: bool,
    /// Of the input, audio.
    pub audio_input: Option<u64>,
    /// Output tokens.
    pub output: Option<u64>,
    /// Of the output, spent on reasoning.
    pub reasoning: Option<u64>,
    /// Of the output, audio.
    pub audio_output: Option<u64>,
}

impl Stated {
    /// With what was stated before, where this says nothing.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Self {
        let Some(before) = before else {
            return self;
        };
        Self {
            input: self.input.or(before.input),
            cached_input: self.cached_input.or(before.cached_input),
            cache_write_input: self.cache_write_input.or(before.cache_write_input),
            cache_is_apart: self.cache_is_apart || before.cache_is_apart,
            audio_input: self.audio_input.or(before.audio_input),
            output: self.output.or(before.output),
            reasoning: self.reasoning.or(before.reasoning),
            audio_output: self.audio_output.or(before.audio_output),
        }
    }

    /// As records have it; what was not stated is nothing.
    #[must_use]
    pub fn tokens(self) -> Tokens {
        let cached = self.cached_input.unwrap_or(0);
        let apart = if self.cache_is_apart {
            cached.saturating_add(self.cache_write_input.unwrap_or(0))
        } else {
            0
        };
        Tokens {
            input: self.input.unwrap_or(0).saturating_add(apart),
            cached_input: cached,
            output: self.output.unwrap_or(0),
            reasoning: self.reasoning.unwrap_or(0),
            estimated: false,
            cache_write_input: self.cache_write_input,
            audio_input: self.audio_input,
            audio_output: self.audio_output,
        }
    }
}

/// The usage in an event that is whole; `None`: it states none.
#[must_use]
pub fn usage_in(dialect: Dialect, event: &[u8]) -> Option<Stated> {
    let mut scan = UsageScan::of(dialect);
    scan.feed(event);
    scan.found
}

/// The usage in a whole answer; `None`: it states none.
#[must_use]
pub fn usage_of(dialect: Dialect, answer: &[u8]) -> Option<Tokens> {
    let stated = match dialect {
        // All text in it is escaped: the key can only be its own.
        Dialect::OpenAi => usage_in(dialect, answer),
        Dialect::Anthropic => anthropic::usage_of_message(answer),
    };
    stated.map(Stated::tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole, byte by byte, and cut in two at every place: always the same.
    fn check(answer: &str, expected: Option<(u64, u64)>) {
        let expected = expected.map(|(input, output)| Tokens {
            input,
            output,
            ..Tokens::default()
        });
        assert_eq!(
            usage_of(Dialect::OpenAi, answer.as_bytes()),
            expected,
            "{answer}"
        );
        let mut by_byte = UsageScan::of(Dialect::OpenAi);
        answer
            .as_bytes()
            .iter()
            .for_each(|byte| by_byte.feed(&[*byte]));
        assert_eq!(by_byte.found(), expected, "{answer} byte by byte");
        for cut in 0..answer.len() {
            let mut in_two = UsageScan::of(Dialect::OpenAi);
            in_two.feed(&answer.as_bytes()[..cut]);
            in_two.feed(&answer.as_bytes()[cut..]);
            assert_eq!(in_two.found(), expected, "{answer} cut at {cut}");
        }
    }

    #[test]
    fn usage_is_found_wherever_the_pieces_end() {
        check(
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"x":{"y":"}"}},"z":1}"#,
            Some((7, 9)),
        );
        check(
            r#"{"usage" : {"prompt_tokens":7,"total_tokens":7}}"#,
            Some((7, 0)),
        );
        check(r#"{"usage":null}"#, None);
        check(r#"{"usage":{"calls":1}}"#, None);
        check(r#"{"usage":{"prompt_tokens":-1}}"#, None);
    }

    #[test]
    fn text_that_talks_about_usage_is_not_usage() {
        check(
            r#"{"content":"{\"usage\":{\"prompt_tokens\":1}}","usage":{"prompt_tokens":2}}"#,
            Some((2, 0)),
        );
        check(r#"{"a":"usage","b":{"prompt_tokens":1}}"#, None);
        check(r#"""usage"#, None);
    }

    #[test]
    fn the_last_usage_counts() {
        let chunks = r#"{"usage":{"prompt_tokens":1,"completion_tokens":1}} {"usage":null} {"usage":{"prompt_tokens":1,"completion_tokens":5}}"#;
        check(chunks, Some((1, 5)));
    }

    #[test]
    fn cached_reasoning_and_audio_tokens_are_told_apart() {
        let answer = br#"{"usage":{"prompt_tokens":10,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":6,"audio_tokens":2}}}"#;
        let expected = Tokens {
            input: 10,
            cached_input: 4,
            output: 20,
            reasoning: 6,
            estimated: false,
            cache_write_input: None,
            audio_input: Some(3),
            audio_output: Some(2),
        };
        assert_eq!(usage_of(Dialect::OpenAi, answer), Some(expected));
    }

    #[test]
    fn anthropics_input_is_the_sum_of_what_it_tells_apart() {
        let answer = br#"{"type":"message","content":[{"type":"tool_use","input":{"usage":{"input_tokens":1,"output_tokens":1}}}],"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":200,"output_tokens":20,"output_tokens_details":{"thinking_tokens":6},"cache_creation":{"ephemeral_5m_input_tokens":30}}}"#;
        let expected = Tokens {
            input: 240,
            cached_input: 200,
            output: 20,
            reasoning: 6,
            estimated: false,
            cache_write_input: Some(30),
            audio_input: None,
            audio_output: None,
        };
        assert_eq!(usage_of(Dialect::Anthropic, answer), Some(expected));
        let mut large = UsageScan::of(Dialect::Anthropic);
        large.feed(answer);
        assert_eq!(large.found(), Some(expected));
    }

    #[test]
    fn a_tool_cannot_speak_for_the_provider() {
        let answer = br#"{"usage":{"input_tokens":10,"output_tokens":20},"content":[{"input":{"usage":{"input_tokens":0,"output_tokens":0}}}]}"#;
        let tokens = usage_of(Dialect::Anthropic, answer).expect("it is stated");
        assert_eq!((tokens.input, tokens.output), (10, 20));
        assert_eq!(usage_of(Dialect::Anthropic, br#"{"input_tokens":7}"#), None);
    }
}

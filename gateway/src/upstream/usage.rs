//! Finds the usage that a provider states in its answer, without parsing the answer.
//!
//! The bytes `"usage"` followed by a colon can only be a key of an object: inside a string the quotes would be escaped.
//! The last such object that holds numbers of tokens counts.

use std::sync::LazyLock;

use events_schema::usage::Tokens;
use memchr::memmem::Finder;
use serde::Deserialize;

/// The key.
const KEY: &[u8] = br#""usage""#;

/// A larger object is no usage: a provider's has about 500 bytes.
const MAX_OBJECT_BYTES: usize = 8 * 1024;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

/// Looks through an answer that comes in pieces.
#[derive(Debug, Default)]
pub struct UsageScan {
    state: State,
    /// The last bytes of the pieces so far: the key may begin in them.
    tail: Tail,
    found: Option<Tokens>,
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
    /// What was found in the pieces so far.
    #[must_use]
    pub const fn found(&self) -> Option<Tokens> {
        self.found
    }

    /// Looks through the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        if matches!(self.state, State::Searching) {
            rest = match self.across_the_border(piece) {
                Some(after_key) => {
                    self.state = State::AfterKey;
                    after_key
                }
                None => piece,
            };
        }
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Searching => match FINDER.find(rest) {
                    Some(at) => {
                        self.state = State::AfterKey;
                        &rest[at + KEY.len()..]
                    }
                    None => break,
                },
                State::AfterKey => self.after_key(rest),
                State::Object { .. } => self.object(rest),
            };
        }
        self.tail.keep(piece);
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
                    text: Vec::with_capacity(256),
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
        for (at, byte) in rest.iter().enumerate() {
            match (*in_string, *byte) {
                (true, _) if *escaped => *escaped = false,
                (true, b'\\') => *escaped = true,
                (_, b'"') => *in_string = !*in_string,
                (false, b'{') => *depth += 1,
                (false, b'}') => *depth -= 1,
                _ => {}
            }
            if *depth == 0 {
                text.extend_from_slice(&rest[..=at]);
                self.found = tokens(text).or(self.found);
                self.state = State::Searching;
                return &rest[at + 1..];
            }
        }
        text.extend_from_slice(rest);
        if text.len() > MAX_OBJECT_BYTES {
            self.state = State::Searching;
        }
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

/// The usage in a piece that is whole; `None`: it states none.
#[must_use]
pub fn usage_in(text: &[u8]) -> Option<Tokens> {
    let mut scan = UsageScan::default();
    scan.feed(text);
    scan.found()
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

fn tokens(object: &[u8]) -> Option<Tokens> {
    let usage: Usage = serde_json::from_slice(object).ok()?;
    if usage.prompt_tokens.is_none() && usage.completion_tokens.is_none() {
        return None;
    }
    Some(Tokens {
        input: usage.prompt_tokens.unwrap_or(0),
        cached_input: usage
            .prompt_tokens_details
            .and_then(|it| it.cached_tokens)
            .unwrap_or(0),
        output: usage.completion_tokens.unwrap_or(0),
        reasoning: usage
            .completion_tokens_details
            .and_then(|it| it.reasoning_tokens)
            .unwrap_or(0),
        estimated: false,
    })
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
        assert_eq!(usage_in(answer.as_bytes()), expected, "{answer}");
        let mut by_byte = UsageScan::default();
        answer
            .as_bytes()
            .iter()
            .for_each(|byte| by_byte.feed(&[*byte]));
        assert_eq!(by_byte.found(), expected, "{answer} byte by byte");
        for cut in 0..answer.len() {
            let mut in_two = UsageScan::default();
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
    fn cached_and_reasoning_tokens_are_told_apart() {
        let answer = br#"{"usage":{"prompt_tokens":10,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":6}}}"#;
        let expected = Tokens {
            input: 10,
            cached_input: 4,
            output: 20,
            reasoning: 6,
            estimated: false,
        };
        assert_eq!(usage_in(answer), Some(expected));
    }
}

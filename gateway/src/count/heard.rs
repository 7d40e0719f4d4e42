//! An answer's text, picked out of a stream's events while they pass: it is counted only if the provider does not say, to the
//! end, what it used.
//!
//! Events are not parsed for that. In the events of one stream the text begins nearly always at the same place, so it is
//! looked for there first; what is found is copied as it stands in the JSON, and its escapes are undone when it is counted.

use std::sync::LazyLock;

use memchr::{memchr2, memmem::Finder};

use super::{kept::Kept, vocabulary::Vocabulary};

/// How much of one stream's text is kept: some 60,000 tokens. Beyond it, an event counts for a token.
const MOST_BYTES: usize = 256 * 1024;
/// After so many events in a row in which no text was found, it is not looked for any more, and they and those that follow
/// count for a token each: looking everywhere costs more than passing an event on.
const MOST_MISSES: u8 = 64;
/// The first room for a text.
const FIRST_BYTES: usize = 1024;

/// The members of events that hold what the model says, up to the text: of OpenAI's, of Anthropic's, and of those who speak
/// like them.
const KEYS: [&[u8]; 8] = [
    br#""content":"#,
    br#""text":"#,
    br#""partial_json":"#,
    br#""arguments":"#,
    br#""thinking":"#,
    br#""reasoning_content":"#,
    br#""reasoning":"#,
    br#""refusal":"#,
];

static FINDERS: LazyLock<[Finder<'static>; KEYS.len()]> = LazyLock::new(|| KEYS.map(Finder::new));

/// What was heard of an answer.
#[derive(Debug, Default)]
pub struct Heard {
    /// As it stands in the JSON, with escapes.
    text: Vec<u8>,
    kept: Kept,
    /// Where the last text stood.
    last: Option<Place>,
    /// How many events in a row had none.
    misses: u8,
    /// Events whose text had no room, or was not looked for.
    beyond: u64,
}

/// Where a text stands in its event.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The number of its key.
    key: usize,
    /// Where the key ends.
    key_ends: usize,
    /// Where the text's quote is, after blanks.
    at: usize,
}

impl Heard {
    /// Nothing yet; what is heard is a part of `kept`.
    #[must_use]
    pub fn nothing(kept: Kept) -> Self {
        Self {
            kept,
            ..Self::default()
        }
    }

    /// An event that carries some of the answer.
    pub fn hear(&mut self, event: &[u8]) {
        let known = self.last.and_then(|place| place.text(event));
        if known.is_none() && self.misses == MOST_MISSES {
            self.beyond += 1;
            return;
        }
        let Some(text) = known.or_else(|| self.search(event)) else {
            self.misses += 1;
            if self.misses == MOST_MISSES {
                self.beyond += u64::from(MOST_MISSES);
            }
            return;
        };
        self.misses = 0;
        if self.has_room(text.len()) {
            self.text.extend_from_slice(text);
        } else {
            self.beyond += 1;
        }
    }

    /// Looks for a text everywhere. One that is empty, or `null`, says nothing of where others will stand.
    fn search<'e>(&mut self, event: &'e [u8]) -> Option<&'e [u8]> {
        FINDERS.iter().enumerate().find_map(|(key, finder)| {
            let key_ends = finder.find(event)? + KEYS[key].len();
            let place = Place {
                key,
                key_ends,
                at: event.len() - event[key_ends..].trim_ascii_start().len(),
            };
            let text = place.text(event)?;
            self.last = Some(place);
            Some(text)
        })
    }

    fn has_room(&mut self, more: usize) -> bool {
        let wanted = self.text.len() + more;
        if wanted <= self.text.capacity() {
            return true;
        }
        let room = wanted.next_power_of_two().max(FIRST_BYTES);
        if room > MOST_BYTES || !self.kept.grow(room - self.text.capacity()) {
            return false;
        }
        self.text.reserve_exact(room - self.text.len());
        true
    }

    /// How many tokens it has; `None`: no text was found, or none could be kept.
    #[must_use]
    pub fn tokens(&self, vocabulary: Vocabulary) -> Option<u64> {
        if self.text.is_empty() {
            return None;
        }
        let json = [b"\"", &self.text[..], b"\""].concat();
        let text = match serde_json::from_slice::<String>(&json) {
            Ok(text) => text,
            // A character that was cut in two by whoever cut the text into events.
            Err(_) => String::from_utf8_lossy(&self.text).into_owned(),
        };
        Some(vocabulary.count(&text).saturating_add(self.beyond))
    }
}

impl Place {
    /// The text that stands there in another event; `None`: there is none, or it is empty.
    fn text(self, event: &[u8]) -> Option<&[u8]> {
        let Self { key, key_ends, at } = self;
        let is_there = event.get(..key_ends)?.ends_with(KEYS[key]);
        let text = event.get(at..)?.strip_prefix(b"\"")?;
        if !is_there || !event[key_ends..at].trim_ascii().is_empty() {
            return None;
        }
        let mut end = 0;
        loop {
            let stop = memchr2(b'"', b'\\', text.get(end..)?)? + end;
            if text[stop] == b'"' {
                return Some(&text[..stop]).filter(|text| !text.is_empty());
            }
            end = stop + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kept::Allowance, *};

    fn heard(events: &[&str]) -> Heard {
        let mut heard = Heard::nothing(Allowance::default().open());
        for event in events {
            heard.hear(event.as_bytes());
        }
        heard
    }

    fn chunk(delta: &str) -> String {
        format!(
            "data: {{\"id\":\"x\",\"choices\":[{{\"delta\":{delta},\"finish_reason\":null}}],\"usage\":null}}\n\n"
        )
    }

    #[test]
    fn the_text_is_found_wherever_it_stands() {
        let check = |deltas: &[&str], expected: &str| {
            let events: Vec<_> = deltas.iter().map(|delta| chunk(delta)).collect();
            let events: Vec<_> = events.iter().map(String::as_str).collect();
            let heard = heard(&events);
            assert_eq!(String::from_utf8_lossy(&heard.text), expected);
        };
        check(
            &[
                r#"{"content":"Hello"}"#,
                r#"{"content":", "}"#,
                r#"{"content":"world"}"#,
            ],
            "Hello, world",
        );
        check(
            &[
                r#"{"role":"assistant","content":""}"#,
                r#"{"content":"a \"quoted\" \\"}"#,
                r#"{"content": "b"}"#,
                r#"{"content":null,"reasoning_content":"c"}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"d\""}}]}"#,
                "{}",
                r#"{"content":"e"}"#,
            ],
            r#"a \"quoted\" \\bc{\"d\"e"#,
        );
        let anthropics = [
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" world\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"AAAA\"}}\n\n",
        ];
        assert_eq!(heard(&anthropics).text, b"Hello world{}");
    }

    #[test]
    fn the_tokens_are_those_of_the_text_and_not_of_its_events() {
        let events: Vec<_> = "Hello, world!"
            .chars()
            .map(|letter| chunk(&format!(r#"{{"content":"{letter}"}}"#)))
            .collect();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        assert_eq!(heard(&events).tokens(Vocabulary::O200k), Some(4));
        let escaped = chunk(r#"{"content":"Hello\u002c world!"}"#);
        assert_eq!(heard(&[&escaped]).tokens(Vocabulary::O200k), Some(4));
        assert_eq!(heard(&[]).tokens(Vocabulary::O200k), None);
        assert_eq!(heard(&[&chunk("{}")]).tokens(Vocabulary::O200k), None);
        let half = chunk(r#"{"content":"\ud83d"}"#);
        assert!(heard(&[&half]).tokens(Vocabulary::O200k).is_some());
    }

    #[test]
    fn blanks_after_a_key_are_expected_where_they_were() {
        let spaced = [r#"{"content": "Hello"}"#, r#"{"content": ", world!"}"#].map(chunk);
        let heard = heard(&spaced.each_ref().map(String::as_str));
        assert_eq!(heard.text, b"Hello, world!");
        let place = heard.last.expect("it was found");
        assert_eq!(place.at, place.key_ends + 1);
    }

    #[test]
    fn where_no_text_is_found_it_is_not_looked_for_for_ever() {
        let (nothing, text) = (
            chunk(r#"{"audio":"AAAA"}"#),
            chunk(r#"{"content":"Hello"}"#),
        );
        let misses = usize::from(MOST_MISSES);
        let after = |misses: usize| {
            let mut events = vec![text.as_str()];
            events.extend(vec![nothing.as_str(); misses]);
            events.extend([text.as_str(), nothing.as_str(), text.as_str()]);
            heard(&events)
        };
        let still = after(misses - 1);
        assert_eq!(
            (&still.text[..], still.beyond),
            (&b"HelloHelloHello"[..], 0)
        );
        for more in [0, 10] {
            // Where it was before, it is found all the same.
            let gone = after(misses + more);
            assert_eq!(gone.text, b"HelloHelloHello");
            assert_eq!(gone.beyond, (misses + more) as u64);
        }
    }

    #[test]
    fn beyond_the_bound_an_event_counts_for_a_token() {
        let word = chunk(&format!(r#"{{"content":"{}"}}"#, "x".repeat(1_000)));
        let events = vec![word.as_str(); 300];
        let full = heard(&events);
        assert!(
            full.text.capacity() <= MOST_BYTES,
            "{}",
            full.text.capacity()
        );
        assert_eq!(
            full.text.len() / 1_000 + usize::try_from(full.beyond).expect("few"),
            300
        );
        assert!(full.beyond > 0);
        let mut nothing = Heard::default();
        nothing.hear(word.as_bytes());
        assert_eq!(
            nothing.tokens(Vocabulary::O200k),
            None,
            "nothing may be kept"
        );
    }
}

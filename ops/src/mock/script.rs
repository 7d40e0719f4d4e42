//! The script of one answer: how late, how long, how fast, and what goes wrong.
//!
//! It comes from the model's name and from the header `x-mock-script`; the README beside this file
//! has the grammar.

use std::time::Duration;

/// Tokens of an answer whose script names no length.
const DEFAULT_LENGTH: u64 = 32;

/// The longest answer, in tokens: a typing error must not fill the memory.
const MAX_LENGTH: u64 = 100_000;

/// What to do with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Time before the answer's first byte.
    pub(super) latency: Duration,
    /// Tokens a second after that; `None` sends everything at once.
    pub(super) tps: Option<u64>,
    /// The answer's length in tokens.
    pub(super) length: u64,
    /// Answer with this status and OpenAI's error body.
    pub(super) error: Option<u16>,
    /// Seconds for the header `retry-after` of an error.
    pub(super) retry_after: Option<u64>,
    /// What breaks on the way.
    pub(super) fault: Option<Fault>,
    /// Another seed gives another answer.
    pub(super) seed: Option<u64>,
    /// Input tokens that count as read from a cache.
    pub(super) cached: u64,
    /// Input tokens that count as written to a cache; only Anthropic tells them.
    pub(super) cache_write: u64,
}

/// Something that breaks an answer. Chunks count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection closes after so many chunks; after none, before the first byte.
    CutAfter(usize),
    /// This chunk is broken JSON.
    Malformed(usize),
    /// After so many chunks comes an error event, and the end.
    FailAfter(usize),
    /// After so many chunks nothing more comes.
    StallAfter(usize),
}

/// A script that could not be read; the text says which part.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BadScript {
    /// The key is none of the grammar's.
    #[error("the mock's script has no key {0:?}")]
    UnknownKey(String),
    /// The value is not a number that the key can have.
    #[error(
        "the mock's script has the value {value:?} for {key}, which is not a number in its range"
    )]
    BadValue {
        /// The key.
        key: String,
        /// What stood behind it.
        value: String,
    },
}

/// The keys as they stand in a model's name. A key is never another's beginning followed by `-`.
const KEYS_IN_NAMES: [&str; 13] = [
    "latency",
    "tps",
    "tokens",
    "length",
    "error",
    "retry-after",
    "cut-after",
    "malformed",
    "fail-after",
    "stall-after",
    "seed",
    "cached",
    "cache-write",
];

// === impl Script ===

impl Default for Script {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            tps: None,
            length: DEFAULT_LENGTH,
            error: None,
            retry_after: None,
            fault: None,
            seed: None,
            cached: 0,
            cache_write: 0,
        }
    }
}

impl Script {
    /// The script that the model's name and the header (which wins) ask for.
    pub(super) fn read(model: &str, header: Option<&str>) -> Result<Self, BadScript> {
        let mut script = Self::default();
        script.read_name(model)?;
        if let Some(header) = header {
            script.read_header(header)?;
        }
        Ok(script)
    }

    fn read_name(&mut self, model: &str) -> Result<(), BadScript> {
        if model == "slow" {
            self.set("latency", "400")?;
            return self.set("tps", "40");
        }
        let Some(mut rest) = model.strip_prefix("mock-") else {
            return Ok(());
        };
        while !rest.is_empty() {
            let (key, behind) = KEYS_IN_NAMES
                .iter()
                .find_map(|key| Some((*key, rest.strip_prefix(key)?.strip_prefix('-')?)))
                .ok_or_else(|| BadScript::UnknownKey(rest.to_owned()))?;
            let (value, next) = behind.split_once('-').unwrap_or((behind, ""));
            self.set(key, value)?;
            rest = next;
        }
        Ok(())
    }

    fn read_header(&mut self, header: &str) -> Result<(), BadScript> {
        for part in header
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            self.set(&key.trim().replace('_', "-"), value.trim())?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadScript> {
        let bad = || BadScript::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let number = || value.parse::<u64>().map_err(|_| bad());
        let index = || value.parse::<usize>().map_err(|_| bad());
        match key {
            "latency" => self.latency = duration(value).ok_or_else(bad)?,
            "tps" => self.tps = Some(number()?).filter(|tps| *tps > 0),
            "length" | "tokens" => {
                self.length = Some(number()?)
                    .filter(|n| *n <= MAX_LENGTH)
                    .ok_or_else(bad)?;
            }
            "error" => {
                let status = value
                    .parse()
                    .ok()
                    .filter(|status| (400..600).contains(status));
                self.error = Some(status.ok_or_else(bad)?);
            }
            "retry-after" => self.retry_after = Some(number()?),
            "cut-after" => self.fault = Some(Fault::CutAfter(index()?)),
            "malformed" => self.fault = Some(Fault::Malformed(index()?)),
            "fail-after" => self.fault = Some(Fault::FailAfter(index()?)),
            "stall-after" => self.fault = Some(Fault::StallAfter(index()?)),
            "seed" => self.seed = Some(number()?),
            "cached" => self.cached = number()?,
            "cache-write" => self.cache_write = number()?,
            _ => return Err(BadScript::UnknownKey(key.to_owned())),
        }
        Ok(())
    }
}

/// Reads `200ms`, `2s` or a bare number of milliseconds.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis),
        None => match text.strip_suffix('s') {
            Some(number) => (number, Duration::from_secs),
            None => (text, Duration::from_millis),
        },
    };
    number.parse().ok().map(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_answer_at_once() {
        for model in ["fast", "gpt-4o", "", "embed", "mocking"] {
            assert_eq!(Script::read(model, None), Ok(Script::default()), "{model}");
        }
    }

    #[test]
    fn names_and_headers_say_the_same() {
        let cases = [
            ("mock-latency-200", "latency=200ms"),
            ("mock-latency-2000", "latency=2s"),
            ("mock-error-503", "error=503"),
            ("mock-error-429-retry-after-2", "error=429, retry_after=2"),
            ("mock-cut-after-3", "cut_after=3"),
            ("mock-malformed-2", "malformed=2"),
            ("mock-fail-after-2", "fail_after=2"),
            ("mock-stall-after-0", "stall_after=0"),
            ("mock-cached-9-cache-write-4", "cached=9,cache_write=4"),
            ("mock-tokens-100-tps-50-seed-7", "length=100,tps=50,seed=7"),
        ];
        for (name, header) in cases {
            let by_name = Script::read(name, None);
            assert_eq!(by_name, Script::read("fast", Some(header)), "{name}");
            assert_ne!(by_name, Ok(Script::default()), "{name}");
        }
    }

    #[test]
    fn the_header_wins_key_by_key() {
        let script = Script::read("mock-latency-200-tokens-5", Some("length=9")).expect("reads");
        assert_eq!(
            (script.length, script.latency),
            (9, Duration::from_millis(200))
        );
    }

    #[test]
    fn a_script_that_cannot_be_read_is_refused_by_name() {
        let refused = |model: &str, header: Option<&str>| {
            Script::read(model, header)
                .expect_err("is refused")
                .to_string()
        };
        assert_eq!(
            refused("mock-latncy-3", None),
            r#"the mock's script has no key "latncy-3""#
        );
        assert!(refused("mock-error-200", None).contains(r#"value "200" for error"#));
        assert!(refused("fast", Some("tps=many")).contains(r#"value "many" for tps"#));
        assert!(refused("fast", Some("speed=1")).contains(r#"no key "speed""#));
        assert!(refused("mock-tokens-99999999", None).contains("for tokens"));
    }
}

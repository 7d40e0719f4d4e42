//! How a caller wants its request to be tried: `x-sluice-retry-config` and `x-sluice-request-timeout`, or the same names
//! that begin with `x-tfy-`.

use std::time::Duration;

use events_schema::{events::MOST_RETRIES, usage::RetryWish};
use http::HeaderMap;
use serde::{Deserialize, Deserializer, de};

use super::are_for_the_gateway;

const RETRY: [&str; 2] = ["x-sluice-retry-config", "x-tfy-retry-config"];
const TIMEOUT: [&str; 2] = ["x-sluice-request-timeout", "x-tfy-request-timeout"];

/// More statuses than anybody tells apart: they are stored with every record.
const MOST_CODES: usize = 32;
/// As long as the gateway waits for an answer at most, in milliseconds: an hour.
const LONGEST_MS: u64 = 3_600_000;

/// What a caller wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Of retries; `None`: as the routing has it.
    pub retry: Option<RetryWish>,
    /// How long one attempt may take until an answer begins; `None`: as long as the gateway waits.
    pub timeout: Option<Duration>,
}

/// A header that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWish {
    /// Of retries.
    #[error(
        "the header {0} must be a JSON object such as {{\"attempts\":2,\"onStatusCodes\":[429,503]}}, with at most {MOST_RETRIES} attempts and {MOST_CODES} statuses of 400 to 599"
    )]
    Retry(&'static str),
    /// Of the timeout.
    #[error("the header {0} must be a number of milliseconds, 1 to {LONGEST_MS}")]
    Timeout(&'static str),
}

/// What the request's headers say. Sluice's own names win.
///
/// # Errors
/// See [`InvalidWish`].
pub fn read(headers: &HeaderMap) -> Result<Wish, InvalidWish> {
    if !are_for_the_gateway(headers) {
        return Ok(Wish::default());
    }
    let retry = match find(headers, RETRY) {
        Some((name, value)) => Some(retry(value).ok_or(InvalidWish::Retry(name))?),
        None => None,
    };
    let timeout = match find(headers, TIMEOUT) {
        Some((name, value)) => Some(timeout(value).ok_or(InvalidWish::Timeout(name))?),
        None => None,
    };
    Ok(Wish { retry, timeout })
}

fn find<'h>(headers: &'h HeaderMap, names: [&'static str; 2]) -> Option<(&'static str, &'h [u8])> {
    names
        .into_iter()
        .find_map(|name| Some((name, headers.get(name)?.as_bytes())))
}

fn timeout(value: &[u8]) -> Option<Duration> {
    let millis: u64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    (1..=LONGEST_MS)
        .contains(&millis)
        .then(|| Duration::from_millis(millis))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    attempts: u8,
    #[serde(rename = "onStatusCodes", alias = "on_status_codes")]
    on_status_codes: Option<Vec<Code>>,
}

/// A status, as a number or as a string of digits.
struct Code(u16);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<'a> {
            Number(u16),
            Text(&'a str),
        }
        let code = match Written::deserialize(deserializer)? {
            Written::Number(code) => code,
            Written::Text(code) => code.parse().map_err(de::Error::custom)?,
        };
        if (400..=599).contains(&code) {
            Ok(Self(code))
        } else {
            Err(de::Error::custom("no status of an error"))
        }
    }
}

fn retry(value: &[u8]) -> Option<RetryWish> {
    let Config {
        attempts,
        on_status_codes,
    } = serde_json::from_slice(value).ok()?;
    let codes = on_status_codes.map(|codes| codes.into_iter().map(|Code(code)| code).collect());
    let codes: Vec<u16> =
        codes.unwrap_or_else(|| events_schema::events::DEFAULT_RETRY_STATUS_CODES.to_vec());
    (attempts <= MOST_RETRIES && codes.len() <= MOST_CODES).then_some(RetryWish {
        attempts,
        on_status_codes: codes,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wish(name: &'static str, value: &str) -> Result<Wish, InvalidWish> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        read(&headers)
    }

    #[test]
    fn retries_are_read_with_statuses_as_numbers_or_as_text() {
        let check = |value: &str, expected: Option<(u8, &[u16])>| {
            for name in RETRY {
                let expected = expected
                    .map(|(attempts, codes)| Wish {
                        retry: Some(RetryWish {
                            attempts,
                            on_status_codes: codes.to_vec(),
                        }),
                        timeout: None,
                    })
                    .ok_or(InvalidWish::Retry(name));
                assert_eq!(wish(name, value), expected, "{value}");
            }
        };
        check(
            r#"{"attempts":2,"onStatusCodes":[429,"503"]}"#,
            Some((2, &[429, 503])),
        );
        check(r#"{"attempts":0}"#, Some((0, &[429, 500, 502, 503])));
        check(r#"{"attempts":11}"#, None);
        check(r#"{"attempts":1,"onStatusCodes":[200]}"#, None);
        check(r#"{"onStatusCodes":[500]}"#, None);
        check(r#"{"attempts":1,"delay":5}"#, None);
        check("2", None);
        let many = vec!["500"; 33].join(",");
        check(
            &format!(r#"{{"attempts":1,"onStatusCodes":[{many}]}}"#),
            None,
        );
    }

    #[test]
    fn a_timeout_is_a_number_of_milliseconds() {
        let timeout = |value: &str| wish(TIMEOUT[0], value).map(|wish| wish.timeout);
        assert_eq!(timeout("1500"), Ok(Some(Duration::from_millis(1_500))));
        for bad in ["0", "-1", "1.5", "3600001", "x"] {
            assert_eq!(timeout(bad), Err(InvalidWish::Timeout(TIMEOUT[0])), "{bad}");
        }
        assert_eq!(read(&HeaderMap::new()), Ok(Wish::default()));
    }
}

//! What callers say about their requests: `x-sluice-metadata`, or `x-tfy-metadata`, a JSON object of strings.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::are_for_the_gateway;

/// The header, and the name under which another gateway's users know it.
const NAMES: [&str; 2] = ["x-sluice-metadata", "x-tfy-metadata"];

/// How many pairs there may be: they are stored with every record.
const MAX_PAIRS: usize = 16;

/// How many characters a key may have.
const MAX_KEY_CHARS: usize = 64;

/// How many characters a value may have.
const MAX_VALUE_CHARS: usize = 128;

/// Metadata that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the header {header} must be a JSON object of at most {MAX_PAIRS} pairs of strings, keys of 1 to {MAX_KEY_CHARS} characters and values of at most {MAX_VALUE_CHARS}"
)]
pub struct InvalidMetadata {
    /// Which header.
    pub header: &'static str,
}

/// The request's metadata; empty when there is no such header. Sluice's own name wins.
///
/// # Errors
/// See [`InvalidMetadata`].
pub fn read(headers: &HeaderMap) -> Result<BTreeMap<String, String>, InvalidMetadata> {
    let find = || {
        let mut names = NAMES.iter();
        names.find_map(|name| headers.get(*name).map(|value| (*name, value)))
    };
    let found = are_for_the_gateway(headers).then(find).flatten();
    let Some((header, value)) = found else {
        return Ok(BTreeMap::new());
    };
    let pairs: Option<BTreeMap<String, String>> = serde_json::from_slice(value.as_bytes()).ok();
    pairs.filter(fits).ok_or(InvalidMetadata { header })
}

fn fits(pairs: &BTreeMap<String, String>) -> bool {
    let good = |(key, value): (&String, &String)| {
        (1..=MAX_KEY_CHARS).contains(&key.chars().count())
            && value.chars().count() <= MAX_VALUE_CHARS
    };
    pairs.len() <= MAX_PAIRS && pairs.iter().all(good)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(header: &'static str, value: &str, expected: Option<&[(&str, &str)]>) {
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::from_str(value).expect("a header"));
        let expected = expected
            .map(|pairs| {
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect()
            })
            .ok_or(InvalidMetadata { header });
        assert_eq!(read(&headers), expected, "{value}");
    }

    #[test]
    fn metadata_is_an_object_of_short_strings() {
        check(
            "x-sluice-metadata",
            r#"{"team":"a","run":"7"}"#,
            Some(&[("run", "7"), ("team", "a")]),
        );
        check("x-tfy-metadata", "{}", Some(&[]));
        check("x-tfy-metadata", r#"{"a":7}"#, None);
        check("x-sluice-metadata", "nonsense", None);
        check("x-sluice-metadata", r#"{"":"x"}"#, None);
        check(
            "x-sluice-metadata",
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(129)),
            None,
        );
        assert_eq!(read(&HeaderMap::new()), Ok(BTreeMap::new()));
    }
}

//! From the key in a request to the hash under which the view knows it.

use events_schema::keyring::KeyRing;
use gateway_policy::{Caller, Configuration, Denial, authenticate};
use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use events_schema::time::Timestamp;

use crate::failure::Failure;

/// A longer text is no key: ours have some 60 characters.
const MAX_KEY_BYTES: usize = 256;

/// Where a key may stand beside `authorization`, in the order in which they are looked at: Anthropic's and Azure's
/// clients put it there.
const OTHER_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

/// Hashes keys with each pepper that keys may have been made with, the active one first.
pub struct KeyHasher {
    peppers: Vec<[u8; 32]>,
}

impl KeyHasher {
    /// With the peppers of a ring.
    #[must_use]
    pub fn new(ring: &KeyRing) -> Self {
        let (active, first) = ring.active();
        let others = ring
            .iter()
            .filter(|(id, _)| *id != active)
            .map(|(_, key)| *key);
        Self {
            peppers: std::iter::once(*first).chain(others).collect(),
        }
    }

    /// Finds the caller.
    ///
    /// # Errors
    /// [`Failure::NoKey`], and what [`authenticate`] says.
    pub fn caller<'c>(
        &self,
        config: &'c impl Configuration,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Caller<'c>, Failure> {
        let key = key_in(headers).ok_or(Failure::NoKey)?;
        if key.len() > MAX_KEY_BYTES {
            return Err(Failure::Denied(Denial::UnknownKey));
        }
        let mut answer = Err(Denial::UnknownKey);
        for pepper in &self.peppers {
            answer = authenticate(config, blake3::keyed_hash(pepper, key).as_bytes(), now);
            if !matches!(answer, Err(Denial::UnknownKey)) {
                break;
            }
        }
        answer.map_err(Failure::Denied)
    }
}

/// The key in a request's headers.
fn key_in(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key)
    });
    let other = || {
        OTHER_HEADERS
            .iter()
            .find_map(|name| headers.get(name).map(|value| value.as_bytes()))
    };
    bearer
        .or_else(other)
        .map(<[u8]>::trim_ascii)
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(headers: &[(&'static str, &'static str)], expected: Option<&str>) {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        assert_eq!(key_in(&headers), expected.map(str::as_bytes));
    }

    #[test]
    fn keys_are_found_where_clients_put_them() {
        check(&[("authorization", "Bearer abc")], Some("abc"));
        check(&[("authorization", "bearer  abc ")], Some("abc"));
        check(&[("x-api-key", "abc")], Some("abc"));
        check(&[("api-key", "abc")], Some("abc"));
        check(
            &[("authorization", "Bearer one"), ("x-api-key", "other")],
            Some("one"),
        );
        check(&[("authorization", "Basic abc")], None);
        check(&[("authorization", "Bearer ")], None);
        check(&[], None);
    }
}

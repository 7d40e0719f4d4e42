//! That a request which changes something was meant by the person whose cookie it carries.
//!
//! Three things must hold: the cookie is `SameSite=Strict`; the browser, where it says so (`Sec-Fetch-Site`,
//! `Origin`), says that the page is ours; and the header `x-csrf-token` holds a token that only a page which could
//! read our answers knows.

use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};

/// The header that carries the token.
pub const HEADER: &str = "x-csrf-token";

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// The browser says that another site sent it.
    #[error("the browser says that another site sent this request")]
    OtherSite,
    /// No token, or not this session's.
    #[error("the header x-csrf-token must hold the csrf_token of GET /api/v1/sessions/current")]
    Token,
}

/// Checks what the browser says about where the request comes from, against whom it is for: over HTTP/2 the URI says that,
/// over HTTP/1.1 the header `host`.
///
/// # Errors
/// When it comes from another site.
pub fn check_site(uri: &Uri, headers: &HeaderMap) -> Result<(), Forged> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = uri.authority().map(Authority::as_str);
    let host = host.or_else(|| text(header::HOST));
    let site_is_ours = headers
        .get("sec-fetch-site")
        .is_none_or(|site| site == "same-origin" || site == "none");
    let origin_is_ours = match text(header::ORIGIN) {
        None => !headers.contains_key(header::ORIGIN),
        Some(origin) => host.is_some() && origin.split_once("://").map(|(_, host)| host) == host,
    };
    if site_is_ours && origin_is_ours {
        Ok(())
    } else {
        Err(Forged::OtherSite)
    }
}

/// Checks the token in the headers against the session's.
///
/// # Errors
/// When it is missing or wrong.
pub fn check_token(headers: &HeaderMap, expected: &str) -> Result<(), Forged> {
    let shown = headers
        .get(HEADER)
        .map_or(&b""[..], |value| value.as_bytes());
    // Hashes are compared in constant time.
    if blake3::hash(shown) == blake3::hash(expected.as_bytes()) {
        Ok(())
    } else {
        Err(Forged::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    value.parse().expect("a value"),
                )
            })
            .collect()
    }

    #[test]
    fn requests_of_other_sites_are_not_believed() {
        let check_at = |uri: &'static str, pairs: &[(&'static str, &str)], good| {
            let checked = check_site(&Uri::from_static(uri), &headers(pairs));
            assert_eq!(checked.is_ok(), good, "{uri} {pairs:?}");
        };
        let check = |pairs: &[(&'static str, &str)], good| check_at("/api", pairs, good);
        check(&[("host", "a:1")], true);
        check(
            &[
                ("host", "a:1"),
                ("origin", "http://a:1"),
                ("sec-fetch-site", "same-origin"),
            ],
            true,
        );
        check(&[("host", "a:1"), ("sec-fetch-site", "none")], true);
        check(&[("host", "a:1"), ("sec-fetch-site", "same-site")], false);
        check(&[("host", "a:1"), ("sec-fetch-site", "cross-site")], false);
        check(&[("host", "a:1"), ("origin", "http://a:2")], false);
        check(&[("host", "a:1"), ("origin", "null")], false);
        check(&[("origin", "http://a:1")], false);
        check_at("https://a:1/api", &[("origin", "https://a:1")], true);
        check_at("https://a:1/api", &[("origin", "https://a:2")], false);
        check_at(
            "https://a:1/api",
            &[("host", "a:2"), ("origin", "https://a:2")],
            false,
        );
    }

    #[test]
    fn a_request_shows_the_token_of_its_session() {
        assert_eq!(check_token(&headers(&[(HEADER, "mine")]), "mine"), Ok(()));
        assert_eq!(
            check_token(&headers(&[(HEADER, "yours")]), "mine"),
            Err(Forged::Token)
        );
        assert_eq!(check_token(&headers(&[]), "mine"), Err(Forged::Token));
    }
}

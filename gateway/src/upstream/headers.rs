//! Which headers pass. Everything does, but what belongs to one connection only, what names who calls, and what the
//! gateway itself says.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, ACCEPT_ENCODING, AUTHORIZATION, HOST},
};

use super::account::Reach;

/// Headers of the caller that do not go to the provider, beside those that `connection` names.
fn stays_here(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "host"
            | "authorization"
            | "x-api-key"
            | "cookie"
            | "content-length"
            | "accept-encoding"
            | "expect"
            | "forwarded"
            | "x-forwarded-for"
            | "x-real-ip"
    ) || is_of_one_connection(name)
        || name.starts_with("x-sluice-")
        || name.starts_with("x-tfy-")
}

/// Headers of the provider that do not go to the caller: they speak of the account, or the gateway says its own.
fn stays_behind(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "set-cookie"
            | "x-request-id"
            | "openai-organization"
            | "openai-project"
            | "alt-svc"
            | "date"
    ) || is_of_one_connection(name)
        || name.starts_with("x-ratelimit-")
        || name.starts_with("x-sluice-")
}

/// RFC 9110, 7.6.1.
fn is_of_one_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether `connection` names this header as one that goes no further.
fn named_in<'h>(headers: &'h HeaderMap) -> impl Fn(&HeaderName) -> bool + 'h {
    let named = headers
        .get(header::CONNECTION)
        .and_then(|value| value.to_str().ok());
    move |name| {
        named.is_some_and(|named| {
            named
                .split(',')
                .any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
        })
    }
}

/// The headers for the provider.
#[must_use]
pub fn to_provider(from_caller: &HeaderMap, reach: &Reach) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(from_caller.len() + 3);
    headers.insert(HOST, reach.host.clone());
    if let Some(authorization) = &reach.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let dropped = named_in(from_caller);
    for (name, value) in from_caller {
        if !stays_here(name) && !dropped(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// The headers for the caller, with room for `more`.
#[must_use]
pub fn to_caller(from_provider: &HeaderMap, more: usize) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(from_provider.len() + more);
    let dropped = named_in(from_provider);
    for (name, value) in from_provider {
        if !stays_behind(name) && !dropped(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

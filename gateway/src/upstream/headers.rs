//! Which headers pass. Everything does, but what belongs to one connection only, what names who calls, and what the
//! gateway itself says.

use http::{HeaderMap, HeaderName, header};

use events_schema::snapshot::routing::ArchivedRoutedTargetEntry;

use super::account::Reach;
use crate::endpoint::{Description, Dialect, anthropic};

/// Headers of the caller that do not go to the provider, beside those that `connection` names.
fn stays_here(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "host"
            | "authorization"
            | "x-api-key"
            | "api-key"
            | "cookie"
            | "content-length"
            | "accept-encoding"
            | "expect"
            | "forwarded"
            | "x-forwarded-for"
            | "x-real-ip"
            | "openai-organization"
            | "openai-project"
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
            | "anthropic-organization-id"
            | "alt-svc"
            | "date"
    ) || is_of_one_connection(name)
        || name.starts_with("x-ratelimit-")
        || name.starts_with("anthropic-ratelimit-")
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

/// Whether `connection` names this header as one that goes no further. The header may stand more than once.
fn named_in<'h>(headers: &'h HeaderMap) -> impl Fn(&HeaderName) -> bool + 'h {
    let lines = headers.get_all(header::CONNECTION);
    let is_there = lines.iter().next().is_some();
    move |name| {
        is_there
            && lines
                .iter()
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(','))
                .any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
    }
}

/// What a caller sent beside the body.
#[derive(Debug, Clone, Copy)]
pub struct FromCaller<'c> {
    /// The headers.
    pub headers: &'c HeaderMap,
    /// What stood behind the path's question mark.
    pub query: Option<&'c str>,
}

/// Writes the head of a request to a provider: the line, the headers that pass, those that a target's routing sets, and
/// those that are the account's.
pub fn write_head(
    out: &mut Vec<u8>,
    endpoint: Description,
    from_caller: FromCaller<'_>,
    routed: Option<&ArchivedRoutedTargetEntry>,
    reach: &Reach,
    body_bytes: u64,
) {
    let FromCaller { headers, query } = from_caller;
    out.extend_from_slice(b"POST ");
    out.extend_from_slice(reach.prefix.as_bytes());
    out.extend_from_slice(endpoint.path.as_bytes());
    // Anthropic's clients say there that they mean its beta; OpenAI's say nothing.
    if let (Dialect::Anthropic, Some(query)) = (endpoint.dialect, query) {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    line(out, "host", reach.host.as_bytes());
    let credential = reach.credential.as_ref();
    match endpoint.dialect {
        Dialect::OpenAi => {
            if let Some(credential) = credential {
                line(out, "authorization", credential.bearer.as_bytes());
            }
        }
        Dialect::Anthropic => {
            if let Some(credential) = credential {
                line(
                    out,
                    anthropic::API_KEY.as_str(),
                    credential.api_key.as_bytes(),
                );
            }
            if !headers.contains_key(anthropic::VERSION) {
                let version = anthropic::DEFAULT_VERSION;
                line(out, anthropic::VERSION.as_str(), version.as_bytes());
            }
        }
    }
    line(out, "accept-encoding", b"identity");
    let dropped = named_in(headers);
    for (name, value) in headers {
        if !stays_here(name) && !dropped(name) && !is_overridden(routed, name) {
            line(out, name.as_str(), value.as_bytes());
        }
    }
    for it in routed.iter().flat_map(|it| it.headers_set.iter()) {
        line(out, it.0.as_str(), it.1.as_bytes());
    }
    line(out, "content-length", body_bytes.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether a target's routing sets a header, or leaves it out.
fn is_overridden(routed: Option<&ArchivedRoutedTargetEntry>, name: &HeaderName) -> bool {
    routed.is_some_and(|it| {
        it.headers_remove.iter().any(|it| it == name.as_str())
            || it.headers_set.iter().any(|it| it.0 == name.as_str())
    })
}

/// A `HeaderValue` holds neither CR nor LF, and what a routing sets is printable, so nothing can be smuggled in.
fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// How many headers the gateway may add to those of a provider.
pub const ROOM: usize = 12;

/// Leaves of a provider's headers what the caller gets.
pub fn keep_for_caller(headers: &mut HeaderMap) {
    let dropped: Vec<HeaderName> = {
        let named = named_in(headers);
        let stays = |name: &&HeaderName| stays_behind(name) || named(name);
        headers.keys().filter(stays).cloned().collect()
    };
    for name in dropped {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in of.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn what_belongs_to_one_connection_or_to_the_account_stays_behind() {
        let mut from_provider = headers(&[
            ("content-type", "application/json"),
            ("connection", "keep-alive, x-hop"),
            ("connection", "x-other-hop"),
            ("x-hop", "1"),
            ("x-other-hop", "1"),
            ("anthropic-ratelimit-tokens-remaining", "7"),
            ("transfer-encoding", "chunked"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("set-cookie", "a=b"),
            ("openai-organization", "acme"),
            ("openai-processing-ms", "12"),
        ]);
        keep_for_caller(&mut from_provider);
        let kept: Vec<_> = from_provider.keys().map(HeaderName::as_str).collect();
        assert_eq!(kept, ["content-type", "openai-processing-ms"]);
    }
}

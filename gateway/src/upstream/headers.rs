//! Which headers pass. Everything does, but what belongs to one connection only, what names who calls, and what the
//! gateway itself says.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};

use events_schema::snapshot::routing::ArchivedRoutedTargetEntry;

use super::account::Reach;
use crate::{
    digits::Decimal,
    endpoint::{Description, Dialect, anthropic},
    failure::UpstreamFailure,
    trace::context::{TRACEPARENT, Told},
};

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

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

/// A request to a provider but for its body: what its head is made of, in either version of HTTP.
#[derive(Clone, Copy)]
pub struct Outgoing<'o> {
    /// Where it goes, and what is spoken there.
    pub endpoint: Description,
    /// What the caller sent.
    pub from_caller: FromCaller<'o>,
    /// What a target's routing says of headers.
    pub routed: Option<&'o ArchivedRoutedTargetEntry>,
    /// What the provider is told of the trace; `None`: what the caller told.
    pub told: Option<Told>,
    /// How long the body is.
    pub body_bytes: u64,
}

impl Outgoing<'_> {
    /// Writes the head for HTTP/1.1.
    pub fn write(&self, out: &mut Vec<u8>, reach: &Reach) {
        out.extend_from_slice(b"POST ");
        for part in self.path(reach) {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        line(out, "host", reach.host.as_bytes());
        self.write_headers(out, reach);
        line(
            out,
            "content-length",
            Decimal::of(self.body_bytes).as_bytes(),
        );
        out.extend_from_slice(b"\r\n");
    }

    /// The head for HTTP/2: the host stands in the URI, names are in lower case, and nothing speaks of the connection.
    ///
    /// # Errors
    /// [`UpstreamFailure::Broken`], when there is no such URI: those of accounts and callers were looked at before.
    pub fn request(&self, reach: &Reach) -> Result<Request<()>, UpstreamFailure> {
        let uri = self.uri(reach).map_err(|error| {
            tracing::warn!(%error, "a request's path cannot be told in HTTP/2");
            UpstreamFailure::Broken
        })?;
        let mut headers = HeaderMap::with_capacity(self.from_caller.headers.len() + ROOM);
        self.write_headers(&mut headers, reach);
        headers.insert(header::CONTENT_LENGTH, self.body_bytes.into());
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn uri(&self, reach: &Reach) -> Result<Uri, http::Error> {
        let path = self.path(reach).concat();
        let mut parts = reach.origin.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path.into_bytes())?);
        Ok(Uri::from_parts(parts)?)
    }

    /// The path and the query, in parts. Anthropic's clients say in the query that they mean its beta; OpenAI's say nothing.
    fn path<'a>(&'a self, reach: &'a Reach) -> [&'a str; 4] {
        let query = match self.endpoint.dialect {
            Dialect::OpenAi => None,
            Dialect::Anthropic => self.from_caller.query,
        };
        let mark = if query.is_some() { "?" } else { "" };
        let query = query.unwrap_or_default();
        [&reach.prefix, self.endpoint.path, mark, query]
    }

    /// The headers that pass, those that a target's routing sets, and those that are the account's.
    fn write_headers(&self, out: &mut impl Headers, reach: &Reach) {
        let (headers, routed) = (self.from_caller.headers, self.routed);
        let credential = reach.credential.as_ref();
        match self.endpoint.dialect {
            Dialect::OpenAi => {
                if let Some(credential) = credential {
                    out.add(&header::AUTHORIZATION, &credential.bearer);
                }
            }
            Dialect::Anthropic => {
                if let Some(credential) = credential {
                    out.add(&anthropic::API_KEY, &credential.api_key);
                }
                if !headers.contains_key(anthropic::VERSION) {
                    out.add(&anthropic::VERSION, &anthropic::DEFAULT_VERSION);
                }
            }
        }
        out.add(&header::ACCEPT_ENCODING, &IDENTITY);
        let told = self.told.filter(|_| !is_overridden(routed, &TRACEPARENT));
        let dropped = named_in(headers);
        for (name, value) in headers {
            let is_replaced = told.is_some_and(|told| told.replaces(name));
            if !is_replaced && !stays_here(name) && !dropped(name) && !is_overridden(routed, name) {
                out.add(name, value);
            }
        }
        if let Some(told) = told {
            out.add_text(TRACEPARENT.as_str(), &told.to_string());
        }
        for it in routed.iter().flat_map(|it| it.headers_set.iter()) {
            out.add_text(it.0.as_str(), it.1.as_str());
        }
    }
}

/// Where the headers of a request are written to.
trait Headers {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue);

    /// One that a target's routing sets: a name and a value that can stand in a header.
    fn add_text(&mut self, name: &str, value: &str);
}

impl Headers for Vec<u8> {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        line(self, name.as_str(), value.as_bytes());
    }

    fn add_text(&mut self, name: &str, value: &str) {
        line(self, name, value.as_bytes());
    }
}

impl Headers for HeaderMap {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name.clone(), value.clone());
    }

    fn add_text(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            self.append(name, value);
        }
    }
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

/// How many headers the gateway may add to those of a provider where they are no text yet.
pub const ROOM: usize = 4;

/// Leaves of a provider's headers what the caller gets, who called in this dialect.
pub fn keep_for_caller(headers: &mut HeaderMap, dialect: Dialect) {
    let dropped: Vec<HeaderName> = {
        let named = named_in(headers);
        let is_own =
            |name: &HeaderName| dialect == Dialect::Anthropic && *name == anthropic::REQUEST_ID;
        let stays = |name: &&HeaderName| stays_behind(name) || named(name) || is_own(name);
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
        keep_for_caller(&mut from_provider, Dialect::OpenAi);
        let kept: Vec<_> = from_provider.keys().map(HeaderName::as_str).collect();
        assert_eq!(kept, ["content-type", "openai-processing-ms"]);
    }
}

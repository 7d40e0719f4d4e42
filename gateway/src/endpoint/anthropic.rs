//! Anthropic's wire format: its pages "Errors", "Streaming messages" and "Prompt caching".

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EventKind, after, data_of, field};
use crate::upstream::usage::Stated;

/// The header with the version of the API that a caller speaks.
pub const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The version for callers that name none: the only one since 2023.
pub const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The header with an API key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The header of an answer with the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Anthropic's status for "overloaded", in the place of HTTP's 503.
const OVERLOADED: u16 = 529;

/// Anthropic's status for one of HTTP's.
pub(super) fn status(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => StatusCode::from_u16(OVERLOADED).unwrap_or(status),
        other => other,
    }
}

/// The body of an error.
pub(super) fn error(status: StatusCode, message: &str, request: Uuid) -> Bytes {
    #[derive(Serialize)]
    struct Wrapped<'a> {
        r#type: &'static str,
        error: Told<'a>,
        request_id: Uuid,
    }
    #[derive(Serialize)]
    struct Told<'a> {
        r#type: &'static str,
        message: &'a str,
    }
    let wrapped = Wrapped {
        r#type: "error",
        error: Told {
            r#type: error_type(status),
            message,
        },
        request_id: request,
    };
    serde_json::to_vec(&wrapped)
        .expect("an error is JSON")
        .into()
}

/// Its `type`.
const fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        OVERLOADED => "overloaded_error",
        _ => "api_error",
    }
}

/// What an event is, by its field `event`, or, where something in between has taken that away, by how its data begins.
pub(super) fn kind(event: &[u8]) -> EventKind {
    let name = field(event, b"event:").or_else(|| {
        let data = data_of(event)?;
        after(data, &[b"{", br#""type""#, b":", b"\""])
    });
    let name = name.unwrap_or_default();
    let name = name.split(|byte| !is_of_a_name(*byte)).next();
    match name.unwrap_or_default() {
        b"content_block_delta" => EventKind::Content,
        b"message_start" => EventKind::UsageSoFar,
        b"message_delta" => EventKind::Usage,
        b"error" => EventKind::Error,
        b"message_stop" => EventKind::End,
        _ => EventKind::Aside,
    }
}

const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}

/// The object `usage`. In a stream its numbers are sums so far, and each event may leave some of them out.
#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

/// Reads it. Its input leaves out what was read from the cache and what was written to it.
pub(super) fn usage(object: &[u8]) -> Option<Stated> {
    let usage: Usage = serde_json::from_slice(object).ok()?;
    usage.stated()
}

/// Reads the usage of a whole message: the member `usage` of the message itself. What a model gives to a tool is an object
/// of its own making, and may have such a member, too.
#[must_use]
pub fn usage_of_message(message: &[u8]) -> Option<Stated> {
    #[derive(Deserialize)]
    struct Message {
        usage: Option<Usage>,
    }
    let message: Message = serde_json::from_slice(message).ok()?;
    message.usage?.stated()
}

impl Usage {
    fn stated(self) -> Option<Stated> {
        if self.input_tokens.is_none() && self.output_tokens.is_none() {
            return None;
        }
        Some(Stated {
            input: self.input_tokens,
            cached_input: self.cache_read_input_tokens,
            cache_write_input: self.cache_creation_input_tokens,
            cache_is_apart: true,
            output: self.output_tokens,
            reasoning: self
                .output_tokens_details
                .and_then(|details| details.thinking_tokens),
            ..Stated::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_known_by_their_names() {
        let check = |event: &str, expected| assert_eq!(kind(event.as_bytes()), expected, "{event}");
        check(
            "event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
            EventKind::UsageSoFar,
        );
        check(
            "event:content_block_delta\r\ndata: {}\r\n\r\n",
            EventKind::Content,
        );
        check("event: content_block_start\ndata: {}\n\n", EventKind::Aside);
        check(
            "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            EventKind::Aside,
        );
        check("event: message_delta\ndata: {}\n\n", EventKind::Usage);
        check("event: message_stop\ndata: {}\n\n", EventKind::End);
        check(
            "event: error\ndata: {\"type\":\"error\"}\n\n",
            EventKind::Error,
        );
        check(
            "data: {\"type\": \"error\", \"error\": {}}\n\n",
            EventKind::Error,
        );
        check("data: { \"type\" : \"message_stop\"}\n\n", EventKind::End);
        check(": keep alive\n\n", EventKind::Aside);
    }

    #[test]
    fn errors_have_anthropics_types() {
        let check = |code: u16, expected: (u16, &str)| {
            let told = status(StatusCode::from_u16(code).expect("a status"));
            assert_eq!((told.as_u16(), error_type(told)), expected);
        };
        check(400, (400, "invalid_request_error"));
        check(401, (401, "authentication_error"));
        check(403, (403, "permission_error"));
        check(404, (404, "not_found_error"));
        check(405, (405, "invalid_request_error"));
        check(413, (413, "request_too_large"));
        check(429, (429, "rate_limit_error"));
        check(502, (502, "api_error"));
        check(503, (529, "overloaded_error"));
        check(504, (504, "timeout_error"));
        let body = error(StatusCode::NOT_FOUND, "No.", Uuid::nil());
        assert_eq!(
            body,
            r#"{"type":"error","error":{"type":"not_found_error","message":"No."},"request_id":"00000000-0000-0000-0000-000000000000"}"#
        );
    }
}

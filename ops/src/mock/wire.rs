//! The two wire formats: how an error is told in each.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::plan::Refusal;

/// Whose wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

// === impl Wire ===

impl Wire {
    /// What is spoken at a path.
    pub(super) fn at(path: &str) -> Self {
        if path.starts_with("/v1/messages") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    /// The body of an error.
    pub(super) fn error(self, refusal: &Refusal) -> Value {
        match self {
            Self::OpenAi => json!({ "error": {
                "message": refusal.message,
                "type": openai_type(refusal.status),
                "param": refusal.param,
                "code": refusal.code,
            }}),
            Self::Anthropic => json!({
                "type": "error",
                "error": {
                    "type": anthropic_type(refusal.status),
                    "message": refusal.message,
                },
                "request_id": "req_mock",
            }),
        }
    }

    /// The event with which a stream says that it cannot go on.
    pub(super) fn failing_event(self) -> Bytes {
        let refusal = Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "The mock provider was told to fail here.".to_owned(),
            code: None,
            param: None,
        };
        let document = self.error(&refusal);
        match self {
            Self::OpenAi => Bytes::from(format!("data: {document}\n\n")),
            Self::Anthropic => Bytes::from(format!("event: error\ndata: {document}\n\n")),
        }
    }
}

/// OpenAI's `type` for an error.
fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Anthropic's `type` for an error.
fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

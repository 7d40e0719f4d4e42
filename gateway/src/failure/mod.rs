//! Everything that a caller can be told went wrong, and the one table that says how: HTTP status, OpenAI's type and
//! code, and how the request counts. How an API words it is its [`crate::endpoint::Dialect`]'s.

mod limited;

use std::fmt;

use events_schema::usage::Outcome;
use gateway_policy::{Denial, limits::lease::Why};
use http::StatusCode;

use self::limited::{fmt_limited, fmt_overspent, limited_row, overspent_row};
use crate::{
    limits::{Overspent, Refused},
    places::{Bound, Crowded},
    request::{Malformed, metadata::InvalidMetadata, wish::InvalidWish},
};

/// The largest body of a request: enough for a dozen images in base64, small enough to hold a few hundred.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No such path.
    NoRoute,
    /// The path is there, the method is not.
    Method,
    /// No view is loaded.
    NotReady,
    /// No key in the request.
    NoKey,
    /// The rules say no.
    Denied(Denial),
    /// The body cannot be taken.
    Malformed(Malformed),
    /// The metadata cannot be taken.
    Metadata(InvalidMetadata),
    /// Headers that say how it is to be tried cannot be taken.
    Wish(InvalidWish),
    /// The body is larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// The body did not come in time.
    SlowBody,
    /// The body is not framed as HTTP has it.
    Framing,
    /// The caller went away.
    ClientGone,
    /// A limit refuses.
    Limited(Refused),
    /// A budget refuses.
    Overspent(Overspent),
    /// As many requests are under way as may be.
    Crowded(Crowded),
    /// No answer from the provider.
    Upstream(UpstreamFailure),
    /// The provider does not take its account's credential.
    CredentialRefused,
    /// The provider answered with an error that cannot be passed on as it is.
    Provider(StatusCode),
    /// The answer broke off after it had begun.
    Cut,
    /// This gateway ends, and the time to finish what is under way is over.
    Stopping,
    /// The bodies of all requests together are larger than this gateway may hold.
    Overloaded,
}

/// Why an attempt brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection.
    Connect,
    /// No connection, or no head of an answer, in time.
    Timeout,
    /// The connection broke before an answer.
    Broken,
    /// The account's credential is missing or cannot be opened.
    Credential,
    /// The account's host has private or local addresses only, which the account does not allow.
    Address,
    /// The answer began as a good one, and the first that it said was an error.
    ErrorEvent,
}

impl UpstreamFailure {
    /// Its name in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Credential => "credential",
            Self::Address => "address_not_allowed",
            Self::ErrorEvent => "error_event",
        }
    }
}

/// How a failure is told and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The HTTP status.
    pub status: StatusCode,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// OpenAI's `code`.
    pub code: &'static str,
    /// How the request counts, in metrics and in its record.
    pub outcome: Outcome,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl Failure {
    /// A provider's status that is not passed on.
    #[must_use]
    pub const fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::CredentialRefused,
            _ => Self::Provider(status),
        }
    }

    /// The table.
    #[must_use]
    pub fn row(&self) -> Row {
        let row = |status, kind, code, outcome| Row {
            status,
            kind,
            code,
            outcome,
        };
        match self {
            Self::NoRoute => row(
                StatusCode::NOT_FOUND,
                INVALID,
                "unknown_url",
                Outcome::BadRequest,
            ),
            Self::Method => row(
                StatusCode::METHOD_NOT_ALLOWED,
                INVALID,
                "method_not_allowed",
                Outcome::BadRequest,
            ),
            Self::NotReady => row(
                StatusCode::SERVICE_UNAVAILABLE,
                SERVER,
                "not_ready",
                Outcome::ProviderUnreachable,
            ),
            Self::NoKey => row(
                StatusCode::UNAUTHORIZED,
                INVALID,
                "invalid_api_key",
                Outcome::Unauthenticated,
            ),
            Self::Denied(denial) => denied(*denial),
            Self::Malformed(_) | Self::Wish(_) => row(
                StatusCode::BAD_REQUEST,
                INVALID,
                "invalid_request",
                Outcome::BadRequest,
            ),
            Self::Metadata(_) => row(
                StatusCode::BAD_REQUEST,
                INVALID,
                "invalid_metadata",
                Outcome::BadRequest,
            ),
            Self::TooLarge => row(
                StatusCode::PAYLOAD_TOO_LARGE,
                INVALID,
                "request_too_large",
                Outcome::BadRequest,
            ),
            Self::SlowBody => row(
                StatusCode::REQUEST_TIMEOUT,
                INVALID,
                "request_timeout",
                Outcome::BadRequest,
            ),
            Self::Framing => row(
                StatusCode::BAD_REQUEST,
                INVALID,
                "invalid_request",
                Outcome::BadRequest,
            ),
            Self::ClientGone => row(
                StatusCode::BAD_REQUEST,
                INVALID,
                "client_gone",
                Outcome::ClientGone,
            ),
            Self::Limited(refused) => limited_row(refused),
            Self::Overspent(overspent) => overspent_row(overspent.why),
            Self::Crowded(crowded) => crowded_out(crowded.bound),
            Self::Upstream(failure) => upstream(*failure),
            Self::CredentialRefused => row(
                StatusCode::BAD_GATEWAY,
                SERVER,
                "provider_credential_refused",
                Outcome::ProviderError,
            ),
            Self::Provider(status) => {
                // A redirection that was passed on would lead the caller past this gateway.
                let is_error = status.is_client_error() || status.is_server_error();
                let status = if is_error {
                    *status
                } else {
                    StatusCode::BAD_GATEWAY
                };
                row(status, SERVER, "provider_error", Outcome::ProviderError)
            }
            Self::Cut => row(
                StatusCode::BAD_GATEWAY,
                SERVER,
                "provider_stream_cut",
                Outcome::StreamCut,
            ),
            Self::Stopping => row(
                StatusCode::SERVICE_UNAVAILABLE,
                SERVER,
                "gateway_stopping",
                Outcome::StreamCut,
            ),
            Self::Overloaded => row(
                StatusCode::SERVICE_UNAVAILABLE,
                SERVER,
                "overloaded",
                Outcome::LimitExceeded,
            ),
        }
    }

    /// The field of the request that is wrong.
    #[must_use]
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(malformed) => malformed.field(),
            Self::Denied(
                Denial::UnknownModel
                | Denial::NotGranted
                | Denial::VirtualModelDisabled
                | Denial::ModelDisabled
                | Denial::AccountDisabled
                | Denial::WrongKind
                | Denial::NotAnthropic
                | Denial::NoTarget,
            ) => Some("model"),
            Self::Denied(
                Denial::UnknownKey
                | Denial::SecretReplaced { .. }
                | Denial::KeyDisabled
                | Denial::KeyExpired { .. }
                | Denial::OwnerDisabled
                | Denial::OwnerMissing,
            )
            | Self::NoRoute
            | Self::Method
            | Self::NotReady
            | Self::NoKey
            | Self::Metadata(_)
            | Self::Wish(_)
            | Self::TooLarge
            | Self::SlowBody
            | Self::Framing
            | Self::ClientGone
            | Self::Limited(_)
            | Self::Overspent(_)
            | Self::Crowded(_)
            | Self::Upstream(_)
            | Self::CredentialRefused
            | Self::Provider(_)
            | Self::Cut
            | Self::Stopping
            | Self::Overloaded => None,
        }
    }

    /// In how many seconds it is worth trying again; the header `retry-after`.
    #[must_use]
    pub const fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Overspent(Overspent {
                why: Why::UsedUp,
                reset_us,
                ..
            }) => Some(reset_us.div_ceil(1_000_000)),
            Self::Limited(Refused {
                retry_after_us: Some(us),
                ..
            }) => Some(us.div_ceil(1_000_000)),
            // A smaller one is worth trying at once, and this one not for long.
            Self::Overspent(Overspent {
                why: Why::TooLarge { .. },
                ..
            }) => None,
            Self::NotReady
            | Self::Overspent(_)
            | Self::Crowded(_)
            | Self::Stopping
            | Self::Overloaded => Some(1),
            _ => None,
        }
    }

    /// Whether the same request can not succeed, or not for long, though its status usually says that it may soon; the header
    /// `x-should-retry: false`, which `OpenAI`'s and Anthropic's SDKs heed.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Limited(Refused {
                retry_after_us: None,
                ..
            }) | Self::Overspent(Overspent {
                why: Why::UsedUp | Why::TooLarge { .. },
                ..
            })
        )
    }

    /// What a person reads. `model` is the name that the request gave.
    #[must_use]
    pub fn message(&self, model: &str) -> String {
        Message {
            failure: self,
            model,
        }
        .to_string()
    }
}

fn denied(denial: Denial) -> Row {
    let row = |status, code, outcome| Row {
        status,
        kind: INVALID,
        code,
        outcome,
    };
    let unauthenticated = |code| row(StatusCode::UNAUTHORIZED, code, Outcome::Unauthenticated);
    let forbidden = |code| row(StatusCode::FORBIDDEN, code, Outcome::Forbidden);
    match denial {
        Denial::UnknownKey => unauthenticated("invalid_api_key"),
        Denial::SecretReplaced { .. } => unauthenticated("api_key_rotated"),
        Denial::KeyDisabled => unauthenticated("api_key_disabled"),
        Denial::KeyExpired { .. } => unauthenticated("api_key_expired"),
        Denial::OwnerDisabled | Denial::OwnerMissing => unauthenticated("api_key_owner_disabled"),
        Denial::UnknownModel => row(
            StatusCode::NOT_FOUND,
            "model_not_found",
            Outcome::UnknownModel,
        ),
        Denial::NotGranted => forbidden("model_not_allowed"),
        Denial::VirtualModelDisabled | Denial::ModelDisabled | Denial::AccountDisabled => {
            forbidden("model_disabled")
        }
        Denial::WrongKind | Denial::NotAnthropic => row(
            StatusCode::BAD_REQUEST,
            "model_not_supported",
            Outcome::BadRequest,
        ),
        Denial::NoTarget => Row {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: SERVER,
            code: "no_target",
            outcome: Outcome::ProviderUnreachable,
        },
    }
}

fn crowded_out(bound: Bound) -> Row {
    let row = |status, kind, code| Row {
        status,
        kind,
        code,
        outcome: Outcome::LimitExceeded,
    };
    match bound {
        Bound::Key => row(
            StatusCode::TOO_MANY_REQUESTS,
            "requests",
            "too_many_requests_under_way",
        ),
        Bound::Gateway => row(StatusCode::SERVICE_UNAVAILABLE, SERVER, "overloaded"),
    }
}

fn upstream(failure: UpstreamFailure) -> Row {
    let row = |status, code| Row {
        status,
        kind: SERVER,
        code,
        outcome: Outcome::ProviderUnreachable,
    };
    match failure {
        UpstreamFailure::Connect => row(StatusCode::BAD_GATEWAY, "provider_unreachable"),
        UpstreamFailure::Broken => row(StatusCode::BAD_GATEWAY, "provider_connection_broken"),
        UpstreamFailure::Timeout => row(StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
        UpstreamFailure::ErrorEvent => Row {
            outcome: Outcome::ProviderError,
            ..row(StatusCode::BAD_GATEWAY, "provider_error")
        },
        UpstreamFailure::Credential => row(StatusCode::BAD_GATEWAY, "provider_credential_missing"),
        UpstreamFailure::Address => row(StatusCode::BAD_GATEWAY, "provider_address_not_allowed"),
    }
}

/// A failure in words, with the model that was asked for.
struct Message<'a> {
    failure: &'a Failure,
    model: &'a str,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.model;
        match self.failure {
            Failure::NoRoute => f.write_str("There is no such URL here. The API begins with /v1."),
            Failure::Method => f.write_str("This URL does not take that method."),
            Failure::NotReady => f.write_str("This gateway has not loaded its configuration yet."),
            Failure::NoKey => f.write_str(
                "No API key in the request: send it as 'Authorization: Bearer YOUR_KEY' or 'x-api-key: YOUR_KEY'.",
            ),
            Failure::Denied(denial) => fmt_denial(*denial, model, f),
            Failure::Malformed(malformed) => write!(f, "The request cannot be taken: {malformed}."),
            Failure::Metadata(invalid) => write!(f, "The request cannot be taken: {invalid}."),
            Failure::Wish(invalid) => write!(f, "The request cannot be taken: {invalid}."),
            Failure::TooLarge => write!(
                f,
                "The body of a request may have {MAX_BODY_BYTES} bytes at most."
            ),
            Failure::SlowBody => f.write_str("The body of the request did not come in time."),
            Failure::Framing => {
                f.write_str("The body of the request is malformed: its chunks are none.")
            }
            Failure::ClientGone => f.write_str("The caller went away."),
            Failure::Limited(refused) => fmt_limited(refused, f),
            Failure::Overspent(overspent) => fmt_overspent(overspent, f),
            Failure::Crowded(Crowded { bound, most }) => match bound {
                Bound::Key => write!(
                    f,
                    "This API key has {most} requests under way here, and may not have more at once. Please try again when one of them has ended."
                ),
                Bound::Gateway => f.write_str(
                    "This gateway has as many requests under way as it may. Please try again soon.",
                ),
            },
            Failure::Upstream(UpstreamFailure::Connect) => {
                write!(f, "The provider of '{model}' cannot be reached.")
            }
            Failure::Upstream(UpstreamFailure::Broken) => {
                write!(
                    f,
                    "The connection to the provider of '{model}' broke before it answered."
                )
            }
            Failure::Upstream(UpstreamFailure::Timeout) => {
                write!(f, "The provider of '{model}' did not answer in time.")
            }
            Failure::Upstream(UpstreamFailure::Credential) => {
                write!(
                    f,
                    "The provider account of '{model}' has no credential that this gateway can use."
                )
            }
            Failure::Upstream(UpstreamFailure::Address) => {
                write!(
                    f,
                    "The provider account of '{model}' leads to a private or local address, which it does not allow."
                )
            }
            Failure::Upstream(UpstreamFailure::ErrorEvent) => {
                write!(f, "The provider of '{model}' answered with an error.")
            }
            Failure::CredentialRefused => {
                write!(
                    f,
                    "The provider of '{model}' does not take the credential of its account."
                )
            }
            Failure::Provider(status) => {
                write!(
                    f,
                    "The provider of '{model}' answered with status {}.",
                    status.as_u16()
                )
            }
            Failure::Cut => f.write_str("The provider broke off in the middle of its answer."),
            Failure::Stopping => f.write_str(
                "This gateway is being stopped, and could not wait for the rest of the answer.",
            ),
            Failure::Overloaded => f.write_str(
                "This gateway holds as many large requests as it may. Please try again soon.",
            ),
        }
    }
}

fn fmt_denial(denial: Denial, model: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match denial {
        Denial::UnknownKey => f.write_str("Incorrect API key provided."),
        Denial::SecretReplaced { at } => {
            write!(
                f,
                "This API key was replaced by a new one, and ceased to work at {at}."
            )
        }
        Denial::KeyDisabled => f.write_str("This API key is disabled."),
        Denial::KeyExpired { at } => write!(f, "This API key expired at {at}."),
        Denial::OwnerDisabled => f.write_str("The owner of this API key is disabled."),
        Denial::OwnerMissing => f.write_str("The owner of this API key is not known here."),
        Denial::UnknownModel => write!(f, "The model '{model}' does not exist."),
        Denial::NotGranted => write!(f, "This API key may not use the model '{model}'."),
        Denial::VirtualModelDisabled => write!(f, "The virtual model '{model}' is disabled."),
        Denial::ModelDisabled => write!(f, "The model '{model}' is disabled."),
        Denial::AccountDisabled => write!(f, "The provider account of '{model}' is disabled."),
        Denial::WrongKind => write!(f, "The model '{model}' cannot be asked for this."),
        Denial::NotAnthropic => {
            write!(
                f,
                "'{model}' leads to no provider that speaks Anthropic's API, and this gateway does not translate: ask at /v1/chat/completions, or for a model of an Anthropic account."
            )
        }
        Denial::NoTarget => {
            write!(
                f,
                "No target of the virtual model '{model}' can be asked for this: they are disabled, gone, or of another kind."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::endpoint::Dialect;

    pub(super) fn check(failure: &Failure, status: u16, expected: &str) {
        assert_eq!(failure.row().status.as_u16(), status);
        let json = Dialect::OpenAi.error(failure, "a\"b", Uuid::nil());
        let error: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let error = &error["error"];
        let told = format!(
            "{} | {} | {} | {}",
            error["type"], error["code"], error["param"], error["message"]
        );
        assert_eq!(told, expected);
        assert_eq!(error["request_id"], Uuid::nil().to_string());
    }

    #[test]
    fn failures_are_told_in_openais_shape() {
        check(
            &Failure::Denied(Denial::UnknownModel),
            404,
            r#""invalid_request_error" | "model_not_found" | "model" | "The model 'a\"b' does not exist.""#,
        );
        check(
            &Failure::NoKey,
            401,
            r#""invalid_request_error" | "invalid_api_key" | null | "No API key in the request: send it as 'Authorization: Bearer YOUR_KEY' or 'x-api-key: YOUR_KEY'.""#,
        );
        let crowded = |bound| Failure::Crowded(Crowded { bound, most: 9 });
        check(
            &crowded(Bound::Key),
            429,
            r#""requests" | "too_many_requests_under_way" | null | "This API key has 9 requests under way here, and may not have more at once. Please try again when one of them has ended.""#,
        );
        check(
            &crowded(Bound::Gateway),
            503,
            r#""server_error" | "overloaded" | null | "This gateway has as many requests under way as it may. Please try again soon.""#,
        );
    }
}

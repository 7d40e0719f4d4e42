//! Every error of the HTTP API as a problem document (RFC 9457), from one table: [`ApiError::row`].

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use events_schema::api::problem::{DocumentFault, Problem};
use http::{HeaderValue, StatusCode, header};

use crate::{
    declared::Fault,
    domain::{Rejection, RejectionOutcome},
};

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What can go wrong with a request, one variant for each outcome that a caller can tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// No such route.
    UnknownRoute,
    /// The route is there, the method is not; what it allows is in the header `allow`.
    MethodNotAllowed,
    /// The body is not the JSON that the route wants.
    BadJson(String),
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// A part of the request is malformed.
    Invalid {
        /// Which: a field, or a parameter.
        field: String,
        /// What is allowed.
        detail: String,
    },
    /// No such thing.
    NotFound(&'static str),
    /// Neither a session nor a token that works.
    Unauthenticated(&'static str),
    /// The role has no right to it.
    Forbidden(&'static str),
    /// The request may have been forged by another site.
    Csrf(String),
    /// Too many failed sign-ins.
    TooManySignIns {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// Too much of something at this moment.
    Busy(String),
    /// The rules refused a command; the table of rejections is the domain's.
    Rejected(Rejection),
    /// A document of the configuration is wrong: where, and why.
    Document(Vec<Fault>),
    /// Keys that a document could not tell apart.
    SharedLabels(String),
    /// The command's id was used with another body.
    CommandIdReused,
    /// The log has moved on from the state that the request was made for.
    Moved(String),
    /// Appends have stopped until an operator acts.
    AppendsStopped(String),
    /// The log cannot be read or written.
    LogUnavailable(String),
    /// The database went away while it wrote: nobody knows yet whether the command was done.
    OutcomeUnknown(String),
    /// The ledger cannot be asked.
    LedgerUnavailable(String),
    /// The gateway cannot be reached.
    GatewayUnavailable(String),
    /// This replica has not reached the wanted position in time.
    PositionNotReached {
        /// The position wanted.
        wanted: u64,
        /// The position reached.
        reached: u64,
    },
    /// A fault of ours; the log line has the details.
    Internal,
}

/// Status, code and title of a problem.
type Row = (StatusCode, &'static str, &'static str);

impl ApiError {
    /// A malformed part of the request.
    pub fn invalid(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Invalid {
            field: field.into(),
            detail: why.to_string(),
        }
    }

    /// The table.
    fn row(&self) -> Row {
        match self {
            Self::UnknownRoute => (
                StatusCode::NOT_FOUND,
                "unknown_route",
                "There is no such route",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The route does not take this method",
            ),
            Self::BadJson(_) => (
                StatusCode::BAD_REQUEST,
                "bad_json",
                "The body is not what the route wants",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body is not declared as JSON",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is too large",
            ),
            Self::Invalid { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "A part of the request is malformed",
            ),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "There is no such thing"),
            Self::Unauthenticated(_) => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Nobody is signed in",
            ),
            Self::Forbidden(_) => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Your role does not allow it",
            ),
            Self::Csrf(_) => (
                StatusCode::FORBIDDEN,
                "csrf",
                "The request may have been forged",
            ),
            Self::TooManySignIns { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_sign_ins",
                "There were too many failed sign-ins",
            ),
            Self::Busy(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too much at this moment",
            ),
            Self::Rejected(rejection) => {
                let RejectionOutcome { code, status, .. } = rejection.outcome();
                (
                    StatusCode::from_u16(status).unwrap_or(StatusCode::CONFLICT),
                    code,
                    "The command was refused",
                )
            }
            Self::CommandIdReused => (
                StatusCode::CONFLICT,
                "command_id_reused",
                "The command's id was used with another body",
            ),
            Self::Document(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_document",
                "The document cannot be applied",
            ),
            Self::SharedLabels(_) => (StatusCode::CONFLICT, "shared_labels", "Keys share a label"),
            Self::Moved(_) => (
                StatusCode::CONFLICT,
                "moved",
                "The configuration has changed meanwhile",
            ),
            Self::AppendsStopped(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "appends_stopped",
                "Commands are refused until an operator acts",
            ),
            Self::LogUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "log_unavailable",
                "The log cannot be reached",
            ),
            Self::OutcomeUnknown(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "outcome_unknown",
                "Nobody knows yet whether the command was done",
            ),
            Self::LedgerUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                "The ledger cannot be asked",
            ),
            Self::GatewayUnavailable(_) => (
                StatusCode::BAD_GATEWAY,
                "gateway_unavailable",
                "The gateway cannot be reached",
            ),
            Self::PositionNotReached { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "position_not_reached",
                "The position was not reached in time",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong on our side",
            ),
        }
    }

    /// What to tell people.
    fn detail(&self) -> String {
        match self {
            Self::UnknownRoute => "GET /api/v1/openapi.json describes all routes.".into(),
            Self::MethodNotAllowed => "The header 'allow' names the methods that it takes.".into(),
            Self::UnsupportedMediaType => "Send 'content-type: application/json'.".into(),
            Self::BodyTooLarge => format!("A body has at most {} KiB.", super::BODY_LIMIT_BYTES / 1024),
            Self::Invalid { detail, .. } => detail.clone(),
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Document(faults) => {
                let told: Vec<_> = faults.iter().map(Fault::to_string).collect();
                told.join("; ")
            }
            Self::NotFound(what) => format!("There is no {what} of this id."),
            Self::Unauthenticated(detail) | Self::Forbidden(detail) => (*detail).into(),
            Self::TooManySignIns { retry_after } => format!("Try again in {retry_after} s."),
            Self::BadJson(detail)
            | Self::Csrf(detail)
            | Self::Busy(detail)
            | Self::SharedLabels(detail)
            | Self::Moved(detail)
            | Self::AppendsStopped(detail)
            | Self::LogUnavailable(detail)
            | Self::OutcomeUnknown(detail)
            | Self::LedgerUnavailable(detail)
            | Self::GatewayUnavailable(detail) => detail.clone(),
            Self::CommandIdReused => {
                "A repeated command must have the very body that it had the first time; use a new id for a new command."
                    .into()
            }
            Self::PositionNotReached { wanted, reached } => {
                format!("Position {wanted} was asked for; this replica has reached {reached}.")
            }
            Self::Internal => "The service's log has the details, under the request id of the answer.".into(),
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some(field.clone()),
            Self::Rejected(rejection) => rejection.outcome().field.map(str::to_owned),
            Self::Document(faults) => faults.first().and_then(|fault| fault.field.clone()),
            Self::UnknownRoute
            | Self::MethodNotAllowed
            | Self::BadJson(_)
            | Self::UnsupportedMediaType
            | Self::BodyTooLarge
            | Self::NotFound(_)
            | Self::Unauthenticated(_)
            | Self::Forbidden(_)
            | Self::Csrf(_)
            | Self::TooManySignIns { .. }
            | Self::Busy(_)
            | Self::CommandIdReused
            | Self::SharedLabels(_)
            | Self::Moved(_)
            | Self::AppendsStopped(_)
            | Self::LogUnavailable(_)
            | Self::OutcomeUnknown(_)
            | Self::LedgerUnavailable(_)
            | Self::GatewayUnavailable(_)
            | Self::PositionNotReached { .. }
            | Self::Internal => None,
        }
    }

    fn faults(&self) -> Vec<DocumentFault> {
        let Self::Document(faults) = self else {
            return Vec::new();
        };
        let fault = |it: &Fault| DocumentFault {
            line: it.line,
            column: it.column,
            field: it.field.clone(),
            message: it.message.clone(),
        };
        faults.iter().map(fault).collect()
    }

    /// Seconds after which another try makes sense.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManySignIns { retry_after } => Some(*retry_after),
            Self::Busy(_)
            | Self::LogUnavailable(_)
            | Self::OutcomeUnknown(_)
            | Self::PositionNotReached { .. } => Some(1),
            Self::AppendsStopped(_) | Self::LedgerUnavailable(_) | Self::GatewayUnavailable(_) => {
                Some(5)
            }
            Self::UnknownRoute
            | Self::MethodNotAllowed
            | Self::BadJson(_)
            | Self::UnsupportedMediaType
            | Self::BodyTooLarge
            | Self::Invalid { .. }
            | Self::NotFound(_)
            | Self::Unauthenticated(_)
            | Self::Forbidden(_)
            | Self::Csrf(_)
            | Self::Rejected(_)
            | Self::Document(_)
            | Self::CommandIdReused
            | Self::SharedLabels(_)
            | Self::Moved(_)
            | Self::Internal => None,
        }
    }

    /// The code, also the metric label.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().1
    }

    /// The document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (status, code, title) = self.row();
        Problem {
            kind: format!("urn:sluice:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail(),
            code: code.to_owned(),
            field: self.field(),
            faults: self.faults(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body =
            serde_json::to_vec(&self.problem()).expect("a problem holds nothing that JSON cannot");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.row().0;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if matches!(self, Self::Unauthenticated(_)) {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sluice\""),
            );
        }
        response
    }
}

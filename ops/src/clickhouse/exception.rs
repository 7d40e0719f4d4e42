//! Errors as ClickHouse's HTTP interface words them: `Code: N. DB::Exception: …`, the code in a
//! header, and the HTTP status that the real server gives to that code.

use http::StatusCode;

/// An error that a client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exception {
    code: u32,
    text: String,
}

/// The errors that this interface raises itself, by their names in ClickHouse's `ErrorCodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    UnexpectedEndOfFile,
    NotImplemented,
    ChecksumDoesntMatch,
    UnknownCompressionMethod,
    SyntaxError,
    UnknownSetting,
    Readonly,
    RequiredPassword,
    TooManySimultaneousQueries,
    QueryIsTooLarge,
    CannotDecompress,
    IntoOutfileNotAllowed,
    SessionNotFound,
    SessionIsLocked,
    InvalidSessionTimeout,
    BadRequestParameter,
    UnknownRole,
    AuthenticationFailed,
    StdException,
}

// === impl Kind ===

impl Kind {
    /// The number and the name.
    fn parts(self) -> (u32, &'static str) {
        match self {
            Self::UnexpectedEndOfFile => (3, "UNEXPECTED_END_OF_FILE"),
            Self::ChecksumDoesntMatch => (40, "CHECKSUM_DOESNT_MATCH"),
            Self::NotImplemented => (48, "NOT_IMPLEMENTED"),
            Self::SyntaxError => (62, "SYNTAX_ERROR"),
            Self::UnknownCompressionMethod => (89, "UNKNOWN_COMPRESSION_METHOD"),
            Self::UnknownSetting => (115, "UNKNOWN_SETTING"),
            Self::Readonly => (164, "READONLY"),
            Self::RequiredPassword => (194, "REQUIRED_PASSWORD"),
            Self::TooManySimultaneousQueries => (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
            Self::QueryIsTooLarge => (229, "QUERY_IS_TOO_LARGE"),
            Self::CannotDecompress => (271, "CANNOT_DECOMPRESS"),
            Self::IntoOutfileNotAllowed => (358, "INTO_OUTFILE_NOT_ALLOWED"),
            Self::SessionNotFound => (372, "SESSION_NOT_FOUND"),
            Self::SessionIsLocked => (373, "SESSION_IS_LOCKED"),
            Self::InvalidSessionTimeout => (374, "INVALID_SESSION_TIMEOUT"),
            Self::BadRequestParameter => (408, "BAD_REQUEST_PARAMETER"),
            Self::UnknownRole => (511, "UNKNOWN_ROLE"),
            Self::AuthenticationFailed => (516, "AUTHENTICATION_FAILED"),
            Self::StdException => (1001, "STD_EXCEPTION"),
        }
    }
}

// === impl Exception ===

impl Exception {
    /// An error of this interface; `message` is a sentence that ends in a full stop.
    pub(super) fn new(kind: Kind, message: impl std::fmt::Display) -> Self {
        let (code, name) = kind.parts();
        Self {
            code,
            text: format!("Code: {code}. DB::Exception: {message} ({name})"),
        }
    }

    /// What the engine said. Some of its paths add the version already; it is taken off here, and
    /// put on again for everyone.
    pub(super) fn of_engine(error: &str) -> Self {
        let error = error.trim_end();
        let text = match error.rfind(" (version ") {
            Some(at) if error.ends_with(')') => &error[..at],
            _ => error,
        };
        let text = text.strip_prefix("Error: ").unwrap_or(text);
        match code_of(text) {
            Some(code) => Self {
                code,
                text: text.to_owned(),
            },
            None => Self::new(Kind::StdException, text),
        }
    }

    /// The number for `X-ClickHouse-Exception-Code`.
    pub(super) fn code(&self) -> u32 {
        self.code
    }

    /// The whole text with the server's version, as it stands in a body.
    pub(super) fn body(&self, version: &str) -> String {
        format!("{} (version {version} (embedded build))\n", self.text)
    }

    /// The status of ClickHouse's `exceptionCodeToHTTPStatus`.
    pub(super) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6
            | 8
            | 15
            | 25..=27
            | 36..=38
            | 41
            | 44
            | 53
            | 62
            | 72
            | 117
            | 123
            | 167
            | 168
            | 223
            | 321
            | 376
            | 427
            | 441
            | 675
            | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => {
                StatusCode::NOT_FOUND
            }
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The end of a body whose rows went out before the error: ClickHouse's own frame (since
    /// 25.11), which clients find by the tag that a header told them.
    pub(super) fn frame(&self, version: &str, tag: &str) -> String {
        let message = self.body(version);
        let length = message.len();
        format!("\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n")
    }
}

fn code_of(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("Code: ")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, code: u32, status: u16, body: &str) {
        let exception = Exception::of_engine(said);
        assert_eq!(
            (exception.code(), exception.status().as_u16()),
            (code, status),
            "{said}"
        );
        assert_eq!(
            exception.body("26.7"),
            format!("{body} (version 26.7 (embedded build))\n")
        );
    }

    #[test]
    fn what_the_engine_says_becomes_code_status_and_text() {
        check(
            "Code: 60. DB::Exception: no t. (UNKNOWN_TABLE)",
            60,
            404,
            "Code: 60. DB::Exception: no t. (UNKNOWN_TABLE)",
        );
        check(
            "Code: 33. DB::Exception: short. (CANNOT_READ_ALL_DATA) (version 26.7.2.1)",
            33,
            500,
            "Code: 33. DB::Exception: short. (CANNOT_READ_ALL_DATA)",
        );
        check(
            "broken",
            1001,
            500,
            "Code: 1001. DB::Exception: broken (STD_EXCEPTION)",
        );
    }

    #[test]
    fn a_late_error_is_framed_with_its_length_and_tag() {
        let frame = Exception::new(Kind::Readonly, "no.").frame("1", "abc");
        let message = "Code: 164. DB::Exception: no. (READONLY) (version 1 (embedded build))\n";
        let length = message.len();
        assert_eq!(
            frame,
            format!("\r\n__exception__\r\nabc\r\n{message}{length} abc\r\n__exception__\r\n")
        );
    }
}

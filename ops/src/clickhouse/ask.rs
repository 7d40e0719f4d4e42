//! What a request asks for, read from its URL and headers.
//!
//! Names of parameters are ClickHouse's own; whatever is not one of them is a setting of the query.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method};
use std::time::Duration;

use super::exception::{Exception, Kind};
use super::ffi::Parameter;

/// How long a session lives unused when its request does not say (`default_session_timeout`).
const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that a request may ask for (`max_session_timeout`).
const MAX_SESSION_TIMEOUT_SECONDS: u64 = 3600;

/// A request apart from its body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    /// The part of the query that stands in the URL.
    pub(super) query: String,
    pub(super) database: Option<String>,
    pub(super) default_format: Option<String>,
    pub(super) query_id: Option<String>,
    pub(super) session: Option<SessionAsk>,
    /// The answer goes out only once it is complete.
    pub(super) wait_end_of_query: bool,
    /// ClickHouse's own compressed blocks, in the answer and in the body.
    pub(super) compress: bool,
    pub(super) decompress: bool,
    /// HTTP's compression of the answer was not turned off.
    pub(super) http_compression: bool,
    /// GET and HEAD change nothing, and neither does whoever may only read.
    pub(super) read_only: bool,
    /// Whoever asks may only read, and change no setting.
    pub(super) confined: bool,
    pub(super) parameters: Vec<Parameter>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) credentials: Credentials,
}

/// A named session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionAsk {
    /// Whose: users do not share sessions.
    pub(super) user: String,
    pub(super) id: String,
    pub(super) timeout: Duration,
    /// It must exist already.
    pub(super) check: bool,
}

/// Who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

// === impl Credentials ===

impl Default for Credentials {
    fn default() -> Self {
        Self {
            user: "default".to_owned(),
            password: String::new(),
        }
    }
}

// === impl Ask ===

impl Ask {
    /// Reads the request's line and headers.
    pub(super) fn read(parts: &Parts) -> Result<Self, Exception> {
        let mut ask = Self {
            http_compression: true,
            read_only: parts.method == Method::GET || parts.method == Method::HEAD,
            database: header(&parts.headers, "x-clickhouse-database"),
            default_format: header(&parts.headers, "x-clickhouse-format"),
            ..Self::default()
        };
        let mut session = SessionFields::default();
        let mut in_url = None;
        for (name, value) in
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            ask.take(&name, value.into_owned(), &mut session, &mut in_url)?;
        }
        ask.credentials = credentials(&parts.headers, in_url)?;
        ask.session = session.ask(&ask.credentials.user)?;
        Ok(ask)
    }

    /// Makes it the question of somebody who may only read.
    pub(super) const fn confine(&mut self) {
        self.read_only = true;
        self.confined = true;
    }

    /// The settings to run with. Whoever may only read has ClickHouse's `readonly = 1`, and no other.
    pub(super) fn take_settings(&mut self) -> Result<Vec<(String, String)>, Exception> {
        let settings = std::mem::take(&mut self.settings);
        if !self.confined {
            return Ok(settings);
        }
        match settings.first() {
            None => Ok(vec![("readonly".to_owned(), "1".to_owned())]),
            Some((name, _)) => Err(Exception::new(
                Kind::Readonly,
                format!("Cannot modify '{name}' setting in readonly mode."),
            )),
        }
    }

    /// Takes the fields of a form for parts of the URL.
    pub(super) fn take_form(&mut self, fields: Vec<(String, Vec<u8>)>) -> Result<(), Exception> {
        for (name, value) in fields {
            let value = String::from_utf8(value).map_err(|_| {
                Exception::new(
                    Kind::BadRequestParameter,
                    format!("The form's field {name} is not UTF-8."),
                )
            })?;
            if name == "query" {
                self.query.push_str(&value);
            } else if let Some(parameter) = name.strip_prefix("param_") {
                self.parameters.push((parameter.to_owned(), value));
            } else {
                self.settings.push((name, value));
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        name: &str,
        value: String,
        session: &mut SessionFields,
        in_url: &mut Option<Credentials>,
    ) -> Result<(), Exception> {
        match name {
            "query" => self.query = value,
            "database" => self.database = Some(value),
            "default_format" => self.default_format = Some(value),
            "query_id" => self.query_id = Some(value),
            "session_id" => session.id = Some(value),
            "session_timeout" => session.timeout = Some(value),
            "session_check" => session.check = is_on(&value),
            "wait_end_of_query" => self.wait_end_of_query = is_on(&value),
            "compress" => self.compress = is_on(&value),
            "decompress" => self.decompress = is_on(&value),
            "enable_http_compression" => self.http_compression = is_on(&value),
            "user" => in_url.get_or_insert_default().user = value,
            "password" => in_url.get_or_insert_default().password = value,
            "role" => {
                let message = format!("There is no role `{value}` in user directories.");
                return Err(Exception::new(Kind::UnknownRole, message));
            }
            // Of no meaning to an embedded engine: buffers, quotas, the native protocol's revision
            // (clients find out by the answer's bytes), and how errors look.
            "buffer_size"
            | "quota_key"
            | "client_protocol_version"
            | "stacktrace"
            | "close_session" => {}
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
        Ok(())
    }
}

/// The parameters about a session, as they come.
#[derive(Default)]
struct SessionFields {
    id: Option<String>,
    timeout: Option<String>,
    check: bool,
}

// === impl SessionFields ===

impl SessionFields {
    fn ask(self, user: &str) -> Result<Option<SessionAsk>, Exception> {
        let Self { id, timeout, check } = self;
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let timeout = match timeout {
            None => DEFAULT_SESSION_TIMEOUT,
            Some(text) => match text.parse() {
                Ok(seconds @ 0..=MAX_SESSION_TIMEOUT_SECONDS) => Duration::from_secs(seconds),
                _ => {
                    let message = format!(
                        "Invalid session timeout '{text}': seconds, at most {MAX_SESSION_TIMEOUT_SECONDS}."
                    );
                    return Err(Exception::new(Kind::InvalidSessionTimeout, message));
                }
            },
        };
        Ok(Some(SessionAsk {
            user: user.to_owned(),
            id,
            timeout,
            check,
        }))
    }
}

/// Headers of ClickHouse's own, then `Authorization: Basic`, then the URL; never two at once.
fn credentials(headers: &HeaderMap, in_url: Option<Credentials>) -> Result<Credentials, Exception> {
    let refused = |message: &str| {
        Exception::new(
            Kind::AuthenticationFailed,
            format!("Invalid authentication: {message}."),
        )
    };
    let user = header(headers, "x-clickhouse-user").filter(|user| !user.is_empty());
    let key = header(headers, "x-clickhouse-key").filter(|key| !key.is_empty());
    let own = (user.is_some() || key.is_some()).then(|| Credentials {
        user: user.unwrap_or_else(|| "default".to_owned()),
        password: key.unwrap_or_default(),
    });
    let basic = match header(headers, AUTHORIZATION.as_str()) {
        None => None,
        Some(value) => {
            Some(basic(&value).ok_or_else(|| refused("only the scheme Basic is supported"))?)
        }
    };
    match (own, basic, in_url) {
        (None, None, None) => Ok(Credentials::default()),
        (Some(one), None, None) | (None, Some(one), None) | (None, None, Some(one)) => Ok(one),
        _ => Err(refused(
            "it is not allowed to use two ways of authentication simultaneously",
        )),
    }
}

fn basic(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

fn is_on(value: &str) -> bool {
    matches!(value, "1" | "true" | "on" | "yes")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn ask(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Ask, Exception> {
        let builder = headers.iter().fold(
            Request::builder().method(method).uri(uri),
            |builder, (name, value)| builder.header(*name, *value),
        );
        Ask::read(&builder.body(()).expect("a good request").into_parts().0)
    }

    #[test]
    fn parameters_settings_and_the_rest_are_told_apart() {
        let ask = ask(
            "POST",
            "/?query=SELECT+1&param_x=a%20b&max_threads=2&session_id=s&session_timeout=5",
            &[],
        )
        .expect("a good request");
        assert_eq!(ask.query, "SELECT 1");
        assert_eq!(ask.parameters, [("x".to_owned(), "a b".to_owned())]);
        assert_eq!(ask.settings, [("max_threads".to_owned(), "2".to_owned())]);
        let session = SessionAsk {
            user: "default".to_owned(),
            id: "s".to_owned(),
            timeout: Duration::from_secs(5),
            check: false,
        };
        assert_eq!(ask.session, Some(session));
        assert!(!ask.read_only);
    }

    #[test]
    fn credentials_come_by_one_way_only() {
        let of = |headers: &[(&str, &str)], uri: &str| {
            ask("GET", uri, headers).map(|ask| ask.credentials)
        };
        let bob = || Credentials {
            user: "bob".to_owned(),
            password: "pw".to_owned(),
        };
        assert_eq!(of(&[], "/"), Ok(Credentials::default()));
        assert_eq!(of(&[("authorization", "Basic Ym9iOnB3")], "/"), Ok(bob()));
        assert_eq!(
            of(
                &[("x-clickhouse-user", "bob"), ("x-clickhouse-key", "pw")],
                "/"
            ),
            Ok(bob())
        );
        assert_eq!(of(&[], "/?user=bob&password=pw"), Ok(bob()));
        assert_eq!(
            of(&[("authorization", "Basic Ym9iOnB3")], "/?user=bob").map_err(|error| error.code()),
            Err(516)
        );
        assert_eq!(
            of(&[("authorization", "Bearer x")], "/").map_err(|error| error.code()),
            Err(516)
        );
    }

    #[test]
    fn whoever_may_only_read_changes_no_setting() {
        let settings = |uri: &str| {
            let mut ask = ask("POST", uri, &[]).expect("a good request");
            ask.confine();
            ask.take_settings().map_err(|error| error.code())
        };
        let read_only = ("readonly".to_owned(), "1".to_owned());
        assert_eq!(settings("/?query=SELECT+1&param_x=1"), Ok(vec![read_only]));
        assert_eq!(settings("/?readonly=0"), Err(164));
        assert_eq!(settings("/?max_threads=2"), Err(164));
    }

    #[test]
    fn a_session_may_not_live_for_ever() {
        let code = |uri: &str| {
            ask("GET", uri, &[])
                .map_err(|error| error.code())
                .map(|_| ())
        };
        assert_eq!(code("/?session_id=s&session_timeout=3601"), Err(374));
        assert_eq!(code("/?session_id=s&session_timeout=x"), Err(374));
    }
}

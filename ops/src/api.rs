//! The control plane's public HTTP API, as this tool uses it: signed in as an operator.

use std::path::{Path, PathBuf};

use events_schema::api::Page;
use events_schema::api::commands::{CommandAnswer, CommandRequest, NewCommand};
use events_schema::api::declared::ApplyRequest;
use events_schema::api::problem::Problem;
use events_schema::api::session::{SessionInfo, SignIn};
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{self, Answer};
use crate::failure::{Doing, Failure, Outcome};
use crate::stack::secrets::Operator;

/// An operator's session.
pub(crate) struct Api {
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Authorities to trust beside the system's.
    ca_file: Option<PathBuf>,
}

/// Why the API refused.
pub(crate) enum Refusal {
    /// It says so in a problem document.
    Problem(Problem),
    /// It says something else.
    Other(String),
}

/// Signing in worked, or this address and password are not known.
pub(crate) enum SignedIn {
    Yes(Api),
    Refused,
}

// === impl Api ===

impl Api {
    /// Signs in at `console`, for example `http://127.0.0.1:7700`; `ca_file` has authorities to trust beside the system's.
    pub(crate) async fn sign_in(
        console: &str,
        ca_file: Option<&Path>,
        operator: &Operator,
    ) -> Outcome<SignedIn> {
        let base = format!("{console}/api/v1");
        let body = to_json(&SignIn {
            email: operator.email.clone(),
            password: operator.password.clone(),
        })?;
        let url = format!("{base}/sessions");
        let answer = client::call_trusting(ca_file, Method::POST, &url, &[], Some(&body)).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Ok(SignedIn::Refused);
        }
        let session: SessionInfo = understood(&answer).doing(|| "signing in".into())?;
        let cookie = answer
            .headers
            .get(SET_COOKIE)
            .and_then(|header| header.to_str().ok())
            .and_then(|header| header.split(';').next())
            .ok_or_else(|| Failure::new("signing in brought no cookie"))?;
        let header =
            |value: &str| HeaderValue::from_str(value).doing(|| "reading the session".into());
        Ok(SignedIn::Yes(Self {
            base,
            headers: vec![
                (COOKIE, header(cookie)?),
                (
                    HeaderName::from_static("x-csrf-token"),
                    header(&session.csrf_token)?,
                ),
            ],
            ca_file: ca_file.map(Path::to_path_buf),
        }))
    }

    /// Shows a token instead of signing in; `ca_file` has authorities to trust beside the system's.
    pub(crate) fn with_token(
        console: &str,
        token: &str,
        ca_file: Option<PathBuf>,
    ) -> Outcome<Self> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"))
            .doing(|| "reading the token".into())?;
        Ok(Self {
            base: format!("{console}/api/v1"),
            headers: vec![(AUTHORIZATION, value)],
            ca_file,
        })
    }

    /// A question with a body below `/api/v1`; the outer result is about the connection.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Outcome<Result<T, Refusal>> {
        let answer = self.call(method, path, Some(&to_json(body)?)).await?;
        if answer.status.is_success() {
            return answer.json().map(Ok);
        }
        Ok(Err(refusal(&answer)))
    }

    /// `GET` of a path below `/api/v1` that answers with text.
    pub(crate) async fn text(&self, path: &str) -> Outcome<String> {
        let answer = self.call(Method::GET, path, None).await?;
        if answer.status.is_success() {
            return Ok(answer.text());
        }
        Err(refusal(&answer).into_failure())
    }

    /// `GET` of a path below `/api/v1`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = self.call(Method::GET, path, None).await?;
        understood(&answer).doing(|| format!("asking for {path}"))
    }

    /// Ends the session, if there is one.
    pub(crate) async fn sign_out(&self) -> Outcome {
        if !self.headers.iter().any(|(name, _)| *name == COOKIE) {
            return Ok(());
        }
        let answer = self.call(Method::DELETE, "/sessions/current", None).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(Failure::new(format!("signing out: {}", answer.status)))
    }

    /// The item of a list that `is_it` accepts.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        list: &str,
        is_it: impl Fn(&T) -> bool,
    ) -> Outcome<Option<T>> {
        let mut cursor = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{list}?limit=100{cursor}")).await?;
            if let Some(found) = page.items.into_iter().find(|item| is_it(item)) {
                return Ok(Some(found));
            }
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(None),
            }
        }
    }

    /// One command as it is; whatever the API says to it.
    pub(crate) async fn try_command(&self, request: &CommandRequest) -> Outcome<Answer> {
        self.call(Method::POST, "/commands", Some(&to_json(request)?))
            .await
    }

    /// A document as it is; whatever the API says to it.
    pub(crate) async fn try_apply(&self, request: &ApplyRequest) -> Outcome<Answer> {
        self.call(Method::POST, "/apply", Some(&to_json(request)?))
            .await
    }

    /// `POST` of nothing to a path below `/api/v1`.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = self.call(Method::POST, path, None).await?;
        understood(&answer).doing(|| format!("asking for {path}"))
    }

    /// One command.
    pub(crate) async fn command(&self, why: &str, command: NewCommand) -> Outcome<CommandAnswer> {
        let request = CommandRequest {
            command_id: None,
            why: Some(why.to_owned()),
            command,
        };
        let answer = self.try_command(&request).await?;
        understood(&answer).doing(|| {
            let name = to_json(&request.command).unwrap_or_default();
            format!("the command {}", name["type"])
        })
    }
}

impl Api {
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Outcome<Answer> {
        let url = format!("{}{path}", self.base);
        client::call_trusting(self.ca_file.as_deref(), method, &url, &self.headers, body).await
    }
}

fn to_json(value: &impl Serialize) -> Outcome<serde_json::Value> {
    serde_json::to_value(value).doing(|| "writing a request".into())
}

/// The answer, or the sentence that the API refused with.
fn understood<T: DeserializeOwned>(answer: &Answer) -> Outcome<T> {
    if answer.status.is_success() {
        return answer.json();
    }
    Err(refusal(answer).into_failure())
}

fn refusal(answer: &Answer) -> Refusal {
    match serde_json::from_slice(&answer.body) {
        Ok(problem) => Refusal::Problem(problem),
        Err(_) => Refusal::Other(format!("{}: {}", answer.status, answer.text())),
    }
}

// === impl Refusal ===

impl Refusal {
    /// As a sentence for the person at the terminal.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Problem(problem) => Failure::new(problem.detail),
            Self::Other(text) => Failure::new(text),
        }
    }
}

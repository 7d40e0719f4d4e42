//! Requests with a session: the cookie comes from the browser, the token against forgery from here.

use std::rc::Rc;

use gloo_net::http::{Method, RequestBuilder, Response};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::JsValue;
use web_sys::AbortSignal;
use yew::prelude::*;

use super::Failure;
use crate::browser;

/// Where the API begins, on the console's own origin.
const BASE: &str = "/api/v1";

/// The header that proves that a request comes from this console's own pages.
const CSRF_HEADER: &str = "x-csrf-token";

/// The headers of an answer that say something to people.
const TOLD_HEADERS: [&str; 6] = [
    "content-type",
    "x-request-id",
    "cache-control",
    "etag",
    "retry-after",
    "allow",
];

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers that say something to people.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body; JSON is laid out for reading.
    pub(crate) body: String,
    /// How long it took, in microseconds.
    pub(crate) took_us: u64,
}

/// Sends requests for one session, or for none yet.
#[derive(Clone, PartialEq)]
pub(crate) struct Client {
    csrf_token: Option<Rc<str>>,
    signed_out: Callback<()>,
}

/// The client of the session above.
#[hook]
pub(crate) fn use_client() -> Client {
    use_context().expect("the screens lie within a session")
}

// === impl Client ===

impl Client {
    /// A client without a session: it can sign in.
    pub(crate) fn anonymous() -> Self {
        Self {
            csrf_token: None,
            signed_out: Callback::noop(),
        }
    }

    /// A client for a session; `signed_out` is called when the control plane no longer knows it.
    pub(crate) fn with_session(csrf_token: &str, signed_out: Callback<()>) -> Self {
        Self {
            csrf_token: Some(csrf_token.into()),
            signed_out,
        }
    }

    /// Reads what `path` (below the API, with its query) shows.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.exchange::<()>(Method::GET, path, None).await?;
        response
            .json()
            .await
            .map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// Reads a text.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let response = self.exchange::<()>(Method::GET, path, None).await?;
        response
            .text()
            .await
            .map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// Reads `url` (of this origin, with its query) and tells the answer whatever it is.
    pub(crate) async fn ask(&self, url: &str) -> Result<Answered, Failure> {
        let begin = browser::now();
        let request = RequestBuilder::new(url).build();
        let request = request.map_err(|error| Failure::Unreadable(error.to_string()))?;
        let response = request.send().await.map_err(|_| Failure::Unreachable)?;
        let text = response
            .text()
            .await
            .map_err(|error| Failure::Unreadable(error.to_string()))?;
        let took = (browser::now() - begin).num_microseconds().unwrap_or(0);
        let headers = response.headers();
        let told = |name: &'static str| Some((name, headers.get(name)?));
        Ok(Answered {
            status: response.status(),
            headers: TOLD_HEADERS.into_iter().filter_map(told).collect(),
            body: laid_out(text),
            took_us: took.max(0).unsigned_abs(),
        })
    }

    /// Sends `body` and reads the answer.
    pub(crate) async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let response = self.exchange(method, path, Some(body)).await?;
        response
            .json()
            .await
            .map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// Sends `body`, when there is one, and does not look at the answer.
    pub(crate) async fn tell<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(), Failure> {
        self.exchange(method, path, body).await.map(drop)
    }

    /// Sends `body` and returns the answer, whatever its status, while it still comes; `signal` cancels it.
    pub(crate) async fn open<B: Serialize>(
        &self,
        path: &str,
        body: &B,
        signal: &AbortSignal,
    ) -> Result<Response, Failure> {
        self.sent(Method::POST, path, Some(body), Some(signal))
            .await
    }

    /// One exchange: an answer that is no success becomes a failure.
    async fn exchange<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Response, Failure> {
        let response = self.sent(method, path, body, None).await?;
        if response.ok() {
            return Ok(response);
        }
        let failure = Failure::from_problem(response.status(), response.json().await.ok());
        if failure == Failure::SignedOut {
            self.signed_out.emit(());
        }
        Err(failure)
    }

    async fn sent<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        signal: Option<&AbortSignal>,
    ) -> Result<Response, Failure> {
        let mut request = RequestBuilder::new(&format!("{BASE}{path}"))
            .method(method)
            .abort_signal(signal);
        if let Some(token) = &self.csrf_token {
            request = request.header(CSRF_HEADER, token);
        }
        let request = match body {
            Some(body) => request.json(body),
            None => request.build(),
        };
        let request = request.map_err(|error| Failure::Unreadable(error.to_string()))?;
        request.send().await.map_err(|_| Failure::Unreachable)
    }
}

/// JSON over several lines, its fields in the order in which they came; anything else as it is.
fn laid_out(text: String) -> String {
    let laid_out = js_sys::JSON::parse(&text).ok().and_then(|value| {
        js_sys::JSON::stringify_with_replacer_and_space(&value, &JsValue::NULL, &2.into()).ok()
    });
    laid_out.map_or(text, String::from)
}

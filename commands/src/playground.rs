//! The way from the console to the gateway: one HTTP client, the console's own key, the answer streamed through.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use events_schema::{address::Address, id::OperatorId};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::{
    causes,
    secrets::SecretText,
    trust::{self, Trust, TrustError},
};

/// How long connecting to the gateway may take.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long the gateway may take to begin its answer: as long as a slow model may think.
const FIRST_BYTE_TIME: Duration = Duration::from_mins(5);

/// The way to the gateway. Cheap to clone.
#[derive(Clone)]
pub struct Playground(Arc<Inner>);

struct Inner {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    key: RwLock<Option<SecretText>>,
}

/// Why the playground could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaygroundError {
    /// The gateway's URL is none.
    #[error("the gateway's URL is not understood: http[s]://host[:port]")]
    Url,
    /// Nobody can be trusted.
    #[error("connecting to the gateway over TLS")]
    Trust(#[from] TrustError),
}

/// Why there is no answer of the gateway.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// There is no key yet.
    #[error("The console has no key for the gateway yet; try again in a moment.")]
    NoKey,
    /// The gateway does not know the console's key.
    #[error(
        "The gateway does not accept the console's key. If this lasts, see whether the virtual account 'sluice-console' or its key was disabled."
    )]
    KeyRefused,
    /// It cannot be reached.
    #[error("The gateway at {0} cannot be reached.")]
    Unreachable(String),
    /// It has not begun to answer.
    #[error("The gateway has not begun to answer within five minutes.")]
    Slow,
}

impl Playground {
    /// The way to the gateway at this base URL.
    ///
    /// # Errors
    /// See [`PlaygroundError`].
    pub fn new(gateway_url: &str, trust: &Trust) -> Result<Self, PlaygroundError> {
        let address: Address = gateway_url.parse().map_err(|_| PlaygroundError::Url)?;
        if !["http", "https"].contains(&address.scheme()) || address.credentials().is_some() {
            return Err(PlaygroundError::Url);
        }
        let base = gateway_url.trim_end_matches('/');
        let url: Uri = format!("{base}/v1/chat/completions")
            .parse()
            .map_err(|_| PlaygroundError::Url)?;
        if address.is_readable_on_the_way() {
            tracing::warn!(gateway = %address, "the console's key can be read on the way to the gateway: use https://");
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME));
        let connector = trust::connector(trust, address.is_encrypted(), connector)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self(Arc::new(Inner {
            client,
            url,
            key: RwLock::new(None),
        })))
    }

    /// From now on with this key.
    pub fn set_key(&self, key: SecretText) {
        *self.0.key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// Sends the body to the gateway in the operator's name, and passes the answer on as it comes. Dropping the
    /// answer's body cancels the request.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn chat_completions(
        &self,
        operator: OperatorId,
        body: Bytes,
    ) -> Result<Response, Unanswered> {
        let key = self
            .0
            .key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(Unanswered::NoKey)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.0.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", key.reveal()))
            .header(
                "x-sluice-metadata",
                format!(r#"{{"operator":"{operator}"}}"#),
            )
            .body(Full::new(body))
            .expect("all parts are valid");
        let answer = tokio::time::timeout(FIRST_BYTE_TIME, self.0.client.request(request)).await;
        let answer = answer.map_err(|_| Unanswered::Slow)?.map_err(|error| {
            let error = causes::told(&error);
            tracing::warn!(error, url = %self.0.url, "the gateway did not answer the playground");
            Unanswered::Unreachable(
                self.0
                    .url
                    .authority()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            )
        })?;
        // To the browser a 401 would say that nobody is signed in.
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(Unanswered::KeyRefused);
        }
        let (parts, body) = answer.into_parts();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = passed_on(&parts.headers);
        Ok(response)
    }
}

/// The headers that the browser gets to see.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        [header::CONTENT_TYPE, header::RETRY_AFTER].contains(name)
            || name == "x-request-id"
            || name.as_str().starts_with("x-sluice-")
            || name.as_str().starts_with("x-ratelimit-")
    };
    let mut passed: HeaderMap = headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    passed.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    passed
}

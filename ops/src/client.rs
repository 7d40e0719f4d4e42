//! A small HTTP client for a stack, and for the API of any deployment.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use crate::failure::{Doing, Failure, Outcome};
use crate::trust;

/// Largest answer that is read.
const MAX_BODY_BYTES: usize = 64 << 20;

/// How long a call may take. A question that waits for a position waits up to 10 s.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// `GET`, without any header of ours, of a server that an authority in `ca_file` may vouch for.
pub(crate) async fn get(url: &str, ca_file: Option<&Path>) -> Outcome<Answer> {
    call_trusting(ca_file, Method::GET, url, &[], None).await
}

/// One call; `body` is JSON.
pub(crate) async fn call(
    method: Method,
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: Option<&serde_json::Value>,
) -> Outcome<Answer> {
    call_trusting(None, method, url, headers, body).await
}

/// The same, to a server that an authority in `ca_file` may vouch for.
pub(crate) async fn call_trusting(
    ca_file: Option<&Path>,
    method: Method,
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: Option<&serde_json::Value>,
) -> Outcome<Answer> {
    let doing = || format!("{method} {url}");
    let mut request = Request::builder().method(method.clone()).uri(url);
    if let Some(map) = request.headers_mut() {
        map.extend(headers.iter().cloned());
        if body.is_some() {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
    }
    let bytes = body
        .map(|json| Bytes::from(json.to_string()))
        .unwrap_or_default();
    let request = request.body(Full::new(bytes)).doing(doing)?;

    let exchange = async {
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build(trust::connector(url, ca_file)?);
        let (parts, body) = client.request(request).await.doing(doing)?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .doing(doing)?
            .to_bytes();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    };
    match tokio::time::timeout(CALL_WITHIN, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::new(format!(
            "{} did not answer within {} s",
            doing(),
            CALL_WITHIN.as_secs()
        ))),
    }
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, when the status is 2xx.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Outcome<T> {
        if !self.status.is_success() {
            return Err(Failure::new(format!("{}: {}", self.status, self.text())));
        }
        serde_json::from_slice(&self.body).doing(|| "reading an answer".into())
    }
}

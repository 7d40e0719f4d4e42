//! `/api/v1/playground`: requests to models from the console, through the gateway.

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::value::RawValue;

use crate::{
    auth::Caller,
    http::{App, BODY_LIMIT_BYTES, app::Answer, problem::ApiError},
};

/// Chat with a model
///
/// The body goes to the gateway's `/v1/chat/completions` as it is, with the console's own key; the answer comes back
/// as it is, streamed where it streams, with the gateway's `x-request-id` and `x-sluice-*` headers. Errors of the
/// gateway keep OpenAI's shape and their status. Whoever goes away cancels the request.
#[utoipa::path(post, path = "/playground/chat/completions", tag = "playground", operation_id = "playground_chat",
    request_body(content = Object, description = "As for OpenAI's `/v1/chat/completions`."),
    responses((status = 200, description = "The gateway's answer: JSON, or server-sent events.", body = Object),
        (status = 502, description = "The gateway cannot be reached: `gateway_unavailable`.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn chat_completions(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = json(&headers, body).await?;
    let playground = &app.parts().playground;
    playground
        .chat_completions(caller.operator, body)
        .await
        .map_err(|error| ApiError::GatewayUnavailable(error.to_string()))
}

/// The body, when it is JSON: every byte of it, for the gateway to read.
async fn json(headers: &HeaderMap, body: Body) -> Answer<Bytes> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if media_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(ApiError::UnsupportedMediaType);
    }
    let body = Limited::new(body, BODY_LIMIT_BYTES)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                ApiError::BodyTooLarge
            } else {
                ApiError::BadJson("The body ended before its end.".into())
            }
        })?;
    let body = body.to_bytes();
    serde_json::from_slice::<&RawValue>(&body)
        .map_err(|error| ApiError::BadJson(format!("This is no JSON: {error}.")))?;
    Ok(body)
}

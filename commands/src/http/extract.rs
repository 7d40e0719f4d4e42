//! Parts of requests, each refused with a problem document: JSON bodies, queries, ids in paths.

use std::str::FromStr;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::problem::ApiError;

/// A JSON body. Says where the JSON is wrong.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// The query. Says which parameter is wrong.
#[derive(Debug)]
pub struct Params<T>(pub T);

/// The one id in the path. What is no id names nothing, and is answered with `None`.
#[derive(Debug)]
pub struct PathId<T>(pub Option<T>);

// === impl Json ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(ApiError::UnsupportedMediaType),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::BodyTooLarge)
            }
            Err(rejection) => Err(ApiError::BadJson(rejection.body_text())),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

// === impl Params ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Self(params))
            .map_err(|rejection| query_error(&rejection.body_text()))
    }
}

/// axum words it `Failed to deserialize query string: <parameter>: <why>`, without a parameter when it is unknown.
fn query_error(text: &str) -> ApiError {
    let why = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(text);
    match why.split_once(": ") {
        Some((parameter, why)) if !parameter.contains(' ') => ApiError::invalid(parameter, why),
        Some(_) | None => ApiError::invalid("query", why),
    }
}

// === impl PathId ===

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::UnknownRoute)?;
        Ok(Self(text.parse().ok()))
    }
}

impl<T> PathId<T> {
    /// The id, or that there is no such thing.
    ///
    /// # Errors
    /// When the text in the path was no id.
    pub fn of(self, what: &'static str) -> Result<T, ApiError> {
        self.0.ok_or(ApiError::NotFound(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_named() {
        let check = |text: &str, field: &str| match query_error(text) {
            ApiError::Invalid { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other:?}"),
        };
        check(
            "Failed to deserialize query string: limit: invalid digit found in string",
            "limit",
        );
        check(
            "Failed to deserialize query string: unknown field `x`, expected `y`",
            "query",
        );
    }
}

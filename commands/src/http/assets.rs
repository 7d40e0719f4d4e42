//! The console's files: `index.html` for every path that is no file, precompressed files where they are, hashed
//! names cached for ever, and a policy under which the page can load nothing but its own.

use std::path::Path;

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use tower::ServiceExt as _;
use tower_http::services::{ServeDir, ServeFile};

use super::problem::ApiError;

/// What the console's page may do. PatternFly and the charts set styles on elements from script, which `style-src`
/// does not govern; WebAssembly needs `wasm-unsafe-eval`.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; font-src 'self'; manifest-src 'self'; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'self'";

const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Sluice</title>\
    <h1>Sluice</h1><p>The console was not built: start this service with <code>--assets-dir</code>, \
    or let <code>cargo ops up</code> build and serve it. The API is at \
    <a href=/api/v1/openapi.json>/api/v1/openapi.json</a>.</p>";

/// Serves the console from `dir`, or a page that says that there is none.
pub fn router<S: Clone + Send + Sync + 'static>(dir: Option<&Path>) -> Router<S> {
    let router = match dir {
        None => Router::new().fallback(async || Html(NOT_BUILT)),
        Some(dir) => {
            let index = ServeFile::new(dir.join("index.html")).precompressed_gzip();
            let files = ServeDir::new(dir)
                .precompressed_gzip()
                .append_index_html_on_directories(true);
            Router::new()
                .fallback(async move |request: Request| file_or_page(files, index, request).await)
        }
    };
    router.layer(middleware::from_fn(with_policy))
}

async fn file_or_page(files: ServeDir, index: ServeFile, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = ApiError::MethodNotAllowed.into_response();
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path().to_owned();
    let mut again = Request::new(Body::empty());
    (*again.method_mut(), *again.headers_mut()) =
        (request.method().clone(), request.headers().clone());
    let Ok(found) = files.oneshot(request).await;
    // A path with a dot names a file; any other is one of the console's screens.
    let is_screen = found.status() == StatusCode::NOT_FOUND
        && !path.rsplit('/').next().unwrap_or_default().contains('.');
    let mut response = if is_screen {
        let Ok(page) = index.oneshot(again).await;
        page.into_response()
    } else if found.status() == StatusCode::NOT_FOUND {
        ApiError::UnknownRoute.into_response()
    } else {
        found.into_response()
    };
    let caching = if is_hashed(&path) && response.status().is_success() {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// Whether the file may be kept for ever: the build puts everything below `assets/` into folders named by a hash.
fn is_hashed(path: &str) -> bool {
    path.starts_with("/assets/")
}

async fn with_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(PAGE_POLICY),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_assets_is_kept_for_ever() {
        assert!(is_hashed("/assets/console-0a1b2c3d4e5f/console.js"));
        assert!(!is_hashed("/index.html"));
        assert!(!is_hashed("/keys"));
    }
}

//! What the gateway reads of a request: a few fields of its body, and metadata from its headers.
//!
//! The body is scanned once and never serialised again: what goes to the provider is the caller's own bytes, but for
//! the value of `model` and, on streams, the wish for usage. Fields that the gateway does not know pass untouched. Only
//! where a target's routing replaces members of the body is it written anew.

pub mod metadata;
pub mod replace;
pub mod rewrite;
pub mod scan;
mod weight;
pub mod wish;

use http::HeaderMap;

pub use rewrite::{Body, rewrite};
pub use scan::{AnswerSize, Malformed, Scan, UsageWish, scan};
pub use weight::weight;

/// Whether a header is addressed to the gateway itself. Most requests have none, and need not be asked for each of them.
fn are_for_the_gateway(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        name.starts_with("x-sluice-") || name.starts_with("x-tfy-")
    })
}

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

pub use rewrite::{Body, rewrite};
pub use scan::{Answer, Malformed, Scan, UsageWish, scan};
pub use weight::weight;

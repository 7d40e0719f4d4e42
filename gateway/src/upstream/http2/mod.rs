//! HTTP/2 to providers (RFC 9113): many requests at once on one connection.
//!
//! - [`link`]: a connection, driven by a task of its own, and how it is found to be dead;
//! - [`stream`]: one request on it, and its answer piece by piece.
//!
//! Which connection a request goes over, and when another one is made, is [`super::pool`]'s to say. The framing is the
//! `h2` crate's.

pub mod link;
pub mod stream;

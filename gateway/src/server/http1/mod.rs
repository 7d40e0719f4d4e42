//! HTTP/1.1 as callers speak it (RFC 9112), one request after the other on each connection.
//!
//! A connection and the request that is under way on it are one future: what waits for the body is polled when some of it has
//! come, and no queue and no wake-up lies between them.
//!
//! - [`head`]: a request's head, read. [`answer`]: an answer's head and framing, written. Both pure.
//! - [`outbox`]: what is to be written.
//! - `connection`: one request after the other.

pub mod answer;
mod connection;
pub mod head;
pub mod outbox;

pub use self::connection::serve;

//! OpenTelemetry traces: a span for each request, one below it for each attempt, told to a collector over OTLP.
//!
//! - [`context`]: W3C Trace Context, in and out;
//! - [`traced`]: what a request's spans need beside its record;
//! - [`spans`]: spans made from a record. Pure;
//! - [`otlp`]: the messages of the protocol;
//! - [`export`]: batches on their way to the collector.
//!
//! Without a collector nothing of this happens, and a caller's headers pass as all others do. With one, the request path
//! draws ids and rewrites one header; spans are made by the recorder's thread, from the record, once it is finished.

pub mod context;
pub mod export;
pub mod otlp;
pub mod spans;
pub mod traced;

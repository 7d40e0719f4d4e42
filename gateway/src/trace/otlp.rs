//! The messages of OTLP that a collector of traces is sent and answers, as far as a gateway fills or reads them: numbers and
//! types of the fields as in `opentelemetry-proto` 1.x (`trace.proto`, `common.proto`, `resource.proto`, and the service's).
//!
//! The crate that has them generated also brings OpenTelemetry's API and its SDK, of which nothing is used here.

use prost::{Enumeration, Message, Oneof};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    /// Spans by who made them.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// The spans of one resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    /// Who made them.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// By the scope of what made them.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// Who makes spans.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What tells it from others.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// The spans of one scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    /// The scope.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The spans.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// `InstrumentationScope`: the part of a program that makes spans.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A span.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// The trace: 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// The span: 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// The W3C's `tracestate`.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// The span above it: 8 bytes; none, when the trace begins here.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// What it is called.
    #[prost(string, tag = "5")]
    pub name: String,
    /// On which side of a call it lies.
    #[prost(enumeration = "SpanKind", tag = "6")]
    pub kind: i32,
    /// When it began, in nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// When it ended, in nanoseconds since 1970.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// What there is to say of it.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// How it ended.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    /// The lowest byte has the W3C's flags, the two bits above it whether the parent is another process'.
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// On which side of a call a span lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum SpanKind {
    /// Nothing is said.
    Unspecified = 0,
    /// On the side that is asked.
    Server = 2,
    /// On the side that asks.
    Client = 3,
}

/// How a span ended.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// Whether it failed.
    #[prost(enumeration = "StatusCode", tag = "3")]
    pub code: i32,
}

/// Whether a span failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum StatusCode {
    /// Nothing is said: it did not.
    Unset = 0,
    /// It did.
    Error = 2,
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// It.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    pub value: Option<Value>,
}

/// A value of one of the types that attributes have here.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// Yes or no.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// Any number.
    #[prost(double, tag = "4")]
    Double(f64),
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// What was not taken; `None`: all was.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many spans were not taken.
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

/// An attribute.
pub fn attribute(key: &str, value: impl Into<Value>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(value.into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the crate `opentelemetry-proto` 0.33, which is generated from the protocol's own files, writes the same message.
    const REQUEST: &[&str] = &[
        "0abd010a220a200a0c736572766963652e6e616d6512100a0e736c756963652d676174657761791296010a0b0a06736c7569",
        "63651201311286010a1001010101010101010101010101010101120802020202020202021a03613d62220803030303030303",
        "032a06636861742078300339e80300000000000041d0070000000000004a080a017412030a01784a070a0162120210014a10",
        "0a0169120b18f9ffffffffffffffff014a0e0a0164120921000000000000e03f7a021802850101030000",
    ];
    /// The same of an answer.
    const ANSWER: &str = "0a06080312026e6f";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn messages_are_those_of_the_protocol() {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "a=b".into(),
            parent_span_id: vec![3; 8],
            name: "chat x".into(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: 1_000,
            end_time_unix_nano: 2_000,
            attributes: vec![
                attribute("t", "x"),
                attribute("b", true),
                KeyValue {
                    key: "i".into(),
                    value: Some(AnyValue {
                        value: Some(Value::Int(-7)),
                    }),
                },
                attribute("d", 0.5),
            ],
            status: Some(Status {
                code: StatusCode::Error.into(),
            }),
            flags: 0x301,
        };
        let request = ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![attribute("service.name", "sluice-gateway")],
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: "sluice".into(),
                        version: "1".into(),
                    }),
                    spans: vec![span],
                }],
            }],
        };
        assert_eq!(hex(&request.encode_to_vec()), REQUEST.concat());
        let answer = ExportResponse {
            partial_success: Some(PartialSuccess {
                rejected_spans: 3,
                error_message: "no".into(),
            }),
        };
        assert_eq!(hex(&answer.encode_to_vec()), ANSWER);
    }
}

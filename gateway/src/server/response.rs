//! Answers to callers: their bodies, and the headers that the gateway adds.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use arrayvec::ArrayVec;
use bytes::Bytes;
use events_schema::money::NanoUsd;
use gateway_policy::{Measure, Standing};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body::{Frame, SizeHint};
use uuid::Uuid;

use super::passing::Passing;
use crate::{
    digits::Decimal,
    endpoint::{Dialect, anthropic},
    exchange::Exchange,
    failure::Failure,
    limits::{Stood, Stoods},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const X_SLUICE_POSITION: HeaderName = HeaderName::from_static("x-sluice-position");
/// Not OpenAI's names: clients take `x-ratelimit-*-requests` for requests in a time, and wait for its end.
const X_SLUICE_CONCURRENCY_LIMIT: HeaderName =
    HeaderName::from_static("x-sluice-concurrency-limit");
const X_SLUICE_CONCURRENCY_REMAINING: HeaderName =
    HeaderName::from_static("x-sluice-concurrency-remaining");
const X_SLUICE_TARGET: HeaderName = HeaderName::from_static("x-sluice-target");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer to a caller.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, but for those of `own`.
    pub headers: HeaderMap,
    /// What the gateway says beside what the provider said.
    pub own: Option<OwnHeaders>,
    /// Its body.
    pub body: Body,
    /// The request, where it is settled and its record is yet to be made: dropped when as much of the answer is out as can
    /// be written at once, so that no caller waits for that.
    pub told_behind: Option<Box<Exchange>>,
}

impl From<Answer> for Response<Body> {
    fn from(answer: Answer) -> Self {
        let Answer {
            status,
            mut headers,
            own,
            body,
            told_behind: _,
        } = answer;
        if let Some(own) = own {
            own.tell(&mut headers);
        }
        let mut response = Self::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// A body for a caller.
pub enum Body {
    /// All of it is here.
    Whole(Bytes),
    /// It passes through, piece by piece.
    Passing(Box<Passing>),
}

/// The body broke off where nothing more can be said in it: the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider broke off in the middle of its answer")]
pub struct BrokenOff;

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passing(passing) => passing
                .poll_next(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Passing(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Passing(_) => SizeHint::default(),
        }
    }
}

/// The headers that the gateway adds to the answer of a request for a model.
#[derive(Debug, Clone)]
pub struct OwnHeaders {
    /// In whose API the answer is.
    pub dialect: Dialect,
    /// The request's id.
    pub id: Uuid,
    /// The position of the configuration that decided.
    pub position: u64,
    /// Who answered.
    pub target: Option<String>,
    /// How limits stand, once they were asked.
    pub stood: Stoods,
    /// How the budget stands that decides.
    pub budget: Stoods,
}

/// Where headers are told: among others, where they take the place of those that are called the same, or on the wire.
pub trait Headers {
    /// One more; the value can stand in a header.
    fn tell(&mut self, name: &HeaderName, value: &[u8]);
}

impl Headers for HeaderMap {
    fn tell(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.insert(name, value);
        }
    }
}

/// A value that is written where it is needed.
type Value = ArrayVec<u8, 48>;

impl OwnHeaders {
    /// Tells them: the request's id, the position of the configuration that decided, who answered, and how limits stand.
    pub fn tell(&self, headers: &mut impl Headers) {
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = self.id.as_hyphenated().encode_lower(&mut id).as_bytes();
        match self.dialect {
            Dialect::OpenAi => {}
            Dialect::Anthropic => headers.tell(&anthropic::REQUEST_ID, id),
        }
        headers.tell(&X_REQUEST_ID, id);
        headers.tell(&X_SLUICE_POSITION, Decimal::of(self.position).as_bytes());
        if let Some(target) = &self.target {
            headers.tell(&X_SLUICE_TARGET, target.as_bytes());
        }
        for stood in self.stood.iter().flatten() {
            if stood.at_a_time {
                let Standing {
                    most, remaining, ..
                } = stood.standing;
                let (limit, left) = (Decimal::of(most), Decimal::of(remaining));
                headers.tell(&X_SLUICE_CONCURRENCY_LIMIT, limit.as_bytes());
                headers.tell(&X_SLUICE_CONCURRENCY_REMAINING, left.as_bytes());
            } else {
                tell_standing(headers, names(stood.measure), *stood);
            }
        }
        for stood in self.budget.iter().flatten() {
            tell_standing(headers, budget_names(stood.measure), *stood);
        }
    }
}

fn tell_standing(headers: &mut impl Headers, names: &[HeaderName; 3], stood: Stood) {
    let [limit, remaining, reset] = names;
    let Standing {
        most,
        remaining: left,
        reset_us,
    } = stood.standing;
    headers.tell(limit, &amount(stood.measure, most));
    headers.tell(remaining, &amount(stood.measure, left));
    headers.tell(reset, &seconds(reset_us));
}

/// Dollars with all their decimals, or a whole number.
fn amount(measure: Measure, amount: u64) -> Value {
    match measure {
        Measure::Requests | Measure::Tokens => written([Decimal::of(amount).as_bytes()]),
        Measure::Cost => written([NanoUsd::new(amount).to_dollars().as_bytes()]),
    }
}

/// Parts that stand together. What has no room is left out: numbers and times have some 25 characters at most.
fn written<const PARTS: usize>(parts: [&[u8]; PARTS]) -> Value {
    let mut text = Value::new();
    for part in parts {
        let _fits = text.try_extend_from_slice(part);
    }
    text
}

/// OpenAI's names for limit, remaining and reset.
const fn names(measure: Measure) -> &'static [HeaderName; 3] {
    static REQUESTS: [HeaderName; 3] = [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ];
    static TOKENS: [HeaderName; 3] = [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ];
    match measure {
        Measure::Requests => &REQUESTS,
        // No rate limit counts money.
        Measure::Tokens | Measure::Cost => &TOKENS,
    }
}

/// The same of budgets.
const fn budget_names(measure: Measure) -> &'static [HeaderName; 3] {
    static TOKENS: [HeaderName; 3] = [
        HeaderName::from_static("x-sluice-budget-limit-tokens"),
        HeaderName::from_static("x-sluice-budget-remaining-tokens"),
        HeaderName::from_static("x-sluice-budget-reset-tokens"),
    ];
    static COST: [HeaderName; 3] = [
        HeaderName::from_static("x-sluice-budget-limit-usd"),
        HeaderName::from_static("x-sluice-budget-remaining-usd"),
        HeaderName::from_static("x-sluice-budget-reset-usd"),
    ];
    match measure {
        // No budget counts requests.
        Measure::Tokens | Measure::Requests => &TOKENS,
        Measure::Cost => &COST,
    }
}

/// A duration as OpenAI writes it: `17.5s`, rounded up to milliseconds.
fn seconds(micros: u64) -> Value {
    let millis = micros.div_ceil(1_000);
    // With a digit before them, so that none is missing.
    let (seconds, rest) = (millis / 1_000, 1_000 + millis % 1_000);
    let (seconds, rest) = (Decimal::of(seconds), Decimal::of(rest));
    match &rest.as_bytes()[1..] {
        b"000" => written([seconds.as_bytes(), b"s"]),
        rest => written([seconds.as_bytes(), b".", rest, b"s"]),
    }
}

fn id_value(id: Uuid) -> HeaderValue {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = id.as_hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// The request's id, where the API's clients look for it.
fn add_id(headers: &mut HeaderMap, dialect: Dialect, id: Uuid) {
    let value = id_value(id);
    match dialect {
        Dialect::OpenAi => {}
        Dialect::Anthropic => drop(headers.insert(anthropic::REQUEST_ID, value.clone())),
    }
    headers.insert(X_REQUEST_ID, value);
}

/// The answer that says what failed. `model` is the name that the request gave.
#[must_use]
pub fn failed(failure: &Failure, dialect: Dialect, model: &str, id: Uuid) -> Answer {
    let body = dialect.error(failure, model, id);
    let mut answer = json(dialect.status(failure), body);
    let headers = &mut answer.headers;
    add_id(headers, dialect, id);
    if let Some(seconds) = failure.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if failure.is_final() {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if failure.row().status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, body: Bytes) -> Answer {
    with_type(status, JSON, body)
}

/// An answer in plain text.
#[must_use]
pub fn text(status: StatusCode, body: String) -> Answer {
    with_type(
        status,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        body.into(),
    )
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, body.len().into());
    Answer {
        status,
        headers,
        own: None,
        body: Body::Whole(body),
        told_behind: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        let check = |micros, expected: &str| assert_eq!(*seconds(micros), *expected.as_bytes());
        check(0, "0s");
        check(60_000_000, "60s");
        check(17_500_000, "17.500s");
        check(1, "0.001s");
    }
}

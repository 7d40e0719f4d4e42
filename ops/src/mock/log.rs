//! What the mock remembers for tests: the last requests, and counters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use super::plan::{Answer, Plan};

/// The requests that were seen and how they ended.
pub(super) struct Log {
    kept: usize,
    inner: Mutex<Inner>,
    finished: AtomicU64,
    abandoned: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

#[derive(Default)]
struct Inner {
    requests: u64,
    streams: u64,
    statuses: BTreeMap<u16, u64>,
    last: VecDeque<Request>,
}

/// One request as it came.
struct Request {
    number: u64,
    head: Parts,
    body: Bytes,
}

/// One call on its way; dropped before it is complete, it counts as abandoned by the client.
pub(super) struct Call {
    log: Arc<Log>,
    complete: bool,
}

// === impl Log ===

impl Log {
    /// Keeps so many requests.
    pub(super) fn keeping(kept: usize) -> Arc<Self> {
        Arc::new(Self {
            kept,
            inner: Mutex::default(),
            finished: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            input_tokens: AtomicU64::new(0),
            output_tokens: AtomicU64::new(0),
        })
    }

    /// Remembers a request and what it will be answered.
    pub(super) fn begin(self: &Arc<Self>, head: Parts, body: Bytes, plan: &Plan) -> Call {
        let mut inner = self.lock();
        inner.requests += 1;
        inner.streams += u64::from(matches!(plan.answer, Answer::Stream { .. }));
        *inner.statuses.entry(plan.status.as_u16()).or_default() += 1;
        if self.kept > 0 {
            if inner.last.len() == self.kept {
                inner.last.pop_front();
            }
            let number = inner.requests;
            inner.last.push_back(Request { number, head, body });
        }
        drop(inner);
        let input = plan.charged.input;
        self.input_tokens.fetch_add(input, Ordering::Relaxed);
        Call {
            log: Arc::clone(self),
            complete: false,
        }
    }

    /// Forgets the requests; the counters stay.
    pub(super) fn forget(&self) {
        self.lock().last.clear();
    }

    /// The last requests, oldest first.
    pub(super) fn requests(&self) -> Value {
        self.lock().last.iter().map(Request::document).collect()
    }

    /// The counters.
    pub(super) fn stats(&self) -> Value {
        let inner = self.lock();
        let statuses: BTreeMap<String, u64> = inner
            .statuses
            .iter()
            .map(|(status, count)| (status.to_string(), *count))
            .collect();
        let finished = self.finished.load(Ordering::Relaxed);
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        let input_tokens = self.input_tokens.load(Ordering::Relaxed);
        let output_tokens = self.output_tokens.load(Ordering::Relaxed);
        json!({
            "requests": inner.requests,
            "streams": inner.streams,
            "statuses": statuses,
            "finished": finished,
            "abandoned": abandoned,
            "open": inner.requests.saturating_sub(finished + abandoned),
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Request ===

impl Request {
    fn document(&self) -> Value {
        let headers: Vec<Value> = self
            .head
            .headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect();
        json!({
            "number": self.number,
            "method": self.head.method.as_str(),
            "path": self.head.uri.path(),
            "headers": headers,
            "body": String::from_utf8_lossy(&self.body),
        })
    }
}

// === impl Call ===

impl Call {
    /// So many tokens of the answer were sent.
    pub(super) fn says(&self, tokens: u64) {
        self.log.output_tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// The answer was sent as planned.
    pub(super) fn complete(&mut self) {
        if !self.complete {
            self.complete = true;
            self.log.finished.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.complete {
            self.log.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

//! Counts of requests, for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::Method;

/// Upper bounds of the buckets of durations, in milliseconds.
const BUCKETS_MS: [u64; 9] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// Counts by method, route and status. Routes are those of the router, so the memory is bounded.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<BTreeMap<(String, String, u16), Counted>>);

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    requests: u64,
    micros: u64,
    at_most: [u64; BUCKETS_MS.len()],
}

impl Metrics {
    /// Counts a request.
    pub fn count(&self, method: &Method, route: &str, status: u16, took: Duration) {
        // Methods are free text too.
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
        ];
        let method = if known.contains(method) {
            method.as_str()
        } else {
            "OTHER"
        };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counts
            .entry((method.to_owned(), route.to_owned(), status))
            .or_default();
        counted.requests += 1;
        counted.micros = counted.micros.saturating_add(micros);
        for (bucket, bound) in counted.at_most.iter_mut().zip(BUCKETS_MS) {
            *bucket += u64::from(micros <= bound * 1_000);
        }
    }

    /// The counts in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let counts = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut text = String::from(
            "# HELP sluice_http_request_duration_seconds Time to the beginning of the answer.\n\
             # TYPE sluice_http_request_duration_seconds histogram\n",
        );
        for ((method, route, status), counted) in counts {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let name = "sluice_http_request_duration_seconds";
            for (at_most, bound) in counted.at_most.iter().zip(BUCKETS_MS) {
                let seconds = Duration::from_millis(bound).as_secs_f64();
                writeln!(text, "{name}_bucket{{{labels},le=\"{seconds}\"}} {at_most}")
                    .expect("a String takes it");
            }
            let Counted {
                requests, micros, ..
            } = counted;
            let seconds = Duration::from_micros(micros).as_secs_f64();
            writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {requests}")
                .expect("a String takes it");
            writeln!(text, "{name}_sum{{{labels}}} {seconds}").expect("a String takes it");
            writeln!(text, "{name}_count{{{labels}}} {requests}").expect("a String takes it");
        }
        text
    }
}

/// One counter in Prometheus' text format; its name ends with `_total`.
#[must_use]
pub fn counter(name: &str, help: &str, value: u64) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n")
}

/// One gauge in Prometheus' text format.
#[must_use]
pub fn gauge(name: &str, help: &str, value: u64) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = Metrics::default();
        metrics.count(&Method::GET, "/api/v1/keys", 200, Duration::from_millis(2));
        metrics.count(&Method::GET, "/api/v1/keys", 200, Duration::from_millis(20));
        let text = metrics.text();
        let labels = "method=\"GET\",route=\"/api/v1/keys\",status=\"200\"";
        assert!(
            text.contains(&format!("_bucket{{{labels},le=\"0.003\"}} 1\n")),
            "{text}"
        );
        assert!(text.contains(&format!("_count{{{labels}}} 2\n")), "{text}");
        assert!(
            text.contains(&format!("_sum{{{labels}}} 0.022\n")),
            "{text}"
        );
    }
}

//! What the gateway counts about itself: the source of `/metrics` and of the state report.
//!
//! Each worker thread counts in cells of its own, so that counting never makes two cores wait for each other; readers
//! add them up. All labels are from closed sets of our own, so nobody can make the number of series grow.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use events_schema::usage::{Circuit, Endpoint, Outcome};

use crate::{health::Told, places::Bound, report::Figures};

/// Upper bounds of the histograms' buckets, in microseconds.
const BUCKETS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000, 20_000_000, 60_000_000,
];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// What it stands at.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// What it stands at.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Durations, counted by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, micros: u64) {
        let at = BUCKETS_US.partition_point(|bound| *bound < micros);
        self.buckets[at].add(1);
        self.sum_us.add(micros);
    }
}

/// What one worker thread counts.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    by_endpoint: [[Counter; Outcome::ALL.len()]; Endpoint::ALL.len()],
    /// Requests under way.
    pub in_flight: Gauge,
    /// Connections from callers.
    pub connections: Gauge,
    /// Tokens that requests used: input.
    pub input_tokens: Counter,
    /// Tokens that requests used: output.
    pub output_tokens: Counter,
    /// Attempts at another target after one that failed.
    pub fallbacks: Counter,
    /// Attempts at the same target again.
    pub retries: Counter,
    /// Attempts at another target beside one that had not answered yet.
    pub hedges: Counter,
    /// Connections made to providers.
    pub upstream_connections: Counter,
    /// Requests sent again because the provider was closing the connection, or said that it had done nothing about them.
    pub upstream_resent: Counter,
    /// Requests without a key that works, of which there were too many to record each.
    pub unrecorded: Counter,
    /// Requests that were refused because as many of their key were under way as may be.
    pub crowded_out_of_key: Counter,
    /// Requests that were refused because as many of all keys were under way as may be.
    pub crowded_out_of_gateway: Counter,
    /// Decisions in which a request was not counted for all that concerns it, since that was more than there is room for.
    pub uncounted_limits: Counter,
    /// Requests, and attempts, that waited for the lease of a budget.
    pub lease_waits: Counter,
    /// From arrival to the last byte.
    pub duration: Histogram,
    /// From arrival to the beginning of the first attempt.
    pub before_upstream: Histogram,
}

impl WorkerMetrics {
    /// Counts a request that has ended.
    pub fn ended(&self, endpoint: Endpoint, outcome: Outcome, duration_us: u64) {
        self.by_endpoint[endpoint_index(endpoint)][outcome_index(outcome)].add(1);
        self.duration.observe(duration_us);
    }
}

/// What the recording counts.
#[derive(Debug, Default)]
pub struct RecordMetrics {
    /// Records that wait in memory.
    pub in_ring: Gauge,
    /// Bytes that wait on disk.
    pub spool_bytes: Gauge,
    /// Records that NATS has acknowledged.
    pub sent: Counter,
    /// Records dropped because the ring was full.
    pub dropped_ring: Counter,
    /// Records dropped because the spool was full or could not be written.
    pub dropped_spool: Counter,
    /// Records whose tokens stay estimates by length because too many waited to be counted.
    pub uncounted: Counter,
}

/// What the telling of spans counts.
#[derive(Debug, Default)]
pub struct SpanMetrics {
    /// Spans that the collector has taken.
    pub exported: Counter,
    /// Spans dropped because too many waited for the collector.
    pub dropped_queue: Counter,
    /// Spans dropped because the collector did not take them.
    pub dropped_collector: Counter,
}

/// What the telling of limits and budgets counts.
#[derive(Debug, Default)]
pub struct LimitMetrics {
    /// Messages to the projections that could not be sent.
    pub unsent: Counter,
}

/// Everything that a gateway counts.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    /// What the recording counts.
    pub record: RecordMetrics,
    /// What the telling of spans counts.
    pub spans: SpanMetrics,
    /// What the telling of limits and budgets counts.
    pub limits: LimitMetrics,
}

/// What `/metrics` says about the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving {
    /// The position served.
    pub position: u64,
    /// Entries in the view.
    pub entries: u64,
    /// Whether requests can be answered.
    pub ready: bool,
    /// Whether no heartbeat has agreed with the entries.
    pub unproven: bool,
    /// Entries and heartbeats that were refused since the start.
    pub refused: u64,
}

impl Metrics {
    /// With cells for this many worker threads.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            record: RecordMetrics::default(),
            spans: SpanMetrics::default(),
            limits: LimitMetrics::default(),
        }
    }

    /// The cells of one worker thread.
    #[must_use]
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index])
    }

    /// What the state report says; `targets`: how models fare.
    #[must_use]
    pub fn figures(&self, targets: Vec<Told>) -> Figures {
        let ended = |worker: &Arc<WorkerMetrics>| {
            worker
                .by_endpoint
                .iter()
                .flatten()
                .map(Counter::get)
                .sum::<u64>()
        };
        Figures {
            requests: self.workers.iter().map(ended).sum(),
            in_flight: self.sum(|worker| worker.in_flight.get()),
            records_in_ring: self.record.in_ring.get(),
            spool_bytes: self.record.spool_bytes.get(),
            records_dropped: self.record.dropped_ring.get() + self.record.dropped_spool.get(),
            targets,
        }
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.workers.iter().map(|worker| of(worker)).sum()
    }

    /// The text that Prometheus reads (exposition format 0.0.4). `targets`: how models fare; each is a series.
    #[must_use]
    pub fn render(&self, serving: Serving, targets: &[Told]) -> String {
        let mut text = String::with_capacity(8 * 1024);
        self.render_requests(&mut text);
        let single = [
            (
                "in_flight",
                "gauge",
                "Requests under way.",
                self.sum(|it| it.in_flight.get()),
            ),
            (
                "connections",
                "gauge",
                "Connections from callers.",
                self.sum(|it| it.connections.get()),
            ),
            (
                "fallbacks_total",
                "counter",
                "Attempts at another target after one that failed.",
                self.sum(|it| it.fallbacks.get()),
            ),
            (
                "retries_total",
                "counter",
                "Attempts at the same target again.",
                self.sum(|it| it.retries.get()),
            ),
            (
                "hedges_total",
                "counter",
                "Attempts at another target beside one that had not answered yet.",
                self.sum(|it| it.hedges.get()),
            ),
            (
                "upstream_connections_total",
                "counter",
                "Connections made to providers.",
                self.sum(|it| it.upstream_connections.get()),
            ),
            (
                "upstream_resent_total",
                "counter",
                "Requests sent again because the provider was closing the connection, or said that it had done nothing about them.",
                self.sum(|it| it.upstream_resent.get()),
            ),
            (
                "unrecorded_total",
                "counter",
                "Requests without a key that works, of which there were too many to record each.",
                self.sum(|it| it.unrecorded.get()),
            ),
            (
                "input_tokens_total",
                "counter",
                "Input tokens used.",
                self.sum(|it| it.input_tokens.get()),
            ),
            (
                "output_tokens_total",
                "counter",
                "Output tokens used.",
                self.sum(|it| it.output_tokens.get()),
            ),
            (
                "records_in_ring",
                "gauge",
                "Request records that wait in memory.",
                self.record.in_ring.get(),
            ),
            (
                "spool_bytes",
                "gauge",
                "Bytes of request records that wait on disk.",
                self.record.spool_bytes.get(),
            ),
            (
                "uncounted_limits_total",
                "counter",
                "Decisions in which a request was not counted at all limits and budgets that concern it: there were too many.",
                self.sum(|it| it.uncounted_limits.get()),
            ),
            (
                "limits_unsent_total",
                "counter",
                "Messages on limits and budgets to the projections that could not be sent.",
                self.limits.unsent.get(),
            ),
            (
                "lease_waits_total",
                "counter",
                "Requests and attempts that waited for the lease of a budget.",
                self.sum(|it| it.lease_waits.get()),
            ),
            (
                "records_sent_total",
                "counter",
                "Request records acknowledged by NATS.",
                self.record.sent.get(),
            ),
            (
                "uncounted_total",
                "counter",
                "Requests whose tokens stay estimates by length: too many waited to be counted.",
                self.record.uncounted.get(),
            ),
            (
                "spans_exported_total",
                "counter",
                "Spans taken by the collector.",
                self.spans.exported.get(),
            ),
            (
                "position",
                "gauge",
                "Position of the configuration that is served.",
                serving.position,
            ),
            ("entries", "gauge", "Entries in the view.", serving.entries),
            (
                "ready",
                "gauge",
                "Whether requests can be answered.",
                u64::from(serving.ready),
            ),
            (
                "unproven",
                "gauge",
                "Whether no heartbeat has agreed with the entries.",
                u64::from(serving.unproven),
            ),
            (
                "refused_entries_total",
                "counter",
                "Entries and heartbeats of the snapshots that were refused.",
                serving.refused,
            ),
        ];
        for (name, kind, help, value) in single {
            head(&mut text, name, kind, help);
            line(&mut text, format_args!("sluice_gateway_{name} {value}"));
        }
        head(
            &mut text,
            "crowded_out_total",
            "counter",
            "Requests refused because as many were under way as may be, by whose bound that is.",
        );
        for (bound, value) in [
            (Bound::Key, self.sum(|it| it.crowded_out_of_key.get())),
            (
                Bound::Gateway,
                self.sum(|it| it.crowded_out_of_gateway.get()),
            ),
        ] {
            let bound = bound.as_str();
            line(
                &mut text,
                format_args!("sluice_gateway_crowded_out_total{{bound=\"{bound}\"}} {value}"),
            );
        }
        head(
            &mut text,
            "records_dropped_total",
            "counter",
            "Request records dropped, by where there was no room.",
        );
        for (place, value) in [
            ("ring", self.record.dropped_ring.get()),
            ("spool", self.record.dropped_spool.get()),
        ] {
            line(
                &mut text,
                format_args!("sluice_gateway_records_dropped_total{{place=\"{place}\"}} {value}"),
            );
        }
        head(
            &mut text,
            "spans_dropped_total",
            "counter",
            "Spans dropped: no room to wait in the queue, or not taken by the collector.",
        );
        for (place, value) in [
            ("queue", self.spans.dropped_queue.get()),
            ("collector", self.spans.dropped_collector.get()),
        ] {
            line(
                &mut text,
                format_args!("sluice_gateway_spans_dropped_total{{place=\"{place}\"}} {value}"),
            );
        }
        render_targets(&mut text, targets);
        self.render_histogram(
            &mut text,
            "request_duration_seconds",
            "From arrival to the last byte.",
            |it| &it.duration,
        );
        let help = "From arrival to the beginning of the first attempt.";
        self.render_histogram(&mut text, "before_upstream_seconds", help, |it| {
            &it.before_upstream
        });
        text
    }

    fn render_requests(&self, text: &mut String) {
        head(
            text,
            "requests_total",
            "counter",
            "Requests that have ended.",
        );
        for endpoint in Endpoint::ALL {
            for outcome in Outcome::ALL {
                let cell = |it: &WorkerMetrics| {
                    it.by_endpoint[endpoint_index(endpoint)][outcome_index(outcome)].get()
                };
                let (endpoint, outcome, value) =
                    (endpoint.as_str(), outcome.as_str(), self.sum(cell));
                let labels = format_args!("endpoint=\"{endpoint}\",outcome=\"{outcome}\"");
                line(
                    text,
                    format_args!("sluice_gateway_requests_total{{{labels}}} {value}"),
                );
            }
        }
    }

    fn render_histogram(
        &self,
        text: &mut String,
        name: &str,
        help: &str,
        of: impl Fn(&WorkerMetrics) -> &Histogram,
    ) {
        head(text, name, "histogram", help);
        let mut count = 0;
        for (at, bound) in BUCKETS_US.iter().map(Some).chain([None]).enumerate() {
            count += self.sum(|it| of(it).buckets[at].get());
            match bound {
                Some(us) => {
                    let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
                    let le = format_args!("{seconds}.{rest:06}");
                    line(
                        text,
                        format_args!("sluice_gateway_{name}_bucket{{le=\"{le}\"}} {count}"),
                    );
                }
                None => line(
                    text,
                    format_args!("sluice_gateway_{name}_bucket{{le=\"+Inf\"}} {count}"),
                ),
            }
        }
        let sum_us = self.sum(|it| of(it).sum_us.get());
        line(
            text,
            format_args!(
                "sluice_gateway_{name}_sum {}.{:06}",
                sum_us / 1_000_000,
                sum_us % 1_000_000
            ),
        );
        line(text, format_args!("sluice_gateway_{name}_count {count}"));
    }
}

/// How models fare: as many as [`crate::health::MOST_TOLD`], labelled with names from the configuration.
fn render_targets(text: &mut String, targets: &[Told]) {
    let help = "Whether a target's circuit is closed (0), being tried (1) or open (2).";
    head(text, "target_circuit", "gauge", help);
    for target in targets {
        let value = match target.health.circuit {
            Circuit::Closed => 0,
            Circuit::Probe => 1,
            Circuit::Open => 2,
        };
        let name = &target.name;
        line(
            text,
            format_args!("sluice_gateway_target_circuit{{model=\"{name}\"}} {value}"),
        );
    }
    let help =
        "A target's mean time for each output token, over its last 20 minutes or 100 answers.";
    head(text, "target_time_per_output_token_seconds", "gauge", help);
    for target in targets {
        if let Some(micros) = target.health.per_token_us {
            let (name, seconds, rest) = (&target.name, micros / 1_000_000, micros % 1_000_000);
            line(
                text,
                format_args!(
                    "sluice_gateway_target_time_per_output_token_seconds{{model=\"{name}\"}} {seconds}.{rest:06}"
                ),
            );
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP sluice_gateway_{name} {help}"));
    line(text, format_args!("# TYPE sluice_gateway_{name} {kind}"));
}

fn line(text: &mut String, args: std::fmt::Arguments<'_>) {
    writeln!(text, "{args}").expect("a String takes everything");
}

const fn endpoint_index(endpoint: Endpoint) -> usize {
    match endpoint {
        Endpoint::ChatCompletions => 0,
        Endpoint::Embeddings => 1,
        Endpoint::Completions => 2,
        Endpoint::Messages => 3,
        Endpoint::CountTokens => 4,
    }
}

const fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Success => 0,
        Outcome::BadRequest => 1,
        Outcome::Unauthenticated => 2,
        Outcome::Forbidden => 3,
        Outcome::UnknownModel => 4,
        Outcome::LimitExceeded => 5,
        Outcome::ProviderError => 6,
        Outcome::ProviderUnreachable => 7,
        Outcome::StreamCut => 8,
        Outcome::ClientGone => 9,
    }
}

#[cfg(test)]
mod tests {
    use events_schema::usage::Health;

    use super::*;

    #[test]
    fn the_cells_follow_the_order_of_the_outcomes() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome_index(outcome), at);
        }
    }

    #[test]
    fn workers_are_added_up() {
        let metrics = Metrics::new(2);
        metrics
            .worker(0)
            .ended(Endpoint::ChatCompletions, Outcome::Success, 900);
        metrics
            .worker(1)
            .ended(Endpoint::ChatCompletions, Outcome::Success, 90_000_000);
        let serving = Serving {
            position: 7,
            entries: 3,
            ready: true,
            unproven: false,
            refused: 0,
        };
        let target = Told {
            model: [1; 16],
            name: "openai/gpt-5".to_owned(),
            health: Health {
                circuit: Circuit::Open,
                calls: 3,
                per_token_us: Some(20_500),
                ..Health::default()
            },
        };
        let text = metrics.render(serving, &[target]);
        for expected in [
            "sluice_gateway_requests_total{endpoint=\"chat_completions\",outcome=\"success\"} 2\n",
            "sluice_gateway_request_duration_seconds_bucket{le=\"0.001000\"} 1\n",
            "sluice_gateway_request_duration_seconds_bucket{le=\"+Inf\"} 2\n",
            "sluice_gateway_request_duration_seconds_sum 90.000900\n",
            "sluice_gateway_position 7\n",
            "sluice_gateway_target_circuit{model=\"openai/gpt-5\"} 2\n",
            "sluice_gateway_target_time_per_output_token_seconds{model=\"openai/gpt-5\"} 0.020500\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert_eq!(metrics.figures(Vec::new()).requests, 2);
    }
}

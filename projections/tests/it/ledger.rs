//! The ledger counts each request once, and what never came as lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull;
use events_schema::events::{LimitMode, Owner};
use events_schema::id::Id;
use events_schema::money::NanoUsd;
use events_schema::subjects;
use events_schema::time::Timestamp;
use events_schema::usage::{
    CounterSeen, Endpoint, LimitMeasure, LimitOf, LimitPeriod, LimitSeen, Outcome, Tokens,
    UsageBatch, UsageRecord,
};
use futures_util::StreamExt as _;
use projections::ledger::{self, Config, Status};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::servers::{ClickHouse, Nats, eventually};

/// How long somebody who asks for messages waits for one.
const PATIENCE: Duration = Duration::from_secs(2);
/// `USAGE` of a test, in bytes.
const USAGE_BYTES: i64 = 64 << 20;

pub(crate) const REQUESTS: &str = "SELECT count() FROM requests";
pub(crate) const ROLLED: &str = "SELECT sum(requests) FROM usage_1m";
pub(crate) const COST: &str = "SELECT sum(cost) FROM usage_1m";
pub(crate) const LOST: &str =
    "SELECT toUInt64(sum(last_number - first_number + 1)) FROM ledger_gaps";

/// A ledger worker inside the test; dropping it is like killing it.
pub(crate) struct Worker {
    task: JoinHandle<()>,
    stop: CancellationToken,
    pub(crate) status: Arc<Status>,
}

impl Worker {
    pub(crate) async fn start(nats: &Nats, clickhouse: &ClickHouse, id: u128) -> Self {
        let config = config(nats, clickhouse, id).await;
        let status = Arc::clone(&config.status);
        let stop = CancellationToken::new();
        let task = tokio::spawn(ledger::run(config, stop.clone()));
        Self { task, stop, status }
    }

    pub(crate) async fn kill(self) {
        self.task.abort();
        // An aborted task ends with an error, which says so.
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends in order");
    }
}

/// What the worker with this id works with.
pub(crate) async fn config(nats: &Nats, clickhouse: &ClickHouse, id: u128) -> Config {
    Config {
        jetstream: nats.jetstream().await,
        warehouse: clickhouse.warehouse(),
        usage_bytes: USAGE_BYTES,
        replicas: 1,
        now: a_time,
        worker: Uuid::from_u128(id),
        status: Arc::default(),
    }
}

/// Today, to the minute: rows of long ago would be removed.
pub(crate) fn a_time() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

pub(crate) fn record(number: u64) -> UsageRecord {
    UsageRecord {
        request: Uuid::from_u128(u128::from(number)),
        received_at: a_time(),
        epoch: None,
        position: 42,
        endpoint: Endpoint::ChatCompletions,
        streamed: true,
        key: Some(Id::from_uuid(Uuid::from_u128(5))),
        owner: Some(Owner::User(Id::from_uuid(Uuid::from_u128(6)))),
        requested_model: "fast".to_owned(),
        resolved: None,
        answered_by: None,
        target: Some("mock/fast".to_owned()),
        attempts: Vec::new(),
        outcome: if number.is_multiple_of(2) {
            Outcome::Success
        } else {
            Outcome::ProviderError
        },
        status: 200,
        error_code: None,
        rules: vec!["rule".to_owned()],
        seed: 1,
        routing: None,
        tokens: Tokens {
            input: 10,
            output: 20,
            cache_write_input: number.is_multiple_of(2).then_some(3),
            ..Tokens::default()
        },
        cost: Some(NanoUsd::new(1_000)),
        duration_us: 1_000 * number,
        first_byte_us: Some(100),
        metadata: BTreeMap::from([("team".to_owned(), "it's \"a\"".to_owned())]),
        budgets: None,
        limits: None,
    }
}

/// Publishes records as a gateway does, and waits until they are stored.
pub(crate) async fn publish(jetstream: &Context, incarnation: u128, numbers: std::ops::Range<u64>) {
    let records = numbers.clone().map(record).collect();
    publish_these(jetstream, incarnation, numbers.start, records).await;
}

/// The same of records of one's own.
pub(crate) async fn publish_these(
    jetstream: &Context,
    incarnation: u128,
    first_number: u64,
    records: Vec<UsageRecord>,
) {
    let usage = UsageBatch {
        gateway: Uuid::from_u128(1),
        incarnation: Uuid::from_u128(incarnation),
        region: "default".to_owned(),
        first_number,
        records,
    };
    let subject = subjects::usage(usage.incarnation);
    let payload = serde_json::to_vec(&usage).expect("JSON");
    send(jetstream, &subject, payload).await;
}

async fn send(jetstream: &Context, subject: &str, payload: Vec<u8>) {
    // The worker makes the stream; until then nobody answers.
    eventually("USAGE takes a message", async || {
        let sent = jetstream
            .publish(subject.to_owned(), payload.clone().into())
            .await
            .ok()?;
        sent.await.ok()
    })
    .await;
}

#[tokio::test]
async fn requests_are_in_the_ledger_and_in_the_rollup() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    let jetstream = nats.jetstream().await;
    publish(&jetstream, 1, 1..11).await;
    publish(&jetstream, 2, 1..6).await;
    clickhouse.becomes(REQUESTS, 15).await;
    clickhouse.becomes(ROLLED, 15).await;
    clickhouse
        .becomes("SELECT sum(errors) FROM usage_1m", 8)
        .await;
    clickhouse.becomes(COST, 15_000).await;
    let text = "SELECT count() FROM requests WHERE metadata['team'] = 'it\\'s \"a\"' AND owner = 'user:00000000000000000000000000000006'";
    clickhouse.becomes(text, 15).await;
    // What a provider did not state is told apart from nothing.
    let stated =
        "SELECT ifNull(sum(cache_write_input_tokens), 0) FROM requests WHERE outcome = 'success'";
    clickhouse.becomes(stated, 7 * 3).await;
    let not_stated = "SELECT count() FROM requests WHERE cache_write_input_tokens IS NULL AND audio_output_tokens IS NULL";
    clickhouse.becomes(not_stated, 8).await;
    worker.stop().await;
}

/// A limit on requests that was asked about one.
fn asked(policy: u8, exceeded: bool) -> LimitSeen {
    LimitSeen {
        of: LimitOf::RateLimitPolicy(Id::from_bytes([policy; 16])),
        segment: Uuid::nil(),
        measure: LimitMeasure::Requests,
        period: LimitPeriod::Hour,
        most: 100,
        cost: 1,
        counter: CounterSeen::Shared {
            own: 3,
            known: 97,
            share: 1 << 30,
            cut_off: None,
            free: None,
        },
        exceeded,
        mode: Some(LimitMode::Enforce),
        instead: None,
    }
}

#[tokio::test]
async fn of_all_limits_that_were_asked_those_are_found_that_were_exceeded() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    let jetstream = nats.jetstream().await;
    let limits = [
        None,
        Some(vec![asked(7, false), asked(8, false)]),
        Some(vec![asked(7, true), asked(8, false), asked(7, true)]),
    ];
    let records = (1..).zip(limits).map(|(number, limits)| UsageRecord {
        limits,
        ..record(number)
    });
    publish_these(&jetstream, 1, 1, records.collect()).await;
    clickhouse.becomes(REQUESTS, 3).await;
    let all = "SELECT count() FROM requests WHERE limits != ''";
    clickhouse.becomes(all, 2).await;
    let named = "SELECT count() FROM requests WHERE has(exceeded, 'rate_limit_policy:07070707070707070707070707070707')";
    clickhouse.becomes(named, 1).await;
    let how_many = "SELECT sum(length(exceeded)) FROM requests";
    clickhouse.becomes(how_many, 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn records_that_never_came_are_a_gap_and_are_reported() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..4).await;
    publish(&jetstream, 1, 10..12).await;
    clickhouse.becomes(REQUESTS, 5).await;
    clickhouse.becomes(LOST, 6).await;
    eventually("the loss is counted", async || {
        (worker.status.lost.load(Ordering::Relaxed) == 6).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn nothing_is_given_up_while_another_reads_from_the_same_consumer() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..2).await;
    clickhouse.becomes(REQUESTS, 1).await;
    // A worker that was cut off comes back, and asks for messages as before.
    let stream = jetstream.get_stream(subjects::USAGE).await.expect("made");
    let takes = tokio::spawn(async move {
        let mut taken = 0;
        while taken < 3 {
            // The consumer is made anew whenever that is noticed.
            let Ok(consumer) = stream.get_consumer::<pull::Config>("ledger").await else {
                continue;
            };
            // It waits its turn, as the worker's own request does: the server serves them by turns.
            let asked = consumer.batch().max_messages(1).expires(PATIENCE);
            let fetched = asked.messages().await;
            if let Ok(mut fetched) = fetched {
                while let Some(Ok(_)) = fetched.next().await {
                    taken += 1;
                }
            }
        }
    });
    let mut number = 2;
    while !takes.is_finished() {
        publish(&jetstream, 1, number..number + 1).await;
        number += 1;
    }
    takes.await.expect("no panic");
    publish(&jetstream, 1, number..number + 1).await;
    clickhouse.becomes(REQUESTS, number).await;
    assert_eq!(clickhouse.number(LOST).await.unwrap_or(0), 0);
    assert_eq!(worker.status.lost.load(Ordering::Relaxed), 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_batch_without_records_announces_a_lost_tail_which_counts_as_lost_once() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..4).await;
    // Numbers 4 to 9 were given to records that died with the gateway: it says so after its restart.
    publish(&jetstream, 1, 10..10).await;
    clickhouse.becomes(LOST, 6).await;
    worker.kill().await;
    // Another worker learns from ClickHouse that they were given up.
    let worker = Worker::start(&nats, &clickhouse, 2).await;
    publish(&jetstream, 1, 10..10).await;
    publish(&jetstream, 1, 8..13).await;
    clickhouse.becomes(REQUESTS, 6).await;
    clickhouse.becomes(ROLLED, 6).await;
    assert_eq!(clickhouse.number(LOST).await, Some(6));
    // An incarnation of which no record ever came.
    publish(&jetstream, 2, 8..8).await;
    clickhouse.becomes(LOST, 13).await;
    worker.stop().await;
}

#[tokio::test]
async fn records_that_come_again_are_not_counted_again() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(REQUESTS, 10).await;
    worker.kill().await;
    // The marks are read from ClickHouse, not remembered.
    let worker = Worker::start(&nats, &clickhouse, 2).await;
    publish(&jetstream, 1, 6..16).await;
    clickhouse.becomes(REQUESTS, 15).await;
    clickhouse.becomes(ROLLED, 15).await;
    eventually("what came again is counted", async || {
        (worker.status.repeated.load(Ordering::Relaxed) == 5).then_some(())
    })
    .await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(15));
    worker.stop().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_put_aside_and_stops_nothing() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..3).await;
    send(&jetstream, "usage.broken", b"{\"not\": \"usage\"}".to_vec()).await;
    publish(&jetstream, 1, 3..5).await;
    clickhouse.becomes(REQUESTS, 4).await;
    let dead = jetstream
        .get_stream(subjects::USAGE_DEAD)
        .await
        .expect("the stream is there");
    let letter = eventually("the dead letter", async || {
        dead.get_last_raw_message_by_subject("usage_dead.broken")
            .await
            .ok()
    })
    .await;
    assert_eq!(&*letter.payload, b"{\"not\": \"usage\"}");
    assert!(letter.headers.get("Sluice-Reason").is_some());
    worker.stop().await;
}

#[tokio::test]
async fn while_clickhouse_is_away_records_wait() {
    let (nats, mut clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(REQUESTS, 10).await;
    clickhouse.kill();
    publish(&jetstream, 1, 11..21).await;
    eventually("the worker says what is wrong", async || {
        worker.status.trouble()
    })
    .await;
    publish(&jetstream, 1, 21..31).await;
    clickhouse.resume();
    clickhouse.becomes(REQUESTS, 30).await;
    clickhouse.becomes(ROLLED, 30).await;
    eventually("the worker is well again", async || {
        worker.status.trouble().is_none().then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn nats_killed_and_back_loses_and_doubles_nothing() {
    let (mut nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&nats.jetstream().await, 1, 1..11).await;
    clickhouse.becomes(REQUESTS, 10).await;
    nats.kill();
    nats.resume().await;
    publish(&nats.jetstream().await, 1, 11..21).await;
    clickhouse.becomes(REQUESTS, 20).await;
    clickhouse.becomes(ROLLED, 20).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_usage_stream_that_was_deleted_is_made_again_and_counting_goes_on() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(REQUESTS, 10).await;
    jetstream
        .delete_stream(subjects::USAGE)
        .await
        .expect("deleted");
    publish(&jetstream, 1, 8..21).await;
    clickhouse.becomes(REQUESTS, 20).await;
    clickhouse.becomes(ROLLED, 20).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_ledger_that_was_deleted_is_rebuilt_from_what_usage_holds() {
    let nats = Nats::start().await;
    let jetstream = nats.jetstream().await;
    let lost = ClickHouse::start();
    let worker = Worker::start(&nats, &lost, 1).await;
    publish(&jetstream, 1, 1..11).await;
    lost.becomes(REQUESTS, 10).await;
    worker.kill().await;
    drop(lost);
    let clickhouse = ClickHouse::start();
    let worker = Worker::start(&nats, &clickhouse, 2).await;
    clickhouse.becomes(REQUESTS, 10).await;
    clickhouse.becomes(ROLLED, 10).await;
    worker.stop().await;
}

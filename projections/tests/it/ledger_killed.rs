//! The ledger counts each request once, whatever is killed when, and however many workers there are.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use events_schema::subjects;
use projections::ledger;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    ledger::{COST, LOST, REQUESTS, ROLLED, Worker, config, publish},
    servers::{ClickHouse, Nats, eventually},
};

#[tokio::test]
async fn the_same_batch_three_times_counts_once() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..101).await;
    clickhouse.becomes(REQUESTS, 100).await;
    worker.kill().await;
    for id in 2..4 {
        let worker = Worker::start(&nats, &clickhouse, id).await;
        eventually("the batch is inserted again", async || {
            (worker.status.replayed.load(Ordering::Relaxed) == 1).then_some(())
        })
        .await;
        worker.kill().await;
    }
    assert_eq!(clickhouse.number(REQUESTS).await, Some(100));
    assert_eq!(clickhouse.number(ROLLED).await, Some(100));
    assert_eq!(clickhouse.number(COST).await, Some(100_000));
}

/// Kills the worker when inserts into `table` fail, lets them through again, and starts another.
async fn check_killed_while(table: &str) {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(REQUESTS, 10).await;
    clickhouse
        .execute(&format!(
            "ALTER TABLE {table} ADD CONSTRAINT shut CHECK owner = 'nobody'"
        ))
        .await;
    publish(&jetstream, 1, 11..21).await;
    clickhouse
        .becomes("SELECT max(ordinal) FROM ledger_batches", 2)
        .await;
    eventually("the worker is stuck", async || worker.status.trouble()).await;
    worker.kill().await;
    assert_eq!(clickhouse.number(ROLLED).await, Some(10));
    clickhouse
        .execute(&format!("ALTER TABLE {table} DROP CONSTRAINT shut"))
        .await;

    let worker = Worker::start(&nats, &clickhouse, 2).await;
    clickhouse.becomes(ROLLED, 20).await;
    publish(&jetstream, 1, 21..31).await;
    clickhouse.becomes(ROLLED, 30).await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(30));
    assert_eq!(
        clickhouse
            .number("SELECT uniqExact(incarnation, number) FROM requests")
            .await,
        Some(30)
    );
    assert_eq!(
        clickhouse.number("SELECT count() FROM ledger_gaps").await,
        Some(0)
    );
    worker.stop().await;
}

#[tokio::test]
async fn killed_between_writing_the_batch_down_and_inserting_it_it_counts_once() {
    check_killed_while("requests").await;
}

#[tokio::test]
async fn killed_between_the_requests_and_the_rollup_both_count_once() {
    check_killed_while("usage_1m").await;
}

#[tokio::test]
async fn when_usage_has_lost_a_batch_that_broke_off_the_rollup_is_mended_from_the_requests() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(ROLLED, 10).await;
    clickhouse
        .execute("ALTER TABLE usage_1m ADD CONSTRAINT shut CHECK owner = 'nobody'")
        .await;
    publish(&jetstream, 1, 11..21).await;
    clickhouse.becomes(REQUESTS, 20).await;
    worker.kill().await;
    assert_eq!(clickhouse.number(ROLLED).await, Some(10));
    let usage = jetstream.get_stream(subjects::USAGE).await;
    usage.expect("it is there").purge().await.expect("purged");
    clickhouse
        .execute("ALTER TABLE usage_1m DROP CONSTRAINT shut")
        .await;

    let worker = Worker::start(&nats, &clickhouse, 2).await;
    clickhouse.becomes(ROLLED, 20).await;
    assert_eq!(clickhouse.number(COST).await, Some(20_000));
    publish(&jetstream, 1, 21..31).await;
    clickhouse.becomes(ROLLED, 30).await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(30));
    worker.stop().await;
}

/// How many points of a worker's life it is killed at.
const POINTS: usize = 40;

/// A worker that is dropped in the middle of what it does after so many steps from one wait to the next.
async fn doomed(
    nats: &Nats,
    clickhouse: &ClickHouse,
    id: u128,
    steps: usize,
) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let mut worker = Box::pin(ledger::run(
        config(nats, clickhouse, id).await,
        CancellationToken::new(),
    ));
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let task = tokio::spawn(poll_fn(move |context| {
        if count.fetch_add(1, Ordering::Relaxed) >= steps {
            return Poll::Ready(());
        }
        worker.as_mut().poll(context)
    }));
    (task, taken)
}

#[tokio::test]
async fn killed_at_any_point_of_its_work_it_counts_each_record_and_each_loss_once() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let (whole, taken) = doomed(&nats, &clickhouse, 1, usize::MAX).await;
    publish(&jetstream, 1, 1..4).await;
    clickhouse.becomes(ROLLED, 3).await;
    let steps = taken.load(Ordering::Relaxed);
    whole.abort();

    let (mut next, mut sent, mut lost) = (4, 3, 0);
    for point in 0..POINTS {
        // Some numbers never come: the batch after them, or an announcement, says so.
        lost += 2;
        publish(&jetstream, 1, next + 2..next + 5).await;
        next += 5;
        sent += 3;
        let id = 2 + point as u128;
        let (task, _) = doomed(&nats, &clickhouse, id, steps * point / POINTS).await;
        eventually("it was killed, or has done its work", async || {
            let done = clickhouse.number(ROLLED).await == Some(sent);
            (task.is_finished() || done).then_some(())
        })
        .await;
        task.abort();
    }
    let worker = Worker::start(&nats, &clickhouse, 1_000).await;
    lost += 7;
    publish(&jetstream, 1, next + 7..next + 7).await;
    clickhouse.becomes(LOST, lost).await;
    clickhouse.becomes(ROLLED, sent).await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(sent));
    assert_eq!(clickhouse.number(COST).await, Some(1_000 * sent));
    let apart = "SELECT uniqExact(incarnation, number) FROM requests";
    assert_eq!(clickhouse.number(apart).await, Some(sent));
    worker.stop().await;
}

#[tokio::test]
async fn of_two_workers_one_stands_by_and_takes_over_when_the_other_is_gone() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let first = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(ROLLED, 10).await;
    let second = Worker::start(&nats, &clickhouse, 2).await;
    eventually("the second stands by", async || {
        second.status.standby.load(Ordering::Relaxed).then_some(())
    })
    .await;
    publish(&jetstream, 1, 11..21).await;
    clickhouse.becomes(ROLLED, 20).await;
    assert_eq!(second.status.rows.load(Ordering::Relaxed), 0);
    assert_eq!(
        (first.status.trouble(), second.status.trouble()),
        (None, None)
    );
    first.kill().await;
    publish(&jetstream, 1, 21..31).await;
    clickhouse.becomes(ROLLED, 30).await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(30));
    assert!(!second.status.standby.load(Ordering::Relaxed));
    second.stop().await;
}

#[tokio::test]
async fn a_batchs_place_that_another_worker_has_claimed_is_left_to_it() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let jetstream = nats.jetstream().await;
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(ROLLED, 10).await;
    clickhouse
        .execute(
            "INSERT INTO ledger_batches (ordinal, first_sequence, last_sequence, hash, worker) \
             SETTINGS insert_deduplicate = 1, insert_deduplication_token = 'batch 2' \
             VALUES (2, 1, 1, 'of another worker', '00000000-0000-0000-0000-000000000009')",
        )
        .await;
    publish(&jetstream, 1, 11..21).await;
    clickhouse.becomes(ROLLED, 20).await;
    let places = "SELECT max(ledger_batch) FROM requests WHERE number > 10";
    assert_eq!(clickhouse.number(places).await, Some(3));
    assert_eq!(clickhouse.number(REQUESTS).await, Some(20));
    assert_eq!(
        clickhouse.number("SELECT count() FROM ledger_gaps").await,
        Some(0)
    );
    worker.stop().await;
}

//! Budgets are lent, and what is lent outlives whoever lends.

mod before;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Subscriber};
use events_schema::{subjects, time::Timestamp, totals::LimitTotals};
use futures_util::StreamExt as _;
use gateway_policy::limits::{
    Measure,
    lease::{BudgetId, LeaseRow, Leases, Purse, PurseRow, Purses},
    message::{CounterId, Incarnation, Steady},
    period::Period,
    wire,
};
use projections::{limits, nats, trust::Trust};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    asking::{ask, is_answered_nowhere_else},
    servers::{ClickHouse, Nats, eventually},
};

/// How long an answer is waited for before it is asked for again: a worker may just be taking office.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long nothing may come for it to be said that nothing comes.
const QUIET: Duration = Duration::from_secs(1);

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

/// A day's budget of everybody.
fn budget(rule: u8) -> BudgetId {
    let counter = CounterId {
        rule: [rule; 16],
        measure: Measure::Cost,
        period: Period::Day,
        segment: [0; 16],
    };
    BudgetId {
        counter,
        slot: counter.period.slot_at(noon()),
    }
}

/// A worker inside the test; dropping it is like killing it.
struct Worker(JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    async fn start(nats: &Nats, clickhouse: &ClickHouse, id: u128) -> Self {
        clickhouse.warehouse().migrate().await.expect("tables");
        Self::start_with(nats, &clickhouse.url(), id).await
    }

    async fn start_with(nats: &Nats, clickhouse: &str, id: u128) -> Self {
        // Budgets count from when they were made, so the history is read first.
        nats.events().await;
        let link = nats::connect(&nats.server(), "limits").await;
        let warehouse = projections::warehouse::Warehouse::new(clickhouse, &Trust::default());
        let config = limits::Config {
            link: link.expect("a good URL"),
            worker: Uuid::from_u128(id),
            replicas: 1,
            warehouse: warehouse.expect("a good URL"),
            now: noon,
            status: Arc::default(),
        };
        Self(tokio::spawn(limits::run(config, CancellationToken::new())))
    }
}

/// A gateway with one purse.
struct Gateway {
    client: Client,
    leases: Subscriber,
    incarnation: Incarnation,
    purse: Purse,
    number: u64,
    budget: BudgetId,
    most: u64,
    /// What was said of the lease last.
    heard: Option<LeaseRow>,
}

impl Gateway {
    async fn start(nats: &Nats, id: u8, budget: BudgetId, most: u64) -> Self {
        let client = async_nats::connect(nats.url())
            .await
            .expect("NATS is there");
        let incarnation = [id; 16];
        let subject = subjects::limits_leases(Uuid::from_bytes(incarnation));
        Self {
            leases: client.subscribe(subject).await.expect("subscribed"),
            client,
            incarnation: Incarnation(incarnation),
            purse: Purse::default(),
            number: 0,
            budget,
            most,
            heard: None,
        }
    }

    fn now(&self) -> Steady {
        Steady(self.number * 1_000)
    }

    async fn report(&mut self) {
        self.number += 1;
        let now = self.now();
        let purses = Purses {
            incarnation: self.incarnation,
            number: self.number,
            sent_at: now,
            rows: vec![PurseRow {
                budget: self.budget,
                most: self.most,
                said: self.purse.report(now),
            }],
        };
        let shard = wire::shard_of(&self.budget.counter);
        let subject = subjects::limits_purses(Uuid::from_bytes(self.incarnation.0));
        for message in wire::write([(shard, purses)], wire::MOST_BYTES) {
            let sent = self.client.publish(subject.clone(), message.into()).await;
            sent.expect("sent");
        }
        self.client.flush().await.expect("flushed");
    }

    /// Takes over what comes, for so long.
    async fn listen(&mut self, patience: Duration) -> bool {
        let Ok(Some(message)) = timeout(patience, self.leases.next()).await else {
            return false;
        };
        let parts = wire::read::<Leases>(&message.payload).expect("leases");
        for (_, leases) in parts {
            for row in leases.rows {
                self.purse.hear(row.lease, leases.sent_at);
                self.heard = Some(row);
            }
        }
        true
    }

    /// Asks for so much until it is lent.
    async fn ask(&mut self, cost: u64) {
        let gateway = self;
        eventually("it is lent", async || {
            let gateway = &mut *gateway;
            if gateway.purse.remaining(gateway.now()) >= cost {
                return Some(());
            }
            let _ = gateway.purse.reserve(cost, gateway.now());
            gateway.report().await;
            while gateway.listen(PATIENCE).await {
                if gateway.purse.remaining(gateway.now()) >= cost {
                    return Some(());
                }
            }
            None
        })
        .await;
    }

    /// What counts as spent beside its own lease, more of which it asks for to hear of it.
    async fn spent_beside(&mut self) -> u64 {
        self.ask(self.purse.remaining(self.now()) + 1).await;
        let LeaseRow {
            committed, lease, ..
        } = self.heard.expect("it was told");
        committed - lease.ceiling
    }

    /// What of it is spent or lent, as it was told last.
    fn committed(&self) -> u64 {
        self.heard.expect("it was told").committed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_asks_for_is_lent_and_written_down_before_it_is_told() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, budget(1), 1_000).await;
    gateway.ask(100).await;
    let lent = gateway.committed();
    assert!((100..=500).contains(&lent), "{lent}");
    let stream = nats.jetstream().await.get_stream(subjects::BUDGETS).await;
    let info = stream.expect("it is there").cached_info().clone();
    assert_eq!(info.state.messages, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_office_knows_what_is_lent_though_the_gateway_is_gone() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let first = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, budget(1), 1_000).await;
    gateway.ask(400).await;
    let lent = gateway.committed();
    drop((first, gateway));
    let _second = Worker::start(&nats, &clickhouse, 2).await;
    let mut other = Gateway::start(&nats, 2, budget(1), 1_000).await;
    other.ask(10).await;
    let committed = other.committed();
    assert!(committed >= lent + 10, "{committed} of which {lent} before");
    // It is lent the rest, and not a nano-dollar more.
    let rest = 1_000 - lent;
    other.ask(rest).await;
    assert_eq!(other.committed(), 1_000);
    assert!(other.purse.reserve(rest + 1, other.now()).is_err());
    other.report().await;
    while other.listen(QUIET).await {}
    assert_eq!(other.committed(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_outlive_the_loss_of_all_that_nats_and_the_worker_knew() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    clickhouse.warehouse().migrate().await.expect("tables");
    // A million requests of gateways that are gone; some of other budgets, of another day, or without a cost.
    let names: Vec<String> = [1_u8, 2]
        .map(|rule| {
            let of = Uuid::from_bytes([rule; 16]).simple();
            format!("{of}:{}", Uuid::nil().simple())
        })
        .into();
    clickhouse
        .execute(&format!(
            "INSERT INTO requests (request, received_at, gateway, incarnation, number, cost, input_tokens, budgets) \
             SELECT generateUUIDv4(), toDateTime64('2026-11-22 00:00:00', 6, 'UTC') + (number % 100000) - if(number % 10 = 9, 86400, 0), \
             toUUID('00000000-0000-0000-0000-000000000001'), \
             toUUID(concat('00000000-0000-0000-0000-00000000001', toString(number % 7))), \
             number, if(number % 13 = 0, NULL, number % 5000), 1, \
             multiIf(number % 3 = 0, ['{one}'], number % 3 = 1, ['{other}', '{one}'], ['{other}']) \
             FROM numbers(1000000)",
            one = names[0],
            other = names[1],
        ))
        .await;
    let expected = (0..1_000_000_u64)
        .filter(|it| it % 3 != 2 && it % 13 != 0)
        .filter(|it| {
            let second = i64::try_from(it % 100_000).expect("small");
            let second = second - if it % 10 == 9 { 86_400 } else { 0 };
            (0..86_400).contains(&second)
        })
        .map(|it| it % 5_000)
        .sum::<u64>();
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut living = Gateway::start(&nats, 1, budget(1), 10_000_000_000).await;
    let before = living.spent_beside().await;
    assert_eq!(before, expected);
    drop(worker);
    let jetstream = nats.jetstream().await;
    for stream in [subjects::BUDGETS, subjects::LIMITS] {
        jetstream.delete_stream(stream).await.expect("deleted");
    }
    let _worker = Worker::start(&nats, &clickhouse, 2).await;
    let begin = Instant::now();
    assert_eq!(living.spent_beside().await, before);
    let took = begin.elapsed();
    eprintln!(
        "added up again from a million requests, and lent of, in {} ms",
        took.as_millis()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_lent_though_the_ledger_is_away() {
    let nats = Nats::start().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::servers::free_port());
    let _worker = Worker::start_with(&nats, &nowhere, 1).await;
    let mut gateway = Gateway::start(&nats, 1, budget(1), 1_000).await;
    gateway.ask(100).await;
    // More may have been spent, of which the ledger knows: whoever asks is told so.
    let rule = Uuid::from_bytes(budget(1).counter.rule);
    let told = ask(&gateway.client, subjects::BUDGETS_TOTALS_OF, rule).await;
    let told = told.expect("it is answered");
    let is_lower_bound = told.totals.iter().map(|it| it.is_lower_bound);
    assert_eq!(is_lower_bound.collect::<Vec<_>>(), [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_budgets_stand_is_answered_where_answers_are_heard_and_nowhere_else() {
    let nats = Nats::start().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::servers::free_port());
    let _worker = Worker::start_with(&nats, &nowhere, 1).await;
    let client = async_nats::connect(nats.url()).await;
    let client = client.expect("NATS is there");
    is_answered_nowhere_else(&client, subjects::BUDGETS_TOTALS_OF).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_budgets_stand_is_told_to_whoever_listens() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let _worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut gateway = Gateway::start(&nats, 1, budget(1), 1_000).await;
    gateway.ask(100).await;
    gateway
        .purse
        .reserve(100, gateway.now())
        .expect("it is lent");
    gateway.purse.settle(100, 70);
    gateway.report().await;
    let subscribed = gateway.client.subscribe(subjects::BUDGETS_TOTALS).await;
    let mut told = subscribed.expect("subscribed");
    eventually("it is told", async || {
        let message = timeout(PATIENCE, told.next()).await.ok()??;
        let totals: LimitTotals = serde_json::from_slice(&message.payload).expect("totals");
        let total = totals.totals.first()?;
        let stands = (totals.counters, total.used, total.most);
        (stands == (1, 70, 1_000)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_gateway_has_not_spent_is_lent_again_once_its_records_have_arrived() {
    let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
    let worker = Worker::start(&nats, &clickhouse, 1).await;
    let mut dead = Gateway::start(&nats, 1, budget(1), 1_000).await;
    dead.ask(400).await;
    let lent = dead.committed();
    drop((worker, dead));
    clickhouse
        .execute(
            "INSERT INTO ledger_ends (incarnation, last_number) \
             VALUES ('01010101-0101-0101-0101-010101010101', 0)",
        )
        .await;
    // Whoever takes office does not know since when it has been silent, and waits for as long as a lease lasts.
    let _worker = Worker::start(&nats, &clickhouse, 2).await;
    let mut living = Gateway::start(&nats, 2, budget(1), 1_000).await;
    assert!(lent > 100);
    living.ask(950).await;
    assert_eq!(
        living.heard.expect("it was told").committed,
        living.heard.expect("it was told").lease.ceiling
    );
}

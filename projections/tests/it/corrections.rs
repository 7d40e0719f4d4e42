//! What requests cost by corrections of prices: exact, once, and as was decided, whatever is killed and comes late.

use std::{
    collections::BTreeSet,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use events_schema::{
    events::{CostDifference, Event, ModelEvent},
    id::{BudgetPolicyId, Id, ModelId},
    ledger::cost_sql,
    money::{NanoUsd, Price},
    time::Timestamp,
    usage::{BudgetCharge, Tokens, UsageRecord},
};
use projections::{
    clock,
    corrections::{self, Config, Looked, Seen},
    log_head::LogHead,
    rebuild,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    ledger::{self, REQUESTS, a_time, publish_these},
    retention::{Log, Workers},
    servers::{ClickHouse, Nats, eventually},
};

const MODEL: ModelId = Id::from_bytes([0x21; 16]);
const OTHER: ModelId = Id::from_bytes([0x22; 16]);
const BUDGET: BudgetPolicyId = Id::from_bytes([0xd1; 16]);

/// What corrections add up to, by request, by minute, and of the budget.
const AMOUNT: &str = "SELECT toInt64(sum(amount)) FROM corrections";
const BY_MINUTE: &str = "SELECT toInt64(sum(amount)) FROM corrections_1m";
/// What requests cost at first.
const FIRST: &str = "SELECT toUInt64(sum(ifNull(cost, 0))) FROM requests";
/// Rows of passes that were never written down.
const LEFT: &str =
    "SELECT count() FROM cost_corrections WHERE pass NOT IN (SELECT pass FROM correction_passes)";
/// How many of them are corrected now.
const CORRECTED: &str = "SELECT count() FROM (SELECT argMax(position, ordinal) AS last FROM corrections GROUP BY request) WHERE last > 0";

const fn price(input: u64, output: u64) -> Price {
    Price {
        input: NanoUsd::new(input),
        output: NanoUsd::new(output),
        cached_input: None,
    }
}

/// A request that was answered so many minutes after the first.
fn answered(number: u64, by: ModelId, minutes: i64) -> UsageRecord {
    UsageRecord {
        received_at: a_time().plus_micros(minutes * 60_000_000),
        answered_by: Some(by),
        tokens: Tokens {
            input: 1_000 * number,
            cached_input: 100,
            output: 10 + number,
            ..Tokens::default()
        },
        budgets: Some(vec![BudgetCharge {
            policy: BUDGET,
            segment: Uuid::nil(),
        }]),
        ..ledger::record(number)
    }
}

fn cost(price: Price, number: u64) -> i64 {
    let nanos = price.cost(1_000 * number, 100, 10 + number).nanos();
    i64::try_from(nanos).expect("a small amount")
}

/// What the correction to this price adds to the costs of these requests, each of which cost 1,000.
fn added(price: Price, numbers: std::ops::Range<u64>) -> i64 {
    numbers.map(|number| cost(price, number) - 1_000).sum()
}

/// The servers, with ledger and audit trail at work.
struct World {
    nats: Nats,
    clickhouse: ClickHouse,
    log: Log,
    ledger: ledger::Worker,
    audit: Workers,
}

impl World {
    async fn start() -> Self {
        let (nats, clickhouse) = (Nats::start().await, ClickHouse::start());
        let log = Log::new(&nats).await;
        let ledger = ledger::Worker::start(&nats, &clickhouse, 1).await;
        let audit = Workers::start_audit(&nats, &clickhouse).await;
        Self {
            nats,
            clickhouse,
            log,
            ledger,
            audit,
        }
    }

    async fn stop(self) {
        self.audit.stop().await;
        self.ledger.stop().await;
    }

    /// Publishes these, and waits until the ledger has so many requests.
    async fn publish(&self, first_number: u64, records: Vec<UsageRecord>, all: u64) {
        let jetstream = self.nats.jetstream().await;
        publish_these(&jetstream, 1, first_number, records).await;
        self.clickhouse.becomes(REQUESTS, all).await;
    }

    /// Decides that requests that arrived from one minute on until another cost this; returns the position.
    async fn decide(&mut self, minutes: (i64, i64), price: Price) -> u64 {
        let at = |minutes: i64| a_time().plus_micros(minutes * 60_000_000);
        let repriced = ModelEvent::UsageRepriced {
            from: at(minutes.0),
            until: at(minutes.1),
            price,
            shown: CostDifference::default(),
        };
        self.log.append_event(Event::Model(MODEL, repriced)).await;
        let position = self.log.position;
        self.is_told(position).await;
        position
    }

    /// Waits until the trail goes so far.
    async fn is_told(&self, position: u64) {
        self.clickhouse
            .becomes("SELECT max(position) FROM admin_events", position)
            .await;
    }

    async fn worker(&self, id: u128) -> Config {
        Config {
            jetstream: self.nats.jetstream().await,
            warehouse: self.clickhouse.warehouse(),
            log_head: LogHead::new(self.log.url.parse().expect("a URL")),
            now: clock::now,
            worker: Uuid::from_u128(id << 64),
            status: Arc::default(),
        }
    }

    /// Lets a new worker look until it has nothing more to do.
    async fn agrees(&self, id: u128) {
        let (worker, mut seen) = (self.worker(id).await, Seen::default());
        eventually("all is corrected", async || {
            let looked = corrections::look(&worker, &mut seen).await;
            (looked.expect("all servers answer") == Looked::Agrees).then_some(())
        })
        .await;
    }

    async fn amount(&self, sql: &str) -> i64 {
        let query = self.clickhouse.warehouse();
        let asked = query.client().query(sql).fetch_one::<i64>().await;
        asked.expect(sql)
    }

    /// That corrections add so much, wherever it is looked; and that what was written down first stays.
    async fn adds(&self, expected: i64, first: u64) {
        assert_eq!(self.amount(AMOUNT).await, expected);
        assert_eq!(self.amount(BY_MINUTE).await, expected);
        assert_eq!(self.clickhouse.number(FIRST).await, Some(first));
        let name = format!("{BUDGET}:{}", Uuid::nil().as_simple());
        let names = BTreeSet::from([name.clone(), "another".to_owned()]);
        let warehouse = self.clickhouse.warehouse();
        let all = (Timestamp::MIN, Timestamp::MAX);
        let of_budgets = corrections::of_budgets(&warehouse, all, &names).await;
        let of_budgets = of_budgets.expect("it answers");
        let expected = (expected != 0).then_some((name, expected));
        assert_eq!(of_budgets, expected.into_iter().collect());
    }
}

#[tokio::test]
async fn requests_of_the_time_and_the_model_cost_what_the_correction_says() {
    let mut world = World::start().await;
    let mut records: Vec<_> = (1..11).map(|number| answered(number, MODEL, 5)).collect();
    records.push(answered(11, OTHER, 5));
    records.push(answered(12, MODEL, 4));
    records.push(answered(13, MODEL, 10));
    let mut in_vain = answered(14, MODEL, 5);
    in_vain.tokens = Tokens::default();
    in_vain.cost = None;
    records.push(in_vain);
    let mut unpriced = answered(15, MODEL, 9);
    unpriced.cost = None;
    records.push(unpriced);
    world.publish(1, records, 15).await;

    let dearer = price(50_000, 700_000);
    let position = world.decide((5, 10), dearer).await;
    world.agrees(1).await;
    let expected = added(dearer, 1..11) + cost(dearer, 15);
    world.adds(expected, 13_000).await;
    assert_eq!(world.clickhouse.number(CORRECTED).await, Some(11));
    let told = "SELECT max(position) FROM corrections";
    assert_eq!(world.clickhouse.number(told).await, Some(position));
    let minutes = "SELECT uniqExact(minute) FROM corrections_1m";
    assert_eq!(world.clickhouse.number(minutes).await, Some(2));

    // Looking again changes nothing, whoever looks.
    world.agrees(2).await;
    let passes = corrections::newest(&world.clickhouse.warehouse()).await;
    assert_eq!(passes.expect("it answers"), 1);
    world.stop().await;
}

#[tokio::test]
async fn of_corrections_that_overlap_the_later_holds_and_one_that_was_not_decided_is_taken_back() {
    let mut world = World::start().await;
    let records =
        (1..11).map(|number| answered(number, MODEL, i64::try_from(number).expect("few")));
    world.publish(1, records.collect(), 10).await;
    let (first, second) = (price(1, 1), price(90_000, 90_000));
    world.decide((1, 11), first).await;
    let (position, hash) = (world.log.position, world.log.hash);
    world.agrees(1).await;
    world.adds(added(first, 1..11), 10_000).await;
    assert!(added(first, 1..11) < 0);

    let later = world.decide((3, 6), second).await;
    world.agrees(1).await;
    let both = added(first, 1..3) + added(second, 3..6) + added(first, 6..11);
    world.adds(both, 10_000).await;
    let of_later = format!(
        "SELECT count() FROM (SELECT argMax(position, ordinal) AS last FROM corrections GROUP BY request) WHERE last = {later}"
    );
    assert_eq!(world.clickhouse.number(&of_later).await, Some(3));

    // Both at once, by a worker that begins with nothing.
    for table in [
        "cost_corrections",
        "cost_corrections_1m",
        "correction_passes",
    ] {
        world
            .clickhouse
            .execute(&format!("TRUNCATE TABLE {table}"))
            .await;
    }
    world.agrees(2).await;
    world.adds(both, 10_000).await;

    // The log is restored to where it was before.
    world.log.end_at(position, hash).await;
    let gone = format!(
        "ALTER TABLE admin_events DELETE WHERE position > {position} SETTINGS mutations_sync = 1"
    );
    world.clickhouse.execute(&gone).await;
    world.agrees(3).await;
    world.adds(added(first, 1..11), 10_000).await;
    assert_eq!(world.clickhouse.number(&of_later).await, Some(0));
    world.stop().await;
}

#[tokio::test]
async fn records_that_come_late_are_corrected_as_well() {
    let mut world = World::start().await;
    let of = |numbers: std::ops::Range<u64>, by, minutes| {
        let records = numbers.map(|number| answered(number, by, minutes));
        records.collect::<Vec<_>>()
    };
    world.publish(1, of(1..4, MODEL, 5), 3).await;
    let cheaper = price(3_000, 4_000);
    world.decide((0, 10), cheaper).await;
    let (worker, mut seen) = (world.worker(1).await, Seen::default());
    eventually("what is there is corrected", async || {
        let looked = corrections::look(&worker, &mut seen).await;
        (looked.expect("all servers answer") == Looked::Agrees).then_some(())
    })
    .await;
    world.adds(added(cheaper, 1..4), 3_000).await;

    // Of another time, of another model: nothing is to be done.
    world.publish(4, of(4..6, MODEL, 10), 5).await;
    world.publish(6, of(6..8, OTHER, 5), 7).await;
    world.publish(8, of(8..11, MODEL, 9), 10).await;
    let expected = added(cheaper, 1..4) + added(cheaper, 8..11);
    eventually("what came late is corrected", async || {
        let looked = corrections::look(&worker, &mut seen).await;
        looked.expect("all servers answer");
        (world.amount(AMOUNT).await == expected).then_some(())
    })
    .await;
    world.adds(expected, 10_000).await;
    world.agrees(2).await;
    world.adds(expected, 10_000).await;
    world.stop().await;
}

#[tokio::test]
async fn two_workers_at_once_correct_once() {
    let mut world = World::start().await;
    let records = (1..51).map(|number| answered(number, MODEL, 1));
    world.publish(1, records.collect(), 50).await;
    let prices = [price(1, 2), price(70_000, 3), price(5, 900_000)];
    for (at, price) in (1_u128..).zip(prices) {
        world.decide((0, 2), price).await;
        let (one, other) = (world.worker(2 * at).await, world.worker(2 * at + 1).await);
        let (mut first, mut second) = (Seen::default(), Seen::default());
        let (one, other) = tokio::join!(
            corrections::look(&one, &mut first),
            corrections::look(&other, &mut second)
        );
        let corrected = [one, other].map(|it| it.expect("all servers answer"));
        assert!(corrected.contains(&Looked::Corrected), "{corrected:?}");
        // Whoever was second has taken its rows away.
        world.clickhouse.becomes(LEFT, 0).await;
        world.agrees(100 + at).await;
        world.adds(added(price, 1..51), 50_000).await;
    }
    world.stop().await;
}

/// Lets a worker work, and drops it after so many steps from one wait to the next. Returns whether it had done its work before.
async fn dies_after(world: &World, id: u128, steps: usize) -> bool {
    let (worker, mut seen) = (world.worker(id).await, Seen::default());
    let mut work = pin!(async {
        let mut looked = Looked::Waits;
        while looked != Looked::Corrected {
            let look = corrections::look(&worker, &mut seen).await;
            looked = look.expect("all servers answer");
        }
    });
    let mut taken = 0;
    poll_fn(|context| {
        taken += 1;
        if taken > steps {
            return Poll::Ready(false);
        }
        work.as_mut().poll(context).map(|()| true)
    })
    .await
}

#[tokio::test]
async fn a_worker_that_dies_at_any_point_has_corrected_all_or_nothing() {
    let mut world = World::start().await;
    let records = (1..11).map(|number| answered(number, MODEL, 1));
    world.publish(1, records.collect(), 10).await;
    let price = price(70_000, 3);
    world.decide((0, 2), price).await;
    let whole = added(price, 1..11);
    let (mut steps, mut points) = (1, 0);
    loop {
        let id = u128::try_from(steps).expect("few");
        let is_done = dies_after(&world, 2 * id, steps).await;
        let seen = world.amount(AMOUNT).await;
        assert!(seen == 0 || seen == whole, "{seen} after {steps} steps");
        world.agrees(2 * id + 1).await;
        world.adds(whole, 10_000).await;
        if is_done {
            break;
        }
        // Once more from the beginning, with what the dead have left.
        world
            .clickhouse
            .execute("TRUNCATE TABLE correction_passes")
            .await;
        steps += 1 + steps / 6;
        points += 1;
    }
    assert!(points > 5, "it was killed at {points} points");
    world.stop().await;
}

#[tokio::test]
async fn passes_that_fail_do_not_leave_more_and_more_behind() {
    let mut world = World::start().await;
    let records = (1..11).map(|number| answered(number, MODEL, 1));
    world.publish(1, records.collect(), 10).await;
    let price = price(70_000, 3);
    world.decide((0, 2), price).await;
    let (worker, mut seen) = (world.worker(1).await, Seen::default());
    // No pass can be written down.
    let full = "ALTER TABLE correction_passes ADD CONSTRAINT full CHECK ordinal = 0";
    world.clickhouse.execute(full).await;
    let mut failed = 0;
    eventually("passes fail", async || {
        let looked = corrections::look(&worker, &mut seen).await;
        failed += usize::from(looked.is_err());
        (failed == 4).then_some(())
    })
    .await;
    assert_eq!(world.clickhouse.number(LEFT).await, Some(10));
    world.adds(0, 10_000).await;

    let free = "ALTER TABLE correction_passes DROP CONSTRAINT full";
    world.clickhouse.execute(free).await;
    eventually("all is corrected", async || {
        let looked = corrections::look(&worker, &mut seen).await;
        (looked.expect("all servers answer") == Looked::Agrees).then_some(())
    })
    .await;
    world.adds(added(price, 1..11), 10_000).await;
    world.clickhouse.becomes(LEFT, 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_rebuild_after_the_log_was_restored_takes_back_what_it_does_not_know() {
    let mut world = World::start().await;
    let records =
        (1..11).map(|number| answered(number, MODEL, i64::try_from(number).expect("few")));
    world.publish(1, records.collect(), 10).await;
    let (first, second) = (price(1, 1), price(90_000, 90_000));
    world.decide((1, 6), first).await;
    let (position, hash) = (world.log.position, world.log.hash);
    world.decide((6, 11), second).await;
    world.agrees(1).await;
    world
        .adds(added(first, 1..6) + added(second, 6..11), 10_000)
        .await;

    world.log.end_at(position, hash).await;
    let gone = format!(
        "ALTER TABLE admin_events DELETE WHERE position > {position} SETTINGS mutations_sync = 1"
    );
    world.clickhouse.execute(&gone).await;
    // Twice, before anybody has corrected anything: the second finds what the first has kept.
    let (jetstream, warehouse) = (world.nats.jetstream().await, world.clickhouse.warehouse());
    let stop = CancellationToken::new();
    for _ in 0..2 {
        let rebuilt = rebuild::ledger::rebuild(&jetstream, &warehouse, &stop, &|_| {}).await;
        assert_eq!(rebuilt.expect("it is built").differed, 0);
    }
    world.agrees(2).await;
    world.adds(added(first, 1..6), 10_000).await;
    assert_eq!(world.clickhouse.number(CORRECTED).await, Some(5));
    world.stop().await;
}

#[tokio::test]
async fn a_rebuild_adds_up_what_was_corrected_again() {
    let mut world = World::start().await;
    let records = (1..21).map(|number| answered(number, MODEL, 1));
    world.publish(1, records.collect(), 20).await;
    let price = price(70_000, 3);
    world.decide((0, 2), price).await;
    world.agrees(1).await;
    let whole = added(price, 1..21);
    world.adds(whole, 20_000).await;

    // The sums are damaged, and some of what they are made of is lost.
    world
        .clickhouse
        .execute("TRUNCATE TABLE cost_corrections_1m")
        .await;
    let lost = format!(
        "ALTER TABLE cost_corrections DELETE WHERE amount = {} SETTINGS mutations_sync = 1",
        cost(price, 7) - 1_000
    );
    world.clickhouse.execute(&lost).await;
    let (jetstream, warehouse) = (world.nats.jetstream().await, world.clickhouse.warehouse());
    let stop = CancellationToken::new();
    let rebuilt = rebuild::ledger::rebuild(&jetstream, &warehouse, &stop, &|_| {}).await;
    let rebuilt = rebuilt.expect("it is built");
    assert_eq!((rebuilt.built, rebuilt.differed), (20, 1));
    world.agrees(2).await;
    world.adds(whole, 20_000).await;
    // Everything goes on.
    world.publish(21, vec![answered(21, MODEL, 1)], 21).await;
    world.agrees(3).await;
    world.adds(added(price, 1..22), 21_000).await;
    world.stop().await;
}

/// Numbers by chance, the same each time.
struct Chance(u64);

impl Chance {
    /// splitmix64, cut to a random number of bits: small numbers are as likely as large ones.
    fn number(&mut self) -> u64 {
        let whole = self.next();
        whole >> (self.next() % 64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[tokio::test]
async fn the_ledger_costs_every_request_as_gateways_do_to_the_nano_dollar() {
    const SEED: u64 = 0x51_1c_e0;
    let clickhouse = ClickHouse::start();
    let mut chance = Chance(SEED);
    let edges = [0, 1, u64::MAX];
    let mut cases = Vec::new();
    for at in 0..2_000_usize {
        let mut number = || {
            // Some of them at the edges of what fits.
            if at % 7 == 0 {
                edges[usize::try_from(chance.next() % 3).expect("few")]
            } else {
                chance.number()
            }
        };
        cases.push([number(), number(), number(), number(), number(), number()]);
    }
    let rows = cases
        .iter()
        .map(|[input, cached, output, of_input, of_cached, of_output]| {
            format!("({input}, {cached}, {output}, {of_input}, {of_cached}, {of_output})")
        });
    let cost = cost_sql("of_input", "of_cached", "of_output");
    let sql = format!(
        "SELECT toUInt64({cost}) FROM (SELECT c.1 AS input_tokens, c.2 AS cached_input_tokens, c.3 AS output_tokens, \
         c.4 AS of_input, c.5 AS of_cached, c.6 AS of_output FROM (SELECT arrayJoin(CAST([{}], \
         'Array(Tuple(UInt64, UInt64, UInt64, UInt64, UInt64, UInt64))')) AS c))",
        rows.collect::<Vec<_>>().join(", ")
    );
    let warehouse = clickhouse.warehouse();
    let found = warehouse.client().query(&sql).fetch_all::<u64>().await;
    let expected = cases
        .iter()
        .map(|[input, cached, output, of_input, of_cached, of_output]| {
            let price = Price {
                input: NanoUsd::new(*of_input),
                output: NanoUsd::new(*of_output),
                cached_input: Some(NanoUsd::new(*of_cached)),
            };
            price.cost(*input, *cached, *output).nanos()
        });
    let expected: Vec<u64> = expected.collect();
    for (at, found) in found.expect("it answers").into_iter().enumerate() {
        assert_eq!(found, expected[at], "{:?} of seed {SEED}", cases[at]);
    }
}

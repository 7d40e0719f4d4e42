//! Shares are dealt out, however many counters there are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::{Client, Subscriber};
use events_schema::{subjects, time::Timestamp};
use futures_util::StreamExt as _;
use gateway_policy::limits::{
    Measure, Share,
    counter::{Mode, Terms, WhenCutOff},
    gateway::Gateway,
    message::{Broadcast, CounterId, Incarnation, Steady},
    period::Period,
    wire::{self, Pieces, shard_of},
};
use projections::{limits, nats, trust::Trust};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    asking::{ask, is_answered_nowhere_else},
    servers::{Nats, eventually, free_port},
};

/// The shard in which all counters lie.
const SHARD: usize = 3;
/// More than fit into one message by far.
const MANY: usize = 24_000;
/// Those of a gateway that has few.
const FEW: usize = 10;
/// One request of these makes a counter one with shares of its own.
const MOST: u64 = 16;
/// How long a message is waited for before a report is made again.
const PATIENCE: Duration = Duration::from_millis(500);

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

/// So many counters of one shard.
fn counters(rule: u8, many: usize) -> Vec<CounterId> {
    let all = (0_u32..).map(|number| {
        let mut segment = [0; 16];
        segment[..4].copy_from_slice(&number.to_be_bytes());
        CounterId {
            rule: [rule; 16],
            measure: Measure::Requests,
            period: Period::Day,
            segment,
        }
    });
    all.filter(|id| shard_of(id) == SHARD).take(many).collect()
}

/// A worker inside the test; dropping it is like killing it.
struct Worker(JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn worker(nats: &Nats) -> Worker {
    let link = nats::connect(&nats.server(), "limits").await;
    // No budget is asked for: nobody asks the ledger.
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let warehouse = projections::warehouse::Warehouse::new(&nowhere, &Trust::default());
    let config = limits::Config {
        link: link.expect("a good URL"),
        worker: Uuid::from_u128(1),
        replicas: 1,
        warehouse: warehouse.expect("a good URL"),
        now: noon,
        status: Arc::default(),
    };
    Worker(tokio::spawn(limits::run(config, CancellationToken::new())))
}

/// A gateway's shard, over NATS.
struct Node {
    gateway: Gateway,
    incarnation: Uuid,
    client: Client,
    told: Subscriber,
    pieces: Pieces,
    now: Steady,
    /// How long the longest message was that it was told.
    longest: usize,
}

impl Node {
    /// One that has had a request for each of these.
    async fn start(nats: &Nats, id: u8, counters: &[CounterId]) -> Self {
        let client = async_nats::connect(nats.url())
            .await
            .expect("NATS is there");
        let incarnation = Uuid::from_bytes([id; 16]);
        let subject = subjects::limits_told(incarnation);
        let mut gateway = Gateway::new(Incarnation([id; 16]), Steady(0));
        for counter in counters {
            let place = gateway.place(
                *counter,
                Terms::of_rate_limit(MOST, Mode::Enforce, WhenCutOff::Alone),
            );
            let counter = &mut gateway.counters()[place];
            counter.note(1, false);
            let _ = counter.charge(1, noon());
        }
        Self {
            gateway,
            incarnation,
            told: client.subscribe(subject).await.expect("subscribed"),
            client,
            pieces: Pieces::default(),
            now: Steady(0),
            longest: 0,
        }
    }

    /// Reports, and takes over what it is told.
    async fn talk(&mut self) {
        self.now = self.now.plus_us(1_000);
        let report = self.gateway.report(self.now);
        let most = self.client.server_info().max_payload;
        assert_eq!(
            most,
            1024 * 1024,
            "NATS takes no longer messages by default"
        );
        for message in wire::write([(SHARD, report)], most) {
            let subject = subjects::limits_report(self.incarnation);
            let sent = self.client.publish(subject, message.into()).await;
            sent.expect("NATS takes it");
        }
        self.client.flush().await.expect("flushed");
        while let Ok(Some(message)) = timeout(PATIENCE, self.told.next()).await {
            self.longest = self.longest.max(message.payload.len());
            let parts = self.pieces.read::<Broadcast>(0, &message.payload);
            let parts = parts.expect("it can be read");
            let of_shard = parts.iter().filter(|(shard, _)| *shard == SHARD);
            let mut is_told = false;
            for (_, broadcast) in of_shard {
                self.gateway.hear(broadcast);
                is_told = true;
            }
            if is_told {
                return;
            }
        }
    }

    /// What it knows to have been used of each counter, where all that it did itself is in it.
    fn known(&mut self) -> Option<BTreeMap<CounterId, u64>> {
        let counters = self.gateway.counters().iter_mut();
        let known = counters.map(|counter| {
            let (own, known) = counter.used(noon());
            (own == 0).then_some((counter.id(), known))
        });
        known.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_twenty_thousand_contended_counters_of_one_shard_are_told_in_pieces() {
    let nats = Nats::start().await;
    let _worker = worker(&nats).await;
    let many = counters(1, MANY);
    let mut few = counters(2, FEW - 1);
    let shared = many[0];
    few.push(shared);
    let mut large = Node::start(&nats, 1, &many).await;
    let mut small = Node::start(&nats, 2, &few).await;
    eventually("both know what all have used", async || {
        large.talk().await;
        small.talk().await;
        let known = |of: Option<BTreeMap<CounterId, u64>>, counter| of?.get(counter).copied();
        let both = [known(large.known(), &shared), known(small.known(), &shared)];
        (both == [Some(2); 2]).then_some(())
    })
    .await;
    assert_eq!(large.gateway.look().len(), MANY);
    assert_eq!(
        small.gateway.look().len(),
        FEW,
        "what others count is not here"
    );
    assert!(large.longest <= wire::MOST_BYTES && small.longest < 64 * 1024);
    // Of what only the other one uses it has no share of its own, and of what nobody uses, as much as all: once the other has
    // confirmed that it has less than before.
    assert_eq!(small.gateway.dealt(&many[1]), Share::NONE);
    let unused = counters(3, 64);
    eventually("it has its base share", async || {
        large.talk().await;
        small.talk().await;
        let dealt = unused.iter().map(|id| small.gateway.dealt(id));
        // Some are taken for others'.
        (dealt.filter(|share| *share > Share::NONE).count() > 32).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_the_counters_of_one_rule_stand_is_answered_to_whoever_asks() {
    let nats = Nats::start().await;
    let _worker = worker(&nats).await;
    // More counters that are used more than are told to everybody.
    let busy = counters(1, 1_500);
    let asked_for = counters(2, 3);
    let mut node = Node::start(&nats, 1, &[&busy[..], &busy[..], &asked_for[..]].concat()).await;
    let client = node.client.clone();
    let rule = Uuid::from_bytes([2; 16]);
    let answer = eventually("it is answered", async || {
        node.talk().await;
        let totals = ask(&client, subjects::LIMITS_TOTALS_OF, rule).await?;
        (totals.counters == 3).then_some(totals)
    })
    .await;
    assert!(
        answer
            .totals
            .iter()
            .all(|it| it.rule == rule && it.used == 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn how_counters_stand_is_answered_where_answers_are_heard_and_nowhere_else() {
    let nats = Nats::start().await;
    let _worker = worker(&nats).await;
    let client = async_nats::connect(nats.url()).await;
    let client = client.expect("NATS is there");
    is_answered_nowhere_else(&client, subjects::LIMITS_TOTALS_OF).await;
}

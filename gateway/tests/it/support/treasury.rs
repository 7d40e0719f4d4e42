//! Whoever lends of budgets, in the place of the projections: the real treasury over NATS, which writes down at once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Instant,
};

use events_schema::subjects;
use futures_util::StreamExt as _;
use gateway_policy::limits::{
    lease::{Leases, Purses, Treasury as Shard},
    message::{Incarnation, Steady},
    wire::{self, SHARDS},
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{eventually, nats::Nats};

/// One that is gone, and has spent what the ledger says.
const GONE: Incarnation = Incarnation([0xee; 16]);

/// Lends as long as it is not stopped.
pub(crate) struct Treasury {
    books: Arc<Mutex<Books>>,
    working: JoinHandle<()>,
}

struct Books {
    shards: Vec<Shard>,
    begin: Instant,
    /// What the ledger says was spent of each budget before; `None`: it does not say.
    spent_before: Option<u64>,
    heard: BTreeSet<Incarnation>,
}

/// How all budgets together stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) spent: u64,
    pub(crate) open: u64,
    pub(crate) committed: u64,
}

impl Treasury {
    /// Of budgets of which nothing was spent before.
    pub(crate) async fn start(nats: &Nats) -> Self {
        Self::start_as(nats, Some(0)).await
    }

    /// Of budgets of which so much was spent before, by gateways that are gone; `None`: nobody knows.
    pub(crate) async fn start_as(nats: &Nats, spent_before: Option<u64>) -> Self {
        let client = async_nats::connect(nats.url()).await.expect("NATS answers");
        let subscribed = client.subscribe(subjects::LIMITS_PURSES).await;
        let mut reports = subscribed.expect("it listens");
        client.flush().await.expect("NATS knows of it");
        let books = Arc::new(Mutex::new(Books {
            shards: vec![Shard::default(); SHARDS],
            begin: Instant::now(),
            spent_before,
            heard: BTreeSet::new(),
        }));
        let kept = Arc::clone(&books);
        let working = tokio::spawn(async move {
            while let Some(report) = reports.next().await {
                let parts = wire::read::<Purses>(&report.payload).expect("a gateway's report");
                let (to, answers) = kept.lock().expect("not poisoned").take(&parts);
                for answer in wire::write(answers, wire::MOST_BYTES) {
                    let subject = subjects::limits_leases(Uuid::from_bytes(to.0));
                    let sent = client.publish(subject, answer.into()).await;
                    sent.expect("NATS takes it");
                }
            }
        });
        Self { books, working }
    }

    /// From now on nobody lends.
    pub(crate) fn stop(&self) {
        self.working.abort();
    }

    /// The ledger says what was spent before, of all that is known and of what will be.
    pub(crate) fn ledger_says(&self, spent: u64) {
        let mut books = self.books.lock().expect("not poisoned");
        books.spent_before = Some(spent);
        let now = books.now();
        for shard in &mut books.shards {
            let known: Vec<_> = shard.standings(now).map(|(budget, _)| budget).collect();
            for budget in known {
                shard.ledger_said(&budget, [(GONE, spent)], now);
            }
        }
    }

    /// How all budgets together stand.
    pub(crate) fn sums(&self) -> Sums {
        let books = self.books.lock().expect("not poisoned");
        let now = books.now();
        let standings = books.shards.iter().flat_map(|shard| shard.standings(now));
        standings.fold(Sums::default(), |sums, (_, it)| Sums {
            spent: sums.spent + it.spent,
            open: sums.open + it.open,
            committed: sums.committed + it.committed,
        })
    }

    /// Waits until the budgets stand like this.
    pub(crate) async fn until(&self, what: &str, like: impl Fn(Sums) -> bool) -> Sums {
        eventually(what, async || Some(self.sums()).filter(|sums| like(*sums))).await
    }

    /// Waits until so many gateways have been heard.
    pub(crate) async fn hears(&self, gateways: usize) {
        eventually("gateways are heard", async || {
            let books = self.books.lock().expect("not poisoned");
            (books.heard.len() >= gateways).then_some(())
        })
        .await;
    }
}

impl Books {
    fn now(&self) -> Steady {
        let micros = self.begin.elapsed().as_micros();
        Steady(u64::try_from(micros).expect("not for ever"))
    }

    /// Takes over what a gateway reports, lends, and says what it is told.
    fn take(&mut self, parts: &[(usize, Purses)]) -> (Incarnation, Vec<(usize, Leases)>) {
        let now = self.now();
        let from = parts.first().expect("it has parts").1.incarnation;
        self.heard.insert(from);
        let answers = parts.iter().map(|(at, purses)| {
            let shard = &mut self.shards[*at];
            for row in &purses.rows {
                if shard.merge(from, row, now)
                    && let Some(spent) = self.spent_before
                {
                    shard.ledger_said(&row.budget, [(GONE, spent)], now);
                }
            }
            for record in shard.plan(now) {
                shard.written(&record);
            }
            let leases = Leases {
                to: from,
                includes: purses.number,
                sent_at: purses.sent_at,
                rows: shard.leases(from, now).collect(),
            };
            (*at, leases)
        });
        (from, answers.collect())
    }
}

impl Drop for Treasury {
    fn drop(&mut self) {
        self.stop();
    }
}

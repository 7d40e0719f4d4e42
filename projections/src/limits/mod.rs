//! Adds up what gateways count against limits, and deals out the shares: the shell around `gateway-policy`'s aggregator.
//!
//! Any number of these may run. All hear the gateways; one is in office and tells them what all have counted. Whoever is in
//! office loses no more than the office with it: what was counted stands in the gateways' next reports.

mod budgets;
mod office;
mod telling;
mod totals;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, jetstream};
use events_schema::{
    subjects,
    time::Timestamp,
    totals::{LimitTotal, LimitTotals},
};
use futures_util::StreamExt as _;
use gateway_policy::limits::{
    aggregator::Aggregator,
    message::{Broadcast, Incarnation, Report, Steady},
    wire::{Pieces, SHARDS},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    office::{Office, Standing},
    telling::{next_round, send},
};
use crate::{
    nats::Link,
    status::{Metrics, Part},
    warehouse::Warehouse,
};

/// How often the office is renewed, or asked for.
const RENEW: Duration = Duration::from_millis(500);
/// A message that cannot be handed over in this time is dropped: the next one says all that it said.
const SEND: Duration = Duration::from_millis(200);
/// For how long a piece of a report waits for the next one, or for up to twice as long. Gateways send them at once; this is for those
/// that are gone.
const PIECE: Duration = Duration::from_secs(5);
/// Between a session that failed and the next.
const AGAIN: Duration = Duration::from_millis(500);

/// What the worker works with.
pub struct Config {
    /// NATS.
    pub link: Link,
    /// Which worker this is.
    pub worker: Uuid,
    /// How often the streams that say who is in office, and what is lent, are kept.
    pub replicas: usize,
    /// The ledger, which says what was spent.
    pub warehouse: Warehouse,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Where the worker counts.
    pub status: Arc<Status>,
}

/// How the worker fares.
#[derive(Debug, Default)]
pub struct Status {
    /// The term; 0: it stands by.
    term: AtomicU64,
    /// Incarnations of gateways that were told something last.
    gateways: AtomicU64,
    /// Counters that are known.
    counters: AtomicU64,
    /// Of these, those of which more was admitted in their window than they let through.
    overshot: AtomicU64,
    /// Messages that could not be read.
    unreadable: AtomicU64,
    /// Messages to gateways that could not be sent.
    unsent: AtomicU64,
    /// Whether the last one could not be.
    is_failing: AtomicBool,
    /// Messages that would have been more pieces than anybody puts together.
    too_long: AtomicU64,
    /// How long the last round of telling took, in microseconds.
    round_us: AtomicU64,
    /// Budgets of which something was lent.
    budgets: AtomicU64,
    /// Of these, those of which the ledger has not said what was spent.
    unproven: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Status {
    fn note_unreadable(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }

    /// Notes whether a message to a gateway was sent; that one could not be is said once.
    fn note_sent(&self, bytes: usize, sent: Result<(), String>) {
        let Err(why) = sent else {
            self.is_failing.store(false, Relaxed);
            return;
        };
        self.unsent.fetch_add(1, Relaxed);
        if !self.is_failing.swap(true, Relaxed) {
            tracing::warn!(why, bytes, "gateways cannot be told of limits and budgets");
        }
    }

    /// Notes that so many messages were left out; it is said each time that they have become twice as many, since every round leaves
    /// out the same ones again.
    fn note_too_long(&self, many: u64, subject: &str) {
        if many == 0 {
            return;
        }
        let before = self.too_long.fetch_add(many, Relaxed);
        let all = before.saturating_add(many);
        if before.checked_ilog2() < all.checked_ilog2() {
            tracing::warn!(
                subject,
                all,
                "a gateway has more counters or budgets than can be told to it"
            );
        }
    }

    fn note_round(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.round_us.store(micros, Relaxed);
    }

    fn note_budgets(&self, known: usize, unproven: usize) {
        self.budgets.store(known as u64, Relaxed);
        self.unproven.store(unproven as u64, Relaxed);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The worker on the status page.
pub struct LimitsPart(pub Arc<Status>);

impl Part for LimitsPart {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn ready(&self) -> Result<(), String> {
        let trouble = self.0.trouble.lock();
        let trouble = trouble.unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map_or(Ok(()), Err)
    }

    fn metrics(&self, out: &mut Metrics) {
        let load = |of: &AtomicU64| of.load(Relaxed);
        out.gauge(
            "sluice_limits_term",
            "The term in which this worker deals out shares of limits; 0 while it stands by.",
            load(&self.0.term),
        );
        out.gauge(
            "sluice_limits_gateways",
            "Lives of gateways that share limits.",
            load(&self.0.gateways),
        );
        out.gauge(
            "sluice_limits_counters",
            "Counters of limits that are known.",
            load(&self.0.counters),
        );
        out.gauge(
            "sluice_limits_counters_overshot",
            "Of these, those of which more was admitted in their window than they let through; 0 while this worker stands by.",
            load(&self.0.overshot),
        );
        out.gauge(
            "sluice_limits_budgets",
            "Budgets of which this worker lends, each window by itself; 0 while it stands by.",
            load(&self.0.budgets),
        );
        out.gauge(
            "sluice_limits_budgets_unproven",
            "Of these, those of which the ledger has not said yet what was spent.",
            load(&self.0.unproven),
        );
        out.counter(
            "sluice_limits_unreadable",
            "Reports of gateways that could not be read.",
            load(&self.0.unreadable),
        );
        out.counter(
            "sluice_limits_unsent",
            "Messages to gateways on limits and budgets that could not be sent.",
            load(&self.0.unsent),
        );
        out.counter(
            "sluice_limits_too_long",
            "Messages to gateways on limits and budgets that were left out, since they would have been more than 128 pieces.",
            load(&self.0.too_long),
        );
        out.gauge(
            "sluice_limits_round_us",
            "How long the last round took in which gateways were told, in microseconds; the next one begins in 50 ms, or in twice that.",
            load(&self.0.round_us),
        );
    }
}

/// Works until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) {
    let (in_office, term) = watch::channel(0);
    let config = Arc::new(config);
    let mut work = Work {
        shards: vec![Aggregator::new(); SHARDS],
        begin: Instant::now(),
        heard_term: 0,
        pieces: Pieces::default(),
        not_told: Incarnation([0; 16]),
        in_office,
        config: Arc::clone(&config),
    };
    let forever = async {
        loop {
            let mut link = work.config.link.clone();
            let nth = link.up().await;
            let client = link.client.clone();
            let ended = tokio::select! {
                () = link.lost(nth) => "NATS is away".to_owned(),
                ended = work.session(&client) => ended,
            };
            work.enter(0);
            work.config.status.set_trouble(Some(ended));
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = forever => {}
        () = budgets::run(&config, term) => {}
        () = shutdown.cancelled() => {}
    }
}

struct Work {
    config: Arc<Config>,
    /// Each knows nothing of the others.
    shards: Vec<Aggregator>,
    begin: Instant,
    /// The highest term that a gateway has heard of.
    heard_term: u64,
    /// Of reports that are not here as a whole.
    pieces: Pieces,
    /// The last gateway that could not be told, with those after it: it is told last. At first nobody.
    not_told: Incarnation,
    /// The term while it is in office, else 0.
    in_office: watch::Sender<u64>,
}

impl Work {
    /// It is in office in this term; 0: it is not.
    fn enter(&self, term: u64) {
        self.config.status.term.store(term, Relaxed);
        self.in_office
            .send_if_modified(|known| std::mem::replace(known, term) != term);
    }

    fn steady(&self) -> Steady {
        let micros = self.begin.elapsed().as_micros();
        Steady(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Over one connection, until something is wrong with it; returns what.
    async fn session(&mut self, client: &Client) -> String {
        let subscribed = timeout(SEND, client.subscribe(subjects::LIMITS_REPORTS)).await;
        let Ok(Ok(mut reports)) = subscribed else {
            return "gateways' reports on limits cannot be heard".to_owned();
        };
        let subscribed = timeout(SEND, client.subscribe(subjects::LIMITS_TOTALS_OF)).await;
        let Ok(Ok(mut questions)) = subscribed else {
            return "questions about limits cannot be heard".to_owned();
        };
        let context = jetstream::new(client.clone());
        let mut office = match Office::open(context, self.config.worker, self.config.replicas).await
        {
            Ok(office) => office,
            Err(error) => return error.to_string(),
        };
        self.config.status.set_trouble(None);
        let mut tell = Box::pin(sleep_until(tokio::time::Instant::now()));
        let [mut renew, mut totals, mut piece] = [RENEW, totals::EVERY, PIECE].map(|time| {
            let mut interval = interval(time);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        loop {
            tokio::select! {
                report = reports.next() => match report {
                    Some(report) => self.hear(&report),
                    None => return "gateways' reports on limits cannot be heard".to_owned(),
                },
                question = questions.next() => match question {
                    Some(question) => self.answer(client, &question).await,
                    None => return "questions about limits cannot be heard".to_owned(),
                },
                () = &mut tell => {
                    let began = tokio::time::Instant::now();
                    self.tell(client).await;
                    let ended = tokio::time::Instant::now();
                    self.config.status.note_round(ended.duration_since(began));
                    tell.as_mut().reset(next_round(began, ended));
                }
                _ = totals.tick() => self.tell_totals(client).await,
                _ = piece.tick() => self.pieces.forget_waiting(),
                _ = renew.tick() => {
                    if let Err(error) = self.hold(&mut office).await {
                        self.config.status.set_trouble(Some(error.to_string()));
                    }
                }
            }
        }
    }

    fn hear(&mut self, message: &async_nats::Message) {
        let parts = self
            .pieces
            .read::<Report>(sender(message), &message.payload);
        let Ok(parts) = parts else {
            self.config.status.note_unreadable();
            return;
        };
        let now = self.steady();
        for (shard, report) in parts {
            let heard = report.heard.map_or(0, |heard| heard.term);
            self.heard_term = self.heard_term.max(heard);
            self.shards[shard].merge(&report, now);
        }
    }

    async fn tell(&mut self, client: &Client) {
        let (now, wall) = (self.steady(), (self.config.now)());
        let mut told = BTreeMap::<Incarnation, Vec<(usize, Broadcast)>>::new();
        for (shard, aggregator) in self.shards.iter_mut().enumerate() {
            for broadcast in aggregator.broadcast(now, wall) {
                told.entry(broadcast.to)
                    .or_default()
                    .push((shard, broadcast));
            }
        }
        self.enter(self.shards[0].term(now).unwrap_or(0));
        let status = &self.config.status;
        status.gateways.store(told.len() as u64, Relaxed);
        let counters: usize = self.shards.iter().map(Aggregator::counters).sum();
        status.counters.store(counters as u64, Relaxed);
        let mut after = told.split_off(&self.not_told);
        let last = after.remove_entry(&self.not_told);
        for (to, parts) in after.into_iter().chain(told).chain(last) {
            let subject = subjects::limits_told(Uuid::from_bytes(to.0));
            if !send(client, &subject, parts, status).await {
                // What the next ones are told would be taken no sooner: the round is over, and they come first in the next one.
                self.not_told = to;
                return;
            }
        }
    }

    /// Tells how all counters stand.
    async fn tell_totals(&self, client: &Client) {
        if self.shards[0].term(self.steady()).is_none() {
            self.config.status.overshot.store(0, Relaxed);
            return;
        }
        let wall = (self.config.now)();
        let all = self.shards.iter().flat_map(|it| it.standings(wall));
        let mut overshot = 0;
        let all = all.map(|(id, standing)| {
            overshot += u64::from(standing.overshot > 0);
            totals::of_counter(&id, &standing, wall)
        });
        let all: Vec<LimitTotal> = all.collect();
        self.config.status.overshot.store(overshot, Relaxed);
        totals::tell(client, subjects::LIMITS_TOTALS, &LimitTotals::of(all, wall)).await;
    }

    /// Says how the counters of one rule stand, to whoever asks for it.
    async fn answer(&self, client: &Client, question: &async_nats::Message) {
        let Some((to, rule)) = totals::asked(question) else {
            return;
        };
        if self.shards[0].term(self.steady()).is_none() {
            return;
        }
        let wall = (self.config.now)();
        let shards = self.shards.iter();
        let all = shards.flat_map(|it| it.standings_of(rule.into_bytes(), wall));
        let all = all.map(|(id, standing)| totals::of_counter(&id, &standing, wall));
        totals::tell(client, to, &LimitTotals::of(all, wall)).await;
    }

    /// Renews the office, or takes it where nobody else has it.
    async fn hold(&mut self, office: &mut Office) -> Result<(), office::Error> {
        let sent_at = self.steady();
        match office.hold(self.heard_term).await? {
            Standing::Renewed => {
                for aggregator in &mut self.shards {
                    aggregator.renew(sent_at);
                }
            }
            Standing::Taken(term) => {
                tracing::info!(term, "this worker deals out the shares of limits");
                for aggregator in &mut self.shards {
                    aggregator.take_office(term, sent_at);
                }
            }
            Standing::By => {}
        }
        self.config.status.set_trouble(None);
        Ok(())
    }
}

/// What the reports of one gateway have in common.
fn sender(message: &async_nats::Message) -> u128 {
    let last = message.subject.rsplit('.').next();
    let incarnation = last.and_then(|it| it.parse::<Uuid>().ok());
    incarnation.map_or(0, |it| it.as_u128())
}

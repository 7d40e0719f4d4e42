//! Lends gateways what they ask for of budgets: the shell around `gateway-policy`'s treasury.
//!
//! Only whoever is in office for limits lends, and begins with what is written down on `BUDGETS`. A gateway is answered each
//! time that it reports, and again when what it asked for is durable. Of a budget of which nothing is written down the ledger
//! is asked first: so totals outlive all that NATS and this process know. What requests used before a policy counted them is
//! asked for as well.

mod arrived;
mod before;
mod questions;
mod spent;
mod store;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::{Duration, Instant},
};

use async_nats::{Client, jetstream};
use events_schema::{
    id::BudgetPolicyId,
    subjects,
    time::Timestamp,
    totals::{LimitTotal, LimitTotals},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use gateway_policy::limits::{
    Measure,
    lease::{BudgetId, BudgetRecord, LeaseRow, Leases, Purses, Treasury},
    message::{Incarnation, Steady},
    wire::{Pieces, SHARDS, shard_of},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

use self::{
    before::Before,
    questions::Questions,
    spent::{Asked, Said, Spent},
    store::{Error, Store},
    turns::Turns,
};
use super::{AGAIN, Config, PIECE, SEND, Status, send, sender, totals};
use crate::{corrections, warehouse::WarehouseError};

/// How often it is looked whether something is left to be planned, or to be asked of the ledger.
const TICK: Duration = Duration::from_millis(50);
/// Between two questions to a ledger that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// When it has not answered for so long, what is known without it has to do: budgets are lent though ClickHouse is away.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How often the ledger is asked whether all records of gateways that have fallen silent have arrived.
const SETTLE: Duration = Duration::from_secs(5);
/// How often it is looked whether prices were corrected.
const LOOK_FOR_CORRECTIONS: Duration = Duration::from_secs(2);
/// For how long after the end of its window a budget is kept: requests that began in it may still be under way.
const LATE_US: i64 = 3_600_000_000;

/// Lends while this worker is in office, of which `term` tells: 0 while it is not. Ends when nobody tells any more.
pub(super) async fn run(config: &Config, mut term: watch::Receiver<u64>) {
    loop {
        let mut link = config.link.clone();
        let nth = link.up().await;
        let Ok(in_office) = term.wait_for(|term| *term > 0).await.map(|it| *it) else {
            return;
        };
        let client = link.client.clone();
        tokio::select! {
            () = link.lost(nth) => {}
            changed = term.wait_for(|term| *term != in_office) => if changed.is_err() {
                return;
            },
            ended = session(config, &client) => match ended {
                Err(Error::Another) => tracing::info!("budgets are lent by another"),
                Err(error) => {
                    let error = crate::feed::chain(&error);
                    tracing::warn!(error, "budgets are not lent");
                    config.status.set_trouble(Some(error));
                }
            },
        }
        config
            .status
            .budgets
            .store(0, std::sync::atomic::Ordering::Relaxed);
        sleep(AGAIN).await;
    }
}

/// What is known of a gateway, in one shard.
#[derive(Debug, Clone, Copy)]
struct Heard {
    number: u64,
    sent_at: Steady,
}

#[derive(Default)]
struct Shard {
    treasury: Treasury,
    heard: BTreeMap<Incarnation, Heard>,
}

/// A record was written, or not.
type Written = (BudgetRecord, Result<u64, Error>);

struct Work<'c> {
    config: &'c Config,
    client: &'c Client,
    store: Store,
    shards: Vec<Shard>,
    /// Of reports that are not here as a whole.
    pieces: Pieces,
    /// Which of them are told of for alerts.
    turns: Turns,
    begin: Instant,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    /// What the ledger is to be asked for.
    questions: Questions,
    /// The question that is under way.
    asking: Option<BoxFuture<'static, Result<Said, WarehouseError>>>,
    /// What was used before gateways counted it.
    before: Before,
    /// Waits until all records have been counted that lay on `USAGE` when this began; `None`: they have been.
    arriving: Option<BoxFuture<'static, ()>>,
    /// What requests used that counted at budgets when these had no such limit; those of which nothing was are not named.
    counted_before: BTreeMap<BudgetId, u64>,
    /// What corrected prices add to what was spent; those to which they add nothing are not named.
    corrected: BTreeMap<BudgetId, i64>,
    /// Up to which pass of corrections that is; `None`: it has not been looked.
    corrected_to: Option<u64>,
    /// The question which is the newest that is under way.
    looking: Option<BoxFuture<'static, Result<u64, WarehouseError>>>,
    /// When it was asked last.
    looked_at: Instant,
    /// When the ledger may be asked again.
    ask_at: Instant,
    /// When it was asked last.
    asked_at: Instant,
    /// The question about the dead that is under way.
    settling: Option<BoxFuture<'static, Result<Spent, WarehouseError>>>,
    /// When it was asked last.
    settled_at: Instant,
}

/// Over one connection, and in one term.
async fn session(config: &Config, client: &Client) -> Result<Infallible, Error> {
    let subscribed = timeout(SEND, client.subscribe(subjects::LIMITS_PURSES)).await;
    let Ok(Ok(mut purses)) = subscribed else {
        return Err(Error::Deaf);
    };
    let subscribed = timeout(SEND, client.subscribe(subjects::BUDGETS_TOTALS_OF)).await;
    let Ok(Ok(mut questions)) = subscribed else {
        return Err(Error::Deaf);
    };
    let context = jetstream::new(client.clone());
    let (store, records) = Store::open(context, config.replicas).await?;
    let mut work = Work::begin(config, client, store, records);
    let [mut tick, mut tell, mut piece] = [TICK, totals::EVERY, PIECE].map(|time| {
        let mut interval = interval(time);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    });
    loop {
        tokio::select! {
            report = purses.next() => match report {
                Some(report) => work.hear(&report).await,
                None => return Err(Error::Deaf),
            },
            question = questions.next() => match question {
                Some(question) => if let Some((to, said)) = work.answer(&question) {
                    totals::tell(client, &to, &said).await;
                },
                None => return Err(Error::Deaf),
            },
            Some((record, written)) = work.writes.next() => work.written(&record, written?).await,
            said = pending(&mut work.asking) => work.ledger_said(said),
            policies = work.before.answered((config.now)()) => work.used_before(&policies),
            spent = pending(&mut work.settling) => work.records_arrived(spent),
            newest = pending(&mut work.looking) => work.corrected(newest),
            () = pending(&mut work.arriving) => tracing::info!("all records have been counted that were there before"),
            _ = tick.tick() => work.tick(),
            _ = piece.tick() => work.pieces.forget_waiting(),
            _ = tell.tick() => {
                let (totals, used) = work.totals();
                totals::tell(client, subjects::BUDGETS_TOTALS, &totals).await;
                totals::tell(client, subjects::BUDGETS_USED, &used).await;
            }
        }
        work.plan();
    }
}

async fn tell(client: &Client, told: BTreeMap<Incarnation, Vec<(usize, Leases)>>, status: &Status) {
    for (to, parts) in told {
        let subject = subjects::limits_leases(Uuid::from_bytes(to.0));
        if !send(client, &subject, parts, status).await {
            // They ask again, and what is lent to them is told again.
            return;
        }
    }
}

/// What is under way; never, where nothing is.
async fn pending<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        Some(it) => {
            let done = it.await;
            *under_way = None;
            done
        }
        None => std::future::pending().await,
    }
}

impl<'c> Work<'c> {
    fn begin(
        config: &'c Config,
        client: &'c Client,
        store: Store,
        records: Vec<BudgetRecord>,
    ) -> Self {
        let wall = (config.now)();
        let mut of_shards = vec![Vec::new(); SHARDS];
        let mut questions = Questions::default();
        let begin = Instant::now();
        for record in records.into_iter().filter(|it| !is_over(&it.budget, wall)) {
            // What its gateways have spent beyond their leases, if they are gone.
            questions.about(record.budget, begin);
            of_shards[shard_of(&record.budget.counter)].push(record);
        }
        let shards = of_shards.into_iter().map(|records| Shard {
            treasury: Treasury::restore(records, Steady(0)),
            heard: BTreeMap::new(),
        });
        Self {
            config,
            client,
            store,
            shards: shards.collect(),
            pieces: Pieces::default(),
            turns: Turns::default(),
            begin,
            writes: FuturesUnordered::new(),
            questions,
            asking: None,
            before: Before::begin(jetstream::new(client.clone()), config.warehouse.clone()),
            arriving: Some(arrived::all(jetstream::new(client.clone())).boxed()),
            counted_before: BTreeMap::new(),
            corrected: BTreeMap::new(),
            corrected_to: None,
            looking: None,
            looked_at: begin,
            ask_at: begin,
            asked_at: begin,
            settling: None,
            settled_at: begin,
        }
    }

    fn steady(&self) -> Steady {
        let micros = self.begin.elapsed().as_micros();
        Steady(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// A gateway has reported: it is answered.
    async fn hear(&mut self, message: &async_nats::Message) {
        let parts = self
            .pieces
            .read::<Purses>(sender(message), &message.payload);
        let Ok(parts) = parts else {
            self.config.status.note_unreadable();
            return;
        };
        let (now, wall) = (self.steady(), (self.config.now)());
        let mut heard = Vec::with_capacity(parts.len());
        for (at, purses) in parts {
            let Purses {
                incarnation,
                number,
                sent_at,
                rows,
            } = purses;
            let shard = &mut self.shards[at];
            let last = shard.heard.get(&incarnation);
            if last.is_some_and(|last| last.number >= number) {
                continue;
            }
            shard.heard.insert(incarnation, Heard { number, sent_at });
            for row in rows.iter().filter(|row| !is_over(&row.budget, wall)) {
                if shard.treasury.merge(incarnation, row, now) {
                    self.questions.about(row.budget, Instant::now());
                }
            }
            heard.push((at, incarnation));
        }
        // What is to be lent to it is known when it is answered.
        self.plan();
        let mut told = BTreeMap::<Incarnation, Vec<(usize, Leases)>>::new();
        for (at, incarnation) in heard {
            let leases = self.shards[at].leases(incarnation, now, |_| true);
            told.entry(incarnation).or_default().push((at, leases));
        }
        tell(self.client, told, &self.config.status).await;
    }

    /// A record is durable: those whose leases it holds are told.
    async fn written(&mut self, record: &BudgetRecord, sequence: u64) {
        let (budget, now) = (record.budget, self.steady());
        self.store.written(budget, sequence);
        let at = shard_of(&budget.counter);
        let shard = &mut self.shards[at];
        shard.treasury.written(record);
        let concerned = record.leases.iter().map(|(whose, _)| *whose);
        let told = concerned
            .filter(|it| shard.heard.contains_key(it))
            .map(|it| {
                let leases = shard.leases(it, now, |row| row.budget == budget);
                (it, vec![(at, leases)])
            });
        let told = told.collect();
        tell(self.client, told, &self.config.status).await;
    }

    /// How all budgets stand.
    fn standings(&self) -> impl Iterator<Item = (BudgetId, LimitTotal)> {
        let now = self.steady();
        let all = self.shards.iter();
        let all = all.flat_map(move |it| it.treasury.standings(now));
        let is_arriving = self.arriving.is_some();
        all.map(move |(budget, mut standing)| {
            standing.is_lower_bound |= is_arriving || self.questions.is_open(&budget);
            (budget, totals::of_budget(&budget, &standing))
        })
    }

    /// How budgets stand: those that are used most, and those whose turn it is.
    fn totals(&mut self) -> (LimitTotals, LimitTotals) {
        let wall = (self.config.now)();
        let all: Vec<_> = self.standings().collect();
        let used = LimitTotals {
            at: wall,
            counters: all.len() as u64,
            totals: self.turns.next(&all),
        };
        let most = LimitTotals::of(all.into_iter().map(|(_, total)| total), wall);
        (most, used)
    }

    /// How the counters of one policy stand, and where whoever asks for it hears that.
    fn answer(&self, question: &async_nats::Message) -> Option<(String, LimitTotals)> {
        let (to, rule) = totals::asked(question)?;
        let of_rule = self.standings().filter(|(_, total)| total.rule == rule);
        let of_rule = of_rule.map(|(_, total)| total);
        let said = LimitTotals::of(of_rule, (self.config.now)());
        Some((to.to_owned(), said))
    }

    /// Plans what is to be lent, and begins to write it down.
    fn plan(&mut self) {
        let now = self.steady();
        for shard in &mut self.shards {
            for record in shard.treasury.plan(now) {
                let write = self.store.write(&record);
                self.writes
                    .push(write.map(move |written| (record, written)).boxed());
            }
        }
        self.ask();
    }

    /// Asks the ledger, where something is to be asked and nothing is being asked. A budget is asked for once it is known what was
    /// used of it before gateways counted, so that nothing is lent without the one or the other.
    fn ask(&mut self) {
        let wall = (self.config.now)();
        self.before.ask(wall);
        if self.asking.is_some() || Instant::now() < self.ask_at {
            return;
        }
        let open = self.questions.open();
        let ready = open.filter(|(it, since)| self.before.is_ready(it, since.elapsed(), wall));
        let asked: Asked = ready
            .map(|(budget, _)| (*budget, self.before.had(budget)))
            .collect();
        if asked.is_empty() {
            return;
        }
        self.asked_at = Instant::now();
        self.questions.ask();
        let warehouse = self.config.warehouse.clone();
        self.asking = Some(async move { spent::ask(&warehouse, &asked).await }.boxed());
    }

    fn ledger_said(&mut self, said: Result<Said, WarehouseError>) {
        let Said {
            spent,
            mut before,
            mut corrected,
        } = match said {
            Ok(said) => said,
            Err(error) => {
                let error = crate::feed::chain(&error);
                tracing::warn!(error, "what was spent of budgets is not known");
                self.ask_at = Instant::now() + ASK_AGAIN;
                return;
            }
        };
        let now = self.steady();
        tracing::info!(
            budgets = spent.len(),
            took_ms = self.asked_at.elapsed().as_millis(),
            "the ledger has said what was spent of budgets"
        );
        for (budget, spent) in spent {
            if !self.questions.answered(&budget) {
                // Nothing is lent by it: it may be about what the budget counted before, or about prices of before.
                continue;
            }
            match before.remove(&budget) {
                Some(used) => self.counted_before.insert(budget, used),
                None => self.counted_before.remove(&budget),
            };
            match corrected.remove(&budget) {
                Some(amount) => self.corrected.insert(budget, amount),
                None => self.corrected.remove(&budget),
            };
            self.adjust(&budget, now);
            let shard = &mut self.shards[shard_of(&budget.counter)];
            shard.treasury.ledger_said(&budget, spent, now);
        }
    }

    /// The budgets of these policies.
    fn budgets_of(&self, policies: &BTreeSet<BudgetPolicyId>) -> Vec<BudgetId> {
        let known = self.shards.iter().flat_map(|it| it.treasury.budgets());
        let known = known.filter(|it| policies.contains(&before::policy(it)));
        known.copied().collect()
    }

    /// Of policies that match something else now nothing is lent until it is known what that was before.
    fn mind_changes(&mut self) {
        let changed = self.before.changed();
        if changed.is_empty() {
            return;
        }
        for budget in self.budgets_of(&changed) {
            let shard = &mut self.shards[shard_of(&budget.counter)];
            shard.treasury.await_ledger(&budget);
            self.questions.about(budget, Instant::now());
        }
    }

    /// What was used before gateways counted it counts as spent, and what corrected prices add.
    fn adjust(&mut self, budget: &BudgetId, now: Steady) {
        let Some(used) = self.before.used(budget, (self.config.now)()) else {
            return;
        };
        let counted = self.counted_before.get(budget).copied().unwrap_or(0);
        let before = i64::try_from(counted.saturating_add(used)).unwrap_or(i64::MAX);
        let corrected = self.corrected.get(budget).copied().unwrap_or(0);
        let by = before.saturating_add(corrected);
        let shard = &mut self.shards[shard_of(&budget.counter)];
        shard.treasury.adjusted(budget, by, now);
    }

    /// Of these policies it is known what was used before.
    fn used_before(&mut self, policies: &BTreeSet<BudgetPolicyId>) {
        let now = self.steady();
        for budget in self.budgets_of(policies) {
            self.adjust(&budget, now);
            if self.before.is_of_new_limit(&budget) {
                // More that counted before may have arrived.
                self.questions.about(budget, Instant::now());
            }
        }
    }

    /// Looks whether prices were corrected.
    fn look_for_corrections(&mut self) {
        if self.looking.is_some() || self.looked_at.elapsed() < LOOK_FOR_CORRECTIONS {
            return;
        }
        self.looked_at = Instant::now();
        let warehouse = self.config.warehouse.clone();
        self.looking = Some(async move { corrections::newest(&warehouse).await }.boxed());
    }

    /// Where prices were corrected since it was looked last, the ledger is asked for all that is counted in money.
    fn corrected(&mut self, newest: Result<u64, WarehouseError>) {
        let newest = match newest {
            Ok(newest) => newest,
            Err(error) => {
                let error = crate::feed::chain(&error);
                tracing::warn!(error, "whether prices were corrected is not known");
                return;
            }
        };
        let last = self.corrected_to.replace(newest);
        // Nothing was corrected since, or ever.
        if last.unwrap_or(0) == newest {
            return;
        }
        self.before.ask_again();
        let known = self.shards.iter().flat_map(|it| it.treasury.budgets());
        let of_cost = known.filter(|it| it.counter.measure == Measure::Cost);
        let of_cost: Vec<BudgetId> = of_cost.copied().collect();
        for budget in of_cost {
            self.questions.about(budget, Instant::now());
        }
    }

    /// Asks the ledger about gateways that have been silent for longer than their leases last.
    fn settle(&mut self) {
        // When budgets had their limits has to be known.
        let is_early = self.settled_at.elapsed() < SETTLE || !self.before.has_begun();
        if self.settling.is_some() || is_early {
            return;
        }
        self.settled_at = Instant::now();
        let now = self.steady();
        let mut silent = BTreeMap::<BudgetId, BTreeSet<Incarnation>>::new();
        for shard in &self.shards {
            for (budget, whose) in shard.treasury.silent(now) {
                silent.entry(budget).or_default().insert(whose);
            }
        }
        if silent.is_empty() {
            return;
        }
        let warehouse = self.config.warehouse.clone();
        let asked = silent.keys();
        let asked: Asked = asked.map(|it| (*it, self.before.had(it))).collect();
        let asking = async move { spent::of_the_dead(&warehouse, &silent, asked).await };
        self.settling = Some(asking.boxed());
    }

    /// What the dead have spent is known; the rest of their leases is lent again.
    fn records_arrived(&mut self, spent: Result<Spent, WarehouseError>) {
        let spent = match spent {
            Ok(spent) => spent,
            Err(error) => {
                let error = crate::feed::chain(&error);
                tracing::warn!(error, "what gateways that are gone have spent is not known");
                return;
            }
        };
        let now = self.steady();
        for (budget, spent) in spent {
            let treasury = &mut self.shards[shard_of(&budget.counter)].treasury;
            for (whose, spent) in spent {
                // Where its lease has not ended yet, or is being written, it is said again.
                let _ = treasury.records_arrived(whose, &budget, spent, now);
            }
        }
    }

    /// Lends without the ledger what has waited for it too long, and forgets what is over.
    fn tick(&mut self) {
        let (now, wall) = (self.steady(), (self.config.now)());
        for (budget, since) in self.questions.open() {
            if since.elapsed() > GIVE_UP {
                let shard = &mut self.shards[shard_of(&budget.counter)];
                shard.treasury.ledger_said(budget, [], now);
            }
        }
        let (store, questions, turns) = (&mut self.store, &mut self.questions, &mut self.turns);
        let (counted_before, corrected) = (&mut self.counted_before, &mut self.corrected);
        let mut known = 0;
        for shard in &mut self.shards {
            let all = shard.treasury.budgets();
            let over: Vec<BudgetId> = all.filter(|it| is_over(it, wall)).copied().collect();
            for budget in over {
                shard.treasury.forget(&budget);
                store.forget(&budget);
                turns.forget(&budget);
                questions.forget(&budget);
                counted_before.remove(&budget);
                corrected.remove(&budget);
            }
            known += shard.treasury.budgets().count();
        }
        let unproven = self.questions.open().count();
        self.config.status.note_budgets(known, unproven);
        self.settle();
        self.look_for_corrections();
        self.mind_changes();
    }
}

impl Shard {
    /// What a gateway is told of these of its leases.
    fn leases(&self, to: Incarnation, now: Steady, which: impl Fn(&LeaseRow) -> bool) -> Leases {
        let heard = self.heard.get(&to);
        Leases {
            to,
            includes: heard.map_or(0, |heard| heard.number),
            sent_at: heard.map_or(Steady(0), |heard| heard.sent_at),
            rows: self.treasury.leases(to, now).filter(which).collect(),
        }
    }
}

/// Whether a budget's window has been over for so long that nothing of it is under way.
fn is_over(budget: &BudgetId, wall: Timestamp) -> bool {
    let ends = budget.counter.period.slot_begins(budget.slot.plus(1));
    ends.plus_micros(LATE_US) < wall
}

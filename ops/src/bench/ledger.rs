//! How many request records a second the ledger takes, how long after a request its record can be asked for, and that
//! `kill -9` of the worker at any moment loses none and doubles none.
//!
//! The records are made here and published as a gateway publishes them; the worker is the real one, as a process of its
//! own that is killed. The stack's own projections stand still meanwhile.

use std::collections::VecDeque;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use clickhouse::Row;
use events_schema::events::Owner;
use events_schema::id::Id;
use events_schema::money::NanoUsd;
use events_schema::subjects;
use events_schema::time::Timestamp;
use events_schema::usage::{Endpoint, Outcome as Ending, Tokens, UsageBatch, UsageRecord};
use futures_util::future::try_join_all;
use serde::Deserialize;
use uuid::Uuid;

use super::cpu;
use super::provider::free_address;
use super::stack::Stack;
use super::{Figures, histogram, milliseconds, rounded, say};
use crate::clock;
use crate::dice::Dice;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::ledger;
use crate::running::Running;
use crate::stack::{DataDir, secrets};

/// Records in one message of the flood: just under the 256 KiB of a gateway's.
const FLOOD_BATCH: u64 = 400;

/// Messages of the flood on their way at once.
const FLOOD_WINDOW: u64 = 32;

/// How often a gateway sends what it has.
const SENDS_EVERY: Duration = Duration::from_millis(50);

/// How often the ledger is asked how far it is: what that adds to a lag is half of it.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How long the ledger may take to have everything after the last record.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// How long a worker lives before it is killed.
const LIVES_MS: std::ops::Range<u64> = 200..1_500;

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Records of the flood.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Requests a second while the lag is measured and the worker is killed.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// How long the lag is measured, in seconds.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// How often the worker is killed.
    #[arg(long, default_value_t = 100)]
    kills: u32,
}

/// What the ledger has of one incarnation.
#[derive(Debug, Default, Row, Deserialize)]
struct Found {
    records: u64,
    numbers: u64,
}

/// The ledger from both sides.
struct Bench {
    stack: Stack,
    jetstream: jetstream::Context,
    clickhouse: clickhouse::Client,
}

/// A worker that is killed when it is dropped.
struct Worker(Child);

/// The records of one incarnation.
struct Source {
    incarnation: Uuid,
    made: u64,
}

/// Measures all three.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args {
        rows,
        rate,
        seconds,
        kills,
    } = args;
    let bench = Bench::up().await?;
    let _still = bench.stack.pause("projections")?;
    let mut figures = Figures::new();

    let flood = bench.flood(rows).await?;
    figures.insert("rows".to_owned(), rows.into());
    figures.insert("rows_per_s".to_owned(), rounded(flood));

    let mut lags = histogram();
    let mut source = Source::new(2);
    let worker = bench.start_worker()?;
    bench.steady(&mut source, rate, seconds, &mut lags).await?;
    figures.insert("rate".to_owned(), rate.into());
    figures.insert("lag_p50_ms".to_owned(), rounded(milliseconds(&lags, 0.5)));
    figures.insert("lag_p99_ms".to_owned(), rounded(milliseconds(&lags, 0.99)));
    drop(worker);

    let (lost, doubled) = bench.killed_again_and_again(rate, kills).await?;
    figures.insert("kills".to_owned(), kills.into());
    figures.insert("lost".to_owned(), lost.into());
    figures.insert("doubled".to_owned(), doubled.into());
    Ok(figures)
}

// === impl Bench ===

impl Bench {
    async fn up() -> Outcome<Self> {
        let stack = Stack::up()?;
        let passwords = secrets::nats_passwords(&DataDir::locate(Some(&stack.data()))?)?;
        let nats = async_nats::ConnectOptions::new()
            .user_and_password("admin".to_owned(), passwords.admin)
            .connect(&stack.ready.nats)
            .await
            .doing(|| "connecting to NATS".to_owned())?;
        let clickhouse = ledger::client(&stack.ready.clickhouse, None)?;
        Ok(Self {
            stack,
            jetstream: jetstream::new(nats),
            clickhouse,
        })
    }

    fn start_worker(&self) -> Outcome<Worker> {
        let running = Running::find(DataDir::locate(Some(&self.stack.data()))?)?;
        let mut command = running.projections()?;
        command
            .env("SLUICE_LISTEN", free_address()?.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().doing(|| "starting a worker".to_owned())?;
        Ok(Worker(child))
    }

    /// Lets the worker find `rows` records; the rows a second from the first that are seen to the last.
    async fn flood(&self, rows: u64) -> Outcome<f64> {
        say(&format!("publishing {rows} records"));
        let mut source = Source::new(1);
        while source.made < rows {
            let batches: Vec<Vec<u8>> = (0..FLOOD_WINDOW)
                .map_while(|_| source.next(FLOOD_BATCH.min(rows - source.made)))
                .collect();
            self.publish(&source, batches).await?;
        }
        let _worker = self.start_worker()?;
        let deadline = Instant::now() + DRAINED_WITHIN;
        let mut first = None;
        while Instant::now() < deadline {
            let found = self.found(&source).await?.records;
            let (since, already) = match first {
                None if found == 0 => continue,
                None => *first.insert((Instant::now(), found)),
                Some(first) => first,
            };
            if found >= rows {
                return Ok(cpu::ratio(rows - already, 1) / since.elapsed().as_secs_f64());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Err(Failure::new("the ledger did not take the records in time"))
    }

    /// Publishes at a steady rate, and notes how long after it was made each batch's first record can be asked for.
    async fn steady(
        &self,
        source: &mut Source,
        rate: u64,
        seconds: f64,
        lags: &mut hdrhistogram::Histogram<u64>,
    ) -> Outcome {
        say(&format!("{rate} records a second for {seconds} s"));
        let many = (rate / 20).max(1);
        // Before anything is measured, the worker must be at work.
        let batch: Vec<Vec<u8>> = source.next(1).into_iter().collect();
        self.publish(source, batch).await?;
        self.drained(source).await?;
        let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
        let mut send = tokio::time::interval(SENDS_EVERY);
        let mut ask = tokio::time::interval(ASK_EVERY);
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < until || !waiting.is_empty() {
            tokio::select! {
                _ = send.tick(), if Instant::now() < until => {
                    // The first of these requests ended when the last batch was sent.
                    let begun = Instant::now() - SENDS_EVERY;
                    let first = source.made + 1;
                    let batch: Vec<Vec<u8>> = source.next(many).into_iter().collect();
                    self.publish(source, batch).await?;
                    waiting.push_back((first, begun));
                }
                _ = ask.tick() => {
                    let found = self.found(source).await?.records;
                    while let Some((first, begun)) = waiting.pop_front_if(|(first, _)| *first <= found) {
                        debug_assert!(first <= found);
                        let lag = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        lags.saturating_record(lag);
                    }
                }
            }
        }
        Ok(())
    }

    /// Kills the worker over and over while records come; how many records are missing, and how many are there twice.
    async fn killed_again_and_again(&self, rate: u64, kills: u32) -> Outcome<(u64, u64)> {
        let mut source = Source::new(3);
        let mut dice = Dice::new(7);
        let many = (rate / 20).max(1);
        for kill in 1..=kills {
            if kill.is_multiple_of(10) {
                say(&format!("{kill} of {kills} kills"));
            }
            let worker = self.start_worker()?;
            let lives = Duration::from_millis(dice.between(LIVES_MS.start, LIVES_MS.end));
            let until = Instant::now() + lives;
            let mut send = tokio::time::interval(SENDS_EVERY);
            while Instant::now() < until {
                send.tick().await;
                let batch: Vec<Vec<u8>> = source.next(many).into_iter().collect();
                self.publish(&source, batch).await?;
            }
            drop(worker);
        }
        let _worker = self.start_worker()?;
        self.drained(&source).await?;
        let Found { records, numbers } = self.found(&source).await?;
        let (all, rolled_up) = self.settled().await?;
        let lost = source.made - numbers.min(source.made);
        Ok((
            lost + all.saturating_sub(rolled_up),
            records - numbers + rolled_up.saturating_sub(all),
        ))
    }

    /// Waits until the ledger has each record; what is lost for good ends the waiting, too, by the time.
    async fn drained(&self, source: &Source) -> Outcome {
        let deadline = Instant::now() + DRAINED_WITHIN;
        while Instant::now() < deadline {
            if self.found(source).await?.numbers >= source.made {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        say("the ledger does not have every record in time");
        Ok(())
    }

    /// How many requests there are, and how many the rollup counts: a batch shows in the one a moment before it shows in the
    /// other, so they are given the time to agree.
    async fn settled(&self) -> Outcome<(u64, u64)> {
        let deadline = Instant::now() + DRAINED_WITHIN;
        loop {
            let all = self.number("SELECT count() FROM requests").await?;
            let rolled_up = "SELECT toUInt64(sum(requests)) FROM usage_1m";
            let rolled_up = self.number(rolled_up).await?;
            if all == rolled_up || Instant::now() > deadline {
                return Ok((all, rolled_up));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn number(&self, question: &str) -> Outcome<u64> {
        let asked = self.clickhouse.query(question).fetch_one();
        asked.await.doing(|| "asking the ledger".to_owned())
    }

    async fn found(&self, source: &Source) -> Outcome<Found> {
        let question = "SELECT count() AS records, uniqExact(number) AS numbers FROM requests \
                        WHERE incarnation = toUUID({incarnation:String})";
        self.clickhouse
            .query(question)
            .param("incarnation", source.incarnation.to_string())
            .fetch_one()
            .await
            .doing(|| "asking the ledger".to_owned())
    }

    async fn publish(&self, source: &Source, batches: Vec<Vec<u8>>) -> Outcome {
        let subject = subjects::usage(source.incarnation);
        let mut acknowledged = Vec::new();
        for batch in batches {
            let sent = self.jetstream.publish(subject.clone(), batch.into()).await;
            acknowledged.push(sent.doing(|| "publishing records".to_owned())?);
        }
        let stored = acknowledged.into_iter().map(IntoFuture::into_future);
        try_join_all(stored)
            .await
            .map(drop)
            .doing(|| "publishing records".to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // `kill -9`.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === impl Source ===

impl Source {
    fn new(incarnation: u64) -> Self {
        Self {
            incarnation: Uuid::from_u64_pair(clock::now_us(), incarnation),
            made: 0,
        }
    }

    /// The next batch as it is published; `None` of no records.
    fn next(&mut self, many: u64) -> Option<Vec<u8>> {
        let first_number = self.made + 1;
        self.made += many;
        let usage = UsageBatch {
            gateway: self.incarnation,
            incarnation: self.incarnation,
            region: "bench".to_owned(),
            first_number,
            records: (first_number..=self.made)
                .map(|number| record(self.incarnation, number))
                .collect(),
        };
        (many > 0)
            .then(|| serde_json::to_vec(&usage).expect("records hold nothing that JSON cannot"))
    }
}

/// A record like a chat's.
fn record(incarnation: Uuid, number: u64) -> UsageRecord {
    let owner = number % 1_000;
    let now = i64::try_from(clock::now_us()).unwrap_or(i64::MAX);
    UsageRecord {
        request: Uuid::from_u64_pair(incarnation.as_u64_pair().0 ^ number, number),
        received_at: Timestamp::from_micros(now).unwrap_or(Timestamp::MAX),
        epoch: None,
        position: 42,
        endpoint: Endpoint::ChatCompletions,
        streamed: true,
        key: Some(Id::from_uuid(Uuid::from_u64_pair(1, owner))),
        owner: Some(Owner::VirtualAccount(Id::from_uuid(Uuid::from_u64_pair(
            2, owner,
        )))),
        requested_model: "chat".to_owned(),
        resolved: None,
        answered_by: Some(Id::from_uuid(Uuid::from_u64_pair(3, number % 4))),
        target: Some("mock/fast".to_owned()),
        attempts: Vec::new(),
        outcome: Ending::Success,
        status: 200,
        error_code: None,
        rules: Vec::new(),
        seed: number,
        routing: None,
        tokens: Tokens {
            input: 120,
            output: 64,
            ..Tokens::default()
        },
        cost: Some(NanoUsd::new(376_000)),
        duration_us: 250_000 + number % 100_000,
        first_byte_us: Some(40_000),
        metadata: [("environment".to_owned(), "production".to_owned())].into(),
        budgets: None,
        limits: None,
    }
}

//! How long a change takes from the log to the first request that is answered by it, while other
//! requests run, of which none may fail.
//!
//! The clock starts at the event's `recorded_at`, which `commands` takes before it writes: the
//! figures hold the commit, too. It stops when the first answer is read that only the new state
//! gives.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use events_schema::api::commands::{CommandAnswer, NewCommand};
use hdrhistogram::Histogram;
use tokio::task::JoinHandle;

use super::api::{Account, Api};
use super::load::{self, Shape};
use super::scene::{Key, Scene, VIRTUAL_MODEL, routing};
use super::stack::Stack;
use super::wire::Connection;
use super::{Figures, histogram, milliseconds, provider, rounded, say};
use crate::clock;
use crate::failure::{Doing as _, Failure, Outcome};

/// A change that does not show after this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Keys in the organisation.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Changes to make.
    #[arg(long, default_value_t = 1_000)]
    changes: u32,
    /// Other requests a second that run meanwhile.
    #[arg(long, default_value_t = 200)]
    rate: u32,
}

/// What a request is answered under the new state, and not under the old one.
#[derive(Clone, Copy)]
enum Sign {
    /// The key works.
    Admitted,
    /// The key does not work.
    Refused,
    /// This target answers.
    Target(&'static str),
}

/// One change, and when it was seen.
struct Seen {
    position: u64,
    /// When its answer came, and when its sign was seen, in Unix microseconds.
    answered_us: u64,
    seen_us: u64,
}

/// What makes changes and looks for them.
struct Prober {
    api: Api,
    scene: Scene,
    probe: Probe,
    /// A key that always works.
    steady: Key,
    /// The key that is being changed.
    key: Key,
}

/// Asks the gateway again and again.
struct Probe {
    gateway: SocketAddr,
    connection: Connection,
    /// Answers that neither the old nor the new state gives.
    unexpected: u64,
}

/// The load that runs meanwhile, on a thread of its own.
struct Background {
    stop: Arc<AtomicBool>,
    running: JoinHandle<Outcome<(u64, u64)>>,
}

/// Changes configuration while a load runs, and looks for each change from outside.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args {
        keys,
        changes,
        rate,
    } = args;
    let stack = Stack::up()?;
    let operator = &stack.ready.operator;
    let account = Account::sign_in(stack.api()?, &operator.email, &operator.password).await?;
    let mut api = account.open().await?;
    let upstream = provider::Provider::start()?;
    let scene = Scene::set(&mut api, upstream.address).await?;
    let batch = scene.issue_keys(&account, "bench", keys).await?;
    let steady = scene.issue_key(&mut api, "steady".to_owned()).await?;
    let key = scene.issue_key(&mut api, "changing".to_owned()).await?;
    api.wait_until_served(key.position.max(batch.newest()?.position))
        .await?;

    let gateway = stack.gateway()?;
    let probe = Probe::at(gateway).await?;
    let background = Background::start(gateway, &steady.secret, rate);
    say(&format!(
        "making {changes} changes while {rate} requests a second run"
    ));
    let mut prober = Prober {
        api,
        scene,
        probe,
        steady,
        key,
    };
    let mut seen = Vec::new();
    for number in 0..changes {
        seen.push(prober.change(number).await?);
    }
    let (answered, refused) = background.stop().await?;
    let (from_record, from_answer) = prober.times(&seen).await?;

    let mut figures = Figures::new();
    figures.insert("changes".to_owned(), changes.into());
    figures.insert("keys".to_owned(), keys.into());
    figures.insert(
        "p50_ms".to_owned(),
        rounded(milliseconds(&from_record, 0.5)),
    );
    figures.insert(
        "p99_ms".to_owned(),
        rounded(milliseconds(&from_record, 0.99)),
    );
    figures.insert(
        "max_ms".to_owned(),
        rounded(milliseconds(&from_record, 1.0)),
    );
    figures.insert(
        "after_answer_p50_ms".to_owned(),
        rounded(milliseconds(&from_answer, 0.5)),
    );
    figures.insert(
        "after_answer_p99_ms".to_owned(),
        rounded(milliseconds(&from_answer, 0.99)),
    );
    figures.insert("requests".to_owned(), (answered + refused).into());
    figures.insert(
        "failed".to_owned(),
        (refused + prober.probe.unexpected).into(),
    );
    Ok(figures)
}

// === impl Prober ===

impl Prober {
    /// Makes the change of that number, in turns, and waits for its sign.
    async fn change(&mut self, number: u32) -> Outcome<Seen> {
        let key = self.key.id;
        match number % 5 {
            0 => self.issue(number).await,
            1 => {
                self.alter(NewCommand::DisableKey { key }, Sign::Refused)
                    .await
            }
            2 => {
                self.alter(NewCommand::EnableKey { key }, Sign::Admitted)
                    .await
            }
            3 => self.reroute(number).await,
            _ => {
                self.alter(NewCommand::RevokeKey { key }, Sign::Refused)
                    .await
            }
        }
    }

    /// A new key works: it cannot be tried before it is known.
    async fn issue(&mut self, number: u32) -> Outcome<Seen> {
        self.key = self
            .scene
            .issue_key(&mut self.api, format!("change {number}"))
            .await?;
        let answered_us = clock::now_us();
        let seen_us = self.probe.until(&self.key.secret, Sign::Admitted).await?;
        Ok(Seen {
            position: self.key.position,
            answered_us,
            seen_us,
        })
    }

    /// The virtual model has another target only.
    async fn reroute(&mut self, number: u32) -> Outcome<Seen> {
        let (index, target) = if number.is_multiple_of(2) {
            (0, "bench/one")
        } else {
            (1, "bench/two")
        };
        let command = NewCommand::ChangeVirtualModelRouting {
            virtual_model: self.scene.virtual_model,
            routing: routing(&self.scene.models[index..=index]),
        };
        let secret = self.steady.secret.clone();
        self.alter_for(command, &secret, Sign::Target(target)).await
    }

    /// The key that is being changed behaves differently.
    async fn alter(&mut self, command: NewCommand, sign: Sign) -> Outcome<Seen> {
        let secret = self.key.secret.clone();
        self.alter_for(command, &secret, sign).await
    }

    /// Sends a command and looks for its sign at the same time.
    async fn alter_for(&mut self, command: NewCommand, secret: &str, sign: Sign) -> Outcome<Seen> {
        let Self { api, probe, .. } = self;
        let sending = async {
            let answer: CommandAnswer = api.command(command).await?;
            Ok((answer.position, clock::now_us()))
        };
        let ((position, answered_us), seen_us) =
            tokio::try_join!(sending, probe.until(secret, sign))?;
        Ok(Seen {
            position,
            answered_us,
            seen_us,
        })
    }

    /// From each event's `recorded_at`, and from each command's answer, until its sign was seen.
    async fn times(&mut self, seen: &[Seen]) -> Outcome<(Histogram<u64>, Histogram<u64>)> {
        let positions = || seen.iter().map(|seen| seen.position);
        let (first, last) = (
            positions().min().unwrap_or(0),
            positions().max().unwrap_or(0),
        );
        let events = self.api.events(first, last).await?;
        let recorded: HashMap<u64, u64> = events
            .iter()
            .map(|event| (event.position, event.recorded_at.micros().unsigned_abs()))
            .collect();
        let (mut from_record, mut from_answer) = (histogram(), histogram());
        for seen in seen {
            let recorded_us = recorded.get(&seen.position).ok_or_else(|| {
                Failure::new(format!(
                    "the history does not show position {}",
                    seen.position
                ))
            })?;
            from_record.saturating_record(seen.seen_us.saturating_sub(*recorded_us) * 1_000);
            from_answer.saturating_record(seen.seen_us.saturating_sub(seen.answered_us) * 1_000);
        }
        Ok((from_record, from_answer))
    }
}

// === impl Probe ===

impl Probe {
    async fn at(gateway: SocketAddr) -> Outcome<Self> {
        let connection = Connection::open(gateway).await;
        let connection = connection.doing(|| format!("connecting to the gateway at {gateway}"))?;
        Ok(Self {
            gateway,
            connection,
            unexpected: 0,
        })
    }

    /// Asks with this key until the sign is seen; when that was, in Unix microseconds.
    async fn until(&mut self, secret: &str, sign: Sign) -> Outcome<u64> {
        let question = provider::question(self.gateway, VIRTUAL_MODEL, secret).request;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let reply = self.connection.exchange(&question).await;
            let reply = reply.doing(|| "asking the gateway".to_owned())?;
            let shown = match (sign, reply.status) {
                (Sign::Admitted, 200) | (Sign::Refused, 401 | 403) => true,
                (Sign::Target(target), 200) => reply.header("x-sluice-target") == Some(target),
                (Sign::Admitted, 401 | 403) | (Sign::Refused, 200) => false,
                (_, _) => {
                    self.unexpected += 1;
                    false
                }
            };
            if shown {
                return Ok(clock::now_us());
            }
        }
        Err(Failure::new(format!(
            "a change did not show within {} s",
            PATIENCE.as_secs()
        )))
    }
}

// === impl Background ===

impl Background {
    fn start(gateway: SocketAddr, secret: &str, rate: u32) -> Self {
        let target = provider::question(gateway, VIRTUAL_MODEL, secret);
        let shape = Shape {
            connections: 8,
            rate: Some(rate),
            time: Duration::from_secs(1),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let running = tokio::spawn(async move {
            let (mut answered, mut refused) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let report = load::run(None, &target, shape).await?;
                answered += report.answers;
                refused += report.refused;
            }
            Ok((answered, refused))
        });
        Self { stop, running }
    }

    /// Ends the load: how many requests were answered 200, and how many otherwise.
    async fn stop(self) -> Outcome<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.running
            .await
            .doing(|| "waiting for the background load".to_owned())?
    }
}

//! Gateways as processes, under ten times the load that their limits let through, in calm and while something fails.
//!
//! What is admitted is counted where it arrives: by the provider. Each limit is on an account with a provider of its own, and
//! they are under load at the same time. All limits are of a day, so that no window ends in between.

mod bus;
mod fleet;
mod load;
mod meter;
mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use gateway_policy::limits::share::Share;

use self::bus::{Bus, Rule};
use self::fleet::{Fleet, InOffice};
use self::load::Tally;
use self::meter::{Measured, Meter};
use self::trial::{Circumstances, Trial};
use super::super::api::Api;
use super::super::cpu::ratio;
use super::super::{Figures, rounded, say};
use crate::clock;
use crate::failure::{Failure, Outcome};

/// A day, in microseconds.
const DAY_US: u64 = 86_400_000_000;

/// What a trial takes beside its load: to begin and to end limits.
const AROUND: Duration = Duration::from_secs(30);

/// How often it is looked how much has been admitted.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Something fails once a third of the limits is used.
const STRIKES_AT: u64 = 3;

/// Which gateway is killed. The last is cut off.
const KILLED: usize = 0;

/// What to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Real {
    /// Gateways, as processes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=32))]
    gateways: u16,
    /// How long each load lasts, in seconds; each asks for ten times the limits.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=600))]
    seconds: u32,
    /// The limit on requests.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(100..))]
    limit_requests: u64,
    /// The limit on tokens.
    #[arg(long, default_value_t = 1_200_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    limit_tokens: u64,
    /// The budget, in nano-dollars.
    #[arg(long, default_value_t = 2_400_000_000, value_parser = clap::value_parser!(u64).range(10_000_000..))]
    limit_money: u64,
}

/// Everything that takes part.
struct Arena {
    fleet: Fleet,
    api: Api,
    bus: Bus,
    meters: Vec<Meter>,
    time: Duration,
}

/// What a trial has struck: which share each meter's counter had there.
struct Struck {
    shares: Vec<Share>,
}

// === impl Real ===

impl Real {
    /// For the tests.
    pub(super) const QUICK: Self = Self {
        gateways: 3,
        seconds: 6,
        limit_requests: 300,
        limit_tokens: 90_000,
        limit_money: 240_000_000,
    };

    const fn limit(self, measured: Measured) -> u64 {
        match measured {
            Measured::Requests => self.limit_requests,
            Measured::Tokens => self.limit_tokens,
            Measured::Money => self.limit_money,
        }
    }
}

/// Sets everything up and runs all trials.
pub(super) async fn run(args: Real) -> Outcome<Figures> {
    let fleet = Fleet::up(args.gateways).await?;
    let mut api = fleet.api().await?;
    let mut meters = Vec::new();
    for measured in Measured::ALL {
        meters.push(Meter::set(measured, args.limit(measured), &mut api).await?);
    }
    let bus = Bus::listen(&fleet.stack).await?;
    let time = Duration::from_secs(u64::from(args.seconds));
    let mut arena = Arena {
        fleet,
        api,
        bus,
        meters,
        time,
    };
    let mut figures = Figures::new();
    figures.insert("real_gateways".to_owned(), args.gateways.into());
    for trial in Trial::of(time) {
        say(&format!("{} gateways: {}", args.gateways, trial.name()));
        figures.extend(arena.run(trial).await?);
    }
    Ok(figures)
}

// === impl Arena ===

impl Arena {
    async fn run(&mut self, trial: Trial) -> Outcome<Figures> {
        self.fleet.wait_until_whole().await?;
        self.bus.wait_until_settled().await?;
        wait_for_room_in_the_day(self.time + AROUND).await;
        let mut position = 0;
        for meter in &mut self.meters {
            position = meter.begin(&mut self.api, trial.name()).await?;
        }
        self.fleet
            .wait_until_served(position, &mut self.api)
            .await?;
        let rules: Vec<Option<Rule>> = self.meters.iter().map(Meter::rule).collect();
        let dealt: Vec<Rule> = rules.iter().copied().flatten().collect();
        let before = self.fleet.in_office().await?;
        let idle = self.fleet.idle_life(&mut self.api).await?;
        let parts = trial.parts(self.fleet.len());
        let gateways: Vec<_> = self.fleet.addresses().zip(parts).collect();
        let plans = self.meters.iter().map(|it| it.load(&gateways, self.time));
        let plans: Vec<load::Plan> = plans.collect();
        let callers: Vec<u64> = plans
            .iter()
            .map(|plan| plan.lanes.iter().map(|lane| u64::from(lane.callers)).sum())
            .collect();

        self.bus.watch(&dealt, idle);
        let admitted = Arc::new(AtomicU64::new(0));
        let loads = plans.into_iter().zip(&self.meters).map(|(plan, meter)| {
            // The limit on requests says when something fails.
            let counts = meter.measured == Measured::Requests;
            let counter = Arc::clone(&admitted);
            load::run(plan, if counts { counter } else { Arc::default() })
        });
        let loads = try_join_all(loads.collect::<Vec<_>>());
        let strike = strike(
            &mut self.fleet,
            &mut self.api,
            Strike {
                trial,
                time: self.time,
                in_office: before,
                bus: &self.bus,
                rules: &rules,
                admitted: &admitted,
                third: self.meters[0].limit / STRIKES_AT,
            },
        );
        let (tallies, struck) = tokio::try_join!(loads, strike)?;
        let delay = self.bus.delay();

        let mut figures = Figures::new();
        for (at, (meter, tally)) in self.meters.iter().zip(&tallies).enumerate() {
            check(trial, tally)?;
            let counted = meter.counted().await?;
            let share = struck.shares.get(at).copied().unwrap_or(Share::NONE);
            let around = Circumstances {
                rate: meter.overload(tally.asked) / self.time.as_secs_f64(),
                delay,
                lives: self.bus.lives(),
                callers: callers[at],
                struck: trial.unseen(share),
            };
            figures.extend(trial.figures(meter, counted, &around));
            if trial == Trial::Even {
                let name = meter.measured.name();
                let overload = rounded(meter.overload(tally.asked));
                figures.insert(format!("real_overload_{name}"), overload);
                if let Some(rule) = rules[at] {
                    let known = 100.0 * ratio(self.bus.used(rule).await?, counted);
                    figures.insert(format!("real_known_{name}_pct"), rounded(known));
                }
            }
        }
        let name = format!("real_delay_ms{}", trial.suffix());
        figures.insert(name, rounded(delay.as_secs_f64() * 1_000.0));
        for meter in &mut self.meters {
            meter.end(&mut self.api).await?;
        }
        if trial == Trial::AggregatorKilled {
            self.fleet.wait_until_whole().await?;
            succeeded(before, self.fleet.in_office().await?)?;
        }
        Ok(figures)
    }
}

/// What a strike needs to know.
struct Strike<'a> {
    trial: Trial,
    time: Duration,
    in_office: Option<InOffice>,
    bus: &'a Bus,
    rules: &'a [Option<Rule>],
    admitted: &'a AtomicU64,
    third: u64,
}

/// Lets happen what a trial is about, once a third of the limit is used.
async fn strike(fleet: &mut Fleet, api: &mut Api, strike: Strike<'_>) -> Outcome<Struck> {
    let Strike {
        trial,
        time,
        in_office,
        bus,
        rules,
        admitted,
        third,
    } = strike;
    let last = fleet.len() - 1;
    let struck = match trial {
        Trial::GatewayKilled => Some(KILLED),
        Trial::GatewayCutOff | Trial::GatewayCutOffLong => Some(last),
        Trial::Even | Trial::Uneven | Trial::AggregatorKilled | Trial::NatsRestarted => None,
    };
    let life = match struck {
        Some(at) => Some(fleet.life(at, api).await?),
        None => None,
    };
    if !wait_until_a_third_is_used(admitted, third, time).await {
        return Err(Failure::new(format!(
            "{}: of the limit on requests not even a third is used after all of the load",
            trial.name()
        )));
    }
    let mut shares = Vec::new();
    if let Some(life) = life {
        let share = |rule: &Option<Rule>| rule.and_then(|rule| bus.share(rule, life));
        shares = rules
            .iter()
            .map(|rule| share(rule).unwrap_or(Share::NONE))
            .collect();
        bus.ignore(life);
    }
    match trial {
        Trial::Even | Trial::Uneven => {}
        Trial::AggregatorKilled => {
            let nobody = || Failure::new("nobody deals out shares of limits");
            fleet.kill_aggregator(in_office.ok_or_else(nobody)?)?;
        }
        Trial::NatsRestarted => fleet.restart_nats()?,
        Trial::GatewayKilled => {
            fleet.kill(KILLED);
            fleet.start(KILLED)?;
            fleet.ready(KILLED).await?;
        }
        Trial::GatewayCutOff | Trial::GatewayCutOffLong => {
            fleet.cut_off(true);
            tokio::time::sleep(trial.cut(time).unwrap_or_default()).await;
            fleet.cut_off(false);
        }
    }
    Ok(Struck { shares })
}

/// Whether so many were admitted before the load ended.
async fn wait_until_a_third_is_used(admitted: &AtomicU64, third: u64, time: Duration) -> bool {
    let begun = Instant::now();
    while admitted.load(Relaxed) < third {
        if begun.elapsed() > time {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

/// Callers are admitted or refused, and nothing else but what the trial explains.
fn check(trial: Trial, tally: &Tally) -> Outcome {
    let (may_break, may_be_told_later) = trial.excuses();
    let broken = tally.broken * u64::from(may_break);
    let later = tally.of(503) * u64::from(may_be_told_later);
    if tally.of(200) + tally.of(429) + broken + later == tally.asked {
        return Ok(());
    }
    let (name, asked) = (trial.name(), tally.asked);
    let (statuses, broken) = (&tally.statuses, tally.broken);
    Err(Failure::new(format!(
        "{name}: of {asked} requests {broken} had no answer, and the others had {statuses:?}"
    )))
}

/// The aggregator that was killed has a successor.
fn succeeded(before: Option<InOffice>, after: Option<InOffice>) -> Outcome {
    let term = |it: Option<InOffice>| it.map_or(0, |it| it.term);
    if term(after) > term(before) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{before:?} was killed, and then {after:?} deals out shares"
    )))
}

/// Waits for midnight (UTC) where less than this is left of the day: limits of a day begin again there.
async fn wait_for_room_in_the_day(needed: Duration) {
    loop {
        let left = Duration::from_micros(DAY_US - clock::now_us() % DAY_US);
        if left > needed {
            return;
        }
        say("the day is about to end: waiting for the next");
        tokio::time::sleep(left).await;
    }
}

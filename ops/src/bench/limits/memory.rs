//! What a counter takes of memory, at a gateway and at the aggregator, and how long the aggregator's work with all of them takes.
//! What they say to each other is not in the memory: it goes shard by shard, and is gone at once.

use std::time::Instant;

use events_schema::time::Timestamp;
use gateway_policy::limits::Measure;
use gateway_policy::limits::admission::{Charge, admit};
use gateway_policy::limits::aggregator::Aggregator;
use gateway_policy::limits::counter::{Mode, Reach, Terms, WhenCutOff};
use gateway_policy::limits::gateway::Gateway;
use gateway_policy::limits::message::{CounterId, Incarnation, Steady};
use gateway_policy::limits::period::Period;
use gateway_policy::limits::wire::{self, SHARDS};

use super::super::{Figures, cpu, rounded};
use super::decisions::BEGINNING_US;
use crate::failure::{Failure, Outcome};

/// Gateways among which the counters are, each with its own.
const GATEWAYS: usize = 16;

/// Slots of a sliding minute, and the time of one in microseconds: all are filled.
const SLOTS: i64 = 6;
const SLOT_US: i64 = 10_000_000;

/// One counter in so many is used so far that its shares follow demand: that takes more memory than the shares that all
/// others have alike.
const CONTENDED: u64 = 10;

/// The limits of those, and of the others: six requests are made of each.
const LOW: u64 = 60;
const HIGH: u64 = 60_000;

/// The time between two broadcasts, in microseconds.
const TOLD_US: u64 = 50_000;

/// The parts of gateways that are of one shard.
type OfShard = Vec<Gateway>;

/// Fills so many counters, or a few more.
pub(super) fn run(counters: u32) -> Outcome<Figures> {
    let each = u64::from(counters).div_ceil((GATEWAYS * SHARDS) as u64);
    let (at_gateways, mut shards): (u64, Vec<OfShard>) =
        growth(|| (0..SHARDS).map(|_| of_shard(each)).collect())?;
    let (at_aggregator, aggregators) = growth(|| {
        let heard = shards.iter_mut().map(|shard| heard(shard));
        Ok(heard.collect::<Vec<Aggregator>>())
    })?;
    let mut aggregators = aggregators;
    let round = rounds(&mut shards, &mut aggregators);
    let known = aggregators.iter().map(|it| it.counters() as u64).sum();
    let made = each * (GATEWAYS * SHARDS) as u64;
    if known != made {
        let what = format!("the aggregator has {known} counters of {made}");
        return Err(Failure::new(what));
    }
    let of_each = |bytes: u64| rounded(cpu::ratio(bytes, known));
    let figures = [
        ("live_counters", known.into()),
        ("gateway_bytes_per_counter", of_each(at_gateways)),
        ("aggregator_bytes_per_counter", of_each(at_aggregator)),
        ("aggregator_bytes", at_aggregator.into()),
        ("aggregator_reports_ms", rounded(round.reports_ms)),
        ("aggregator_round_ms", rounded(round.quiet_ms)),
        ("aggregator_round_bytes", round.quiet_bytes.into()),
        ("aggregator_busy_round_ms", rounded(round.busy_ms)),
        ("aggregator_totals_ms", rounded(round.totals_ms)),
    ];
    let named = figures.map(|(name, value)| (name.to_owned(), value));
    Ok(named.into_iter().collect())
}

/// What is made, and by how many bytes that lets this process grow.
fn growth<T>(make: impl FnOnce() -> Outcome<T>) -> Outcome<(u64, T)> {
    let own = std::process::id();
    let before = cpu::resident_bytes(own)?;
    let made = make()?;
    let after = cpu::resident_bytes(own)?;
    Ok((after.saturating_sub(before), made))
}

fn of_shard(counters: u64) -> Outcome<OfShard> {
    (0..GATEWAYS as u64)
        .map(|gateway| filled(gateway, counters))
        .collect()
}

/// A gateway that has had a request for each of its counters in each slot of a minute.
fn filled(gateway: u64, counters: u64) -> Outcome<Gateway> {
    let mut filled = Gateway::new(Incarnation(id(gateway, 0)), Steady(0));
    for number in 0..counters {
        let most = if number % CONTENDED == 0 { LOW } else { HIGH };
        let terms = Terms::of_rate_limit(most, Mode::Enforce, WhenCutOff::Alone);
        let counter = CounterId {
            rule: [7; 16],
            measure: Measure::Requests,
            period: Period::SlidingMinute,
            segment: id(gateway, number + 1),
        };
        let place = filled.place(counter, terms);
        for slot in 0..SLOTS {
            let mut charges = [Charge::new(place, 1)];
            let admitted = admit(filled.counters(), &mut charges, Reach::Alone, at(slot));
            admitted.map_err(|_| Failure::new("a limit of 60 requests refused the sixth"))?;
        }
    }
    Ok(filled)
}

/// An aggregator that has heard all of them three times, and dealt out shares.
fn heard(gateways: &mut [Gateway]) -> Aggregator {
    let mut aggregator = Aggregator::new();
    aggregator.take_office(1, Steady(0));
    for round in 1..=3 {
        let now = Steady(round * TOLD_US);
        for gateway in gateways.iter_mut() {
            aggregator.merge(&gateway.report(now), now);
        }
        drop(aggregator.broadcast(now, at(SLOTS - 1)));
    }
    aggregator
}

/// What an aggregator does, over all shards: how long it takes to hear all reports of all gateways once; a round in which each
/// gateway has used what it does between two rounds of a load, one counter in a hundred; a round in which nothing has changed, and
/// how long the messages are in which it is told; and to see how all counters stand.
struct Rounds {
    reports_ms: f64,
    busy_ms: f64,
    quiet_ms: f64,
    quiet_bytes: u64,
    totals_ms: f64,
}

/// How many rounds pass until everyone knows everything, and what was asked for is forgotten.
const UNTIL_QUIET: u64 = 120;

/// One counter in so many is used in a round of a load.
const USED: usize = 100;

fn rounds(shards: &mut [OfShard], aggregators: &mut [Aggregator]) -> Rounds {
    let mut at_round = 3;
    let mut rounds = Rounds {
        reports_ms: 0.0,
        busy_ms: 0.0,
        quiet_ms: 0.0,
        quiet_bytes: 0,
        totals_ms: 0.0,
    };
    let wall = at(SLOTS - 1);
    for number in 1..=UNTIL_QUIET {
        at_round += 1;
        let now = Steady(at_round * TOLD_US);
        (rounds.reports_ms, rounds.quiet_ms, rounds.quiet_bytes) = (0.0, 0.0, 0);
        for (gateways, aggregator) in shards.iter_mut().zip(&mut *aggregators) {
            // They report all that they have every few seconds only.
            if number % 40 == 1 || number == UNTIL_QUIET {
                let reports: Vec<_> = gateways.iter_mut().map(|it| it.report(now)).collect();
                let begun = Instant::now();
                reports.iter().for_each(|it| aggregator.merge(it, now));
                rounds.reports_ms += millis(begun);
            }
            aggregator.renew(now);
            let begun = Instant::now();
            let told = aggregator.broadcast(now, wall);
            rounds.quiet_ms += millis(begun);
            for broadcast in told {
                let hears = gateways.iter_mut();
                hears.for_each(|gateway| gateway.hear(&broadcast));
                let messages = wire::write([(0, broadcast)], usize::MAX);
                rounds.quiet_bytes += messages.iter().map(|it| it.len() as u64).sum::<u64>();
            }
        }
    }
    at_round += 1;
    let now = Steady(at_round * TOLD_US);
    for (gateways, aggregator) in shards.iter_mut().zip(&mut *aggregators) {
        for gateway in gateways {
            for place in (0..gateway.look().len()).step_by(USED) {
                let counter = &mut gateway.counters()[place];
                counter.note(1, false);
                let _ = counter.charge(1, wall);
            }
            aggregator.merge(&gateway.report(now), now);
        }
        let begun = Instant::now();
        drop(aggregator.broadcast(now, wall));
        rounds.busy_ms += millis(begun);
        let begun = Instant::now();
        let used = aggregator.standings(wall).map(|(_, it)| it.admitted).max();
        rounds.totals_ms += millis(begun);
        std::hint::black_box(used);
    }
    rounds
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn id(one: u64, other: u64) -> [u8; 16] {
    let both = (u128::from(one) << 64) | u128::from(other);
    both.to_be_bytes()
}

/// When a slot begins.
fn at(slot: i64) -> Timestamp {
    Timestamp::MIN.plus_micros(BEGINNING_US + slot * SLOT_US)
}

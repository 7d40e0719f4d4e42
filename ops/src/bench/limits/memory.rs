//! What a counter takes of memory, at a gateway and at the aggregator. What they say to each other is not in it: it goes
//! shard by shard, and is gone at once.

use events_schema::time::Timestamp;
use gateway_policy::limits::Measure;
use gateway_policy::limits::admission::{Charge, admit};
use gateway_policy::limits::aggregator::Aggregator;
use gateway_policy::limits::counter::{Mode, Reach, Terms};
use gateway_policy::limits::gateway::Gateway;
use gateway_policy::limits::message::{CounterId, Incarnation, Steady};
use gateway_policy::limits::period::Period;
use gateway_policy::limits::wire::SHARDS;

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
        let terms = Terms::of_rate_limit(most, Mode::Enforce);
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

fn id(one: u64, other: u64) -> [u8; 16] {
    let both = (u128::from(one) << 64) | u128::from(other);
    both.to_be_bytes()
}

/// When a slot begins.
fn at(slot: i64) -> Timestamp {
    Timestamp::MIN.plus_micros(BEGINNING_US + slot * SLOT_US)
}

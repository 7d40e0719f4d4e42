//! Whether a request is admitted by all counters that it concerns.

use events_schema::time::Timestamp;

use super::period::SlotNumber;
use super::{
    counter::{Counter, Mode, Reach},
    message::CounterId,
};

/// Where counters are, by places that the shell gives them.
pub trait Counters {
    /// The counter at a place.
    ///
    /// # Panics
    /// When there is none.
    fn counter(&mut self, place: usize) -> &mut Counter;
}

impl Counters for [Counter] {
    fn counter(&mut self, place: usize) -> &mut Counter {
        &mut self[place]
    }
}

/// What a request would cost at a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// The counter's place.
    pub counter: usize,
    /// How much.
    pub cost: u64,
    /// The slot in which it counts, once it was admitted: for its settlement.
    pub slot: SlotNumber,
}

impl Charge {
    /// One that is to be admitted.
    #[must_use]
    pub const fn new(counter: usize, cost: u64) -> Self {
        Self {
            counter,
            cost,
            slot: SlotNumber(0),
        }
    }
}

/// A request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// By which counter's limit.
    pub counter: CounterId,
    /// The limit.
    pub limit: u64,
    /// How much of it is left.
    pub remaining: u64,
    /// In how many microseconds all of it is free again if nothing more is used.
    pub reset_us: u64,
    /// In how many microseconds the same request would be admitted if nothing else were; `None`: never.
    pub retry_after_us: Option<u64>,
}

/// Decides on one request and, when all counters admit it, counts it at all of them. Each counter is named once at most.
/// Nothing is allocated.
///
/// All counters are looked at first, so that a refusal leaves nothing to undo. Limits that only audit refuse nothing: the
/// answer is the first of them that would have.
///
/// # Errors
/// The refusal by the limit that refuses longest.
///
/// # Panics
/// When a charge names a counter that is not there.
pub fn admit(
    counters: &mut (impl Counters + ?Sized),
    charges: &mut [Charge],
    reach: Reach,
    now: Timestamp,
) -> Result<Option<CounterId>, Refusal> {
    let mut refusal: Option<Refusal> = None;
    let mut audited = None;
    for charge in charges.iter() {
        let counter = counters.counter(charge.counter);
        if counter.admits(charge.cost, reach, now) {
            counter.note(charge.cost, false);
            continue;
        }
        counter.note(charge.cost, true);
        match counter.terms().mode {
            Mode::Audit => audited = audited.or(Some(counter.id())),
            Mode::Enforce => {
                let other = refuse(counter, charge.cost, reach, now);
                refusal = Some(refusal.map_or(other, |one| longer(one, other)));
            }
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    for charge in charges {
        let counter = counters.counter(charge.counter);
        charge.slot = counter.charge(charge.cost, now);
    }
    Ok(audited)
}

fn refuse(counter: &mut Counter, cost: u64, reach: Reach, now: Timestamp) -> Refusal {
    let standing = counter.standing(now);
    Refusal {
        counter: counter.id(),
        limit: standing.most,
        remaining: standing.remaining,
        reset_us: standing.reset_us,
        retry_after_us: counter.retry_after_us(cost, reach, now),
    }
}

fn longer(one: Refusal, other: Refusal) -> Refusal {
    let wait = |refusal: &Refusal| refusal.retry_after_us.unwrap_or(u64::MAX);
    if wait(&other) > wait(&one) {
        other
    } else {
        one
    }
}

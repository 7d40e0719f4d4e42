//! Whether a request is admitted by all counters that it concerns.

use events_schema::time::Timestamp;

use super::{
    counter::{Counter, Mode, Reach, WhenCutOff},
    lease::{self, Lender, Overspent, Spending, Wallets, Why},
    message::{CounterId, Steady},
    period::SlotNumber,
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
    /// Whether it refuses since this gateway is cut off, and not for what was used.
    pub is_cut_off: bool,
}

/// How far a gateway's word reaches when it decides, and when that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Over limits.
    pub reach: Reach,
    /// Over budgets.
    pub lender: Lender,
    /// By the clock, as when the request arrived.
    pub now: Timestamp,
    /// By the steady clock.
    pub steady: Steady,
}

/// How often a request has been decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Not yet: it asks for its leases.
    First,
    /// It has waited for them, and may go on to.
    Again,
    /// It has waited for as long as it may.
    Last {
        /// When it was decided on first.
        since: Steady,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is admitted, and charged everywhere.
    Admitted {
        /// The limit that would have refused it, if it did more than audit.
        limit: Option<CounterId>,
        /// The place of the purse of the budget that would have.
        budget: Option<usize>,
    },
    /// A limit refuses it.
    Refused(Refusal),
    /// A budget refuses it.
    Overspent(Overspent),
    /// All would admit it, but for leases that may come: nothing is charged.
    Waits,
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
    let audited = look_at(counters, charges, reach, now)?;
    charge(counters, charges, now);
    Ok(audited)
}

/// As [`admit`], with the budgets that concern the request beside the limits. Each purse is named once at most.
///
/// A budget that is used up refuses before any limit, since that holds longest; a limit before a budget that lacks a lease.
///
/// # Panics
/// When a charge names a counter that is not there, or a spending a purse.
pub fn decide(
    state: &mut (impl Counters + Wallets + ?Sized),
    charges: &mut [Charge],
    spendings: &[Spending],
    moment: Moment,
    turn: Turn,
) -> Decision {
    let Moment {
        reach,
        lender,
        now,
        steady,
    } = moment;
    let waited_since = match turn {
        Turn::First | Turn::Again => None,
        Turn::Last { since } => Some(since),
    };
    let looked = lease::look_at(state, spendings, lender, steady, waited_since);
    let lacks = matches!(looked, Err(it) if it.why == Why::Lacks);
    if lacks && waited_since.is_none() && all_admit(state, charges, reach, now) {
        ask_once(state, spendings, steady, turn);
        return Decision::Waits;
    }
    let limits = look_at(state, charges, reach, now);
    match (looked, limits) {
        (Err(overspent), Err(refusal)) if !overspent.why.is_final() => Decision::Refused(refusal),
        (Err(overspent), _) => {
            if overspent.why.may_be_lent() {
                ask_once(state, spendings, steady, turn);
            }
            lease::refuse(state, spendings);
            Decision::Overspent(overspent)
        }
        (Ok(_), Err(refusal)) => Decision::Refused(refusal),
        (Ok(budget), Ok(limit)) => {
            ask_once(state, spendings, steady, turn);
            charge(state, charges, now);
            lease::spend(state, spendings);
            Decision::Admitted { limit, budget }
        }
    }
}

/// With its first turn a request asks for its leases; whether they come is seen in the next.
fn ask_once(
    wallets: &mut (impl Wallets + ?Sized),
    spendings: &[Spending],
    steady: Steady,
    turn: Turn,
) {
    match turn {
        Turn::First => lease::ask(wallets, spendings, steady),
        Turn::Again | Turn::Last { .. } => {}
    }
}

fn all_admit(
    counters: &mut (impl Counters + ?Sized),
    charges: &[Charge],
    reach: Reach,
    now: Timestamp,
) -> bool {
    charges.iter().all(|charge| {
        let counter = counters.counter(charge.counter);
        counter.terms().mode == Mode::Audit || counter.admits(charge.cost, reach, now)
    })
}

fn look_at(
    counters: &mut (impl Counters + ?Sized),
    charges: &[Charge],
    reach: Reach,
    now: Timestamp,
) -> Result<Option<CounterId>, Refusal> {
    let mut refusal: Option<Refusal> = None;
    let mut audited = None;
    for charge in charges {
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
    refusal.map_or(Ok(audited), Err)
}

fn charge(counters: &mut (impl Counters + ?Sized), charges: &mut [Charge], now: Timestamp) {
    for charge in charges {
        let counter = counters.counter(charge.counter);
        charge.slot = counter.charge(charge.cost, now);
    }
}

fn refuse(counter: &mut Counter, cost: u64, reach: Reach, now: Timestamp) -> Refusal {
    let standing = counter.stands(reach, now);
    Refusal {
        counter: counter.id(),
        limit: standing.most,
        remaining: standing.remaining,
        reset_us: standing.reset_us,
        retry_after_us: counter.retry_after_us(cost, reach, now),
        is_cut_off: counter.when_cut_off(reach) == Some(WhenCutOff::Closed),
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

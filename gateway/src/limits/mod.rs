//! The counters behind limits, of keys and of rate-limit policies: what admits a request, and what it used.
//!
//! What is admitted, and what gateways tell each other, is `gateway-policy`'s to say. Here the counters lie in memory for all
//! worker threads: dealt out over shards, each behind a lock that is held for some hundred nanoseconds. All limits of one
//! rule and counter lie in one shard, so that most requests take one lock or two.

mod asked;
pub mod exchange;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use events_schema::time::Timestamp;
use gateway_policy::{
    EntryId, Measure, Share, SlotNumber, Standing,
    limits::{
        admission::{Charge, Counters, admit},
        counter::{Counter, Mode, Reach},
        gateway::Gateway,
        message::{Broadcast, CounterId, Incarnation, Steady},
        period::Period,
        wire::{self, SHARDS, shard_of},
    },
};

pub use self::asked::{Asked, By};

/// How many limits a decision is about: two of a key, and eight of a policy.
pub const MOST_LIMITS: usize = 10;

/// How many counters a shard has at most, 65,536 in all: callers choose the values of metadata that have a counter each. When it
/// is full, the next values of a rule share one counter there, which is as good as they were one value. A report of so many is
/// half as long as a message may be.
const MOST_COUNTERS: usize = 4_096;

/// The counter of values for which there was no room.
const OTHERS: EntryId = [0xfe; 16];

/// With so many counters a report is made every [`exchange::REPORT`]; with more of them the less often, so that reports take
/// no more than a small part of a core.
const SOON: usize = 2_048;

/// A shard without counters says only that this gateway is there, and that often.
const QUIET: Duration = Duration::from_secs(1);

/// How long a gateway that has just started waits for its shares before it calls itself ready.
const FIRST_SHARE: Duration = Duration::from_secs(1);

/// Some of the counters, on cache lines of their own.
#[repr(align(128))]
struct Shard {
    gateway: Mutex<Gateway>,
    /// When it reported last.
    reported: Mutex<Option<Instant>>,
}

/// All counters of this gateway.
pub struct Limits {
    shards: Box<[Shard]>,
    begin: Instant,
    alone: bool,
    /// Whether it has had a share of every limit.
    shares: AtomicBool,
}

/// How a limit stands after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stood {
    /// What it counts.
    pub measure: Measure,
    /// How it stands.
    pub standing: Standing,
}

/// How the limits stand, of each measure the one that has least left.
pub type Stoods = [Option<Stood>; 2];

/// What limits said to a request.
#[derive(Debug)]
pub struct Decided {
    /// How they stand after it.
    pub stood: Stoods,
    /// What was charged, to be settled; or which limit refused.
    pub outcome: Result<Admitted, Refused>,
}

/// A request was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// What was charged.
    pub reservation: Reservation,
    /// Whose limit would have refused it, if it did more than audit.
    pub audited: Option<EntryId>,
}

/// A refusal, with the limit that refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose limit it is.
    pub by: By,
    /// What it counts.
    pub measure: Measure,
    /// In which time.
    pub period: Period,
    /// How much it lets through in that time.
    pub most: u64,
    /// In how many microseconds the same request would be admitted; `None`: never.
    pub retry_after_us: Option<u64>,
}

/// What was charged at a counter.
#[derive(Debug, Clone, Copy)]
struct Held {
    shard: usize,
    id: CounterId,
    slot: SlotNumber,
    cost: u64,
}

/// What was charged at all counters of a request, to be settled once.
pub struct Reservation {
    limits: Arc<Limits>,
    held: ArrayVec<Held, MOST_LIMITS>,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.held).finish()
    }
}

/// The shards that a request concerns, locked in their order.
struct Locked<'l> {
    shards: ArrayVec<(usize, MutexGuard<'l, Gateway>), MOST_LIMITS>,
    /// Of each limit: which of the shards, and where in it.
    places: ArrayVec<(usize, usize), MOST_LIMITS>,
}

impl Counters for Locked<'_> {
    fn counter(&mut self, place: usize) -> &mut Counter {
        let (shard, at) = self.places[place];
        &mut self.shards[shard].1.counters()[at]
    }
}

impl Limits {
    /// Nothing is counted yet. `alone`: there is no other gateway, and all of every limit is this one's.
    #[must_use]
    pub fn new(incarnation: Incarnation, alone: bool) -> Self {
        let shard = || Shard {
            gateway: Mutex::new(Gateway::new(incarnation, Steady(0))),
            reported: Mutex::default(),
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            begin: Instant::now(),
            alone,
            shares: AtomicBool::new(alone),
        }
    }

    /// Whether requests may come: it has its shares of limits, or has waited long enough for them. Without any it would refuse
    /// what another gateway would let through.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        self.shares.load(Relaxed) || self.begin.elapsed() > FIRST_SHARE
    }

    /// The steady clock of this gateway's limits.
    fn steady(&self) -> Steady {
        let micros = self.begin.elapsed().as_micros();
        Steady(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Gateway> {
        let lock = self.shards[shard].gateway.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks what the limits concern, and finds their counters.
    fn lock_all(&self, asked: &Asked<'_>) -> Locked<'_> {
        let mut wanted: ArrayVec<usize, MOST_LIMITS> =
            asked.iter().map(|it| shard_of(&it.id)).collect();
        wanted.sort_unstable();
        let mut shards: ArrayVec<(usize, MutexGuard<'_, Gateway>), MOST_LIMITS> = ArrayVec::new();
        for at in wanted {
            if shards.last().is_none_or(|(last, _)| *last != at) {
                shards.push((at, self.lock(at)));
            }
        }
        let places = asked.iter().map(|it| {
            let of = shard_of(&it.id);
            let shard = shards.iter().position(|(at, _)| *at == of).unwrap_or(0);
            let gateway = &mut shards[shard].1;
            let is_full = gateway.look().len() >= MOST_COUNTERS;
            let id = if is_full && gateway.place_of(&it.id).is_none() {
                CounterId {
                    segment: OTHERS,
                    ..it.id
                }
            } else {
                it.id
            };
            (shard, gateway.place(id, it.terms))
        });
        let places = places.collect();
        Locked { shards, places }
    }

    /// Decides on a request and, if all limits admit it, charges it.
    #[must_use]
    pub fn decide(self: &Arc<Self>, asked: &Asked<'_>, now: Timestamp) -> Decided {
        let mut locked = self.lock_all(asked);
        let steady = self.steady();
        let together = |reach: Reach, (_, gateway): &(usize, MutexGuard<'_, Gateway>)| {
            reach.shorter(gateway.reach(steady))
        };
        let reach = if self.alone {
            Reach::Alone
        } else {
            locked.shards.iter().fold(Reach::Alone, together)
        };
        let costs = asked.iter().enumerate();
        let mut charges: ArrayVec<Charge, MOST_LIMITS> =
            costs.map(|(at, it)| Charge::new(at, it.cost)).collect();
        let decided = admit(&mut locked, &mut charges, reach, now);
        let mut stood = Stoods::default();
        for (at, it) in asked.iter().enumerate() {
            if it.terms.mode == Mode::Enforce {
                let standing = locked.counter(at).standing(now);
                note(&mut stood, it.id.measure, standing);
            }
        }
        let outcome = match decided {
            Ok(audited) => {
                let held = charges.iter().map(|charge| {
                    let (shard, _) = locked.places[charge.counter];
                    Held {
                        shard: locked.shards[shard].0,
                        id: locked.counter(charge.counter).id(),
                        slot: charge.slot,
                        cost: charge.cost,
                    }
                });
                let held = held.collect();
                Ok(Admitted {
                    reservation: Reservation {
                        limits: Arc::clone(self),
                        held,
                    },
                    audited: audited.map(|id| id.rule),
                })
            }
            Err(refusal) => Err(Refused {
                by: asked.by(&refusal.counter),
                measure: refusal.counter.measure,
                period: refusal.counter.period,
                most: refusal.limit,
                retry_after_us: refusal.retry_after_us,
            }),
        };
        Decided { stood, outcome }
    }

    /// How many counters there are.
    fn counters(&self) -> usize {
        let of_shard = |shard| self.lock(shard).look().len();
        (0..self.shards.len()).map(of_shard).sum()
    }

    /// How long after a report the next one is due.
    pub(crate) fn pause(&self) -> Duration {
        let times = u32::try_from(self.counters() / SOON).unwrap_or(u32::MAX);
        exchange::REPORT.saturating_mul(times.max(1))
    }

    /// What is to be reported, as messages.
    pub(crate) fn report(&self, now: Instant) -> Vec<Vec<u8>> {
        let steady = self.steady();
        let due = self.shards.iter().enumerate().filter_map(|(at, shard)| {
            let mut reported = shard
                .reported
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut gateway = self.lock(at);
            let is_quiet = gateway.look().is_empty();
            if is_quiet && reported.is_some_and(|last| now.duration_since(last) < QUIET) {
                return None;
            }
            *reported = Some(now);
            Some((at, gateway.report(steady)))
        });
        wire::write(due)
    }

    /// The last report: from now on nothing is admitted.
    pub(crate) fn leave(&self) -> Vec<Vec<u8>> {
        let steady = self.steady();
        let parts = (0..self.shards.len()).map(|at| (at, self.lock(at).leave(steady)));
        wire::write(parts)
    }

    /// Takes over what is told.
    pub(crate) fn hear(&self, parts: &[(usize, Broadcast)]) {
        for (shard, broadcast) in parts {
            self.lock(*shard).hear(broadcast);
        }
        // All are told at once, and of every limit that nobody has used yet the share is the same.
        let has_share = |broadcast: &Broadcast| broadcast.base.iter().any(|it| *it > Share::NONE);
        if parts.iter().any(|(_, broadcast)| has_share(broadcast)) {
            self.shares.store(true, Relaxed);
        }
    }

    /// Forgets counters of which nothing counts any more: to be called from time to time.
    pub fn sweep(&self, now: Timestamp) {
        for shard in 0..self.shards.len() {
            self.lock(shard).sweep(now);
        }
    }
}

/// Notes how a limit stands, where less is left of it than of what was noted of its measure.
fn note(stoods: &mut Stoods, measure: Measure, standing: Standing) {
    let at = match measure {
        Measure::Requests => 0,
        Measure::Tokens => 1,
    };
    if stoods[at].is_none_or(|it| standing.remaining < it.standing.remaining) {
        stoods[at] = Some(Stood { measure, standing });
    }
}

impl Reservation {
    /// Settles what was reserved against what was used.
    pub fn settle(self, used_tokens: u64) {
        for held in &self.held {
            let Held {
                shard,
                id,
                slot,
                cost,
            } = held;
            let actual = match id.measure {
                Measure::Requests => *cost,
                Measure::Tokens => used_tokens,
            };
            let mut gateway = self.limits.lock(*shard);
            if let Some(place) = gateway.place_of(id) {
                gateway.counters()[place].settle(*slot, *cost, actual);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_policy::RuleLimit;

    use super::*;

    const KEY: EntryId = [1; 16];
    const TOKENS: u64 = 100;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_795_348_800 + seconds) * 1_000_000).expect("a time in 2026")
    }

    fn alone() -> Arc<Limits> {
        Arc::new(Limits::new(Incarnation([7; 16]), true))
    }

    fn asked(requests: Option<u64>, tokens: Option<u64>) -> Asked<'static> {
        let mut asked = Asked::new(TOKENS);
        for (measure, most) in [(Measure::Requests, requests), (Measure::Tokens, tokens)] {
            if let Some(most) = most {
                asked.key(KEY, measure, most);
            }
        }
        asked
    }

    fn left(decided: &Decided, measure: Measure) -> u64 {
        let mut stoods = decided.stood.iter().flatten();
        let stood = stoods.find(|it| it.measure == measure).expect("limited");
        stood.standing.remaining
    }

    #[test]
    fn tokens_come_back_when_fewer_were_used_and_go_when_more_were() {
        let limits = alone();
        let asked = asked(None, Some(1_000));
        let first = limits.decide(&asked, at(0));
        assert_eq!(left(&first, Measure::Tokens), 900);
        first.outcome.expect("admitted").reservation.settle(30);
        let second = limits.decide(&asked, at(1));
        assert_eq!(left(&second, Measure::Tokens), 870);
        second.outcome.expect("admitted").reservation.settle(960);
        let refused = limits.decide(&asked, at(2)).outcome;
        let refused = refused.expect_err("990 of 1,000 are used");
        assert_eq!((refused.measure, refused.most), (Measure::Tokens, 1_000));
        assert_eq!(refused.by, By::Key);
        assert_eq!(refused.retry_after_us, Some(58_000_000));
    }

    #[test]
    fn what_a_slot_counted_does_not_outlive_the_window() {
        let limits = alone();
        let asked = asked(Some(2), None);
        let admitted = |seconds: i64| limits.decide(&asked, at(seconds)).outcome.is_ok();
        assert_eq!(
            [admitted(0), admitted(9), admitted(9), admitted(59)],
            [true, true, false, false]
        );
        assert_eq!(
            [admitted(60), admitted(61), admitted(62)],
            [true, true, false]
        );
        assert!(admitted(100_000));
    }

    #[test]
    fn a_late_settlement_does_not_touch_the_slot_that_took_its_place() {
        let limits = alone();
        let asked = asked(None, Some(1_000));
        let early = limits.decide(&asked, at(0)).outcome.expect("admitted");
        assert_eq!(left(&limits.decide(&asked, at(90)), Measure::Tokens), 900);
        early.reservation.settle(0);
        assert_eq!(left(&limits.decide(&asked, at(90)), Measure::Tokens), 800);
    }

    #[test]
    fn a_refusal_by_one_limit_charges_none() {
        let limits = alone();
        let both = asked(Some(10), Some(150));
        assert!(limits.decide(&both, at(0)).outcome.is_ok());
        assert!(limits.decide(&both, at(0)).outcome.is_err());
        let after = limits.decide(&asked(Some(10), None), at(0));
        assert_eq!(left(&after, Measure::Requests), 8);
    }

    #[test]
    fn threads_that_race_never_admit_more_than_the_limit() {
        let limits = alone();
        let admitted: usize = std::thread::scope(|scope| {
            let race = || {
                let (limits, asked) = (Arc::clone(&limits), asked(Some(1_000), Some(50_000)));
                scope.spawn(move || {
                    (0..1_000)
                        .filter(|_| limits.decide(&asked, at(0)).outcome.is_ok())
                        .count()
                })
            };
            let threads: Vec<_> = std::iter::repeat_with(race).take(4).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        assert_eq!(admitted, 500);
    }

    #[test]
    fn a_counter_is_forgotten_once_nothing_of_it_counts() {
        let limits = alone();
        let admitted = limits.decide(&asked(Some(9), None), at(0)).outcome;
        let counters = || limits.counters();
        limits.sweep(at(3_600));
        assert_eq!(counters(), 1, "it is under way");
        admitted.expect("admitted").reservation.settle(0);
        limits.sweep(at(59));
        assert_eq!(counters(), 1);
        limits.sweep(at(60));
        assert_eq!(counters(), 0);
    }

    #[test]
    fn callers_cannot_make_counters_without_end_and_all_are_limited() {
        let limits = alone();
        let ask = |value: u32| {
            let mut segment = [9; 16];
            segment[..4].copy_from_slice(&value.to_be_bytes());
            let limit = RuleLimit {
                measure: Measure::Requests,
                period: Period::Day,
                most: 5,
            };
            let mut asked = Asked::new(0);
            asked.limit([8; 16], segment, limit, Mode::Enforce);
            let decided = limits.decide(&asked, at(0)).outcome;
            decided.map(|it| it.reservation.settle(0)).is_ok()
        };
        let most = SHARDS * MOST_COUNTERS;
        let many = u32::try_from(most).expect("small") * 2;
        let admitted = (0..many).filter(|value| ask(*value)).count();
        assert!(limits.counters() <= most + SHARDS);
        // Of each shard the first have a counter each, and all others five requests between them.
        assert!(admitted <= limits.counters() + 5 * SHARDS);
        assert!(ask(0), "what has a counter keeps it");
        assert_eq!(limits.pause(), exchange::REPORT * 32);
    }

    #[test]
    fn the_least_that_is_left_is_told() {
        let limits = alone();
        let mut both = asked(Some(10), None);
        let hourly = RuleLimit {
            measure: Measure::Requests,
            period: Period::Hour,
            most: 5,
        };
        both.limit([9; 16], [0; 16], hourly, Mode::Enforce);
        let audited = RuleLimit { most: 1, ..hourly };
        both.limit([8; 16], [0; 16], audited, Mode::Audit);
        let first = limits.decide(&both, at(0));
        assert_eq!(left(&first, Measure::Requests), 4);
        assert_eq!(first.outcome.expect("admitted").audited, None);
        let second = limits.decide(&both, at(0)).outcome.expect("admitted");
        assert_eq!(second.audited, Some([8; 16]));
    }
}

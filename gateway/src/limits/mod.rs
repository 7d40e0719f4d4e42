//! The counters behind limits, of keys and of rate-limit policies, and the purses of budgets: what admits a request, and what
//! it used.
//!
//! What is admitted, and what gateways tell each other, is `gateway-policy`'s to say. Here counters and purses lie in memory for
//! all worker threads: dealt out over shards, each behind a lock that is held for some hundred nanoseconds. All limits of one
//! rule and counter lie in one shard, so that most requests take one lock or two.
//!
//! - `asked`: what a request asks of them. `reservation`: what was charged, to be settled. `seen`: what a record says of it.
//! - [`leases`]: waiting for a lease, and who lends. [`exchange`]: what is told to the projections, and heard from them.

mod asked;
pub mod exchange;
pub mod leases;
mod reservation;
mod seen;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use events_schema::{time::Timestamp, usage::LimitSeen};
use gateway_policy::{
    EntryId, Measure, Standing,
    limits::{
        admission::{Charge, Counters, Decision, Moment, Turn, decide},
        counter::{Counter, JOINER_SHARE, Mode, Reach, Terms},
        gateway::Gateway,
        lease::{self, BudgetId, Kept, Lender, Role, Spending, Stands, Wallet, Wallets, Why},
        message::{Broadcast, CounterId, Incarnation, Steady},
        period::Period,
        wire::{self, SHARDS, Written, shard_of},
    },
};

use self::{
    asked::OfLimit,
    leases::{Leasing, Since},
    reservation::{Held, Spent},
};
pub use self::{
    asked::{Asked, By, MOST_BUDGETS, MOST_LIMITS},
    reservation::{Reservation, Settled, Unsettled},
};

/// How many counters a shard has at most, 65,536 in all: callers choose the values of metadata that have a counter each. When it
/// is full, the next values of a rule share one counter there, which is as good as they were one value. What other gateways count
/// makes none here.
const MOST_COUNTERS: usize = 4_096;

/// How many purses a shard has at most, as [`MOST_COUNTERS`].
const MOST_PURSES: usize = 4_096;

/// The counter of values for which there was no room.
const OTHERS: EntryId = [0xfe; 16];

/// With so many counters, or purses, a report is made every [`exchange::REPORT`]; with more of them the less often, so that
/// reports take no more than a small part of a core.
const SOON: usize = 2_048;

/// A shard without counters says only that this gateway is there, and that often.
const QUIET: Duration = Duration::from_secs(1);

/// How long a gateway that has just started waits for its shares before it calls itself ready: several times as long as it takes
/// until the others have given them up.
const FIRST_SHARE: Duration = Duration::from_secs(2);

/// A bit for each shard.
const ALL_SHARDS: u16 = u16::MAX >> (u16::BITS as usize - SHARDS);

/// Some of the counters and purses, on cache lines of their own.
#[repr(align(128))]
struct Shard {
    gateway: Mutex<Gateway>,
    /// When it reported last.
    reported: Mutex<Option<Instant>>,
}

/// All counters and purses of this gateway.
pub struct Limits {
    shards: Box<[Shard]>,
    begin: Instant,
    alone: bool,
    /// Of which shards' limits it has had a share, a bit for each.
    shares: AtomicU16,
    leasing: Leasing,
}

/// How a limit stands after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stood {
    /// What it counts.
    pub measure: Measure,
    /// Whether it counts what is under way.
    pub at_a_time: bool,
    /// How it stands.
    pub standing: Standing,
}

/// How the limits stand: of each measure the one that has least left, and the one of what is under way at a time.
pub type Stoods = [Option<Stood>; 3];

/// What limits and budgets said to a request.
#[derive(Debug)]
pub struct Decided {
    /// How the limits stand after it.
    pub stood: Stoods,
    /// How the budget that decides stands after it: of each measure the window that has least left.
    pub budget: Stoods,
    /// What came of it.
    pub outcome: Outcome,
    /// All that was asked, as it was seen.
    pub seen: Vec<LimitSeen>,
}

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It is admitted.
    Admitted(Admitted),
    /// A limit refuses it.
    Refused(Refused),
    /// A budget refuses it.
    Overspent(Overspent),
    /// It is to wait for a lease, and to ask again.
    Waits(Since),
}

/// A request was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// What was charged, to be settled.
    pub reservation: Reservation,
    /// Whose limit would have refused it, if it did more than audit.
    pub audited: Option<EntryId>,
    /// Whose budget would have.
    pub audited_budget: Option<EntryId>,
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
    /// Whether nothing was used up, and it refuses since this gateway is cut off.
    pub is_cut_off: bool,
}

/// A refusal, with the budget that refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overspent {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What it counts.
    pub measure: Measure,
    /// In which time.
    pub period: Period,
    /// How much it is.
    pub most: u64,
    /// Why it refused.
    pub why: Why,
    /// When it begins anew.
    pub resets_at: Timestamp,
    /// In how many microseconds that is.
    pub reset_us: u64,
}

/// The shards that a request concerns, locked in their order.
struct Locked<'l> {
    /// Which, a bit for each.
    which: u16,
    shards: ArrayVec<MutexGuard<'l, Gateway>, SHARDS>,
    /// Of each limit: which of the shards, and where in it.
    counters: ArrayVec<(u8, u32), MOST_LIMITS>,
    /// Of each budget.
    purses: ArrayVec<(u8, u32), MOST_BUDGETS>,
}

// === impl Locked ===

impl Locked<'_> {
    /// A shard, and which of the locked ones it is.
    fn shard(&mut self, shard: u8) -> (u8, &mut Gateway) {
        let before = self.which & ((1 << shard) - 1);
        let at = before.count_ones();
        (u8::try_from(at).unwrap_or(0), &mut self.shards[at as usize])
    }
}

impl Counters for Locked<'_> {
    fn counter(&mut self, place: usize) -> &mut Counter {
        let (shard, at) = self.counters[place];
        &mut self.shards[usize::from(shard)].counters()[at as usize]
    }
}

impl Wallets for Locked<'_> {
    fn wallet(&mut self, place: usize) -> (&mut Wallet, usize) {
        let (shard, at) = self.purses[place];
        (&mut self.shards[usize::from(shard)].wallet, at as usize)
    }
}

// === impl Limits ===

impl Limits {
    /// Nothing is counted yet. `alone`: there is no other gateway, and all of every limit and budget is this one's.
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
            shares: AtomicU16::new(if alone { ALL_SHARDS } else { 0 }),
            leasing: Leasing::default(),
        }
    }

    /// Whether requests may come: it has its shares of limits, or has waited long enough for them. Without any it would refuse
    /// what another gateway would let through.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        self.shares.load(Relaxed) == ALL_SHARDS || self.begin.elapsed() > FIRST_SHARE
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

    /// Locks what the limits and budgets concern, and finds their counters and purses.
    fn lock_all<'l>(
        &'l self,
        locked: &mut Locked<'l>,
        asked: &Asked<'_>,
        now: Timestamp,
        steady: Steady,
    ) {
        let mut left = locked.which;
        while left != 0 {
            locked
                .shards
                .push(self.lock(left.trailing_zeros() as usize));
            left &= left - 1;
        }
        for it in asked.limits() {
            let (shard, gateway) = locked.shard(it.shard);
            let place = place_of_counter(gateway, it.id, it.terms());
            locked.counters.push((shard, place));
        }
        for it in asked.budgets() {
            let (shard, gateway) = locked.shard(it.shard);
            let place = place_of_purse(&mut gateway.wallet, it.id, it.most, now, steady);
            locked.purses.push((shard, place));
        }
    }

    /// Decides on a request that arrived at `now` and, if all limits and budgets admit it, charges it.
    #[must_use]
    pub fn decide(&self, asked: &Asked<'_>, now: Timestamp, turn: Turn) -> Decided {
        let answers = self.leasing.answers();
        let steady = self.steady();
        // Before anything is locked.
        let mut seen = Vec::with_capacity(asked.len());
        // Filled where they lie: they have room for much, and are seldom full.
        let mut locked = Locked {
            which: asked.shards(),
            shards: ArrayVec::new(),
            counters: ArrayVec::new(),
            purses: ArrayVec::new(),
        };
        self.lock_all(&mut locked, asked, now, steady);
        let moment = Moment {
            reach: self.reach(&locked, steady),
            lender: self.lender(steady),
            now,
            steady,
        };
        let mut charges = ArrayVec::<Charge, MOST_LIMITS>::new();
        let limits = asked.limits().iter().enumerate();
        charges.extend(limits.map(|(at, it)| Charge::new(at, it.cost)));
        let mut spendings = ArrayVec::<Spending, MOST_BUDGETS>::new();
        let budgets = asked.budgets().iter().enumerate();
        spendings.extend(budgets.map(|(purse, it)| Spending {
            purse,
            cost: it.cost,
            role: it.role,
        }));
        seen::see(&mut locked, asked, seen::When { moment, turn }, &mut seen);
        let decision = decide(&mut locked, &mut charges, &spendings, moment, turn);
        debug_assert!(seen::agrees(&seen, decision), "{decision:?}: {seen:?}");
        self.hurry(&mut locked, &spendings, decision, moment);
        let outcome = match decision {
            Decision::Admitted { limit, budget } => Outcome::Admitted(Admitted {
                reservation: locked.reservation(asked, &charges),
                audited: limit.map(|id| id.rule),
                audited_budget: budget.map(|place| locked.kept(place).budget().counter.rule),
            }),
            Decision::Refused(refusal) => Outcome::Refused(Refused {
                by: asked.by(&refusal.counter),
                measure: refusal.counter.measure,
                period: refusal.counter.period,
                most: refusal.limit,
                retry_after_us: refusal.retry_after_us,
                is_cut_off: refusal.is_cut_off,
            }),
            Decision::Overspent(overspent) => {
                Outcome::Overspent(locked.overspent(asked, overspent, now))
            }
            Decision::Waits => Outcome::Waits(Since {
                answers,
                at: steady,
            }),
        };
        Decided {
            stood: locked.stood(asked, moment),
            budget: locked.budget_stood(&spendings, moment),
            outcome,
            seen,
        }
    }

    /// How far this gateway's word reaches, over all that is concerned.
    fn reach(&self, locked: &Locked<'_>, steady: Steady) -> Reach {
        if self.alone {
            return Reach::Alone;
        }
        let each = locked.shards.iter().map(|gateway| gateway.reach(steady));
        each.fold(Reach::Alone, Reach::shorter)
    }

    /// Whom the projections are to hear of at once.
    fn hurry(
        &self,
        locked: &mut Locked<'_>,
        spendings: &[Spending],
        decision: Decision,
        moment: Moment,
    ) {
        let Moment { lender, steady, .. } = moment;
        if lender == Lender::Nobody {
            return;
        }
        let mut urgent = 0;
        for (place, spending) in spendings.iter().enumerate() {
            if !matches!(spending.role, Role::Decides { .. }) {
                continue;
            }
            let kept = locked.kept(place);
            let stands = |it: &Kept| {
                let (cost, most) = (spending.cost, it.most());
                it.purse().stands(cost, most, lender, steady)
            };
            let lacks = decision == Decision::Waits && stands(kept) == Stands::Lacks;
            let id = kept.budget().counter;
            let (wallet, at) = locked.wallet(place);
            if wallet.is_urgent(at, lacks, steady) {
                urgent |= 1 << shard_of(&id);
            }
        }
        if urgent != 0 {
            self.leasing.urge(urgent);
        }
    }

    /// How many counters there are.
    fn counters(&self) -> usize {
        let of_shard = |shard| self.lock(shard).look().len();
        (0..self.shards.len()).map(of_shard).sum()
    }

    /// How long after a report the next one is due.
    pub(crate) fn pause(&self) -> Duration {
        pause_of(self.counters())
    }

    /// What is to be reported, as messages of so many bytes at most.
    pub(crate) fn report(&self, now: Instant, most_bytes: usize) -> Written {
        let steady = self.steady();
        let due = self.shards.iter().enumerate().filter_map(|(at, shard)| {
            let mut reported = shard
                .reported
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut gateway = self.lock(at);
            let is_quiet = gateway.look().is_empty() && !gateway.owes_report();
            if is_quiet && reported.is_some_and(|last| now.duration_since(last) < QUIET) {
                return None;
            }
            *reported = Some(now);
            Some((at, gateway.report(steady)))
        });
        wire::write_down(due, most_bytes)
    }

    /// The last report: from now on nothing is admitted.
    pub(crate) fn leave(&self, most_bytes: usize) -> Written {
        let steady = self.steady();
        let parts = (0..self.shards.len()).map(|at| (at, self.lock(at).leave(steady)));
        wire::write_down(parts, most_bytes)
    }

    /// Takes over what is told.
    pub(crate) fn hear(&self, parts: &[(usize, Broadcast)]) {
        for (shard, broadcast) in parts {
            self.lock(*shard).hear(broadcast);
            // Of every limit that nobody has used much yet. Less than what any newcomer has is a remainder of a division. What a
            // gateway that was killed had of longer windows stays its own until they end: that is not waited for.
            let soonest = broadcast.base[Period::SlidingMinute.index()];
            if soonest >= JOINER_SHARE {
                self.shares.fetch_or(1 << *shard, Relaxed);
            }
        }
    }

    /// Forgets counters of which nothing counts any more, and purses that are over: to be called from time to time.
    pub fn sweep(&self, now: Timestamp) {
        for shard in 0..self.shards.len() {
            let mut gateway = self.lock(shard);
            gateway.sweep(now);
            gateway.wallet.sweep(now, self.alone);
        }
    }
}

/// The place of a counter, or of the one that those without room share.
fn place_of_counter(gateway: &mut Gateway, id: CounterId, terms: Terms) -> u32 {
    let is_full = gateway.look().len() >= MOST_COUNTERS;
    let id = if is_full && gateway.place_of(&id).is_none() {
        CounterId {
            segment: OTHERS,
            ..id
        }
    } else {
        id
    };
    u32::try_from(gateway.place(id, terms)).unwrap_or(0)
}

/// The place of a purse, or of the one that those without room share.
fn place_of_purse(
    wallet: &mut Wallet,
    counter: CounterId,
    most: u64,
    now: Timestamp,
    steady: Steady,
) -> u32 {
    let slot = wallet.slot(&counter, now);
    let mut budget = BudgetId { counter, slot };
    if wallet.look().len() >= MOST_PURSES && wallet.place_of(&budget).is_none() {
        budget.counter.segment = OTHERS;
    }
    u32::try_from(wallet.place(budget, most, steady)).unwrap_or(0)
}

/// How long after a report of so many counters, or purses, the next one is due.
fn pause_of(many: usize) -> Duration {
    let times = u32::try_from(many / SOON).unwrap_or(u32::MAX);
    exchange::REPORT.saturating_mul(times.max(1))
}

/// Notes how a limit stands, where less is left of it than of what was noted of its kind.
fn note(stoods: &mut Stoods, id: &CounterId, standing: Standing) {
    let at_a_time = id.period.is_at_a_time();
    let at = match (at_a_time, id.measure) {
        (true, Measure::Requests | Measure::Tokens | Measure::Cost) => 2,
        (false, Measure::Requests | Measure::Cost) => 0,
        (false, Measure::Tokens) => 1,
    };
    if stoods[at].is_none_or(|it| standing.remaining < it.standing.remaining) {
        stoods[at] = Some(Stood {
            measure: id.measure,
            at_a_time,
            standing,
        });
    }
}

// === impl Locked ===

impl Locked<'_> {
    /// A purse.
    fn kept(&mut self, place: usize) -> &Kept {
        let (wallet, at) = self.wallet(place);
        &wallet.look()[at]
    }

    /// What was charged, as far as it is to be settled: a request is one at its beginning, and at its end; but where what is under
    /// way counts, it is none when it has ended.
    fn reservation(&mut self, asked: &Asked<'_>, charges: &[Charge]) -> Reservation {
        let (limits, budgets) = (asked.limits(), asked.budgets());
        let is_settled_later =
            |it: &OfLimit| it.id.measure != Measure::Requests || it.id.period.is_at_a_time();
        let later = limits.iter().filter(|it| is_settled_later(it));
        let mut held = Vec::with_capacity(later.count());
        for (it, charge) in limits.iter().zip(charges) {
            let Charge {
                counter,
                cost,
                slot,
            } = *charge;
            let counter = self.counter(counter);
            if !is_settled_later(it) {
                counter.settle(slot, cost, cost);
                continue;
            }
            held.push(Held {
                shard: it.shard,
                id: counter.id(),
                slot,
                cost,
            });
        }
        let spent = budgets.iter().enumerate().map(|(place, it)| Spent {
            shard: it.shard,
            budget: self.kept(place).budget(),
            cost: it.cost,
        });
        let spent = spent.collect();
        Reservation { held, spent }
    }

    fn overspent(&mut self, asked: &Asked<'_>, it: lease::Overspent, now: Timestamp) -> Overspent {
        let kept = self.kept(it.purse);
        let CounterId {
            measure, period, ..
        } = kept.budget().counter;
        let resets_at = kept.ends_at();
        let name = asked.decider().map(|rule| Arc::clone(&rule.name));
        Overspent {
            policy: name.unwrap_or_default(),
            measure,
            period,
            most: kept.most(),
            why: it.why,
            resets_at,
            reset_us: resets_at.micros_since(now),
        }
    }

    /// How the limits stand that may refuse.
    fn stood(&mut self, asked: &Asked<'_>, moment: Moment) -> Stoods {
        let Moment { reach, now, .. } = moment;
        let mut stood = Stoods::default();
        for (at, it) in asked.limits().iter().enumerate() {
            if it.mode == Mode::Enforce {
                let standing = self.counter(at).stands(reach, now);
                note(&mut stood, &it.id, standing);
            }
        }
        stood
    }

    /// How the budget stands that may refuse.
    fn budget_stood(&mut self, spendings: &[Spending], moment: Moment) -> Stoods {
        let mut stood = Stoods::default();
        for (place, spending) in spendings.iter().enumerate() {
            if matches!(spending.role, Role::Decides { .. }) {
                let kept = self.kept(place);
                let standing = Standing {
                    most: kept.most(),
                    remaining: kept.purse().left(kept.most(), moment.lender),
                    reset_us: kept.ends_at().micros_since(moment.now),
                };
                note(&mut stood, &kept.budget().counter, standing);
            }
        }
        stood
    }
}

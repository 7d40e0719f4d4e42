//! The counters behind `admit`: one sliding window a key and measure, shared by all worker threads without locks.
//!
//! A slot of a window is one atomic word: the low bits of its number and its count. A request reads the windows, asks
//! `admit`, and adds to the current slots only if they still are as they were read: so two threads never both take the
//! last place, and what is admitted by one gateway never exceeds a limit.
//!
//! Worker threads find a key's counters in a table of their own; only the first request of a key on a thread takes the
//! lock of the table that they share.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use events_schema::{snapshot::entries::ArchivedKeyEntry, time::Timestamp};
use gateway_policy::{
    Admission, Ask, EntryId, Limit, Measure, Refusal, Settlement, Share, Slot, SlotNumber,
    Standing, Used, Window, admit, window::SLOTS,
};

use crate::places::UnderWay;

/// How many bits of a word count; the others number the slot.
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// How many limits a key has at most: requests and tokens.
pub const MAX_LIMITS: usize = 2;

/// A window that threads share.
#[derive(Debug, Default)]
struct SharedWindow {
    slots: [AtomicU64; SLOTS],
}

/// A word as its slot's number, cut to what fits, and its count.
const fn unpack(word: u64) -> (u64, u64) {
    (word >> COUNT_BITS, word & COUNT_MASK)
}

const fn pack(number: SlotNumber, count: u64) -> u64 {
    let count = if count < COUNT_MASK {
        count
    } else {
        COUNT_MASK
    };
    (number.0 << COUNT_BITS) | count
}

/// The bits of a slot's number that a word keeps: they come round again after five years.
const fn cut(number: SlotNumber) -> u64 {
    number.0 & (u64::MAX >> COUNT_BITS)
}

impl SharedWindow {
    /// The words as they stand.
    fn read(&self) -> [u64; SLOTS] {
        std::array::from_fn(|at| self.slots[at].load(SeqCst))
    }

    /// Words as a window, their numbers completed from `near`.
    fn window(words: [u64; SLOTS], near: SlotNumber) -> Window {
        let complete = |word: u64| {
            let (low, count) = unpack(word);
            let number = SlotNumber((near.0 - cut(near)) | low);
            Slot { number, count }
        };
        Window::new(words.map(complete))
    }

    /// Adds to the slot if it still is `read`; the word to take back with [`Self::take`] is of `slot`.
    fn add(&self, slot: SlotNumber, read: u64, amount: u64) -> bool {
        let (low, count) = unpack(read);
        let base = if low == cut(slot) { count } else { 0 };
        let word = pack(slot, base.saturating_add(amount));
        self.slots[slot.index()]
            .compare_exchange(read, word, SeqCst, SeqCst)
            .is_ok()
    }

    /// Changes the count of a slot, if it has not been taken over by a later one.
    fn change(&self, slot: SlotNumber, change: impl Fn(u64) -> u64) {
        let cell = &self.slots[slot.index()];
        let mut word = cell.load(SeqCst);
        while unpack(word).0 == cut(slot) {
            let changed = pack(slot, change(unpack(word).1));
            match cell.compare_exchange_weak(word, changed, SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

/// The counters of one key.
#[derive(Debug, Default)]
pub struct KeyCounters {
    windows: [SharedWindow; MAX_LIMITS],
    /// Its requests under way.
    pub(crate) under_way: UnderWay,
}

/// The limits of a key, without allocation.
#[derive(Debug, Clone, Copy)]
pub struct KeyLimits {
    limits: [Limit; MAX_LIMITS],
    count: usize,
}

impl KeyLimits {
    /// A key's own limits; `None`: it has none.
    #[must_use]
    pub fn of(key: &ArchivedKeyEntry) -> Option<Self> {
        let unused = Limit {
            measure: Measure::Requests,
            most: 0,
            share: Share::WHOLE,
        };
        let mut limits = Self {
            limits: [unused; MAX_LIMITS],
            count: 0,
        };
        let own = [
            (Measure::Requests, &key.requests_per_minute),
            (Measure::Tokens, &key.tokens_per_minute),
        ];
        for (measure, most) in own {
            if let Some(most) = most.as_ref() {
                limits.limits[limits.count] = Limit {
                    measure,
                    most: most.to_native(),
                    share: Share::WHOLE,
                };
                limits.count += 1;
            }
        }
        (limits.count > 0).then_some(limits)
    }

    fn as_slice(&self) -> &[Limit] {
        &self.limits[..self.count]
    }
}

/// How one of a key's limits stands after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stood {
    /// What it counts.
    pub measure: Measure,
    /// How it stands.
    pub standing: Standing,
}

/// What a key's limits said to a request.
#[derive(Debug)]
pub struct Charged {
    /// How the limits stand after it.
    pub stood: [Option<Stood>; MAX_LIMITS],
    /// What was charged, to be settled; or which limit refused.
    pub outcome: Result<Reservation, Refused>,
}

/// A refusal, with the limit that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// What it counts.
    pub measure: Measure,
    /// How much it lets through in a minute.
    pub most: u64,
    /// In how many microseconds the same request would be admitted; `None`: never.
    pub retry_after_us: Option<u64>,
}

/// Tokens that were reserved, to be settled once.
#[derive(Debug)]
pub struct Reservation {
    counters: Arc<KeyCounters>,
    slot: SlotNumber,
    tokens: u64,
}

impl KeyCounters {
    /// Decides on a request and, if it is admitted, charges it.
    #[must_use]
    pub fn charge(self: &Arc<Self>, limits: &KeyLimits, ask: Ask, now: Timestamp) -> Charged {
        let slot = SlotNumber::at(now);
        loop {
            let words: [_; MAX_LIMITS] =
                std::array::from_fn(|at| self.windows[at_of(limits, at)].read());
            let mut used = words.map(|words| Used {
                own: SharedWindow::window(words, slot),
                elsewhere: Window::default(),
            });
            let outcome = match admit(limits.as_slice(), &used, ask, now) {
                Admission::Refused(refusal) => Err(refused(limits, refusal)),
                Admission::Admitted => {
                    if !self.add_all(limits, &words, slot, ask) {
                        continue;
                    }
                    limits
                        .as_slice()
                        .iter()
                        .zip(&mut used)
                        .for_each(|(limit, used)| used.own.add(slot, limit.cost(ask)));
                    let tokens = limits
                        .as_slice()
                        .iter()
                        .find(|limit| limit.measure == Measure::Tokens);
                    let tokens = tokens.map_or(0, |limit| limit.cost(ask));
                    Ok(Reservation {
                        counters: Arc::clone(self),
                        slot,
                        tokens,
                    })
                }
            };
            return Charged {
                stood: stood(limits, &used, now),
                outcome,
            };
        }
    }

    /// Adds to all windows, or to none when another thread was quicker at one.
    fn add_all(
        &self,
        limits: &KeyLimits,
        words: &[[u64; SLOTS]; MAX_LIMITS],
        slot: SlotNumber,
        ask: Ask,
    ) -> bool {
        for (at, limit) in limits.as_slice().iter().enumerate() {
            let window = &self.windows[at_of(limits, at)];
            if !window.add(slot, words[at][slot.index()], limit.cost(ask)) {
                for (undone, limit) in limits.as_slice()[..at].iter().enumerate() {
                    let cost = limit.cost(ask);
                    self.windows[at_of(limits, undone)]
                        .change(slot, |count| count.saturating_sub(cost));
                }
                return false;
            }
        }
        true
    }

    /// Whether nothing counts any more.
    fn is_empty(&self, now: Timestamp) -> bool {
        let slot = SlotNumber::at(now);
        let is_unused =
            |window: &SharedWindow| SharedWindow::window(window.read(), slot).total(slot) == 0;
        self.under_way.is_none() && self.windows.iter().all(is_unused)
    }
}

/// Which window belongs to a limit: it depends on the measure only, so that a limit that comes or goes leaves the usage.
fn at_of(limits: &KeyLimits, at: usize) -> usize {
    match limits.limits[at].measure {
        Measure::Requests => 0,
        Measure::Tokens => 1,
    }
}

fn refused(limits: &KeyLimits, refusal: Refusal) -> Refused {
    let limit = limits.limits[refusal.limit];
    Refused {
        measure: limit.measure,
        most: limit.most,
        retry_after_us: refusal.retry_after_us,
    }
}

fn stood(
    limits: &KeyLimits,
    used: &[Used; MAX_LIMITS],
    now: Timestamp,
) -> [Option<Stood>; MAX_LIMITS] {
    std::array::from_fn(|at| {
        let limit = limits.as_slice().get(at)?;
        Some(Stood {
            measure: limit.measure,
            standing: limit.standing(&used[at], now),
        })
    })
}

impl Reservation {
    /// Settles what was reserved against what was used.
    pub fn settle(self, used_tokens: u64) {
        let Self {
            counters,
            slot,
            tokens,
        } = self;
        if tokens == 0 {
            return;
        }
        let window = &counters.windows[1];
        match gateway_policy::settle(tokens, used_tokens) {
            Settlement::Exact => {}
            Settlement::Refund(amount) => window.change(slot, |count| count.saturating_sub(amount)),
            Settlement::Debt(amount) => window.change(slot, |count| count.saturating_add(amount)),
        }
    }
}

/// The counters of all keys that were used lately.
#[derive(Debug, Default)]
pub struct AllCounters {
    by_key: Mutex<HashMap<EntryId, Arc<KeyCounters>>>,
}

impl AllCounters {
    fn get(&self, key: &EntryId) -> Arc<KeyCounters> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_key.entry(*key).or_default())
    }

    /// Forgets keys of which nothing counts and that no thread remembers.
    fn sweep(&self, now: Timestamp) {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.retain(|_, counters| Arc::strong_count(counters) > 1 || !counters.is_empty(now));
    }
}

/// One thread's way to the counters.
#[derive(Debug)]
pub struct ThreadCounters {
    all: Arc<AllCounters>,
    known: RefCell<HashMap<EntryId, Arc<KeyCounters>>>,
}

impl ThreadCounters {
    /// Knows no key yet.
    #[must_use]
    pub fn new(all: Arc<AllCounters>) -> Self {
        Self {
            all,
            known: RefCell::default(),
        }
    }

    /// The counters of a key.
    #[must_use]
    pub fn of(&self, key: &EntryId) -> Arc<KeyCounters> {
        let mut known = self.known.borrow_mut();
        match known.get(key) {
            Some(counters) => Arc::clone(counters),
            None => Arc::clone(known.entry(*key).or_insert_with(|| self.all.get(key))),
        }
    }

    /// Forgets keys of which nothing counts any more: to be called from time to time.
    pub fn sweep(&self, now: Timestamp) {
        self.known
            .borrow_mut()
            .retain(|_, counters| !counters.is_empty(now));
        self.all.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask { tokens: 100 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_795_348_800 + seconds) * 1_000_000).expect("a time in 2026")
    }

    fn limits(requests: Option<u64>, tokens: Option<u64>) -> KeyLimits {
        let mut limits = KeyLimits {
            limits: [Limit {
                measure: Measure::Requests,
                most: 0,
                share: Share::WHOLE,
            }; MAX_LIMITS],
            count: 0,
        };
        for (measure, most) in [(Measure::Requests, requests), (Measure::Tokens, tokens)] {
            if let Some(most) = most {
                limits.limits[limits.count] = Limit {
                    measure,
                    most,
                    share: Share::WHOLE,
                };
                limits.count += 1;
            }
        }
        limits
    }

    fn tokens_left(charged: &Charged) -> u64 {
        let tokens = charged
            .stood
            .iter()
            .flatten()
            .find(|it| it.measure == Measure::Tokens)
            .expect("limited");
        tokens.standing.remaining
    }

    #[test]
    fn tokens_come_back_when_fewer_were_used_and_go_when_more_were() {
        let counters = Arc::<KeyCounters>::default();
        let limits = limits(None, Some(1_000));
        let first = counters.charge(&limits, ASK, at(0));
        assert_eq!(tokens_left(&first), 900);
        first.outcome.expect("admitted").settle(30);
        let second = counters.charge(&limits, ASK, at(1));
        assert_eq!(tokens_left(&second), 870);
        second.outcome.expect("admitted").settle(960);
        let refused = counters
            .charge(&limits, ASK, at(2))
            .outcome
            .expect_err("990 of 1,000 are used");
        assert_eq!((refused.measure, refused.most), (Measure::Tokens, 1_000));
        assert_eq!(refused.retry_after_us, Some(58_000_000));
    }

    #[test]
    fn what_a_slot_counted_does_not_outlive_the_window() {
        let counters = Arc::<KeyCounters>::default();
        let limits = limits(Some(2), None);
        let admitted = |seconds: i64| counters.charge(&limits, ASK, at(seconds)).outcome.is_ok();
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
        let counters = Arc::<KeyCounters>::default();
        let limits = limits(None, Some(1_000));
        let early = counters
            .charge(&limits, ASK, at(0))
            .outcome
            .expect("admitted");
        assert_eq!(tokens_left(&counters.charge(&limits, ASK, at(60))), 900);
        early.settle(0);
        assert_eq!(tokens_left(&counters.charge(&limits, ASK, at(60))), 800);
    }

    #[test]
    fn a_refusal_by_one_limit_charges_none() {
        let counters = Arc::<KeyCounters>::default();
        let both = limits(Some(10), Some(150));
        assert!(counters.charge(&both, ASK, at(0)).outcome.is_ok());
        assert!(counters.charge(&both, ASK, at(0)).outcome.is_err());
        let requests =
            counters.charge(&limits(Some(10), None), ASK, at(0)).stood[0].expect("limited");
        assert_eq!(requests.standing.remaining, 8);
    }

    #[test]
    fn threads_that_race_never_admit_more_than_the_limit() {
        let counters = Arc::<KeyCounters>::default();
        let limits = limits(Some(1_000), Some(50_000));
        let admitted: usize = std::thread::scope(|scope| {
            let race = || {
                let counters = Arc::clone(&counters);
                scope.spawn(move || {
                    (0..1_000)
                        .filter(|_| counters.charge(&limits, ASK, at(0)).outcome.is_ok())
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
    fn a_key_is_forgotten_once_nothing_of_it_counts() {
        let all = Arc::<AllCounters>::default();
        let thread = ThreadCounters::new(Arc::clone(&all));
        let _ = thread
            .of(&[1; 16])
            .charge(&limits(Some(9), None), ASK, at(0));
        let keys = || all.by_key.lock().expect("not poisoned").len();
        thread.sweep(at(59));
        assert_eq!(keys(), 1);
        thread.sweep(at(60));
        assert_eq!(keys(), 0);
    }
}

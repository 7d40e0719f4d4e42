//! What truly happened, which nobody in the simulated world knows as a whole; and the properties that must hold.

use std::{collections::BTreeMap, fmt};

use super::setup::LimitSetup;
use crate::limits::{period::SlotNumber, share::Share};

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The name of the function that states it.
    pub property: &'static str,
    /// When, in microseconds from the beginning.
    pub at_us: u64,
    /// The numbers.
    pub numbers: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            property,
            at_us,
            numbers,
        } = self;
        write!(f, "{property} does not hold after {at_us} µs: {numbers}")
    }
}

/// What a property says: it holds, or the numbers by which it does not.
pub(super) type Verdict = Result<(), String>;

/// How an incarnation saw a counter when it admitted last in a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Numbers all admissions in the order in which they happened.
    pub(super) order: u64,
    /// Its share (`φ`).
    pub(super) share: Share,
    /// What it knew to be admitted (`G`).
    pub(super) known: u64,
}

/// A request that was admitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission {
    /// By which incarnation.
    pub(super) by: u32,
    pub(super) slot: SlotNumber,
    pub(super) cost: u64,
    /// How it saw the counter; `None`: it was cut off for so long that it goes by no share of it.
    pub(super) view: Option<View>,
}

/// What an incarnation has admitted in a slot, or in a window.
#[derive(Debug, Clone, Copy, Default)]
struct ByOne {
    net: u64,
    debts: u64,
    /// When it went by its share last.
    view: Option<View>,
    /// Whether it was cut off for so long at any time that it went by no share.
    is_alone: bool,
}

/// What has been admitted under one limit.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    limit: LimitSetup,
    slots: BTreeMap<SlotNumber, BTreeMap<u32, ByOne>>,
}

/// What is under way of a limit that counts at a time.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    limit: LimitSetup,
    lives: BTreeMap<u32, AtOne>,
    /// The most that was at once.
    pub(super) peak: u64,
}

/// What is under way at one incarnation.
#[derive(Debug, Clone, Default)]
struct AtOne {
    /// Each by its number: whether it counts beyond the limit, since the incarnation was cut off for too long meanwhile.
    open: BTreeMap<u64, bool>,
    /// How it saw the counter when it was charged last.
    view: Option<View>,
}

/// What has been admitted in a window, and what the bounds on it follow from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InWindow {
    pub(super) most: u64,
    /// What those admitted that went by their shares all the time, and what of that are debts.
    pub(super) shared: u64,
    pub(super) debts: u64,
    /// One largest cost for each of them that admitted anything.
    pub(super) in_flight: u64,
    /// `Σ φ·(G_max − G)` of them.
    pub(super) unseen: u64,
    /// How many went by no share of the limit at any time, since they were cut off for longer than is bounded.
    pub(super) alone: u64,
    /// What those admitted in all of the window, and what of that are debts.
    pub(super) by_alone: u64,
    pub(super) debts_alone: u64,
    /// The most that one of them admitted, without its debts.
    pub(super) most_by_one_alone: u64,
}

// === impl ByOne ===

impl ByOne {
    fn add(&mut self, other: &Self) {
        self.net += other.net;
        self.debts += other.debts;
        self.is_alone |= other.is_alone;
        let order = |view: &Option<View>| view.map_or(0, |view| view.order);
        if order(&self.view) < order(&other.view) {
            self.view = other.view;
        }
    }
}

// === impl Truth ===

impl Truth {
    pub(super) const fn new(limit: LimitSetup) -> Self {
        Self {
            limit,
            slots: BTreeMap::new(),
        }
    }

    pub(super) fn admitted(&mut self, admission: Admission) {
        let Admission {
            by,
            slot,
            cost,
            view,
        } = admission;
        let lives = self.slots.entry(slot).or_default();
        lives.entry(by).or_default().add(&ByOne {
            net: cost,
            debts: 0,
            view,
            is_alone: view.is_none(),
        });
    }

    pub(super) fn settled(&mut self, by: u32, slot: SlotNumber, reserved: u64, actual: u64) {
        let lives = self.slots.entry(slot).or_default();
        let life = lives.entry(by).or_default();
        life.net = life.net + actual - reserved;
        life.debts += actual.saturating_sub(reserved);
    }

    /// The windows in which a slot counts, as far as anything was admitted.
    pub(super) fn windows_of(&self, slot: SlotNumber) -> impl Iterator<Item = InWindow> {
        let ends = self.slots.range(slot..slot.plus(self.limit.period.slots()));
        ends.map(|(end, _)| self.window(*end))
    }

    /// All windows that end with a slot from the first to the last in which something was admitted.
    pub(super) fn windows(&self) -> impl Iterator<Item = (SlotNumber, InWindow)> {
        let first = self.slots.keys().next().map_or(0, |slot| slot.0);
        let after = self.slots.keys().next_back().map_or(0, |slot| slot.0 + 1);
        (first..after).map(|end| (SlotNumber(end), self.window(SlotNumber(end))))
    }

    pub(super) fn window(&self, end: SlotNumber) -> InWindow {
        let first = SlotNumber(end.0.saturating_sub(self.limit.period.slots() - 1));
        let mut lives: BTreeMap<u32, ByOne> = BTreeMap::new();
        for slot in self.slots.range(first..=end).map(|(_, slot)| slot) {
            for (by, it) in slot {
                lives.entry(*by).or_default().add(it);
            }
        }
        let mut window = InWindow {
            most: self.limit.most,
            ..InWindow::default()
        };
        let mut views = Vec::with_capacity(lives.len());
        for it in lives.values() {
            if it.is_alone {
                window.is_alone(it.net, it.debts);
            } else {
                window.shared += it.net;
                window.debts += it.debts;
                views.extend(it.view);
            }
        }
        window.in_flight = views.len() as u64 * self.limit.cost_max;
        window.unseen = unseen(&views);
        window
    }
}

/// `Σ φ·(G_max − G)`, rounded up, so that rounding breaks no bound.
fn unseen(views: &[View]) -> u64 {
    let known_most = views.iter().map(|view| view.known).max().unwrap_or(0);
    let unseen = views
        .iter()
        .map(|view| view.share.of(known_most - view.known) + 1);
    unseen.sum()
}

// === impl InWindow ===

impl InWindow {
    /// What everyone admitted.
    pub(super) const fn total(&self) -> u64 {
        self.shared + self.by_alone
    }

    /// One more kept the limit by itself.
    fn is_alone(&mut self, net: u64, debts: u64) {
        self.alone += 1;
        self.by_alone += net;
        self.debts_alone += debts;
        self.most_by_one_alone = self.most_by_one_alone.max(net.saturating_sub(debts));
    }
}

// === impl UnderWay ===

impl UnderWay {
    pub(super) const fn new(limit: LimitSetup) -> Self {
        Self {
            limit,
            lives: BTreeMap::new(),
            peak: 0,
        }
    }

    /// `view`: `None`, where it took the room of one that has ended.
    pub(super) fn admitted(&mut self, by: u32, number: u64, view: Option<View>) {
        let it = self.lives.entry(by).or_default();
        it.open.insert(number, false);
        it.view = view.or(it.view);
        let all = self.lives.values().map(|it| it.open.len() as u64).sum();
        self.peak = self.peak.max(all);
    }

    pub(super) fn ended(&mut self, by: u32, number: u64) {
        if let Some(it) = self.lives.get_mut(&by) {
            it.open.remove(&number);
        }
    }

    /// An incarnation is no more.
    pub(super) fn died(&mut self, life: u32) {
        self.lives.remove(&life);
    }

    /// An incarnation keeps the limit by itself.
    pub(super) fn is_by_itself(&mut self, life: u32) {
        if let Some(it) = self.lives.get_mut(&life) {
            it.open.values_mut().for_each(|is_beyond| *is_beyond = true);
        }
    }

    pub(super) fn now(&self) -> InWindow {
        let mut window = InWindow {
            most: self.limit.most,
            ..InWindow::default()
        };
        let mut views = Vec::new();
        for it in self.lives.values() {
            let beyond = it.open.values().filter(|is_beyond| **is_beyond).count() as u64;
            let shared = it.open.len() as u64 - beyond;
            if beyond > 0 {
                window.is_alone(beyond, 0);
            }
            if shared > 0 {
                window.shared += shared;
                views.extend(it.view);
            }
        }
        window.in_flight = views.len() as u64;
        window.unseen = unseen(&views);
        window
    }
}

// === the properties ===

/// Less than twice the limit is admitted in any window by those that go by their shares, and one request each. That is all there
/// is while nobody is cut off for longer than [`CUT_OFF_AFTER_US`](crate::limits::counter::CUT_OFF_AFTER_US).
pub(super) fn never_twice_the_limit(window: &InWindow) -> Verdict {
    let bound = 2 * window.most + window.in_flight + window.debts;
    holds(window.shared < bound || window.most == 0, window, bound)
}

/// They admit no more in any window than the limit, what they could not have seen, and one request each.
pub(super) fn within_the_stated_bound(window: &InWindow) -> Verdict {
    let bound = window.most + window.unseen + window.in_flight + window.debts;
    holds(window.shared <= bound, window, bound)
}

/// Whoever is cut off for longer admits no more than the limit, with what it admitted before in the window.
pub(super) fn each_that_is_alone_keeps_the_limit(window: &InWindow) -> Verdict {
    holds(window.most_by_one_alone <= window.most, window, window.most)
}

/// With k gateways cut off for longer, no more is admitted than k times the limit beside what the others admit.
pub(super) fn cut_off_for_longer_k_times_more(window: &InWindow) -> Verdict {
    let others = window.most + window.unseen + window.in_flight + window.debts;
    let bound = window.alone * window.most + window.debts_alone + others;
    holds(window.total() <= bound, window, bound)
}

/// Where a limit is closed at gateways that are cut off for too long, these admit nothing: there is nothing beside what the
/// first bound is on.
pub(super) fn closed_has_no_second_bound(window: &InWindow) -> Verdict {
    holds(window.alone == 0, window, 0)
}

/// A limit that is closed at a gateway that is cut off for too long lets no request through there.
pub(super) fn closed_admits_nothing(limit: &LimitSetup, is_admitted: bool) -> Verdict {
    if is_admitted {
        Err(format!("a request was admitted under {limit:?}"))
    } else {
        Ok(())
    }
}

/// A limit that is open at a gateway that is cut off for too long refuses nothing there: what is admitted has no bound.
pub(super) fn open_refuses_nothing(limit: &LimitSetup, is_refused_by_it: bool) -> Verdict {
    if is_refused_by_it {
        Err(format!("a request was refused by {limit:?}"))
    } else {
        Ok(())
    }
}

fn holds(holds: bool, window: &InWindow, bound: u64) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(format!("{window:?}, bound {bound}"))
    }
}

/// The shares that are in use of one counter are one whole together, at most.
pub(super) fn shares_never_sum_above_one(shares: impl Iterator<Item = Share>) -> Verdict {
    let sum: u64 = shares.map(Share::parts).sum();
    if sum <= Share::WHOLE.parts() {
        Ok(())
    } else {
        Err(format!("{sum} of {} parts", Share::WHOLE.parts()))
    }
}

/// What is said to remain of a limit is never below zero, nor above the limit.
pub(super) fn remaining_is_never_negative(most: u64, remaining: u64, used: u64) -> Verdict {
    if remaining <= most && (remaining == 0 || remaining + used == most) {
        Ok(())
    } else {
        Err(format!("{remaining} of {most} remain when {used} are used"))
    }
}

/// When all is calm again, the aggregator knows all that was ever reported to it, and what lives; exactly, if it is the first.
pub(super) fn nothing_is_lost_after_convergence(
    total: u64,
    expected: u64,
    is_first_term: bool,
) -> Verdict {
    let is_right = if is_first_term {
        total == expected
    } else {
        total >= expected
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{total} known, {expected} counted"))
    }
}

/// When everything has ended, and whoever died is forgotten, nothing is counted as under way anywhere.
pub(super) fn nothing_is_held_after_all_has_ended(total: u64, counted: &[(u64, u64)]) -> Verdict {
    if total == 0 && counted.iter().all(|it| *it == (0, 0)) {
        Ok(())
    } else {
        Err(format!("{total} in all, at gateways {counted:?}"))
    }
}

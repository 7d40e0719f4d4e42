//! One counter at a gateway: what it has counted itself, what all others are known to have counted, and its share.

mod seen;

use events_schema::time::Timestamp;

pub use self::seen::Seen;
use super::aggregator::POOL;
use super::period::SlotNumber;
use super::{
    cost::Standing,
    gateway::SHARE_LIFETIME_US,
    marks::Full,
    message::{Amounts, BroadcastRow, BroadcastSlot, CounterId, ReportRow, ReportSlot},
    share::{Share, fits},
};

/// Slots that are kept beside those of the window: one for late settlements, or for gateways whose clocks are ahead.
const SPARE_SLOTS: usize = 2;

/// The share that every incarnation has of every counter, whether or not it has ever heard of an aggregator: so a gateway
/// that has just come, or was cut off long ago, admits a little. A quarter of each limit's remainder is set aside for 256
/// of them.
pub const JOINER_SHARE: Share = Share::of_2_32(1 << 22);

/// When a share is larger again, in microseconds, of which this gateway has used what it had: the aggregator tells of what was
/// admitted ten times a second.
const SOON_US: u64 = 300_000;

/// When a refused request may be sent again where what is under way counts, in microseconds: nobody knows when another ends.
const AT_A_TIME_US: u64 = 1_000_000;

/// How long every gateway that is cut off goes by its shares of the limits of keys and of rate-limit policies, in microseconds, and
/// what is simulated: when nothing has been heard for ten seconds (five in which a share holds, and as long again), the limit does
/// what its policy says; usually it is the gateway's own then, so that no request is refused since NATS is away. Later, and a gateway
/// whose shares have halved once and again would refuse nearly all that the limits let through; sooner, and a restart of NATS, or a
/// change of office, would suspend them. A second later nobody counts any more what was under way there
/// ([`super::gateway::HELD_US`]).
pub const CUT_OFF_AFTER_US: u64 = SHARE_LIFETIME_US;

/// When a request may be sent again that is refused since the gateway is cut off, in microseconds: nobody knows until when it is.
const CUT_OFF_RETRY_US: u64 = 1_000_000;

/// What a limit lets through, and what happens above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How much fits into a window (`L`).
    pub most: u64,
    /// What happens above it.
    pub mode: Mode,
    /// What happens when the aggregator has been silent for too long; `None`: the share goes on halving itself.
    pub cut_off: Option<CutOff>,
}

/// What happens above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Requests are refused.
    Enforce,
    /// Nothing but a note of what would have been refused.
    Audit,
}

/// What a gateway does that has been cut off for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutOff {
    /// For how many microseconds it goes by its share.
    pub after_us: u64,
    /// What it does then.
    pub then: WhenCutOff,
}

/// What a limit does at a gateway that has been cut off for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenCutOff {
    /// It lets everything through: no bound holds.
    Open,
    /// It lets through what it would if there were no other gateway: each that is cut off keeps the limit by itself.
    Alone,
    /// It lets nothing through.
    Closed,
}

/// How far a gateway's word reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// There is no other gateway: all of every limit is its own.
    Alone,
    /// It shares limits with others.
    Together {
        /// How often its shares have halved since it was heard last.
        halvings: u32,
        /// For how many microseconds it has been cut off; 0: it is not.
        silent_us: u64,
    },
    /// It has left, and admits nothing.
    Left,
}

/// What a gateway has counted in a slot, and what it knows of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(align(64))]
struct Slot {
    number: SlotNumber,
    own: Amounts,
    /// Reserved by requests under way.
    open: u64,
    /// What was charged when last it was reported: as long as nobody knows of a charge it can be taken back without trace.
    told: u64,
    /// Of the own amounts, what the last broadcast included.
    included: Amounts,
    /// What the others had counted by then.
    others: u64,
}

/// One counter at a gateway.
///
/// Whatever changes with a request lies in `busy` and in one slot, on a cache line each: threads that count at one counter in
/// turns take no more from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    id: CounterId,
    terms: Terms,
    share: Share,
    slots: Box<[Slot]>,
    /// Where among the slots the one is kept with which the summed window ends.
    summed_place: usize,
    /// Of what counts at a time: the most that was under way since the last report.
    peak: u64,
    /// The number of the first report that may tell of it: what is told of earlier ones is of a counter that was forgotten.
    told_from: u64,
    /// Whether nothing is left, as all gateways were told before it came up here, and nobody has told how it stands.
    is_presumed_full: bool,
    busy: Busy,
}

/// What changes with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
struct Busy {
    asked: u64,
    refused: u64,
    /// The slot with which the window ended for which the two sums are.
    summed_at: SlotNumber,
    /// When that slot begins, and when it ends: in between nobody has to work out which it is.
    summed_from: Timestamp,
    summed_until: Timestamp,
    /// What this gateway has admitted in the window that is not in `known` (`u`).
    own: u64,
    /// What is known to have been admitted in the window (`G`).
    known: u64,
    /// The last slot of which something counts.
    last: SlotNumber,
}

// === impl Terms ===

impl Terms {
    /// Those of the limit of a key or a rate-limit policy, as gateways apply them. `then`: what it does at one that has been cut off
    /// for longer than [`CUT_OFF_AFTER_US`].
    #[must_use]
    pub const fn of_rate_limit(most: u64, mode: Mode, then: WhenCutOff) -> Self {
        Self {
            most,
            mode,
            cut_off: Some(CutOff {
                after_us: CUT_OFF_AFTER_US,
                then,
            }),
        }
    }

    /// Whether a gateway whose word reaches so far keeps the limit by itself since it is cut off.
    #[must_use]
    pub fn are_kept_alone(&self, reach: Reach) -> bool {
        self.when_cut_off(reach) == Some(WhenCutOff::Alone)
    }

    /// What is done since the aggregator has been silent for too long; `None`: it has not.
    #[must_use]
    pub fn when_cut_off(&self, reach: Reach) -> Option<WhenCutOff> {
        let silent_us = match reach {
            Reach::Left | Reach::Alone => 0,
            Reach::Together { silent_us, .. } => silent_us,
        };
        let cut_off = self.cut_off?;
        (silent_us > cut_off.after_us).then_some(cut_off.then)
    }
}

// === impl Reach ===

impl Reach {
    /// What is left of a share that was dealt.
    #[must_use]
    pub const fn of(self, dealt: Share) -> Share {
        match self {
            Self::Alone => Share::WHOLE,
            Self::Together { halvings, .. } => JOINER_SHARE.plus(dealt.halved(halvings)),
            Self::Left => Share::NONE,
        }
    }

    /// The shorter of two: what is admitted by both at once goes by it.
    #[must_use]
    pub fn shorter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Left, _) | (_, Self::Left) => Self::Left,
            (Self::Alone, it) | (it, Self::Alone) => it,
            (
                Self::Together {
                    halvings,
                    silent_us,
                },
                Self::Together {
                    halvings: others,
                    silent_us: other_us,
                },
            ) => Self::Together {
                halvings: halvings.max(others),
                silent_us: silent_us.max(other_us),
            },
        }
    }
}

// === impl Slot ===

impl Slot {
    const fn own_unknown(&self) -> u64 {
        self.own.charged.saturating_sub(self.included.charged)
    }

    const fn known(&self) -> u64 {
        self.others.saturating_add(self.included.net())
    }

    /// Begins the slot with this number, where an earlier one was kept.
    fn begin(&mut self, number: SlotNumber) {
        if self.number < number {
            *self = Self {
                number,
                ..Self::default()
            };
        }
    }

    const fn is_empty(&self) -> bool {
        self.own.charged == 0 && self.others == 0 && self.included.charged == 0
    }

    /// Of what counts at a time: charged, as all others see it, and free for the next requests of this gateway.
    const fn kept(&self) -> u64 {
        self.own.net().saturating_sub(self.open)
    }
}

// === impl Counter ===

impl Counter {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(id: CounterId, terms: Terms, share: Share) -> Self {
        let slots = usize::try_from(id.period.slots()).unwrap_or(1) + SPARE_SLOTS;
        Self {
            id,
            terms,
            share,
            slots: vec![Slot::default(); slots].into_boxed_slice(),
            summed_place: 0,
            peak: 0,
            told_from: 0,
            is_presumed_full: false,
            busy: Busy {
                asked: 0,
                refused: 0,
                summed_at: SlotNumber::default(),
                summed_from: Timestamp::MIN,
                summed_until: Timestamp::MIN,
                own: 0,
                known: 0,
                last: SlotNumber::default(),
            },
        }
    }

    /// It is told of in the report with this number, and in no earlier one.
    #[must_use]
    pub(super) const fn told_from(mut self, number: u64) -> Self {
        self.told_from = number;
        self
    }

    /// Whether nothing was left of it before it came up here.
    #[must_use]
    pub(super) const fn presumed_full(mut self, is_full: bool) -> Self {
        self.is_presumed_full = is_full;
        self
    }

    /// Presumes no longer that nothing is left, where these do not say so.
    pub(super) fn is_full_still(&mut self, full: &Full) {
        self.is_presumed_full = self.is_presumed_full && full.holds(&self.id);
    }

    /// Which counter.
    #[must_use]
    pub const fn id(&self) -> CounterId {
        self.id
    }

    /// What its limit lets through.
    #[must_use]
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// A limit that changes keeps what was counted.
    pub fn set_terms(&mut self, terms: Terms) {
        // Nothing is written that stands there, since others read it.
        if self.terms != terms {
            self.terms = terms;
        }
    }

    /// Its share, as it was dealt.
    #[must_use]
    pub const fn share(&self) -> Share {
        self.share
    }

    /// Deals it another share.
    pub const fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// What this gateway has admitted in the window of `now` that is not yet known (`u`), and what is known (`G`).
    #[must_use]
    pub fn used(&mut self, now: Timestamp) -> (u64, u64) {
        self.sum(now);
        (self.busy.own, self.busy.known)
    }

    /// What a decision goes by: as [`Self::used`]; but of what counts at a time, a gateway that keeps the limit by itself knows
    /// all there is.
    #[must_use]
    pub fn used_by(&mut self, reach: Reach, now: Timestamp) -> (u64, u64) {
        if self.id.period.is_at_a_time() && self.keeps_it_by_itself(reach) {
            (self.slots[0].open, 0)
        } else {
            self.used(now)
        }
    }

    /// Whether a request of this cost fits. Nothing is counted.
    #[must_use]
    #[inline]
    pub fn admits(&mut self, cost: u64, reach: Reach, now: Timestamp) -> bool {
        if self.id.period.is_at_a_time() {
            return self.admits_at_a_time(cost, reach, now);
        }
        self.sum(now);
        self.fits(self.busy.own, self.busy.known, cost, reach)
    }

    /// What has ended leaves its room to the next: it is counted as before, and nobody else has to know. Not where all
    /// gateways together hold more than the limit, nor where this one holds more than its part: whoever came first would keep
    /// all for ever.
    fn admits_at_a_time(&mut self, cost: u64, reach: Reach, now: Timestamp) -> bool {
        let (own, known) = self.used_by(reach, now);
        // What costs nothing is counted already.
        cost <= self.free(own, known, reach) || self.fits(own, known, cost, reach)
    }

    /// How much of what has ended here the next requests may have.
    fn free(&self, own: u64, known: u64, reach: Reach) -> u64 {
        let slot = &self.slots[0];
        let is_theirs = own.saturating_add(known) <= self.terms.most
            && matches!(reach, Reach::Together { .. })
            && self.when_cut_off(reach).is_none();
        if is_theirs {
            slot.kept().min(self.part().saturating_sub(slot.open))
        } else {
            0
        }
    }

    /// How much of the limit would be this gateway's if all of it were dealt out as the shares are: rounded, and a half down.
    fn part(&self) -> u64 {
        let parts = u128::from(self.terms.most) * u128::from(self.share.parts());
        let pool = u128::from(POOL);
        u64::try_from((2 * parts + pool - 1) / (2 * pool)).unwrap_or(u64::MAX)
    }

    /// Whether it goes by nothing but what this gateway has counted.
    fn keeps_it_by_itself(&self, reach: Reach) -> bool {
        reach == Reach::Alone || self.terms.are_kept_alone(reach)
    }

    /// Whether a request of this cost fits beside so much. Nothing is counted.
    #[must_use]
    #[inline]
    pub fn fits(&self, own: u64, known: u64, cost: u64, reach: Reach) -> bool {
        let share = match (self.when_cut_off(reach), reach) {
            (_, Reach::Left) | (Some(WhenCutOff::Closed), _) => return false,
            (Some(WhenCutOff::Open), _) => return true,
            // Whoever is not heard any more cannot say that it is so no longer.
            (None, Reach::Together { silent_us: 0, .. }) if self.is_presumed_full => return false,
            (Some(WhenCutOff::Alone), _) => Share::WHOLE,
            (None, _) => reach.of(self.share),
        };
        fits(own, known, cost, self.terms.most, share)
    }

    /// The share of what is left by which it goes.
    #[must_use]
    pub fn share_of(&self, reach: Reach) -> Share {
        match self.when_cut_off(reach) {
            Some(WhenCutOff::Alone) => Share::WHOLE,
            Some(WhenCutOff::Open | WhenCutOff::Closed) | None => reach.of(self.share),
        }
    }

    /// What it does since the aggregator has been silent for too long; `None`: it has not.
    #[must_use]
    #[inline]
    pub fn when_cut_off(&self, reach: Reach) -> Option<WhenCutOff> {
        self.terms.when_cut_off(reach)
    }

    /// Notes that a request asked for so much, and whether it was refused.
    #[inline]
    pub const fn note(&mut self, cost: u64, refused: bool) {
        self.busy.asked = self.busy.asked.saturating_add(cost);
        if refused {
            self.busy.refused = self.busy.refused.saturating_add(cost);
        }
    }

    /// Counts a request; returns the slot in which it counts, for its settlement.
    #[inline]
    pub fn charge(&mut self, cost: u64, now: Timestamp) -> SlotNumber {
        self.sum(now);
        let slot = &mut self.slots[self.summed_place];
        slot.begin(self.busy.summed_at);
        let mut more = cost;
        if self.id.period.is_at_a_time() {
            more -= slot.kept().min(cost);
            self.peak = self.peak.max(slot.open.saturating_add(cost));
        }
        slot.own.charged = slot.own.charged.saturating_add(more);
        slot.open = slot.open.saturating_add(cost);
        let number = slot.number;
        self.busy.own = self.busy.own.saturating_add(more);
        if cost > 0 {
            self.busy.last = self.busy.last.max(number);
        }
        number
    }

    /// Settles what was reserved in a slot against what was used: less comes back, more is a debt that the next requests
    /// pay. A slot that has been forgotten has no debts. What counts at a time is settled against nothing, when it has ended:
    /// what others may know of is kept for the next request here, and comes back with a report before which it was not needed.
    pub fn settle(&mut self, slot: SlotNumber, reserved: u64, actual: u64) {
        let at = self.place_of(slot);
        let it = &mut self.slots[at];
        if it.number != slot {
            return;
        }
        let before = it.own_unknown();
        it.open = it.open.saturating_sub(reserved);
        it.own.charged = it
            .own
            .charged
            .saturating_add(actual.saturating_sub(reserved));
        let refund = reserved.saturating_sub(actual);
        let untold = refund.min(it.own.charged.saturating_sub(it.told));
        it.own.charged -= untold;
        if !self.id.period.is_at_a_time() {
            it.own.returned = it.own.returned.saturating_add(refund - untold);
        }
        if it.is_empty() || self.busy.own == u64::MAX {
            self.sum_again();
        } else if self.id.period.counts_at(slot, self.busy.summed_at) {
            // What is known has not changed, nor have other slots.
            let after = it.own_unknown();
            self.busy.own = self.busy.own.saturating_sub(before).saturating_add(after);
        }
    }

    /// How the limit stands, as a decision goes by it.
    #[must_use]
    pub fn stands(&mut self, reach: Reach, now: Timestamp) -> Standing {
        if !self.id.period.is_at_a_time() {
            return self.standing(now);
        }
        let (own, known) = self.used_by(reach, now);
        let kept = if self.keeps_it_by_itself(reach) {
            0
        } else {
            self.slots[0].kept()
        };
        let used = own.saturating_add(known).saturating_sub(kept);
        Standing {
            most: self.terms.most,
            remaining: self.terms.most.saturating_sub(used),
            reset_us: AT_A_TIME_US,
        }
    }

    /// How the limit stands.
    #[must_use]
    pub fn standing(&mut self, now: Timestamp) -> Standing {
        let (own, known) = self.used(now);
        let period = self.id.period;
        Standing {
            most: self.terms.most,
            remaining: if self.is_presumed_full {
                0
            } else {
                self.terms.most.saturating_sub(own.saturating_add(known))
            },
            reset_us: period.begins_in_us(self.busy.last.plus(period.slots()), now),
        }
    }

    /// In how many microseconds a request of this cost would fit if nothing else were admitted; `None`: never.
    ///
    /// Where there is room under the limit, and only this gateway's share of it is used up, that is when the aggregator has
    /// told of what was admitted: soon. Where it is closed since the gateway is cut off, that may be over any time.
    #[must_use]
    pub fn retry_after_us(&self, cost: u64, reach: Reach, now: Timestamp) -> Option<u64> {
        if self.when_cut_off(reach) == Some(WhenCutOff::Closed) {
            return Some(CUT_OFF_RETRY_US);
        }
        let period = self.id.period;
        if period.is_at_a_time() {
            return (cost <= self.terms.most).then_some(AT_A_TIME_US);
        }
        let newest = period.slot_at(now);
        let (own, known) = self.sums(newest);
        let has_room = own.saturating_add(known).saturating_add(cost) <= self.terms.most;
        if has_room && matches!(reach, Reach::Together { silent_us: 0, .. }) {
            return Some(SOON_US);
        }
        let later = (1..=period.slots() + SPARE_SLOTS as u64).map(|later| newest.plus(later));
        let fitting = later.map(|newest| (newest, self.sums(newest)));
        fitting
            .filter(|(_, (own, known))| self.fits(*own, *known, cost, reach))
            .map(|(slot, _)| period.begins_in_us(slot, now))
            .next()
    }

    /// Whether nothing counts any more in the window of `now`, nor is anything under way.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        if self.id.period.is_at_a_time() {
            let slot = &self.slots[0];
            return slot.open == 0 && slot.own.net() == 0 && slot.others == 0;
        }
        let newest = self.id.period.slot_at(now);
        self.slots.iter().all(|slot| {
            slot.is_empty() || (slot.open == 0 && !self.id.period.counts_at(slot.number, newest))
        })
    }

    // --- reports and broadcasts

    /// Of what counts at a time, gives back what was kept since it was called last and not needed, and what is beyond this
    /// gateway's part.
    pub fn give_back(&mut self) {
        if !self.id.period.is_at_a_time() {
            return;
        }
        let part = self.part();
        let slot = &mut self.slots[0];
        let needed = self.peak.min(part).max(slot.open);
        let spare = slot.own.net().saturating_sub(needed);
        slot.own.returned = slot.own.returned.saturating_add(spare);
        self.peak = slot.open;
    }

    /// Of what counts at a time, gives back all that is not under way.
    pub(super) fn give_back_all_that_is_free(&mut self) {
        self.peak = 0;
        self.give_back();
    }

    /// What is to be reported of it. From now on others may know of what was charged.
    pub fn report(&mut self) -> ReportRow {
        let filled = self.slots.iter_mut().filter(|slot| !slot.is_empty());
        let slots = filled.map(|slot| {
            slot.told = slot.told.max(slot.own.charged);
            ReportSlot {
                number: slot.number,
                own: slot.own,
                open: slot.open,
                included: slot.included,
                total: slot.known(),
            }
        });
        let slots = slots.collect();
        ReportRow {
            counter: self.id,
            most: self.terms.most,
            share: self.share,
            asked: self.busy.asked,
            refused: self.busy.refused,
            slots,
        }
    }

    /// Takes over what a broadcast says of it that includes this gateway's reports up to a number. An aggregator that is new in
    /// office may lack what others counted: then what was known stays known.
    pub fn hear(&mut self, row: &BroadcastRow, includes: u64, adopting: bool) {
        self.is_presumed_full = false;
        let is_of_before = includes < self.told_from;
        for said in &row.slots {
            let BroadcastSlot {
                number,
                total,
                mut included,
            } = *said;
            let slot = self.slot_for(number);
            if slot.number != number {
                continue;
            }
            let others = total.saturating_sub(included.net());
            if is_of_before {
                included = Amounts::default();
            }
            slot.others = if adopting {
                slot.others.max(others)
            } else {
                others
            };
            let later = |it: Amounts| (it.charged, it.returned);
            if !adopting || later(included) > later(slot.included) {
                slot.included = included;
            }
        }
        self.sum_again();
    }

    // --- slots and sums

    /// Where the slot with this number is, unless it has been given up for a later one.
    fn place_of(&self, number: SlotNumber) -> usize {
        usize::try_from(number.0 % self.slots.len() as u64).unwrap_or(0)
    }

    /// The slot with this number; where it has been given up for a later one, that one: it counts as well.
    fn slot_for(&mut self, number: SlotNumber) -> &mut Slot {
        let at = self.place_of(number);
        let slot = &mut self.slots[at];
        slot.begin(number);
        slot
    }

    fn sums(&self, newest: SlotNumber) -> (u64, u64) {
        let period = self.id.period;
        let counting = self
            .slots
            .iter()
            .filter(|slot| period.counts_at(slot.number, newest));
        counting.fold((0_u64, 0_u64), |(own, known), slot| {
            (
                own.saturating_add(slot.own_unknown()),
                known.saturating_add(slot.known()),
            )
        })
    }

    /// Sums up the window of `now`, unless that was done.
    #[inline]
    fn sum(&mut self, now: Timestamp) {
        if now < self.busy.summed_from || self.busy.summed_until <= now {
            self.sum_anew(now);
        }
    }

    #[cold]
    fn sum_anew(&mut self, now: Timestamp) {
        let period = self.id.period;
        let newest = period.slot_at(now);
        self.busy.summed_from = period.slot_begins(newest);
        self.busy.summed_until = period.slot_begins(newest.plus(1));
        self.summed_place = self.place_of(newest);
        self.busy.summed_at = newest;
        self.sum_again();
    }

    fn sum_again(&mut self) {
        (self.busy.own, self.busy.known) = self.sums(self.busy.summed_at);
        let filled = self.slots.iter().filter(|slot| !slot.is_empty());
        let last = filled.map(|slot| slot.number).max();
        self.busy.last = last.unwrap_or_default();
    }
}

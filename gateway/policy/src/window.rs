//! A sliding minute in six slots of ten seconds: between 50 and 60 seconds are covered.

use events_schema::time::Timestamp;

/// The length of a slot, in microseconds.
pub const SLOT_US: u64 = 10_000_000;

/// How many slots a window has.
pub const SLOTS: usize = 6;

/// A slot, numbered from 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotNumber(pub u64);

impl SlotNumber {
    /// The slot in which this moment lies.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self(now.micros().unsigned_abs() / SLOT_US)
    }

    /// Where the slot is kept among [`SLOTS`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0 % SLOTS as u64).unwrap_or(0)
    }

    /// Whether the slot still counts for a window that ends with `newest`.
    ///
    /// A slot later than `newest` counts: clocks step back, and what was admitted stays admitted.
    #[must_use]
    pub const fn counts_at(self, newest: Self) -> bool {
        self.0 + SLOTS as u64 > newest.0
    }

    /// The slot `later` slots after this one.
    #[must_use]
    pub const fn plus(self, later: u64) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// Microseconds from `now` to the beginning of the slot; zero when it has begun.
    #[must_use]
    pub const fn begins_in_us(self, now: Timestamp) -> u64 {
        self.0
            .saturating_mul(SLOT_US)
            .saturating_sub(now.micros().unsigned_abs())
    }
}

/// What one slot has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slot {
    /// Which slot.
    pub number: SlotNumber,
    /// How much.
    pub count: u64,
}

/// What was counted, by slot. Slots that are over stay until they are written again; they do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    slots: [Slot; SLOTS],
}

impl Window {
    /// From slots in any order.
    #[must_use]
    pub const fn new(slots: [Slot; SLOTS]) -> Self {
        Self { slots }
    }

    /// All that counts for a window that ends with `newest`.
    #[must_use]
    pub fn total(&self, newest: SlotNumber) -> u64 {
        let counted = self
            .slots
            .iter()
            .filter(|slot| slot.number.counts_at(newest));
        counted.fold(0, |sum, slot| sum.saturating_add(slot.count))
    }

    /// The first slot at whose beginning nothing of this counts any more; `None`: nothing counts.
    #[must_use]
    pub fn empty_from(&self) -> Option<SlotNumber> {
        let filled = self.slots.iter().filter(|slot| slot.count > 0);
        filled.map(|slot| slot.number.plus(SLOTS as u64)).max()
    }

    /// Counts more in the slot of `now`.
    pub fn add(&mut self, now: SlotNumber, amount: u64) {
        let slot = &mut self.slots[now.index()];
        if slot.number < now {
            *slot = Slot {
                number: now,
                count: 0,
            };
        }
        slot.count = slot.count.saturating_add(amount);
    }
}

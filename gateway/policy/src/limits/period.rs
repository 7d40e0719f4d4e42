//! The times in which limits count, cut into slots: an hour of the clock is one slot, a sliding minute is six.
//!
//! A slot has a number, and every count belongs to one: so counts of gateways whose clocks differ can be added, and what a
//! clock says only decides to which slot a request belongs. Slots later than a gateway's own count for it, too: what was
//! admitted stays admitted when a clock steps back.

use chrono::{Datelike as _, NaiveDate};
use events_schema::time::Timestamp;
use serde::{Deserialize, Serialize};

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;
/// 1970-01-01 was a Thursday: so many days after the Monday that begins its week.
const DAYS_SINCE_MONDAY: u64 = 3;

/// A slot, numbered from 1970.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SlotNumber(pub u64);

impl SlotNumber {
    /// The slot `later` slots after this one.
    #[must_use]
    pub const fn plus(self, later: u64) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// In which time a limit counts. It is written as its [`Period::tag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Period {
    /// Six slots of ten seconds: between 50 and 60 seconds are covered.
    SlidingMinute,
    /// A minute of the clock.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A day, UTC.
    Day,
    /// A week from Monday, UTC.
    Week,
    /// A month, UTC.
    Month,
    /// A quarter of a year, UTC.
    Quarter,
    /// No time: what is under way counts, for as long as it is. One slot that never ends.
    AtATime,
}

/// A number that is no period's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no period has the number {0}")]
pub struct NoPeriod(u8);

impl TryFrom<u8> for Period {
    type Error = NoPeriod;

    fn try_from(tag: u8) -> Result<Self, NoPeriod> {
        let mut all = Self::ALL.into_iter().chain([Self::AtATime]);
        all.find(|period| period.tag() == tag).ok_or(NoPeriod(tag))
    }
}

impl From<Period> for u8 {
    /// Its [`Period::tag`].
    fn from(period: Period) -> Self {
        period.tag()
    }
}

impl Period {
    /// All that end.
    pub const ALL: [Self; 7] = [
        Self::SlidingMinute,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
    ];

    /// Whether what is under way counts, and nothing that has ended.
    #[must_use]
    pub const fn is_at_a_time(self) -> bool {
        matches!(self, Self::AtATime)
    }

    /// Its place in [`Self::ALL`], and that of its base share. What counts at a time goes by the base share of the minute, of
    /// which what silence frees is dealt again soonest.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::SlidingMinute | Self::AtATime => 0,
            Self::Minute => 1,
            Self::Hour => 2,
            Self::Day => 3,
            Self::Week => 4,
            Self::Month => 5,
            Self::Quarter => 6,
        }
    }

    /// A number that no other has, and never had: it stands in what is written down of budgets. (1 was a minute of seven slots, which
    /// no limit had.)
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::SlidingMinute => 0,
            Self::Minute => 2,
            Self::Hour => 3,
            Self::Day => 4,
            Self::Week => 5,
            Self::Month => 6,
            Self::Quarter => 7,
            Self::AtATime => 8,
        }
    }

    /// How many slots a window has.
    #[must_use]
    pub const fn slots(self) -> u64 {
        match self {
            Self::SlidingMinute => 6,
            Self::Minute
            | Self::Hour
            | Self::Day
            | Self::Week
            | Self::Month
            | Self::Quarter
            | Self::AtATime => 1,
        }
    }

    /// The length of a slot in microseconds, where all are alike.
    const fn slot_us(self) -> Option<u64> {
        match self {
            Self::SlidingMinute => Some(10 * SECOND_US),
            Self::Minute => Some(60 * SECOND_US),
            Self::Hour => Some(3_600 * SECOND_US),
            Self::Day => Some(DAY_US),
            Self::Week => Some(7 * DAY_US),
            Self::Month | Self::Quarter | Self::AtATime => None,
        }
    }

    /// How long before 1970 the slot with number 0 began, in microseconds.
    const fn before_1970_us(self) -> u64 {
        match self {
            Self::Week => DAYS_SINCE_MONDAY * DAY_US,
            Self::SlidingMinute
            | Self::Minute
            | Self::Hour
            | Self::Day
            | Self::Month
            | Self::Quarter
            | Self::AtATime => 0,
        }
    }

    const fn months(self) -> u64 {
        if matches!(self, Self::Quarter) { 3 } else { 1 }
    }

    /// The slot in which a moment lies.
    #[must_use]
    pub fn slot_at(self, now: Timestamp) -> SlotNumber {
        if self.is_at_a_time() {
            return SlotNumber(0);
        }
        let micros = now.micros().unsigned_abs();
        match self.slot_us() {
            Some(slot_us) => SlotNumber((micros + self.before_1970_us()) / slot_us),
            None => SlotNumber(months_since_1970(now) / self.months()),
        }
    }

    /// When a slot begins; one that begins past the year 9999 begins at its end.
    #[must_use]
    pub fn slot_begins(self, slot: SlotNumber) -> Timestamp {
        if self.is_at_a_time() {
            return if slot.0 == 0 {
                Timestamp::MIN
            } else {
                Timestamp::MAX
            };
        }
        match self.slot_us() {
            Some(slot_us) => {
                let micros = slot.0.saturating_mul(slot_us);
                let micros = micros.saturating_sub(self.before_1970_us());
                Timestamp::MIN.plus_micros(i64::try_from(micros).unwrap_or(i64::MAX))
            }
            None => month_begins(slot.0.saturating_mul(self.months())),
        }
    }

    /// Microseconds from `now` to the beginning of a slot; zero when it has begun.
    #[must_use]
    pub fn begins_in_us(self, slot: SlotNumber, now: Timestamp) -> u64 {
        self.slot_begins(slot).micros_since(now)
    }

    /// When the window that ends with the slot of `now` began.
    #[must_use]
    pub fn window_began(self, now: Timestamp) -> Timestamp {
        let newest = self.slot_at(now);
        self.slot_begins(SlotNumber(newest.0.saturating_sub(self.slots() - 1)))
    }

    /// Whether a slot counts for the window that ends with `newest`. Later ones do.
    #[must_use]
    pub const fn counts_at(self, slot: SlotNumber, newest: SlotNumber) -> bool {
        slot.0 + self.slots() > newest.0
    }
}

fn months_since_1970(now: Timestamp) -> u64 {
    let date = now.to_chrono();
    let years = u64::try_from(date.year() - 1970).unwrap_or(0);
    years * 12 + u64::from(date.month0())
}

fn month_begins(months: u64) -> Timestamp {
    let year = i32::try_from(1970 + months / 12).ok();
    let month0 = u32::try_from(months % 12).unwrap_or(0);
    let date = year.and_then(|year| NaiveDate::from_ymd_opt(year, month0 + 1, 1));
    let begins = date.and_then(|date| date.and_hms_opt(0, 0, 0));
    begins
        .and_then(|it| Timestamp::from_chrono(it.and_utc()).ok())
        .unwrap_or(Timestamp::MAX)
}

//! Points in time, as whole microseconds since 1970-01-01T00:00:00Z.
//!
//! Microseconds are what Postgres keeps, so that a time survives the log unchanged. Reading a clock
//! is the business of the shells: nothing here knows what time it is.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, to the microsecond, between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A time that cannot be a [`Timestamp`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time is written as in RFC 3339, for example 2026-11-22T12:00:00Z, and lies between 1970 and 9999"
)]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The earliest.
    pub const MIN: Self = Self(0);
    /// The latest: the last microsecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The point `micros` microseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Outside of the years 1970 to 9999.
    pub const fn from_micros(micros: i64) -> Result<Self, InvalidTimestamp> {
        if micros >= Self::MIN.0 && micros <= Self::MAX.0 {
            Ok(Self(micros))
        } else {
            Err(InvalidTimestamp)
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        (self.0 / 1_000_000).unsigned_abs()
    }

    /// This point moved by `micros` microseconds (back, when negative), kept within the years 1970 to 9999.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(
            self.0
                .saturating_add(micros)
                .clamp(Self::MIN.0, Self::MAX.0),
        )
    }

    /// Microseconds from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0).max(0).unsigned_abs()
    }

    /// The same point as chrono has it.
    #[must_use]
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// From chrono's, cut to the microsecond.
    ///
    /// # Errors
    /// Outside of the years 1970 to 9999.
    pub fn from_chrono(time: DateTime<Utc>) -> Result<Self, InvalidTimestamp> {
        Self::from_micros(time.timestamp_micros())
    }
}

/// A time as text: always of one length.
struct Text([u8; "2026-11-22T12:00:00.000001Z".len()]);

impl Text {
    fn of(time: Timestamp) -> Self {
        let of = time.to_chrono();
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let parts = [
            (0..4, of.year().unsigned_abs()),
            (5..7, of.month()),
            (8..10, of.day()),
            (11..13, of.hour()),
            (14..16, of.minute()),
            (17..19, of.second()),
            (20..26, of.timestamp_subsec_micros()),
        ];
        for (place, mut number) in parts {
            for digit in text[place].iter_mut().rev() {
                *digit += u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        }
        Self(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::of(*self).as_str())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTimestamp)?;
        Self::from_chrono(time.with_timezone(&Utc))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Text::of(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_six_digits_and_read_back() {
        let time = Timestamp::from_micros(1_795_348_800_000_001).expect("within range");
        assert_eq!(time.to_string(), "2026-11-22T12:00:00.000001Z");
        assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn the_ends_of_the_range_are_written_and_read_back() {
        for time in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(Timestamp::from_micros(-1), Err(InvalidTimestamp));
    }
}

//! Time ranges, and the steps that they are drawn in. Pure: the time comes from outside.

use chrono::{DateTime, Utc};
use events_schema::time::Timestamp;

use crate::widgets::paging::encode;

/// How far back one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// 15 minutes.
    Quarter,
    /// An hour.
    Hour,
    /// Six hours.
    SixHours,
    /// A day.
    Day,
    /// A week.
    Week,
    /// 30 days.
    Month,
}

/// A range that has been laid on the clock: it begins and ends at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its beginning, in Unix seconds.
    pub(crate) from: u64,
    /// Its end, in Unix seconds.
    pub(crate) to: u64,
    /// The length of a step, in seconds.
    pub(crate) step: u64,
}

// === impl Range ===

impl Range {
    /// All of them, with what people call them.
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Quarter, "15 min"),
        (Self::Hour, "1 h"),
        (Self::SixHours, "6 h"),
        (Self::Day, "24 h"),
        (Self::Week, "7 d"),
        (Self::Month, "30 d"),
    ];

    /// What it is called in an address.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// The range of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = Self::ALL.into_iter().map(|(range, _)| range);
        all.into_iter().find(|range| range.name() == name)
    }

    /// Its length and that of its steps, in seconds: about 60 steps where that
    /// is not less than a minute, the ledger's own step.
    const fn lengths(self) -> (u64, u64) {
        match self {
            Self::Quarter => (900, 60),
            Self::Hour => (3_600, 60),
            Self::SixHours => (21_600, 300),
            Self::Day => (86_400, 1_200),
            Self::Week => (604_800, 10_800),
            Self::Month => (2_592_000, 43_200),
        }
    }

    /// The range that ends with the step that `now` lies in.
    pub(crate) fn window(self, now: DateTime<Utc>) -> Window {
        let (length, step) = self.lengths();
        let now = now.timestamp().max(0).unsigned_abs();
        let to = (now / step + 1) * step;
        Window {
            from: to.saturating_sub(length),
            to,
            step,
        }
    }
}

// === impl Window ===

impl Window {
    /// The query of its sums.
    pub(crate) fn query(self) -> String {
        format!("from={}&to={}", rfc3339(self.from), rfc3339(self.to))
    }

    /// The query of its steps.
    pub(crate) fn series_query(self) -> String {
        format!("{}&step_seconds={}", self.query(), self.step)
    }
}

fn rfc3339(seconds: u64) -> String {
    let micros = i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    let time = Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX);
    encode(&time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn every_range_is_found_by_its_name() {
        for (range, _) in Range::ALL {
            assert_eq!(Range::named(range.name()), Some(range));
        }
        assert_eq!(Range::named("2h"), None);
    }

    #[test]
    fn a_window_holds_now_and_begins_and_ends_at_a_step() {
        for (range, _) in Range::ALL {
            let window = range.window(at(1_795_348_812));
            assert!(window.from < 1_795_348_812 && 1_795_348_812 < window.to);
            assert_eq!((window.from % window.step, window.to % window.step), (0, 0));
            assert_eq!(window.to - window.from, range.lengths().0);
        }
    }

    #[test]
    fn a_window_stays_while_its_last_step_lasts() {
        assert_eq!(
            Range::Hour.window(at(1_795_348_801)),
            Range::Hour.window(at(1_795_348_859))
        );
        assert_ne!(
            Range::Hour.window(at(1_795_348_801)),
            Range::Hour.window(at(1_795_348_860))
        );
    }

    #[test]
    fn a_window_is_asked_for_in_full() {
        let window = Window {
            from: 0,
            to: 60,
            step: 60,
        };
        let expected = "from=1970-01-01T00%3A00%3A00.000000Z&to=1970-01-01T00%3A01%3A00.000000Z&step_seconds=60";
        assert_eq!(window.series_query(), expected);
    }
}

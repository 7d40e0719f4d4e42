//! How limits and budgets stand over all gateways, as the worker that is in office for them tells once a second, over core
//! NATS as JSON.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    time::Timestamp,
    usage::{LimitMeasure, LimitPeriod},
};

/// Of more counters than this only those are told that are used most, as a part of their limits: a message of half of what
/// NATS takes by default.
pub const MOST_TOTALS: usize = 1_000;

/// How counters stand: either those of rate limits, or those of budgets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitTotals {
    /// When it was told, by the worker's clock.
    pub at: Timestamp,
    /// How many counters there are, those that are not told among them.
    pub counters: u64,
    /// Those that are used most, as a part of their limits, first.
    pub totals: Vec<LimitTotal>,
}

/// How one counter stands in its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitTotal {
    /// The policy, or the key whose own limit it is.
    pub rule: Uuid,
    /// Which of its counters, as records name them; zeros: it has one for all.
    pub segment: Uuid,
    /// What it counts.
    pub measure: LimitMeasure,
    /// In which time.
    pub period: LimitPeriod,
    /// When its window began; where it counts what is under way, when it was told.
    pub began_at: Timestamp,
    /// When its window ends; of one that slides, when all of it is free again if nothing more is used; where it counts what is
    /// under way, when it was told.
    pub ends_at: Timestamp,
    /// How much it lets through.
    pub most: u64,
    /// How much is used.
    pub used: u64,
    /// How much more is lent to gateways, or may be used by requests under way.
    pub held: u64,
    /// What requests asked for and were refused, at gateways that are known, since each first counted here.
    pub refused: u64,
    /// Whether more may be used than is known: records of requests may be under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_lower_bound: bool,
}

impl LimitTotal {
    /// How much is used above what it lets through.
    #[must_use]
    pub const fn overshot(&self) -> u64 {
        self.used.saturating_sub(self.most)
    }

    /// How much is used and held of what it lets through, in parts of 10,000.
    #[must_use]
    pub fn fraction(&self) -> u64 {
        let taken = u128::from(self.used) + u128::from(self.held);
        let parts = taken * 10_000 / u128::from(self.most.max(1));
        u64::try_from(parts).unwrap_or(u64::MAX)
    }
}

impl LimitTotals {
    /// Tells of those that are used most, up to [`MOST_TOTALS`].
    pub fn of(all: impl IntoIterator<Item = LimitTotal>, at: Timestamp) -> Self {
        let mut totals: Vec<LimitTotal> = all.into_iter().collect();
        let counters = totals.len() as u64;
        let most_first = |it: &LimitTotal| std::cmp::Reverse((it.fraction(), it.used));
        if totals.len() > MOST_TOTALS {
            totals.select_nth_unstable_by_key(MOST_TOTALS, most_first);
            totals.truncate(MOST_TOTALS);
        }
        totals.sort_by_key(most_first);
        Self {
            at,
            counters,
            totals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(used: u64, most: u64) -> LimitTotal {
        LimitTotal {
            rule: Uuid::nil(),
            segment: Uuid::nil(),
            measure: LimitMeasure::Requests,
            period: LimitPeriod::Day,
            began_at: Timestamp::MIN,
            ends_at: Timestamp::MIN,
            most,
            used,
            held: 0,
            refused: 0,
            is_lower_bound: false,
        }
    }

    #[test]
    fn of_many_counters_those_are_told_that_are_used_most() {
        let many = MOST_TOTALS as u64 + 500;
        let told = LimitTotals::of((0..many).map(|used| total(used, many)), Timestamp::MIN);
        assert_eq!(told.counters, many);
        assert_eq!(told.totals.len(), MOST_TOTALS);
        let used: Vec<u64> = told.totals.iter().map(|it| it.used).collect();
        let expected: Vec<u64> = (500..many).rev().collect();
        assert_eq!(used, expected);
    }

    #[test]
    fn a_fraction_is_of_what_is_used_and_held_and_never_runs_over() {
        let half = LimitTotal {
            held: 10,
            ..total(40, 100)
        };
        assert_eq!(half.fraction(), 5_000);
        assert_eq!(total(u64::MAX, 0).fraction(), u64::MAX);
        assert_eq!((half.overshot(), total(107, 100).overshot()), (0, 7));
    }
}

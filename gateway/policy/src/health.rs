//! What a gateway knows of how its targets fare, as far as the choice among them depends on it.

use events_schema::{
    snapshot::routing::StrategyEntry,
    usage::{Circuit, Health},
};

use crate::RoutedTarget;

/// A target with fewer answers than this is tried as if it were one of the fastest: nothing is known of it.
pub const FEWEST_CALLS: u32 = 3;

/// How a target ranks: whatever the strategy, a better rank goes first. Nothing is left out, since an attempt that fails
/// is better than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Nothing is wrong with it; or it is to be found out whether that is so again.
    Good,
    /// It is slower than its cutoff allows.
    Slow,
    /// Its circuit is open: it has failed too often, a moment ago.
    Open,
}

impl Rank {
    /// Of a target with this health.
    #[must_use]
    pub fn of(target: RoutedTarget<'_>, health: &Health) -> Self {
        match health.circuit {
            Circuit::Open => return Self::Open,
            Circuit::Closed | Circuit::Probe => {}
        }
        let Some(full) = target.full() else {
            return Self::Good;
        };
        let above = |cutoff_ms: Option<u32>, mean_us: Option<u64>| {
            cutoff_ms
                .zip(mean_us)
                .is_some_and(|(cutoff, mean)| mean > u64::from(cutoff) * 1_000)
        };
        let first = full.cutoff_first_token_ms.as_ref().map(|it| it.to_native());
        let each = full.cutoff_per_token_ms.as_ref().map(|it| it.to_native());
        if above(first, health.recent_first_token_us) || above(each, health.recent_per_token_us) {
            Self::Slow
        } else {
            Self::Good
        }
    }
}

/// What of a target's health the choice depends on: the rest is as of a target of which nothing is known, so that records
/// need not carry it. A plan made with this is the same.
#[must_use]
pub fn relevant(strategy: StrategyEntry, target: RoutedTarget<'_>, health: Health) -> Health {
    let Health {
        circuit,
        calls,
        per_token_us,
        recent_first_token_us,
        recent_per_token_us,
    } = health;
    let (calls, per_token_us) = match strategy {
        StrategyEntry::Latency => (calls, per_token_us),
        StrategyEntry::Weight | StrategyEntry::Priority => (0, None),
    };
    let full = target.full();
    let has_first = full.is_some_and(|it| it.cutoff_first_token_ms.is_some());
    let has_each = full.is_some_and(|it| it.cutoff_per_token_ms.is_some());
    Health {
        circuit,
        calls,
        per_token_us,
        recent_first_token_us: recent_first_token_us.filter(|_| has_first),
        recent_per_token_us: recent_per_token_us.filter(|_| has_each),
    }
}

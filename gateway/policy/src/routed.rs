//! The targets of a virtual model and how they are chosen, from whichever entry says it.

use std::collections::BTreeMap;

use events_schema::snapshot::{
    entries::{ArchivedTargetEntry, ArchivedVirtualModelEntry},
    routing::{
        ArchivedRetryEntry, ArchivedRoutedTargetEntry, ArchivedRoutingEntry, ArchivedStickyEntry,
        ArchivedStrategyEntry, StrategyEntry,
    },
};

use crate::{Configuration, EntryId};

/// How a virtual model chooses: its routing entry says it, or, where it has none, the weights of its own.
#[derive(Debug, Clone, Copy)]
pub enum Routed<'c> {
    /// By weights alone.
    Plain(&'c ArchivedVirtualModelEntry),
    /// By a routing entry.
    Full(&'c ArchivedRoutingEntry),
}

/// One target.
#[derive(Debug, Clone, Copy)]
pub enum RoutedTarget<'c> {
    /// With a weight alone.
    Plain(&'c ArchivedTargetEntry),
    /// Of a routing entry.
    Full(&'c ArchivedRoutedTargetEntry),
}

impl<'c> Routed<'c> {
    /// Of a virtual model.
    #[must_use]
    pub fn of(config: &'c impl Configuration, it: &'c ArchivedVirtualModelEntry) -> Self {
        config.routing(&it.id).map_or(Self::Plain(it), Self::Full)
    }

    /// Its targets, as listed.
    pub fn targets(self) -> impl Iterator<Item = RoutedTarget<'c>> {
        let (plain, full) = match self {
            Self::Plain(it) => (Some(it.targets.iter()), None),
            Self::Full(it) => (None, Some(it.targets.iter())),
        };
        let plain = plain.into_iter().flatten().map(RoutedTarget::Plain);
        plain.chain(full.into_iter().flatten().map(RoutedTarget::Full))
    }

    /// Which of them is tried first.
    #[must_use]
    pub const fn strategy(self) -> StrategyEntry {
        match self {
            Self::Plain(_) => StrategyEntry::Weight,
            Self::Full(it) => match it.strategy {
                ArchivedStrategyEntry::Weight => StrategyEntry::Weight,
                ArchivedStrategyEntry::Latency => StrategyEntry::Latency,
                ArchivedStrategyEntry::Priority => StrategyEntry::Priority,
            },
        }
    }

    /// Which requests stay with a target.
    #[must_use]
    pub fn sticky(self) -> Option<&'c ArchivedStickyEntry> {
        match self {
            Self::Plain(_) => None,
            Self::Full(it) => it.sticky.as_ref(),
        }
    }

    /// How many milliseconds all attempts together may take until an answer begins.
    #[must_use]
    pub fn deadline_ms(self) -> Option<u32> {
        match self {
            Self::Plain(_) => None,
            Self::Full(it) => it.deadline_ms.as_ref().map(|it| it.to_native()),
        }
    }

    /// After how many milliseconds without an answer the next target is asked as well.
    #[must_use]
    pub fn hedge_after_ms(self) -> Option<u32> {
        match self {
            Self::Plain(_) => None,
            Self::Full(it) => it.hedge_after_ms.as_ref().map(|it| it.to_native()),
        }
    }
}

impl<'c> RoutedTarget<'c> {
    /// The model's id.
    #[must_use]
    pub const fn model(self) -> &'c EntryId {
        match self {
            Self::Plain(it) => &it.model,
            Self::Full(it) => &it.model,
        }
    }

    /// Its share of the requests.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Plain(it) => it.weight.to_native(),
            Self::Full(it) => it.weight.to_native(),
        }
    }

    /// Where it stands, 0 the highest.
    #[must_use]
    pub const fn priority(self) -> u32 {
        match self {
            Self::Plain(_) => 0,
            Self::Full(it) => it.priority.to_native(),
        }
    }

    /// Whether others may fall back to it.
    #[must_use]
    pub const fn is_candidate(self) -> bool {
        match self {
            Self::Plain(it) => it.fallback_candidate,
            Self::Full(it) => it.fallback_candidate,
        }
    }

    /// Whether another target is to be tried when this one answers with `status`.
    #[must_use]
    pub fn falls_back_on(self, status: u16) -> bool {
        let codes = match self {
            Self::Plain(it) => &it.fallback_status_codes,
            Self::Full(it) => &it.fallback_status_codes,
        };
        codes.iter().any(|code| code.to_native() == status)
    }

    /// When it is tried again.
    #[must_use]
    pub fn retry(self) -> Option<&'c ArchivedRetryEntry> {
        self.full().and_then(|it| it.retry.as_ref())
    }

    /// Everything that a routing entry says of it; `None`: there is none.
    #[must_use]
    pub const fn full(self) -> Option<&'c ArchivedRoutedTargetEntry> {
        match self {
            Self::Plain(_) => None,
            Self::Full(it) => Some(it),
        }
    }

    /// Whether a request with this metadata may be sent to it.
    #[must_use]
    pub fn matches(self, metadata: &BTreeMap<String, String>) -> bool {
        self.full().is_none_or(|it| {
            it.metadata_match.iter().all(|condition| {
                metadata
                    .get(condition.0.as_str())
                    .is_some_and(|value| condition.1 == value.as_str())
            })
        })
    }
}

//! A routing while it is being put together. Pure.

use std::collections::BTreeSet;

use events_schema::api::resources::VirtualModelItem;
use events_schema::events::{Routing, WeightedTarget};

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoutingDraft {
    /// The name that callers ask for.
    pub(super) name: String,
    /// The targets, in the order of their making.
    pub(super) targets: Vec<TargetDraft>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetDraft {
    /// The model's id; empty: none chosen yet.
    pub(super) model: String,
    /// Its share of the requests, as typed.
    pub(super) weight: String,
    /// The statuses that fall back, as typed; empty: the default.
    pub(super) statuses: String,
    /// Whether others may fall back to it.
    pub(super) candidate: bool,
}

// === impl RoutingDraft ===

impl RoutingDraft {
    /// A new one, with one target to fill in.
    pub(super) fn new() -> Self {
        Self {
            name: String::new(),
            targets: vec![TargetDraft::new()],
        }
    }

    /// One that is there already.
    pub(super) fn of(model: &VirtualModelItem) -> Self {
        let targets = model.targets.iter().map(|target| TargetDraft {
            model: target.model.to_string(),
            weight: target.weight.to_string(),
            statuses: target
                .fallback_status_codes
                .iter()
                .flatten()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            candidate: target.fallback_candidate,
        });
        Self {
            name: model.name.clone(),
            targets: targets.collect(),
        }
    }

    /// One more target.
    pub(super) fn add(&mut self) {
        self.targets.push(TargetDraft::new());
    }

    /// One target less; the last stays.
    pub(super) fn remove(&mut self, index: usize) {
        if self.targets.len() > 1 && index < self.targets.len() {
            self.targets.remove(index);
        }
    }

    /// The routing, when every target can be read.
    pub(super) fn routing(&self) -> Option<Routing> {
        let targets: Option<Vec<WeightedTarget>> =
            self.targets.iter().map(TargetDraft::target).collect();
        Some(Routing::Weighted { targets: targets? })
    }

    /// A target's share of the requests in percent, as far as weights can be read.
    pub(super) fn percent(&self, index: usize) -> u64 {
        let weight =
            |target: &TargetDraft| target.weight.trim().parse::<u32>().map_or(0, u64::from);
        let total: u64 = self.targets.iter().map(weight).sum();
        let mine = self.targets.get(index).map_or(0, weight);
        (mine * 100).checked_div(total).unwrap_or(0)
    }
}

// === impl TargetDraft ===

impl TargetDraft {
    fn new() -> Self {
        Self {
            model: String::new(),
            weight: "1".to_owned(),
            statuses: String::new(),
            candidate: true,
        }
    }

    fn target(&self) -> Option<WeightedTarget> {
        Some(WeightedTarget {
            model: self.model.parse().ok()?,
            weight: self.weight.trim().parse().ok()?,
            fallback_status_codes: statuses(&self.statuses)?,
            fallback_candidate: self.candidate,
        })
    }
}

/// Reads `429, 500 503`; nothing at all is the default.
fn statuses(text: &str) -> Option<Option<BTreeSet<u16>>> {
    let words = text
        .split([',', ' '])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let codes: BTreeSet<u16> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Some(codes).filter(|codes| !codes.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(weight: &str, statuses: &str) -> TargetDraft {
        TargetDraft {
            model: "0".repeat(32),
            weight: weight.to_owned(),
            statuses: statuses.to_owned(),
            candidate: true,
        }
    }

    #[test]
    fn a_routing_is_whole_only_when_each_target_is() {
        let mut draft = RoutingDraft::new();
        assert_eq!(draft.routing(), None);
        draft.targets = vec![target("70", ""), target("30", "429, 503")];
        let Some(Routing::Weighted { targets }) = draft.routing() else {
            unreachable!("every target is filled in");
        };
        assert_eq!(targets[0].fallback_status_codes, None);
        assert_eq!(
            targets[1].fallback_status_codes,
            Some(BTreeSet::from([429, 503]))
        );
        draft.targets.push(target("x", ""));
        assert_eq!(draft.routing(), None);
    }

    #[test]
    fn shares_are_of_the_sum_of_all_weights() {
        let mut draft = RoutingDraft::new();
        draft.targets = vec![target("3", ""), target("1", ""), target("", "")];
        assert_eq!(
            [draft.percent(0), draft.percent(1), draft.percent(2)],
            [75, 25, 0]
        );
        draft.targets = vec![target("0", "")];
        assert_eq!(draft.percent(0), 0);
    }

    #[test]
    fn the_last_target_stays() {
        let mut draft = RoutingDraft::new();
        draft.add();
        draft.remove(1);
        draft.remove(0);
        assert_eq!(draft.targets.len(), 1);
    }
}

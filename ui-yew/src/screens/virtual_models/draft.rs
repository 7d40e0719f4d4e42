//! A routing while it is being put together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use events_schema::api::resources::VirtualModelItem;
use events_schema::events::{
    HeadersOverride, Retry, Routing, RoutingStrategy, RoutingTarget, SessionIdentifier,
    SessionSource, SlaCutoff, StickySessions,
};
use events_schema::names::MetadataKey;

/// What has been filled in. Numbers and lists are as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoutingDraft {
    /// The name that callers ask for.
    pub(super) name: String,
    /// Which target is tried first.
    pub(super) strategy: RoutingStrategy,
    /// The targets, in the order of their making.
    pub(super) targets: Vec<TargetDraft>,
    /// For how many seconds a session stays with its target.
    pub(super) ttl_seconds: String,
    /// The headers that tell sessions apart.
    pub(super) session_headers: String,
    /// The keys of metadata that tell sessions apart.
    pub(super) session_metadata: String,
    /// How many milliseconds all attempts may take together.
    pub(super) deadline_ms: String,
    /// After how many milliseconds another target is asked as well.
    pub(super) hedge_after_ms: String,
}

/// One target. What is empty is as usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TargetDraft {
    /// The model's id; empty: none chosen yet.
    pub(super) model: String,
    /// Its share of the requests.
    pub(super) weight: String,
    /// Where it stands, 0 the highest.
    pub(super) priority: String,
    /// The statuses that fall back.
    pub(super) statuses: String,
    /// Whether others may fall back to it.
    pub(super) candidate: bool,
    /// How often it is tried again.
    pub(super) retries: String,
    /// After how many milliseconds.
    pub(super) retry_delay_ms: String,
    /// On which statuses.
    pub(super) retry_statuses: String,
    /// Milliseconds to the first token, at most.
    pub(super) first_token_ms: String,
    /// Milliseconds a token, at most.
    pub(super) per_token_ms: String,
    /// A JSON object.
    pub(super) params: String,
    /// `name: value`, one a line.
    pub(super) headers_set: String,
    /// Names.
    pub(super) headers_remove: String,
    /// `key=value`, one a line.
    pub(super) metadata: String,
}

// === impl RoutingDraft ===

impl RoutingDraft {
    /// A new one, with one target to fill in.
    pub(super) fn new() -> Self {
        Self {
            name: String::new(),
            strategy: RoutingStrategy::WeightBased,
            targets: vec![TargetDraft::new()],
            ttl_seconds: String::new(),
            session_headers: String::new(),
            session_metadata: String::new(),
            deadline_ms: String::new(),
            hedge_after_ms: String::new(),
        }
    }

    /// One that is there already.
    pub(super) fn of(model: &VirtualModelItem) -> Self {
        let Routing {
            strategy,
            targets,
            sticky,
            deadline_ms,
            hedge_after_ms,
        } = &model.routing;
        let identifiers = |source| {
            let all = sticky.iter().flat_map(|it| &it.session_identifiers);
            let its = all.filter(|it| it.source == source);
            listed(its.map(|it| &it.key))
        };
        Self {
            name: model.name.clone(),
            strategy: *strategy,
            targets: targets.iter().map(TargetDraft::of).collect(),
            ttl_seconds: shown(sticky.as_ref().map(|it| it.ttl_seconds)),
            session_headers: identifiers(SessionSource::Headers),
            session_metadata: identifiers(SessionSource::Metadata),
            deadline_ms: shown(*deadline_ms),
            hedge_after_ms: shown(*hedge_after_ms),
        }
    }

    /// One more target, behind the others.
    pub(super) fn add(&mut self) {
        let last = self
            .targets
            .iter()
            .filter_map(|it| it.priority.parse().ok());
        let next: u32 = last.max().map_or(0, |last: u32| last.saturating_add(1));
        self.targets.push(TargetDraft {
            priority: next.to_string(),
            ..TargetDraft::new()
        });
    }

    /// One target less; the last stays.
    pub(super) fn remove(&mut self, index: usize) {
        if self.targets.len() > 1 && index < self.targets.len() {
            self.targets.remove(index);
        }
    }

    /// The routing, when everything can be read.
    pub(super) fn routing(&self) -> Option<Routing> {
        let targets = self.targets.iter().map(|it| it.target(self.strategy));
        Some(Routing {
            strategy: self.strategy,
            targets: targets.collect::<Option<_>>()?,
            sticky: self.sticky()?,
            deadline_ms: number(&self.deadline_ms)?,
            hedge_after_ms: number(&self.hedge_after_ms)?,
        })
    }

    fn sticky(&self) -> Option<Option<StickySessions>> {
        let identifiers = |text: &str, source| {
            let keys: Option<Vec<MetadataKey>> =
                words(text).map(|word| word.parse().ok()).collect();
            let identifier = move |key| SessionIdentifier { source, key };
            keys.map(|keys| keys.into_iter().map(identifier).collect::<Vec<_>>())
        };
        let ttl_seconds = number(&self.ttl_seconds)?;
        let mut session_identifiers = identifiers(&self.session_headers, SessionSource::Headers)?;
        session_identifiers.extend(identifiers(
            &self.session_metadata,
            SessionSource::Metadata,
        )?);
        match (ttl_seconds, session_identifiers.is_empty()) {
            (None, true) => Some(None),
            (Some(ttl_seconds), false) => Some(Some(StickySessions {
                ttl_seconds,
                session_identifiers,
            })),
            (None, false) | (Some(_), true) => None,
        }
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
            weight: "1".to_owned(),
            priority: "0".to_owned(),
            candidate: true,
            ..Self::default()
        }
    }

    fn of(target: &RoutingTarget) -> Self {
        let RoutingTarget {
            model,
            weight,
            priority,
            fallback_status_codes,
            fallback_candidate,
            retry,
            sla_cutoff,
            override_params,
            headers_override,
            metadata_match,
        } = target;
        let retry_codes = retry.as_ref().and_then(|it| it.on_status_codes.as_ref());
        let headers = headers_override.clone().unwrap_or_default();
        let set = headers
            .set
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        let metadata = metadata_match.iter().flatten();
        Self {
            model: model.to_string(),
            weight: shown(*weight),
            priority: shown(*priority),
            statuses: listed(fallback_status_codes.iter().flatten()),
            candidate: *fallback_candidate,
            retries: shown(retry.as_ref().map(|it| it.attempts)),
            retry_delay_ms: shown(retry.as_ref().and_then(|it| it.delay_ms)),
            retry_statuses: listed(retry_codes.into_iter().flatten()),
            first_token_ms: shown(sla_cutoff.and_then(|it| it.time_to_first_token_ms)),
            per_token_ms: shown(sla_cutoff.and_then(|it| it.time_per_output_token_ms)),
            params: shown(override_params.as_ref()),
            headers_set: set.collect::<Vec<_>>().join("\n"),
            headers_remove: listed(headers.remove.iter()),
            metadata: metadata
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    /// Whether anything is filled in that does not stand in the target's first row.
    pub(super) fn has_more(&self) -> bool {
        let more = [
            &self.retries,
            &self.first_token_ms,
            &self.per_token_ms,
            &self.params,
            &self.headers_set,
            &self.headers_remove,
            &self.metadata,
        ];
        more.into_iter().any(|text| !text.trim().is_empty())
    }

    fn target(&self, strategy: RoutingStrategy) -> Option<RoutingTarget> {
        let (weight, priority) = (number(&self.weight)?, number(&self.priority)?);
        let (weight, priority) = match strategy {
            RoutingStrategy::WeightBased => (Some(weight?), None),
            RoutingStrategy::PriorityBased => (None, Some(priority?)),
            RoutingStrategy::LatencyBased => (None, None),
        };
        let params = self.params.trim();
        let override_params = if params.is_empty() {
            None
        } else {
            Some(params.parse().ok()?)
        };
        Some(RoutingTarget {
            model: self.model.parse().ok()?,
            weight,
            priority,
            fallback_status_codes: statuses(&self.statuses)?,
            fallback_candidate: self.candidate,
            retry: self.retry()?,
            sla_cutoff: self.cutoff()?,
            override_params,
            headers_override: self.headers()?,
            metadata_match: self.conditions()?,
        })
    }

    fn retry(&self) -> Option<Option<Retry>> {
        let delay_ms = number(&self.retry_delay_ms)?;
        let on_status_codes = statuses(&self.retry_statuses)?;
        let attempts = number(&self.retries)?;
        Some(attempts.map(|attempts| Retry {
            attempts,
            delay_ms,
            on_status_codes,
        }))
    }

    fn cutoff(&self) -> Option<Option<SlaCutoff>> {
        let cutoff = SlaCutoff {
            time_to_first_token_ms: number(&self.first_token_ms)?,
            time_per_output_token_ms: number(&self.per_token_ms)?,
        };
        let says_something =
            cutoff.time_to_first_token_ms.is_some() || cutoff.time_per_output_token_ms.is_some();
        Some(says_something.then_some(cutoff))
    }

    fn headers(&self) -> Option<Option<HeadersOverride>> {
        let pair = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
        };
        let set: BTreeMap<_, _> = lines(&self.headers_set).map(pair).collect::<Option<_>>()?;
        let remove = words(&self.headers_remove).map(|name| name.parse().ok());
        let remove: BTreeSet<_> = remove.collect::<Option<_>>()?;
        let says_something = !set.is_empty() || !remove.is_empty();
        Some(says_something.then_some(HeadersOverride { set, remove }))
    }

    fn conditions(&self) -> Option<Option<BTreeMap<MetadataKey, String>>> {
        let pair = |line: &str| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim().parse().ok()?, value.trim().to_owned()))
        };
        let pairs: BTreeMap<_, _> = lines(&self.metadata).map(pair).collect::<Option<_>>()?;
        Some(Some(pairs).filter(|pairs| !pairs.is_empty()))
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn listed<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
    values.join(", ")
}

/// Reads a number; nothing at all is none. `None`: it is no number.
fn number<N: FromStr>(text: &str) -> Option<Option<N>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.parse().ok().map(Some)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\n'])
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Reads `429, 500 503`; nothing at all is the default.
fn statuses(text: &str) -> Option<Option<BTreeSet<u16>>> {
    let codes: BTreeSet<u16> = words(text).map(str::parse).collect::<Result<_, _>>().ok()?;
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
            ..TargetDraft::new()
        }
    }

    #[test]
    fn a_routing_is_whole_only_when_each_target_is() {
        let mut draft = RoutingDraft::new();
        assert_eq!(draft.routing(), None);
        draft.targets = vec![target("70", ""), target("30", "429, 503")];
        let targets = draft.routing().expect("every target is filled in").targets;
        assert_eq!(targets[0].fallback_status_codes, None);
        assert_eq!(
            targets[1].fallback_status_codes,
            Some(BTreeSet::from([429, 503]))
        );
        draft.targets.push(target("x", ""));
        assert_eq!(draft.routing(), None);
    }

    #[test]
    fn everything_that_is_filled_in_is_shown_as_it_was_saved() {
        let mut draft = RoutingDraft {
            name: "chat".to_owned(),
            strategy: RoutingStrategy::PriorityBased,
            ttl_seconds: "3600".to_owned(),
            session_headers: "x-user-id".to_owned(),
            session_metadata: "conversation".to_owned(),
            deadline_ms: "20000".to_owned(),
            hedge_after_ms: "1500".to_owned(),
            ..RoutingDraft::new()
        };
        draft.targets = vec![TargetDraft {
            weight: String::new(),
            priority: "2".to_owned(),
            retries: "2".to_owned(),
            retry_delay_ms: "250".to_owned(),
            retry_statuses: "429, 503".to_owned(),
            first_token_ms: "800".to_owned(),
            per_token_ms: "50".to_owned(),
            params: r#"{"temperature":0.5}"#.to_owned(),
            headers_set: "x-region: us-east-1\nx-tier: gold".to_owned(),
            headers_remove: "x-internal-debug".to_owned(),
            metadata: "tier=gold".to_owned(),
            ..target("", "500")
        }];
        let item = VirtualModelItem {
            routing: draft.routing().expect("it can be read"),
            name: draft.name.clone(),
            ..item()
        };
        assert_eq!(RoutingDraft::of(&item), draft);
        assert!(draft.targets[0].has_more());
        assert!(!target("1", "500").has_more());
    }

    fn item() -> VirtualModelItem {
        serde_json::from_value(serde_json::json!({
            "id": "0".repeat(32), "name": "", "targets": [], "disabled": false,
            "routing": {"strategy": "weight_based", "targets": []},
            "life": {"position": 1, "version": 1, "created_at": "2026-01-01T00:00:00Z",
                "changed_at": "2026-01-01T00:00:00Z"},
        }))
        .expect("an item")
    }

    #[test]
    fn what_cannot_be_read_is_not_saved() {
        let broken: [fn(&mut RoutingDraft); 8] = [
            |draft| draft.ttl_seconds = "60".to_owned(),
            |draft| draft.session_headers = "x-user-id".to_owned(),
            |draft| draft.deadline_ms = "soon".to_owned(),
            |draft| draft.targets[0].params = "[]".to_owned(),
            |draft| draft.targets[0].headers_set = "authorization: x".to_owned(),
            |draft| draft.targets[0].metadata = "tier".to_owned(),
            |draft| draft.targets[0].retries = "-1".to_owned(),
            |draft| draft.strategy = RoutingStrategy::PriorityBased,
        ];
        for break_it in broken {
            let mut draft = RoutingDraft::new();
            draft.targets = vec![TargetDraft {
                priority: String::new(),
                ..target("1", "")
            }];
            assert!(draft.routing().is_some());
            break_it(&mut draft);
            assert_eq!(draft.routing(), None, "{draft:?}");
        }
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
    fn a_new_target_stands_behind_the_others_and_the_last_stays() {
        let mut draft = RoutingDraft::new();
        draft.add();
        draft.add();
        let priorities: Vec<_> = draft
            .targets
            .iter()
            .map(|it| it.priority.as_str())
            .collect();
        assert_eq!(priorities, ["0", "1", "2"]);
        draft.remove(2);
        draft.remove(1);
        draft.remove(0);
        assert_eq!(draft.targets.len(), 1);
    }
}

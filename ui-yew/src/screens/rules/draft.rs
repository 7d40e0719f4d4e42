//! A rule while it is being put together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::events::{
    Choice, LimitMode, LimitSegment, LimitedSubject, ModelRef, Override, SegmentValue, When,
};
use events_schema::names::MetadataKey;
use gateway_policy::rules::fault::Fault;

use super::limits::Limit;
use crate::api::Rejection;
use crate::widgets::reference;

/// A form's draft with a rule in it.
pub(crate) trait HasRule: Clone + PartialEq + 'static {
    /// What limits such rules have.
    type Limit: Limit;

    /// The rule.
    fn rule(&self) -> &RuleDraft;

    /// The rule, to be changed.
    fn rule_mut(&mut self) -> &mut RuleDraft;
}

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleDraft {
    pub(crate) limits: Vec<LimitDraft>,
    pub(crate) mode: LimitMode,
    pub(crate) subjects: ChoiceDraft<LimitedSubject>,
    pub(crate) models: ChoiceDraft<ModelRef>,
    /// `key=value` or `key!=value`, one a line.
    pub(crate) metadata: String,
    pub(crate) per_user: bool,
    pub(crate) per_team: bool,
    pub(crate) per_virtual_account: bool,
    pub(crate) per_model: bool,
    pub(crate) per_key: bool,
    /// Keys of metadata, with commas.
    pub(crate) per_metadata: String,
    pub(crate) overrides: Vec<OverrideDraft>,
}

/// Some of all there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChoiceDraft<T: Ord> {
    /// Whether all are meant, whatever is chosen.
    pub(crate) all: bool,
    pub(crate) chosen: Choice<T>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitDraft {
    pub(crate) amount: String,
    pub(crate) unit: String,
    pub(crate) window: String,
}

/// Other limits for one counter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OverrideDraft {
    /// The values of choices: see [`reference`].
    pub(crate) user: String,
    pub(crate) team: String,
    pub(crate) virtual_account: String,
    pub(crate) model: String,
    /// Values of metadata, by their keys.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) limits: Vec<LimitDraft>,
}

/// What is wrong with a rule, as its form shows it; `None`: nothing that the rule alone tells.
pub(crate) fn refused(checked: Result<(), Fault>) -> Option<Rejection> {
    let fault = checked.err()?;
    Some(Rejection {
        detail: format!("{fault}."),
        field: Some(fault.field().to_owned()),
        faults: Vec::new(),
    })
}

/// What rules of both sorts have.
pub(crate) struct Parts<L: Ord> {
    pub(crate) when: When,
    pub(crate) applies_per: BTreeSet<LimitSegment>,
    pub(crate) limits: BTreeSet<L>,
    pub(crate) overrides: BTreeSet<Override<L>>,
    pub(crate) mode: LimitMode,
}

// === impl LimitDraft ===

impl LimitDraft {
    pub(crate) fn new(amount: String, unit: &str, window: &str) -> Self {
        Self {
            amount,
            unit: unit.to_owned(),
            window: window.to_owned(),
        }
    }

    /// The first limit of a rule.
    pub(crate) fn first<L: Limit>() -> Self {
        let value = |choices: super::limits::Choices| choices.first().map_or("", |(it, _)| *it);
        Self::new(String::new(), value(L::UNITS), value(L::WINDOWS))
    }

    /// One more: of the same unit there is one already.
    pub(crate) fn another<L: Limit>() -> Self {
        let unit = L::UNITS.last().map_or("", |(it, _)| *it);
        Self {
            unit: unit.to_owned(),
            ..Self::first::<L>()
        }
    }
}

/// All limits, when each is one and there is one at least.
fn limits<L: Limit>(drafts: &[LimitDraft]) -> Option<BTreeSet<L>> {
    let limits: BTreeSet<_> = drafts.iter().map(L::read).collect::<Option<_>>()?;
    (!limits.is_empty()).then_some(limits)
}

// === impl OverrideDraft ===

impl OverrideDraft {
    fn of<L: Limit>(other: &Override<L>) -> Self {
        let mut draft = Self {
            limits: other.limits.iter().map(Limit::draft).collect(),
            ..Self::default()
        };
        for value in &other.of {
            match value {
                SegmentValue::User(id) => draft.user = reference::of("user", *id).to_string(),
                SegmentValue::Team(id) => draft.team = reference::of("team", *id).to_string(),
                SegmentValue::VirtualAccount(id) => {
                    draft.virtual_account = reference::of("virtual_account", *id).to_string();
                }
                SegmentValue::Model(model) => draft.model = reference::of_model(*model).to_string(),
                SegmentValue::Metadata { key, value } => {
                    draft.metadata.insert(key.to_string(), value.clone());
                }
            }
        }
        draft
    }

    fn value(&self, segment: &LimitSegment) -> Option<SegmentValue> {
        let subject = |chosen: &str| {
            Some(match reference::limited_subject(chosen)? {
                LimitedSubject::User(id) => SegmentValue::User(id),
                LimitedSubject::Team(id) => SegmentValue::Team(id),
                LimitedSubject::VirtualAccount(id) => SegmentValue::VirtualAccount(id),
            })
        };
        let value = match segment {
            LimitSegment::User => subject(&self.user)?,
            LimitSegment::Team => subject(&self.team)?,
            // There are no other limits for single keys.
            LimitSegment::Key => return None,
            LimitSegment::VirtualAccount => subject(&self.virtual_account)?,
            LimitSegment::Model => SegmentValue::Model(reference::model(&self.model)?),
            LimitSegment::Metadata(key) => SegmentValue::Metadata {
                key: key.clone(),
                value: self.metadata.get(&key.to_string())?.clone(),
            },
        };
        (value.segment() == *segment).then_some(value)
    }

    fn other<L: Limit>(&self, per: &BTreeSet<LimitSegment>) -> Option<Override<L>> {
        Some(Override {
            of: per.iter().map(|it| self.value(it)).collect::<Option<_>>()?,
            limits: limits(&self.limits)?,
        })
    }
}

// === impl ChoiceDraft ===

impl<T: Ord + Clone> ChoiceDraft<T> {
    fn of(chosen: Choice<T>) -> Self {
        Self {
            all: chosen.within.is_empty(),
            chosen,
        }
    }

    /// What is meant; `None`: some, and none of them was named yet. What is named does not count where all are meant.
    fn choice(&self) -> Option<Choice<T>> {
        let not_in = self.chosen.not_in.clone();
        let within = if self.all {
            BTreeSet::new()
        } else if self.chosen.within.is_empty() {
            return None;
        } else {
            self.chosen.within.clone()
        };
        Some(Choice { within, not_in })
    }
}

// === impl RuleDraft ===

impl RuleDraft {
    /// A rule for everything, whose limit is still to be filled in.
    pub(crate) fn new<L: Limit>() -> Self {
        Self {
            limits: vec![LimitDraft::first::<L>()],
            mode: LimitMode::Enforce,
            subjects: ChoiceDraft::of(Choice::all()),
            models: ChoiceDraft::of(Choice::all()),
            metadata: String::new(),
            per_user: false,
            per_team: false,
            per_virtual_account: false,
            per_model: false,
            per_key: false,
            per_metadata: String::new(),
            overrides: Vec::new(),
        }
    }

    /// One that is there already.
    pub(crate) fn of<L: Limit>(parts: Parts<L>) -> Self {
        let Parts {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = parts;
        let When {
            subjects,
            models,
            metadata,
        } = when;
        let lines = metadata.iter().flat_map(|(key, values)| {
            let within = values.within.iter().map(move |it| format!("{key}={it}"));
            within.chain(values.not_in.iter().map(move |it| format!("{key}!={it}")))
        });
        let keys = applies_per.iter().filter_map(|segment| match segment {
            LimitSegment::Metadata(key) => Some(key.to_string()),
            LimitSegment::User
            | LimitSegment::Team
            | LimitSegment::VirtualAccount
            | LimitSegment::Model
            | LimitSegment::Key => None,
        });
        Self {
            limits: limits.iter().map(Limit::draft).collect(),
            mode,
            subjects: ChoiceDraft::of(subjects),
            models: ChoiceDraft::of(models),
            metadata: lines.collect::<Vec<_>>().join("\n"),
            per_user: applies_per.contains(&LimitSegment::User),
            per_team: applies_per.contains(&LimitSegment::Team),
            per_virtual_account: applies_per.contains(&LimitSegment::VirtualAccount),
            per_model: applies_per.contains(&LimitSegment::Model),
            per_key: applies_per.contains(&LimitSegment::Key),
            per_metadata: keys.collect::<Vec<_>>().join(", "),
            overrides: overrides.iter().map(OverrideDraft::of).collect(),
        }
    }

    fn conditions(&self) -> Option<BTreeMap<MetadataKey, Choice<String>>> {
        let mut conditions = BTreeMap::<MetadataKey, Choice<String>>::new();
        for line in self.metadata.lines().map(str::trim) {
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once('=')?;
            let (key, is_out) = match key.strip_suffix('!') {
                Some(key) => (key, true),
                None => (key, false),
            };
            let values = conditions.entry(key.trim().parse().ok()?).or_default();
            let side = if is_out {
                &mut values.not_in
            } else {
                &mut values.within
            };
            side.insert(value.trim().to_owned());
        }
        Some(conditions)
    }

    /// What has a counter of its own; `None`: a key of the metadata is none.
    pub(crate) fn applies_per(&self) -> Option<BTreeSet<LimitSegment>> {
        let chosen = [
            (self.per_user, LimitSegment::User),
            (self.per_team, LimitSegment::Team),
            (self.per_virtual_account, LimitSegment::VirtualAccount),
            (self.per_model, LimitSegment::Model),
            (self.per_key, LimitSegment::Key),
        ];
        let mut all: BTreeSet<_> = chosen
            .into_iter()
            .filter_map(|(is_chosen, segment)| is_chosen.then_some(segment))
            .collect();
        for key in self.per_metadata.split(',').map(str::trim) {
            if !key.is_empty() {
                all.insert(LimitSegment::Metadata(key.parse().ok()?));
            }
        }
        Some(all)
    }

    /// The rule, when enough is filled in.
    pub(crate) fn parts<L: Limit>(&self) -> Option<Parts<L>> {
        let applies_per = self.applies_per()?;
        let overrides = self.overrides.iter().map(|it| it.other(&applies_per));
        Some(Parts {
            when: When {
                subjects: self.subjects.choice()?,
                models: self.models.choice()?,
                metadata: self.conditions()?,
            },
            limits: limits(&self.limits)?,
            overrides: overrides.collect::<Option<_>>()?,
            mode: self.mode,
            applies_per,
        })
    }
}

#[cfg(test)]
mod tests {
    use events_schema::events::{BudgetLimit, RateLimit};
    use events_schema::id::{TeamId, UserId};

    use super::*;

    fn limited(limit: &str) -> RuleDraft {
        let mut draft = RuleDraft::new::<RateLimit>();
        limit.clone_into(&mut draft.limits[0].amount);
        draft
    }

    fn rule(draft: &RuleDraft) -> Option<Parts<RateLimit>> {
        draft.parts()
    }

    #[test]
    fn a_rule_needs_a_limit_and_somebody() {
        assert!(rule(&limited("")).is_none());
        let mut draft = limited("1,000");
        let limit = rule(&draft).expect("complete").limits.pop_first();
        assert_eq!(limit.map(|it| it.limit), Some(1_000));
        draft.subjects.all = false;
        assert!(rule(&draft).is_none());
    }

    #[test]
    fn metadata_and_counters_are_read_as_typed() {
        let mut draft = RuleDraft {
            metadata: "environment = production\nenvironment=test\n\nteam!=x".to_owned(),
            per_user: true,
            per_metadata: "project".to_owned(),
            ..limited("5")
        };
        let parts = rule(&draft).expect("complete");
        let environment = &parts.when.metadata[&"environment".parse().expect("a key")];
        assert_eq!(environment.within.len(), 2);
        let team = &parts.when.metadata[&"team".parse().expect("a key")];
        assert_eq!((team.within.len(), team.not_in.len()), (0, 1));
        assert_eq!(parts.applies_per.len(), 2);
        draft.metadata = "no value".to_owned();
        assert!(rule(&draft).is_none());
    }

    #[test]
    fn other_limits_are_for_one_of_each_that_has_a_counter() {
        let user = reference::of("user", UserId::from_bytes([1; 16])).to_string();
        let mut draft = RuleDraft {
            per_user: true,
            overrides: vec![OverrideDraft {
                user,
                limits: limited("6").limits,
                ..OverrideDraft::default()
            }],
            ..limited("5")
        };
        assert_eq!(rule(&draft).expect("complete").overrides.len(), 1);
        draft.per_team = true;
        assert!(rule(&draft).is_none(), "for which team?");
        draft.overrides[0].team = draft.overrides[0].user.clone();
        assert!(rule(&draft).is_none(), "a user is no team");
    }

    #[test]
    fn a_rule_that_is_there_is_shown_as_it_is_and_comes_back_so() {
        let team = TeamId::from_bytes([1; 16]);
        let mut draft = RuleDraft::new::<BudgetLimit>();
        draft.limits[0].amount = "5000.00".to_owned();
        draft.limits.push(LimitDraft {
            amount: "7".to_owned(),
            ..LimitDraft::another::<BudgetLimit>()
        });
        draft.subjects = ChoiceDraft::of(Choice::only([LimitedSubject::Team(team)]));
        draft.metadata = "environment=production\nenvironment!=test".to_owned();
        draft.per_team = true;
        draft.per_metadata = "project".to_owned();
        draft.overrides.push(OverrideDraft {
            team: reference::of("team", team).to_string(),
            metadata: BTreeMap::from([("project".to_owned(), "x".to_owned())]),
            limits: draft.limits.clone(),
            ..OverrideDraft::default()
        });
        let parts: Parts<BudgetLimit> = draft.parts().expect("complete");
        assert_eq!(RuleDraft::of(parts), draft);
    }
}

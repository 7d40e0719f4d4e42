//! A rate-limit policy while it is being put together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{
    Choice, LimitMode, LimitOverride, LimitSegment, LimitUnit, LimitWindow, LimitedSubject,
    ModelRef, RateLimit, RateLimitRule, SegmentValue, When,
};
use events_schema::names::MetadataKey;

use crate::widgets::reference;

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PolicyDraft {
    pub(super) name: String,
    pub(super) order: String,
    pub(super) limits: Vec<LimitDraft>,
    pub(super) mode: LimitMode,
    pub(super) everybody: bool,
    pub(super) subjects: Choice<LimitedSubject>,
    pub(super) all_models: bool,
    pub(super) models: Choice<ModelRef>,
    /// `key=value` or `key!=value`, one a line.
    pub(super) metadata: String,
    pub(super) per_user: bool,
    pub(super) per_virtual_account: bool,
    pub(super) per_model: bool,
    /// Keys of metadata, with commas.
    pub(super) per_metadata: String,
    pub(super) overrides: Vec<OverrideDraft>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LimitDraft {
    pub(super) limit: String,
    pub(super) unit: LimitUnit,
    pub(super) window: LimitWindow,
}

/// Other limits for one counter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct OverrideDraft {
    /// The values of choices: see [`reference`].
    pub(super) user: String,
    pub(super) virtual_account: String,
    pub(super) model: String,
    /// Values of metadata, by their keys.
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) limits: Vec<LimitDraft>,
}

impl Default for LimitDraft {
    fn default() -> Self {
        Self {
            limit: String::new(),
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
        }
    }
}

impl Default for PolicyDraft {
    fn default() -> Self {
        Self {
            name: String::new(),
            order: "100".to_owned(),
            limits: vec![LimitDraft::default()],
            mode: LimitMode::Enforce,
            everybody: true,
            subjects: Choice::all(),
            all_models: true,
            models: Choice::all(),
            metadata: String::new(),
            per_user: false,
            per_virtual_account: false,
            per_model: false,
            per_metadata: String::new(),
            overrides: Vec::new(),
        }
    }
}

impl LimitDraft {
    fn of(limit: &RateLimit) -> Self {
        Self {
            limit: limit.limit.to_string(),
            unit: limit.unit,
            window: limit.window,
        }
    }

    fn limit(&self) -> Option<RateLimit> {
        Some(RateLimit {
            unit: self.unit,
            window: self.window,
            limit: self.limit.trim().replace([',', ' '], "").parse().ok()?,
        })
    }
}

/// All limits, when each is one and there is one at least.
fn limits(drafts: &[LimitDraft]) -> Option<BTreeSet<RateLimit>> {
    let limits: BTreeSet<_> = drafts
        .iter()
        .map(LimitDraft::limit)
        .collect::<Option<_>>()?;
    (!limits.is_empty()).then_some(limits)
}

impl OverrideDraft {
    fn of(other: &LimitOverride) -> Self {
        let mut draft = Self {
            limits: other.limits.iter().map(LimitDraft::of).collect(),
            ..Self::default()
        };
        for value in &other.of {
            match value {
                SegmentValue::User(id) => draft.user = reference::of("user", *id).to_string(),
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
        Some(match segment {
            LimitSegment::User => match reference::limited_subject(&self.user)? {
                LimitedSubject::User(id) => SegmentValue::User(id),
                LimitedSubject::Team(_) | LimitedSubject::VirtualAccount(_) => return None,
            },
            LimitSegment::VirtualAccount => {
                match reference::limited_subject(&self.virtual_account)? {
                    LimitedSubject::VirtualAccount(id) => SegmentValue::VirtualAccount(id),
                    LimitedSubject::Team(_) | LimitedSubject::User(_) => return None,
                }
            }
            LimitSegment::Model => SegmentValue::Model(reference::model(&self.model)?),
            LimitSegment::Metadata(key) => SegmentValue::Metadata {
                key: key.clone(),
                value: self.metadata.get(&key.to_string())?.clone(),
            },
        })
    }

    fn other(&self, per: &BTreeSet<LimitSegment>) -> Option<LimitOverride> {
        Some(LimitOverride {
            of: per.iter().map(|it| self.value(it)).collect::<Option<_>>()?,
            limits: limits(&self.limits)?,
        })
    }
}

impl PolicyDraft {
    /// One that is there already.
    pub(super) fn of(policy: &RateLimitPolicyItem) -> Self {
        let RateLimitRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = policy.rule.clone();
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
            LimitSegment::User | LimitSegment::VirtualAccount | LimitSegment::Model => None,
        });
        Self {
            name: policy.name.clone(),
            order: policy.order.to_string(),
            limits: limits.iter().map(LimitDraft::of).collect(),
            mode,
            everybody: subjects.within.is_empty(),
            subjects,
            all_models: models.within.is_empty(),
            models,
            metadata: lines.collect::<Vec<_>>().join("\n"),
            per_user: applies_per.contains(&LimitSegment::User),
            per_virtual_account: applies_per.contains(&LimitSegment::VirtualAccount),
            per_model: applies_per.contains(&LimitSegment::Model),
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
    pub(super) fn applies_per(&self) -> Option<BTreeSet<LimitSegment>> {
        let chosen = [
            (self.per_user, LimitSegment::User),
            (self.per_virtual_account, LimitSegment::VirtualAccount),
            (self.per_model, LimitSegment::Model),
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

    fn rule(&self) -> Option<RateLimitRule> {
        let nobody = !self.everybody && self.subjects.within.is_empty();
        let nothing = !self.all_models && self.models.within.is_empty();
        if nobody || nothing {
            return None;
        }
        let applies_per = self.applies_per()?;
        let overrides = self.overrides.iter().map(|it| it.other(&applies_per));
        Some(RateLimitRule {
            when: When {
                subjects: chosen(&self.subjects, self.everybody),
                models: chosen(&self.models, self.all_models),
                metadata: self.conditions()?,
            },
            limits: limits(&self.limits)?,
            overrides: overrides.collect::<Option<_>>()?,
            mode: self.mode,
            applies_per,
        })
    }

    /// The command, when enough is filled in to send it; `existing` is the policy whose rule changes.
    pub(super) fn command(&self, existing: Option<&RateLimitPolicyItem>) -> Option<NewCommand> {
        let rule = self.rule()?;
        if let Some(policy) = existing {
            let policy = policy.id;
            return Some(NewCommand::ChangeRateLimitRule {
                policy,
                rule: Box::new(rule),
            });
        }
        let name = self.name.trim().to_owned();
        let order = self.order.trim().parse().ok()?;
        (!name.is_empty()).then_some(NewCommand::CreateRateLimitPolicy {
            name,
            order,
            rule: Box::new(rule),
        })
    }
}

/// What is named does not count where all are meant.
fn chosen<T: Ord + Clone>(choice: &Choice<T>, all: bool) -> Choice<T> {
    Choice {
        within: if all {
            BTreeSet::new()
        } else {
            choice.within.clone()
        },
        not_in: choice.not_in.clone(),
    }
}

#[cfg(test)]
mod tests {
    use events_schema::id::UserId;

    use super::*;

    fn named(limit: &str) -> PolicyDraft {
        PolicyDraft {
            name: "all".to_owned(),
            limits: vec![LimitDraft {
                limit: limit.to_owned(),
                ..LimitDraft::default()
            }],
            ..PolicyDraft::default()
        }
    }

    #[test]
    fn a_policy_needs_a_name_a_limit_and_somebody() {
        assert!(named("").command(None).is_none());
        let mut draft = named("1,000");
        let Some(NewCommand::CreateRateLimitPolicy { rule, .. }) = draft.command(None) else {
            unreachable!("it is complete");
        };
        assert_eq!(rule.limits.first().map(|it| it.limit), Some(1_000));
        draft.everybody = false;
        assert!(draft.command(None).is_none());
    }

    #[test]
    fn metadata_and_counters_are_read_as_typed() {
        let mut draft = PolicyDraft {
            metadata: "environment = production\nenvironment=test\n\nteam!=x".to_owned(),
            per_user: true,
            per_metadata: "project".to_owned(),
            ..named("5")
        };
        let rule = draft.rule().expect("complete");
        let environment = &rule.when.metadata[&"environment".parse().expect("a key")];
        assert_eq!(environment.within.len(), 2);
        let team = &rule.when.metadata[&"team".parse().expect("a key")];
        assert_eq!((team.within.len(), team.not_in.len()), (0, 1));
        assert_eq!(rule.applies_per.len(), 2);
        draft.metadata = "no value".to_owned();
        assert!(draft.rule().is_none());
    }

    #[test]
    fn other_limits_are_for_one_of_each_that_has_a_counter() {
        let user = reference::of("user", UserId::from_bytes([1; 16])).to_string();
        let mut draft = PolicyDraft {
            per_user: true,
            overrides: vec![OverrideDraft {
                user,
                limits: named("6").limits,
                ..OverrideDraft::default()
            }],
            ..named("5")
        };
        assert_eq!(draft.rule().expect("complete").overrides.len(), 1);
        draft.per_model = true;
        assert!(draft.rule().is_none(), "for which model?");
    }
}

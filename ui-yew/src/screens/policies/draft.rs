//! A rate-limit policy while it is being put together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{
    LimitMode, LimitSegment, LimitUnit, LimitWindow, LimitedModels, LimitedSubject,
    LimitedSubjects, ModelRef, RateLimitRule,
};
use events_schema::names::MetadataKey;

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PolicyDraft {
    pub(super) name: String,
    pub(super) order: String,
    pub(super) limit: String,
    pub(super) unit: LimitUnit,
    pub(super) window: LimitWindow,
    pub(super) mode: LimitMode,
    pub(super) everybody: bool,
    pub(super) subjects: BTreeSet<LimitedSubject>,
    pub(super) all_models: bool,
    pub(super) models: BTreeSet<ModelRef>,
    /// `key=value`, one a line.
    pub(super) metadata: String,
    pub(super) per_user: bool,
    pub(super) per_virtual_account: bool,
    pub(super) per_model: bool,
    /// Keys of metadata, with commas.
    pub(super) per_metadata: String,
}

impl Default for PolicyDraft {
    fn default() -> Self {
        Self {
            name: String::new(),
            order: "100".to_owned(),
            limit: String::new(),
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
            mode: LimitMode::Enforce,
            everybody: true,
            subjects: BTreeSet::new(),
            all_models: true,
            models: BTreeSet::new(),
            metadata: String::new(),
            per_user: false,
            per_virtual_account: false,
            per_model: false,
            per_metadata: String::new(),
        }
    }
}

impl PolicyDraft {
    /// One that is there already.
    pub(super) fn of(policy: &RateLimitPolicyItem) -> Self {
        let RateLimitRule {
            subjects,
            models,
            metadata,
            applies_per,
            unit,
            window,
            limit,
            mode,
        } = policy.rule.clone();
        let (everybody, subjects) = match subjects {
            LimitedSubjects::All => (true, BTreeSet::new()),
            LimitedSubjects::Listed(listed) => (false, listed),
        };
        let (all_models, models) = match models {
            LimitedModels::All => (true, BTreeSet::new()),
            LimitedModels::Listed(listed) => (false, listed),
        };
        let metadata: Vec<_> = metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let keys = applies_per.iter().filter_map(|segment| match segment {
            LimitSegment::Metadata(key) => Some(key.to_string()),
            LimitSegment::User | LimitSegment::VirtualAccount | LimitSegment::Model => None,
        });
        Self {
            name: policy.name.clone(),
            order: policy.order.to_string(),
            limit: limit.to_string(),
            unit,
            window,
            mode,
            everybody,
            subjects,
            all_models,
            models,
            metadata: metadata.join("\n"),
            per_user: applies_per.contains(&LimitSegment::User),
            per_virtual_account: applies_per.contains(&LimitSegment::VirtualAccount),
            per_model: applies_per.contains(&LimitSegment::Model),
            per_metadata: keys.collect::<Vec<_>>().join(", "),
        }
    }

    fn metadata(&self) -> Option<BTreeMap<MetadataKey, String>> {
        let lines = self.metadata.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (key, value) = line.split_once('=')?;
                Some((key.trim().parse().ok()?, value.trim().to_owned()))
            })
            .collect()
    }

    fn applies_per(&self) -> Option<BTreeSet<LimitSegment>> {
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
        let nobody = !self.everybody && self.subjects.is_empty();
        let nothing = !self.all_models && self.models.is_empty();
        if nobody || nothing {
            return None;
        }
        Some(RateLimitRule {
            subjects: if self.everybody {
                LimitedSubjects::All
            } else {
                LimitedSubjects::Listed(self.subjects.clone())
            },
            models: if self.all_models {
                LimitedModels::All
            } else {
                LimitedModels::Listed(self.models.clone())
            },
            metadata: self.metadata()?,
            applies_per: self.applies_per()?,
            unit: self.unit,
            window: self.window,
            limit: self.limit.trim().replace([',', ' '], "").parse().ok()?,
            mode: self.mode,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_needs_a_name_a_limit_and_somebody() {
        let mut draft = PolicyDraft {
            name: "all".to_owned(),
            ..PolicyDraft::default()
        };
        assert!(draft.command(None).is_none());
        draft.limit = "1,000".to_owned();
        let Some(NewCommand::CreateRateLimitPolicy { rule, .. }) = draft.command(None) else {
            unreachable!("it is complete");
        };
        assert_eq!(rule.limit, 1_000);
        draft.everybody = false;
        assert!(draft.command(None).is_none());
    }

    #[test]
    fn metadata_and_counters_are_read_as_typed() {
        let mut draft = PolicyDraft {
            name: "all".to_owned(),
            limit: "5".to_owned(),
            metadata: "environment = production\n\nteam=x".to_owned(),
            per_user: true,
            per_metadata: "project".to_owned(),
            ..PolicyDraft::default()
        };
        let rule = draft.rule().expect("complete");
        assert_eq!(rule.metadata.len(), 2);
        assert_eq!(rule.applies_per.len(), 2);
        draft.metadata = "no value".to_owned();
        assert!(draft.rule().is_none());
    }
}

//! A rate-limit policy while it is being put together. Pure.

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{RateLimit, RateLimitRule};

use crate::screens::rules::{HasRule, Parts, RuleDraft};

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PolicyDraft {
    pub(super) name: String,
    pub(super) order: String,
    rule: RuleDraft,
}

impl HasRule for PolicyDraft {
    type Limit = RateLimit;

    fn rule(&self) -> &RuleDraft {
        &self.rule
    }

    fn rule_mut(&mut self) -> &mut RuleDraft {
        &mut self.rule
    }
}

impl Default for PolicyDraft {
    fn default() -> Self {
        Self {
            name: String::new(),
            order: "100".to_owned(),
            rule: RuleDraft::new::<RateLimit>(),
        }
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
        Self {
            name: policy.name.clone(),
            order: policy.order.to_string(),
            rule: RuleDraft::of(Parts {
                when,
                applies_per,
                limits,
                overrides,
                mode,
            }),
        }
    }

    /// The command, when enough is filled in to send it; `existing` is the policy whose rule changes.
    pub(super) fn command(&self, existing: Option<&RateLimitPolicyItem>) -> Option<NewCommand> {
        let Parts {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = self.rule.parts()?;
        let rule = Box::new(RateLimitRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        });
        if let Some(policy) = existing {
            let policy = policy.id;
            return Some(NewCommand::ChangeRateLimitRule { policy, rule });
        }
        let name = self.name.trim().to_owned();
        let order = self.order.trim().parse().ok()?;
        (!name.is_empty()).then_some(NewCommand::CreateRateLimitPolicy { name, order, rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_needs_a_name_a_place_and_a_limit() {
        let mut draft = PolicyDraft::default();
        assert!(draft.command(None).is_none());
        draft.name = "all".to_owned();
        assert!(draft.command(None).is_none());
        draft.rule.limits[0].amount = "1,000".to_owned();
        let Some(NewCommand::CreateRateLimitPolicy { name, order, rule }) = draft.command(None)
        else {
            unreachable!("it is complete");
        };
        assert_eq!((name.as_str(), order), ("all", 100));
        assert_eq!(rule.limits.first().map(|it| it.limit), Some(1_000));
        draft.order = "first".to_owned();
        assert!(draft.command(None).is_none());
    }
}

//! A rate-limit policy while it is being put together. Pure.

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{LimitWhenCutOff, RateLimit, RateLimitRule};
use gateway_policy::rules::fault::check_rate_limit;

use crate::api::Rejection;
use crate::screens::rules::{Edited, HasRule, Parts, RuleDraft, refused};

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PolicyDraft {
    pub(super) name: String,
    pub(super) order: String,
    rule: RuleDraft,
    pub(super) when_cut_off: LimitWhenCutOff,
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
            when_cut_off: LimitWhenCutOff::USUAL,
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
            when_cut_off,
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
            when_cut_off,
        }
    }

    /// The rule, when enough of it is filled in.
    fn whole_rule(&self) -> Option<RateLimitRule> {
        let Parts {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = self.rule.parts()?;
        Some(RateLimitRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off: self.when_cut_off,
        })
    }

    /// What is wrong with the rule, before anybody was asked.
    pub(super) fn fault(&self) -> Option<Rejection> {
        refused(check_rate_limit(&self.whole_rule()?))
    }

    /// The policy as it stands in the form, when enough of it is filled in.
    pub(super) fn edited(&self, existing: Option<&RateLimitPolicyItem>) -> Option<Edited> {
        Edited::rate_limit(existing, &self.name, &self.order, self.whole_rule()?)
    }

    /// The command, when enough is filled in to send it; `existing` is the policy whose rule changes.
    pub(super) fn command(&self, existing: Option<&RateLimitPolicyItem>) -> Option<NewCommand> {
        let rule = Box::new(self.whole_rule()?);
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
        assert_eq!(rule.when_cut_off, LimitWhenCutOff::Alone);
        draft.when_cut_off = LimitWhenCutOff::Closed;
        let rule = draft.whole_rule().expect("it is complete");
        assert_eq!(rule.when_cut_off, LimitWhenCutOff::Closed);
        draft.order = "first".to_owned();
        assert!(draft.command(None).is_none());
    }

    #[test]
    fn what_the_control_plane_would_refuse_is_told_at_its_field_before_it_is_asked() {
        let mut draft = PolicyDraft::default();
        assert_eq!(draft.fault(), None, "nothing is filled in");
        draft.rule.limits[0].amount = "0".to_owned();
        let fault = draft.fault().expect("nothing passes");
        assert_eq!(
            fault.of_field("rule.limits"),
            Some("A limit is at least 1.")
        );
        draft.rule.limits[0].amount = "5".to_owned();
        assert_eq!(draft.fault(), None);
        (
            draft.rule.per_user,
            draft.rule.per_team,
            draft.rule.per_model,
        ) = (true, true, true);
        let fault = draft.fault().expect("too many counters");
        assert!(fault.of_field("rule.applies_per").is_some());
    }
}

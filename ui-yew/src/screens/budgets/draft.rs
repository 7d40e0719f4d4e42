//! A budget while it is being put together. Pure.

use std::collections::BTreeSet;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::BudgetPolicyItem;
use events_schema::events::{BudgetLimit, BudgetRule, WhenCutOff};
use gateway_policy::rules::fault::check_budget;

use crate::api::Rejection;
use crate::screens::rules::{Edited, HasRule, Parts, RuleDraft, refused};

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BudgetDraft {
    pub(super) name: String,
    pub(super) order: String,
    rule: RuleDraft,
    pub(super) when_cut_off: WhenCutOff,
    /// In percent, with commas.
    pub(super) alerts: String,
}

impl HasRule for BudgetDraft {
    type Limit = BudgetLimit;

    fn rule(&self) -> &RuleDraft {
        &self.rule
    }

    fn rule_mut(&mut self) -> &mut RuleDraft {
        &mut self.rule
    }
}

impl Default for BudgetDraft {
    fn default() -> Self {
        Self {
            name: String::new(),
            order: "100".to_owned(),
            rule: RuleDraft::new::<BudgetLimit>(),
            when_cut_off: WhenCutOff::Open,
            alerts: "75, 90, 95, 100".to_owned(),
        }
    }
}

impl BudgetDraft {
    /// One that is there already.
    pub(super) fn of(policy: &BudgetPolicyItem) -> Self {
        let BudgetRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off,
            alerts,
        } = policy.rule.clone();
        let alerts: Vec<_> = alerts.iter().map(ToString::to_string).collect();
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
            alerts: alerts.join(", "),
        }
    }

    fn thresholds(&self) -> Option<BTreeSet<u8>> {
        let all = self
            .alerts
            .split(',')
            .map(|it| it.trim().trim_end_matches('%').trim());
        all.filter(|it| !it.is_empty())
            .map(|it| it.parse().ok())
            .collect()
    }

    /// The rule, when enough of it is filled in.
    fn whole_rule(&self) -> Option<BudgetRule> {
        let Parts {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = self.rule.parts()?;
        Some(BudgetRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off: self.when_cut_off,
            alerts: self.thresholds()?,
        })
    }

    /// What is wrong with the rule, before anybody was asked.
    pub(super) fn fault(&self) -> Option<Rejection> {
        refused(check_budget(&self.whole_rule()?))
    }

    /// The budget as it stands in the form, when enough of it is filled in.
    pub(super) fn edited(&self, existing: Option<&BudgetPolicyItem>) -> Option<Edited> {
        Edited::budget(existing, &self.name, &self.order, self.whole_rule()?)
    }

    /// The command, when enough is filled in to send it; `existing` is the budget whose rule changes.
    pub(super) fn command(&self, existing: Option<&BudgetPolicyItem>) -> Option<NewCommand> {
        let rule = Box::new(self.whole_rule()?);
        if let Some(policy) = existing {
            let policy = policy.id;
            return Some(NewCommand::ChangeBudgetRule { policy, rule });
        }
        let name = self.name.trim().to_owned();
        let order = self.order.trim().parse().ok()?;
        (!name.is_empty()).then_some(NewCommand::CreateBudgetPolicy { name, order, rule })
    }
}

#[cfg(test)]
mod tests {
    use events_schema::events::{BudgetAmount, BudgetWindow};
    use events_schema::money::NanoUsd;

    use super::*;

    fn filled_in() -> BudgetDraft {
        let mut draft = BudgetDraft {
            name: "all".to_owned(),
            ..BudgetDraft::default()
        };
        draft.rule.limits[0].amount = "5,000.50".to_owned();
        draft
    }

    fn rule(draft: &BudgetDraft) -> Option<BudgetRule> {
        match draft.command(None)? {
            NewCommand::CreateBudgetPolicy { rule, .. } => Some(*rule),
            _ => None,
        }
    }

    #[test]
    fn a_budget_is_dollars_a_month_unless_it_says_otherwise() {
        let rule = rule(&filled_in()).expect("complete");
        let limit = BudgetLimit {
            amount: BudgetAmount::Cost(NanoUsd::new(5_000_500_000_000)),
            window: BudgetWindow::Month,
        };
        assert_eq!(rule.limits, BTreeSet::from([limit]));
        assert_eq!(rule.alerts, BTreeSet::from([75, 90, 95, 100]));
        assert_eq!(rule.when_cut_off, WhenCutOff::Open);
    }

    #[test]
    fn thresholds_are_read_as_typed() {
        let mut draft = filled_in();
        "50 %, 100".clone_into(&mut draft.alerts);
        let alerts = |draft: &BudgetDraft| rule(draft).map(|it| it.alerts);
        assert_eq!(alerts(&draft), Some(BTreeSet::from([50, 100])));
        draft.alerts.clear();
        assert_eq!(alerts(&draft), Some(BTreeSet::new()));
        "half".clone_into(&mut draft.alerts);
        assert_eq!(alerts(&draft), None);
        assert_eq!(draft.fault(), None, "it is no rule yet");
        "75, 101".clone_into(&mut draft.alerts);
        let fault = draft.fault().expect("it is no part of a limit");
        assert!(fault.of_field("rule.alerts").is_some());
    }

    #[test]
    fn a_budget_needs_a_name_and_an_amount() {
        let mut draft = filled_in();
        draft.name.clear();
        assert_eq!(rule(&draft), None);
        let mut draft = filled_in();
        draft.rule.limits[0].amount.clear();
        assert_eq!(rule(&draft), None);
    }
}

//! A budget while it is being put together. Pure.

use std::collections::BTreeSet;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::BudgetPolicyItem;
use events_schema::events::{BudgetLimit, BudgetRule, WhenCutOff};

use crate::screens::rules::{HasRule, Parts, RuleDraft};

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

    /// The command, when enough is filled in to send it; `existing` is the budget whose rule changes.
    pub(super) fn command(&self, existing: Option<&BudgetPolicyItem>) -> Option<NewCommand> {
        let Parts {
            when,
            applies_per,
            limits,
            overrides,
            mode,
        } = self.rule.parts()?;
        let rule = Box::new(BudgetRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off: self.when_cut_off,
            alerts: self.thresholds()?,
        });
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

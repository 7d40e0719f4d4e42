//! Budget policies.

use events_schema::{
    events::{BudgetAmount, BudgetLimit, BudgetRule},
    id::BudgetPolicyId,
    money::NanoUsd,
};

use super::{
    Planner, Wrong,
    policies::{Declared, Known, Parts, Told, rule_fields, told},
    twice, word,
};
use crate::{
    declared::{
        document::{self, BudgetPolicy},
        export,
        read::Place,
    },
    domain::Command,
    fresh,
};

impl Planner<'_> {
    pub(super) fn budget(&mut self, place: Place, it: &BudgetPolicy) -> Result<(), Wrong> {
        let known = self.around.state.budget_policy_named(&it.name);
        let id: BudgetPolicyId = known.map_or_else(fresh::id, |known| known.id);
        if !self.budgets.insert(it.name.clone()) {
            return Err((place.at("name"), twice("budget policy", &it.name)));
        }
        let mut rule = self.budget_rule(place, it)?;
        if let Some(known) = known {
            self.keep_erased_subjects(&known.rule.when, &mut rule.when);
            if known.rule.applies_per == rule.applies_per {
                let kept = self.of_erased(&known.rule.overrides);
                rule.overrides.extend(kept);
            }
        }
        let changes = known.is_none_or(|known| known.rule != rule);
        let rule = changes.then(|| {
            let names = export::Names::of(self.around.state, self.around.people);
            let before = known.and_then(|known| names.budget_policy(known));
            let before = before.as_ref().map(budget_told);
            let fields = rule_fields(before.as_deref(), budget_told(it));
            (rule, fields)
        });
        let declared = Declared {
            place,
            what: "budget policy",
            name: &it.name,
            order: it.order,
            disabled: it.disabled,
            rule,
        };
        let known = known.map(|known| Known {
            order: known.order,
            disabled: known.disabled,
        });
        self.declare(declared, known, |order| Command::BudgetPolicy(id, order));
        Ok(())
    }

    fn budget_rule(&self, place: Place, it: &BudgetPolicy) -> Result<BudgetRule, Wrong> {
        let limits = it.limits.iter().map(budget_limit);
        let limits: Result<_, String> = limits.collect();
        Ok(BudgetRule {
            when: self.when(place, &it.when)?,
            applies_per: it.applies_per.clone(),
            limits: limits.map_err(|message| (place.at("limits"), message))?,
            overrides: self.overrides(place, &it.overrides, budget_limit)?,
            mode: it.mode,
            when_cut_off: it.when_cut_off,
            alerts: it.alerts.clone(),
        })
    }
}

fn budget_told(it: &BudgetPolicy) -> Vec<Told> {
    let BudgetPolicy {
        name: _,
        order: _,
        when,
        applies_per,
        limits,
        overrides,
        mode,
        when_cut_off,
        alerts,
        disabled: _,
    } = it;
    let parts = Parts {
        when,
        applies_per,
        limits,
        overrides,
        mode: *mode,
    };
    let alerts: Vec<_> = alerts
        .iter()
        .map(|percent| format!("{percent} %"))
        .collect();
    let mut told = told(&parts, |limit| budget_limit(limit).ok(), limit_told);
    told.push(("when_cut_off", word(when_cut_off)));
    told.push(("alerts", alerts.join(", ")));
    told
}

fn budget_limit(limit: &document::BudgetLimit) -> Result<BudgetLimit, String> {
    let document::BudgetLimit {
        cost,
        tokens,
        window,
    } = limit;
    let amount = match (cost, tokens) {
        (Some(cost), None) => {
            let cost =
                NanoUsd::from_dollars(cost).map_err(|error| format!("'{cost}': {error}."))?;
            BudgetAmount::Cost(cost)
        }
        (None, Some(tokens)) => BudgetAmount::Tokens(*tokens),
        (Some(_), Some(_)) | (None, None) => {
            return Err("A budget's limit is either a `cost` or `tokens`.".to_owned());
        }
    };
    Ok(BudgetLimit {
        amount,
        window: *window,
    })
}

/// `$5000.00 a month`.
fn limit_told(limit: &BudgetLimit) -> String {
    let window = word(&limit.window);
    match limit.amount {
        BudgetAmount::Cost(cost) => format!("${} a {window}", cost.to_dollars()),
        BudgetAmount::Tokens(tokens) => format!("{tokens} tokens a {window}"),
    }
}

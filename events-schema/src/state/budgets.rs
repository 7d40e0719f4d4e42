//! What the events of budget policies do to the state.

use super::{BudgetPolicy, Organisation, evolve::Now};
use crate::{
    events::{BudgetPolicyEvent, Named, Stream},
    id::BudgetPolicyId,
};

impl Organisation {
    pub(super) fn budget_policy(
        &mut self,
        now: Now,
        id: BudgetPolicyId,
        event: &BudgetPolicyEvent,
    ) {
        use BudgetPolicyEvent as E;
        match event {
            E::BudgetPolicyCreated { name, order, rule } => {
                self.put_budget_policy(BudgetPolicy {
                    id,
                    life: now.born(),
                    name: name.clone(),
                    order: *order,
                    rule: rule.clone(),
                    disabled: false,
                });
            }
            E::BudgetPolicyRenamed { name } => {
                let Some(it) = self.budget_policies.get(&id).cloned() else {
                    return;
                };
                self.put_budget_policy(BudgetPolicy {
                    life: now.lived(it.life),
                    name: name.clone(),
                    ..it
                });
            }
            E::BudgetPolicyMoved { order } => {
                self.change_budget_policy(now, id, |it| it.order = *order);
            }
            E::BudgetRuleChanged { rule } => {
                let Some(it) = self.budget_policies.get(&id).cloned() else {
                    return;
                };
                self.put_budget_policy(BudgetPolicy {
                    life: now.lived(it.life),
                    rule: rule.clone(),
                    ..it
                });
            }
            E::BudgetPolicyDisabled {} => {
                self.change_budget_policy(now, id, |it| it.disabled = true)
            }
            E::BudgetPolicyEnabled {} => {
                self.change_budget_policy(now, id, |it| it.disabled = false)
            }
            E::BudgetPolicyDeleted {} => {
                self.drop_budget_policy(id);
                self.drop_alerts_of(id);
                self.gone
                    .insert(Stream::BudgetPolicy(id), now.stream_version);
            }
        }
    }

    fn change_budget_policy(
        &mut self,
        now: Now,
        id: BudgetPolicyId,
        with: impl FnOnce(&mut BudgetPolicy),
    ) {
        if let Some(it) = self.budget_policies.get_mut(&id) {
            it.life = now.lived(it.life);
            with(it);
        }
    }

    pub(super) fn put_budget_policy(&mut self, it: BudgetPolicy) {
        self.drop_budget_policy(it.id);
        self.index.budget_policies.insert((it.name.clone(), it.id));
        for thing in named(&it).streams() {
            let policy = Stream::BudgetPolicy(it.id);
            self.index.policies_by_thing.insert((thing, policy));
        }
        self.budget_policies.insert(it.id, it);
    }

    fn drop_budget_policy(&mut self, id: BudgetPolicyId) {
        if let Some(old) = self.budget_policies.remove(&id) {
            for thing in named(&old).streams() {
                let policy = Stream::BudgetPolicy(id);
                self.index.policies_by_thing.remove(&(thing, policy));
            }
            self.index.budget_policies.remove(&(old.name, id));
        }
    }
}

fn named(policy: &BudgetPolicy) -> Named {
    Named::by(&policy.rule.when, &policy.rule.overrides)
}

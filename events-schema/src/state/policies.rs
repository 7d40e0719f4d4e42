//! What the events of rate-limit policies do to the state.

use super::{Organisation, RateLimitPolicy, evolve::Now};
use crate::{
    events::{Named, RateLimitPolicyEvent, Stream},
    id::RateLimitPolicyId,
};

impl Organisation {
    pub(super) fn rate_limit_policy(
        &mut self,
        now: Now,
        id: RateLimitPolicyId,
        event: &RateLimitPolicyEvent,
    ) {
        use RateLimitPolicyEvent as E;
        match event {
            E::RateLimitPolicyCreated { name, order, rule } => {
                self.put_rate_limit_policy(RateLimitPolicy {
                    id,
                    life: now.born(),
                    name: name.clone(),
                    order: *order,
                    rule: rule.clone(),
                    disabled: false,
                });
            }
            E::RateLimitPolicyRenamed { name } => {
                let Some(it) = self.rate_limit_policies.get(&id).cloned() else {
                    return;
                };
                self.put_rate_limit_policy(RateLimitPolicy {
                    life: now.lived(it.life),
                    name: name.clone(),
                    ..it
                });
            }
            E::RateLimitPolicyMoved { order } => {
                self.change_rate_limit_policy(now, id, |it| it.order = *order);
            }
            E::RateLimitRuleChanged { rule } => {
                let Some(it) = self.rate_limit_policies.get(&id).cloned() else {
                    return;
                };
                self.put_rate_limit_policy(RateLimitPolicy {
                    life: now.lived(it.life),
                    rule: rule.clone(),
                    ..it
                });
            }
            E::RateLimitPolicyDisabled {} => {
                self.change_rate_limit_policy(now, id, |it| it.disabled = true)
            }
            E::RateLimitPolicyEnabled {} => {
                self.change_rate_limit_policy(now, id, |it| it.disabled = false)
            }
            E::RateLimitPolicyDeleted {} => {
                self.drop_rate_limit_policy(id);
                self.gone
                    .insert(Stream::RateLimitPolicy(id), now.stream_version);
            }
        }
    }

    fn change_rate_limit_policy(
        &mut self,
        now: Now,
        id: RateLimitPolicyId,
        with: impl FnOnce(&mut RateLimitPolicy),
    ) {
        if let Some(it) = self.rate_limit_policies.get_mut(&id) {
            it.life = now.lived(it.life);
            with(it);
        }
    }

    pub(super) fn put_rate_limit_policy(&mut self, it: RateLimitPolicy) {
        self.drop_rate_limit_policy(it.id);
        self.index
            .rate_limit_policies
            .insert((it.name.clone(), it.id));
        for thing in named(&it).streams() {
            let policy = Stream::RateLimitPolicy(it.id);
            self.index.policies_by_thing.insert((thing, policy));
        }
        self.rate_limit_policies.insert(it.id, it);
    }

    fn drop_rate_limit_policy(&mut self, id: RateLimitPolicyId) {
        if let Some(old) = self.rate_limit_policies.remove(&id) {
            for thing in named(&old).streams() {
                let policy = Stream::RateLimitPolicy(id);
                self.index.policies_by_thing.remove(&(thing, policy));
            }
            self.index.rate_limit_policies.remove(&(old.name, id));
        }
    }
}

fn named(policy: &RateLimitPolicy) -> Named {
    Named::by(&policy.rule.when, &policy.rule.overrides)
}

//! Policies that documents of other formats declare, planned like any other: in the order of the file.

use events_schema::{events::RateLimit, names::VirtualModelName, state};

use super::{Planner, order::numbers};
use crate::declared::{
    brought::{BroughtModelRef, BroughtPolicy, BroughtValue, BroughtWhen, Named},
    document::{
        Choice, LimitOverride, LimitedSubject, ModelRef, RateLimitPolicy, SegmentValue, When,
    },
    read::Fault,
};

impl<'a> Planner<'a> {
    /// The rules of all documents of rate limits in the file.
    pub(super) fn brought_rate_limits(&mut self, policies: &'a [BroughtPolicy<'a, RateLimit>]) {
        let state = self.around.state;
        let known = policies
            .iter()
            .map(|it| state.rate_limit_policy_named(&it.name));
        let known: Vec<_> = known.collect();
        let standing = known
            .iter()
            .map(|it| it.map(|it| (it.order, (it.life.created_at, it.id))));
        let orders = numbers(&standing.collect::<Vec<_>>());
        for ((it, known), order) in policies.iter().zip(known).zip(orders) {
            let mut faults = Vec::new();
            let policy = self.rate_limit_policy(it, known, order, &mut faults);
            if !faults.is_empty() {
                self.faults.extend(faults);
                continue;
            }
            let place = self.place_of(&it.origin);
            if let Err((place, message)) = self.policy(place, &policy) {
                self.wrong(place, message);
            }
        }
    }

    /// As Sluice's own documents have it. These formats cannot say that a policy is switched off: it stays so.
    fn rate_limit_policy(
        &self,
        it: &BroughtPolicy<'_, RateLimit>,
        known: Option<&state::RateLimitPolicy>,
        order: u32,
        faults: &mut Vec<Fault>,
    ) -> RateLimitPolicy {
        let overrides = it.overrides.iter().filter_map(|other| {
            let of = resolved(&other.of, |it| self.value_named(it), faults)?;
            Some(LimitOverride {
                of: vec![of],
                limits: other.limits.clone(),
            })
        });
        let overrides = overrides.collect();
        RateLimitPolicy {
            name: it.name.clone(),
            order,
            when: self.when_named(&it.when, faults),
            applies_per: it.applies_per.clone(),
            limits: it.limits.clone(),
            overrides,
            mode: it.mode,
            disabled: known.is_some_and(|it| it.disabled),
        }
    }

    fn when_named(&self, when: &BroughtWhen<'_>, faults: &mut Vec<Fault>) -> When {
        let subject = |it: &LimitedSubject| self.limited(it).map(|_| it.clone());
        let model = |it: &BroughtModelRef| match it {
            BroughtModelRef::Called(name) => self.model_called(name),
            BroughtModelRef::OfAccount(name) => {
                let named = ModelRef::ProviderAccount(name.clone());
                self.model_ref(&named).map(|_| named)
            }
        };
        When {
            subjects: chosen(&when.subjects, subject, faults),
            models: chosen(&when.models, model, faults),
            metadata: when.metadata.clone(),
        }
    }

    fn value_named(&self, value: &BroughtValue) -> Result<SegmentValue, String> {
        Ok(match value {
            BroughtValue::Subject(subject) => {
                self.limited(subject)?;
                match subject {
                    LimitedSubject::User(email) => SegmentValue::User(email.clone()),
                    LimitedSubject::VirtualAccount(name) => {
                        SegmentValue::VirtualAccount(name.clone())
                    }
                    LimitedSubject::Team(name) => {
                        return Err(format!("The team '{name}' has no counter of its own."));
                    }
                }
            }
            BroughtValue::Model(name) => match self.model_called(name)? {
                ModelRef::VirtualModel(name) => SegmentValue::VirtualModel(name),
                ModelRef::Model(name) => SegmentValue::Model(name),
                ModelRef::ProviderAccount(name) => {
                    return Err(format!("'{name}' is an account, and no model."));
                }
            },
            BroughtValue::Metadata(key, value) => SegmentValue::Metadata {
                key: key.clone(),
                value: value.clone(),
            },
        })
    }

    /// What a caller gets who asks for this: a virtual model stands before a model that is called the same.
    fn model_called(&self, name: &VirtualModelName) -> Result<ModelRef, String> {
        let of_virtual = ModelRef::VirtualModel(name.clone());
        let of_model = ModelRef::Model(name.to_string());
        [of_virtual, of_model]
            .into_iter()
            .find(|it| self.model_ref(it).is_ok())
            .ok_or_else(|| format!("There is no model and no virtual model '{name}'."))
    }
}

fn chosen<T, R>(
    choice: &Choice<Named<'_, T>>,
    of: impl Fn(&T) -> Result<R, String>,
    faults: &mut Vec<Fault>,
) -> Choice<R> {
    let mut side = |named: &[Named<'_, T>]| -> Vec<R> {
        let each = named.iter();
        each.filter_map(|it| resolved(it, &of, faults)).collect()
    };
    Choice {
        within: side(&choice.within),
        not_in: side(&choice.not_in),
    }
}

/// What is named; `None`: there is no such, which is told.
fn resolved<T, R>(
    (it, at): &Named<'_, T>,
    of: impl FnOnce(&T) -> Result<R, String>,
    faults: &mut Vec<Fault>,
) -> Option<R> {
    of(it)
        .map_err(|message| faults.push(at.wrong(message)))
        .ok()
}

//! Policies that documents of other formats declare, planned like any other: in the order of the file. What these formats
//! cannot say stays as it is: whether one is switched off, and what a gateway does that is cut off.

use events_schema::{
    events::{LimitWhenCutOff, RateLimit, WhenCutOff},
    names::VirtualModelName,
};

use super::{Planner, order::numbers};
use crate::declared::{
    brought::{
        BroughtBudget, BroughtModelRef, BroughtOverride, BroughtPolicy, BroughtValue, BroughtWhen,
        Named,
    },
    document::{
        BudgetPolicy, Choice, LimitedSubject, ModelRef, Override, RateLimitPolicy, SegmentValue,
        When,
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
            let Some((when, overrides)) = self.names_of(it) else {
                continue;
            };
            let policy = RateLimitPolicy {
                name: it.name.clone(),
                order,
                when,
                applies_per: it.applies_per.clone(),
                limits: it.limits.clone(),
                overrides,
                mode: it.mode,
                when_cut_off: known.map_or(LimitWhenCutOff::USUAL, |it| it.rule.when_cut_off),
                disabled: known.is_some_and(|it| it.disabled),
            };
            let place = self.place_of(&it.origin);
            if let Err((place, message)) = self.policy(place, &policy) {
                self.wrong(place, message);
            }
        }
    }

    /// The rules of all documents of budgets in the file.
    pub(super) fn brought_budgets(&mut self, budgets: &'a [BroughtBudget<'a>]) {
        let state = self.around.state;
        let known = budgets
            .iter()
            .map(|it| state.budget_policy_named(&it.policy.name));
        let known: Vec<_> = known.collect();
        let standing = known
            .iter()
            .map(|it| it.map(|it| (it.order, (it.life.created_at, it.id))));
        let orders = numbers(&standing.collect::<Vec<_>>());
        for ((it, known), order) in budgets.iter().zip(known).zip(orders) {
            let BroughtBudget { policy: it, alerts } = it;
            let Some((when, overrides)) = self.names_of(it) else {
                continue;
            };
            let budget = BudgetPolicy {
                name: it.name.clone(),
                order,
                when,
                applies_per: it.applies_per.clone(),
                limits: it.limits.clone(),
                overrides,
                mode: it.mode,
                when_cut_off: known.map_or(WhenCutOff::Open, |it| it.rule.when_cut_off),
                alerts: alerts.clone(),
                disabled: known.is_some_and(|it| it.disabled),
            };
            let place = self.place_of(&it.origin);
            if let Err((place, message)) = self.budget(place, &budget) {
                self.wrong(place, message);
            }
        }
    }

    /// What a rule names, as Sluice's own documents have it; `None`: something of it is not there, which is told.
    fn names_of<L: Clone>(
        &mut self,
        it: &BroughtPolicy<'_, L>,
    ) -> Option<(When, Vec<Override<L>>)> {
        let mut faults = Vec::new();
        let when = self.when_named(&it.when, &mut faults);
        let overrides = it.overrides.iter();
        let overrides = overrides.filter_map(|it| self.override_named(it, &mut faults));
        let overrides = overrides.collect();
        let is_there = faults.is_empty();
        self.faults.extend(faults);
        is_there.then_some((when, overrides))
    }

    fn override_named<L: Clone>(
        &self,
        it: &BroughtOverride<'_, L>,
        faults: &mut Vec<Fault>,
    ) -> Option<Override<L>> {
        let of = resolved(&it.of, |it| self.value_named(it), faults)?;
        Some(Override {
            of: vec![of],
            limits: it.limits.clone(),
        })
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
                    LimitedSubject::Team(name) => SegmentValue::Team(name.clone()),
                    LimitedSubject::VirtualAccount(name) => {
                        SegmentValue::VirtualAccount(name.clone())
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

//! Rules of rate-limit policies and of budget policies: which of them apply to a request, and what it counts there.
//!
//! Rules are compiled once, when a configuration is put together. Each is found by the narrowest of what it asks for: whose
//! request, to which model, with which metadata. So looking for those that apply costs nothing for the rules that concern
//! somebody else, however many they are. Of rate-limit rules the first that matches applies; of budgets' the first decides,
//! and all that match count.

mod compile;
pub mod fault;
mod find;
mod index;
mod segment;
mod supposed;

use std::{collections::BTreeMap, sync::Arc};

use events_schema::{
    snapshot::{
        budgets::ArchivedBudgetPolicyEntry, entries::Entry, limits::ArchivedRateLimitPolicyEntry,
    },
    state::{BudgetPolicy, Organisation, RateLimitPolicy},
};
use rkyv::{rancor::Error, util::AlignedVec};

use self::{compile::Policy, index::Index};
pub use self::{
    find::{MOST_MATCHING, Matching},
    segment::{Counter, MOST_TEAMS, Segment, Segments, Value},
    supposed::{ModelIds, Wanted},
};
use crate::{
    Caller, Configuration, EntryId, Resolved, Target,
    limits::{Measure, counter::WhenCutOff, period::Period},
};

/// What somebody, or a model, is, and its id: fit to be sorted.
type Tagged = (u8, EntryId);

const USER: u8 = 1;
const VIRTUAL_ACCOUNT: u8 = 2;
const TEAM: u8 = 3;
const MODEL: u8 = 4;
const VIRTUAL_MODEL: u8 = 5;
const ACCOUNT: u8 = 6;

/// What of a request rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'r> {
    /// Whose it is.
    owner: Tagged,
    /// The teams of the user whose it is.
    teams: &'r [EntryId],
    /// The key with which it came; `None`: it is only supposed, and nobody knows with which.
    key: Option<EntryId>,
    /// What it is for: the first is what has a counter of its own, the others are what a rule may call it as well.
    models: [Option<Tagged>; 3],
    /// Its metadata.
    metadata: &'r BTreeMap<String, String>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The policy's id.
    pub id: EntryId,
    /// The policy's name.
    pub name: Arc<str>,
    /// Whether nothing is refused, and what would have been is noted.
    pub audits: bool,
    /// What it does at a gateway that has heard nothing of the others for too long.
    pub when_cut_off: WhenCutOff,
    subjects: Choice<Tagged>,
    models: Choice<Tagged>,
    metadata: Box<[Condition]>,
    per: Box<[Segment]>,
    limits: Box<[RuleLimit]>,
    /// By the counter for which they are, in order.
    overrides: Box<[(EntryId, Box<[RuleLimit]>)]>,
}

/// A key of the metadata, and its values.
type Condition = (Box<str>, Choice<Box<str>>);

/// One of a rule's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleLimit {
    /// What it counts.
    pub measure: Measure,
    /// In which time.
    pub period: Period,
    /// How much fits into a window.
    pub most: u64,
}

/// Some of all there are, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Choice<T> {
    within: Box<[T]>,
    not_in: Box<[T]>,
}

/// All rules, ready to be looked up.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// In the order in which they are asked.
    rules: Box<[Rule]>,
    /// Those for some subjects alone, by these.
    by_subject: Index,
    /// Of the others, those for some models alone.
    by_model: Index,
    /// Of the others, those that want a value of the metadata, by that.
    by_value: Index,
    /// All others.
    rest: Box<[u32]>,
    /// Of all, those that name models, by these: they apply to attempts as well.
    by_target: Index,
}

// === impl Facts ===

impl<'r> Facts<'r> {
    /// A request, by who calls and what for.
    pub fn of(
        config: &'r impl Configuration,
        caller: Caller<'r>,
        resolved: Resolved<'_>,
        metadata: &'r BTreeMap<String, String>,
    ) -> Self {
        let (owner, teams) = whose(config, caller);
        Self {
            owner,
            teams,
            key: Some(caller.key.id),
            models: Wanted::of(config, resolved).models(),
            metadata,
        }
    }

    /// An attempt of the same request at a target.
    #[must_use]
    pub const fn at(self, target: Target<'_>) -> Self {
        self.led_to(ModelIds::of(target))
    }

    fn subjects(&self) -> impl Iterator<Item = Tagged> {
        let teams = self.teams.iter().map(|id| (TEAM, *id));
        std::iter::once(self.owner).chain(teams)
    }

    fn models(&self) -> impl Iterator<Item = Tagged> {
        self.models.into_iter().flatten()
    }
}

fn whose<'r>(config: &'r impl Configuration, caller: Caller<'r>) -> (Tagged, &'r [EntryId]) {
    use events_schema::snapshot::entries::ArchivedOwnerEntry as Owner;
    match &caller.key.owner {
        Owner::User(id) => {
            let memberships = config.memberships(id);
            let teams = memberships.map(|it| it.teams.as_slice());
            ((USER, *id), teams.unwrap_or_default())
        }
        Owner::VirtualAccount(id) => ((VIRTUAL_ACCOUNT, *id), &[]),
    }
}

// === impl Choice ===

impl Choice<Tagged> {
    /// Whether it has one of these, and leaves none of them out.
    fn has(&self, mut these: impl Iterator<Item = Tagged>) -> bool {
        let mut is_in = self.within.is_empty();
        let is_out = these.any(|it| {
            is_in = is_in || self.within.binary_search(&it).is_ok();
            self.not_in.binary_search(&it).is_ok()
        });
        is_in && !is_out
    }
}

// === impl Rule ===

impl Rule {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        self.subjects.has(facts.subjects()) && self.models.has(facts.models()) && self.takes(facts)
    }

    fn takes(&self, facts: &Facts<'_>) -> bool {
        self.metadata.iter().all(|(key, values)| {
            let value = facts.metadata.get(&**key);
            let finds = |list: &[Box<str>]| {
                value.is_some_and(|value| {
                    list.binary_search_by(|it| (**it).cmp(value.as_str()))
                        .is_ok()
                })
            };
            (values.within.is_empty() || finds(&values.within)) && !finds(&values.not_in)
        })
    }

    /// The limits of one of its counters.
    #[must_use]
    pub fn limits(&self, segment: &EntryId) -> &[RuleLimit] {
        let other = self.overrides.binary_search_by(|(of, _)| of.cmp(segment));
        other.map_or(&self.limits, |at| &self.overrides[at].1)
    }

    /// Those of its counters that have other limits than the others.
    pub fn segments_apart(&self) -> impl Iterator<Item = &EntryId> {
        self.overrides.iter().map(|(segment, _)| segment)
    }

    /// Whether one of its counters has other limits than the others.
    #[must_use]
    pub fn has_other_limits(&self, segment: &EntryId) -> bool {
        let found = self.overrides.binary_search_by(|(of, _)| of.cmp(segment));
        found.is_ok()
    }

    /// Whether each request that the other one matches is matched by this one, as far as can be seen without knowing who is
    /// in which team; and whether each attempt that the other one may apply to is this one's, too.
    fn covers(&self, other: &Self) -> bool {
        let metadata = self.metadata.iter().all(|(key, values)| {
            let others = other.metadata.iter().find(|(it, _)| it == key);
            others.is_some_and(|(_, others)| values.covers(others))
        });
        metadata
            && self.subjects.covers(&other.subjects)
            && self.models.covers(&other.models)
            && (!self.models.within.is_empty() || !other.names_targets())
    }

    /// Whether it names models that a request may be led to which asked for something else. A rule that names none does not
    /// apply to such attempts.
    fn names_targets(&self) -> bool {
        let mut named = self.models.within.iter();
        named.any(|(what, _)| *what != VIRTUAL_MODEL)
    }
}

/// Whether a list that is in order has it.
fn lists<T: Ord>(list: &[T], it: &T) -> bool {
    list.binary_search(it).is_ok()
}

impl<T: Ord> Choice<T> {
    fn covers(&self, other: &Self) -> bool {
        let within = self.within.is_empty()
            || (!other.within.is_empty() && other.within.iter().all(|it| lists(&self.within, it)));
        within && self.not_in.iter().all(|it| lists(&other.not_in, it))
    }
}

// === impl Rules ===

impl Rules {
    /// Compiles rate-limit policies, given in any order; those that are disabled are left out.
    #[must_use]
    pub fn compile<'p>(
        policies: impl IntoIterator<Item = &'p ArchivedRateLimitPolicyEntry>,
    ) -> Self {
        compile::compile(policies.into_iter().map(Policy::of_rate_limit))
    }

    /// Compiles budget policies, given in any order; those that are disabled are left out.
    #[must_use]
    pub fn compile_budgets<'p>(
        policies: impl IntoIterator<Item = &'p ArchivedBudgetPolicyEntry>,
    ) -> Self {
        compile::compile(policies.into_iter().map(Policy::of_budget))
    }

    /// Compiles the rate-limit policies of a state, as a gateway does that serves it.
    #[must_use]
    pub fn of_rate_limits(state: &Organisation) -> Self {
        Self::of_rate_limit_policies(state.rate_limit_policies().values())
    }

    /// Compiles rate-limit policies, as a gateway does that serves them; those that are disabled are left out.
    #[must_use]
    pub fn of_rate_limit_policies<'p>(
        policies: impl IntoIterator<Item = &'p RateLimitPolicy>,
    ) -> Self {
        let entries = policies
            .into_iter()
            .map(|it| Entry::RateLimitPolicy(it.into()));
        let archives: Vec<AlignedVec> = entries.map(|it| it.archive()).collect();
        let policies = archives.iter();
        Self::compile(
            policies.filter_map(|it| rkyv::access::<ArchivedRateLimitPolicyEntry, Error>(it).ok()),
        )
    }

    /// Compiles the budget policies of a state, as a gateway does that serves it.
    #[must_use]
    pub fn of_budgets(state: &Organisation) -> Self {
        Self::of_budget_policies(state.budget_policies().values())
    }

    /// Compiles budget policies, as a gateway does that serves them; those that are disabled are left out.
    #[must_use]
    pub fn of_budget_policies<'p>(policies: impl IntoIterator<Item = &'p BudgetPolicy>) -> Self {
        let entries = policies
            .into_iter()
            .map(|it| Entry::BudgetPolicy(it.into()));
        let archives: Vec<AlignedVec> = entries.map(|it| it.archive()).collect();
        let policies = archives.iter();
        Self::compile_budgets(
            policies.filter_map(|it| rkyv::access::<ArchivedBudgetPolicyEntry, Error>(it).ok()),
        )
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some of them name models, and so may apply to attempts.
    #[must_use]
    pub const fn name_targets(&self) -> bool {
        !self.by_target.is_empty()
    }

    /// The rule of a policy; `None`: there is none, or it is disabled.
    #[must_use]
    pub fn of(&self, policy: &EntryId) -> Option<&Rule> {
        self.rules.iter().find(|it| it.id == *policy)
    }

    /// The rules that are the first for no request and no attempt, each with the first before it that matches all that they
    /// match.
    pub fn unreachable(&self) -> impl Iterator<Item = (&Rule, &Rule)> {
        (0_u32..).zip(&self.rules).filter_map(|(at, rule)| {
            let before = self.first_covering(at, rule)?;
            Some((rule, self.at(before)))
        })
    }

    /// The first before it that matches all that a rule matches. Such a one is listed under each that this one names, or under
    /// nothing of the kind: it is enough to look under the first.
    fn first_covering(&self, at: u32, rule: &Rule) -> Option<u32> {
        let subject = rule.subjects.within.first();
        let subject = subject.map(|it| self.covering(at, self.by_subject.get(index::of_id(*it))));
        let model = rule.models.within.first();
        let model = model.map(|it| self.covering(at, self.by_model.get(index::of_id(*it))));
        let values = rule.metadata.iter().filter_map(|(key, values)| {
            let value = values.within.first()?;
            self.covering(at, self.by_value.get(index::of_text(key, value)))
        });
        let rest = self.covering(at, self.rest.iter().copied());
        let named = [subject.flatten(), model.flatten(), rest];
        named.into_iter().flatten().chain(values).min()
    }

    /// The first of those listed, in order, that stands before the rule and matches all that it matches.
    fn covering(&self, rule: u32, listed: impl Iterator<Item = u32>) -> Option<u32> {
        listed
            .take_while(|at| *at < rule)
            .find(|at| self.at(*at).covers(self.at(rule)))
    }

    fn at(&self, at: u32) -> &Rule {
        &self.rules[at as usize]
    }
}

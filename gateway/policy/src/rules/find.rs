//! Finding the rules that match a request.

use arrayvec::ArrayVec;

use super::{Facts, Rule, Rules, index};

/// How many budgets' rules are found for a request: the first so many that match, in order. An organisation has a few that
/// match one request (its own, of the team, of the user, of the model, of the project); each takes a place in every decision.
pub const MOST_MATCHING: usize = 16;

/// The rules that match, in order.
#[derive(Debug, Clone)]
pub struct Matching<'r> {
    rules: &'r Rules,
    at: ArrayVec<u32, MOST_MATCHING>,
    left_out: Option<u32>,
}

impl<'r> Matching<'r> {
    fn of(rules: &'r Rules, found: All) -> Self {
        let All { at, left_out } = found;
        Self {
            rules,
            at,
            left_out,
        }
    }

    /// The rules, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'r Rule> {
        let rules = self.rules;
        self.at.iter().map(move |at| rules.at(*at))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// The first of those that match as well, where more do than [`MOST_MATCHING`].
    #[must_use]
    pub fn left_out(&self) -> Option<&'r Rule> {
        self.left_out.map(|at| self.rules.at(at))
    }
}

/// What becomes of rules that are found.
trait Finding {
    /// Looks through rules that are listed in order.
    fn look(&mut self, listed: impl Iterator<Item = u32>, matches: impl Fn(u32) -> bool);
}

/// The first.
#[derive(Default)]
struct First(Option<u32>);

impl Finding for First {
    fn look(&mut self, listed: impl Iterator<Item = u32>, matches: impl Fn(u32) -> bool) {
        let best = self.0;
        let before = |at: &u32| best.is_none_or(|best| *at < best);
        let found = listed.take_while(before).find(|at| matches(*at));
        self.0 = found.or(best);
    }
}

/// All, in order, each once: a rule may be listed in several places.
#[derive(Default)]
struct All {
    at: ArrayVec<u32, MOST_MATCHING>,
    /// The first for which there was no room.
    left_out: Option<u32>,
}

impl All {
    fn insert(&mut self, at: u32) {
        let Err(place) = self.at.binary_search(&at) else {
            return;
        };
        let mut without = None;
        if self.at.is_full() {
            without = if place == self.at.len() {
                Some(at)
            } else {
                self.at.pop()
            };
        }
        if without != Some(at) {
            self.at.insert(place, at);
        }
        self.left_out = match (self.left_out, without) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl Finding for All {
    fn look(&mut self, listed: impl Iterator<Item = u32>, matches: impl Fn(u32) -> bool) {
        listed
            .filter(|at| matches(*at))
            .for_each(|at| self.insert(at));
    }
}

// === impl Rules ===

impl Rules {
    /// The rule that applies to a request: the first that matches.
    #[must_use]
    pub fn first(&self, facts: &Facts<'_>) -> Option<&Rule> {
        let mut first = First::default();
        self.find(facts, &mut first);
        first.0.map(|at| self.at(at))
    }

    /// All rules that match a request, in order: the first decides, and all count.
    #[must_use]
    pub fn all(&self, facts: &Facts<'_>) -> Matching<'_> {
        let mut all = All::default();
        self.find(facts, &mut all);
        Matching::of(self, all)
    }

    /// The rule that applies to an attempt at a target that the request did not name: the first that matches of those that
    /// name models.
    #[must_use]
    pub fn first_naming(&self, attempt: &Facts<'_>) -> Option<&Rule> {
        let mut first = First::default();
        self.find_naming(attempt, &mut first, |rule| rule.matches(attempt));
        first.0.map(|at| self.at(at))
    }

    /// All rules that match an attempt at a target and not the request itself, in order, of those that name models.
    #[must_use]
    pub fn all_naming(&self, attempt: &Facts<'_>, request: &Facts<'_>) -> Matching<'_> {
        let mut all = All::default();
        self.find_naming(attempt, &mut all, |rule| {
            rule.matches(attempt) && !rule.matches(request)
        });
        Matching::of(self, all)
    }

    fn find(&self, facts: &Facts<'_>, finding: &mut impl Finding) {
        let matches = |at: u32| self.at(at).matches(facts);
        for subject in facts.subjects() {
            finding.look(self.by_subject.get(index::of_id(subject)), matches);
        }
        for model in facts.models() {
            finding.look(self.by_model.get(index::of_id(model)), matches);
        }
        if !self.by_value.is_empty() {
            for (key, value) in facts.metadata {
                finding.look(self.by_value.get(index::of_text(key, value)), matches);
            }
        }
        finding.look(self.rest.iter().copied(), matches);
    }

    fn find_naming(
        &self,
        attempt: &Facts<'_>,
        finding: &mut impl Finding,
        matches: impl Fn(&Rule) -> bool,
    ) {
        for model in attempt.models() {
            let listed = self.by_target.get(index::of_id(model));
            finding.look(listed, |at| matches(self.at(at)));
        }
    }
}

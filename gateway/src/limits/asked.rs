//! What a request asks of limits and budgets.

use std::sync::Arc;

use arrayvec::ArrayVec;
use events_schema::snapshot::entries::ArchivedKeyEntry;
use gateway_policy::{
    EntryId, Facts, Matching, Measure, Rule, RuleLimit,
    limits::{
        Estimate, Spend, Take,
        counter::{Mode, Terms, WhenCutOff},
        lease::Role,
        message::CounterId,
        period::Period,
        wire::shard_of,
    },
    rules::MOST_TEAMS,
};

/// How many limits a decision is about: two of a key, and eight of a policy for each team of the caller.
pub const MOST_LIMITS: usize = 2 + 8 * MOST_TEAMS;

/// How many budgets a request counts for, each window and each team of the caller being one: an organisation has a few that
/// concern one request, and each is looked at with all others locked. What a request does not count for is in its record
/// (`uncounted:budget_policy:…`) and in a metric.
pub const MOST_BUDGETS: usize = 32;

/// Of a request of which nothing has been said.
const NOTHING: Take = Take { tokens: 0, cost: 0 };

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The key's own.
    Key,
    /// That of a policy with this name.
    Policy(Arc<str>),
}

/// What is asked of one limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfLimit {
    pub(super) id: CounterId,
    pub(super) shard: u8,
    pub(super) mode: Mode,
    when_cut_off: WhenCutOff,
    pub(super) most: u64,
    pub(super) cost: u64,
}

impl OfLimit {
    pub(super) const fn terms(&self) -> Terms {
        Terms::of_rate_limit(self.most, self.mode, self.when_cut_off)
    }
}

/// What happens above all limits of a rule, and at a gateway that is cut off.
type Choices = (Mode, WhenCutOff);

/// Those of a key's own limits.
const OF_KEYS: Choices = (Mode::Enforce, WhenCutOff::Alone);

/// What is asked of one budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfBudget {
    pub(super) shard: u8,
    pub(super) id: CounterId,
    pub(super) most: u64,
    pub(super) cost: u64,
    pub(super) role: Role,
}

/// What a request asks of all limits and budgets that concern it.
#[derive(Debug, Clone)]
pub struct Asked<'r> {
    limits: ArrayVec<OfLimit, MOST_LIMITS>,
    budgets: ArrayVec<OfBudget, MOST_BUDGETS>,
    rule: Option<&'r Rule>,
    /// The budget that decides.
    decider: Option<&'r Rule>,
    uncounted: Option<&'r Rule>,
    uncounted_budget: Option<&'r Rule>,
    /// What it will use, as estimated for limits.
    tokens: u64,
    /// What it may use, for budgets.
    spend: Spend,
}

impl<'r> Asked<'r> {
    /// Nothing yet, of a request that will use about so much.
    #[must_use]
    pub const fn new(estimate: Estimate) -> Self {
        Self {
            limits: ArrayVec::new_const(),
            budgets: ArrayVec::new_const(),
            rule: None,
            decider: None,
            uncounted: None,
            uncounted_budget: None,
            tokens: estimate.tokens(),
            spend: Spend {
                bounded: NOTHING,
                guessed: NOTHING,
            },
        }
    }

    /// Whether no limit and no budget concerns it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.budgets.is_empty()
    }

    /// How many limits and budgets there are.
    pub(super) const fn len(&self) -> usize {
        self.limits.len() + self.budgets.len()
    }

    /// The limits.
    pub(super) fn limits(&self) -> &[OfLimit] {
        &self.limits
    }

    /// The budgets.
    pub(super) fn budgets(&self) -> &[OfBudget] {
        &self.budgets
    }

    /// All shards that are concerned, a bit for each.
    pub(super) fn shards(&self) -> u16 {
        let limits = self.limits.iter().map(|it| it.shard);
        let budgets = self.budgets.iter().map(|it| it.shard);
        limits.chain(budgets).fold(0, |all, shard| all | 1 << shard)
    }

    /// Asks the limits of its key.
    pub fn of_key(&mut self, key: &ArchivedKeyEntry) {
        let own = [
            (Measure::Requests, &key.requests_per_minute),
            (Measure::Tokens, &key.tokens_per_minute),
        ];
        let limits = own.into_iter().filter_map(|(measure, most)| {
            let most = most.as_ref()?.to_native();
            Some(of_a_key(measure, most))
        });
        self.group(key.id, [0; 16], OF_KEYS, limits);
    }

    /// Asks the limits of a rate-limit policy's rule.
    pub fn of_rule(&mut self, rule: &'r Rule, facts: &Facts<'_>) {
        let mode = if rule.audits {
            Mode::Audit
        } else {
            Mode::Enforce
        };
        let segments = rule.segments(facts);
        for segment in segments.iter() {
            let limits = rule.limits(segment).iter().copied();
            self.group(rule.id, *segment, (mode, rule.when_cut_off), limits);
        }
        self.rule = Some(rule);
        self.uncounted = segments.are_cut.then_some(rule);
    }

    /// Of limits on what is under way: where the request counts already, as `counts` says, it is one, however many of its attempts
    /// are under way.
    pub fn count_once(&mut self, counts: impl Fn(&CounterId) -> bool) {
        let at_a_time = self.limits.iter_mut();
        for it in at_a_time.filter(|it| it.id.period.is_at_a_time()) {
            if counts(&it.id) {
                it.cost = 0;
            }
        }
    }

    /// Asks budgets for what may cost so much: the first decides, and all count.
    pub fn of_budgets(&mut self, matching: &Matching<'r>, spend: Spend, facts: &Facts<'_>) {
        self.spend = spend;
        self.uncounted_budget = matching.left_out();
        for rule in matching.iter() {
            let is_first = self.decider.is_none();
            self.decider = self.decider.or(Some(rule));
            let role = match (is_first, rule.audits) {
                (false, _) => Role::Tracks,
                (true, true) => Role::Audits,
                (true, false) => Role::Decides {
                    closed: rule.when_cut_off == WhenCutOff::Closed,
                },
            };
            let segments = rule.segments(facts);
            if segments.are_cut {
                self.is_uncounted(rule);
            }
            for segment in segments.iter() {
                self.budget(rule, *segment, role);
            }
        }
    }

    fn budget(&mut self, rule: &'r Rule, segment: EntryId, role: Role) {
        for limit in rule.limits(&segment) {
            let of = self.of_budget(rule.id, segment, *limit, role);
            if self.budgets.try_push(of).is_err() {
                self.is_uncounted(rule);
            }
        }
    }

    fn of_budget(&self, rule: EntryId, segment: EntryId, limit: RuleLimit, role: Role) -> OfBudget {
        let id = CounterId {
            rule,
            measure: limit.measure,
            period: limit.period,
            segment,
        };
        OfBudget {
            shard: shard(&id),
            id,
            most: limit.most,
            cost: self.spend.of(limit.measure, limit.most),
            role,
        }
    }

    fn is_uncounted(&mut self, rule: &'r Rule) {
        self.uncounted_budget = self.uncounted_budget.or(Some(rule));
    }

    /// All limits of one of a rule's counters. Of more than there is room for the others are not asked: rules have eight at most.
    fn group(
        &mut self,
        rule: EntryId,
        segment: EntryId,
        (mode, when_cut_off): Choices,
        limits: impl Iterator<Item = RuleLimit>,
    ) {
        let mut shard_of_all = None;
        for limit in limits {
            let RuleLimit {
                measure,
                period,
                most,
            } = limit;
            let id = CounterId {
                rule,
                measure,
                period,
                segment,
            };
            // An estimate makes no request impossible: it reserves the whole limit at most.
            let cost = match measure {
                Measure::Requests => 1,
                Measure::Tokens => self.tokens.min(most).max(1),
                Measure::Cost => self.spend.of(measure, most).min(most).max(1),
            };
            let _ = self.limits.try_push(OfLimit {
                id,
                shard: *shard_of_all.get_or_insert_with(|| shard(&id)),
                mode,
                when_cut_off,
                most,
                cost,
            });
        }
    }

    /// Whose limit a counter is.
    pub(super) fn by(&self, counter: &CounterId) -> By {
        match self.rule {
            Some(rule) if rule.id == counter.rule => By::Policy(Arc::clone(&rule.name)),
            Some(_) | None => By::Key,
        }
    }

    /// The rate-limit policy's rule that applies.
    #[must_use]
    pub const fn rule(&self) -> Option<&'r Rule> {
        self.rule
    }

    /// The budget that decides.
    #[must_use]
    pub const fn decider(&self) -> Option<&'r Rule> {
        self.decider
    }

    /// A rate-limit policy's rule that has more limits for it than there is room for, and a budget's.
    #[must_use]
    pub const fn uncounted(&self) -> (Option<&'r Rule>, Option<&'r Rule>) {
        (self.uncounted, self.uncounted_budget)
    }
}

const fn of_a_key(measure: Measure, most: u64) -> RuleLimit {
    RuleLimit {
        measure,
        period: Period::SlidingMinute,
        most,
    }
}

fn shard(id: &CounterId) -> u8 {
    u8::try_from(shard_of(id)).unwrap_or(0)
}

/// Without rules.
#[cfg(test)]
impl Asked<'_> {
    pub(super) fn limits_of(
        &mut self,
        rule: EntryId,
        segment: EntryId,
        choices: Choices,
        limits: &[RuleLimit],
    ) {
        self.group(rule, segment, choices, limits.iter().copied());
    }

    pub(super) fn limits_of_key(&mut self, key: EntryId, own: &[(Measure, u64)]) {
        let limits = own.iter().map(|(measure, most)| of_a_key(*measure, *most));
        self.group(key, [0; 16], OF_KEYS, limits);
    }

    pub(super) fn budget_of(
        &mut self,
        rule: EntryId,
        segment: EntryId,
        role: Role,
        limit: RuleLimit,
        cost: u64,
    ) {
        self.spend.bounded.cost = cost;
        let of = self.of_budget(rule, segment, limit, role);
        self.budgets.push(of);
    }
}

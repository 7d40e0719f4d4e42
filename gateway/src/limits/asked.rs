//! What a request asks of limits.

use std::sync::Arc;

use arrayvec::ArrayVec;
use events_schema::snapshot::entries::ArchivedKeyEntry;
use gateway_policy::{
    EntryId, Facts, Measure, Rule, RuleLimit,
    limits::{
        counter::{CutOff, Mode, Terms, WhenCutOff},
        message::CounterId,
        period::Period,
    },
};

use super::MOST_LIMITS;

/// A gateway never refuses a request since NATS is away: when it has heard nothing for ten seconds (five in which a share
/// holds, and as long again), each limit is its own.
const CUT_OFF: CutOff = CutOff {
    after_us: 5_000_000,
    then: WhenCutOff::Alone,
};

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
    pub(super) terms: Terms,
    pub(super) cost: u64,
}

/// What a request asks of all limits that concern it.
#[derive(Debug, Clone)]
pub struct Asked<'r> {
    of: ArrayVec<OfLimit, MOST_LIMITS>,
    rule: Option<&'r Rule>,
    /// What it will use, as estimated.
    tokens: u64,
}

impl<'r> Asked<'r> {
    /// Nothing yet, of a request that will use about so many tokens.
    #[must_use]
    pub fn new(tokens: u64) -> Self {
        Self {
            of: ArrayVec::new(),
            rule: None,
            tokens,
        }
    }

    /// Whether no limit concerns it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OfLimit> {
        self.of.iter()
    }

    /// Asks the limits of its key.
    pub fn of_key(&mut self, key: &ArchivedKeyEntry) {
        let own = [
            (Measure::Requests, &key.requests_per_minute),
            (Measure::Tokens, &key.tokens_per_minute),
        ];
        for (measure, most) in own {
            if let Some(most) = most.as_ref() {
                self.key(key.id, measure, most.to_native());
            }
        }
    }

    pub(super) fn key(&mut self, key: EntryId, measure: Measure, most: u64) {
        let limit = RuleLimit {
            measure,
            period: Period::SlidingMinute,
            most,
        };
        self.limit(key, [0; 16], limit, Mode::Enforce);
    }

    /// Asks the limits of a policy's rule.
    pub fn of_rule(&mut self, rule: &'r Rule, facts: &Facts<'_>) {
        let segment = rule.segment(facts);
        let mode = if rule.audits {
            Mode::Audit
        } else {
            Mode::Enforce
        };
        for limit in rule.limits(&segment) {
            self.limit(rule.id, segment, *limit, mode);
        }
        self.rule = Some(rule);
    }

    /// Of more limits than there is room for the others are not asked: rules have eight at most.
    pub(super) fn limit(&mut self, of: EntryId, segment: EntryId, limit: RuleLimit, mode: Mode) {
        let RuleLimit {
            measure,
            period,
            most,
        } = limit;
        // An estimate makes no request impossible: it reserves the whole limit at most.
        let cost = match measure {
            Measure::Requests => 1,
            Measure::Tokens => self.tokens.min(most).max(1),
        };
        let _ = self.of.try_push(OfLimit {
            id: CounterId {
                rule: of,
                measure,
                period,
                segment,
            },
            terms: Terms {
                most,
                mode,
                cut_off: Some(CUT_OFF),
            },
            cost,
        });
    }

    /// Whose limit a counter is.
    pub(super) fn by(&self, counter: &CounterId) -> By {
        match self.rule {
            Some(rule) if rule.id == counter.rule => By::Policy(Arc::clone(&rule.name)),
            Some(_) | None => By::Key,
        }
    }
}

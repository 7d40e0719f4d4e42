//! What a rule must be so that it can be followed, as far as the rule alone says it: whether what it names is there, only the
//! state knows.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, Choice, LimitSegment, LimitUnit,
        LimitWindow, ModelRef, Override, RateLimit, RateLimitRule, SegmentValue, When,
    },
    names::MetadataKey,
};

/// How many a rule names of one kind, as in a grant.
const MOST_LISTED: usize = 1_000;
/// How many conditions on metadata there may be: as many as a request can carry.
pub const MOST_CONDITIONS: usize = 16;
/// How long a value of such a condition may be, in characters: as long as what a request can carry.
pub const LONGEST_VALUE: usize = 128;
/// The more segments, the more counters.
const MOST_SEGMENTS: usize = 2;
/// Each is looked at for every request.
const MOST_LIMITS: usize = 8;
/// Each is told to operators by itself.
const MOST_ALERTS: usize = 8;

/// What is wrong with a rule of a rate-limit policy or a budget policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A limit that no request passes.
    #[error("A limit is at least 1")]
    NoLimit,
    /// A list that is too long.
    #[error("A policy names at most 1,000 of them, and this one names {count}")]
    Listed {
        /// How many it lists.
        count: usize,
        /// Where.
        field: &'static str,
    },
    /// Too many counters.
    #[error("A policy applies per two things at most, and this one per {0}")]
    Segments(usize),
    /// More conditions than a request can meet.
    #[error("A policy has at most 16 conditions on metadata, and this one has {0}")]
    Conditions(usize),
    /// A value that no request can have.
    #[error("A value of metadata has at most 128 characters")]
    LongValue,
    /// No limit, or more than are looked at.
    #[error("There are 1 to 8 limits, and here are {0}")]
    Limits(usize),
    /// What is under way is requests.
    #[error("At a time only requests are limited: tokens need a minute, an hour or a day")]
    TokensAtATime,
    /// Which of them holds?
    #[error("There is one limit of each unit and window, and here are two of {0}")]
    LimitTwice(String),
    /// Too many exceptions.
    #[error("A policy has other limits for at most 1,000, and this one for {0}")]
    Overrides(usize),
    /// It is for no counter of the rule.
    #[error("Other limits are for one of each that the policy applies per: {0}")]
    OverrideOf(String),
    /// Which of them holds?
    #[error("There are two other limits for one counter")]
    OverrideTwice,
    /// It is no model that has a counter.
    #[error(
        "A model that has a counter of its own is a model or a virtual model, not a provider account"
    )]
    OverrideOfAccount,
    /// A key is not named in a rule.
    #[error(
        "Single keys have no other limits than those of all keys, and those that are their own"
    )]
    OverrideOfKey,
    /// More than operators would read.
    #[error("A budget has at most 8 thresholds, and this one has {0}")]
    Alerts(usize),
    /// It is no part of a limit.
    #[error("A threshold is 1 to 100 percent, and this one is {0}")]
    Threshold(u8),
}

/// One of a rule's limits.
trait Limit: Ord {
    /// What it counts, and in which time, in words: of each there is one.
    fn kind(&self) -> (&'static str, &'static str);

    /// How much of it may be used in that time.
    fn most(&self) -> u64;

    /// Whether there is such a count.
    fn can_be_counted(&self) -> bool;
}

// === impl Fault ===

impl Fault {
    /// The field of a command that it belongs to.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NoLimit | Self::Limits(_) | Self::LimitTwice(_) | Self::TokensAtATime => {
                "rule.limits"
            }
            Self::Listed { field, .. } => field,
            Self::Segments(_) => "rule.applies_per",
            Self::Conditions(_) | Self::LongValue => "rule.when.metadata",
            Self::Overrides(_)
            | Self::OverrideOf(_)
            | Self::OverrideTwice
            | Self::OverrideOfAccount
            | Self::OverrideOfKey => "rule.overrides",
            Self::Alerts(_) | Self::Threshold(_) => "rule.alerts",
        }
    }
}

/// Whether a rule of a rate-limit policy can be followed.
///
/// # Errors
/// The first [`Fault`] that it has.
pub fn check_rate_limit(rule: &RateLimitRule) -> Result<(), Fault> {
    let RateLimitRule {
        when,
        applies_per,
        limits,
        overrides,
        mode: _,
        when_cut_off: _,
    } = rule;
    check(when, applies_per, limits, overrides)
}

/// Whether a rule of a budget policy can be followed.
///
/// # Errors
/// The first [`Fault`] that it has.
pub fn check_budget(rule: &BudgetRule) -> Result<(), Fault> {
    let BudgetRule {
        when,
        applies_per,
        limits,
        overrides,
        mode: _,
        when_cut_off: _,
        alerts,
    } = rule;
    thresholds_hold(alerts)?;
    check(when, applies_per, limits, overrides)
}

fn thresholds_hold(alerts: &BTreeSet<u8>) -> Result<(), Fault> {
    if alerts.len() > MOST_ALERTS {
        return Err(Fault::Alerts(alerts.len()));
    }
    match alerts.iter().find(|percent| !(1..=100).contains(*percent)) {
        Some(percent) => Err(Fault::Threshold(*percent)),
        None => Ok(()),
    }
}

fn check<L: Limit>(
    when: &When,
    applies_per: &BTreeSet<LimitSegment>,
    limits: &BTreeSet<L>,
    overrides: &BTreeSet<Override<L>>,
) -> Result<(), Fault> {
    if applies_per.len() > MOST_SEGMENTS {
        return Err(Fault::Segments(applies_per.len()));
    }
    limits_hold(limits)?;
    if overrides.len() > MOST_LISTED {
        return Err(Fault::Overrides(overrides.len()));
    }
    let mut of: Vec<_> = overrides.iter().map(|it| &it.of).collect();
    of.dedup();
    if of.len() < overrides.len() {
        return Err(Fault::OverrideTwice);
    }
    for other in overrides {
        is_of_a_counter(applies_per, &other.of)?;
        limits_hold(&other.limits)?;
    }
    conditions_can_be_met(&when.metadata)?;
    named(&when.subjects, "rule.when.subjects")?;
    named(&when.models, "rule.when.models")
}

fn limits_hold<L: Limit>(limits: &BTreeSet<L>) -> Result<(), Fault> {
    if !(1..=MOST_LIMITS).contains(&limits.len()) {
        return Err(Fault::Limits(limits.len()));
    }
    if limits.iter().any(|it| it.most() == 0) {
        return Err(Fault::NoLimit);
    }
    if !limits.iter().all(Limit::can_be_counted) {
        return Err(Fault::TokensAtATime);
    }
    let mut kinds = BTreeSet::new();
    match limits.iter().map(Limit::kind).find(|it| !kinds.insert(*it)) {
        None => Ok(()),
        Some((unit, window)) => Err(Fault::LimitTwice(format!("{unit} {window}"))),
    }
}

fn is_of_a_counter(
    applies_per: &BTreeSet<LimitSegment>,
    of: &BTreeSet<SegmentValue>,
) -> Result<(), Fault> {
    if applies_per.contains(&LimitSegment::Key) {
        return Err(Fault::OverrideOfKey);
    }
    let segments: BTreeSet<_> = of.iter().map(SegmentValue::segment).collect();
    if segments != *applies_per || segments.len() != of.len() || segments.is_empty() {
        let per: Vec<_> = applies_per.iter().map(segment_name).collect();
        return Err(Fault::OverrideOf(per.join(", ")));
    }
    of.iter().try_for_each(|value| match value {
        SegmentValue::Model(ModelRef::ProviderAccount(_)) => Err(Fault::OverrideOfAccount),
        SegmentValue::Metadata { value, .. } => can_be_had(value),
        SegmentValue::User(_)
        | SegmentValue::VirtualAccount(_)
        | SegmentValue::Model(ModelRef::Model(_) | ModelRef::VirtualModel(_))
        | SegmentValue::Team(_) => Ok(()),
    })
}

/// What has a counter of its own, in words: of metadata the key.
#[must_use]
pub fn segment_name(segment: &LimitSegment) -> String {
    match segment {
        LimitSegment::User => "user".to_owned(),
        LimitSegment::VirtualAccount => "virtual account".to_owned(),
        LimitSegment::Model => "model".to_owned(),
        LimitSegment::Metadata(key) => key.to_string(),
        LimitSegment::Team => "team".to_owned(),
        LimitSegment::Key => "key".to_owned(),
    }
}

fn conditions_can_be_met(conditions: &BTreeMap<MetadataKey, Choice<String>>) -> Result<(), Fault> {
    if conditions.len() > MOST_CONDITIONS {
        return Err(Fault::Conditions(conditions.len()));
    }
    for values in conditions.values() {
        named(values, "rule.when.metadata")?;
        values.named().try_for_each(|value| can_be_had(value))?;
    }
    Ok(())
}

fn can_be_had(value: &str) -> Result<(), Fault> {
    if value.chars().count() > LONGEST_VALUE {
        return Err(Fault::LongValue);
    }
    Ok(())
}

fn named<T: Ord>(choice: &Choice<T>, field: &'static str) -> Result<(), Fault> {
    let count = choice.within.len().max(choice.not_in.len());
    if count > MOST_LISTED {
        return Err(Fault::Listed { count, field });
    }
    Ok(())
}

impl Limit for RateLimit {
    fn kind(&self) -> (&'static str, &'static str) {
        let unit = match self.unit {
            LimitUnit::Requests => "requests",
            LimitUnit::Tokens => "tokens",
        };
        let window = match self.window {
            LimitWindow::Minute => "a minute",
            LimitWindow::Hour => "an hour",
            LimitWindow::Day => "a day",
            LimitWindow::AtATime => "at a time",
        };
        (unit, window)
    }

    fn most(&self) -> u64 {
        self.limit
    }

    fn can_be_counted(&self) -> bool {
        match (self.window, self.unit) {
            (LimitWindow::Minute | LimitWindow::Hour | LimitWindow::Day, _)
            | (LimitWindow::AtATime, LimitUnit::Requests) => true,
            (LimitWindow::AtATime, LimitUnit::Tokens) => false,
        }
    }
}

impl Limit for BudgetLimit {
    fn kind(&self) -> (&'static str, &'static str) {
        let amount = match self.amount {
            BudgetAmount::Cost(_) => "cost",
            BudgetAmount::Tokens(_) => "tokens",
        };
        let window = match self.window {
            BudgetWindow::Day => "a day",
            BudgetWindow::Week => "a week",
            BudgetWindow::Month => "a month",
            BudgetWindow::Quarter => "a quarter",
        };
        (amount, window)
    }

    fn most(&self) -> u64 {
        match self.amount {
            BudgetAmount::Cost(cost) => cost.nanos(),
            BudgetAmount::Tokens(tokens) => tokens,
        }
    }

    fn can_be_counted(&self) -> bool {
        true
    }
}

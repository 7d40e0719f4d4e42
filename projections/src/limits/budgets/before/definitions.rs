//! Since when budget policies count what they count, out of the history.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use async_nats::jetstream;
use events_schema::{
    envelope::Envelope,
    events::Stream,
    id::BudgetPolicyId,
    state::{BudgetPolicy, Organisation},
    subjects,
    time::Timestamp,
};
use gateway_policy::{
    EntryId, Measure, RuleLimit, Rules,
    limits::{message::CounterId, period::Period},
};
use tokio::sync::watch;

use crate::{
    fold::{Fold, FoldError},
    reader::{ReadError, Reader, look},
};

/// An event of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limits::budgets) struct Since {
    /// Its position: requests that were decided on by an older configuration did not count for what it says.
    pub(in crate::limits::budgets) position: u64,
    /// When it was recorded.
    pub(in crate::limits::budgets) at: Timestamp,
}

/// When a limit came, when it went, when it came again, and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::limits::budgets) struct Had(Vec<Since>);

/// When there was a limit on what in which time.
type Limits = BTreeMap<(Measure, Period), Had>;

/// What a policy counts, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// Since when it matches the requests that it matches now, with the counters that it has now.
    pub(super) matches: Since,
    /// Whether it matches none.
    pub(super) is_disabled: bool,
    /// The limits of most of its counters.
    limits: Limits,
    /// Those of counters that have others, or have had.
    limits_apart: BTreeMap<EntryId, Limits>,
}

/// All budget policies, as of one position of the history.
#[derive(Debug, Clone, Default)]
pub(super) struct Definitions {
    /// The configuration.
    pub(super) state: Organisation,
    /// Those policies that are there.
    pub(super) policies: Arc<BTreeMap<BudgetPolicyId, Definition>>,
}

/// Why the history cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("EVENTS cannot be read")]
    Read(#[from] ReadError),
    #[error("the history cannot be followed")]
    Fold(#[from] FoldError),
}

/// Reads the history, tells what policies count once it has been read to its end, and again after each event.
///
/// # Errors
/// When `EVENTS` cannot be read, or holds what cannot be followed. What was told last stays.
pub(super) async fn follow(
    context: &jetstream::Context,
    tell: &watch::Sender<Option<Arc<Definitions>>>,
) -> Result<Infallible, Error> {
    let end = look(context, subjects::EVENTS).await?.last;
    let mut events = Reader::open(context, subjects::EVENTS, None).await?;
    let mut fold = Fold::new();
    let mut policies = Arc::<BTreeMap<_, _>>::default();
    loop {
        if fold.position() >= end {
            tell.send_replace(Some(Arc::new(Definitions {
                state: fold.organisation().clone(),
                policies: Arc::clone(&policies),
            })));
        }
        let delivered = events.next().await?;
        let envelope = fold.read(delivered.sequence, &delivered.message.payload)?;
        let Stream::BudgetPolicy(id) = envelope.stream else {
            fold.apply(&envelope)?;
            continue;
        };
        let policy = |fold: &Fold| fold.organisation().budget_policies().get(&id).cloned();
        let before = policy(&fold);
        fold.apply(&envelope)?;
        let policies = Arc::make_mut(&mut policies);
        note(
            policies,
            id,
            &envelope,
            before.as_ref(),
            policy(&fold).as_ref(),
        );
    }
}

/// Something has happened to a policy.
fn note(
    policies: &mut BTreeMap<BudgetPolicyId, Definition>,
    id: BudgetPolicyId,
    event: &Envelope,
    before: Option<&BudgetPolicy>,
    now: Option<&BudgetPolicy>,
) {
    let Some(now) = now else {
        policies.remove(&id);
        return;
    };
    let since = Since {
        position: event.position,
        at: event.recorded_at,
    };
    let definition = policies.entry(id).or_insert_with(|| Definition {
        matches: since,
        is_disabled: false,
        limits: Limits::new(),
        limits_apart: BTreeMap::new(),
    });
    let matches_as_before = before.is_some_and(|before| {
        before.rule.when == now.rule.when
            && before.rule.applies_per == now.rule.applies_per
            && (now.disabled || !before.disabled)
    });
    if !matches_as_before {
        definition.matches = since;
    }
    definition.is_disabled = now.disabled;
    definition.follow(now, since);
}

impl Definition {
    /// When a counter had a limit.
    pub(super) fn had(&self, counter: &CounterId) -> Option<&Had> {
        let apart = self.limits_apart.get(&counter.segment);
        let limits = apart.unwrap_or(&self.limits);
        limits.get(&(counter.measure, counter.period))
    }

    /// In which times it has ever counted.
    pub(super) fn periods(&self) -> impl Iterator<Item = Period> {
        let all = self.limits_apart.values().chain([&self.limits]);
        all.flat_map(|it| it.keys()).map(|(_, period)| *period)
    }

    /// When limits came or went.
    pub(super) fn changes(&self) -> impl Iterator<Item = (Period, Since)> {
        let all = self.limits_apart.values().chain([&self.limits]);
        let all = all.flatten();
        all.flat_map(|((_, period), had)| had.0.iter().map(|since| (*period, *since)))
    }

    /// A policy is like this now.
    fn follow(&mut self, now: &BudgetPolicy, since: Since) {
        // Whatever is disabled is not compiled.
        let enabled = BudgetPolicy {
            disabled: false,
            ..now.clone()
        };
        let rules = Rules::of_budget_policies([&enabled]);
        let Some(rule) = rules.of(&now.id.bytes()) else {
            return;
        };
        for segment in rule.segments_apart() {
            // Until now it had the limits of all.
            let limits = &self.limits;
            let apart = self.limits_apart.entry(*segment);
            apart.or_insert_with(|| limits.clone());
        }
        let common = now.rule.limits.iter().map(|it| RuleLimit::from(*it));
        has(&mut self.limits, common, since);
        for (segment, limits) in &mut self.limits_apart {
            has(limits, rule.limits(segment).iter().copied(), since);
        }
    }
}

/// These limits are there since then, and no others.
fn has(limits: &mut Limits, now: impl Iterator<Item = RuleLimit>, since: Since) {
    let now: BTreeSet<(Measure, Period)> = now.map(|it| (it.measure, it.period)).collect();
    for of in &now {
        limits.entry(*of).or_default();
    }
    for (of, had) in limits {
        if had.is_there() != now.contains(of) {
            had.0.push(since);
        }
    }
}

impl Had {
    /// Whether it is there now.
    const fn is_there(&self) -> bool {
        self.0.len() % 2 == 1
    }

    /// Whether it was there for requests that were decided on at this position.
    pub(in crate::limits::budgets) fn at(&self, position: u64) -> bool {
        let until = self.0.partition_point(|it| it.position <= position);
        until % 2 == 1
    }

    /// When it came or went.
    pub(in crate::limits::budgets) fn changes(&self) -> &[Since] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use events_schema::{
        events::{
            BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, LimitMode, LimitSegment, Override,
            SegmentValue, When, WhenCutOff,
        },
        id::UserId,
        money::NanoUsd,
        state::Life,
    };

    use super::*;

    const POLICY: BudgetPolicyId = BudgetPolicyId::from_bytes([1; 16]);

    fn at(position: u64) -> Since {
        Since {
            position,
            at: Timestamp::MIN,
        }
    }

    fn limits(windows: &[BudgetWindow]) -> BTreeSet<BudgetLimit> {
        let limit = |window: &BudgetWindow| BudgetLimit {
            amount: BudgetAmount::Cost(NanoUsd::new(1)),
            window: *window,
        };
        windows.iter().map(limit).collect()
    }

    /// A policy per user, with these limits, and with others for some.
    fn policy(common: &[BudgetWindow], apart: &[(u8, &[BudgetWindow])]) -> BudgetPolicy {
        let overrides = apart.iter().map(|(user, windows)| Override {
            of: BTreeSet::from([SegmentValue::User(UserId::from_bytes([*user; 16]))]),
            limits: limits(windows),
        });
        BudgetPolicy {
            id: POLICY,
            life: Life {
                version: 1,
                created_at: Timestamp::MIN,
                changed_at: Timestamp::MIN,
                position: 1,
            },
            name: "all".parse().expect("a slug"),
            order: 0,
            rule: BudgetRule {
                when: When::default(),
                applies_per: BTreeSet::from([LimitSegment::User]),
                limits: limits(common),
                overrides: overrides.collect(),
                mode: LimitMode::Enforce,
                when_cut_off: WhenCutOff::Open,
                alerts: BTreeSet::new(),
            },
            disabled: false,
        }
    }

    /// At which of the positions 1 to 5 a user had a limit a day.
    fn days(definition: &Definition, user: u8) -> Vec<u64> {
        let counter = CounterId {
            rule: POLICY.bytes(),
            measure: Measure::Cost,
            period: Period::Day,
            segment: [user; 16],
        };
        let had = definition.had(&counter);
        let had = |position: &u64| had.is_some_and(|it| it.at(*position));
        (1..=5).filter(had).collect()
    }

    fn history(policies: &[BudgetPolicy]) -> Definition {
        let mut definition = Definition {
            matches: at(1),
            is_disabled: false,
            limits: Limits::new(),
            limits_apart: BTreeMap::new(),
        };
        for (position, policy) in (1..).zip(policies) {
            definition.follow(policy, at(position));
        }
        definition
    }

    #[test]
    fn each_counter_has_its_limits_since_they_are_its_own() {
        use BudgetWindow::{Day, Month};
        let definition = history(&[
            policy(&[Month], &[]),
            policy(&[Month], &[(1, &[Day])]),
            policy(&[Month], &[(1, &[Day]), (2, &[Day])]),
        ]);
        assert_eq!(days(&definition, 1), [2, 3, 4, 5]);
        assert_eq!(days(&definition, 2), [3, 4, 5]);
        assert!(days(&definition, 3).is_empty());
    }

    #[test]
    fn a_limit_that_went_and_came_again_was_not_there_meanwhile() {
        use BudgetWindow::{Day, Month};
        let definition = history(&[
            policy(&[Day, Month], &[]),
            policy(&[Month], &[]),
            policy(&[Month], &[(1, &[Day])]),
            policy(&[Month], &[]),
            policy(&[Day], &[]),
        ]);
        assert_eq!(days(&definition, 1), [1, 3, 5]);
        assert_eq!(days(&definition, 2), [1, 5]);
    }
}

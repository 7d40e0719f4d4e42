//! What was used of budgets before gateways counted it: by requests that were decided on before the policy was there, matched
//! what it matches now, or had this limit.
//!
//! Each request was decided on at a position of the history, which its record says. So what gateways count for a policy and what is
//! found here never overlap, and nothing lies between them. Who was in which team, and what a virtual model stands before, is
//! taken as it is now.

mod definitions;
mod matched;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream;
use events_schema::{id::BudgetPolicyId, time::Timestamp};
use gateway_policy::limits::lease::BudgetId;
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::definitions::Had;
use self::{
    definitions::{Definition, Definitions, Since, follow},
    matched::{AT_ONCE, Matched, ask},
};
use crate::warehouse::{Warehouse, WarehouseError};

/// A gateway may speak of a policy so long before it is heard of here: both hear of it from `EVENTS`.
const UNHEARD_OF: Duration = Duration::from_millis(250);
/// How soon the ledger is asked again about a new policy. Records arrive within a second, those of gateways that were cut off
/// whenever they come back: so it is asked again each time that a quarter more of the policy's age has passed.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two questions to a ledger that does not answer, or two readings of a history that cannot be read.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long after a policy became what it is requests may still be decided on without it: at gateways that are cut off and serve what
/// they know.
const DECIDED_LATE_US: i64 = 7 * 86_400_000_000;
/// The longest time between two questions about a policy that were not answered.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is known of a policy.
struct Known {
    /// As what it was asked about.
    of: Since,
    used: BTreeMap<BudgetId, u64>,
    again_at: Instant,
}

/// A question to the ledger that is under way.
struct Asking {
    of: BTreeMap<BudgetPolicyId, Since>,
    /// Whether prices have been corrected since it was asked.
    is_old: bool,
    answer: AbortOnDropHandle<Result<Matched, WarehouseError>>,
}

/// Of a question that was not answered.
#[derive(Clone, Copy)]
struct Failed {
    pause: Duration,
    again_at: Instant,
}

/// What was used before.
pub(super) struct Before {
    warehouse: Warehouse,
    definitions: watch::Receiver<Option<Arc<Definitions>>>,
    /// Reads the history for as long as this is wanted.
    _reading: AbortOnDropHandle<()>,
    /// Since when policies match what they match, as was noted last; `None`: nothing was.
    noted: Option<BTreeMap<BudgetPolicyId, Since>>,
    known: BTreeMap<BudgetPolicyId, Known>,
    failed: BTreeMap<BudgetPolicyId, Failed>,
    asking: Option<Asking>,
    ask_at: Instant,
}

// === impl Before ===

impl Before {
    /// Begins to read the history.
    pub(super) fn begin(context: jetstream::Context, warehouse: Warehouse) -> Self {
        let (tell, definitions) = watch::channel(None);
        let reading = tokio::spawn(async move {
            loop {
                let Err(error) = follow(&context, &tell).await;
                let error = crate::feed::chain(&error);
                tracing::warn!(error, "what budget policies count is not known");
                sleep(AFTER_ERROR).await;
            }
        });
        Self {
            warehouse,
            definitions,
            _reading: AbortOnDropHandle::new(reading),
            noted: None,
            known: BTreeMap::new(),
            failed: BTreeMap::new(),
            asking: None,
            ask_at: Instant::now(),
        }
    }

    /// Whether the history has been read.
    pub(super) fn has_begun(&self) -> bool {
        self.definitions.borrow().is_some()
    }

    /// When a budget had its limit; `None`: that was not heard of.
    pub(super) fn had(&self, budget: &BudgetId) -> Option<Had> {
        let definitions = self.definitions.borrow();
        let definition = definition(definitions.as_ref(), budget)?;
        definition.had(&budget.counter).cloned()
    }

    /// Whether a budget's limit came in its window, so that it may be lacking what was counted before.
    pub(super) fn is_of_new_limit(&self, budget: &BudgetId) -> bool {
        let had = self.had(budget);
        had.is_some_and(|it| it.changes().iter().any(|it| it.at >= begins(budget)))
    }

    /// Whether no more is to be waited for to know what was used before, about a budget that was spoken of so long ago.
    pub(super) fn is_ready(&self, budget: &BudgetId, since: Duration, wall: Timestamp) -> bool {
        let definitions = self.definitions.borrow();
        let Some(definitions) = definitions.as_ref() else {
            return false;
        };
        let definition = definition(Some(definitions), budget);
        match definition.filter(|it| it.had(&budget.counter).is_some()) {
            None => since > UNHEARD_OF,
            Some(it) => {
                it.is_disabled || !is_current(budget, wall) || self.used(budget, wall).is_some()
            }
        }
    }

    /// What requests used that did not count at the budget; `None`: that is not known, or not any more.
    pub(super) fn used(&self, budget: &BudgetId, wall: Timestamp) -> Option<u64> {
        let definitions = self.definitions.borrow();
        let definition = definition(definitions.as_ref(), budget)?;
        if definition.is_disabled || !is_current(budget, wall) {
            return None;
        }
        if definition.matches.at.plus_micros(DECIDED_LATE_US) < begins(budget) {
            return Some(0);
        }
        let known = self.known.get(&policy(budget));
        let known = known.filter(|it| it.of == definition.matches)?;
        Some(known.used.get(budget).copied().unwrap_or(0))
    }

    /// The policies that match something else than when this was called last, and those that are new since: a gateway may have spoken
    /// of them before.
    pub(super) fn changed(&mut self) -> BTreeSet<BudgetPolicyId> {
        if !self.definitions.has_changed().unwrap_or(false) {
            return BTreeSet::new();
        }
        let Some(definitions) = self.definitions.borrow_and_update().clone() else {
            return BTreeSet::new();
        };
        let now = definitions.policies.iter();
        let now: BTreeMap<_, _> = now.map(|(id, it)| (*id, it.matches)).collect();
        let changed = differing(self.noted.as_ref(), &now);
        self.noted = Some(now);
        changed
    }

    /// Asks the ledger, where something is to be asked and nothing is being asked.
    pub(super) fn ask(&mut self, wall: Timestamp) {
        let now = Instant::now();
        if self.asking.is_some() || now < self.ask_at {
            return;
        }
        let Some(definitions) = self.definitions.borrow().clone() else {
            return;
        };
        let is_there = |id: &BudgetPolicyId| definitions.policies.contains_key(id);
        self.known.retain(|id, _| is_there(id));
        self.failed.retain(|id, _| is_there(id));
        let due = definitions.policies.iter().filter(|(id, definition)| {
            let known = self.known.get(id).filter(|it| it.of == definition.matches);
            let failed = self.failed.get(id);
            is_of_now(definition, wall)
                && known.is_none_or(|it| it.again_at <= now)
                && failed.is_none_or(|it| it.again_at <= now)
        });
        // One that was not answered may be too much, and is asked alone.
        let mut due: Vec<_> = due.map(|(id, it)| (*id, it.matches)).collect();
        due.sort_by_key(|(id, _)| self.failed.contains_key(id));
        let mut of = BTreeMap::new();
        for (id, since) in due {
            let is_alone = self.failed.contains_key(&id);
            if of.len() == AT_ONCE || (is_alone && !of.is_empty()) {
                break;
            }
            of.insert(id, since);
            if is_alone {
                break;
            }
        }
        if of.is_empty() {
            // What is new is heard of in between.
            self.ask_at = now + UNHEARD_OF / 2;
            return;
        }
        let policies: BTreeSet<_> = of.keys().copied().collect();
        let warehouse = self.warehouse.clone();
        // On a task of its own: it may go through millions of rows.
        let answer =
            tokio::spawn(async move { ask(&warehouse, definitions, policies, wall).await });
        self.asking = Some(Asking {
            of,
            is_old: false,
            answer: AbortOnDropHandle::new(answer),
        });
    }

    /// What was used is to be asked for once more: prices were corrected.
    pub(super) fn ask_again(&mut self) {
        let now = Instant::now();
        for known in self.known.values_mut() {
            known.again_at = now;
        }
        if let Some(asking) = &mut self.asking {
            asking.is_old = true;
        }
    }

    /// Waits for the answer to what was asked; for ever, where nothing was. Returns the policies of which something is known now.
    pub(super) async fn answered(&mut self, wall: Timestamp) -> BTreeSet<BudgetPolicyId> {
        let Some(asking) = &mut self.asking else {
            return pending().await;
        };
        let answer = (&mut asking.answer).await;
        let now = Instant::now();
        let Some(Asking { of, is_old, .. }) = self.asking.take() else {
            return BTreeSet::new();
        };
        let mut matched = match answer {
            Ok(Ok(matched)) => matched,
            Ok(Err(error)) => {
                self.was_not_answered(of, &crate::feed::chain(&error));
                return BTreeSet::new();
            }
            Err(error) => {
                self.was_not_answered(of, &error.to_string());
                return BTreeSet::new();
            }
        };
        for (id, since) in &of {
            self.failed.remove(id);
            let age = Duration::from_micros(wall.micros_since(since.at));
            let later = if is_old {
                Duration::ZERO
            } else {
                AGAIN.max(age / 4)
            };
            let known = Known {
                of: *since,
                used: matched.remove(id).unwrap_or_default(),
                again_at: now + later,
            };
            self.known.insert(*id, known);
        }
        of.into_keys().collect()
    }

    fn was_not_answered(&mut self, of: BTreeMap<BudgetPolicyId, Since>, error: &str) {
        tracing::warn!(
            error,
            "what was used before budgets counted it is not known"
        );
        let now = Instant::now();
        for id in of.into_keys() {
            let before = self.failed.get(&id).map(|it| it.pause * 2);
            let pause = before.unwrap_or(AFTER_ERROR).min(LONGEST_PAUSE);
            let again_at = now + pause;
            self.failed.insert(id, Failed { pause, again_at });
        }
    }
}

/// The policies that match something else now, or did not match anything before; none, where nothing was known before.
fn differing(
    before: Option<&BTreeMap<BudgetPolicyId, Since>>,
    now: &BTreeMap<BudgetPolicyId, Since>,
) -> BTreeSet<BudgetPolicyId> {
    let Some(before) = before else {
        return BTreeSet::new();
    };
    let differing = now
        .iter()
        .filter(|(id, since)| before.get(id) != Some(since));
    differing.map(|(id, _)| *id).collect()
}

/// Whose budget it is.
pub(super) const fn policy(budget: &BudgetId) -> BudgetPolicyId {
    BudgetPolicyId::from_bytes(budget.counter.rule)
}

fn definition<'d>(
    definitions: Option<&'d Arc<Definitions>>,
    budget: &BudgetId,
) -> Option<&'d Definition> {
    definitions?.policies.get(&policy(budget))
}

/// When a budget's window begins.
fn begins(budget: &BudgetId) -> Timestamp {
    budget.counter.period.slot_begins(budget.slot)
}

/// Whether its window is the one of the moment. Of those that are over nothing more is asked.
fn is_current(budget: &BudgetId, wall: Timestamp) -> bool {
    budget.counter.period.slot_at(wall) == budget.slot
}

/// Whether in one of the windows of the moment requests may have been decided on before a policy became what it is, or was given or
/// lost a limit.
fn is_of_now(definition: &Definition, wall: Timestamp) -> bool {
    if definition.is_disabled {
        return false;
    }
    let matches_until = definition.matches.at.plus_micros(DECIDED_LATE_US);
    let mut periods = definition.periods();
    let mut changes = definition.changes();
    periods.any(|it| it.window_began(wall) <= matches_until)
        || changes.any(|(it, since)| it.window_began(wall) <= since.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(of: &[(u8, u64)]) -> BTreeMap<BudgetPolicyId, Since> {
        let since = |position: u64| Since {
            position,
            at: Timestamp::MIN,
        };
        let of = of.iter();
        of.map(|(id, position)| (BudgetPolicyId::from_bytes([*id; 16]), since(*position)))
            .collect()
    }

    #[test]
    fn policies_that_match_something_else_and_new_ones_differ_from_what_was_there() {
        let before = policies(&[(1, 10), (2, 20), (3, 30)]);
        let now = policies(&[(1, 10), (2, 40), (4, 50)]);
        let ids = |ids: [u8; 2]| BTreeSet::from(ids.map(|it| BudgetPolicyId::from_bytes([it; 16])));
        assert_eq!(differing(Some(&before), &now), ids([2, 4]));
        // What is read of the history first is no news: nothing was lent by anything else.
        assert_eq!(differing(None, &now), BTreeSet::new());
    }
}

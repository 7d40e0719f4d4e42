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
    answer: AbortOnDropHandle<Result<Matched, WarehouseError>>,
}

/// What was used before.
pub(super) struct Before {
    warehouse: Warehouse,
    definitions: watch::Receiver<Option<Arc<Definitions>>>,
    /// Reads the history for as long as this is wanted.
    _reading: AbortOnDropHandle<()>,
    known: BTreeMap<BudgetPolicyId, Known>,
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
            known: BTreeMap::new(),
            asking: None,
            ask_at: Instant::now(),
        }
    }

    /// Before which position requests that counted at a budget did so when it had no such limit: gateways have not counted them in
    /// this window.
    pub(super) fn counted_since(&self, budget: &BudgetId) -> u64 {
        let definitions = self.definitions.borrow();
        let definition = definition(definitions.as_ref(), budget);
        definition.map_or(0, |it| limit_since(it, budget).map_or(0, |it| it.position))
    }

    /// Whether a budget's limit came in its window, so that it may be lacking what was counted before.
    pub(super) fn is_of_new_limit(&self, budget: &BudgetId) -> bool {
        let definitions = self.definitions.borrow();
        let since = definition(definitions.as_ref(), budget).and_then(|it| limit_since(it, budget));
        since.is_some_and(|since| since.at >= begins(budget))
    }

    /// Whether no more is to be heard of what was used before, about a budget that was spoken of so long ago.
    pub(super) fn is_ready(&self, budget: &BudgetId, since: Duration) -> bool {
        let definitions = self.definitions.borrow();
        let is_unheard_of = definition(definitions.as_ref(), budget).is_none();
        (is_unheard_of && since > UNHEARD_OF) || self.used(budget).is_some()
    }

    /// What requests used that did not count at the budget; `None`: that is not known.
    pub(super) fn used(&self, budget: &BudgetId) -> Option<u64> {
        let definitions = self.definitions.borrow();
        let definition = definition(definitions.as_ref(), budget)?;
        if definition.matches.at < begins(budget) {
            return Some(0);
        }
        let known = self.known.get(&policy(budget));
        let known = known.filter(|it| it.of == definition.matches)?;
        Some(known.used.get(budget).copied().unwrap_or(0))
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
        self.known
            .retain(|id, _| definitions.policies.contains_key(id));
        let due = definitions.policies.iter().filter(|(id, definition)| {
            let known = self.known.get(id).filter(|it| it.of == definition.matches);
            is_of_now(definition, wall) && known.is_none_or(|it| it.again_at <= now)
        });
        let of: BTreeMap<_, _> = due
            .take(AT_ONCE)
            .map(|(id, it)| (*id, it.matches))
            .collect();
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
            answer: AbortOnDropHandle::new(answer),
        });
    }

    /// What was used is to be asked for once more: prices were corrected.
    pub(super) fn ask_again(&mut self) {
        let now = Instant::now();
        for known in self.known.values_mut() {
            known.again_at = now;
        }
    }

    /// Waits for the answer to what was asked; for ever, where nothing was. Returns the policies of which something is known now.
    pub(super) async fn answered(&mut self, wall: Timestamp) -> BTreeSet<BudgetPolicyId> {
        let Some(asking) = &mut self.asking else {
            return pending().await;
        };
        let answer = (&mut asking.answer).await;
        let now = Instant::now();
        let of = self.asking.take().map(|it| it.of).unwrap_or_default();
        let mut matched = match answer {
            Ok(Ok(matched)) => matched,
            Ok(Err(error)) => {
                let error = crate::feed::chain(&error);
                tracing::warn!(
                    error,
                    "what was used before budgets counted it is not known"
                );
                self.ask_at = now + AFTER_ERROR;
                return BTreeSet::new();
            }
            Err(error) => {
                tracing::error!(%error, "adding up what was used before budgets counted it broke off");
                self.ask_at = now + AFTER_ERROR;
                return BTreeSet::new();
            }
        };
        for (id, since) in &of {
            let age = Duration::from_micros(wall.micros_since(since.at));
            let known = Known {
                of: *since,
                used: matched.remove(id).unwrap_or_default(),
                again_at: now + AGAIN.max(age / 4),
            };
            self.known.insert(*id, known);
        }
        of.into_keys().collect()
    }
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

fn limit_since(definition: &Definition, budget: &BudgetId) -> Option<Since> {
    let of = (budget.counter.measure, budget.counter.period);
    definition.limits.get(&of).copied()
}

/// When a budget's window begins.
fn begins(budget: &BudgetId) -> Timestamp {
    budget.counter.period.slot_begins(budget.slot)
}

/// Whether a policy became what it is in one of the windows of the moment.
fn is_of_now(definition: &Definition, wall: Timestamp) -> bool {
    let mut periods = definition.limits.keys();
    periods.any(|(_, period)| period.window_began(wall) <= definition.matches.at)
}

//! What was charged for a request, to be settled once.

use std::sync::{Arc, MutexGuard};

use events_schema::{id::BudgetPolicyId, usage::BudgetCharge};
use gateway_policy::{
    Measure, SlotNumber,
    limits::{gateway::Gateway, lease::BudgetId, message::CounterId},
};
use uuid::Uuid;

use super::Limits;

/// What was charged at a counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) shard: u8,
    pub(super) id: CounterId,
    pub(super) slot: SlotNumber,
    pub(super) cost: u64,
}

/// What goes on with another reservation of the same request.
#[derive(Debug, Default)]
#[must_use = "what is not settled is held for ever"]
pub struct GoesOn(Vec<Held>);

/// What was taken from a purse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) shard: u8,
    pub(super) budget: BudgetId,
    pub(super) cost: u64,
}

/// What was charged at all counters of a request, and taken from all purses.
#[derive(Debug)]
#[must_use = "what is not settled is held for ever"]
pub struct Reservation {
    pub(super) held: Vec<Held>,
    pub(super) spent: Vec<Spent>,
}

/// What a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Tokens, input and output.
    pub tokens: u64,
    /// What they cost, in nano-dollars.
    pub cost: u64,
}

/// What was taken from purses for a request whose tokens are being counted. It settles itself when it is dropped, by what is
/// known then.
pub struct Unsettled {
    limits: Arc<Limits>,
    spent: Vec<Spent>,
    used: Settled,
}

// === impl Held ===

impl Held {
    fn is_under_way_at(&self, counter: &CounterId) -> bool {
        self.id.period.is_at_a_time() && self.id == *counter
    }
}

// === impl Reservation ===

impl Reservation {
    /// The counters of budgets at which it counts, each once.
    pub fn budgets(&self) -> impl Iterator<Item = BudgetCharge> {
        let charges = self.spent.iter().map(|spent| BudgetCharge {
            policy: BudgetPolicyId::from_bytes(spent.budget.counter.rule),
            segment: Uuid::from_bytes(spent.budget.counter.segment),
        });
        // The windows of one counter stand together.
        let mut last = None;
        charges.filter(move |charge| last.replace(*charge) != Some(*charge))
    }

    /// Whether it counts at a counter of what is under way.
    #[must_use]
    pub fn is_under_way_at(&self, counter: &CounterId) -> bool {
        self.held.iter().any(|held| held.is_under_way_at(counter))
    }

    /// It is not under way any more: gives back what counted as long as it was; returns what goes on, since another reservation
    /// of the same request has a part in it.
    pub fn is_over(&mut self, limits: &Limits, goes_on: impl Fn(&CounterId) -> bool) -> GoesOn {
        let ended = self
            .held
            .extract_if(.., |held| held.id.period.is_at_a_time());
        let (on, ended): (Vec<Held>, Vec<Held>) = ended.partition(|held| goes_on(&held.id));
        let over = Self {
            held: ended,
            spent: Vec::new(),
        };
        over.settle(limits, Settled::default());
        GoesOn(on)
    }

    /// Goes on with what another one of the same request was charged, where it has a part in it.
    pub fn goes_on_with(&mut self, other: &mut GoesOn) {
        for held in &mut self.held {
            let mine = *held;
            let charged = other.0.extract_if(.., |it| mine.is_under_way_at(&it.id));
            held.cost += charged.map(|it| it.cost).sum::<u64>();
        }
    }

    /// Settles what was reserved against what was used.
    pub fn settle(self, limits: &Limits, used: Settled) {
        let budgets = self.settle_limits(limits, used.tokens);
        settle_spent(&budgets.spent, limits, used);
    }

    /// Settles what was reserved of limits; returns what was of budgets.
    pub fn settle_limits(mut self, limits: &Limits, tokens: u64) -> Self {
        let mut locked = None;
        for held in self.held.drain(..) {
            let Held {
                shard,
                id,
                slot,
                cost,
            } = held;
            let actual = match (id.period.is_at_a_time(), id.measure) {
                (true, Measure::Requests | Measure::Tokens | Measure::Cost) => 0,
                (false, Measure::Requests | Measure::Cost) => cost,
                (false, Measure::Tokens) => tokens,
            };
            let gateway = locked_at(&mut locked, limits, shard);
            if let Some(place) = gateway.place_of(&id) {
                gateway.counters()[place].settle(slot, cost, actual);
            }
        }
        drop(locked);
        self
    }

    /// Settles what was reserved of limits at once, and what was of budgets when it is known better what was used; `None`: it
    /// has no budgets.
    #[must_use]
    pub fn settle_later(self, limits: &Arc<Limits>, used: Settled) -> Option<Unsettled> {
        let Self { spent, .. } = self.settle_limits(limits, used.tokens);
        if spent.is_empty() {
            return None;
        }
        Some(Unsettled {
            limits: Arc::clone(limits),
            spent,
            used,
        })
    }
}

/// The shard of what is settled next: mostly that of what was settled before.
fn locked_at<'g, 'l>(
    locked: &'g mut Option<(u8, MutexGuard<'l, Gateway>)>,
    limits: &'l Limits,
    shard: u8,
) -> &'g mut Gateway {
    if locked.as_ref().is_some_and(|(it, _)| *it != shard) {
        *locked = None;
    }
    let (_, gateway) = locked.get_or_insert_with(|| (shard, limits.lock(usize::from(shard))));
    gateway
}

fn settle_spent(spent: &[Spent], limits: &Limits, used: Settled) {
    let mut locked = None;
    for it in spent {
        let actual = match it.budget.counter.measure {
            Measure::Requests => it.cost,
            Measure::Tokens => used.tokens,
            Measure::Cost => used.cost,
        };
        let wallet = &mut locked_at(&mut locked, limits, it.shard).wallet;
        // It is there as long as something of it is under way.
        if let Some(place) = wallet.place_of(&it.budget) {
            wallet.change(place).settle(it.cost, actual);
        }
    }
}

// === impl Unsettled ===

impl Unsettled {
    /// What was used is known now.
    pub const fn is(&mut self, used: Settled) {
        self.used = used;
    }
}

impl std::fmt::Debug for Unsettled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = (&self.spent, &self.used);
        f.debug_tuple("Unsettled").field(&all).finish()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        settle_spent(&self.spent, &self.limits, self.used);
    }
}

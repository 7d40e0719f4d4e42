//! What counters of limits and budgets are of, where all that is told of one is a hash: of a value of the metadata, or of two things.
//!
//! The ledger's rows say what requests had that counted there, and the policy code says which counter that is; so a name is
//! found or there is none, and never a wrong one. All counters are looked for in two questions, one of them at a time in a
//! process, beside the answer that wants to tell of them: it waits [`PATIENCE`] and no longer. What was found is remembered, and
//! so is, for a while, that nothing was.

mod of;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use events_schema::{state::Organisation, time::Timestamp};
use moka::sync::Cache;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};
use uuid::Uuid;

pub use self::of::{CounterOf, CounterValue};
use self::of::{Hidden, counted_per, find};
use crate::{
    analytics::{Analytics, AnalyticsError, MOST_BUDGETS, MOST_POLICIES, Range},
    causes, clock,
};

/// How long an answer waits for names: who looks at it sees them the next time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many counters are remembered, of some hundred bytes each: several times as many as are told of at once.
const MOST_FOUND: u64 = 10_000;
/// What nobody has asked for in this time is forgotten.
const KEPT: Duration = Duration::from_secs(3_600);
/// After this it is looked again for what was not found: its request may have been under way, or its record.
const AGAIN: Duration = Duration::from_secs(60);
/// So long before a window of a rate limit began is looked as well: a minute slides, and what is under way began before. 1 h.
const BEFORE_US: i64 = 3_600_000_000;
/// Gateways' clocks may be ahead by so much: 1 min.
const AHEAD_US: i64 = 60_000_000;

/// Which counter: the policy, and which of its counters.
pub type CounterName = (Uuid, Uuid);

/// A counter that a name is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub counter: CounterName,
    /// When its window began.
    pub began_at: Timestamp,
}

/// What is known of counters. Cheap to clone.
#[derive(Clone)]
pub struct Counters {
    found: Cache<CounterName, Arc<CounterOf>>,
    missed: Cache<CounterName, ()>,
    asking: Arc<Mutex<()>>,
}

impl Default for Counters {
    fn default() -> Self {
        let found = Cache::builder().max_capacity(MOST_FOUND);
        let missed = Cache::builder().max_capacity(MOST_FOUND);
        Self {
            found: found.time_to_idle(KEPT).build(),
            missed: missed.time_to_live(AGAIN).build(),
            asking: Arc::default(),
        }
    }
}

impl Counters {
    /// What those of these counters are of that are known, or can be found in a moment. The most important ones come first.
    pub async fn of(
        &self,
        analytics: &Analytics,
        state: &Organisation,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> HashMap<CounterName, Arc<CounterOf>> {
        let hidden: Vec<Hidden> = wanted
            .into_iter()
            .filter_map(|it| Hidden::of(state, it))
            .collect();
        let lacking: Vec<Hidden> = hidden
            .iter()
            .filter(|it| self.known(it).is_none() && !self.missed.contains_key(&it.counter))
            .cloned()
            .collect();
        if !lacking.is_empty()
            && let Ok(turn) = Arc::clone(&self.asking).try_lock_owned()
        {
            let looking = self
                .clone()
                .look(analytics.clone(), state.clone(), lacking, turn);
            // It goes on when nobody waits for it any more.
            let _late = timeout(PATIENCE, tokio::spawn(looking)).await;
        }
        let known = hidden
            .iter()
            .filter_map(|it| Some((it.counter, self.known(it)?)));
        known.collect()
    }

    /// What is known of a counter, unless its policy has come to keep counters of something else.
    fn known(&self, hidden: &Hidden) -> Option<Arc<CounterOf>> {
        let found = self.found.get(&hidden.counter)?;
        hidden.could_be(&found).then_some(found)
    }

    async fn look(
        self,
        analytics: Analytics,
        state: Organisation,
        lacking: Vec<Hidden>,
        _turn: OwnedMutexGuard<()>,
    ) {
        let (budgets, rates): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|it| it.is_budget);
        let (budgets, rates) = (few_counters(budgets), of_few_policies(rates));
        let found = tokio::try_join!(
            at_budgets(&analytics, &state, &budgets),
            at_rate_limits(&analytics, &state, &rates),
        );
        match found {
            Ok((of_budgets, of_rates)) => {
                for (counter, of) in of_budgets.into_iter().chain(of_rates) {
                    self.found.insert(counter, Arc::new(of));
                }
            }
            Err(error) => {
                let error = causes::told(&error);
                tracing::warn!(error, "the ledger does not say what counters are of");
            }
        }
        for it in budgets.iter().chain(&rates) {
            if self.known(it).is_none() {
                self.missed.insert(it.counter, ());
            }
        }
    }
}

fn few_counters(mut budgets: Vec<Hidden>) -> Vec<Hidden> {
    budgets.truncate(MOST_BUDGETS);
    budgets
}

/// Those of the first policies.
fn of_few_policies(mut rates: Vec<Hidden>) -> Vec<Hidden> {
    let mut policies = BTreeSet::new();
    let is_asked = |it: &Hidden| {
        policies.contains(&it.counter.0)
            || (policies.len() < MOST_POLICIES && policies.insert(it.counter.0))
    };
    rates.retain(is_asked);
    rates
}

async fn at_budgets(
    analytics: &Analytics,
    state: &Organisation,
    hidden: &[Hidden],
) -> Result<BTreeMap<CounterName, CounterOf>, AnalyticsError> {
    let Some(range) = since(hidden, 0) else {
        return Ok(BTreeMap::new());
    };
    let names = hidden.iter().map(Hidden::budget_text).collect();
    let rows = analytics.counted_at_budgets(range, &names).await?;
    Ok(find(state, hidden, &rows))
}

async fn at_rate_limits(
    analytics: &Analytics,
    state: &Organisation,
    hidden: &[Hidden],
) -> Result<BTreeMap<CounterName, CounterOf>, AnalyticsError> {
    let Some(range) = since(hidden, BEFORE_US) else {
        return Ok(BTreeMap::new());
    };
    let policies = counted_per(hidden);
    let rows = analytics.counted_at_rate_limits(range, &policies).await?;
    Ok(find(state, hidden, &rows))
}

/// From when the first of their windows began; `None`: there are none.
fn since(hidden: &[Hidden], before_us: i64) -> Option<Range> {
    let first = hidden.iter().map(|it| it.began_at).min()?;
    Some(Range {
        from: first.plus_micros(-before_us),
        to: clock::now().plus_micros(AHEAD_US),
    })
}

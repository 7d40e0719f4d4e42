//! How targets fare, as this gateway sees them: shared by its worker threads, read at each choice, without locks.
//!
//! - [`circuit`]: whether a target has failed too often;
//! - [`latency`]: how fast it answers.

pub mod circuit;
pub mod latency;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use events_schema::usage::{Circuit, Health};
use gateway_policy::EntryId;
use http::StatusCode;

use self::{
    circuit::{Breaker, Tolerance},
    latency::{Latency, Means, Sample},
};
use crate::clock;

/// How many models the report and the metrics name: the ones that were used last.
pub const MOST_TOLD: usize = 100;
/// A model that nobody has asked for so long is forgotten, in microseconds: an hour.
const UNUSED_US: u64 = 3_600 * 1_000_000;

/// One model, as this gateway knows it.
#[derive(Debug)]
pub struct ModelHealth {
    name: String,
    breaker: Breaker,
    latency: Latency,
    used_at_us: AtomicU64,
}

/// A model in the report and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The model's id.
    pub model: EntryId,
    /// Its full name, when it was first asked here.
    pub name: String,
    /// How it fares.
    pub health: Health,
}

/// All models that were asked lately.
#[derive(Debug)]
pub struct AllHealth {
    tolerance: Tolerance,
    /// The monotonic clock's beginning, a second before the process': no time is 0.
    begin: Instant,
    by_model: Mutex<HashMap<EntryId, Arc<ModelHealth>>>,
}

impl AllHealth {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(tolerance: Tolerance) -> Self {
        Self {
            tolerance,
            begin: Instant::now(),
            by_model: Mutex::default(),
        }
    }

    /// The time now, as circuits and latencies count it.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        clock::micros_since(self.begin) + 1
    }

    fn get(&self, model: &EntryId, name: impl FnOnce() -> String) -> Arc<ModelHealth> {
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            Arc::new(ModelHealth {
                name: name(),
                breaker: Breaker::default(),
                latency: Latency::default(),
                used_at_us: AtomicU64::new(self.now_us()),
            })
        };
        Arc::clone(by_model.entry(*model).or_insert_with(fresh))
    }

    fn find(&self, model: &EntryId) -> Option<Arc<ModelHealth>> {
        let by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        by_model.get(model).cloned()
    }

    /// How models fare, those that were used last first; at most [`MOST_TOLD`].
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let now_us = self.now_us();
        let by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = by_model.iter().collect();
        all.sort_unstable_by_key(|(_, it)| std::cmp::Reverse(it.used_at_us.load(Relaxed)));
        all.truncate(MOST_TOLD);
        let told = all.into_iter().map(|(model, it)| Told {
            model: *model,
            name: it.name.clone(),
            health: it.health(it.breaker.look(now_us)),
        });
        told.collect()
    }

    fn sweep(&self) {
        let now_us = self.now_us();
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        by_model.retain(|_, it| {
            it.latency.sweep(now_us);
            now_us.saturating_sub(it.used_at_us.load(Relaxed)) < UNUSED_US
        });
    }
}

impl ModelHealth {
    fn health(&self, circuit: Circuit) -> Health {
        let Means {
            calls,
            per_token_us,
            recent_per_token_us,
            recent_first_token_us,
        } = self.latency.means();
        Health {
            circuit,
            calls,
            per_token_us,
            recent_first_token_us,
            recent_per_token_us,
        }
    }

    /// How it fares, for a choice that is made now: see [`Breaker::take`].
    #[must_use]
    pub fn take(&self, now_us: u64) -> Health {
        self.health(self.breaker.take(now_us))
    }

    /// It was to find out whether it works again, and another target was chosen.
    pub fn release(&self) {
        self.breaker.release();
    }
}

/// What an attempt says of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Well,
    /// It does not.
    Failing,
}

impl Verdict {
    /// Of a status: a provider that is overloaded, broken, or does not take the account's credential is failing; one that
    /// refuses a request for what stands in it is not.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        let refuses_account = matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_server_error() || status.is_redirection() || refuses_account {
            Self::Failing
        } else {
            Self::Well
        }
    }
}

/// One thread's way to it.
#[derive(Debug)]
pub struct ThreadHealth {
    all: Arc<AllHealth>,
    known: RefCell<HashMap<EntryId, Arc<ModelHealth>, foldhash::fast::RandomState>>,
}

impl ThreadHealth {
    /// Knows no model yet.
    #[must_use]
    pub fn new(all: Arc<AllHealth>) -> Self {
        Self {
            all,
            known: RefCell::default(),
        }
    }

    /// The time now, as circuits and latencies count it.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.all.now_us()
    }

    /// A model; `name` is its full name, asked for when it is new.
    pub fn of(&self, model: &EntryId, name: impl FnOnce() -> String) -> Arc<ModelHealth> {
        let mut known = self.known.borrow_mut();
        match known.get(model) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(
                known
                    .entry(*model)
                    .or_insert_with(|| self.all.get(model, name)),
            ),
        }
    }

    /// A model, if anybody has asked for it lately.
    #[must_use]
    pub fn known(&self, model: &EntryId) -> Option<Arc<ModelHealth>> {
        if let Some(known) = self.known.borrow().get(model) {
            return Some(Arc::clone(known));
        }
        let found = self.all.find(model)?;
        self.known.borrow_mut().insert(*model, Arc::clone(&found));
        Some(found)
    }

    /// An attempt at a model has ended, or its answer has begun well.
    pub fn judge(&self, model: &ModelHealth, verdict: Verdict) {
        let now_us = self.now_us();
        model.used_at_us.store(now_us, Relaxed);
        match verdict {
            Verdict::Well => model.breaker.succeeded(),
            Verdict::Failing => model.breaker.failed(now_us, self.all.tolerance),
        }
    }

    /// A model has answered whole: how long it took, in microseconds, for how many tokens.
    pub fn note(
        &self,
        model: &ModelHealth,
        duration_us: u64,
        output_tokens: u64,
        first_token_us: Option<u64>,
    ) {
        model.latency.note(Sample {
            at_us: self.now_us(),
            per_token_us: duration_us / output_tokens.max(1),
            first_token_us,
        });
    }

    /// Forgets what nobody asks for: to be called from time to time.
    pub fn sweep(&self) {
        self.known.borrow_mut().clear();
        self.all.sweep();
    }
}

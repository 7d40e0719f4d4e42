//! How targets fare, as this gateway sees them: shared by its worker threads, read at each choice, without locks.
//!
//! - [`circuit`]: whether a target has failed too often;
//! - [`latency`]: how fast it answers; [`answers`]: how long its answers are.

pub mod answers;
pub mod circuit;
pub mod latency;

use std::{
    cell::RefCell,
    collections::HashMap,
    num::NonZeroU64,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use events_schema::usage::{Circuit, Health};
use gateway_policy::EntryId;
use http::StatusCode;

use self::{
    answers::Answers,
    circuit::{Breaker, Tolerance},
    latency::{Latency, Means, Sample},
};

/// How many models the report and the metrics name: the ones that were used last.
pub const MOST_TOLD: usize = 100;
/// A model that nobody has asked for so long is forgotten, in microseconds: an hour.
const UNUSED_US: u64 = 3_600 * 1_000_000;

/// One model, as this gateway knows it.
#[derive(Debug, Default)]
pub struct ModelHealth {
    /// Its full name, since it was first asked.
    name: OnceLock<String>,
    breaker: Breaker,
    latency: Latency,
    answers: Answers,
    /// When it was last judged; 0: never.
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

/// All models that were asked, or looked at for a choice, lately.
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
        self.us_at(Instant::now())
    }

    fn us_at(&self, now: Instant) -> u64 {
        let micros = now.duration_since(self.begin).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX - 1) + 1
    }

    fn get(&self, model: &EntryId) -> Arc<ModelHealth> {
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_model.entry(*model).or_default())
    }

    /// How models fare that were asked, those that were used last first; at most [`MOST_TOLD`].
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let now_us = self.now_us();
        let by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let used = by_model.iter().filter_map(|(model, it)| {
            let name = it.name.get()?;
            let used_at_us = it.used_at_us.load(Relaxed);
            (used_at_us > 0).then_some((used_at_us, model, name, it))
        });
        let mut all: Vec<_> = used.collect();
        all.sort_unstable_by_key(|(used_at_us, ..)| std::cmp::Reverse(*used_at_us));
        all.truncate(MOST_TOLD);
        let told = all.into_iter().map(|(_, model, name, it)| Told {
            model: *model,
            name: name.clone(),
            health: it.health(it.breaker.look(now_us)),
        });
        told.collect()
    }

    fn sweep(&self) {
        let now_us = self.now_us();
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        by_model.retain(|_, it| {
            it.latency.sweep(now_us);
            // Who holds one judges it: it must not be another one than what is asked for next.
            let is_held = Arc::strong_count(it) > 1;
            let used_at_us = it.used_at_us.load(Relaxed);
            is_held || (used_at_us > 0 && now_us.saturating_sub(used_at_us) < UNUSED_US)
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

    /// It is asked under this name.
    pub fn asked_as(&self, name: &str) {
        if self.name.get().is_none() {
            self.name.get_or_init(|| name.to_owned());
        }
    }

    /// How many tokens nearly all of its answers keep to.
    #[must_use]
    pub fn usual_answer(&self) -> u64 {
        self.answers.usual()
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

/// How fast an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLatency {
    /// All of it, in microseconds.
    pub duration_us: u64,
    /// How many tokens it has.
    pub output_tokens: u64,
    /// How many answers these are, where nobody had bounded their length.
    pub open_answers: Option<NonZeroU64>,
    /// Until its first token, in microseconds; `None`: it was no stream.
    pub first_token_us: Option<u64>,
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

    /// A model.
    pub fn of(&self, model: &EntryId) -> Arc<ModelHealth> {
        let mut known = self.known.borrow_mut();
        Arc::clone(known.entry(*model).or_insert_with(|| self.all.get(model)))
    }

    /// An attempt at a model has ended, or its answer has begun well.
    pub fn judge(&self, model: &ModelHealth, verdict: Verdict) {
        self.judge_at(model, verdict, self.now_us());
    }

    fn judge_at(&self, model: &ModelHealth, verdict: Verdict, now_us: u64) {
        model.used_at_us.store(now_us, Relaxed);
        match verdict {
            Verdict::Well => model.breaker.succeeded(),
            Verdict::Failing => model.breaker.failed(now_us, self.all.tolerance),
        }
    }

    /// A model has answered well and whole at `now`, with this latency; `None`: it cannot be compared.
    pub fn answered(&self, model: &ModelHealth, latency: Option<AnswerLatency>, now: Instant) {
        let now_us = self.all.us_at(now);
        self.judge_at(model, Verdict::Well, now_us);
        if let Some(it) = latency {
            if let Some(many) = it.open_answers {
                model.answers.note(it.output_tokens / many);
            }
            model.latency.note(Sample {
                at_us: now_us,
                per_token_us: it.duration_us / it.output_tokens.max(1),
                first_token_us: it.first_token_us,
            });
        }
    }

    /// Forgets what nobody asks for: to be called from time to time.
    pub fn sweep(&self) {
        self.known.borrow_mut().clear();
        self.all.sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: EntryId = [1; 16];

    fn thread() -> ThreadHealth {
        ThreadHealth::new(Arc::new(AllHealth::new(Tolerance {
            failures: 3,
            open: std::time::Duration::from_secs(1),
        })))
    }

    #[test]
    fn what_was_only_looked_at_is_not_told_and_is_forgotten() {
        let thread = thread();
        drop(thread.of(&MODEL));
        assert_eq!(thread.all.told(), []);
        thread.sweep();
        assert!(thread.all.by_model.lock().expect("whole").is_empty());
    }

    #[test]
    fn what_is_being_asked_is_kept_and_told_once_it_was_judged() {
        let thread = thread();
        let asked = thread.of(&MODEL);
        asked.asked_as("openai-main/gpt");
        thread.sweep();
        assert!(Arc::ptr_eq(&asked, &thread.of(&MODEL)));
        assert_eq!(thread.all.told(), []);
        thread.judge(&asked, Verdict::Well);
        let told = thread.all.told();
        assert_eq!(told[0].name, "openai-main/gpt");
        drop(asked);
        thread.sweep();
        assert_eq!(thread.all.told(), told, "it was used just now");
    }
}

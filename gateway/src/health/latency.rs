//! How fast a target answers: its last answers, and means over them that a request can read without waiting.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use gateway_policy::health::FEWEST_CALLS;

/// How many answers are remembered.
const MOST_SAMPLES: usize = 100;
/// For how long, in microseconds: 20 minutes.
const WINDOW_US: u64 = 20 * 60 * 1_000_000;
/// What counts as recent, where a target is held to a latency, in microseconds: a slow one is tried again when that long
/// has passed.
const RECENT_US: u64 = 3 * 60 * 1_000_000;
/// With as many answers as are remembered, means are made anew no more often than this, in microseconds.
const REFRESH_US: u64 = 5_000;
/// Stands for a mean of which nothing is known.
const UNKNOWN: u64 = u64::MAX;

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it ended, in microseconds on a monotonic clock.
    pub at_us: u64,
    /// How long it took for each output token, in microseconds.
    pub per_token_us: u64,
    /// How long its first token took, in microseconds; `None`: it was no stream.
    pub first_token_us: Option<u64>,
}

/// A target's last answers.
#[derive(Debug)]
pub struct Latency {
    samples: Mutex<Samples>,
    calls: AtomicU64,
    per_token_us: AtomicU64,
    recent_first_token_us: AtomicU64,
    recent_per_token_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Samples {
    last: VecDeque<Sample>,
    /// When the means were made.
    published_us: u64,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// How many answers are remembered.
    pub calls: u32,
    /// Their mean time for each output token, in microseconds.
    pub per_token_us: Option<u64>,
    /// The same of the last three minutes, in microseconds.
    pub recent_per_token_us: Option<u64>,
    /// The mean time to the first token of the streams of the last three minutes, in microseconds.
    pub recent_first_token_us: Option<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        let unknown = || AtomicU64::new(UNKNOWN);
        Self {
            samples: Mutex::default(),
            calls: AtomicU64::new(0),
            per_token_us: unknown(),
            recent_first_token_us: unknown(),
            recent_per_token_us: unknown(),
        }
    }
}

impl Latency {
    /// Remembers an answer. Nobody waits: of two that end at the very same time one is enough.
    pub fn note(&self, sample: Sample) {
        let Ok(mut samples) = self.samples.try_lock() else {
            return;
        };
        let is_full = samples.last.len() == MOST_SAMPLES;
        if is_full {
            samples.last.pop_front();
        }
        samples.last.push_back(sample);
        if !is_full || sample.at_us.saturating_sub(samples.published_us) >= REFRESH_US {
            self.publish(&mut samples, sample.at_us);
        }
    }

    /// Forgets what is too old: to be called from time to time.
    pub fn sweep(&self, now_us: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if !samples.last.is_empty() {
            self.publish(&mut samples, now_us);
        }
    }

    /// What is known now.
    #[must_use]
    pub fn means(&self) -> Means {
        let known = |mean: &AtomicU64| Some(mean.load(Relaxed)).filter(|mean| *mean != UNKNOWN);
        Means {
            calls: u32::try_from(self.calls.load(Relaxed)).unwrap_or(u32::MAX),
            per_token_us: known(&self.per_token_us),
            recent_per_token_us: known(&self.recent_per_token_us),
            recent_first_token_us: known(&self.recent_first_token_us),
        }
    }

    fn publish(&self, samples: &mut Samples, now_us: u64) {
        samples.published_us = now_us;
        let samples = &mut samples.last;
        let is_within = |sample: &Sample, window| now_us.saturating_sub(sample.at_us) < window;
        samples.retain(|it| is_within(it, WINDOW_US));
        let recent = || samples.iter().filter(|it| is_within(it, RECENT_US));
        let publish =
            |to: &AtomicU64, mean: Option<u64>| to.store(mean.unwrap_or(UNKNOWN), Relaxed);
        self.calls.store(samples.len() as u64, Relaxed);
        publish(
            &self.per_token_us,
            mean(samples.iter().map(|it| it.per_token_us), 1),
        );
        let few = u64::from(FEWEST_CALLS);
        publish(
            &self.recent_per_token_us,
            mean(recent().map(|it| it.per_token_us), few),
        );
        publish(
            &self.recent_first_token_us,
            mean(recent().filter_map(|it| it.first_token_us), few),
        );
    }
}

/// The mean of at least so many numbers, rounded down.
fn mean(of: impl Iterator<Item = u64>, at_least: u64) -> Option<u64> {
    let (count, sum) = of.fold((0_u64, 0_u64), |(count, sum), it| {
        (count + 1, sum.saturating_add(it))
    });
    (count >= at_least)
        .then(|| sum.checked_div(count))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(samples: impl IntoIterator<Item = (u64, u64)>) -> Latency {
        let latency = Latency::default();
        for (at_us, per_token_us) in samples {
            latency.note(Sample {
                at_us,
                per_token_us,
                first_token_us: Some(per_token_us * 10),
            });
        }
        latency
    }

    #[test]
    fn nothing_is_known_of_a_target_that_has_not_answered() {
        let means = Latency::default().means();
        assert_eq!((means.calls, means.per_token_us), (0, None));
    }

    #[test]
    fn the_last_hundred_answers_count() {
        let means = latency((0..150).map(|at| (at * REFRESH_US, at))).means();
        assert_eq!((means.calls, means.per_token_us), (100, Some(99)));
    }

    #[test]
    fn answers_are_forgotten_after_twenty_minutes_and_are_recent_for_three() {
        let latency = latency([(1, 10), (2, 20), (3, 30)]);
        let known = |latency: &Latency| {
            let means = latency.means();
            (
                means.per_token_us,
                means.recent_per_token_us,
                means.recent_first_token_us,
            )
        };
        assert_eq!(known(&latency), (Some(20), Some(20), Some(200)));
        latency.sweep(RECENT_US + 1);
        assert_eq!(known(&latency), (Some(20), None, None));
        latency.sweep(WINDOW_US + 3);
        assert_eq!(known(&latency), (None, None, None));
    }
}

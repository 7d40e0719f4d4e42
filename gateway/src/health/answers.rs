//! How long a model's answers are that nobody has bounded: what is reserved of limits for the next one.
//!
//! What callers bound says nothing about it (a probe with `max_tokens: 1` has one token), and so is not noted; and what is noted
//! moves the reservation between bounds only: answers of a few tokens make none free, and long ones none impossible.
//!
//! A histogram with four buckets for each doubling, so that what is read of it is a quarter too high at most. It is read with each
//! request: the bound is worked out now and then, and kept. Threads that note at once may lose one; nothing depends on it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use gateway_policy::limits::USUAL_ANSWER_TOKENS;

/// Buckets: up to 2^20 tokens, and one for more.
const BUCKETS: usize = 78;

/// Of a hundred answers so many keep to what is usual.
const NEARLY_ALL: u64 = 95;

/// After so many answers it is worked out again, the first time as well: before it is not known.
const EVERY: u64 = 32;

/// After so many answers less may be reserved than [`USUAL_ANSWER_TOKENS`].
const CERTAIN: u64 = 256;

/// So much is reserved at least.
const LEAST_TOKENS: u64 = 256;

/// So much is reserved at most.
const MOST_TOKENS: u64 = 16_384;

/// With so many answers all weigh half from then on, so that what has changed counts.
const ENOUGH: u64 = 4_096;

/// The lengths of the answers of one model, in tokens.
#[derive(Debug)]
pub(super) struct Answers {
    buckets: [AtomicU32; BUCKETS],
    noted: AtomicU64,
    /// 0: it is not known yet.
    usual: AtomicU64,
}

impl Default for Answers {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
            noted: AtomicU64::new(0),
            usual: AtomicU64::new(0),
        }
    }
}

impl Answers {
    /// How many tokens nearly all answers keep to.
    pub(super) fn usual(&self) -> u64 {
        match self.usual.load(Relaxed) {
            0 => USUAL_ANSWER_TOKENS,
            usual => usual,
        }
    }

    /// An answer had so many tokens.
    pub(super) fn note(&self, tokens: u64) {
        self.buckets[bucket_of(tokens)].fetch_add(1, Relaxed);
        let noted = self.noted.fetch_add(1, Relaxed) + 1;
        if noted.is_multiple_of(EVERY) {
            self.work_out();
        }
        if noted >= ENOUGH {
            self.noted.store(ENOUGH / 2, Relaxed);
            for bucket in &self.buckets {
                bucket.store(bucket.load(Relaxed) / 2, Relaxed);
            }
        }
    }

    fn work_out(&self) {
        let counts = || self.buckets.iter().map(|it| u64::from(it.load(Relaxed)));
        let enough = (counts().sum::<u64>() * NEARLY_ALL).div_ceil(100);
        let mut so_far = 0;
        let mut reached = counts().map(|count| {
            so_far += count;
            so_far
        });
        let at = reached.position(|so_far| so_far >= enough);
        let least = if self.noted.load(Relaxed) < CERTAIN {
            USUAL_ANSWER_TOKENS
        } else {
            LEAST_TOKENS
        };
        let usual = most_of(at.unwrap_or(BUCKETS - 1)).clamp(least, MOST_TOKENS);
        self.usual.store(usual, Relaxed);
    }
}

/// Up to three tokens have a bucket each; of more, the highest bit and the two after it say which it is.
fn bucket_of(tokens: u64) -> usize {
    let bucket = match tokens.checked_ilog2() {
        None | Some(0 | 1) => tokens,
        Some(bits) => 4 * u64::from(bits - 1) + ((tokens >> (bits - 2)) & 3),
    };
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The most tokens of an answer in a bucket.
const fn most_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 4 {
        return bucket;
    }
    let bits = bucket / 4 + 1;
    ((4 + bucket % 4 + 1) << (bits - 2)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_a_quarter_less_than_its_most_at_least() {
        let mut last = 0;
        for tokens in 0..200_000 {
            let (bucket, most) = (bucket_of(tokens), most_of(bucket_of(tokens)));
            assert!(bucket >= last, "{tokens}");
            assert!(
                tokens <= most && most <= tokens + tokens / 4,
                "{tokens}: {most}"
            );
            last = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_nearly_all_keep_to_is_known_after_some_and_follows_what_changes() {
        let answers = Answers::default();
        let note = |many: u64, tokens: u64| (0..many).for_each(|_| answers.note(tokens));
        note(EVERY - 1, 2_000);
        assert_eq!(answers.usual(), USUAL_ANSWER_TOKENS);
        note(1, 2_000);
        assert_eq!(answers.usual(), 2_047);
        // One in a hundred is long, and then one in ten.
        for _ in 0..40 {
            note(99, 500);
            note(1, 9_000);
        }
        assert_eq!(answers.usual(), 511);
        for _ in 0..400 {
            note(9, 500);
            note(1, 9_000);
        }
        assert_eq!(answers.usual(), 10_239);
    }

    #[test]
    fn few_answers_lower_nothing_and_many_not_below_the_least() {
        let answers = Answers::default();
        let note = |many: u64, tokens: u64| (0..many).for_each(|_| answers.note(tokens));
        note(CERTAIN - 1, 1);
        assert_eq!(answers.usual(), USUAL_ANSWER_TOKENS);
        note(1, 1);
        assert_eq!(answers.usual(), LEAST_TOKENS);
        note(10 * ENOUGH, 900_000);
        assert_eq!(answers.usual(), MOST_TOKENS);
    }
}

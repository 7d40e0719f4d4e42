//! How fast a stream's answer came.

use std::time::{Duration, Instant};

/// When the first and the last piece of a stream came that carry some of the answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    times: Option<(Instant, Instant)>,
}

impl Pace {
    /// Some of the answer came at this time.
    pub fn note(&mut self, at: Instant) {
        let (first, last) = self.times.get_or_insert((at, at));
        *last = at.max(*first);
    }

    /// From `began` to the first, in microseconds; `None`: none came.
    #[must_use]
    pub fn first_token_us(&self, began: Instant) -> Option<u64> {
        self.times
            .map(|(first, _)| micros(first.saturating_duration_since(began)))
    }

    /// From the first to the last, over one less than the output tokens, in microseconds, rounded down; `None`: none
    /// came, or there are fewer than two tokens.
    #[must_use]
    pub fn per_output_token_us(&self, output: u64) -> Option<u64> {
        let (first, last) = self.times?;
        let steps = output.checked_sub(1).filter(|steps| *steps > 0)?;
        Some(micros(last.duration_since(first)) / steps)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_token_lies_between_tokens() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert_eq!(pace.first_token_us(began), None);
        assert_eq!(pace.per_output_token_us(9), None);
        for millis in [200, 240, 300] {
            pace.note(at(millis));
        }
        assert_eq!(pace.first_token_us(began), Some(200_000));
        assert_eq!(pace.per_output_token_us(11), Some(10_000));
        assert_eq!(pace.per_output_token_us(2), Some(100_000));
        assert_eq!(pace.per_output_token_us(1), None);
        assert_eq!(pace.per_output_token_us(0), None);
    }
}

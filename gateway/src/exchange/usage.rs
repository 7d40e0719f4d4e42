//! What a request used: as its provider states it, by a quick estimate, or as it can be counted later.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;
use events_schema::{
    money::Price,
    usage::{Outcome, Tokens},
};
use gateway_policy::limits::estimate_input_tokens;

use super::{Exchange, Tried};
use crate::{
    count::lacking::{Gap, Lacking, Said},
    endpoint::Output,
};

/// What an answer used, as far as it is known when it ends.
pub struct Used {
    /// What the provider has stated; `None`: nothing.
    pub stated: Option<Tokens>,
    /// Where it has not stated it to the end: how much of the output it has.
    pub stated_output: u64,
    /// The output by a quick estimate.
    pub output: u64,
    /// What it answered.
    pub said: Said,
}

impl Exchange {
    /// A whole answer, to be counted if its provider does not say what it used.
    #[must_use]
    pub fn said(&self, answer: &Bytes) -> Said {
        match self.worker.allowance.hold(answer.len()) {
            Some(kept) => Said::Whole(answer.clone(), kept),
            None => Said::Nothing,
        }
    }

    /// What the answer used, as far as it is known.
    pub fn used(&mut self, used: Used) {
        let Used {
            stated,
            stated_output,
            output,
            said,
        } = used;
        self.tokens = stated.or_else(|| self.estimate(output));
        let (begin, pace, tokens) = (self.begin, self.pace, self.tokens);
        let is_text = self.spoken.output == Output::Text;
        let gap = tokens.filter(|it| it.estimated).map(|_| Gap {
            input: stated.is_none(),
            output: is_text.then_some(stated_output),
        });
        if gap.is_some() {
            self.said = said;
        }
        if let Some(at) = self.answering.as_ref().map(|it| it.at) {
            self.sent(at).set(false);
            if let Some(tried) = self.attempts.get_mut().get_mut(at) {
                tried.gap = gap;
            }
        }
        if let Some(attempt) = self.answering_attempt() {
            attempt.tokens = tokens;
            attempt.first_token_us =
                pace.first_token_us(begin + Duration::from_micros(attempt.began_us));
            attempt.per_output_token_us =
                tokens.and_then(|tokens| pace.per_output_token_us(tokens.output));
        }
    }

    /// What it uses with so many output tokens, by the length of its question; `None`: nobody charges for it.
    pub(super) fn estimate(&self, output: u64) -> Option<Tokens> {
        match self.spoken.output {
            Output::Free => None,
            Output::Text | Output::None => Some(Tokens {
                input: estimate_input_tokens(self.weight),
                output,
                estimated: true,
                ..Tokens::default()
            }),
        }
    }

    /// What a provider uses that nothing was heard of since the question left for it: it has read that at least.
    pub(super) fn unanswered(&self, at: usize) -> Option<Tokens> {
        if self.sent(at).get() {
            self.estimate(0)
        } else {
            None
        }
    }

    /// Of an answer that is text about every fourth byte is a token.
    #[must_use]
    pub const fn estimated_output(&self, bytes: u64) -> u64 {
        match self.spoken.output {
            Output::Text => estimate_input_tokens(bytes),
            Output::None | Output::Free => 0,
        }
    }

    /// Notes what attempts used that were under way; returns whose use is the request's: that of the attempt that answered, or
    /// where there was none, of the last whose provider may charge for being asked in vain.
    pub(super) fn account(&mut self, outcome: Outcome) -> Option<usize> {
        let mut attempts = self.attempts.take();
        for (at, tried) in attempts.iter_mut().enumerate() {
            let attempt = &mut tried.attempt;
            // It was under way until now.
            if attempt.sent.is_none() {
                attempt.sent = Some(self.sent(at).get());
                if attempt.tokens.is_none() {
                    attempt.tokens = self.unanswered(at);
                    tried.gap = attempt.tokens.map(|_| Gap::UNANSWERED);
                }
            }
        }
        let last = attempts.iter().rposition(|it| it.attempt.tokens.is_some());
        self.attempts = RefCell::new(attempts);
        let in_vain = || match outcome {
            Outcome::Success | Outcome::ProviderError => None,
            Outcome::BadRequest
            | Outcome::Unauthenticated
            | Outcome::Forbidden
            | Outcome::UnknownModel
            | Outcome::LimitExceeded
            | Outcome::ProviderUnreachable
            | Outcome::StreamCut
            | Outcome::ClientGone => last,
        };
        match (&self.answering, self.tokens) {
            (Some(answering), Some(_)) => Some(answering.at),
            (Some(_) | None, _) => in_vain(),
        }
    }

    /// What of the attempts' numbers can be counted; `None`: nothing is to be, or there is nothing to count it from.
    pub(super) fn lacking(
        &mut self,
        attempts: &[Tried],
        charged: Option<usize>,
        price: Option<Price>,
    ) -> Option<Lacking> {
        let gaps: Vec<_> = attempts
            .iter()
            .enumerate()
            .filter_map(|(at, tried)| Some((at, tried.vocabulary, tried.gap?)))
            .collect();
        let (question, said) = (self.question.take(), std::mem::take(&mut self.said));
        if gaps.is_empty() || (question.is_none() && matches!(said, Said::Nothing)) {
            return None;
        }
        Some(Lacking {
            question,
            said,
            gaps,
            charged,
            price,
            pace: self.pace,
            unsettled: Vec::new(),
        })
    }
}

//! An answer on its way from a provider to a caller: looked at, cut at the borders of its events, settled at its end.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use events_schema::usage::{Outcome, Tokens};
use gateway_policy::limits::estimate_input_tokens;

use super::response::BrokenOff;
use crate::{
    exchange::Exchange,
    failure::{Failure, UpstreamFailure},
    upstream::{answer::Answer, events::Events, usage::UsageScan},
};

/// The answer, and what is known of it so far.
pub struct Passing {
    /// What was read before the head was sent.
    first: Option<Bytes>,
    answer: Answer,
    exchange: Exchange,
    content: Content,
    ended: bool,
}

/// What passes.
pub enum Content {
    /// Server-sent events.
    Events(Events),
    /// Anything else, of which so many bytes have passed; how it counts when it ends well.
    Other {
        /// Finds usage in it.
        scan: UsageScan,
        /// How many bytes have passed.
        bytes: u64,
        /// How the request counts.
        outcome: Outcome,
    },
}

impl Passing {
    /// `first` was read already.
    #[must_use]
    pub const fn new(first: Bytes, answer: Answer, exchange: Exchange, content: Content) -> Self {
        Self {
            first: Some(first),
            answer,
            exchange,
            content,
            ended: false,
        }
    }

    /// The next piece for the caller; `None` at the end.
    ///
    /// # Errors
    /// When the provider broke off and nothing can be added that would say so.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        while !self.ended {
            let piece = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => ready!(self.answer.poll_piece(cx)),
            };
            let passes = match piece {
                Some(Ok(piece)) => self.content.pass(piece),
                None => self.end(),
                Some(Err(failure)) => match self.break_off(failure) {
                    Ok(last_words) => last_words,
                    Err(broken) => return Poll::Ready(Some(Err(broken))),
                },
            };
            if !passes.is_empty() {
                self.exchange.sends();
                return Poll::Ready(Some(Ok(passes)));
            }
        }
        Poll::Ready(None)
    }

    /// The answer is whole.
    fn end(&mut self) -> Bytes {
        self.ended = true;
        let rest = self.content.finish();
        self.note_usage();
        self.exchange.end(self.content.outcome());
        rest
    }

    /// The answer has broken off: in a stream of events, an error event says so.
    fn break_off(&mut self, why: UpstreamFailure) -> Result<Bytes, BrokenOff> {
        self.ended = true;
        self.note_usage();
        let failure = Failure::Cut;
        self.exchange.cut(why, &failure);
        match &self.content {
            Content::Events(_) => {
                let json = failure.json(self.exchange.requested_model(), self.exchange.id);
                Ok([b"data: ", &json[..], b"\n\n"].concat().into())
            }
            Content::Other { .. } => Err(BrokenOff),
        }
    }

    fn note_usage(&mut self) {
        let (stated, output) = self.content.used();
        self.exchange.used(stated, output);
    }
}

impl Content {
    fn pass(&mut self, piece: Bytes) -> Bytes {
        match self {
            Self::Events(events) => events.push(&piece),
            Self::Other { scan, bytes, .. } => {
                scan.feed(&piece);
                *bytes += piece.len() as u64;
                piece
            }
        }
    }

    fn finish(&mut self) -> Bytes {
        match self {
            Self::Events(events) => events.finish(),
            Self::Other { .. } => Bytes::new(),
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Events(_) => Outcome::Success,
            Self::Other { outcome, .. } => *outcome,
        }
    }

    /// What the provider states, and the estimate where it states nothing.
    fn used(&self) -> (Option<Tokens>, u64) {
        match self {
            Self::Events(events) => (events.usage(), events.count()),
            Self::Other { scan, bytes, .. } => (scan.found(), estimate_input_tokens(*bytes)),
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.ended {
            // The caller went away: what has passed was used all the same.
            self.note_usage();
        }
    }
}

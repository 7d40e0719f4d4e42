//! An answer on its way from a provider to a caller: looked at, cut at the borders of its events, settled at its end.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use events_schema::usage::Outcome;

use super::response::BrokenOff;
use crate::{
    count::lacking::Said,
    exchange::{Exchange, Used},
    failure::{Failure, UpstreamFailure},
    upstream::{answer::Answer, events::Events, usage::UsageScan},
};

/// The answer, and what is known of it so far.
pub struct Passing {
    /// What was read before the head was sent.
    first: Option<Bytes>,
    answer: Answer,
    exchange: Box<Exchange>,
    content: Content,
    ended: bool,
}

/// What comes next of the answer.
enum Next {
    Piece(Bytes),
    End,
    /// Nothing: why, for the attempt's record and for the caller.
    Broken(&'static str, Failure),
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
    pub const fn new(
        first: Bytes,
        answer: Answer,
        exchange: Box<Exchange>,
        content: Content,
    ) -> Self {
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
            let next = if self.exchange.must_end() && !self.content.is_done() {
                Next::Broken("gateway_stopping", Failure::Stopping)
            } else {
                match self.first.take() {
                    Some(first) => Next::Piece(first),
                    None => ready!(self.poll_answer(cx)),
                }
            };
            let passes = match next {
                Next::Piece(piece) => self.pass(piece),
                Next::End => self.end(),
                Next::Broken(why, failure) => match self.break_off(why, &failure) {
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

    fn pass(&mut self, piece: Bytes) -> Bytes {
        let before = self.content.count();
        let passes = self.content.pass(piece);
        if self.content.count() > before {
            self.exchange.carries(self.answer.last_piece());
        }
        passes
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.answer.poll_piece(cx).map(|piece| match piece {
            Some(Ok(piece)) => Next::Piece(piece),
            // What follows the event that ends a stream nobody reads, and so nobody misses.
            Some(Err(_)) if self.content.is_done() => Next::End,
            None if self.is_cut_off() => {
                Next::Broken(UpstreamFailure::Broken.as_str(), Failure::Cut)
            }
            None => Next::End,
            Some(Err(failure)) => Next::Broken(failure.as_str(), Failure::Cut),
        })
    }

    /// Whether an answer that has ended was not whole: where only the connection's end says that it is over, a stream
    /// ends with an event that says so.
    fn is_cut_off(&self) -> bool {
        match &self.content {
            Content::Events(events) => {
                self.answer.ends_with_connection() && !self.content.is_done() && !events.error()
            }
            Content::Other { .. } => false,
        }
    }

    /// The answer is whole.
    fn end(&mut self) -> Bytes {
        self.ended = true;
        let rest = self.content.finish();
        self.settle();
        rest
    }

    fn settle(&mut self) {
        self.note_usage();
        match self.content.outcome() {
            Outcome::ProviderError => self.exchange.end_with_error_event(),
            outcome => self.exchange.end(outcome),
        }
    }

    /// The answer has broken off: in a stream of events, an error event says so.
    fn break_off(&mut self, why: &str, failure: &Failure) -> Result<Bytes, BrokenOff> {
        self.ended = true;
        self.note_usage();
        self.exchange.cut(why, failure);
        match &self.content {
            Content::Events(_) => {
                let dialect = self.exchange.spoken().dialect;
                let (model, id) = (self.exchange.requested_model(), self.exchange.id);
                Ok(dialect.error_event(failure, model, id))
            }
            Content::Other { .. } => Err(BrokenOff),
        }
    }

    fn note_usage(&mut self) {
        let used = match &mut self.content {
            Content::Events(events) => Used {
                stated: events.usage(),
                stated_output: events.stated_output(),
                output: events.count(),
                said: Said::Heard(events.take_heard()),
            },
            // It is too large to be kept, and may come from anywhere: only its length is known.
            Content::Other { scan, bytes, .. } => Used {
                stated: scan.found(),
                stated_output: 0,
                output: self.exchange.estimated_output(*bytes),
                said: Said::Nothing,
            },
        };
        self.exchange.used(used);
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

    /// How many events have carried some of the answer.
    const fn count(&self) -> u64 {
        match self {
            Self::Events(events) => events.count(),
            Self::Other { .. } => 0,
        }
    }

    /// Whether it has said that it is over.
    const fn is_done(&self) -> bool {
        match self {
            Self::Events(events) => events.done(),
            Self::Other { .. } => false,
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Events(events) if events.error() => Outcome::ProviderError,
            Self::Events(_) => Outcome::Success,
            Self::Other { outcome, .. } => *outcome,
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        match &self.content {
            _ if self.ended => {}
            // Clients close the connection once they have read that the stream is over.
            Content::Events(events) if events.done() => self.settle(),
            // The caller went away: what has passed was used all the same.
            Content::Events(_) | Content::Other { .. } => self.note_usage(),
        }
    }
}

//! The response body: sends a plan's bytes when they are due, and breaks off where it says.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::log::Call;
use super::plan::{Answer, Ending, Plan};

/// Why a connection closes in the middle of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the mock's script cuts the connection here")]
pub(super) struct Cut;

/// A body that follows its plan.
pub(super) struct PlannedBody {
    kind: Kind,
    /// Told when the body was sent to its end.
    call: Call,
    breaking: Breaking,
}

/// Breaks a connection off, but not before the server had a chance to flush what came before: an
/// error right away would throw that away.
#[derive(Default)]
struct Breaking {
    flushed: bool,
}

enum Kind {
    Whole {
        rest: Option<Bytes>,
        promised: u64,
        cut: bool,
        tokens: u64,
    },
    Stream(Box<Stream>),
}

struct Stream {
    plan: Arc<Plan>,
    next: usize,
    due: Instant,
    timer: Pin<Box<Sleep>>,
}

// === impl PlannedBody ===

impl PlannedBody {
    /// The body of a plan; `None` when the plan is to hang up.
    pub(super) fn of(plan: &Arc<Plan>, call: Call) -> Option<Self> {
        let kind = match &plan.answer {
            Answer::HangUp => return None,
            Answer::Whole { body, cut } => Kind::Whole {
                rest: Some(body.slice(..cut.unwrap_or(body.len()))),
                promised: body.len() as u64,
                cut: cut.is_some(),
                tokens: plan.charged.output,
            },
            Answer::Stream { .. } => {
                let due = Instant::now();
                let timer = Box::pin(sleep_until(due));
                let plan = Arc::clone(plan);
                Kind::Stream(Box::new(Stream {
                    plan,
                    next: 0,
                    due,
                    timer,
                }))
            }
        };
        Some(Self {
            kind,
            call,
            breaking: Breaking::default(),
        })
    }
}

impl Body for PlannedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Whole {
                rest, cut, tokens, ..
            } => match rest.take() {
                Some(bytes) => {
                    this.call.says(*tokens);
                    Some(Ok(Frame::data(bytes)))
                }
                None if *cut => ready!(this.breaking.poll(context)),
                None => None,
            },
            Kind::Stream(stream) => {
                let frame = ready!(stream.poll_next(&mut this.breaking, context));
                if matches!(frame, Some(Ok(_))) {
                    this.call.says(stream.tokens_of_the_last());
                }
                frame
            }
        };
        if !matches!(frame, Some(Ok(_))) || this.is_end_stream() {
            this.call.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(
            &self.kind,
            Kind::Whole {
                rest: None,
                cut: false,
                ..
            }
        )
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole { promised, .. } => SizeHint::with_exact(*promised),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

// === impl Stream ===

impl Stream {
    /// How many tokens the chunk carries that was taken last.
    fn tokens_of_the_last(&self) -> u64 {
        let Answer::Stream { frame, .. } = &self.plan.answer else {
            return 0;
        };
        let at = self.next.checked_sub(1 + frame);
        let carries = at.is_some_and(|at| (at as u64) < self.plan.charged.output);
        u64::from(carries)
    }

    fn poll_next(
        &mut self,
        breaking: &mut Breaking,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let plan = Arc::clone(&self.plan);
        let Answer::Stream {
            chunks,
            gap,
            ending,
            ..
        } = &plan.answer
        else {
            return Poll::Ready(None);
        };
        if let Some(chunk) = chunks.get(self.next) {
            if !gap.is_zero() {
                // The first is due at once: its timer was set to the beginning.
                ready!(self.timer.as_mut().poll(context));
                self.due += *gap;
                self.timer.as_mut().reset(self.due);
            }
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        match ending {
            Ending::Whole => Poll::Ready(None),
            Ending::Stall => Poll::Pending,
            Ending::Cut => breaking.poll(context),
        }
    }
}

// === impl Breaking ===

impl Breaking {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.flushed {
            return Poll::Ready(Some(Err(Cut)));
        }
        self.flushed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

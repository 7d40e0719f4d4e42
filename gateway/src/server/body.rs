//! Reads a request's body, within bounds of size, time, and memory.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, EXPECT},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::incoming::{Broken, Incoming};
use crate::{
    config::Config,
    failure::{Failure, MAX_BODY_BYTES},
};

/// Bodies up to this size are not counted against the budget: nearly all are, and counting makes cores wait.
const UNCOUNTED: usize = 64 * 1024;
/// How much of a body is read for nothing after its request was refused, and for how long: a connection that is closed
/// while bytes arrive is reset, and the caller may never see why.
const REFUSED_BYTES: usize = 2 * MAX_BODY_BYTES;
/// See [`REFUSED_BYTES`].
const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// The bounds within which bodies are read.
#[derive(Debug, Clone)]
pub struct BodyBounds {
    /// How much they may hold together.
    pub budget: BodyBudget,
    /// How long one may pause: a caller that is alive sends something in that time.
    pub pause: Duration,
    /// How long all of one may take.
    pub whole: Duration,
}

impl BodyBounds {
    /// As configured.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            budget: BodyBudget::new(config.max_held_body_bytes),
            pause: Duration::from_millis(config.body_pause_timeout_ms),
            whole: Duration::from_millis(config.body_timeout_ms),
        }
    }
}

/// How many bytes the bodies of requests under way may have together.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    held: Arc<AtomicUsize>,
    most: usize,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    budget: BodyBudget,
    bytes: usize,
}

impl BodyBudget {
    /// So many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            held: Arc::default(),
            most,
        }
    }

    fn hold_nothing(&self) -> Held {
        Held {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl Held {
    /// Holds so many bytes from now on, if there is room for them.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Failure> {
        let more = bytes.saturating_sub(self.bytes);
        if bytes <= UNCOUNTED || more == 0 {
            return Ok(());
        }
        let BodyBudget { held, most } = &self.budget;
        if held.fetch_add(more, Relaxed) + more > *most {
            held.fetch_sub(more, Relaxed);
            return Err(Failure::Overloaded);
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.held.fetch_sub(self.bytes, Relaxed);
        }
    }
}

/// Reads all of it; what it holds of the budget is held until the second part is dropped.
///
/// # Errors
/// [`Failure::TooLarge`] and [`Failure::Overloaded`], before anything is read where the length says so;
/// [`Failure::SlowBody`]; [`Failure::Framing`]; [`Failure::ClientGone`].
pub async fn read_body(
    incoming: &mut Incoming,
    headers: &HeaderMap,
    bounds: &BodyBounds,
) -> Result<(Bytes, Held), Failure> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Failure::TooLarge);
    }
    let mut held = bounds.budget.hold_nothing();
    held.grow_to(length.unwrap_or(0))?;
    let mut waiting = Waiting::of(bounds);
    let Some(first) = waiting.piece(incoming).await? else {
        return Ok((Bytes::new(), held));
    };
    if length == Some(first.len()) {
        return Ok((first, held));
    }
    let mut joined = BytesMut::with_capacity(length.unwrap_or(first.len() * 2));
    joined.extend_from_slice(&first);
    while let Some(piece) = waiting.piece(incoming).await? {
        if joined.len() + piece.len() > MAX_BODY_BYTES {
            return Err(Failure::TooLarge);
        }
        held.grow_to(joined.len() + piece.len())?;
        joined.extend_from_slice(&piece);
    }
    Ok((joined.freeze(), held))
}

/// Reads what is left of a refused request's body, so that the caller reads why it was refused. One that waits to be
/// told to send its body has nothing to lose.
pub async fn read_for_nothing(incoming: &mut Incoming, headers: &HeaderMap, bounds: &BodyBounds) {
    if incoming.is_at_end() || headers.contains_key(EXPECT) {
        return;
    }
    let mut waiting = Waiting::of(bounds);
    let mut read = 0;
    let reading = async {
        while let Ok(Some(piece)) = waiting.piece(incoming).await {
            read += piece.len();
            if read > REFUSED_BYTES {
                break;
            }
        }
    };
    // What has not come by then is the caller's loss.
    let _over = timeout(REFUSED_WAIT, reading).await;
}

/// How long a body is waited for.
struct Waiting<'b> {
    bounds: &'b BodyBounds,
    /// Since when; `None`: all that was asked for was there.
    since: Option<Instant>,
}

impl<'b> Waiting<'b> {
    const fn of(bounds: &'b BodyBounds) -> Self {
        Self {
            bounds,
            since: None,
        }
    }

    /// The next piece of data; `None` at the end.
    async fn piece(&mut self, incoming: &mut Incoming) -> Result<Option<Bytes>, Failure> {
        // Mostly it is there, and no clock is needed.
        let there = poll_fn(|cx| Poll::Ready(incoming.poll_piece(cx))).await;
        let piece = match there {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                let now = Instant::now();
                let since = *self.since.get_or_insert(now);
                let until = (now + self.bounds.pause).min(since + self.bounds.whole);
                let piece = timeout_at(until, poll_fn(|cx| incoming.poll_piece(cx)));
                piece.await.map_err(|_| Failure::SlowBody)?
            }
        };
        piece.transpose().map_err(|broken| match broken {
            Broken::Malformed => Failure::Framing,
            Broken::Gone => Failure::ClientGone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_a_budget_and_give_it_back() {
        let budget = BodyBudget::new(1_000_000);
        let mut one = budget.hold_nothing();
        let mut other = budget.hold_nothing();
        assert_eq!(one.grow_to(600_000), Ok(()));
        assert_eq!(other.grow_to(500_000), Err(Failure::Overloaded));
        assert_eq!(
            other.grow_to(UNCOUNTED),
            Ok(()),
            "small ones are not counted"
        );
        assert_eq!(one.grow_to(1_000_000), Ok(()), "only what is more is added");
        drop(one);
        assert_eq!(other.grow_to(500_000), Ok(()));
        drop(other);
        assert_eq!(budget.held.load(Relaxed), 0);
    }
}

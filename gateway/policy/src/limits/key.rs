//! A key's own limits at one gateway: requests and tokens of a sliding minute, decided on a copy of their windows.

use events_schema::time::Timestamp;

use super::{
    cost::{Ask, Measure, Standing},
    share::{Share, fits},
};
use crate::window::{SLOTS, SlotNumber, Window};

/// A limit of a sliding minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub measure: Measure,
    /// How much fits into a window (`L`).
    pub most: u64,
    /// This gateway's share of the remainder (`φ`).
    pub share: Share,
}

/// What is used of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// By this gateway, and not yet in `elsewhere` (`u`).
    pub own: Window,
    /// By all gateways, as last heard (`G`).
    pub elsewhere: Window,
}

/// Whether a request is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is: each limit is to be charged its [`Limit::cost`].
    Admitted,
    /// It is not: nothing is to be charged.
    Refused(Refusal),
}

/// Which limit refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The index of the limit.
    pub limit: usize,
    /// In how many microseconds the same request would be admitted if nothing else were; `None`: never.
    pub retry_after_us: Option<u64>,
}

/// Decides on one request. `used[i]` is what is used of `limits[i]`.
///
/// All limits are checked; the refusal names the one that would refuse longest.
///
/// # Panics
/// When there are more limits than windows.
#[must_use]
pub fn admit(limits: &[Limit], used: &[Used], ask: Ask, now: Timestamp) -> Admission {
    assert!(limits.len() <= used.len(), "each limit has its window");
    let slot = SlotNumber::at(now);
    let refusing = limits
        .iter()
        .zip(used)
        .enumerate()
        .filter(|(_, (limit, used))| !limit.admits(used, ask, slot));
    let refusals = refusing.map(|(at, (limit, used))| Refusal {
        limit: at,
        retry_after_us: limit.retry_after_us(used, ask, now),
    });
    match refusals.max_by_key(|refusal| refusal.retry_after_us.unwrap_or(u64::MAX)) {
        Some(refusal) => Admission::Refused(refusal),
        None => Admission::Admitted,
    }
}

impl Limit {
    /// What the request costs under this limit.
    ///
    /// Tokens are an estimate, and an estimate makes no request impossible: it reserves the whole limit at most.
    #[must_use]
    pub fn cost(&self, ask: Ask) -> u64 {
        match self.measure {
            Measure::Requests => 1,
            Measure::Tokens => ask.tokens.min(self.most).max(1),
        }
    }

    fn admits(&self, used: &Used, ask: Ask, slot: SlotNumber) -> bool {
        let (own, elsewhere, cost) = (
            used.own.total(slot),
            used.elsewhere.total(slot),
            self.cost(ask),
        );
        fits(own, elsewhere, cost, self.most, self.share)
    }

    fn retry_after_us(&self, used: &Used, ask: Ask, now: Timestamp) -> Option<u64> {
        let slot = SlotNumber::at(now);
        let later = (1..=SLOTS as u64)
            .map(|later| slot.plus(later))
            .find(|later| self.admits(used, ask, *later));
        later.map(|later| later.begins_in_us(now))
    }

    /// How the limit stands.
    #[must_use]
    pub fn standing(&self, used: &Used, now: Timestamp) -> Standing {
        let slot = SlotNumber::at(now);
        let total = used
            .own
            .total(slot)
            .saturating_add(used.elsewhere.total(slot));
        let empty_from = used.own.empty_from().max(used.elsewhere.empty_from());
        Standing {
            most: self.most,
            remaining: self.most.saturating_sub(total),
            reset_us: empty_from.map_or(0, |slot| slot.begins_in_us(now)),
        }
    }
}

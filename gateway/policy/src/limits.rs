//! Whether limits admit a request: a share of the remainder, reserve, then settle.
//!
//! With `L` the limit, `G` what the other gateways are known to have admitted, `u` what this one has admitted that is
//! not yet in `G`, and `φ` its share, a request of cost `c` is admitted if and only if
//!
//! ```text
//! u + c ≤ φ·(L − G)     or     u = 0 and G + c ≤ L
//! ```
//!
//! One gateway alone is `φ = 1, G = 0`. Tokens are known only afterwards: an estimate is reserved, and the difference
//! settled at the end, whatever the end.

use events_schema::time::Timestamp;

use crate::window::{SLOTS, SlotNumber, Window};

/// The share of a limit's remainder that a gateway may admit by itself, in parts of 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u64);

impl Share {
    /// Everything.
    pub const WHOLE: Self = Self(1 << 32);

    /// This many parts of 2^32; more than all is all.
    #[must_use]
    pub const fn of_2_32(parts: u64) -> Self {
        if parts < Self::WHOLE.0 {
            Self(parts)
        } else {
            Self::WHOLE
        }
    }

    /// This share of an amount, rounded down.
    #[must_use]
    pub fn of(self, amount: u64) -> u64 {
        u64::try_from((u128::from(amount) * u128::from(self.0)) >> 32).unwrap_or(u64::MAX)
    }
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Requests.
    Requests,
    /// Input and output tokens.
    Tokens,
}

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

/// What one request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Tokens, estimated: see [`estimate_tokens`].
    pub tokens: u64,
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

/// How a limit stands, for a caller to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much fits into a window.
    pub most: u64,
    /// How much of it is left.
    pub remaining: u64,
    /// In how many microseconds all of it is free again if nothing more is used.
    pub reset_us: u64,
}

/// What is to be done when the true cost is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing.
    Exact,
    /// So much less was used.
    Refund(u64),
    /// So much more was used: the next requests pay.
    Debt(u64),
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
        let within_share =
            own.saturating_add(cost) <= self.share.of(self.most.saturating_sub(elsewhere));
        let alone = own == 0 && elsewhere.saturating_add(cost) <= self.most;
        within_share || alone
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

/// What is to be done when `reserved` tokens turn out to be `actual`.
#[must_use]
pub const fn settle(reserved: u64, actual: u64) -> Settlement {
    if actual < reserved {
        Settlement::Refund(reserved - actual)
    } else if actual > reserved {
        Settlement::Debt(actual - reserved)
    } else {
        Settlement::Exact
    }
}

/// How many bytes of a request's body count as a token: about right for English prose in JSON.
const BYTES_PER_TOKEN: u64 = 4;

/// How many tokens of an answer are reserved at most: more than nine in ten chat answers have fewer.
const ANSWER_TOKENS: u64 = 1_024;

/// What a chat request will use, as estimated before it is sent: its body's length stands for the prompt, and the answer
/// is what the caller allows, up to a bound that most answers keep.
#[must_use]
pub fn estimate_tokens(body_bytes: u64, max_tokens: Option<u64>) -> u64 {
    let answer = max_tokens.map_or(ANSWER_TOKENS, |most| most.min(ANSWER_TOKENS));
    estimate_input_tokens(body_bytes).saturating_add(answer)
}

/// How many tokens a request's body stands for.
#[must_use]
pub const fn estimate_input_tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BYTES_PER_TOKEN)
}

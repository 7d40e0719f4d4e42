//! The share of a limit's remainder that a gateway may admit by itself, and the one rule of admission.
//!
//! With `L` the limit, `G` what is known to have been admitted, `u` what this gateway has admitted that is not yet in
//! `G`, and `φ` its share, a request of cost `c` is admitted if and only if
//!
//! ```text
//! u + c ≤ φ·(L − G)     or     u = 0 and G + c ≤ L
//! ```
//!
//! The second line lets one request be in flight where the share is too small for any: without it, a limit of 60 among
//! 50 gateways is hardly used.

use serde::{Deserialize, Serialize};

/// The share of a limit's remainder that a gateway may admit by itself, in parts of 2^32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Share(u64);

impl From<u64> for Share {
    /// See [`Share::of_2_32`].
    fn from(parts: u64) -> Self {
        Self::of_2_32(parts)
    }
}

impl From<Share> for u64 {
    /// See [`Share::parts`].
    fn from(share: Share) -> Self {
        share.parts()
    }
}

impl Share {
    /// Everything.
    pub const WHOLE: Self = Self(1 << 32);

    /// Nothing.
    pub const NONE: Self = Self(0);

    /// This many parts of 2^32; more than all is all.
    #[must_use]
    pub const fn of_2_32(parts: u64) -> Self {
        if parts < Self::WHOLE.0 {
            Self(parts)
        } else {
            Self::WHOLE
        }
    }

    /// How many parts of 2^32 it is.
    #[must_use]
    pub const fn parts(self) -> u64 {
        self.0
    }

    /// This share of an amount, rounded down.
    #[must_use]
    #[inline]
    pub fn of(self, amount: u64) -> u64 {
        u64::try_from((u128::from(amount) * u128::from(self.0)) >> 32).unwrap_or(u64::MAX)
    }

    /// Both together; more than all is all.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::of_2_32(self.0.saturating_add(other.0))
    }

    /// Half of it, so many times.
    #[must_use]
    pub const fn halved(self, times: u32) -> Self {
        match self.0.checked_shr(times) {
            Some(parts) => Self(parts),
            None => Self(0),
        }
    }
}

/// Whether a request of cost `cost` fits under a limit of `most`: `own` is what this gateway has admitted that is not in
/// `known`.
#[must_use]
#[inline]
pub fn fits(own: u64, known: u64, cost: u64, most: u64, share: Share) -> bool {
    let within_share = own.saturating_add(cost) <= share.of(most.saturating_sub(known));
    let alone = own == 0 && known.saturating_add(cost) <= most;
    within_share || alone
}

//! Which counters have shares of their own, told to gateways that do not have these counters: a few bits for each.
//!
//! A gateway that comes to use a counter must know whether its base share of it is its own, or was dealt to others. All their
//! rows would say so, and would fill its memory and its messages with counters that it may never use. Bits say as much: where
//! they say that a counter is marked, the gateway begins with the joiner's share, and hears of its own with the next broadcast.
//! A counter that is not marked is sometimes taken for one (a Bloom filter with one hash; Bloom 1970), and begins as carefully.

use serde::{Deserialize, Serialize};

use super::{message::CounterId, period::Period};
use crate::mix::mix;

/// Bits for each counter: one in sixteen is taken for marked that is not.
const BITS_EACH: usize = 16;

/// The most that a filter has, in bytes; with more than 8,192 counters more are taken for marked.
const MOST_BYTES: usize = 16 * 1024;

/// Counters that are marked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Marks(Vec<u8>);

/// Of so many counters it is told at most that they are used up.
const MOST_FULL: usize = 8_192;

/// Counters of which nothing is left. A gateway that comes to use one refuses, until it is told how the counter stands: else the
/// first request at each gateway would pass, of a limit of five as well. They are known by 32 bits of a hash each; so one may be
/// taken for another, of which there is plenty left, and whoever refuses is told how its counter stands, whichever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full(Vec<u32>);

/// Counters that are marked, by [`Period::index`].
pub type Apart = [Marks; Period::ALL.len()];

/// Bytes of which no filter consists: they are as many as a power of two, and not too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("marks of {0} bytes")]
pub struct NoMarks(usize);

impl TryFrom<Vec<u8>> for Marks {
    type Error = NoMarks;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NoMarks> {
        let many = bytes.len();
        if many == 0 || (many.is_power_of_two() && many <= MOST_BYTES) {
            Ok(Self(bytes))
        } else {
            Err(NoMarks(many))
        }
    }
}

impl From<Marks> for Vec<u8> {
    /// Its bits.
    fn from(marks: Marks) -> Self {
        marks.0
    }
}

impl Marks {
    /// None, with room for so many.
    #[must_use]
    pub fn with_room_for(counters: usize) -> Self {
        if counters == 0 {
            return Self::default();
        }
        let bytes = counters.saturating_mul(BITS_EACH) / 8;
        let bytes = bytes.clamp(1, MOST_BYTES).next_power_of_two();
        Self(vec![0; bytes])
    }

    /// Whether none is marked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Marks a counter, where there is room for any.
    pub fn add(&mut self, id: &CounterId) {
        if let Some((byte, bit)) = self.place_of(id) {
            self.0[byte] |= bit;
        }
    }

    /// Whether a counter is marked, or taken for it.
    #[must_use]
    pub fn holds(&self, id: &CounterId) -> bool {
        self.place_of(id)
            .is_some_and(|(byte, bit)| self.0[byte] & bit != 0)
    }

    /// Marks what is marked in another as well.
    pub fn add_all(&mut self, other: &Self) {
        if other.0.len() > self.0.len() {
            // Places are numbers modulo the size: a larger filter says the same where the smaller one is repeated.
            let own = std::mem::replace(&mut self.0, vec![0; other.0.len()]);
            self.add_all(&Self(own));
        }
        if other.0.is_empty() {
            return;
        }
        for (byte, more) in self.0.iter_mut().zip(other.0.iter().cycle()) {
            *byte |= more;
        }
    }

    fn place_of(&self, id: &CounterId) -> Option<(usize, u8)> {
        let bits = u64::try_from(self.0.len()).ok()? * 8;
        let place = mix(id.spread()).checked_rem(bits)?;
        Some((usize::try_from(place / 8).ok()?, 1 << (place % 8)))
    }
}

// === impl Full ===

impl Full {
    /// Of all of these, or of some, where they are too many.
    #[must_use]
    pub fn of<'i>(counters: impl IntoIterator<Item = &'i CounterId>) -> Self {
        let hashes = counters.into_iter().map(Self::hash).take(MOST_FULL);
        let mut hashes: Vec<u32> = hashes.collect();
        hashes.sort_unstable();
        Self(hashes)
    }

    /// Whether nothing is left of a counter.
    #[must_use]
    pub fn holds(&self, id: &CounterId) -> bool {
        self.0.binary_search(&Self::hash(id)).is_ok()
    }

    fn hash(id: &CounterId) -> u32 {
        u32::try_from(mix(id.spread()) >> 32).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::cost::Measure;

    fn id(number: u32) -> CounterId {
        let mut segment = [0; 16];
        segment[..4].copy_from_slice(&number.to_be_bytes());
        CounterId {
            rule: [7; 16],
            measure: Measure::Requests,
            period: Period::Day,
            segment,
        }
    }

    fn marks(of: std::ops::Range<u32>) -> Marks {
        let mut marks = Marks::with_room_for(of.len());
        of.for_each(|number| marks.add(&id(number)));
        marks
    }

    #[test]
    fn what_is_marked_is_held_and_little_else() {
        assert!(!Marks::default().holds(&id(1)));
        for many in [1, 3, 1_000, 8_192] {
            let marks = marks(0..many);
            assert!((0..many).all(|number| marks.holds(&id(number))), "{many}");
            let others = (100_000..110_000).filter(|it| marks.holds(&id(*it)));
            assert!(others.count() < 2_000, "{many}");
        }
    }

    #[test]
    fn two_are_one_whatever_their_sizes() {
        for (few, many) in [
            (0..3, 100..900),
            (100..900, 0..3),
            (0..0, 5..9),
            (5..9, 0..0),
        ] {
            let mut all = marks(few.clone());
            all.add_all(&marks(many.clone()));
            let mut marked = few.chain(many);
            assert!(marked.all(|number| all.holds(&id(number))));
        }
    }

    #[test]
    fn bytes_that_are_no_filter_are_none() {
        assert_eq!(Marks::try_from(vec![0; 3]), Err(NoMarks(3)));
        assert!(Marks::try_from(vec![0; MOST_BYTES * 2]).is_err());
    }
}

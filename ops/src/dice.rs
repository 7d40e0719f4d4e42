//! Pseudo-random numbers that a seed gives again.

/// A small generator of pseudo-random numbers (SplitMix64, Steele, Lea and Flood 2014).
pub(crate) struct Dice(u64);

// === impl Dice ===

impl Dice {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `first` to below `end`. Small ranges only: the bias is not worth a second roll.
    pub(crate) fn between(&mut self, first: u64, end: u64) -> u64 {
        first + self.roll() % (end - first)
    }

    /// One of them.
    pub(crate) fn choose<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let many = u64::try_from(among.len()).ok().filter(|many| *many > 0)?;
        among.get(usize::try_from(self.between(0, many)).ok()?)
    }
}

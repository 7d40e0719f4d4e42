//! Pseudo-random numbers that a seed gives again.

/// A small generator of pseudo-random numbers (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `first` to below `end`.
    pub(super) fn between(&mut self, first: u64, end: u64) -> u64 {
        first + self.roll() % (end - first).max(1)
    }

    /// The place of one of so many things; there is at least one.
    pub(super) fn place(&mut self, many: usize) -> usize {
        let many = u64::try_from(many).unwrap_or(1);
        usize::try_from(self.between(0, many)).unwrap_or(0)
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(super) fn per_mille(&mut self, chance: u64) -> bool {
        self.between(0, 1_000) < chance
    }

    pub(super) fn choose<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.place(among.len())]
    }
}

//! Which rules stand under a key, by a hash of it: built once, never changed, and the same from run to run.
//!
//! Two keys may have the same hash: whoever finds a rule asks it whether it matches.

use crate::mix::{mix, mix_id};

/// Rules by the hashes of keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Where each bucket begins, and after the last where it ends; empty: there is nothing.
    begins: Box<[u32]>,
    /// Hashes with rules, by bucket, and in a bucket by rule.
    items: Box<[(u64, u32)]>,
}

impl Index {
    /// From hashes and rules, in the order of the rules.
    pub(super) fn new(items: Vec<(u64, u32)>) -> Self {
        if items.is_empty() {
            return Self::default();
        }
        let buckets = items.len().next_power_of_two();
        let mut sorted = items;
        // Stable: the order of the rules stays.
        sorted.sort_by_key(|(hash, _)| bucket(*hash, buckets));
        let mut begins = vec![0_u32; buckets + 1];
        for (hash, _) in &sorted {
            begins[bucket(*hash, buckets) + 1] += 1;
        }
        for at in 0..buckets {
            begins[at + 1] += begins[at];
        }
        Self {
            begins: begins.into(),
            items: sorted.into(),
        }
    }

    /// Whether nothing stands in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The rules under this hash, in order.
    pub(super) fn get(&self, hash: u64) -> impl Iterator<Item = u32> {
        let items = match self.begins.len().checked_sub(1) {
            None => &[],
            Some(buckets) => {
                let at = bucket(hash, buckets);
                &self.items[self.begins[at] as usize..self.begins[at + 1] as usize]
            }
        };
        let same = items.iter().filter(move |(other, _)| *other == hash);
        same.map(|(_, rule)| *rule)
    }
}

fn bucket(hash: u64, buckets: usize) -> usize {
    usize::try_from(hash & (buckets as u64 - 1)).unwrap_or(0)
}

/// The hash of what something is and its id.
pub(super) fn of_id((tag, id): (u8, [u8; 16])) -> u64 {
    mix_id(&id) ^ u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The hash of a key and a value of the metadata: FNV-1a, spread.
pub(super) fn of_text(key: &str, value: &str) -> u64 {
    let bytes = key.bytes().chain([0]).chain(value.bytes());
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_in_its_order_and_nothing_else() {
        let key = |at: u8| of_id((1, [at; 16]));
        let mut items = Vec::new();
        for rule in 0..200_u32 {
            items.push((key(u8::try_from(rule % 50).expect("small")), rule));
        }
        let index = Index::new(items);
        for at in 0..50_u8 {
            let found: Vec<_> = index.get(key(at)).collect();
            let at = u32::from(at);
            assert_eq!(found, [at, at + 50, at + 100, at + 150]);
        }
        assert_eq!(index.get(key(51)).count(), 0);
        assert_eq!(Index::default().get(key(1)).count(), 0);
    }
}

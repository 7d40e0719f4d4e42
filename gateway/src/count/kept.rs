//! How many bytes of texts a worker thread's requests may hold in case they have to be counted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// For each worker thread: requests under way, and those that wait to be counted. What has no room is estimated by length.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A worker thread's allowance. Its own, so that no two threads write to it but when texts are counted.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    held: Arc<AtomicUsize>,
}

/// A part of the allowance, given back when it is dropped.
#[derive(Debug, Default)]
pub struct Kept {
    /// `None`: nothing may be held.
    allowance: Option<Allowance>,
    bytes: usize,
}

impl Allowance {
    /// A part of it, of nothing yet.
    #[must_use]
    pub fn open(&self) -> Kept {
        Kept {
            allowance: Some(self.clone()),
            bytes: 0,
        }
    }

    /// A part of it, of so many bytes, if there is room.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Option<Kept> {
        let mut kept = self.open();
        kept.grow(bytes).then_some(kept)
    }
}

impl Kept {
    /// Holds so many bytes more; whether there is room.
    pub fn grow(&mut self, more: usize) -> bool {
        let Some(Allowance { held }) = &self.allowance else {
            return false;
        };
        if held.fetch_add(more, Relaxed) + more > MOST_BYTES {
            held.fetch_sub(more, Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(Allowance { held }) = &self.allowance {
            held.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let allowance = Allowance::default();
        let mut half = allowance.hold(MOST_BYTES / 2).expect("there is room");
        assert!(half.grow(MOST_BYTES / 2));
        assert!(allowance.hold(1).is_none(), "all is held");
        assert!(!half.grow(1));
        drop(half);
        assert!(allowance.hold(MOST_BYTES).is_some());
        assert_eq!(allowance.held.load(Relaxed), 0);
        assert!(!Kept::default().grow(1), "a part of nothing");
    }
}

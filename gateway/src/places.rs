//! How many requests may be under way at once: of each key, so that none takes all there is, and of all together, so that
//! what a gateway promises its callers it can hold in memory and in connections.
//!
//! A place is taken once a key is known to work (whoever has none takes none), and given back when the exchange ends,
//! however that comes: with the place itself. Counting is exact across worker threads: a place is taken only where one is
//! free at that moment, in one step, without a lock.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use gateway_policy::EntryId;

/// Whose places are all taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The key's.
    Key,
    /// The whole gateway's.
    Gateway,
}

impl Bound {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Gateway => "gateway",
        }
    }
}

/// That as many requests are under way as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded {
    /// Whose places are all taken.
    pub bound: Bound,
    /// How many there are.
    pub most: u32,
}

/// How many requests are under way.
#[derive(Debug, Default)]
pub struct UnderWay(AtomicU32);

impl UnderWay {
    /// One more, unless there are so many.
    fn enter(&self, most: u32) -> bool {
        let more = |now| (now < most).then_some(now + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

/// On cache lines of its own: every thread writes here with each request, and would slow down whoever reads what lies beside.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(UnderWay);

/// The places that there are. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    taken: Arc<Apart>,
    most: u32,
    most_of_a_key: u32,
}

impl Places {
    /// So many, of which requests of one key may take so many.
    #[must_use]
    pub fn new(most: u32, most_of_a_key: u32) -> Self {
        Self {
            taken: Arc::default(),
            most,
            most_of_a_key,
        }
    }

    /// Takes a place for a request of the key of which so many are under way.
    ///
    /// # Errors
    /// [`Crowded`]: none is free.
    pub fn take(&self, key: &Arc<UnderWay>) -> Result<Place, Crowded> {
        let crowded = |bound, most| Err(Crowded { bound, most });
        if !key.enter(self.most_of_a_key) {
            return crowded(Bound::Key, self.most_of_a_key);
        }
        if !self.taken.0.enter(self.most) {
            key.leave();
            return crowded(Bound::Gateway, self.most);
        }
        Ok(Place {
            all: Arc::clone(&self.taken),
            key: Arc::clone(key),
        })
    }
}

/// A request's place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    all: Arc<Apart>,
    key: Arc<UnderWay>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.leave();
        self.key.leave();
    }
}

/// How many requests of each key are under way that was used lately.
#[derive(Debug, Default)]
pub struct AllKeys {
    by_key: Mutex<HashMap<EntryId, Arc<UnderWay>>>,
}

impl AllKeys {
    fn get(&self, key: &EntryId) -> Arc<UnderWay> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_key.entry(*key).or_default())
    }

    /// Forgets keys that no thread remembers.
    fn sweep(&self) {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.retain(|_, under_way| Arc::strong_count(under_way) > 1 || !under_way.is_none());
    }
}

/// One thread's way there: only the first request of a key on a thread takes the lock of all.
#[derive(Debug)]
pub struct ThreadKeys {
    all: Arc<AllKeys>,
    known: RefCell<HashMap<EntryId, Arc<UnderWay>, foldhash::fast::RandomState>>,
}

impl ThreadKeys {
    /// Knows no key yet.
    #[must_use]
    pub fn new(all: Arc<AllKeys>) -> Self {
        Self {
            all,
            known: RefCell::default(),
        }
    }

    /// How many of a key's requests are under way.
    #[must_use]
    pub fn of(&self, key: &EntryId) -> Arc<UnderWay> {
        let mut known = self.known.borrow_mut();
        match known.get(key) {
            Some(under_way) => Arc::clone(under_way),
            None => Arc::clone(known.entry(*key).or_insert_with(|| self.all.get(key))),
        }
    }

    /// Forgets keys of which nothing is under way: to be called from time to time.
    pub fn sweep(&self) {
        let is_used = |under_way: &Arc<UnderWay>| !under_way.is_none();
        self.known.borrow_mut().retain(|_, it| is_used(it));
        self.all.sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(taken: Result<Place, Crowded>) -> Option<Bound> {
        taken.err().map(|crowded| crowded.bound)
    }

    #[test]
    fn a_key_takes_no_more_than_its_places_and_leaves_others_theirs() {
        let places = Places::new(3, 2);
        let (one, other) = (Arc::default(), Arc::default());
        let held = [places.take(&one), places.take(&one)];
        assert_eq!(bound(places.take(&one)), Some(Bound::Key));
        let of_the_other = places.take(&other);
        assert_eq!(bound(places.take(&other)), Some(Bound::Gateway));
        drop(of_the_other);
        assert_eq!(bound(places.take(&other)), None);
        drop(held);
        assert_eq!(bound(places.take(&one)), None);
        assert!(places.taken.0.is_none() && one.is_none());
    }

    #[test]
    fn what_the_gateway_refuses_takes_no_place_of_the_key() {
        let places = Places::new(1, 1);
        let (one, other) = (Arc::default(), Arc::default());
        let held = places.take(&one);
        assert_eq!(bound(places.take(&other)), Some(Bound::Gateway));
        drop(held);
        assert_eq!(bound(places.take(&other)), None);
    }

    #[test]
    fn threads_that_race_never_hold_more_places_than_there_are_nor_lose_one() {
        let places = Places::new(1_000, 7);
        let key = Arc::<UnderWay>::default();
        let (held, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        // Three at a time: together more than there are.
                        let taken = [places.take(&key), places.take(&key), places.take(&key)];
                        let count = taken.iter().flatten().count();
                        let count = u32::try_from(count).expect("three at most");
                        most.fetch_max(held.fetch_add(count, Relaxed) + count, Relaxed);
                        held.fetch_sub(count, Relaxed);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 7);
        assert!(places.taken.0.is_none() && key.is_none());
    }

    #[test]
    fn a_key_is_forgotten_once_nothing_of_it_is_under_way() {
        let all = Arc::<AllKeys>::default();
        let (thread, other) = (
            ThreadKeys::new(Arc::clone(&all)),
            ThreadKeys::new(Arc::clone(&all)),
        );
        let places = Places::new(9, 9);
        let held = places.take(&thread.of(&[1; 16]));
        assert!(Arc::ptr_eq(&thread.of(&[1; 16]), &other.of(&[1; 16])));
        let keys = || all.by_key.lock().expect("not poisoned").len();
        thread.sweep();
        other.sweep();
        assert_eq!(keys(), 1);
        drop(held);
        thread.sweep();
        other.sweep();
        thread.sweep();
        assert_eq!(keys(), 0);
    }
}

//! Where a worker thread leaves its records. It never waits: the lock is held by the other side only while it swaps two
//! pointers, 40 times a second.
//!
//! A record that is finished is written as text at once, by the thread that made it and still has all of it in its caches: what
//! is handed over then is one piece of memory, and not a dozen for each record.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use events_schema::usage::UsageRecord;

use super::{json, tally::Cell};
use crate::{count::lacking::Lacking, trace::traced::Traced};

/// How many records may wait: a second of a thread's requests at full speed, some 32 MiB, and 8 MiB for each limit that concerns them
/// all.
pub const CAPACITY: usize = 32_768;
/// How many bytes of text may wait, however long records are.
const MAX_TEXT_BYTES: usize = 64 * 1024 * 1024;
/// How much room for text is kept where so much is not needed.
const KEPT_TEXT_BYTES: usize = 2 * 1024 * 1024;

/// What a worker thread leaves of a request.
#[derive(Debug)]
pub struct Left {
    /// Its record.
    pub record: UsageRecord,
    /// What of it is to be counted before it is sent; `None`: nothing.
    pub lacking: Option<Box<Lacking>>,
    /// What its spans are made of, beside the record; `None`: nobody is to be told.
    pub traced: Option<Box<Traced>>,
}

/// Records as they stand in a message, each by itself.
#[derive(Debug, Default)]
pub struct Written {
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

/// What waits in a ring.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Records that are finished.
    pub written: Written,
    /// Those with which something is to be done first.
    pub left: Vec<Left>,
    /// How many there was no room for.
    pub dropped: u64,
}

/// The records of one worker thread.
#[derive(Debug)]
pub struct Ring {
    waiting: Mutex<Waiting>,
    tally: Cell,
}

// === impl Written ===

impl Written {
    /// Writes one more.
    pub fn add(&mut self, record: &UsageRecord) {
        json::write(record, &mut self.text);
        self.ends.push(self.text.len());
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .map(|(begin, end)| &self.text[begin..*end])
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_TEXT_BYTES);
        self.ends.clear();
    }
}

// === impl Ring ===

impl Ring {
    /// An empty ring that counts its records in `tally`.
    #[must_use]
    pub fn new(tally: Cell) -> Self {
        Self {
            waiting: Mutex::default(),
            tally,
        }
    }

    /// Counts a record that is to be put: from then on a life of this gateway that is killed says that there is one.
    pub fn announce(&self) {
        self.tally.add_one();
    }

    /// Takes a record that was announced, or counts it as dropped when there is no room.
    pub fn put(&self, left: Left) {
        let mut waiting = self.lock();
        let Waiting {
            written,
            left: others,
            dropped,
        } = &mut *waiting;
        let is_full = written.ends.len() + others.len() >= CAPACITY;
        if is_full || written.text.len() >= MAX_TEXT_BYTES {
            *dropped += 1;
        } else if left.lacking.is_none() && left.traced.is_none() {
            written.add(&left.record);
        } else {
            others.push(left);
        }
    }

    /// Gives `room` for new records and takes the old ones in its place.
    pub fn swap(&self, room: &mut Waiting) {
        debug_assert!(
            room.written.ends.is_empty() && room.left.is_empty() && room.dropped == 0,
            "what was taken before has been seen to"
        );
        mem::swap(&mut *self.lock(), room);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

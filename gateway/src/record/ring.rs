//! Where a worker thread leaves its records. It never waits: the lock is held by the other side only while it swaps two
//! pointers, 40 times a second.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use events_schema::usage::UsageRecord;

use super::tally::Cell;
use crate::{count::lacking::Lacking, trace::traced::Traced};

/// How many records may wait: a second of a thread's requests at full speed, some 16 MiB.
pub const CAPACITY: usize = 32_768;

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

/// The records of one worker thread.
#[derive(Debug)]
pub struct Ring {
    held: Mutex<Held>,
    tally: Cell,
}

#[derive(Debug, Default)]
struct Held {
    records: Vec<Left>,
    dropped: u64,
}

impl Ring {
    /// An empty ring that counts its records in `tally`.
    #[must_use]
    pub fn new(tally: Cell) -> Self {
        Self {
            held: Mutex::default(),
            tally,
        }
    }

    /// Takes a record, or counts it as dropped when there is no room.
    pub fn put(&self, record: Left) {
        self.tally.add_one();
        let mut held = self.lock();
        if held.records.len() < CAPACITY {
            held.records.push(record);
        } else {
            held.dropped += 1;
        }
    }

    /// Gives `room` for new records and takes the old ones in its place; returns how many were dropped since.
    pub fn swap(&self, room: &mut Vec<Left>) -> u64 {
        debug_assert!(room.is_empty(), "what was taken before has been seen to");
        let mut held = self.lock();
        mem::swap(&mut held.records, room);
        mem::take(&mut held.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

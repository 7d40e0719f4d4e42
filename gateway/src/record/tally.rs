//! How many records each life of this gateway has made, in a file that is mapped into memory: what a worker has counted
//! is in the kernel's hands at once, and survives `kill -9` (not the machine's).
//!
//! A file for each incarnation, named after it: a word of 64 bits, little-endian, for each worker thread, each on a cache
//! line of its own. A life that ends well removes its file; what is left tells of lives that did not.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use memmap2::{MmapOptions, MmapRaw};
use uuid::Uuid;

/// The distance of two threads' words: they never share a cache line.
const STRIDE: usize = 64;

/// The tally of this life.
#[derive(Debug)]
pub struct Tally {
    map: Arc<MmapRaw>,
    path: PathBuf,
}

/// One worker thread's word.
#[derive(Debug, Clone)]
pub struct Cell {
    map: Arc<MmapRaw>,
    at: usize,
}

/// A life that ended without a farewell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub incarnation: Uuid,
    /// How many records it had made.
    pub made: u64,
    path: PathBuf,
}

impl Tally {
    /// Begins one at zero.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(folder: &Path, incarnation: Uuid, workers: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(incarnation.as_simple().to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        // Written, not only made longer: a hole that the disk has no room for would end the process at the first count.
        (&file).write_all(&vec![0; workers.max(1) * STRIDE])?;
        file.sync_data()?;
        let map = MmapOptions::new().map_raw(&file)?;
        Ok(Self {
            map: Arc::new(map),
            path,
        })
    }

    /// The word of a worker thread.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn cell(&self, worker: usize) -> Cell {
        let at = worker * STRIDE;
        assert!(
            at < self.map.len(),
            "the tally was made for fewer worker threads"
        );
        Cell {
            map: Arc::clone(&self.map),
            at,
        }
    }

    /// This life ends well: nothing is to be told of it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

impl Cell {
    /// Counts one record.
    pub fn add_one(&self) {
        self.word().fetch_add(1, Relaxed);
    }

    #[expect(
        unsafe_code,
        reason = "a word that outlives the process can only lie in mapped memory"
    )]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: `at` is a multiple of 64 within the map, which begins at a page's border, and 8 bytes fit there; the map
        // lives as long as `self`; whoever else looks at these bytes in this process does so through this very function.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(self.at).cast()) }
    }
}

/// The lives that ended without a farewell, as their files tell.
///
/// # Errors
/// Those of the file system.
pub fn take_ended(folder: &Path) -> io::Result<Vec<Ended>> {
    fs::create_dir_all(folder)?;
    let mut ended = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Ok(incarnation) = Uuid::try_parse(name) else {
            continue;
        };
        let words = fs::read(&path)?;
        let made = words
            .chunks(STRIDE)
            .filter_map(|chunk| chunk.first_chunk())
            .map(|word| u64::from_le_bytes(*word))
            .sum();
        ended.push(Ended {
            incarnation,
            made,
            path,
        });
    }
    Ok(ended)
}

impl Ended {
    /// It has been told.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_there_for_the_next_life() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let tally = Tally::create(folder.path(), one, 2).expect("made");
        for worker in [0, 1, 1] {
            tally.cell(worker).add_one();
        }
        drop(tally);
        let ended = take_ended(folder.path()).expect("read");
        let [life] = &ended[..] else {
            panic!("one life: {ended:?}");
        };
        assert_eq!((life.incarnation, life.made), (one, 3));
        life.clone().forget().expect("removed");
        Tally::create(folder.path(), other, 1)
            .expect("made")
            .remove()
            .expect("removed");
        assert_eq!(take_ended(folder.path()).expect("read"), []);
    }
}

//! Messages on disk, oldest first, while NATS does not take them.
//!
//! Segments of a few MiB, `<number>.spool`; a segment is frames without anything between them:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the payload |
//! | 8 | number of the first record |
//! | 8 | how many records |
//! | 16 | incarnation |
//! | 8 | the beginning of BLAKE3 over all other bytes |
//! | n | payload |
//!
//! Numbers are little-endian. A process that was killed may leave half a frame at the end of a segment: it is passed
//! over. Nothing is synced: what was written survives the process, not the machine. A frame that is sent stays until its
//! whole segment is; `USAGE` refuses what it has.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use uuid::Uuid;

use super::batch::Batch;

/// A segment is closed when it has this many bytes.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// The bytes before a payload.
const HEAD: usize = 44;
/// Where the checksum lies in them.
const SUM_AT: usize = 36;
/// A longer payload was not written by us: a batch is closed at 256 KiB.
const MAX_PAYLOAD: u32 = 4 * 1024 * 1024;

/// Messages on disk.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    next_segment: u64,
    writer: Option<File>,
    reader: Option<File>,
    /// The oldest message, once it was looked at.
    front: Option<Batch>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Records that were written and not sent yet.
    records: u64,
}

impl Spool {
    /// Opens the spool in a folder, with what an earlier life left there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut segments = Vec::new();
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number = stem.and_then(|stem| stem.parse().ok());
            let (Some(number), Some("spool")) =
                (number, path.extension().and_then(|end| end.to_str()))
            else {
                continue;
            };
            let bytes = fs::metadata(&path)?.len();
            let records = count(&path)?;
            segments.push(Segment {
                number,
                bytes,
                records,
            });
        }
        segments.sort_unstable_by_key(|segment| segment.number);
        let next_segment = segments.last().map_or(0, |last| last.number + 1);
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes,
            segment_bytes: SEGMENT_BYTES.min(max_bytes / 8),
            segments: segments.into(),
            next_segment,
            writer: None,
            reader: None,
            front: None,
        })
    }

    /// How many bytes lie on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Writes a message behind all others; returns how many records were dropped to make room, oldest first.
    ///
    /// # Errors
    /// Those of the file system; the message is then not in the spool.
    pub fn append(&mut self, batch: &Batch) -> io::Result<u64> {
        let frame = frame(batch)?;
        let length = frame.len() as u64;
        let mut dropped = 0;
        while self.bytes() + length > self.max_bytes && !self.segments.is_empty() {
            dropped += self.drop_oldest();
        }
        let full = self
            .segments
            .back()
            .is_none_or(|last| last.bytes >= self.segment_bytes);
        if self.writer.is_none() || full {
            self.begin_segment()?;
        }
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        if let Err(error) = writer.write_all(&frame) {
            self.take_back();
            return Err(error);
        }
        segment.bytes += length;
        segment.records += batch.count;
        Ok(dropped)
    }

    /// After a write that failed: half a frame may stand at the end of the last segment, and nothing could follow it.
    fn take_back(&mut self) {
        let (Some(mut writer), Some(segment)) = (self.writer.take(), self.segments.back()) else {
            return;
        };
        let (number, bytes) = (segment.number, segment.bytes);
        if bytes == 0 {
            // It is this spool's, made for the frame that failed: without it, nothing is lost.
            self.segments.pop_back();
            let _left = fs::remove_file(self.path(number));
            if self.segments.is_empty() {
                (self.reader, self.front) = (None, None);
            }
        } else if writer.set_len(bytes).is_ok() && writer.seek(SeekFrom::Start(bytes)).is_ok() {
            self.writer = Some(writer);
        }
    }

    /// The oldest message, without taking it out.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn front(&mut self) -> io::Result<Option<&Batch>> {
        while self.front.is_none() {
            let Some(oldest) = self.segments.front() else {
                return Ok(None);
            };
            let path = self.path(oldest.number);
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => match File::open(path) {
                    Ok(file) => none.insert(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.end_of_oldest();
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let begin = reader.stream_position()?;
            match read_frame(reader) {
                Ok(Some(batch)) => self.front = Some(batch),
                Ok(None) => self.end_of_oldest(),
                Err(error) => {
                    // The next try begins at this frame, not in the middle of it.
                    reader.seek(SeekFrom::Start(begin))?;
                    return Err(error);
                }
            }
        }
        Ok(self.front.as_ref())
    }

    /// Takes the oldest message out, after it was looked at and sent.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn pop(&mut self) -> io::Result<()> {
        if let (Some(sent), Some(oldest)) = (self.front.take(), self.segments.front_mut()) {
            oldest.records = oldest.records.saturating_sub(sent.count);
        }
        self.front().map(|_| ())
    }

    /// Everything in the oldest segment was sent, or cannot be read.
    fn end_of_oldest(&mut self) {
        let unreadable = self.drop_oldest();
        if unreadable > 0 {
            tracing::error!(
                records = unreadable,
                "a segment of the spool is damaged or gone: its records are lost"
            );
        }
    }

    /// Removes the oldest segment; returns how many records in it had not been sent. A file that cannot be removed is
    /// no longer this life's concern: the next one sends what is in it again, and `USAGE` refuses it.
    fn drop_oldest(&mut self) -> u64 {
        let Some(oldest) = self.segments.pop_front() else {
            return 0;
        };
        let path = self.path(oldest.number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "a segment of the spool cannot be removed");
            }
            Ok(()) | Err(_) => {}
        }
        (self.reader, self.front) = (None, None);
        if self.segments.is_empty() {
            self.writer = None;
        }
        oldest.records
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let number = self.next_segment;
        // Also when it cannot be made: what is there already is not this spool's.
        self.next_segment += 1;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(number))?;
        self.writer = Some(file);
        self.segments.push_back(Segment {
            number,
            bytes: 0,
            records: 0,
        });
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.spool"))
    }
}

fn frame(batch: &Batch) -> io::Result<Vec<u8>> {
    let length = u32::try_from(batch.payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(HEAD + batch.payload.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&batch.first_number.to_le_bytes());
    frame.extend_from_slice(&batch.count.to_le_bytes());
    frame.extend_from_slice(batch.incarnation.as_bytes());
    let sum = sum(&frame, &batch.payload);
    frame.extend_from_slice(&sum);
    frame.extend_from_slice(&batch.payload);
    Ok(frame)
}

fn sum(head: &[u8], payload: &[u8]) -> [u8; HEAD - SUM_AT] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(payload);
    let mut sum = [0; HEAD - SUM_AT];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// The parts of a frame's head: length, first number, count, incarnation, checksum.
fn parse_head(head: &[u8; HEAD]) -> (u32, u64, u64, Uuid) {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let mut length = [0; 4];
    length.copy_from_slice(&head[..4]);
    let mut id = [0; 16];
    id.copy_from_slice(&head[20..SUM_AT]);
    (
        u32::from_le_bytes(length),
        word(4),
        word(12),
        Uuid::from_bytes(id),
    )
}

/// The next frame; `None` at the end, and where what follows is no whole frame.
fn read_frame(file: &mut File) -> io::Result<Option<Batch>> {
    let Some(head) = read_head(file)? else {
        return Ok(None);
    };
    let (length, first_number, count, incarnation) = parse_head(&head);
    if length > MAX_PAYLOAD {
        return Ok(None);
    }
    let mut payload = Vec::new();
    (&*file).take(u64::from(length)).read_to_end(&mut payload)?;
    if sum(&head[..SUM_AT], &payload) != head[SUM_AT..] {
        return Ok(None);
    }
    Ok(Some(Batch {
        incarnation,
        first_number,
        count,
        payload: Bytes::from(payload),
    }))
}

fn read_head(file: &mut File) -> io::Result<Option<[u8; HEAD]>> {
    let mut head = [0; HEAD];
    match file.read_exact(&mut head) {
        Ok(()) => Ok(Some(head)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many records a segment says it holds, by its frames' heads.
fn count(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    let (mut at, mut records) = (0, 0);
    while let Some(head) = read_head(&mut file)? {
        let (length, _, count, _) = parse_head(&head);
        at += HEAD as u64 + u64::from(length);
        if at > end {
            break;
        }
        records += count;
        file.seek(SeekFrom::Start(at))?;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first_number: u64, count: u64, bytes: usize) -> Batch {
        Batch {
            incarnation: Uuid::from_u128(7),
            first_number,
            count,
            payload: vec![b'x'; bytes].into(),
        }
    }

    fn drain(spool: &mut Spool) -> Vec<Batch> {
        let mut all = Vec::new();
        while let Some(front) = spool.front().expect("readable").cloned() {
            all.push(front);
            spool.pop().expect("removable");
        }
        all
    }

    #[test]
    fn messages_come_back_in_order_also_to_the_next_life() {
        let folder = tempfile::tempdir().expect("a folder");
        let written: Vec<_> = (1..=40)
            .map(|number| batch(number, 1, 100 * usize::try_from(number).expect("small")))
            .collect();
        let open = || Spool::open(folder.path(), 1 << 20).expect("opened");
        let mut spool = open();
        for batch in &written[..20] {
            assert_eq!(spool.append(batch).expect("written"), 0);
        }
        let mut spool = open();
        for batch in &written[20..] {
            assert_eq!(spool.append(batch).expect("written"), 0);
        }
        assert_eq!(drain(&mut spool), written);
        assert!(spool.is_empty());
        assert_eq!((spool.bytes(), open().bytes()), (0, 0));
    }

    #[test]
    fn what_was_not_taken_out_stays_at_the_front() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(folder.path(), 1 << 20).expect("opened");
        for number in 1..=3 {
            spool.append(&batch(number, 1, 10)).expect("written");
        }
        for _ in 0..2 {
            let front = spool.front().expect("readable").expect("there");
            assert_eq!(front.first_number, 1);
        }
        spool.pop().expect("removable");
        spool.append(&batch(4, 1, 10)).expect("written");
        let numbers: Vec<_> = drain(&mut spool).iter().map(|it| it.first_number).collect();
        assert_eq!(numbers, [2, 3, 4]);
    }

    #[test]
    fn a_full_spool_drops_the_oldest_and_says_how_many_records() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(folder.path(), 16 * 1024).expect("opened");
        let mut dropped = 0;
        for number in 0..100 {
            dropped += spool
                .append(&batch(1 + number * 5, 5, 1_000))
                .expect("written");
            assert!(spool.bytes() <= 16 * 1024);
        }
        let left = drain(&mut spool);
        assert_eq!(
            dropped + left.iter().map(|it| it.count).sum::<u64>(),
            500,
            "none is unaccounted for"
        );
        assert_eq!(left.last().map(Batch::last_number), Some(500));
    }

    #[test]
    fn half_a_frame_at_the_end_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(folder.path(), 1 << 20).expect("opened");
        spool.append(&batch(1, 1, 10)).expect("written");
        let path = spool.path(0);
        let whole = fs::read(&path).expect("readable");
        let half = &frame(&batch(2, 1, 100)).expect("short")[..60];
        fs::write(&path, [&whole[..], half].concat()).expect("writable");
        let mut spool = Spool::open(folder.path(), 1 << 20).expect("opened");
        spool.append(&batch(3, 1, 10)).expect("written");
        let numbers: Vec<_> = drain(&mut spool).iter().map(|it| it.first_number).collect();
        assert_eq!(numbers, [1, 3]);
    }

    #[test]
    fn a_frame_that_was_changed_is_not_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = frame(&batch(1, 1, 50)).expect("short");
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            fs::write(folder.path().join("000000000000.spool"), &changed).expect("writable");
            let mut spool = Spool::open(folder.path(), 1 << 20).expect("opened");
            assert_eq!(drain(&mut spool), [], "byte {at} changed");
        }
    }

    #[test]
    fn a_segment_that_is_gone_blocks_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(folder.path(), 16 * 1024).expect("opened");
        for number in 1..=6 {
            spool.append(&batch(number, 1, 1_500)).expect("written");
        }
        assert!(spool.segments.len() > 2, "each segment holds a part");
        fs::remove_file(spool.path(0)).expect("removable");
        let numbers: Vec<_> = drain(&mut spool).iter().map(|it| it.first_number).collect();
        assert_eq!(numbers.last(), Some(&6));
        assert!(numbers.len() < 6 && spool.is_empty());
    }

    #[test]
    fn what_could_not_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(folder.path(), 1 << 20).expect("opened");
        let only_read = |spool: &Spool, number| File::open(spool.path(number)).expect("there");
        // As on a full disk: the first frame of a segment, then one behind others.
        spool.begin_segment().expect("made");
        spool.writer = Some(only_read(&spool, 0));
        spool.append(&batch(1, 1, 10)).expect_err("not writable");
        assert!(spool.is_empty() && !spool.path(0).exists());
        spool.append(&batch(1, 1, 10)).expect("written");
        spool.writer = Some(only_read(&spool, 1));
        spool.append(&batch(2, 1, 10)).expect_err("not writable");
        spool.append(&batch(2, 1, 10)).expect("written");
        let numbers: Vec<_> = drain(&mut spool).iter().map(|it| it.first_number).collect();
        assert_eq!(numbers, [1, 2]);
    }
}

//! The view on disk: what a gateway starts from when the stream is away.
//!
//! One file, written beside and renamed, so that there is always a whole one. In bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `SLV1` |
//! | 4 + n | length and JSON of [`Head`] |
//! | for each entry: 1 + 16 + 8 + 4 + n | kind, id, position, length and payload |
//! | 32 | MAC: keyed BLAKE3 over all bytes above, under the ring's key that the head names |
//!
//! Numbers are little-endian. The MAC is verified before an entry is looked at, the digest afterwards.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use events_schema::{
    envelope::Epoch,
    keyring::KeyRing,
    secrets::hex_32,
    snapshot::{DigestKey, EntryKind, EntrySubject},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{View, tables::Tables};

const MAGIC: [u8; 4] = *b"SLV1";
const MAC: usize = 32;
/// Stands before the bytes under the MAC, so that no frame of the stream is ever taken for a file.
const DOMAIN: &[u8] = b"sluice view file v1";

/// What the file says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    epoch: Epoch,
    position: u64,
    #[serde(with = "hex_32")]
    log_hash: [u8; 32],
    #[serde(default)]
    lacks_from: Option<u64>,
    unproven: bool,
    entries: u64,
    #[serde(with = "hex_32")]
    entries_digest: [u8; 32],
    digest_key: String,
    /// When the stream was last heard, in microseconds since 1970.
    heard_at_us: i64,
    /// The id of the key that made the MAC.
    mac_key: String,
}

/// A view as it lay on disk.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) view: View,
    /// When the stream was last heard before it was written.
    pub(super) heard_at: Timestamp,
}

/// Why the file cannot be used. The gateway then waits for the stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("reading the view's file")]
    Read(#[source] io::Error),
    #[error("the view's file is cut short, or of another format")]
    Format,
    #[error("the view's file is under the key '{0}', which is not in the ring")]
    UnknownKey(String),
    #[error("the view's file was changed after it was written")]
    Mac,
    #[error("the view's entries do not add up to their digest")]
    Digest,
}

/// Writes the view's file in place of the one before, and waits until it is on the disk.
///
/// # Errors
/// Those of the file system; the file before is then still there.
pub(super) fn write(
    path: &Path,
    ring: &KeyRing,
    view: &View,
    heard_at: Timestamp,
) -> io::Result<()> {
    let Some(epoch) = view.epoch else {
        return Ok(());
    };
    let (mac_key, key) = ring.active();
    let head = Head {
        epoch,
        position: view.position,
        log_hash: view.log_hash,
        lacks_from: view.lacks_from,
        unproven: view.unproven,
        entries: view.tables.count(),
        entries_digest: view.tables.digest().bytes(),
        digest_key: view.digest_key.clone(),
        heard_at_us: heard_at.micros(),
        mac_key: mac_key.to_owned(),
    };
    let beside = path.with_extension("new");
    let mut out = Sealed {
        file: BufWriter::with_capacity(1 << 18, File::create(&beside)?),
        mac: hasher(key),
    };
    out.put(&MAGIC)?;
    out.sized(&serde_json::to_vec(&head)?)?;
    let mut written = Ok(());
    view.tables.for_each(|subject, position, payload| {
        if written.is_ok() {
            written = out.entry(subject, position, payload);
        }
    });
    written?;
    let mac = *out.mac.finalize().as_bytes();
    out.file.write_all(&mac)?;
    out.file
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads the view's file; `None` when there is none.
///
/// # Errors
/// See [`DiskError`].
pub(super) fn read(path: &Path, ring: &KeyRing) -> Result<Option<Stored>, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::Read(error)),
    };
    let (body, mac) = bytes.split_last_chunk::<MAC>().ok_or(DiskError::Format)?;
    let mut rest = Bytes(body);
    if rest.chunk::<4>()? != MAGIC {
        return Err(DiskError::Format);
    }
    // Only the name of the key is used before the MAC is verified.
    let head: Head = serde_json::from_slice(rest.sized()?).map_err(|_| DiskError::Format)?;
    let key = ring
        .get(&head.mac_key)
        .ok_or_else(|| DiskError::UnknownKey(head.mac_key.clone()))?;
    let mut hasher = hasher(key);
    hasher.update(body);
    if hasher.finalize() != blake3::Hash::from_bytes(*mac) {
        return Err(DiskError::Mac);
    }
    let digest_key = ring
        .get(&head.digest_key)
        .ok_or_else(|| DiskError::UnknownKey(head.digest_key.clone()))?;
    let tables = entries(rest, &DigestKey::derive(digest_key))?;
    if tables.count() != head.entries || tables.digest().bytes() != head.entries_digest {
        return Err(DiskError::Digest);
    }
    let heard_at = Timestamp::from_micros(head.heard_at_us).map_err(|_| DiskError::Format)?;
    let view = View {
        epoch: Some(head.epoch),
        position: head.position,
        log_hash: head.log_hash,
        lacks_from: head.lacks_from,
        unproven: head.unproven,
        from_disk: true,
        digest_key: head.digest_key,
        tables,
    };
    Ok(Some(Stored { view, heard_at }))
}

fn entries(mut rest: Bytes<'_>, key: &DigestKey) -> Result<Tables, DiskError> {
    let mut tables = Tables::default();
    while !rest.0.is_empty() {
        let [kind] = rest.chunk::<1>()?;
        let kind = *EntryKind::ALL
            .get(usize::from(kind))
            .ok_or(DiskError::Format)?;
        let id = rest.chunk::<16>()?;
        let position = u64::from_le_bytes(rest.chunk()?);
        let payload = rest.sized()?;
        tables
            .put(key, EntrySubject { kind, id }, position, payload)
            .map_err(|_| DiskError::Format)?;
    }
    Ok(tables)
}

fn hasher(key: &[u8; 32]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(DOMAIN);
    hasher
}

/// What is written goes through the MAC.
struct Sealed {
    file: BufWriter<File>,
    mac: blake3::Hasher,
}

impl Sealed {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mac.update(bytes);
        self.file.write_all(bytes)
    }

    fn sized(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn entry(&mut self, subject: EntrySubject, position: u64, payload: &[u8]) -> io::Result<()> {
        let kind = EntryKind::ALL.iter().position(|kind| *kind == subject.kind);
        let kind = kind
            .and_then(|kind| u8::try_from(kind).ok())
            .expect("ALL lists every kind, and there are few");
        let mut fixed = [0; 25];
        fixed[0] = kind;
        fixed[1..17].copy_from_slice(&subject.id);
        fixed[17..].copy_from_slice(&position.to_le_bytes());
        self.put(&fixed)?;
        self.sized(payload)
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DiskError> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(DiskError::Format)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn sized(&mut self) -> Result<&'a [u8], DiskError> {
        let length = u32::from_le_bytes(self.chunk()?);
        let length = usize::try_from(length).map_err(|_| DiskError::Format)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DiskError::Format)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use events_schema::snapshot::entries::{Entry, UserEntry};
    use uuid::Uuid;

    use super::*;

    fn ring(byte: &str) -> KeyRing {
        KeyRing::parse(&format!(
            r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#,
            byte.repeat(32)
        ))
        .expect("a good ring")
    }

    fn view() -> View {
        let mut tables = Tables::default();
        let key = DigestKey::derive(ring("01").active().1);
        for id in 0..3 {
            let payload = Entry::User(UserEntry {
                id: [id; 16],
                disabled: id == 1,
            })
            .archive();
            let subject = EntrySubject {
                kind: EntryKind::User,
                id: [id; 16],
            };
            tables
                .put(&key, subject, u64::from(id) + 1, &payload)
                .expect("a good entry");
        }
        View {
            epoch: Some(Epoch {
                seconds: 9,
                id: Uuid::from_bytes([9; 16]),
            }),
            position: 3,
            digest_key: "k1".into(),
            tables,
            ..View::default()
        }
    }

    #[test]
    fn a_view_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("view");
        let heard_at = Timestamp::from_micros(77).expect("in range");
        write(&path, &ring("01"), &view(), heard_at).expect("written");
        let stored = read(&path, &ring("01")).expect("good").expect("there");
        assert_eq!(
            (stored.view.position, stored.heard_at, stored.view.from_disk),
            (3, heard_at, true)
        );
        assert_eq!(stored.view.tables.digest(), view().tables.digest());
    }

    #[test]
    fn a_file_that_was_changed_cut_or_made_under_another_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("view");
        write(&path, &ring("01"), &view(), Timestamp::MIN).expect("written");
        assert!(matches!(read(&path, &ring("02")), Err(DiskError::Mac)));
        let good = fs::read(&path).expect("readable");
        for at in (0..good.len()).step_by(7) {
            let mut changed = good.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).expect("writable");
            assert!(read(&path, &ring("01")).is_err(), "byte {at} changed");
            fs::write(&path, &good[..at]).expect("writable");
            assert!(read(&path, &ring("01")).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn where_no_file_is_there_is_no_view() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(
            read(&folder.path().join("view"), &ring("01"))
                .expect("no error")
                .is_none()
        );
    }
}

//! What gateways read: one message for each thing that they must know of, on the compacted stream `SNAPSHOTS`.
//!
//! - [`entries`]: the rkyv archives, one type for each kind of thing, and how they follow from the state;
//! - [`routing`], [`limits`], [`budgets`]: the largest of them;
//! - [`frame`]: the header before each archive, with the MAC that is verified before the archive is touched;
//! - [`EntriesDigest`]: the order-independent digest over all live entries, kept up in O(1) a change;
//! - [`Heartbeat`]: what the publisher says that the entries before it add up to.

mod accounts;
pub mod budgets;
mod callers;
pub mod entries;
pub mod frame;
pub mod limits;
pub mod routing;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    entries::{EntryKind, EntrySubject},
    frame::{Frame, FrameError, FrameHeader},
};
use crate::secrets::hex_32;

/// The schema of entries and heartbeats that this version writes.
pub const SCHEMA: u16 = 1;

/// The prefix of all entries' subjects; the kind and the id follow.
pub const ENTRY_PREFIX: &str = "snap.v1.";

/// An order-independent digest over a set of entries: the sum, modulo 2^256 in four lanes of 64 bits, of a keyed
/// BLAKE3 hash of each (subject, position, payload). A multiset hash after Clarke et al., *Incremental Multiset
/// Hash Functions and Their Application to Memory Integrity Checking* (2003), `MSet-Add-Hash`, with lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntriesDigest([u64; 4]);

/// The hash of one entry, as it is added to an [`EntriesDigest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHash([u64; 4]);

/// The key of entries' digests, derived from a key of the MAC ring.
#[derive(Clone)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// Derives the key.
    #[must_use]
    pub fn derive(mac_key: &[u8; 32]) -> Self {
        Self(blake3::derive_key(
            "sluice 2026-11-22 entries digest v1",
            mac_key,
        ))
    }

    /// The hash of a live entry.
    #[must_use]
    pub fn hash(&self, subject: &str, position: u64, payload: &[u8]) -> EntryHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(subject.len() as u64).to_le_bytes());
        hasher.update(subject.as_bytes());
        hasher.update(&position.to_le_bytes());
        hasher.update(payload);
        let hash = hasher.finalize();
        let mut lanes = [0; 4];
        for (lane, bytes) in lanes.iter_mut().zip(hash.as_bytes().as_chunks::<8>().0) {
            *lane = u64::from_le_bytes(*bytes);
        }
        EntryHash(lanes)
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl EntriesDigest {
    /// Adds an entry.
    pub fn add(&mut self, entry: EntryHash) {
        for (lane, value) in self.0.iter_mut().zip(entry.0) {
            *lane = lane.wrapping_add(value);
        }
    }

    /// Takes away an entry that was added before.
    pub fn remove(&mut self, entry: EntryHash) {
        for (lane, value) in self.0.iter_mut().zip(entry.0) {
            *lane = lane.wrapping_sub(value);
        }
    }

    /// The digest as bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, lane) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = lane.to_le_bytes();
        }
        bytes
    }
}

impl fmt::Display for EntriesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.bytes()))
    }
}

/// What the publisher says at the end of a batch and a few times a second: the payload (JSON) of a frame on
/// the subject [`crate::subjects::HEARTBEAT`]. Epoch and generation stand in the frame's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The position of the log that the entries before this message add up to.
    pub position: u64,
    /// The log's hash at that position.
    #[serde(with = "hex_32")]
    pub log_hash: [u8; 32],
    /// How many live entries there are.
    pub entries: u64,
    /// [`EntriesDigest::bytes`] over all live entries.
    #[serde(with = "hex_32")]
    pub entries_digest: [u8; 32],
    /// The id, in the MAC ring, of the key from which the digest's key is derived.
    pub digest_key: String,
    /// When it was published, in microseconds since 1970.
    pub published_at_us: i64,
    /// The lowest position whose change is not among the entries: a provider account waits for its sealed credential.
    /// `None`: nothing is lacking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks_from: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_the_order_and_forgets_what_is_removed() {
        let key = DigestKey::derive(&[1; 32]);
        let entries = [
            key.hash("snap.v1.key.a", 1, b"x"),
            key.hash("snap.v1.key.b", 2, b"y"),
            key.hash("c", 3, b""),
        ];
        let mut forwards = EntriesDigest::default();
        entries.iter().for_each(|entry| forwards.add(*entry));
        let mut backwards = EntriesDigest::default();
        entries.iter().rev().for_each(|entry| backwards.add(*entry));
        assert_eq!(forwards, backwards);
        entries.iter().for_each(|entry| backwards.remove(*entry));
        assert_eq!(backwards, EntriesDigest::default());
    }

    #[test]
    fn subject_position_payload_and_key_each_change_the_hash() {
        let key = DigestKey::derive(&[1; 32]);
        let hash = key.hash("a", 1, b"x");
        for other in [
            key.hash("b", 1, b"x"),
            key.hash("a", 2, b"x"),
            key.hash("a", 1, b"y"),
        ] {
            assert_ne!(hash, other);
        }
        assert_ne!(hash, DigestKey::derive(&[2; 32]).hash("a", 1, b"x"));
    }
}

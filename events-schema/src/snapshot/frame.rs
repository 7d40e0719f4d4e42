//! The header before each archive on `SNAPSHOTS`, in bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `SLS1` |
//! | 1 | flags: bit 0 tombstone |
//! | 1 | length of the MAC key's id |
//! | 2 | schema |
//! | 8 | position of the thing's last event (of the log, for a heartbeat) |
//! | 8 | the publisher's generation |
//! | 8 + 16 | epoch: seconds, id |
//! | n | the MAC key's id |
//! | 32 | MAC: keyed BLAKE3 over the subject's length and text, all bytes above, and the payload |
//! | rest | payload; empty in a tombstone |
//!
//! Numbers are little-endian. The MAC is verified before the payload is looked at: rkyv's own validation is no
//! security boundary.

use uuid::Uuid;

use crate::{envelope::Epoch, keyring::KeyRing};

const MAGIC: [u8; 4] = *b"SLS1";
const FIXED: usize = 4 + 1 + 1 + 2 + 8 + 8 + 8 + 16;
const MAC: usize = 32;
const TOMBSTONE: u8 = 1;

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The position of the thing's last event; for a heartbeat, of the log.
    pub position: u64,
    /// The publisher's generation: each publisher that takes over has a higher one.
    pub generation: u64,
    /// The schema of the payload.
    pub schema: u16,
    /// Whether the thing is gone.
    pub tombstone: bool,
}

/// A message whose MAC was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What stands before the payload.
    pub header: FrameHeader,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short, or not begun as frames are.
    #[error("this is not a snapshot frame")]
    NotAFrame,
    /// The MAC key is not in the ring.
    #[error("the frame's MAC key '{0}' is not in the ring")]
    UnknownKey(String),
    /// The MAC does not fit subject, header and payload.
    #[error("the frame's MAC is wrong")]
    Mac,
}

impl FrameHeader {
    /// The whole message: header, MAC under the ring's active key, payload.
    #[must_use]
    pub fn seal(&self, ring: &KeyRing, subject: &str, payload: &[u8]) -> Vec<u8> {
        let (key_id, key) = ring.active();
        let mut message = Vec::with_capacity(FIXED + key_id.len() + MAC + payload.len());
        message.extend(MAGIC);
        message.push(if self.tombstone { TOMBSTONE } else { 0 });
        message.push(u8::try_from(key_id.len()).expect("a key's id has at most 16 characters"));
        message.extend(self.schema.to_le_bytes());
        message.extend(self.position.to_le_bytes());
        message.extend(self.generation.to_le_bytes());
        message.extend(self.epoch.seconds.to_le_bytes());
        message.extend(self.epoch.id.as_bytes());
        message.extend(key_id.as_bytes());
        let mac = mac(key, subject, &message, payload);
        message.extend(mac.as_bytes());
        message.extend(payload);
        message
    }
}

impl<'a> Frame<'a> {
    /// Verifies and reads a message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn open(ring: &KeyRing, subject: &str, message: &'a [u8]) -> Result<Self, FrameError> {
        let (fixed, rest) = message
            .split_first_chunk::<FIXED>()
            .ok_or(FrameError::NotAFrame)?;
        if fixed[..4] != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        let (key_id, rest) = rest
            .split_at_checked(usize::from(fixed[5]))
            .ok_or(FrameError::NotAFrame)?;
        let (sent, payload) = rest
            .split_first_chunk::<MAC>()
            .ok_or(FrameError::NotAFrame)?;
        let key_text = std::str::from_utf8(key_id).map_err(|_| FrameError::NotAFrame)?;
        let key = ring
            .get(key_text)
            .ok_or_else(|| FrameError::UnknownKey(key_text.to_owned()))?;
        // blake3's comparison takes the same time wherever the two differ.
        if mac(key, subject, &message[..FIXED + key_id.len()], payload)
            != blake3::Hash::from_bytes(*sent)
        {
            return Err(FrameError::Mac);
        }
        Ok(Self {
            header: read_header(fixed),
            payload,
        })
    }
}

/// The id of the MAC key that a frame names, verified or not; `None` when it is too short for one.
#[must_use]
pub fn key_id(message: &[u8]) -> Option<&str> {
    let (fixed, rest) = message.split_first_chunk::<FIXED>()?;
    rest.get(..usize::from(fixed[5]))
        .and_then(|id| std::str::from_utf8(id).ok())
}

fn read_header(fixed: &[u8; FIXED]) -> FrameHeader {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&fixed[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let mut id = [0; 16];
    id.copy_from_slice(&fixed[32..48]);
    FrameHeader {
        tombstone: fixed[4] & TOMBSTONE != 0,
        schema: u16::from_le_bytes([fixed[6], fixed[7]]),
        position: number(8),
        generation: number(16),
        epoch: Epoch {
            seconds: number(24),
            id: Uuid::from_bytes(id),
        },
    }
}

fn mac(key: &[u8; 32], subject: &str, header: &[u8], payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(subject.len() as u64).to_le_bytes());
    hasher.update(subject.as_bytes());
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(byte: &str) -> KeyRing {
        KeyRing::parse(&format!(
            r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#,
            byte.repeat(32)
        ))
        .expect("a good ring")
    }

    const HEADER: FrameHeader = FrameHeader {
        epoch: Epoch {
            seconds: 1_795_348_800,
            id: Uuid::from_bytes([3; 16]),
        },
        position: 42,
        generation: 7,
        schema: 1,
        tombstone: true,
    };

    #[test]
    fn a_message_is_read_as_it_was_sealed() {
        let message = HEADER.seal(&ring("01"), "snap.v1.key.a", b"payload");
        let frame =
            Frame::open(&ring("01"), "snap.v1.key.a", &message).expect("sealed by this ring");
        assert_eq!(
            frame,
            Frame {
                header: HEADER,
                payload: b"payload"
            }
        );
    }

    #[test]
    fn a_message_with_any_bit_changed_is_refused() {
        let message = HEADER.seal(&ring("01"), "s", b"payload");
        for byte in 0..message.len() {
            for bit in 0..8 {
                let mut changed = message.clone();
                changed[byte] ^= 1 << bit;
                assert!(
                    Frame::open(&ring("01"), "s", &changed).is_err(),
                    "byte {byte} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn a_message_is_refused_at_another_subject_under_another_key_or_cut_short() {
        let message = HEADER.seal(&ring("01"), "s", b"");
        assert_eq!(
            Frame::open(&ring("01"), "t", &message),
            Err(FrameError::Mac)
        );
        assert_eq!(
            Frame::open(&ring("02"), "s", &message),
            Err(FrameError::Mac)
        );
        for length in 0..message.len() {
            assert!(
                Frame::open(&ring("01"), "s", &message[..length]).is_err(),
                "{length} bytes"
            );
        }
    }
}

//! How reports and broadcasts are written down: a version, and then what [postcard](https://postcard.jamesmunns.com/wire-format)
//! makes of them.
//!
//! Counters are dealt out over shards that know nothing of each other: at a gateway, so that its threads seldom wait for one
//! another, and at the aggregator, which has as many. A message carries what several shards say.

use serde::{Serialize, de::DeserializeOwned};

use super::message::CounterId;

/// Among how many shards counters are dealt out.
pub const SHARDS: usize = 16;

/// How messages are written now.
const VERSION: u8 = 1;

/// A message holds more parts only as long as it is no longer than this, in bytes: half of what NATS takes by default.
const MOST_BYTES: usize = 512 * 1024;

/// Bytes that are no message, or one of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// In which shard a counter lies. All of one rule and segment lie in one.
#[must_use]
pub fn shard_of(id: &CounterId) -> usize {
    usize::try_from(id.group() % SHARDS as u64).unwrap_or(0)
}

/// One thing that is written down by itself.
///
/// # Panics
/// Never: what is written holds nothing that cannot be.
pub fn write_one<T: Serialize>(it: &T) -> Vec<u8> {
    postcard::to_extend(it, vec![VERSION]).expect("it goes into memory")
}

/// What was written by [`write_one`].
///
/// # Errors
/// When the bytes are nothing of the kind.
pub fn read_one<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let Some((&VERSION, rest)) = bytes.split_first() else {
        return Err(Unreadable);
    };
    postcard::from_bytes(rest).map_err(|_| Unreadable)
}

/// What shards say, as few messages.
///
/// # Panics
/// Never: what is written holds nothing that cannot be.
pub fn write<T: Serialize>(parts: impl IntoIterator<Item = (usize, T)>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut message = vec![VERSION];
    for (shard, part) in parts {
        let part = (u8::try_from(shard).unwrap_or(u8::MAX), part);
        let part = postcard::to_allocvec(&part).expect("it goes into memory");
        if message.len() > 1 && message.len() + part.len() > MOST_BYTES {
            messages.push(std::mem::replace(&mut message, vec![VERSION]));
        }
        message.extend(part);
    }
    if message.len() > 1 {
        messages.push(message);
    }
    messages
}

/// What shards said.
///
/// # Errors
/// When the bytes are no such message. Nothing of it counts then.
pub fn read<T: DeserializeOwned>(message: &[u8]) -> Result<Vec<(usize, T)>, Unreadable> {
    let Some((&VERSION, mut rest)) = message.split_first() else {
        return Err(Unreadable);
    };
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let ((shard, part), after): ((u8, T), _) =
            postcard::take_from_bytes(rest).map_err(|_| Unreadable)?;
        let shard = usize::from(shard);
        if shard >= SHARDS {
            return Err(Unreadable);
        }
        parts.push((shard, part));
        rest = after;
    }
    Ok(parts)
}

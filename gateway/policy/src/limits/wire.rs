//! How reports and broadcasts are written down: a version, and then what [postcard](https://postcard.jamesmunns.com/wire-format)
//! makes of them.
//!
//! Counters are dealt out over shards that know nothing of each other: at a gateway, so that its threads seldom wait for one
//! another, and at the aggregator, which has as many. A message carries what several shards say; what one says that is too long
//! for NATS goes in pieces, and arrives as a whole or not at all.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::message::CounterId;

/// Among how many shards counters are dealt out.
pub const SHARDS: usize = 16;

/// How things that are kept are written now.
const VERSION: u8 = 1;

/// How messages are written now.
const MESSAGE: u8 = 4;

/// The beginning of a piece of a message that is too long for one.
const PIECE: u8 = 3;

/// A message holds more parts only as long as it is no longer than this, in bytes, and is cut into pieces where it is: half of what
/// NATS takes by default, where that is not less.
pub const MOST_BYTES: usize = 512 * 1024;

/// What a piece says before its bytes: [`PIECE`], the hash of the whole message, which piece it is, and how many there are.
const PIECE_HEAD: usize = 1 + 8 + 2 + 2;

/// Of so many pieces a message consists at most: 64 MiB, more than a million rows, where NATS takes messages of [`MOST_BYTES`].
const MOST_PIECES: u16 = 128;

/// Of so many senders pieces are kept at most, while the others are awaited.
const MOST_SENDERS: usize = 1_024;

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

/// What is written down for one receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// To be sent in this order. Where one cannot be, those after it may be pieces of the same message, and worth nothing.
    pub messages: Vec<Vec<u8>>,
    /// How many are not among them: they would be more pieces than anybody puts together.
    pub too_long: u64,
}

/// What shards say, as few messages, none of which is longer than so many bytes, or than [`MOST_BYTES`]: what one shard says may
/// be several pieces. What would be too many of them is left out.
///
/// # Panics
/// Never: what is written holds nothing that cannot be.
pub fn write<T: Serialize>(
    parts: impl IntoIterator<Item = (usize, T)>,
    most_bytes: usize,
) -> Vec<Vec<u8>> {
    write_down(parts, most_bytes).messages
}

/// As [`write`], and says how much was left out.
///
/// # Panics
/// Never: what is written holds nothing that cannot be.
pub fn write_down<T: Serialize>(
    parts: impl IntoIterator<Item = (usize, T)>,
    most_bytes: usize,
) -> Written {
    let most_bytes = most_bytes.min(MOST_BYTES);
    let mut written = Written::default();
    let mut message = vec![MESSAGE];
    for (shard, part) in parts {
        let part = (u8::try_from(shard).unwrap_or(u8::MAX), part);
        let part = postcard::to_allocvec(&part).expect("it goes into memory");
        if message.len() > 1 && message.len() + part.len() > most_bytes {
            let full = std::mem::replace(&mut message, vec![MESSAGE]);
            written.push(full, most_bytes);
        }
        message.extend(part);
    }
    if message.len() > 1 {
        written.push(message, most_bytes);
    }
    written
}

impl Written {
    /// Adds a message, in pieces where it is too long for one.
    fn push(&mut self, message: Vec<u8>, most_bytes: usize) {
        if message.len() <= most_bytes {
            self.messages.push(message);
            return;
        }
        let each = most_bytes.saturating_sub(PIECE_HEAD).max(1);
        let many = u16::try_from(message.len().div_ceil(each));
        let Some(many) = many.ok().filter(|many| *many <= MOST_PIECES) else {
            self.too_long += 1;
            return;
        };
        let hash = hash_of(&message);
        for (at, bytes) in (0..many).zip(message.chunks(each)) {
            let mut piece = Vec::with_capacity(PIECE_HEAD + bytes.len());
            piece.push(PIECE);
            piece.extend(hash);
            piece.extend(at.to_be_bytes());
            piece.extend(many.to_be_bytes());
            piece.extend(bytes);
            self.messages.push(piece);
        }
    }
}

/// Tells messages apart.
fn hash_of(message: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(message);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Puts pieces together. A message of which one is lost is lost as a whole, as one that NATS did not bring: so nothing is ever
/// taken over of a part of what a shard said. Pieces of one sender come in order, as NATS brings them.
#[derive(Debug, Default)]
pub struct Pieces {
    /// By who sent them.
    begun: BTreeMap<u128, Begun>,
}

/// The first pieces of a message.
#[derive(Debug)]
struct Begun {
    hash: [u8; 8],
    many: u16,
    next: u16,
    bytes: Vec<u8>,
    /// Whether no piece has come since [`Pieces::forget_waiting`].
    is_waiting: bool,
}

impl Pieces {
    /// What shards said in a message of this sender's, or in the pieces of which it is the last. Nothing while more of them are to
    /// come.
    ///
    /// # Errors
    /// When the bytes are no such message. Nothing of it counts then.
    pub fn read<T: DeserializeOwned>(
        &mut self,
        from: u128,
        message: &[u8],
    ) -> Result<Vec<(usize, T)>, Unreadable> {
        if message.first() != Some(&PIECE) {
            return read(message);
        }
        match self.add(from, message)? {
            Some(whole) => read(&whole),
            None => Ok(Vec::new()),
        }
    }

    /// Forgets what has waited for its next piece since this was called last: whoever sent it is gone, or has not sent all of it.
    /// To be called now and then, where there are many senders.
    pub fn forget_waiting(&mut self) {
        self.begun
            .retain(|_, begun| !std::mem::replace(&mut begun.is_waiting, true));
    }

    fn add(&mut self, from: u128, piece: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let (head, bytes) = piece.split_at_checked(PIECE_HEAD).ok_or(Unreadable)?;
        let hash = *head[1..].first_chunk::<8>().ok_or(Unreadable)?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let (at, many) = (number(9), number(11));
        if at >= many || many > MOST_PIECES || bytes.len() > MOST_BYTES {
            return Err(Unreadable);
        }
        if at == 0 {
            if self.begun.len() >= MOST_SENDERS && !self.begun.contains_key(&from) {
                self.begun.clear();
            }
            // What is there takes memory, and not what is said to come.
            let begun = Begun {
                hash,
                many,
                next: 0,
                bytes: Vec::new(),
                is_waiting: false,
            };
            self.begun.insert(from, begun);
        }
        let Some(begun) = self.begun.get_mut(&from) else {
            return Ok(None);
        };
        if (begun.hash, begun.many, begun.next) != (hash, many, at) {
            self.begun.remove(&from);
            return Ok(None);
        }
        begun.bytes.extend(bytes);
        begun.next += 1;
        begun.is_waiting = false;
        if begun.next < many {
            return Ok(None);
        }
        let whole = self.begun.remove(&from).map(|begun| begun.bytes);
        let whole = whole.unwrap_or_default();
        if hash_of(&whole) == hash {
            Ok(Some(whole))
        } else {
            Err(Unreadable)
        }
    }
}

/// What shards said, in a whole message.
///
/// # Errors
/// When the bytes are no such message. Nothing of it counts then.
pub fn read<T: DeserializeOwned>(message: &[u8]) -> Result<Vec<(usize, T)>, Unreadable> {
    let Some((&MESSAGE, mut rest)) = message.split_first() else {
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

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: u128 = 7;

    fn parts(rows: usize) -> Vec<(usize, Vec<u64>)> {
        vec![(3, vec![u64::MAX; rows]), (5, vec![1])]
    }

    fn heard(pieces: &mut Pieces, messages: &[Vec<u8>]) -> Vec<(usize, Vec<u64>)> {
        let read = messages
            .iter()
            .map(|it| pieces.read(FROM, it).expect("ours"));
        read.flatten().collect()
    }

    #[test]
    fn what_is_long_is_cut_and_put_together_again() {
        let mut pieces = Pieces::default();
        for (rows, most) in [(3, 1_000), (300, 1_000), (300, 100), (200_000, usize::MAX)] {
            let messages = write(parts(rows), most);
            assert!(messages.iter().all(|it| it.len() <= most.min(MOST_BYTES)));
            assert_eq!(
                heard(&mut pieces, &messages[..]),
                parts(rows),
                "{rows}, {most}"
            );
        }
    }

    #[test]
    fn a_message_of_which_a_piece_is_lost_is_lost_and_the_next_one_is_not() {
        let messages = write([(3, vec![u64::MAX; 300])], 1_000);
        let other = write([(3, vec![7_u64; 3_000])], 1_000);
        assert!(messages.len() > 2 && other.len() > 2);
        for lost in 0..messages.len() {
            let mut pieces = Pieces::default();
            let mut some = messages.clone();
            some.remove(lost);
            assert_eq!(heard(&mut pieces, &some), []);
            assert_eq!(heard(&mut pieces, &other), [(3, vec![7; 3_000])]);
            // Its end and the beginning of the next one are none.
            let mixed = [&messages[..lost], &other[lost..]].concat();
            let whole = if lost == 0 {
                vec![(3, vec![7; 3_000])]
            } else {
                vec![]
            };
            assert_eq!(heard(&mut pieces, &mixed), whole);
        }
    }

    #[test]
    fn a_first_piece_takes_no_more_memory_than_it_is_long() {
        let message = [PIECE_OF_MANY.as_slice(), &[7; 1_000]].concat();
        let mut pieces = Pieces::default();
        assert_eq!(pieces.read::<Vec<u64>>(FROM, &message), Ok(vec![]));
        let taken = pieces.begun.values().map(|begun| begun.bytes.capacity());
        assert!(taken.sum::<usize>() < 2_000);
    }

    /// The head of the first of as many as there may be.
    const PIECE_OF_MANY: [u8; PIECE_HEAD] = [PIECE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128];

    #[test]
    fn what_waits_for_its_next_piece_for_long_is_forgotten_and_what_does_not_is_kept() {
        let messages = write([(3, vec![u64::MAX; 300])], 1_000);
        let [first, rest @ .., last] = &messages[..] else {
            panic!("{} pieces", messages.len());
        };
        assert!(rest.len() > 1);
        let mut pieces = Pieces::default();
        heard(&mut pieces, std::slice::from_ref(first));
        for piece in rest {
            pieces.forget_waiting();
            assert_eq!(heard(&mut pieces, std::slice::from_ref(piece)), []);
        }
        pieces.forget_waiting();
        let whole = [(3, vec![u64::MAX; 300])];
        assert_eq!(heard(&mut pieces, std::slice::from_ref(last)), whole);
        heard(&mut pieces, std::slice::from_ref(first));
        pieces.forget_waiting();
        pieces.forget_waiting();
        assert!(pieces.begun.is_empty());
    }

    #[test]
    fn what_would_be_too_many_pieces_is_left_out_and_said_to_be() {
        const MOST: usize = 100;
        let room = usize::from(MOST_PIECES) * (MOST - PIECE_HEAD);
        // What says that it is a message, its shard, and how many there are take four.
        for (long, too_long) in [(room - 4, 0), (room - 3, 1), (70_000 * MOST, 1)] {
            let (short, long) = (vec![1_u8; 10], vec![1_u8; long]);
            let parts = [(3, short.clone()), (4, long.clone()), (5, short.clone())];
            let written = write_down(parts.clone(), MOST);
            assert_eq!(written.too_long, too_long);
            let mut pieces = Pieces::default();
            let messages = written.messages.iter();
            let read = messages.map(|it| pieces.read::<Vec<u8>>(FROM, it).expect("ours"));
            let read: Vec<_> = read.flatten().collect();
            let expected = parts.into_iter();
            let expected = expected.filter(|(shard, _)| too_long == 0 || *shard != 4);
            assert_eq!(read, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn pieces_of_two_senders_are_kept_apart_and_bytes_that_are_none_are_refused() {
        let one = write([(3, vec![u64::MAX; 300])], 1_000);
        let mut pieces = Pieces::default();
        for piece in &one[..one.len() - 1] {
            for from in [1, 2] {
                assert_eq!(pieces.read::<Vec<u64>>(from, piece), Ok(vec![]));
            }
        }
        let last = &one[one.len() - 1];
        assert_eq!(pieces.read::<Vec<u64>>(1, last).map(|it| it.len()), Ok(1));
        assert_eq!(pieces.read::<Vec<u64>>(2, last).map(|it| it.len()), Ok(1));
        assert_eq!(pieces.read::<Vec<u64>>(1, &[PIECE, 0]), Err(Unreadable));
        assert_eq!(pieces.read::<Vec<u64>>(1, &[PIECE; 40]), Err(Unreadable));
        assert_eq!(pieces.read::<Vec<u64>>(1, &[1]), Err(Unreadable));
    }
}

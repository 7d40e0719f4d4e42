//! Which of a rule's counters a request has.

use super::{Facts, MODEL, USER, VIRTUAL_ACCOUNT, VIRTUAL_MODEL};
use crate::EntryId;

/// What has a counter of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Each user.
    User,
    /// Each virtual account.
    VirtualAccount,
    /// Each model.
    Model,
    /// Each value of this key of the metadata.
    Metadata(Box<str>),
    /// The first of the caller's teams.
    Team,
}

/// What a request has of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'r> {
    /// Nothing: all that have nothing share a counter.
    Absent,
    /// Something with an id.
    Id(EntryId),
    /// A value of the metadata.
    Text(&'r str),
}

/// The counter of requests that have nothing of the one segment.
const ABSENT: EntryId = [0xff; 16];

impl<'r> Facts<'r> {
    pub(super) fn value(&self, segment: &Segment) -> Value<'r> {
        let owner = |tag| match self.owner {
            (it, id) if it == tag => Value::Id(id),
            _ => Value::Absent,
        };
        match segment {
            Segment::User => owner(USER),
            Segment::VirtualAccount => owner(VIRTUAL_ACCOUNT),
            Segment::Model => match self.models[0] {
                Some((MODEL | VIRTUAL_MODEL, id)) => Value::Id(id),
                Some(_) | None => Value::Absent,
            },
            Segment::Metadata(key) => {
                let value = self.metadata.get(&**key);
                value.map_or(Value::Absent, |value| Value::Text(value))
            }
            Segment::Team => self
                .teams
                .first()
                .map_or(Value::Absent, |id| Value::Id(*id)),
        }
    }
}

/// The counter's place among those of its rule: zeros where all requests share one, the id where each of one kind with ids has
/// one; else a hash, so that values which callers choose never meet.
pub(super) fn of<'r>(per: &[Segment], value: impl Fn(&Segment) -> Value<'r>) -> EntryId {
    match per {
        [] => [0; 16],
        [one] => match value(one) {
            Value::Absent => ABSENT,
            Value::Id(id) => id,
            Value::Text(text) => hash([Value::Text(text)].into_iter()),
        },
        many => hash(many.iter().map(value)),
    }
}

fn hash<'r>(values: impl Iterator<Item = Value<'r>>) -> EntryId {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        match value {
            Value::Absent => drop(hasher.update(&[0])),
            Value::Id(id) => drop(hasher.update(&[1]).update(&id)),
            Value::Text(text) => {
                let length = text.len() as u64;
                hasher.update(&[2]).update(&length.to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
    let mut counter = [0; 16];
    counter.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    counter
}

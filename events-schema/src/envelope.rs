//! The envelope: an event's row in the log, and the hash chain over all rows.
//!
//! `hash = BLAKE3(domain ‖ prev_hash ‖ every other column as decoded)`, where each column is preceded by
//! its length in bytes (u64, little-endian), numbers are 8 bytes little-endian and times are microseconds.
//! So the chain does not depend on how a database or a message writes a row down.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    actor::Actor,
    events::{DecodeError, Event, Stream, codec},
    id::{CommandId, EventId},
    secrets::hex_32,
    time::Timestamp,
};

/// The hash before the first event.
pub const GENESIS: [u8; 32] = [0; 32];

const DOMAIN: &[u8] = b"sluice event v1";

/// One life of the log. A higher epoch replaces a lower; no reader ever goes back to a lower one.
///
/// Written `<seconds>-<32 hexadecimal digits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Unix time of its making, in seconds, and greater than that of any epoch seen before.
    pub seconds: u64,
    /// Tells apart epochs that were made independently.
    pub id: Uuid,
}

/// Text that is not an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is <seconds>-<32 hexadecimal digits>")]
pub struct InvalidEpoch;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seconds, self.id.as_simple())
    }
}

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        let (seconds, id) = text.split_once('-').ok_or(InvalidEpoch)?;
        Ok(Self {
            seconds: seconds.parse().map_err(|_| InvalidEpoch)?,
            id: Uuid::try_parse(id).map_err(|_| InvalidEpoch)?,
        })
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// An event with everything that is known about it, in its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its place in the log, from 1, without gaps.
    pub position: u64,
    /// Its id.
    pub event_id: EventId,
    /// Whose event it is.
    pub stream: Stream,
    /// Its place in its stream, from 1, without gaps.
    pub stream_version: u64,
    /// What happened.
    pub kind: String,
    /// The version of the payload's shape.
    pub schema_version: u16,
    /// When it was appended; never earlier than the event before it.
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// The command that caused it.
    pub cause: CommandId,
    /// Ties together what belongs to one undertaking; the command's id when nothing larger is known.
    pub correlation: Uuid,
    /// The reason that was given, if any.
    pub why: Option<String>,
    /// The payload as canonical JSON.
    pub payload: String,
    /// The hash of the event before it; [`GENESIS`] for the first.
    pub prev_hash: [u8; 32],
    /// This event's hash; see [`Envelope::computed_hash`].
    pub hash: [u8; 32],
}

impl Envelope {
    /// The hash that this row must have, from all its other columns.
    #[must_use]
    pub fn computed_hash(&self) -> [u8; 32] {
        let Self {
            position,
            event_id,
            stream,
            stream_version,
            kind,
            schema_version,
            recorded_at,
            actor,
            cause,
            correlation,
            why,
            payload,
            prev_hash,
            hash: _,
        } = self;
        let mut hasher = Columns(blake3::Hasher::new());
        hasher.column(DOMAIN);
        hasher.column(prev_hash);
        hasher.column(&position.to_le_bytes());
        hasher.column(&event_id.bytes());
        hasher.column(stream.to_string().as_bytes());
        hasher.column(&stream_version.to_le_bytes());
        hasher.column(kind.as_bytes());
        hasher.column(&u64::from(*schema_version).to_le_bytes());
        hasher.column(&recorded_at.micros().to_le_bytes());
        hasher.column(actor.to_string().as_bytes());
        hasher.column(&cause.bytes());
        hasher.column(correlation.as_bytes());
        hasher.column(&[u8::from(why.is_some())]);
        hasher.column(why.as_deref().unwrap_or_default().as_bytes());
        hasher.column(payload.as_bytes());
        *hasher.0.finalize().as_bytes()
    }

    /// The event within.
    ///
    /// # Errors
    /// When this code cannot read it; see [`DecodeError`].
    pub fn event(&self) -> Result<Event, DecodeError> {
        codec::decode(self.stream, &self.kind, self.schema_version, &self.payload)
    }

    /// Whether this row is the next after the one at `position` with `hash` (0 and [`GENESIS`] before the first).
    ///
    /// # Errors
    /// What does not fit; see [`ChainError`].
    pub fn check_follows(&self, position: u64, hash: &[u8; 32]) -> Result<(), ChainError> {
        if self.position != position + 1 {
            return Err(ChainError::Gap {
                expected: position + 1,
                found: self.position,
            });
        }
        if self.prev_hash != *hash {
            return Err(ChainError::PrevHash {
                position: self.position,
            });
        }
        if self.computed_hash() != self.hash {
            return Err(ChainError::Hash {
                position: self.position,
            });
        }
        Ok(())
    }
}

/// Where and how a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A row is missing, doubled or out of order.
    #[error("position {expected} is missing: the row found there says {found}")]
    Gap {
        /// The position that should have come.
        expected: u64,
        /// The position that came.
        found: u64,
    },
    /// A row does not name the hash of the row before it.
    #[error("the event at position {position} does not follow from the one before it")]
    PrevHash {
        /// The row.
        position: u64,
    },
    /// A row's content does not have the row's hash.
    #[error("the event at position {position} was changed after it was written")]
    Hash {
        /// The row.
        position: u64,
    },
}

impl ChainError {
    /// The position at which the chain breaks.
    #[must_use]
    pub const fn position(&self) -> u64 {
        match self {
            Self::Gap { expected, .. } => *expected,
            Self::PrevHash { position } | Self::Hash { position } => *position,
        }
    }
}

struct Columns(blake3::Hasher);

impl Columns {
    fn column(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

/// A row as the stream `EVENTS` carries it: the envelope, and the epoch under which it was published. JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRow {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// See [`Envelope::position`]; equals the message's sequence in the stream.
    pub position: u64,
    /// See [`Envelope::event_id`].
    pub event_id: EventId,
    /// See [`Envelope::stream`].
    pub stream: String,
    /// See [`Envelope::stream_version`].
    pub stream_version: u64,
    /// See [`Envelope::kind`].
    pub kind: String,
    /// See [`Envelope::schema_version`].
    pub schema_version: u16,
    /// Microseconds since 1970; see [`Envelope::recorded_at`].
    pub recorded_at_us: i64,
    /// See [`Envelope::actor`].
    pub actor: Actor,
    /// See [`Envelope::cause`].
    pub cause: CommandId,
    /// See [`Envelope::correlation`].
    pub correlation: Uuid,
    /// See [`Envelope::why`].
    pub why: Option<String>,
    /// See [`Envelope::payload`]; byte for byte.
    pub payload: Box<RawValue>,
    /// See [`Envelope::prev_hash`].
    #[serde(with = "hex_32")]
    pub prev_hash: [u8; 32],
    /// See [`Envelope::hash`].
    #[serde(with = "hex_32")]
    pub hash: [u8; 32],
}

/// A message that is not an event's row.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRow {
    /// Not the JSON that a row is.
    #[error("this is not an event's row")]
    NotJson(#[source] serde_json::Error),
    /// A stream or a time of another shape.
    #[error("the row at position {0} has an unknown stream or time")]
    Column(u64),
}

impl EventRow {
    /// The row of `envelope` under `epoch`.
    ///
    /// # Errors
    /// When the payload is not JSON, which cannot be for what `encode` made.
    pub fn new(epoch: Epoch, envelope: Envelope) -> Result<Self, serde_json::Error> {
        let Envelope {
            position,
            event_id,
            stream,
            stream_version,
            kind,
            schema_version,
            recorded_at,
            actor,
            cause,
            correlation,
            why,
            payload,
            prev_hash,
            hash,
        } = envelope;
        Ok(Self {
            epoch,
            position,
            event_id,
            stream: stream.to_string(),
            stream_version,
            kind,
            schema_version,
            recorded_at_us: recorded_at.micros(),
            actor,
            cause,
            correlation,
            why,
            payload: RawValue::from_string(payload)?,
            prev_hash,
            hash,
        })
    }

    /// The JSON that is published.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a row holds nothing that JSON cannot")
    }

    /// Reads a published row: its epoch and its envelope. The chain is not checked.
    ///
    /// # Errors
    /// See [`InvalidRow`].
    pub fn parse(json: &[u8]) -> Result<(Epoch, Envelope), InvalidRow> {
        let Self {
            epoch,
            position,
            event_id,
            stream,
            stream_version,
            kind,
            schema_version,
            recorded_at_us,
            actor,
            cause,
            correlation,
            why,
            payload,
            prev_hash,
            hash,
        } = serde_json::from_slice(json).map_err(InvalidRow::NotJson)?;
        let envelope = Envelope {
            position,
            event_id,
            stream: stream.parse().map_err(|_| InvalidRow::Column(position))?,
            stream_version,
            kind,
            schema_version,
            recorded_at: Timestamp::from_micros(recorded_at_us)
                .map_err(|_| InvalidRow::Column(position))?,
            actor,
            cause,
            correlation,
            why,
            payload: payload.get().to_owned(),
            prev_hash,
            hash,
        };
        Ok((epoch, envelope))
    }
}

/// An event in its place in the log, already read: what the fold needs to know of an envelope.
#[derive(Debug, Clone, Copy)]
pub struct DecodedEnvelope<'a> {
    /// See [`Envelope::position`].
    pub position: u64,
    /// See [`Envelope::recorded_at`].
    pub recorded_at: Timestamp,
    /// See [`Envelope::stream_version`].
    pub stream_version: u64,
    /// What happened.
    pub event: &'a Event,
}

impl<'a> DecodedEnvelope<'a> {
    /// The envelope's place with the event that was read from it.
    #[must_use]
    pub const fn new(envelope: &Envelope, event: &'a Event) -> Self {
        Self {
            position: envelope.position,
            recorded_at: envelope.recorded_at,
            stream_version: envelope.stream_version,
            event,
        }
    }
}

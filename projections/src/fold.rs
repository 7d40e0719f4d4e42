//! The history, event by event: its chain checked, its events folded, and what they touched remembered. Pure.

use std::{collections::BTreeSet, mem};

use events_schema::{
    envelope::{ChainError, DecodedEnvelope, Envelope, Epoch, EventRow, GENESIS, InvalidRow},
    events::DecodeError,
    id::CommandId,
    snapshot::EntrySubject,
    state::Organisation,
};

/// The fold as of a position.
pub(crate) struct Fold {
    organisation: Organisation,
    hash: [u8; 32],
    /// The highest epoch under which a row was published.
    published_under: Option<Epoch>,
    cause: Option<CommandId>,
    touched: BTreeSet<EntrySubject>,
}

/// Why the history cannot be followed. Nothing more is published until it can.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    #[error("EVENTS holds something else at sequence {sequence}")]
    Row {
        sequence: u64,
        #[source]
        source: InvalidRow,
    },
    #[error("the event at sequence {sequence} of EVENTS says that its position is {position}")]
    Sequence { sequence: u64, position: u64 },
    #[error("the history in EVENTS is broken")]
    Chain(#[from] ChainError),
    #[error(
        "the event at position {position} was published under the epoch {found}, after {highest}"
    )]
    Epoch {
        position: u64,
        found: Epoch,
        highest: Epoch,
    },
    #[error("the event at position {position} cannot be read by this version of Sluice")]
    Unknown {
        position: u64,
        #[source]
        source: DecodeError,
    },
}

impl Fold {
    /// Before the first event.
    pub(crate) fn new() -> Self {
        Self {
            organisation: Organisation::default(),
            hash: GENESIS,
            published_under: None,
            cause: None,
            touched: BTreeSet::new(),
        }
    }

    /// The state.
    pub(crate) const fn organisation(&self) -> &Organisation {
        &self.organisation
    }

    /// The position of the last event; 0 before the first.
    pub(crate) const fn position(&self) -> u64 {
        self.organisation.position()
    }

    /// The hash of the last event.
    pub(crate) const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The command that caused the last event.
    pub(crate) const fn cause(&self) -> Option<CommandId> {
        self.cause
    }

    /// How many things were touched since the last [`Fold::take_touched`].
    pub(crate) fn touched(&self) -> usize {
        self.touched.len()
    }

    /// What was touched, in order; nothing is touched afterwards.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<EntrySubject> {
        mem::take(&mut self.touched)
    }

    /// Reads the message at `sequence`: the next event, not folded in yet.
    ///
    /// # Errors
    /// When it is not the next event of this history; see [`FoldError`].
    pub(crate) fn read(&mut self, sequence: u64, message: &[u8]) -> Result<Envelope, FoldError> {
        let (epoch, envelope) =
            EventRow::parse(message).map_err(|source| FoldError::Row { sequence, source })?;
        let position = envelope.position;
        if position != sequence {
            return Err(FoldError::Sequence { sequence, position });
        }
        envelope.check_follows(self.position(), &self.hash)?;
        if let Some(highest) = self.published_under.filter(|highest| epoch < *highest) {
            return Err(FoldError::Epoch {
                position,
                found: epoch,
                highest,
            });
        }
        self.published_under = Some(epoch);
        Ok(envelope)
    }

    /// Folds in the event that was read.
    ///
    /// # Errors
    /// When this version cannot read what happened: whoever folds must stop.
    pub(crate) fn apply(&mut self, envelope: &Envelope) -> Result<(), FoldError> {
        let position = envelope.position;
        let event = envelope
            .event()
            .map_err(|source| FoldError::Unknown { position, source })?;
        self.organisation
            .evolve(&DecodedEnvelope::new(envelope, &event));
        self.hash = envelope.hash;
        self.cause = Some(envelope.cause);
        self.touched.extend(EntrySubject::of_event(&event));
        Ok(())
    }
}

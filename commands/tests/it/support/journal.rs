//! A log in memory: decides commands and folds what they yield, as the appender does, without a database.

use commands::domain::{Command, Rejection, decide};
use events_schema::{
    actor::{Actor, System},
    envelope::{Envelope, GENESIS},
    events::{Event, codec},
    id::{CommandId, EventId},
    state::Organisation,
    time::Timestamp,
};
use uuid::Uuid;

/// The time at which everything here happens: 2026-11-22T12:00:00Z.
pub(crate) const NOW: Timestamp = match Timestamp::from_micros(1_795_348_800_000_000) {
    Ok(now) => now,
    Err(_) => Timestamp::MIN,
};

/// A log and what it adds up to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    pub(crate) state: Organisation,
    pub(crate) rows: Vec<Envelope>,
}

impl Journal {
    /// A log in which these commands were done, each of which must be accepted.
    pub(crate) fn of(commands: &[Command]) -> Self {
        let mut journal = Self::default();
        for command in commands {
            if let Err(rejection) = journal.submit(command) {
                panic!("what is given must be possible: {command:?}: {rejection}");
            }
        }
        journal
    }

    /// Decides the command and folds its events in. Each event is written down and read again on the way.
    pub(crate) fn submit(&mut self, command: &Command) -> Result<Vec<Event>, Rejection> {
        let events = decide(&self.state, command)?;
        for event in &events {
            let row = self.row(event);
            let read = row.event().expect("an event can be read");
            assert_eq!(read, *event, "an event is read as it was written");
            self.state.apply(&row).expect("it was read just now");
            self.rows.push(row);
        }
        Ok(events)
    }

    fn row(&self, event: &Event) -> Envelope {
        let (stream, encoded) = (event.stream(), codec::encode(event));
        let position = self.rows.len() as u64 + 1;
        let mut row = Envelope {
            position,
            event_id: EventId::from_uuid(Uuid::from_u128(position.into())),
            stream,
            stream_version: self.state.stream_version(stream) + 1,
            kind: encoded.kind,
            schema_version: encoded.schema_version,
            recorded_at: NOW,
            actor: Actor::System(System::CommandLine),
            cause: CommandId::from_uuid(Uuid::from_u128(position.into())),
            correlation: Uuid::from_u128(position.into()),
            why: None,
            payload: encoded.payload,
            prev_hash: self.rows.last().map_or(GENESIS, |row| row.hash),
            hash: [0; 32],
        };
        row.hash = row.computed_hash();
        row
    }
}

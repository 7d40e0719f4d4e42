//! The chain shows every edit of the log.

use events_schema::{
    actor::{Actor, System},
    envelope::{ChainError, Envelope, GENESIS},
    events::Stream,
    id::Id,
    time::Timestamp,
};
use proptest::{prelude::*, sample::Index};
use uuid::Uuid;

use crate::{log::log_of, strategies};

/// Follows the chain to its end.
fn verify(rows: &[Envelope]) -> Result<(), ChainError> {
    let (mut position, mut hash) = (0, GENESIS);
    for row in rows {
        row.check_follows(position, &hash)?;
        (position, hash) = (row.position, row.hash);
    }
    Ok(())
}

/// Something that can be done to one column of a row.
type Edit = fn(&mut Envelope);

/// One edit for each column.
const EDITS: [Edit; 14] = [
    |row| row.position += 1,
    |row| row.event_id = Id::from_uuid(other(row.event_id.uuid())),
    |row| {
        row.stream = if row.stream == Stream::Log {
            Stream::Key(Id::from_bytes([1; 16]))
        } else {
            Stream::Log
        };
    },
    |row| row.stream_version += 1,
    |row| row.kind.push('x'),
    |row| row.schema_version += 1,
    |row| {
        row.recorded_at = match row.recorded_at {
            Timestamp::MAX => Timestamp::MIN,
            time => time.plus_micros(1),
        };
    },
    |row| row.actor = Actor::System(System::Init),
    |row| row.cause = Id::from_uuid(other(row.cause.uuid())),
    |row| row.correlation = other(row.correlation),
    |row| {
        row.why = match row.why.take() {
            None => Some(String::new()),
            Some(_) => None,
        };
    },
    |row| row.payload.push(' '),
    |row| row.prev_hash[0] ^= 1,
    |row| row.hash[31] ^= 0x80,
];

const fn other(uuid: Uuid) -> Uuid {
    Uuid::from_u128(uuid.as_u128() ^ 1)
}

proptest! {
    #[test]
    fn a_good_chain_is_followed_to_its_end(events in strategies::events(0..12)) {
        prop_assert_eq!(verify(&log_of(&events)), Ok(()));
    }

    #[test]
    fn an_edit_of_any_column_is_seen_at_its_row(events in strategies::events(1..8), at in any::<Index>()) {
        let good = log_of(&events);
        let at = at.index(good.len());
        for (nth, edit) in EDITS.iter().enumerate() {
            let mut rows = good.clone();
            edit(&mut rows[at]);
            let error = verify(&rows).expect_err("an edit");
            let expected = good[at].position;
            prop_assert_eq!(error.position(), expected, "edit {} of row {}", nth, at);
        }
    }

    #[test]
    fn an_edit_with_the_rows_hash_made_to_fit_is_seen_at_the_next_row(
        events in strategies::events(2..8),
        at in any::<Index>(),
    ) {
        let good = log_of(&events);
        let at = at.index(good.len() - 1);
        // The position and both hashes are seen at the row itself.
        for edit in EDITS.iter().skip(1).take(11) {
            let mut rows = good.clone();
            edit(&mut rows[at]);
            rows[at].hash = rows[at].computed_hash();
            let next = good[at + 1].position;
            prop_assert_eq!(verify(&rows), Err(ChainError::PrevHash { position: next }));
        }
    }

    #[test]
    fn a_row_that_was_dropped_doubled_or_swapped_is_seen(
        events in strategies::events(2..8),
        at in any::<Index>(),
    ) {
        let good = log_of(&events);
        let at = at.index(good.len() - 1);
        let mut dropped = good.clone();
        dropped.remove(at);
        prop_assert!(verify(&dropped).is_err());
        let mut doubled = good.clone();
        doubled.insert(at, good[at].clone());
        prop_assert!(verify(&doubled).is_err());
        let mut swapped = good.clone();
        swapped.swap(at, at + 1);
        prop_assert!(verify(&swapped).is_err());
        // With their positions exchanged, too.
        let position = swapped[at].position;
        swapped[at].position = swapped[at + 1].position;
        swapped[at + 1].position = position;
        prop_assert!(verify(&swapped).is_err());
    }
}

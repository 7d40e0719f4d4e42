//! What a run of `USAGE` messages becomes: rows, gaps, and messages that cannot be read. Pure.
//!
//! The same messages on the same marks give the same rows in the same order: that is what makes a
//! batch safe to insert again.

use std::collections::HashMap;

use events_schema::usage::UsageBatch;
use uuid::Uuid;

use super::row::RequestRow;

/// A message of `USAGE`.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) payload: bytes::Bytes,
}

/// The highest number of each incarnation that was counted or given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks(HashMap<Uuid, u64>);

/// What is to be done with a run of messages.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) rows: Vec<RequestRow>,
    pub(super) gaps: Vec<Gap>,
    pub(super) ends: Vec<End>,
    pub(super) poison: Vec<Poison>,
    /// Records that had been counted before.
    pub(super) repeated: u64,
}

/// Records that never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) gateway: Uuid,
    pub(super) incarnation: Uuid,
    pub(super) first_number: u64,
    pub(super) last_number: u64,
    /// The message that came instead.
    pub(super) usage_sequence: u64,
}

/// A gateway's life ended without a farewell, and all its records that will ever come have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) incarnation: Uuid,
    /// The number of the last record that it had made.
    pub(super) last_number: u64,
}

/// A message that is no batch of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Poison {
    pub(super) sequence: u64,
    pub(super) reason: String,
}

// === impl Marks ===

impl Marks {
    /// Marks as they are read from the ledger.
    pub(super) fn new(marks: impl IntoIterator<Item = (Uuid, u64)>) -> Self {
        Self(marks.into_iter().collect())
    }

    /// Turns messages, in the order of the stream, into rows, and moves the marks.
    pub(super) fn take(&mut self, messages: &[Message]) -> Batch {
        let mut batch = Batch::default();
        for message in messages {
            match parse(&message.payload) {
                Ok(usage) => self.take_usage(message.sequence, usage, &mut batch),
                Err(reason) => batch.poison.push(Poison {
                    sequence: message.sequence,
                    reason,
                }),
            }
        }
        batch
    }

    fn take_usage(&mut self, sequence: u64, usage: UsageBatch, batch: &mut Batch) {
        let UsageBatch {
            gateway,
            incarnation,
            region,
            first_number,
            records,
        } = usage;
        let mark = self.0.entry(incarnation).or_insert(0);
        let expected = *mark + 1;
        if first_number > expected {
            batch.gaps.push(Gap {
                gateway,
                incarnation,
                first_number: expected,
                last_number: first_number - 1,
                usage_sequence: sequence,
            });
            // Also where no record follows: a gateway that was killed says in this way what was lost with it.
            *mark = first_number - 1;
        }
        if records.is_empty() {
            batch.ends.push(End {
                incarnation,
                last_number: first_number - 1,
            });
        }
        for (number, record) in (first_number..).zip(records) {
            if number <= *mark {
                batch.repeated += 1;
                continue;
            }
            *mark = number;
            let origin = super::row::Origin {
                gateway,
                incarnation,
                region: &region,
                number,
                usage_sequence: sequence,
            };
            batch.rows.push(RequestRow::new(origin, record));
        }
    }
}

// === impl Gap ===

impl Gap {
    /// How many records.
    pub(super) const fn records(&self) -> u64 {
        self.last_number - self.first_number + 1
    }
}

/// Numbers begin at 1 and must not run over.
fn parse(payload: &[u8]) -> Result<UsageBatch, String> {
    let usage: UsageBatch = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let count = u64::try_from(usage.records.len()).unwrap_or(u64::MAX);
    if usage.first_number == 0 || usage.first_number.checked_add(count).is_none() {
        return Err(format!(
            "{count} records cannot be numbered from {}",
            usage.first_number
        ));
    }
    Ok(usage)
}

/// The identity of a run of messages: what it held, byte by byte.
pub(super) fn content_hash(messages: &[Message]) -> String {
    let mut hasher = blake3::Hasher::new();
    for message in messages {
        hasher.update(&message.sequence.to_le_bytes());
        hasher.update(&(message.payload.len() as u64).to_le_bytes());
        hasher.update(&message.payload);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use events_schema::time::Timestamp;
    use events_schema::usage::{Endpoint, Outcome, Tokens, UsageRecord};

    use super::*;

    fn record() -> UsageRecord {
        UsageRecord {
            request: Uuid::from_u128(7),
            received_at: Timestamp::MIN,
            epoch: None,
            position: 1,
            endpoint: Endpoint::ChatCompletions,
            streamed: false,
            key: None,
            owner: None,
            requested_model: String::new(),
            resolved: None,
            answered_by: None,
            target: None,
            attempts: Vec::new(),
            outcome: Outcome::Success,
            status: 200,
            error_code: None,
            rules: Vec::new(),
            seed: 0,
            routing: None,
            tokens: Tokens::default(),
            cost: None,
            duration_us: 1,
            first_byte_us: None,
            metadata: std::collections::BTreeMap::new(),
            budgets: None,
            limits: None,
        }
    }

    fn message(sequence: u64, first_number: u64, count: usize) -> Message {
        let usage = UsageBatch {
            gateway: Uuid::from_u128(1),
            incarnation: Uuid::from_u128(2),
            region: "default".to_owned(),
            first_number,
            records: vec![record(); count],
        };
        let payload = serde_json::to_vec(&usage).expect("JSON").into();
        Message {
            sequence,
            subject: String::new(),
            payload,
        }
    }

    /// Numbers of the rows, gaps as (first, last), and repeated records.
    fn outcome(batch: &Batch) -> (Vec<u64>, Vec<(u64, u64)>, u64) {
        let rows = batch.rows.iter().map(|row| row.number).collect();
        let gaps = batch
            .gaps
            .iter()
            .map(|gap| (gap.first_number, gap.last_number))
            .collect();
        (rows, gaps, batch.repeated)
    }

    #[test]
    fn records_are_taken_once_however_often_they_come() {
        let mut marks = Marks::default();
        let batch = marks.take(&[message(1, 1, 3), message(2, 2, 3), message(3, 1, 4)]);
        assert_eq!(outcome(&batch), (vec![1, 2, 3, 4], vec![], 6));
    }

    #[test]
    fn numbers_that_never_came_are_a_gap() {
        let mut marks = Marks::new([(Uuid::from_u128(2), 10)]);
        let batch = marks.take(&[message(5, 13, 2), message(6, 20, 1)]);
        assert_eq!(
            outcome(&batch),
            (vec![13, 14, 20], vec![(11, 12), (15, 19)], 0)
        );
        assert_eq!(batch.gaps.iter().map(Gap::records).sum::<u64>(), 7);
    }

    #[test]
    fn a_batch_without_records_says_what_will_never_come_and_says_it_once() {
        let mut marks = Marks::new([(Uuid::from_u128(2), 10)]);
        let batch = marks.take(&[message(5, 15, 0), message(6, 15, 0), message(7, 11, 0)]);
        assert_eq!(outcome(&batch), (vec![], vec![(11, 14)], 0));
        let ended: Vec<u64> = batch.ends.iter().map(|end| end.last_number).collect();
        assert_eq!(ended, [14, 14, 10]);
        // Nothing was lost: the next number is the one that is announced.
        assert_eq!(
            outcome(&marks.take(&[message(8, 15, 0)])),
            (vec![], vec![], 0)
        );
        // What was given up does not come back, and counting goes on after it.
        let batch = marks.take(&[message(9, 14, 2)]);
        assert_eq!(outcome(&batch), (vec![15], vec![], 1));
    }

    #[test]
    fn what_cannot_be_read_is_poison_and_stops_nothing() {
        let mut poison = message(2, 1, 1);
        poison.payload = "{}".into();
        let batch =
            Marks::default().take(&[message(1, 1, 1), poison, message(3, 2, 1), message(4, 0, 1)]);
        assert_eq!(outcome(&batch), (vec![1, 2], vec![], 0));
        assert_eq!(
            batch
                .poison
                .iter()
                .map(|poison| poison.sequence)
                .collect::<Vec<_>>(),
            [2, 4]
        );
    }

    #[test]
    fn the_hash_tells_any_two_runs_apart() {
        let run = [message(1, 1, 1), message(2, 2, 1)];
        assert_eq!(content_hash(&run), content_hash(&run));
        assert_ne!(content_hash(&run), content_hash(&run[..1]));
        let mut moved = run.clone();
        moved[1].sequence = 3;
        assert_ne!(content_hash(&run), content_hash(&moved));
    }
}

//! Records numbered without gaps, and put together as the messages of `USAGE`: `events_schema::usage::UsageBatch` as JSON.

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::report::Identity;

/// A message is closed when it has this many bytes: well under NATS' limit of 1 MiB, whatever the last record holds.
pub const BATCH_BYTES: usize = 256 * 1024;

/// A message of `USAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The life of the gateway whose records these are.
    pub incarnation: Uuid,
    /// The number of its first record.
    pub first_number: u64,
    /// How many records it holds.
    pub count: u64,
    /// The JSON.
    pub payload: Bytes,
}

impl Batch {
    /// The number of its last record; of a batch without records, of the last one before it.
    #[must_use]
    pub const fn last_number(&self) -> u64 {
        self.first_number + self.count - 1
    }

    /// What says that a life of this gateway, which ended without a farewell, had made `made` records.
    #[must_use]
    pub fn closing(identity: &Identity, incarnation: Uuid, made: u64) -> Self {
        let head = head(identity, incarnation, made + 1);
        Self {
            incarnation,
            first_number: made + 1,
            count: 0,
            payload: [head.as_bytes(), b"]}"].concat().into(),
        }
    }
}

/// Puts records together as messages.
///
/// Records gather in an open message until it is full, or until it is closed because there is use for it: so a message
/// whose acknowledgement takes long is followed by one large message, not by many small ones.
#[derive(Debug)]
pub struct Batcher {
    identity: Identity,
    next_number: u64,
    open: Option<Open>,
    /// How long the last message was: the next one is about as long.
    last_bytes: usize,
}

/// A message that is not closed yet.
#[derive(Debug)]
struct Open {
    first_number: u64,
    count: u64,
    text: Vec<u8>,
}

impl Batcher {
    /// Of this life of the gateway; the first record is number 1.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            next_number: 1,
            open: None,
            last_bytes: 0,
        }
    }

    /// How many records gather in the open message.
    #[must_use]
    pub fn gathered(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.count)
    }

    /// Uses up numbers for records that are gone. The numbers of one message have no gap, so the open one is closed.
    #[must_use]
    pub fn skip(&mut self, records: u64) -> Option<Batch> {
        if records == 0 {
            return None;
        }
        self.next_number += records;
        self.close()
    }

    /// Numbers the next record, which is given as JSON; gives the message that is full with it.
    pub fn add(&mut self, record: &[u8]) -> Option<Batch> {
        let open = self.open.get_or_insert_with(|| {
            let head = head(&self.identity, self.identity.incarnation, self.next_number);
            let mut text = Vec::with_capacity(head.len() + record.len() + self.last_bytes);
            text.extend_from_slice(head.as_bytes());
            Open {
                first_number: self.next_number,
                count: 0,
                text,
            }
        });
        if open.count > 0 {
            open.text.push(b',');
        }
        open.text.extend_from_slice(record);
        open.count += 1;
        self.next_number += 1;
        if open.text.len() < BATCH_BYTES {
            return None;
        }
        self.close()
    }

    /// Closes the open message.
    #[must_use]
    pub fn close(&mut self) -> Option<Batch> {
        let Open {
            first_number,
            count,
            mut text,
        } = self.open.take()?;
        text.extend_from_slice(b"]}");
        self.last_bytes = text.len();
        Some(Batch {
            incarnation: self.identity.incarnation,
            first_number,
            count,
            payload: text.into(),
        })
    }
}

/// A message up to its first record.
fn head(identity: &Identity, incarnation: Uuid, first_number: u64) -> String {
    let (gateway, region) = (identity.gateway, json!(identity.region));
    format!(
        r#"{{"gateway":"{gateway}","incarnation":"{incarnation}","region":{region},"first_number":{first_number},"records":["#
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use events_schema::{
        time::Timestamp,
        usage::{Endpoint, Outcome, Tokens, UsageBatch, UsageRecord},
    };

    use super::*;

    pub(crate) fn identity() -> Identity {
        Identity {
            gateway: Uuid::from_u128(1),
            incarnation: Uuid::from_u128(2),
            region: "the \"north\"".into(),
            started_at: Timestamp::MIN,
        }
    }

    pub(crate) fn record(request: u128) -> UsageRecord {
        UsageRecord {
            request: Uuid::from_u128(request),
            received_at: Timestamp::MIN,
            epoch: None,
            position: 7,
            endpoint: Endpoint::ChatCompletions,
            streamed: false,
            key: None,
            owner: None,
            requested_model: "chat".into(),
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
            metadata: BTreeMap::new(),
            budgets: None,
            limits: None,
        }
    }

    fn json(request: u128) -> Vec<u8> {
        serde_json::to_vec(&record(request)).expect("a record is JSON")
    }

    fn read(batch: &Batch) -> UsageBatch {
        serde_json::from_slice(&batch.payload).expect("what the ledger reads")
    }

    #[test]
    fn records_are_numbered_on_and_messages_are_what_the_ledger_reads() {
        let mut batcher = Batcher::new(identity());
        let mut batches = Vec::new();
        for number in 1..=3 {
            assert_eq!(batcher.add(&json(number)), None, "it is not full");
        }
        assert_eq!(batcher.gathered(), 3);
        batches.extend(batcher.skip(5));
        assert_eq!(batcher.add(&json(4)), None, "it is not full");
        batches.extend(batcher.close());
        assert_eq!((batcher.gathered(), batcher.close()), (0, None));
        let numbers: Vec<_> = batches
            .iter()
            .map(|it| (it.first_number, it.last_number()))
            .collect();
        assert_eq!(numbers, [(1, 3), (9, 9)]);
        let first = read(&batches[0]);
        assert_eq!(first.region, identity().region);
        assert_eq!(
            (first.first_number, first.records),
            (1, (1..=3).map(record).collect())
        );
        assert_eq!(read(&batches[1]).first_number, 9);
    }

    #[test]
    fn a_message_is_closed_before_it_grows_too_large() {
        let mut batcher = Batcher::new(identity());
        let written = (0..2_000).filter_map(|number| batcher.add(&json(number)));
        let mut batches: Vec<_> = written.collect();
        batches.extend(batcher.close());
        assert!(batches.len() > 1);
        let mut next = 1;
        for batch in &batches {
            assert!(batch.payload.len() < BATCH_BYTES + 1024);
            assert_eq!(batch.first_number, next);
            next = batch.last_number() + 1;
        }
        assert_eq!(next, 2_001);
    }

    #[test]
    fn the_last_word_of_a_life_holds_no_record() {
        let closing = Batch::closing(&identity(), Uuid::from_u128(9), 41);
        let read = read(&closing);
        assert_eq!(
            (read.incarnation, read.first_number, read.records.len()),
            (Uuid::from_u128(9), 42, 0)
        );
        assert_eq!(closing.last_number(), 41);
    }
}

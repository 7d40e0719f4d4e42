//! What lies on `SNAPSHOTS`, as this publisher knows it: read at the start, kept up with each message sent. Pure.

use std::collections::HashMap;

use events_schema::{
    envelope::Epoch,
    keyring::KeyRing,
    snapshot::{DigestKey, EntriesDigest, EntrySubject, Frame, Heartbeat, SCHEMA, frame},
    state::Organisation,
    subjects,
};

use super::credentials::Known;

/// What stands at each subject, and what it adds up to.
pub(super) struct Book {
    lines: HashMap<EntrySubject, Line>,
    digest: EntriesDigest,
    entries: u64,
    key: DigestKey,
    /// The highest generation that has published.
    pub(super) generation: u64,
    /// The last heartbeat, and its epoch.
    pub(super) heartbeat: Option<(Epoch, Heartbeat)>,
    /// The highest epoch of any message.
    pub(super) epoch: Option<Epoch>,
}

/// Something that is not gone: a tombstone leaves no line.
struct Line {
    position: u64,
    state: State,
    /// Whether epoch, schema and MAC key are those under which this publisher would send it.
    current: Option<Epoch>,
}

enum State {
    Live(events_schema::snapshot::EntryHash),
    /// Its frame cannot be opened: whatever should stand there is sent again.
    Unreadable,
}

/// A message that brings the stream to the state.
#[derive(Debug)]
pub(super) enum Change {
    /// The thing is like this.
    Entry {
        subject: EntrySubject,
        position: u64,
        payload: rkyv::util::AlignedVec,
    },
    /// The thing is gone.
    Tombstone {
        subject: EntrySubject,
        position: u64,
    },
}

impl Book {
    /// Nothing was read yet.
    pub(super) fn new(ring: &KeyRing) -> Self {
        Self {
            lines: HashMap::new(),
            digest: EntriesDigest::default(),
            entries: 0,
            key: DigestKey::derive(ring.active().1),
            generation: 0,
            heartbeat: None,
            epoch: None,
        }
    }

    /// How many live entries there are.
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    /// The digest over all live entries, under the ring's active key.
    pub(super) const fn digest(&self) -> EntriesDigest {
        self.digest
    }

    /// Takes nothing on the stream for what it should be, so that everything differs.
    pub(super) fn distrust(&mut self) {
        for line in self.lines.values_mut() {
            line.current = None;
        }
    }

    /// Reads a message that lies on the stream.
    pub(super) fn read(&mut self, ring: &KeyRing, subject: &str, message: &[u8]) {
        let frame = Frame::open(ring, subject, message);
        if let Ok(frame) = &frame {
            self.generation = self.generation.max(frame.header.generation);
            self.epoch = self.epoch.max(Some(frame.header.epoch));
        }
        let Ok(place) = subject.parse::<EntrySubject>() else {
            if let (subjects::HEARTBEAT, Ok(frame)) = (subject, frame) {
                let said = serde_json::from_slice(frame.payload).ok();
                self.heartbeat = said
                    .map(|said| (frame.header.epoch, said))
                    .or(self.heartbeat.take());
            }
            return;
        };
        let Ok(Frame { header, payload }) = frame else {
            let line = Line {
                position: 0,
                state: State::Unreadable,
                current: None,
            };
            return self.set(place, Some(line));
        };
        let like_ours = header.schema == SCHEMA && frame::key_id(message) == Some(ring.active().0);
        let line = Line {
            position: header.position,
            state: State::Live(self.key.hash(subject, header.position, payload)),
            current: like_ours.then_some(header.epoch),
        };
        self.set(place, (!header.tombstone).then_some(line));
    }

    /// Notes a message that was sent.
    pub(super) fn sent(&mut self, change: &Change, epoch: Epoch) {
        match change {
            Change::Entry {
                subject,
                position,
                payload,
            } => {
                let hash = self.key.hash(&subject.to_string(), *position, payload);
                let line = Line {
                    position: *position,
                    state: State::Live(hash),
                    current: Some(epoch),
                };
                self.set(*subject, Some(line));
            }
            Change::Tombstone {
                subject,
                position: _,
            } => self.set(*subject, None),
        }
    }

    /// What must be sent so that the stream says of `subject` what the state says; `None`: it does.
    ///
    /// `credential`: what is known of the sealed credential, for a provider account that has one.
    pub(super) fn difference(
        &self,
        state: &Organisation,
        epoch: Epoch,
        subject: EntrySubject,
        credential: Known,
    ) -> Option<Change> {
        let line = self.lines.get(&subject);
        let found = state.entry(subject, |_| match credential {
            Known::Sealed(sealed) => Some(sealed),
            Known::None => None,
        });
        let Some((position, entry)) = found else {
            return line.is_some().then(|| Change::Tombstone {
                subject,
                position: state.position(),
            });
        };
        let payload = entry.archive();
        let same = line.is_some_and(|line| {
            line.current == Some(epoch)
                && matches!(line.state, State::Live(hash) if hash == self.key.hash(&subject.to_string(), position, &payload))
        });
        (!same).then_some(Change::Entry {
            subject,
            position,
            payload,
        })
    }

    /// Whether the stream has the thing as of `position`, sent as this publisher would send it.
    pub(super) fn stands(&self, subject: EntrySubject, epoch: Epoch, position: u64) -> bool {
        self.lines.get(&subject).is_some_and(|line| {
            line.position == position
                && line.current == Some(epoch)
                && matches!(line.state, State::Live(_))
        })
    }

    /// Whether something stands at this subject.
    pub(super) fn has(&self, subject: EntrySubject) -> bool {
        self.lines.contains_key(&subject)
    }

    /// The subjects of everything that is not gone, in order.
    pub(super) fn standing(&self) -> Vec<EntrySubject> {
        let mut standing: Vec<_> = self.lines.keys().copied().collect();
        standing.sort_unstable();
        standing
    }

    /// Puts a line in the place of what stood at `subject`; `None`: nothing stands there any more.
    fn set(&mut self, subject: EntrySubject, line: Option<Line>) {
        if let Some(Line {
            state: State::Live(hash),
            ..
        }) = line
        {
            self.digest.add(hash);
            self.entries += 1;
        }
        let before = match line {
            Some(line) => self.lines.insert(subject, line),
            None => self.lines.remove(&subject),
        };
        if let Some(Line {
            state: State::Live(hash),
            ..
        }) = before
        {
            self.digest.remove(hash);
            self.entries -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use events_schema::{
        envelope::DecodedEnvelope,
        events::{Event, UserEvent},
        id::UserId,
        secrets::KeyedHash,
        snapshot::{EntryKind, FrameHeader},
        time::Timestamp,
    };
    use uuid::Uuid;

    use super::*;

    const EPOCH: Epoch = Epoch {
        seconds: 100,
        id: Uuid::from_bytes([1; 16]),
    };
    const LATER: Epoch = Epoch {
        seconds: 200,
        id: Uuid::from_bytes([2; 16]),
    };
    const USER: EntrySubject = EntrySubject {
        kind: EntryKind::User,
        id: [7; 16],
    };

    fn ring(active: &str) -> KeyRing {
        let text = format!(
            r#"{{"active":"{active}","keys":{{"k1":"{}","k2":"{}"}}}}"#,
            "01".repeat(32),
            "02".repeat(32)
        );
        KeyRing::parse(&text).expect("a good ring")
    }

    fn with_user(state: &mut Organisation, position: u64, event: UserEvent) {
        let event = Event::User(UserId::from_bytes([7; 16]), event);
        state.evolve(&DecodedEnvelope {
            position,
            recorded_at: Timestamp::MIN,
            stream_version: position,
            event: &event,
        });
    }

    fn added() -> Organisation {
        let mut state = Organisation::default();
        with_user(
            &mut state,
            1,
            UserEvent::UserAdded {
                email: KeyedHash::of("k1", &[1; 32], b"bob@example.com"),
            },
        );
        state
    }

    /// A book that has read what it would have sent itself.
    fn read_back(ring: &KeyRing, changes: &[Change], epoch: Epoch) -> Book {
        let mut book = Book::new(ring);
        for change in changes {
            let (subject, position, payload): (_, _, &[u8]) = match change {
                Change::Entry {
                    subject,
                    position,
                    payload,
                } => (subject, *position, payload),
                Change::Tombstone { subject, position } => (subject, *position, &[]),
            };
            let tombstone = matches!(change, Change::Tombstone { .. });
            let header = FrameHeader {
                epoch,
                position,
                generation: 3,
                schema: SCHEMA,
                tombstone,
            };
            let subject = subject.to_string();
            book.read(ring, &subject, &header.seal(ring, &subject, payload));
        }
        book
    }

    fn difference(book: &Book, state: &Organisation, epoch: Epoch) -> Option<Change> {
        book.difference(state, epoch, USER, Known::None)
    }

    #[test]
    fn what_stands_as_it_should_is_not_sent_again() {
        let ring = ring("k1");
        let mut book = Book::new(&ring);
        let change = difference(&book, &added(), EPOCH).expect("nothing stands yet");
        book.sent(&change, EPOCH);
        assert!(difference(&book, &added(), EPOCH).is_none());
        let reread = read_back(&ring, &[change], EPOCH);
        assert!(difference(&reread, &added(), EPOCH).is_none());
        assert_eq!(
            (reread.digest(), reread.entries(), reread.generation),
            (book.digest(), 1, 3)
        );
    }

    #[test]
    fn a_changed_thing_a_higher_epoch_another_key_and_a_damaged_frame_are_sent_again() {
        let first = ring("k1");
        let entry = difference(&Book::new(&first), &added(), EPOCH).expect("nothing stands yet");
        let book = read_back(&first, &[entry], EPOCH);
        let mut disabled = added();
        with_user(&mut disabled, 2, UserEvent::UserDisabled {});
        assert!(matches!(
            difference(&book, &disabled, EPOCH),
            Some(Change::Entry { position: 2, .. })
        ));
        assert!(difference(&book, &added(), LATER).is_some());
        let entry = difference(&Book::new(&first), &added(), EPOCH).expect("nothing stands yet");
        let mut rotated = Book::new(&ring("k2"));
        let Change::Entry { payload, .. } = &entry else {
            panic!("a user that is there has an entry")
        };
        let header = FrameHeader {
            epoch: EPOCH,
            position: 1,
            generation: 3,
            schema: SCHEMA,
            tombstone: false,
        };
        rotated.read(
            &ring("k2"),
            &USER.to_string(),
            &header.seal(&first, &USER.to_string(), payload),
        );
        assert!(difference(&rotated, &added(), EPOCH).is_some());
        let mut damaged = Book::new(&first);
        damaged.read(&first, &USER.to_string(), b"garbage");
        assert!(difference(&damaged, &added(), EPOCH).is_some());
    }

    #[test]
    fn what_the_state_does_not_have_gets_one_tombstone() {
        let ring = ring("k1");
        let entry = difference(&Book::new(&ring), &added(), EPOCH).expect("nothing stands yet");
        let mut book = read_back(&ring, &[entry], EPOCH);
        let empty = Organisation::default();
        assert_eq!(book.standing(), [USER]);
        let gone = difference(&book, &empty, EPOCH).expect("an orphan");
        assert!(matches!(gone, Change::Tombstone { .. }));
        book.sent(&gone, EPOCH);
        assert!(difference(&book, &empty, EPOCH).is_none());
        assert_eq!(
            (book.standing(), book.entries(), book.digest()),
            (vec![], 0, EntriesDigest::default())
        );
    }
}

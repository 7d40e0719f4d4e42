//! What the stream's messages add up to, before anybody serves it. Pure: messages in, what they mean out.
//!
//! Every message's MAC is verified before its bytes are looked at. What cannot be taken is refused and changes
//! nothing: the entry that stood there before stays.

use std::collections::BTreeSet;

use events_schema::{
    envelope::Epoch,
    keyring::KeyRing,
    snapshot::{
        DigestKey, ENTRY_PREFIX, EntrySubject, Frame, FrameError, FrameHeader, Heartbeat, SCHEMA,
    },
    subjects,
};

use super::tables::{InvalidEntry, Put, Tables};

/// Entries on their way to being served.
pub(super) struct Staging {
    tables: Tables,
    epoch: Option<Epoch>,
    key_id: String,
    key: DigestKey,
    heartbeat: Option<Heard>,
    /// What was served when a second reading began: the last good entries for those that are refused, or missing, now.
    last_good: Option<(Epoch, Tables)>,
    /// What this reading has buried while there is a last good: that does not come back.
    buried: BTreeSet<EntrySubject>,
    /// What was refused while nothing stood in its place.
    refused: BTreeSet<EntrySubject>,
    /// Entries of kinds that this version does not know: they are there, and are not lacking.
    unknown: BTreeSet<String>,
}

/// A heartbeat and whether the entries add up to what it says.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// The entries as they were then: what came after belongs to the next heartbeat.
    pub(super) tables: Tables,
    /// What the publisher said.
    pub(super) heartbeat: Heartbeat,
    /// Under which epoch.
    pub(super) epoch: Epoch,
    /// Whether count and digest agreed when it was read.
    pub(super) agrees: bool,
    /// Whether there were fewer entries than it says, also with those that were refused: some have not come yet, as their
    /// newer ones stand behind the heartbeat, or the stream is being filled.
    pub(super) lacks_entries: bool,
}

/// What a message meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// An entry or a tombstone.
    Change,
    /// A heartbeat: see [`Staging::heard`].
    Heartbeat,
    /// Nothing that changes anything: a filler, or an entry that a newer one has overtaken.
    Nothing,
    /// It was refused.
    Refused(Refusal),
}

/// Why a message is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("its schema {0} is unknown: this gateway reads schema {SCHEMA}")]
    Schema(u16),
    #[error(transparent)]
    Entry(#[from] InvalidEntry),
    #[error("its subject is unknown")]
    Subject,
    #[error("its heartbeat cannot be read")]
    Heartbeat,
    #[error("the digest's key '{0}' is not in the ring")]
    DigestKey(String),
}

impl Staging {
    /// Nothing yet.
    pub(super) fn new(ring: &KeyRing) -> Self {
        let (key_id, key) = ring.active();
        Self {
            tables: Tables::default(),
            epoch: None,
            key_id: key_id.to_owned(),
            key: DigestKey::derive(key),
            heartbeat: None,
            last_good: None,
            buried: BTreeSet::new(),
            refused: BTreeSet::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// Nothing yet, but with entries to fall back on where the stream's are refused.
    pub(super) fn beside(ring: &KeyRing, served: Option<(Epoch, Tables)>) -> Self {
        Self {
            last_good: served,
            ..Self::new(ring)
        }
    }

    /// The entries.
    pub(super) const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The last heartbeat read.
    pub(super) const fn heard(&self) -> Option<&Heard> {
        self.heartbeat.as_ref()
    }

    /// The entries as the last heartbeat found them, and in place of those that have not come the last good ones; `None`:
    /// there are no last good ones of that epoch.
    pub(super) fn filled_up(&self) -> Option<Tables> {
        let heard = self.heartbeat.as_ref()?;
        let (_, last_good) = self
            .last_good
            .as_ref()
            .filter(|(epoch, _)| *epoch == heard.epoch)?;
        let mut tables = heard.tables.clone();
        last_good.for_each(|subject, position, payload| {
            if tables.stored(subject).is_none() && !self.buried.contains(&subject) {
                // It was validated when it was served; should it not fit now, the entity is denied.
                let _put = tables.put(&self.key, subject, position, payload);
            }
        });
        tables.compile();
        Some(tables)
    }

    /// The id of the key that makes the digest.
    pub(super) fn digest_key(&self) -> &str {
        &self.key_id
    }

    /// Takes one message.
    pub(super) fn take(&mut self, ring: &KeyRing, subject: &str, message: &[u8]) -> Taken {
        match self.read(ring, subject, message) {
            Ok(taken) => taken,
            Err(refusal) => {
                self.fall_back(subject);
                Taken::Refused(refusal)
            }
        }
    }

    fn read(&mut self, ring: &KeyRing, subject: &str, message: &[u8]) -> Result<Taken, Refusal> {
        let Frame { header, payload } = Frame::open(ring, subject, message)?;
        if subject == subjects::FILLER {
            return Ok(Taken::Nothing);
        }
        if header.schema != SCHEMA {
            return Err(Refusal::Schema(header.schema));
        }
        if self.epoch.is_some_and(|epoch| header.epoch < epoch) {
            return Ok(Taken::Nothing);
        }
        if self.epoch != Some(header.epoch) {
            // A higher epoch replaces all that was before; it never merges into it.
            self.tables = Tables::default();
            self.heartbeat = None;
            self.buried.clear();
            self.refused.clear();
            self.unknown.clear();
            self.epoch = Some(header.epoch);
        }
        if subject == subjects::HEARTBEAT {
            self.hear(ring, &header, payload)
        } else {
            self.change(subject, &header, payload)
        }
    }

    fn change(
        &mut self,
        subject: &str,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<Taken, Refusal> {
        let subject: EntrySubject = subject.parse().map_err(|_| Refusal::Subject)?;
        let put = if header.tombstone {
            if self.last_good.is_some() {
                self.buried.insert(subject);
            }
            self.tables.bury(&self.key, subject, header.position)
        } else {
            let put = self
                .tables
                .put(&self.key, subject, header.position, payload)?;
            self.buried.remove(&subject);
            put
        };
        self.refused.remove(&subject);
        Ok(match put {
            Put::Taken => Taken::Change,
            Put::Older => Taken::Nothing,
        })
    }

    fn hear(
        &mut self,
        ring: &KeyRing,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Result<Taken, Refusal> {
        let heartbeat: Heartbeat =
            serde_json::from_slice(payload).map_err(|_| Refusal::Heartbeat)?;
        if heartbeat.digest_key != self.key_id {
            let key = ring.get(&heartbeat.digest_key);
            let key = key.ok_or_else(|| Refusal::DigestKey(heartbeat.digest_key.clone()))?;
            self.key = DigestKey::derive(key);
            self.key_id.clone_from(&heartbeat.digest_key);
            self.tables.rehash(&self.key);
        }
        let agrees = self.tables.count() == heartbeat.entries
            && self.tables.digest().bytes() == heartbeat.entries_digest;
        let refused = self.refused.len() + self.unknown.len();
        let known = self.tables.count() + refused as u64;
        let lacks_entries = known < heartbeat.entries;
        if agrees {
            // From here on nothing is missing that was not read.
            self.last_good = None;
            self.buried.clear();
            self.refused.clear();
        }
        self.tables.compile();
        self.heartbeat = Some(Heard {
            tables: self.tables.clone(),
            heartbeat,
            epoch: header.epoch,
            agrees,
            lacks_entries,
        });
        Ok(Taken::Heartbeat)
    }

    /// Where an entry was refused and none stands, the last good one that was served is taken again.
    fn fall_back(&mut self, subject: &str) {
        let Ok(subject) = subject.parse::<EntrySubject>() else {
            if subject.starts_with(ENTRY_PREFIX) {
                self.unknown.insert(subject.to_owned());
            }
            return;
        };
        if self.tables.stored(subject).is_some() || self.buried.contains(&subject) {
            return;
        }
        self.refused.insert(subject);
        let Some((epoch, last_good)) = &self.last_good else {
            return;
        };
        if self.epoch.is_some_and(|now| now != *epoch) {
            return;
        }
        if let Some((position, payload)) = last_good.stored(subject) {
            // It was validated when it was served; should it not fit now, the entity is denied.
            if self
                .tables
                .put(&self.key, subject, position, payload)
                .is_ok()
            {
                self.refused.remove(&subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use events_schema::snapshot::{
        EntriesDigest, EntryKind,
        entries::{Entry, UserEntry},
    };
    use uuid::Uuid;

    use super::*;

    const FIRST: Epoch = Epoch {
        seconds: 100,
        id: Uuid::from_bytes([1; 16]),
    };
    const SECOND: Epoch = Epoch {
        seconds: 200,
        id: Uuid::from_bytes([2; 16]),
    };

    fn ring() -> KeyRing {
        let text = format!(
            r#"{{"active":"k1","keys":{{"k1":"{}","k2":"{}"}}}}"#,
            "01".repeat(32),
            "02".repeat(32)
        );
        KeyRing::parse(&text).expect("a good ring")
    }

    fn user(id: u8) -> EntrySubject {
        EntrySubject {
            kind: EntryKind::User,
            id: [id; 16],
        }
    }

    fn payload(id: u8) -> rkyv::util::AlignedVec {
        Entry::User(UserEntry {
            id: [id; 16],
            disabled: false,
        })
        .archive()
    }

    fn frame(epoch: Epoch, position: u64, subject: &str, payload: &[u8]) -> Vec<u8> {
        FrameHeader {
            epoch,
            position,
            generation: 1,
            schema: SCHEMA,
            tombstone: false,
        }
        .seal(&ring(), subject, payload)
    }

    fn put(staging: &mut Staging, epoch: Epoch, position: u64, id: u8) -> Taken {
        let subject = user(id).to_string();
        staging.take(
            &ring(),
            &subject,
            &frame(epoch, position, &subject, &payload(id)),
        )
    }

    fn heartbeat(
        staging: &mut Staging,
        epoch: Epoch,
        position: u64,
        of: &[(u8, u64)],
        key: &str,
    ) -> Taken {
        let digest_key = DigestKey::derive(ring().get(key).expect("in the ring"));
        let mut digest = EntriesDigest::default();
        for (id, position) in of {
            digest.add(digest_key.hash(&user(*id).to_string(), *position, &payload(*id)));
        }
        let said = Heartbeat {
            position,
            log_hash: [0; 32],
            entries: of.len() as u64,
            entries_digest: digest.bytes(),
            digest_key: key.into(),
            published_at_us: 0,
            lacks_from: None,
        };
        let said = serde_json::to_vec(&said).expect("JSON");
        staging.take(
            &ring(),
            subjects::HEARTBEAT,
            &frame(epoch, position, subjects::HEARTBEAT, &said),
        )
    }

    fn agrees(staging: &Staging) -> Option<bool> {
        staging.heard().map(|heard| heard.agrees)
    }

    #[test]
    fn a_heartbeat_agrees_with_exactly_the_entries_that_it_was_made_over() {
        let mut staging = Staging::new(&ring());
        put(&mut staging, FIRST, 2, 1);
        put(&mut staging, FIRST, 3, 2);
        heartbeat(&mut staging, FIRST, 3, &[(1, 2), (2, 3)], "k1");
        assert_eq!(agrees(&staging), Some(true));
        heartbeat(&mut staging, FIRST, 4, &[(1, 2)], "k1");
        assert_eq!(agrees(&staging), Some(false));
    }

    #[test]
    fn a_digest_under_another_key_of_the_ring_agrees_too() {
        let mut staging = Staging::new(&ring());
        put(&mut staging, FIRST, 2, 1);
        heartbeat(&mut staging, FIRST, 2, &[(1, 2)], "k2");
        assert_eq!((agrees(&staging), staging.digest_key()), (Some(true), "k2"));
    }

    #[test]
    fn a_higher_epoch_begins_from_nothing_and_a_lower_one_is_not_taken() {
        let mut staging = Staging::new(&ring());
        put(&mut staging, FIRST, 2, 1);
        put(&mut staging, SECOND, 3, 2);
        assert_eq!(put(&mut staging, FIRST, 9, 3), Taken::Nothing);
        heartbeat(&mut staging, SECOND, 3, &[(2, 3)], "k1");
        assert_eq!(agrees(&staging), Some(true));
    }

    #[test]
    fn a_refused_entry_changes_nothing() {
        let mut staging = Staging::new(&ring());
        put(&mut staging, FIRST, 2, 1);
        let subject = user(1).to_string();
        let check = |staging: &mut Staging, message: &[u8], refusal: Refusal| {
            assert_eq!(
                staging.take(&ring(), &subject, message),
                Taken::Refused(refusal)
            );
            heartbeat(staging, FIRST, 2, &[(1, 2)], "k1");
            assert_eq!(agrees(staging), Some(true));
        };
        let mut forged = frame(FIRST, 3, &subject, &payload(1));
        *forged.last_mut().expect("not empty") ^= 1;
        check(&mut staging, &forged, Refusal::Frame(FrameError::Mac));
        let other = frame(FIRST, 3, &subject, b"not an archive");
        assert!(matches!(
            staging.take(&ring(), &subject, &other),
            Taken::Refused(Refusal::Entry(_))
        ));
        let header = FrameHeader {
            epoch: FIRST,
            position: 3,
            generation: 1,
            schema: 9,
            tombstone: false,
        };
        check(
            &mut staging,
            &header.seal(&ring(), &subject, b""),
            Refusal::Schema(9),
        );
    }

    #[test]
    fn a_second_reading_keeps_the_last_good_entry_where_the_stream_has_a_bad_one() {
        let mut first = Staging::new(&ring());
        put(&mut first, FIRST, 2, 1);
        let mut second = Staging::beside(&ring(), Some((FIRST, first.tables().clone())));
        let subject = user(1).to_string();
        assert!(matches!(
            second.take(&ring(), &subject, b"garbage"),
            Taken::Refused(_)
        ));
        assert_eq!(
            second
                .tables()
                .stored(user(1))
                .map(|(position, _)| position),
            Some(2)
        );
    }

    #[test]
    fn fillers_and_tombstones_of_the_unknown_change_nothing() {
        let mut staging = Staging::new(&ring());
        assert_eq!(
            staging.take(
                &ring(),
                subjects::FILLER,
                &frame(FIRST, 0, subjects::FILLER, b"")
            ),
            Taken::Nothing
        );
        let subject = user(1).to_string();
        let gone = FrameHeader {
            epoch: FIRST,
            position: 3,
            generation: 1,
            schema: SCHEMA,
            tombstone: true,
        };
        staging.take(&ring(), &subject, &gone.seal(&ring(), &subject, b""));
        heartbeat(&mut staging, FIRST, 3, &[], "k1");
        assert_eq!(agrees(&staging), Some(true));
    }
}

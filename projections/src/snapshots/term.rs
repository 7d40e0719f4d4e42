//! One term of a publisher: read, stand by, take over, publish.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{CreateStreamError, GetStreamErrorKind},
    stream,
};
use events_schema::{
    envelope::{Envelope, Epoch},
    id::Id,
    snapshot::{EntryKind, EntrySubject, FrameHeader, Heartbeat, SCHEMA},
    subjects,
};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use super::{
    PublisherConfig, PublisherStatus, Republished, Rivals, Role, Stopped,
    book::{Book, Change},
    credentials::{Credentials, Known},
    outbox::{Outbox, SendError},
};
use crate::{
    clock,
    fold::{Fold, FoldError},
    reader::{Delivered, ReadError, Reader, look},
};

/// How often a publisher says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// A publisher that was not heard for this long has lost its place: three heartbeats and some.
const TAKEOVER: Duration = Duration::from_millis(900);
/// How often a publisher that waits looks again.
const LOOK: Duration = Duration::from_millis(10);
/// How often entries that wait for Postgres are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long after an event its command may have more events under way, from a relay that does not mark a command's
/// last event with a header: it sends them in one go. What a relay that marks it has begun is waited for without end.
const GRACE: Duration = Duration::from_millis(10);
/// A batch under a steady flow of events: its changes fill the pipeline for about 20 ms.
const BATCH: usize = 1_024;
/// With more messages than this under way, a batch grows instead of being sent.
const BUSY: usize = 256;
/// How long gateways can find out about what is gone, when they were cut off.
const TOMBSTONE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A lost tail is shorter than this; a greater difference is another stream under the same name.
const MOST_FILLERS: u64 = 1_000_000;

const WAITS_FOR_POSTGRES: &str = "provider accounts wait for Postgres";

/// What outlives a term.
pub(super) struct Held {
    credentials: Credentials,
    /// The highest sequence that the stream ever acknowledged.
    acked: u64,
    /// The generation of this publisher's last term; 0 before the first.
    generation: u64,
}

/// Why a term ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection to NATS was lost")]
    Disconnected,
    #[error(transparent)]
    Rival(#[from] Stopped),
    #[error("SNAPSHOTS cannot be created")]
    Create(#[source] CreateStreamError),
    #[error(
        "SNAPSHOTS keeps more than the newest message of a subject, or keeps tombstones for ever: remove it, and it is made anew"
    )]
    NotCompacted,
    #[error("reading")]
    Read(#[from] ReadError),
    #[error("the history cannot be followed")]
    Fold(#[from] FoldError),
    #[error(
        "SNAPSHOTS says that position {0} of the history has another hash than EVENTS: an operator must decide"
    )]
    Forked(u64),
    #[error("SNAPSHOTS")]
    Send(#[from] SendError),
    #[error("sealed credentials cannot be read from Postgres: nothing is sent again without them")]
    NoCredentials,
    #[error("everything was sent again")]
    Republished(Republished),
}

/// One term.
pub(super) struct Term<'a> {
    config: &'a PublisherConfig,
    context: &'a jetstream::Context,
    held: &'a mut Held,
    status: &'a watch::Sender<PublisherStatus>,
    book: Book,
    fold: Fold,
    /// The sequence of the last message read from `SNAPSHOTS`.
    last: u64,
    /// Under which epoch entries are sent.
    epoch: Option<Epoch>,
    /// Provider accounts that wait for Postgres, and the first of their positions that is not on the stream.
    pending: BTreeMap<EntrySubject, u64>,
    /// Those of them that the stream had, or should have had, before this term, and has not: nothing is told without them.
    holes: BTreeSet<EntrySubject>,
    /// Whether the last event folded in was its command's last.
    complete: bool,
    /// Whether the relay marks the last event of a command.
    marked: bool,
    folded_at: Instant,
    /// What heartbeats tell.
    told: Option<Told>,
}

/// What the entries that were sent add up to.
#[derive(Debug, Clone, Copy)]
struct Told {
    position: u64,
    log_hash: [u8; 32],
}

impl Held {
    pub(super) const fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            acked: 0,
            generation: 0,
        }
    }
}

impl<'a> Term<'a> {
    pub(super) fn new(
        config: &'a PublisherConfig,
        context: &'a jetstream::Context,
        held: &'a mut Held,
        status: &'a watch::Sender<PublisherStatus>,
    ) -> Self {
        Self {
            config,
            context,
            held,
            status,
            book: Book::new(&config.ring),
            fold: Fold::new(),
            last: 0,
            epoch: None,
            pending: BTreeMap::new(),
            holes: BTreeSet::new(),
            complete: true,
            marked: false,
            folded_at: Instant::now(),
            told: None,
        }
    }

    /// Serves the term to its end.
    pub(super) async fn serve(mut self) -> Ended {
        let Err(ended) = self.try_serve().await;
        ended
    }

    async fn try_serve(&mut self) -> Result<Infallible, Ended> {
        self.enter(Role::Reading);
        let mut snapshots = self.read_snapshots().await?;
        let events = self.wait_for_turn(&mut snapshots).await?;
        drop(snapshots);
        self.lead(events).await
    }

    fn enter(&self, role: Role) {
        self.status.send_if_modified(|status| {
            let news = status.role != role || status.trouble.is_some();
            status.role = role;
            status.trouble = None;
            news
        });
    }

    // === reading ===

    /// Reads the whole of `SNAPSHOTS`, which is created where there is none.
    async fn read_snapshots(&mut self) -> Result<Reader, Ended> {
        self.create_where_missing().await?;
        let life = look(self.context, subjects::SNAPSHOTS).await?;
        let mut snapshots = Reader::open(self.context, subjects::SNAPSHOTS, None).await?;
        self.last = life.last;
        let mut read = if life.messages == 0 { life.last } else { 0 };
        while read < life.last {
            read = self.read_snapshot(&snapshots.next().await?);
        }
        let held = self.held.generation;
        if self.config.rivals == Rivals::Stop && held != 0 && self.book.generation > held {
            return Err(Stopped::Superseded(self.book.generation).into());
        }
        Ok(snapshots)
    }

    fn read_snapshot(&mut self, delivered: &Delivered) -> u64 {
        let Delivered { sequence, message } = delivered;
        self.book
            .read(&self.config.ring, &message.subject, &message.payload);
        self.last = self.last.max(*sequence);
        *sequence
    }

    async fn create_where_missing(&self) -> Result<(), Ended> {
        match self.context.get_stream(subjects::SNAPSHOTS).await {
            Ok(stream) => {
                let config = &stream.cached_info().config;
                let fits = config.max_messages_per_subject == 1 && config.allow_message_ttl;
                return fits.then_some(()).ok_or(Ended::NotCompacted);
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
                _ => return Err(ReadError::Stream(error).into()),
            },
        }
        let config = stream::Config {
            name: subjects::SNAPSHOTS.into(),
            subjects: vec![subjects::SNAPSHOTS_SUBJECTS.into()],
            description: Some(
                "Sluice: what gateways load; the newest message of each subject".into(),
            ),
            max_messages_per_subject: 1,
            // The stream's sequence never goes back, not even when the stream is made anew.
            first_sequence: Some(clock::now().micros().unsigned_abs()),
            allow_message_ttl: true,
            storage: stream::StorageType::File,
            num_replicas: self.config.replicas,
            ..stream::Config::default()
        };
        tracing::warn!("SNAPSHOTS does not exist: it is created");
        self.context
            .create_stream(config)
            .await
            .map(drop)
            .map_err(Ended::Create)
    }

    /// Follows both streams until the history is folded to its end and no other publisher is heard.
    async fn wait_for_turn(&mut self, snapshots: &mut Reader) -> Result<Reader, Ended> {
        let mut events = None;
        let mut end = u64::MAX;
        let mut heard = Instant::now();
        let mut tick = every(LOOK);
        loop {
            if let Some(reader) = events.take_if(|_| self.is_my_turn(end, heard)) {
                return Ok(reader);
            }
            tokio::select! {
                delivered = snapshots.next() => {
                    self.read_snapshot(&delivered?);
                    heard = Instant::now();
                    self.mind_rivals()?;
                }
                delivered = next_of(&mut events) => self.fold_in(&delivered?)?,
                _ = tick.tick() => {
                    if events.is_none() {
                        (events, end) = self.open_events().await;
                    }
                    self.tell_progress();
                }
            }
        }
    }

    /// Opens `EVENTS`, if it is there.
    async fn open_events(&self) -> (Option<Reader>, u64) {
        let opened = async {
            let life = look(self.context, subjects::EVENTS).await?;
            let reader = Reader::open(self.context, subjects::EVENTS, None).await?;
            Ok::<_, ReadError>((Some(reader), life.last))
        };
        match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                self.trouble(&format!("waits for EVENTS: {}", super::in_full(&error)));
                sleep(super::PAUSE).await;
                (None, u64::MAX)
            }
        }
    }

    /// Another publisher was heard: stand by, or stop.
    fn mind_rivals(&self) -> Result<(), Ended> {
        let generation = self.book.generation;
        if generation == self.held.generation {
            return Ok(());
        }
        match self.config.rivals {
            Rivals::Stop => Err(Stopped::Alive(generation).into()),
            Rivals::StandBy => {
                self.enter(Role::Standby);
                Ok(())
            }
            Rivals::Replace => Ok(()),
        }
    }

    fn is_my_turn(&self, end: u64, heard: Instant) -> bool {
        let alone = self.book.generation == 0 || self.book.generation == self.held.generation;
        let silent = alone || heard.elapsed() >= TAKEOVER || self.config.rivals == Rivals::Replace;
        let settled = self.complete || (!self.marked && self.folded_at.elapsed() >= GRACE);
        silent && settled && self.fold.position() >= end && self.knows_enough()
    }

    /// Whether the history is long enough: never publish an older state than the one that lies on the stream.
    fn knows_enough(&self) -> bool {
        let Some(epoch) = self.fold.organisation().epoch() else {
            return false;
        };
        if self.book.epoch.is_some_and(|told| told > epoch) {
            return false;
        }
        let told = self
            .book
            .heartbeat
            .as_ref()
            .filter(|(told, _)| *told == epoch);
        told.is_none_or(|(_, said)| said.position <= self.fold.position())
    }

    fn tell_progress(&self) {
        let position = self.fold.position();
        self.status.send_if_modified(|status| {
            let news = status.position != position;
            status.position = position;
            news
        });
    }

    fn trouble(&self, trouble: &str) {
        self.status.send_if_modified(|status| {
            let news = status.trouble.as_deref() != Some(trouble);
            if news {
                tracing::info!(trouble, "the publisher waits");
                status.trouble = Some(trouble.to_owned());
            }
            news
        });
    }

    /// Folds in an event while nothing is published.
    fn fold_in(&mut self, delivered: &Delivered) -> Result<(), Ended> {
        let envelope = self
            .fold
            .read(delivered.sequence, &delivered.message.payload)?;
        self.fold(delivered, &envelope)?;
        let organisation = self.fold.organisation();
        if let Some((epoch, said)) = &self.book.heartbeat
            && organisation.epoch() == Some(*epoch)
            && said.position == envelope.position
            && said.log_hash != envelope.hash
        {
            return Err(Ended::Forked(envelope.position));
        }
        Ok(())
    }

    /// Folds in an event, and finds out whether more of its command follows.
    fn fold(&mut self, delivered: &Delivered, envelope: &Envelope) -> Result<(), FoldError> {
        if !self.complete && self.fold.cause() != Some(envelope.cause) {
            // The command before it has ended without a mark.
            self.marked = false;
        }
        self.fold.apply(envelope)?;
        let headers = delivered.message.headers.as_ref();
        self.complete =
            headers.is_some_and(|headers| headers.get_last(subjects::COMMAND_END).is_some());
        self.marked |= self.complete;
        self.folded_at = Instant::now();
        Ok(())
    }

    // === leading ===

    async fn lead(&mut self, mut events: Reader) -> Result<Infallible, Ended> {
        let generation = clock::now()
            .micros()
            .unsigned_abs()
            .max(self.book.generation + 1);
        self.held.generation = generation;
        let name = format!("{}.{generation}", self.config.id.simple());
        let mut outbox = Outbox::new(self.context.client(), self.last, name);
        let led = self.take_over(&mut outbox, &mut events).await;
        // What was acknowledged is known to others, however the term ended.
        self.held.acked = self.held.acked.max(outbox.acked());
        led
    }

    async fn take_over(
        &mut self,
        outbox: &mut Outbox,
        events: &mut Reader,
    ) -> Result<Infallible, Ended> {
        self.fill(outbox).await?;
        if self.config.rivals == Rivals::Replace {
            return Err(self.send_everything(outbox).await?);
        }
        self.flush(outbox).await?;
        outbox.settle().await?;
        self.enter(Role::Leader);
        let (generation, position) = (self.held.generation, self.fold.position());
        tracing::info!(
            generation,
            position,
            entries = self.book.entries(),
            "publishing snapshots"
        );
        self.publish(outbox, events).await
    }

    /// Counts what differs, then sends every entry in its final state, and tombstones for what has to go.
    async fn send_everything(&mut self, outbox: &mut Outbox) -> Result<Ended, Ended> {
        self.epoch = self.fold.organisation().epoch();
        let subjects: BTreeSet<EntrySubject> = self
            .fold
            .organisation()
            .entry_subjects()
            .chain(self.book.standing())
            .collect();
        let mut differed = 0;
        for subject in &subjects {
            let change = self.difference(*subject).await;
            differed += u64::from(change.is_some_and(|change| !self.is_on_its_way(&change)));
        }
        if !self.pending.is_empty() {
            return Err(Ended::NoCredentials);
        }
        let position = self.fold.position();
        let digest_before = self
            .book
            .heartbeat
            .as_ref()
            .filter(|(epoch, said)| {
                Some(*epoch) == self.epoch
                    && said.position == position
                    && said.digest_key == self.config.ring.active().0
            })
            .map(|(_, said)| hex::encode(said.entries_digest));
        self.book.distrust();
        let mut sent = 0;
        for subject in subjects {
            if let Some(change) = self.difference(subject).await {
                self.send(change, outbox).await?;
                sent += 1;
            }
        }
        self.told = Some(Told {
            position,
            log_hash: self.fold.hash(),
        });
        self.heartbeat(outbox).await?;
        outbox.settle().await?;
        Ok(Ended::Republished(Republished {
            sent,
            differed,
            position,
            digest_before,
            digest_after: self.book.digest().to_string(),
        }))
    }

    /// Whether the change follows from an event that the live publisher has not told of yet.
    fn is_on_its_way(&self, change: &Change) -> bool {
        let told = self
            .book
            .heartbeat
            .as_ref()
            .filter(|(epoch, _)| Some(*epoch) == self.epoch)
            .map_or(0, |(_, said)| said.position);
        match change {
            Change::Entry { position, .. } => *position > told,
            // When the thing went is not known; with everything told, it was not now.
            Change::Tombstone { .. } => self.fold.position() > told,
        }
    }

    /// After a lost tail: passes the highest sequence that was ever acknowledged, before anything is sent again.
    async fn fill(&mut self, outbox: &mut Outbox) -> Result<(), Ended> {
        let missing = self.held.acked.saturating_sub(self.last);
        if missing > MOST_FILLERS {
            tracing::error!(
                missing,
                "SNAPSHOTS goes on at a far lower sequence: it is taken for another stream"
            );
            return Ok(());
        }
        if missing > 0 {
            tracing::warn!(missing, "SNAPSHOTS has lost its tail: fillers pass it");
        }
        let epoch = self.fold.organisation().epoch();
        for _ in 0..missing {
            let message = self.seal(epoch, 0, false, subjects::FILLER, &[]);
            outbox.send(subjects::FILLER.into(), message, None).await?;
        }
        self.status.send_modify(|status| status.fillers += missing);
        Ok(())
    }

    async fn publish(
        &mut self,
        outbox: &mut Outbox,
        events: &mut Reader,
    ) -> Result<Infallible, Ended> {
        let mut beat = every(HEARTBEAT);
        let mut retry = every(RETRY);
        loop {
            let waits = self.is_not_whole_yet();
            let news = !waits && self.told.map(|told| told.position) != Some(self.fold.position());
            let busy = outbox.waiting() > BUSY;
            tokio::select! {
                biased;
                delivered = events.next() => self.take(&delivered?, outbox).await?,
                () = std::future::ready(()), if news && self.complete && !busy => {
                    self.flush(outbox).await?;
                    beat.reset();
                }
                settled = outbox.settle_one(), if outbox.waiting() > 0 => settled?,
                () = sleep(GRACE.saturating_sub(self.folded_at.elapsed())), if news && !self.complete && !self.marked => {
                    self.complete = true;
                }
                _ = beat.tick(), if !busy => self.heartbeat(outbox).await?,
                true = self.held.credentials.arrived(), if !self.pending.is_empty() && !news => {
                    self.flush(outbox).await?;
                }
                _ = retry.tick(), if !self.pending.is_empty() && !news => {
                    self.flush(outbox).await?;
                }
            }
        }
    }

    /// Folds in an event. Under a steady flow a batch ends before the event that begins another command.
    async fn take(&mut self, delivered: &Delivered, outbox: &mut Outbox) -> Result<(), Ended> {
        let envelope = self
            .fold
            .read(delivered.sequence, &delivered.message.payload)?;
        if self.fold.touched() >= BATCH && self.fold.cause() != Some(envelope.cause) {
            self.flush(outbox).await?;
        }
        self.fold(delivered, &envelope)?;
        Ok(())
    }

    /// Sends what differs, and a heartbeat after it. At the start of a term, and of an epoch, everything is compared.
    async fn flush(&mut self, outbox: &mut Outbox) -> Result<(), Ended> {
        let mut touched = self.fold.take_touched();
        let epoch = self.fold.organisation().epoch();
        if self.epoch == epoch {
            touched.extend(self.pending.keys());
        } else {
            self.epoch = epoch;
            self.told = None;
            self.pending.clear();
            self.holes.clear();
            touched.extend(self.fold.organisation().entry_subjects());
            touched.extend(self.book.standing());
        }
        let mut sent = 0;
        for subject in touched {
            if let Some(change) = self.difference(subject).await {
                self.send(change, outbox).await?;
                sent += 1;
            }
        }
        self.status.send_modify(|status| status.sent += sent);
        if self.told.is_none() {
            self.holes = self.holes_now();
        }
        if self.is_not_whole_yet() {
            self.tell_what_waits();
            return Ok(());
        }
        self.told = Some(Told {
            position: self.fold.position(),
            log_hash: self.fold.hash(),
        });
        self.heartbeat(outbox).await
    }

    fn tell_what_waits(&self) {
        let (folded, pending) = (self.fold.position(), self.pending.len());
        self.status.send_modify(|status| {
            (status.position, status.pending) = (folded, pending);
            status.trouble = Some(WAITS_FOR_POSTGRES.into());
        });
    }

    /// Whether accounts that the stream should have wait for Postgres. Nothing is told until they are there: gateways would
    /// believe it, and give up accounts that they can serve. An account that is newer than what was told holds up nobody.
    fn is_not_whole_yet(&self) -> bool {
        self.holes.iter().any(|it| self.pending.contains_key(it))
    }

    /// Which of the pending accounts do not stand on the stream although its last heartbeat speaks of their positions; all
    /// of them, where none speaks of this epoch.
    fn holes_now(&self) -> BTreeSet<EntrySubject> {
        let heartbeat = self.book.heartbeat.as_ref();
        let said = heartbeat.filter(|(epoch, _)| Some(*epoch) == self.epoch);
        let whole_to = said.map(|(_, said)| {
            let before = said.lacks_from.map_or(u64::MAX, |from| from - 1);
            said.position.min(before)
        });
        let is_hole = |subject: &EntrySubject, lacks_from: u64| {
            !self.book.has(*subject) && whole_to.is_none_or(|whole_to| lacks_from <= whole_to)
        };
        let holes = self
            .pending
            .iter()
            .filter(|(subject, from)| is_hole(subject, **from));
        holes.map(|(subject, _)| *subject).collect()
    }

    async fn difference(&mut self, subject: EntrySubject) -> Option<Change> {
        let epoch = self.epoch?;
        let waited_from = self.pending.remove(&subject);
        let organisation = self.fold.organisation();
        let mut known = Known::None;
        if subject.kind == EntryKind::ProviderAccount
            && let Some(account) = organisation
                .provider_accounts()
                .get(&Id::from_bytes(subject.id))
            && let Some(reference) = &account.credential
        {
            if account.credential_shredded {
                self.held.credentials.forget(reference);
                return self.book.difference(organisation, epoch, subject, known);
            }
            match self.held.credentials.find(reference).await {
                Some(found) => known = found,
                None if self.book.stands(subject, epoch, account.life.position) => return None,
                None => {
                    let lacks_from = waited_from.unwrap_or(account.life.position);
                    self.pending.insert(subject, lacks_from);
                    return None;
                }
            }
        }
        self.book.difference(organisation, epoch, subject, known)
    }

    async fn send(&mut self, change: Change, outbox: &mut Outbox) -> Result<(), Ended> {
        let (subject, message, ttl) = match &change {
            Change::Entry {
                subject,
                position,
                payload,
            } => {
                let text = subject.to_string();
                let message = self.seal(self.epoch, *position, false, &text, payload);
                (text, message, None)
            }
            Change::Tombstone { subject, position } => {
                let text = subject.to_string();
                let message = self.seal(self.epoch, *position, true, &text, &[]);
                (text, message, Some(TOMBSTONE))
            }
        };
        outbox.send(subject, message, ttl).await?;
        if let Some(epoch) = self.epoch {
            self.book.sent(&change, epoch);
        }
        Ok(())
    }

    /// Tells what the entries add up to. While a command's last events are waited for, that is the state before it.
    async fn heartbeat(&mut self, outbox: &mut Outbox) -> Result<(), Ended> {
        let Some(Told { position, log_hash }) = self.told else {
            return Ok(());
        };
        let said = Heartbeat {
            position,
            log_hash,
            entries: self.book.entries(),
            entries_digest: self.book.digest().bytes(),
            digest_key: self.config.ring.active().0.to_owned(),
            published_at_us: clock::now().micros(),
            lacks_from: self.pending.values().min().copied(),
        };
        let json = serde_json::to_vec(&said).expect("a heartbeat holds nothing that JSON cannot");
        let message = self.seal(self.epoch, position, false, subjects::HEARTBEAT, &json);
        outbox
            .send(subjects::HEARTBEAT.into(), message, None)
            .await?;
        self.held.acked = self.held.acked.max(outbox.acked());
        let (entries, digest) = (self.book.entries(), self.book.digest());
        let (generation, pending) = (self.held.generation, self.pending.len());
        let folded = self.fold.position();
        let away = self.held.credentials.away();
        self.status.send_modify(|status| {
            (status.position, status.told, status.entries) = (folded, position, entries);
            (status.generation, status.pending) = (generation, pending);
            status.entries_digest = digest.to_string();
            status.heartbeats += 1;
            status.trouble = (away && pending > 0).then(|| WAITS_FOR_POSTGRES.into());
        });
        Ok(())
    }

    fn seal(
        &self,
        epoch: Option<Epoch>,
        position: u64,
        tombstone: bool,
        subject: &str,
        payload: &[u8],
    ) -> Vec<u8> {
        let epoch = epoch.expect("nobody leads before the history has an epoch");
        let generation = self.held.generation;
        FrameHeader {
            epoch,
            position,
            generation,
            schema: SCHEMA,
            tombstone,
        }
        .seal(&self.config.ring, subject, payload)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The reader's next message; never, where there is no reader yet.
async fn next_of(reader: &mut Option<Reader>) -> Result<Delivered, ReadError> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}

//! Reads the stream, stages what it says, and decides when that is served.
//!
//! - Ready once the stream's last sequence, as it was when the reading began, has been passed and a heartbeat was
//!   read: the last heartbeat lies in the stream, so no publisher need be alive.
//! - A heartbeat that agrees with the staged entries swaps them in. When none agrees for a second they are swapped
//!   in all the same, marked unproven, and the stream is read again, beside what is served. Where entries are missing that
//!   the heartbeat speaks of, those that were served last stand in for them for a minute, but for what was buried; where
//!   nothing was served yet, they are waited for.
//! - Never back: neither to a lower epoch nor, within an epoch, to a lower position.
//! - A stream that was deleted, recreated or has lost its tail is read again from its start, beside.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, context::ContextBuilder};
use events_schema::{keyring::KeyRing, subjects};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    View, ViewConfig, ViewHandle, ViewStatus, disk,
    reader::{Delivered, Life, ReadError, Reader, look},
    staging::{Heard, Refusal, Staging, Taken},
    tables::Tables,
};
use crate::{
    clock,
    nats::{self, Link},
    report::{self, Figures, Identity},
};

/// How long the stream may take to be found before the view on disk is served.
const STREAM_FIRST: Duration = Duration::from_millis(150);
/// How long heartbeats may disagree before the entries are served unproven.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a gateway that has nothing to serve waits for entries of which a heartbeat speaks. A stream that is being filled
/// is complete by then; one that stays as it is has lost them, and most of the entries are better than none.
const COMPLETION: Duration = Duration::from_secs(10);
/// How long what was served last stands in for entries that are missing. Nobody knows whether one of them was deleted, and
/// its tombstone is missing as well: a key that was revoked must not go on working for longer than it takes to fill a stream.
const STANDS_IN: Duration = Duration::from_secs(60);
/// How often what is due without a message is looked at.
const TICK: Duration = Duration::from_millis(250);
/// The pause after a reading that could not begin, or ended.
const PAUSE: Duration = Duration::from_millis(250);
/// The pauses before the stream is read again because no heartbeat agrees; the last one repeats.
const REREAD: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];
/// The least time between two writings of the view's file.
const WRITE: Duration = Duration::from_secs(10);
/// A file that has not changed is written again after this: its age says when the stream was last heard.
const REFRESH: Duration = Duration::from_secs(600);
/// Refused messages that are logged one by one; of the rest, one in a thousand.
const LOGGED: u64 = 10;

/// Loads until `shutdown`, then writes the view's file.
pub(super) async fn run(
    config: ViewConfig,
    identity: Identity,
    figures: impl Fn() -> Figures + Send + 'static,
    view: ViewHandle,
    status: watch::Sender<ViewStatus>,
    reported: watch::Receiver<ViewStatus>,
    shutdown: CancellationToken,
) {
    let name = format!("sluice-gateway {}", identity.gateway.as_simple());
    let mut loader = Loader::new(&config, view.clone(), status);
    let link = match nats::connect(&config.nats, &name).await {
        Ok(link) => link,
        Err(error) => {
            tracing::error!(%error, "the NATS URL cannot be used: serving from disk for good");
            loader.start_from_disk(config.max_age);
            shutdown.cancelled().await;
            return;
        }
    };
    let reporter = tokio::spawn(report::run(link.clone(), identity, figures, view, reported));
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = loader.follow(link, config.max_age) => {}
    }
    reporter.abort();
    loader.file.last_write(&loader.view).await;
}

struct Loader {
    ring: KeyRing,
    view: ViewHandle,
    status: watch::Sender<ViewStatus>,
    staging: Staging,
    /// Where the reading stands: the stream, and the last sequence seen in it.
    at: Option<Life>,
    /// The sequence that must be passed before anything of this reading is served.
    awaited: Option<u64>,
    disagrees_since: Option<Instant>,
    /// Since when entries are missing, over all readings.
    lacks_since: Option<Instant>,
    rereads: usize,
    reread_at: Option<Instant>,
    file: ViewFile,
}

/// Why a reading ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("no heartbeat agrees with the entries: the stream is read again")]
    Reread,
}

impl Loader {
    fn new(config: &ViewConfig, view: ViewHandle, status: watch::Sender<ViewStatus>) -> Self {
        Self {
            ring: config.snapshot_mac.clone(),
            view,
            status,
            staging: Staging::new(&config.snapshot_mac),
            at: None,
            awaited: None,
            disagrees_since: None,
            lacks_since: None,
            rereads: 0,
            reread_at: None,
            file: ViewFile::new(config.file.clone(), config.snapshot_mac.clone()),
        }
    }

    async fn follow(&mut self, mut link: Link, max_age: Duration) {
        let context = ContextBuilder::new().build(link.client.clone());
        let reachable = async {
            link.up().await;
            look(&context, subjects::SNAPSHOTS).await.is_ok()
        };
        if !timeout(STREAM_FIRST, reachable).await.unwrap_or(false) {
            self.start_from_disk(max_age);
        }
        loop {
            let nth = link.up().await;
            let ended = tokio::select! {
                ended = self.read(&context) => ended.err().map(|error| error.to_string()),
                () = link.lost(nth) => Some("the connection to NATS was lost".to_owned()),
            };
            self.say(ended);
            if !self.status.borrow().ready {
                self.start_from_disk(max_age);
            }
            sleep(PAUSE).await;
        }
    }

    /// Says why the reading ended, once for each reason.
    fn say(&self, trouble: Option<String>) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status.trouble != trouble || status.following;
            status.following = false;
            status.trouble.clone_from(&trouble);
            changed
        });
        if let (true, Some(trouble)) = (changed, trouble) {
            tracing::warn!(trouble, "the snapshots' stream is not being read");
        }
    }

    /// Serves the view on disk, if it can be; tried once.
    fn start_from_disk(&mut self, max_age: Duration) {
        if std::mem::replace(&mut self.file.tried, true) {
            return;
        }
        let stored = match disk::read(&self.file.path, &self.ring) {
            Ok(Some(stored)) => stored,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the view on disk cannot be used"
                );
                return;
            }
        };
        let age = Duration::from_micros(clock::now().micros_since(stored.heard_at));
        if age > max_age {
            tracing::error!(
                age_seconds = age.as_secs(),
                "the view on disk is too old to be served"
            );
            return;
        }
        let (position, entries) = (stored.view.position, stored.view.entries());
        tracing::warn!(
            position,
            entries,
            age_seconds = age.as_secs(),
            "the stream is away: serving the view on disk"
        );
        self.publish(stored.view);
    }

    /// One reading, from the start of the stream or from where the last one ended.
    async fn read(&mut self, context: &jetstream::Context) -> Result<(), Ended> {
        let now = look(context, subjects::SNAPSHOTS).await?;
        let resumed = self
            .at
            .filter(|at| at.created == now.created && at.last <= now.last);
        let mut reader =
            Reader::open(context, subjects::SNAPSHOTS, resumed.map(|at| at.last + 1)).await?;
        if resumed.is_none() {
            self.begin_anew(now);
        }
        self.status.send_modify(|status| {
            status.following = true;
            status.trouble = None;
        });
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => self.look_after()?,
                delivered = reader.next() => self.take(&delivered?),
            }
        }
    }

    /// Stages from nothing, beside what is served.
    fn begin_anew(&mut self, now: Life) {
        let served = self.view.load_full();
        let last_good = served.epoch.map(|epoch| (epoch, served.tables.clone()));
        self.staging = Staging::beside(&self.ring, last_good);
        self.at = Some(Life {
            created: now.created,
            last: 0,
        });
        self.awaited = Some(now.last);
        self.disagrees_since = None;
        self.reread_at = None;
        self.status.send_modify(|status| status.readings += 1);
    }

    fn take(&mut self, delivered: &Delivered) {
        let Delivered { sequence, message } = delivered;
        let taken = self
            .staging
            .take(&self.ring, &message.subject, &message.payload);
        if let Some(at) = &mut self.at {
            at.last = *sequence;
        }
        let arrived = self.awaited.is_some_and(|awaited| *sequence >= awaited);
        if arrived {
            self.awaited = None;
        }
        match taken {
            Taken::Heartbeat => self.judge(),
            Taken::Change | Taken::Nothing if arrived => self.judge(),
            Taken::Change | Taken::Nothing => {}
            Taken::Refused(refusal) => self.refuse(*sequence, &message.subject, &refusal),
        }
    }

    fn refuse(&self, sequence: u64, subject: &str, refusal: &Refusal) {
        let mut refused = 0;
        self.status.send_modify(|status| {
            status.refused += 1;
            refused = status.refused;
        });
        if refused <= LOGGED || refused.is_multiple_of(1_000) {
            tracing::error!(sequence, subject, %refusal, refused, "a snapshot entry was refused: the last good one stays");
        }
    }

    /// Decides whether what the last heartbeat spoke of is served now.
    fn judge(&mut self) {
        if self.awaited.is_some() {
            return;
        }
        let Some(heard) = self.staging.heard() else {
            return;
        };
        self.status
            .send_modify(|status| status.heard_at = Some(Instant::now()));
        self.file.heard_at = Some(clock::now());
        let served = self.view.load_full();
        if goes_back(&served, heard) {
            self.disagrees_since = None;
            return;
        }
        if heard.agrees {
            self.lacks_since = None;
            (self.disagrees_since, self.reread_at, self.rereads) = (None, None, 0);
            self.serve(&served, false, None);
            return;
        }
        let since = *self.disagrees_since.get_or_insert_with(Instant::now);
        let stands_in = heard.lacks_entries
            && self.lacks_since.get_or_insert_with(Instant::now).elapsed() < STANDS_IN;
        let filled_up = if stands_in {
            self.staging.filled_up()
        } else {
            None
        };
        let waits = heard.lacks_entries && filled_up.is_none() && since.elapsed() < COMPLETION;
        let is_known = served.unproven && !served.from_disk && !heard.lacks_entries;
        if !waits && (since.elapsed() >= PATIENCE || is_known) {
            if self.reread_at.is_none() {
                let pause = REREAD[self.rereads.min(REREAD.len() - 1)];
                self.rereads += 1;
                self.reread_at = Some(Instant::now() + pause);
                let (position, entries) = (heard.heartbeat.position, heard.heartbeat.entries);
                tracing::error!(
                    position,
                    entries_said = entries,
                    entries_read = self.staging.tables().count(),
                    "no heartbeat agrees with the entries: serving them unproven, and reading the stream again"
                );
            }
            self.serve(&served, true, filled_up);
        }
    }

    /// Serves the entries as the last heartbeat found them, or `other` ones in which former ones stand in for what is
    /// missing, unless they are what is served.
    ///
    /// Among former ones may be some that are gone by the heartbeat's position: such a view is as of where they were served.
    fn serve(&mut self, served: &View, unproven: bool, other: Option<Tables>) {
        let Some(heard) = self.staging.heard() else {
            return;
        };
        let (position, log_hash) = match &other {
            Some(_) if served.epoch == Some(heard.epoch) => (served.position, served.log_hash),
            Some(_) | None => (heard.heartbeat.position, heard.heartbeat.log_hash),
        };
        let view = View {
            epoch: Some(heard.epoch),
            position,
            log_hash,
            lacks_from: heard.heartbeat.lacks_from,
            unproven,
            from_disk: false,
            digest_key: self.staging.digest_key().to_owned(),
            tables: other.unwrap_or_else(|| heard.tables.clone()),
        };
        let same = served.epoch == view.epoch
            && (served.position, served.lacks_from) == (view.position, view.lacks_from)
            && served.tables.digest() == view.tables.digest()
            && served.digest_key == view.digest_key
            && (served.unproven, served.from_disk) == (view.unproven, view.from_disk);
        if !same {
            self.publish(view);
        }
    }

    fn publish(&mut self, view: View) {
        let (position, entries, first) =
            (view.position, view.entries(), !self.status.borrow().ready);
        self.file.changed |= !view.from_disk;
        self.view.swap(view);
        self.status.send_modify(|status| {
            status.ready = true;
            status.swaps += 1;
        });
        if first {
            tracing::info!(position, entries, "the configuration is loaded");
        } else {
            tracing::debug!(position, entries, "the configuration was swapped");
        }
    }

    /// What is due without a message.
    fn look_after(&mut self) -> Result<(), Ended> {
        if self.disagrees_since.is_some() {
            self.judge();
        }
        self.file.write_when_due(&self.view);
        if self.reread_at.is_some_and(|at| at <= Instant::now()) {
            self.at = None;
            return Err(Ended::Reread);
        }
        Ok(())
    }
}

/// Whether serving this would go back in the history.
fn goes_back(served: &View, heard: &Heard) -> bool {
    match served.epoch {
        None => false,
        Some(epoch) if epoch == heard.epoch => heard.heartbeat.position < served.position,
        Some(epoch) => heard.epoch < epoch,
    }
}

/// When the view's file is written.
struct ViewFile {
    path: PathBuf,
    ring: KeyRing,
    /// Whether it was read.
    tried: bool,
    /// Whether what is served was not written yet.
    changed: bool,
    heard_at: Option<events_schema::time::Timestamp>,
    written: Instant,
    writing: Option<JoinHandle<()>>,
}

impl ViewFile {
    fn new(path: PathBuf, ring: KeyRing) -> Self {
        Self {
            path,
            ring,
            tried: false,
            changed: false,
            heard_at: None,
            written: Instant::now(),
            writing: None,
        }
    }

    fn write_when_due(&mut self, view: &ViewHandle) {
        let Some(heard_at) = self.heard_at else {
            return;
        };
        let due = if self.changed { WRITE } else { REFRESH };
        let busy = self
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished());
        if busy || self.written.elapsed() < due {
            return;
        }
        (self.changed, self.written) = (false, Instant::now());
        let (path, ring, view) = (self.path.clone(), self.ring.clone(), view.load_full());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            write(&path, &ring, &view, heard_at)
        }));
    }

    /// At the end: what is served, as it was last heard.
    async fn last_write(self, view: &ViewHandle) {
        if let Some(writing) = self.writing {
            // Two writers would write one file: the one under way ends first.
            let _ended = writing.await;
        }
        if let Some(heard_at) = self.heard_at {
            write(&self.path, &self.ring, &view.load_full(), heard_at);
        }
    }
}

fn write(
    path: &std::path::Path,
    ring: &KeyRing,
    view: &Arc<View>,
    heard_at: events_schema::time::Timestamp,
) {
    if let Err(error) = disk::write(path, ring, view, heard_at) {
        tracing::error!(%error, path = %path.display(), "the view cannot be written to disk");
    }
}

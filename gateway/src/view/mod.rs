//! Everything that a gateway knows: the entries of `SNAPSHOTS`, in memory, served as one whole.
//!
//! ```text
//! SNAPSHOTS ──reader──► loader ──staging (pure)──► swap ──► ViewHandle ──► requests
//!                         │  ▲                                   │
//!                         ▼  └── start, when the stream is away  ▼
//!                        disk                               report, /metrics
//! ```
//!
//! - [`View`]: what is served as of one position. It never changes; a request takes one and keeps it to its end.
//! - `staging`: what the stream's messages add up to. Pure.
//! - `tables`, `entry`: entries and indexes in persistent maps; archives validated once and read in place.
//! - `reader`: one reading of the stream, from its start or from where the last one ended.
//! - `loader`: decides when what was staged is served.
//! - `disk`: the view's file.
//!
//! All of it runs on a thread of its own: loading a million entries never takes a request's turn.

mod disk;
mod entry;
mod loader;
mod reader;
mod staging;
mod tables;

use std::{io, path::PathBuf, sync::Arc, thread, time::Duration};

use arc_swap::{ArcSwap, Guard};
use events_schema::{
    envelope::Epoch,
    keyring::KeyRing,
    snapshot::{
        EntrySubject,
        entries::{
            ArchivedFormerSecretEntry, ArchivedGrantEntry, ArchivedKeyEntry,
            ArchivedMembershipsEntry, ArchivedModelEntry, ArchivedProviderAccountEntry,
            ArchivedTeamEntry, ArchivedUserEntry, ArchivedVirtualAccountEntry,
            ArchivedVirtualModelEntry, SubjectEntry,
        },
        routing::ArchivedRoutingEntry,
    },
};
use gateway_policy::{
    Rules,
    configuration::{Configuration, EntryId, Served},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    staging::Staging,
    tables::{SubjectKey, Tables},
};
use crate::{
    nats,
    report::{Figures, Identity},
};

/// What is served, as of one position of the history. Cheap to copy: copies share their entries.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The epoch of the log; `None`: nothing is loaded.
    pub epoch: Option<Epoch>,
    /// The position of the log; 0: nothing is loaded.
    pub position: u64,
    /// The log's hash at that position.
    pub log_hash: [u8; 32],
    /// The lowest position whose change is not among the entries: see `Heartbeat::lacks_from`.
    pub lacks_from: Option<u64>,
    /// Whether no heartbeat has agreed with these entries.
    pub unproven: bool,
    /// Whether it was read from disk because the stream was away.
    pub from_disk: bool,
    digest_key: String,
    tables: Tables,
}

impl View {
    /// What messages of the stream add up to, each its subject and its bytes: those that are refused are left out, and no
    /// heartbeat is waited for.
    #[must_use]
    pub fn of_messages<'m>(
        ring: &KeyRing,
        messages: impl IntoIterator<Item = (&'m str, &'m [u8])>,
    ) -> Self {
        let mut staging = Staging::new(ring);
        for (subject, message) in messages {
            let _taken = staging.take(ring, subject, message);
        }
        Self {
            unproven: true,
            digest_key: staging.digest_key().to_owned(),
            tables: staging.tables().clone(),
            ..Self::default()
        }
    }

    /// Everything that an entry says, in words for whoever looks into a gateway; `None`: there is none at this subject.
    #[must_use]
    pub fn in_words(&self, subject: EntrySubject) -> Option<String> {
        self.tables.in_words(subject)
    }

    /// How many entries there are.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.tables.count()
    }

    /// Whether the host of a provider account may have private and local addresses.
    #[must_use]
    pub fn allows_private_addresses(&self, account: &EntryId) -> bool {
        self.tables.private_addresses.contains_key(account)
    }

    /// The rules of all rate-limit policies.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        self.tables.rules()
    }

    /// The rules of all budget policies.
    #[must_use]
    pub fn budget_rules(&self) -> &Rules {
        self.tables.budget_rules()
    }

    /// The digest over the entries, as hexadecimal digits.
    #[must_use]
    pub fn entries_digest(&self) -> String {
        self.tables.digest().to_string()
    }
}

impl Configuration for View {
    fn served(&self) -> Served {
        Served {
            epoch: self.epoch,
            position: self.position,
        }
    }

    fn key_by_hash(&self, hash: &[u8; 32]) -> Option<&ArchivedKeyEntry> {
        self.tables.keys_by_hash.get(hash).map(|entry| &***entry)
    }

    fn former_secret_by_hash(&self, hash: &[u8; 32]) -> Option<&ArchivedFormerSecretEntry> {
        let key = self.tables.former_secrets_by_hash.get(hash)?;
        self.tables.former_secrets.get(key).map(|entry| &***entry)
    }

    fn key(&self, id: &EntryId) -> Option<&ArchivedKeyEntry> {
        self.tables.keys.get(id).map(|entry| &***entry)
    }

    fn user(&self, id: &EntryId) -> Option<&ArchivedUserEntry> {
        self.tables.users.get(id).map(|entry| &***entry)
    }

    fn team(&self, id: &EntryId) -> Option<&ArchivedTeamEntry> {
        self.tables.teams.get(id).map(|entry| &***entry)
    }

    fn memberships(&self, user: &EntryId) -> Option<&ArchivedMembershipsEntry> {
        self.tables.memberships.get(user).map(|entry| &***entry)
    }

    fn virtual_account(&self, id: &EntryId) -> Option<&ArchivedVirtualAccountEntry> {
        self.tables.virtual_accounts.get(id).map(|entry| &***entry)
    }

    fn virtual_model_by_name(&self, name: &str) -> Option<&ArchivedVirtualModelEntry> {
        let id = self.tables.virtual_models_by_name.get(name)?;
        self.tables.virtual_models.get(id).map(|entry| &***entry)
    }

    fn routing(&self, virtual_model: &EntryId) -> Option<&ArchivedRoutingEntry> {
        let entry = self.tables.routings.get(virtual_model);
        entry.map(|entry| &***entry)
    }

    fn account(&self, id: &EntryId) -> Option<&ArchivedProviderAccountEntry> {
        self.tables.accounts.get(id).map(|entry| &***entry)
    }

    fn account_by_name(&self, name: &str) -> Option<&ArchivedProviderAccountEntry> {
        self.account(self.tables.accounts_by_name.get(name)?)
    }

    fn model(&self, id: &EntryId) -> Option<&ArchivedModelEntry> {
        self.tables.models.get(id).map(|entry| &***entry)
    }

    fn takes_completions(&self, model: &EntryId) -> bool {
        self.tables.completion_models.contains_key(model)
    }

    fn model_by_name(&self, account: &EntryId, name: &str) -> Option<&ArchivedModelEntry> {
        self.model(self.tables.models_by_name.get(account)?.get(name)?)
    }

    fn grants(&self, subject: SubjectEntry) -> impl Iterator<Item = &ArchivedGrantEntry> {
        let ids = self.tables.grants_by_subject.get(&SubjectKey::of(subject));
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.tables.grants.get(id))
            .map(|entry| &***entry)
    }

    fn virtual_models(&self) -> impl Iterator<Item = &ArchivedVirtualModelEntry> {
        self.tables.virtual_models.values().map(|entry| &***entry)
    }

    fn models(&self) -> impl Iterator<Item = &ArchivedModelEntry> {
        self.tables.models.values().map(|entry| &***entry)
    }
}

/// The view that is served now. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ViewHandle(Arc<ArcSwap<View>>);

impl ViewHandle {
    /// Of a view that is served from now on.
    #[must_use]
    pub fn of(view: View) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(view)))
    }

    /// The view that is served now, for a short look: not to be held across an await.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<View>> {
        self.0.load()
    }

    /// The view that is served now, to keep for as long as a request lasts.
    #[must_use]
    pub fn load_full(&self) -> Arc<View> {
        self.0.load_full()
    }

    fn swap(&self, view: View) {
        self.0.store(Arc::new(view));
    }
}

/// How the loading stands, for `/readyz`, `/metrics` and the state report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStatus {
    /// Whether a view is served.
    pub ready: bool,
    /// Whether the stream is connected and being read.
    pub following: bool,
    /// When the stream was last heard: a heartbeat or an entry. `None`: never by this process.
    pub heard_at: Option<std::time::Instant>,
    /// How many views were swapped in.
    pub swaps: u64,
    /// How many entries and heartbeats were refused.
    pub refused: u64,
    /// How often the stream was read from its start.
    pub readings: u64,
    /// What is in the way, in words, when something is.
    pub trouble: Option<String>,
}

/// What the loader needs to know.
#[derive(Debug, Clone)]
pub struct ViewConfig {
    /// The NATS server that has `SNAPSHOTS`.
    pub nats: nats::Server,
    /// The MAC keys of snapshots.
    pub snapshot_mac: KeyRing,
    /// The view's file.
    pub file: PathBuf,
    /// How old the file may be to be served.
    pub max_age: Duration,
}

/// The running loader.
#[derive(Debug)]
pub struct Loading {
    /// What is served.
    pub view: ViewHandle,
    /// How it stands.
    pub status: watch::Receiver<ViewStatus>,
    thread: thread::JoinHandle<()>,
}

impl Loading {
    /// Waits for the loader to end after its token was cancelled; it writes the view's file first.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the view's loader ended in a panic");
        }
    }
}

/// Starts the loader, and the reporter of this gateway's state, on a thread of their own.
///
/// `figures` is asked for the rest of the report, once a second and after each swap.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    config: ViewConfig,
    identity: Identity,
    figures: impl Fn() -> Figures + Send + 'static,
    shutdown: CancellationToken,
) -> io::Result<Loading> {
    let view = ViewHandle::default();
    let (status, watching) = watch::channel(ViewStatus {
        ready: false,
        following: false,
        heard_at: None,
        swaps: 0,
        refused: 0,
        readings: 0,
        trouble: None,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (served, reported) = (view.clone(), watching.clone());
    let thread = thread::Builder::new().name("view".into()).spawn(move || {
        runtime.block_on(loader::run(
            config, identity, figures, served, status, reported, shutdown,
        ));
    })?;
    Ok(Loading {
        view,
        status: watching,
        thread,
    })
}

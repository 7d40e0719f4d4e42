//! What one worker thread has: its way to the view, to providers, to the counters, and to the recorder.

use std::{cell::Cell, sync::Arc};

use tokio::sync::watch;

use super::keys::KeyHasher;
use crate::{
    config::{Config, Secrets},
    counters::{AllCounters, ThreadCounters},
    metrics::{Metrics, Serving, WorkerMetrics},
    record::ring::Ring,
    upstream::{Patience, Sender, account::Accounts, connect::Connector},
    view::{ViewHandle, ViewStatus},
};

/// What all worker threads share.
#[derive(Clone)]
pub struct Shared {
    /// The view.
    pub view: ViewHandle,
    /// How its loading stands.
    pub status: watch::Receiver<ViewStatus>,
    /// Everything counted.
    pub metrics: Arc<Metrics>,
    /// The counters behind limits.
    pub counters: Arc<AllCounters>,
    /// The key rings.
    pub secrets: Secrets,
    /// How long to wait for providers.
    pub patience: Patience,
}

impl Shared {
    /// With nothing counted yet.
    #[must_use]
    pub fn new(
        config: &Config,
        secrets: Secrets,
        view: ViewHandle,
        status: watch::Receiver<ViewStatus>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            view,
            status,
            metrics,
            counters: Arc::default(),
            secrets,
            patience: Patience::of(config),
        }
    }

    /// What `/metrics` and `/readyz` say of the view.
    #[must_use]
    pub fn serving(&self) -> Serving {
        let (ready, refused) = {
            let status = self.status.borrow();
            (status.ready, status.refused)
        };
        let view = self.view.load();
        Serving {
            position: view.position,
            entries: view.entries(),
            ready,
            unproven: view.unproven,
            refused,
        }
    }
}

/// One worker thread.
pub struct Worker {
    /// What it shares with the others.
    pub shared: Shared,
    /// What it counts.
    pub metrics: Arc<WorkerMetrics>,
    /// Where it leaves records.
    pub ring: Arc<Ring>,
    /// Its way to the counters behind limits.
    pub counters: ThreadCounters,
    /// Provider accounts, as it reaches them.
    pub accounts: Accounts,
    /// What it sends requests with.
    pub sender: Sender,
    /// Hashes API keys.
    pub keys: KeyHasher,
    /// Whether the end was asked for: answers then say that their connection closes.
    pub draining: Cell<bool>,
}

impl Worker {
    /// Has done nothing yet.
    #[must_use]
    pub fn new(shared: Shared, metrics: Arc<WorkerMetrics>, ring: Arc<Ring>) -> Self {
        Self {
            metrics,
            ring,
            counters: ThreadCounters::new(Arc::clone(&shared.counters)),
            accounts: Accounts::default(),
            sender: Sender {
                connector: Connector::default(),
                patience: shared.patience,
            },
            keys: KeyHasher::new(&shared.secrets.pepper),
            draining: Cell::new(false),
            shared,
        }
    }
}

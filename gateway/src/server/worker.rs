//! What one worker thread has: its way to the view, to providers, to the counters, and to the recorder.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::watch;

use super::{body::BodyBounds, keys::KeyHasher, strangers::Strangers};
use crate::{
    config::{Config, Secrets},
    count::kept::Allowance,
    health::{AllHealth, ThreadHealth},
    limits::Limits,
    metrics::{Metrics, Serving, WorkerMetrics},
    places::{AllKeys, Places, ThreadKeys},
    record::ring::Ring,
    sessions::Sessions,
    trace::context::Sampler,
    trust::Trust,
    upstream::{
        Patience, Sender,
        account::Accounts,
        connect::{Authorities, Connector, PlainOrigin},
    },
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
    pub limits: Arc<Limits>,
    /// How many requests of each key are under way.
    pub keys: Arc<AllKeys>,
    /// The key rings.
    pub secrets: Secrets,
    /// Whom to trust at providers.
    pub authorities: Arc<Authorities>,
    /// How long to wait for providers.
    pub patience: Patience,
    /// How many requests may be under way.
    pub places: Places,
    /// Where HTTP/2 is spoken without TLS.
    pub plain_http2: Arc<[PlainOrigin]>,
    /// The bounds within which bodies are read.
    pub bodies: BodyBounds,
    /// How targets fare.
    pub health: Arc<AllHealth>,
    /// Which targets sessions stay with.
    pub sessions: Sessions,
    /// Which requests without a trace of their own are told of; `None`: there is no collector, and nobody is told.
    pub sampler: Option<Sampler>,
    leaving: Arc<AtomicBool>,
}

/// What counts, and is looked at from elsewhere, too.
pub struct Counted {
    /// Everything counted.
    pub metrics: Arc<Metrics>,
    /// How targets fare.
    pub health: Arc<AllHealth>,
    /// The counters behind limits.
    pub limits: Arc<Limits>,
}

impl Shared {
    /// With nothing counted yet.
    #[must_use]
    pub fn new(
        config: &Config,
        secrets: Secrets,
        trust: Trust,
        view: ViewHandle,
        status: watch::Receiver<ViewStatus>,
        counted: Counted,
    ) -> Self {
        let Counted {
            metrics,
            health,
            limits,
        } = counted;
        Self {
            view,
            status,
            metrics,
            limits,
            keys: Arc::default(),
            secrets,
            authorities: Arc::new(Authorities::of(trust, config.upstream_http1_only)),
            patience: Patience::of(config),
            places: Places::new(config.max_requests, config.max_requests_per_key),
            plain_http2: config.upstream_http2_plain.clone().into(),
            bodies: BodyBounds::of(config),
            health,
            sessions: Sessions::default(),
            sampler: config.sampler(),
            leaving: Arc::default(),
        }
    }

    /// From now on `/readyz` says that this gateway is going away.
    pub fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// Whether this gateway is going away.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
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
    /// How many requests of each key are under way.
    pub under_way: ThreadKeys,
    /// Its way to how targets fare.
    pub health: ThreadHealth,
    /// Provider accounts, as it reaches them.
    pub accounts: Accounts,
    /// What it sends requests with.
    pub sender: Sender,
    /// Hashes API keys.
    pub keys: KeyHasher,
    /// Which requests without a key that works it records.
    pub strangers: Strangers,
    /// How much its requests may hold in case it has to be counted.
    pub allowance: Allowance,
    /// Where it stands on the way to its end.
    pub stage: Cell<Stage>,
}

/// Where a worker thread stands on the way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It serves.
    Serving,
    /// The end was asked for: requests under way go on.
    Draining,
    /// The time for that is over: what is still under way is told so.
    Ending,
}

impl Worker {
    /// Has done nothing yet.
    #[must_use]
    pub fn new(shared: Shared, metrics: Arc<WorkerMetrics>, ring: Arc<Ring>) -> Self {
        let connector = Connector::new(
            shared.patience,
            Arc::clone(&shared.authorities),
            Arc::clone(&shared.plain_http2),
            Arc::clone(&metrics),
        );
        Self {
            metrics,
            ring,
            under_way: ThreadKeys::new(Arc::clone(&shared.keys)),
            health: ThreadHealth::new(Arc::clone(&shared.health)),
            accounts: Accounts::new(connector),
            sender: Sender {
                patience: shared.patience,
            },
            keys: KeyHasher::new(&shared.secrets.pepper),
            strangers: Strangers::default(),
            allowance: Allowance::default(),
            stage: Cell::new(Stage::Serving),
            shared,
        }
    }
}

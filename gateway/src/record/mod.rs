//! Request records on their way to the stream `USAGE`, without a request ever waiting for it.
//!
//! ```text
//! worker threads ──put──► rings ──every 25 ms──► batches ──► USAGE
//!                           │  ▲             │     │  ▲
//!                           ▼  └─────┐       ▼     ▼  └── in order, once NATS takes them again
//!          what lacks tokens: counted┘    spans  spool on disk
//! ```
//!
//! - [`ring`]: where worker threads leave records, as text; a full ring drops and counts.
//! - [`batch`]: records numbered without gaps and put together as messages. Pure.
//! - [`spool`]: messages on disk, oldest first, bounded.
//! - [`tally`]: how many records each life of this gateway has made, kept where `kill -9` cannot lose it.
//! - `json`: a record as text. Pure.
//! - `counting`: a thread that counts what records lack of their tokens.
//! - `send`: one message to `USAGE`, once, whatever happens to its acknowledgement.
//! - `recorder`: the task that moves them.
//!
//! Numbers count within an incarnation, from 1. A record that was dropped has used up its number, so the ledger sees a
//! gap; and a gateway that was killed says at its next start how many records it had made, so the ledger sees what was
//! in its ring as a gap as well.

pub mod batch;
mod counting;
mod json;
mod recorder;
pub mod ring;
mod send;
pub mod spool;
pub mod tally;

use std::{io, path::PathBuf, sync::Arc, thread};

use tokio_util::sync::CancellationToken;

use self::{counting::Counting, recorder::Recorder, ring::Ring, spool::Spool, tally::Tally};
use crate::{
    metrics::Metrics,
    nats,
    report::Identity,
    trace::export::{Collector, Exporter},
    trust::{Trust, TrustError},
};

/// What the recorder needs to know.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// The NATS server that has `USAGE`.
    pub nats: nats::Server,
    /// The folder for the spool and the tallies.
    pub data_dir: PathBuf,
    /// How many bytes may wait on disk.
    pub spool_max_bytes: u64,
    /// How many worker threads make records.
    pub workers: usize,
    /// Where spans go; `None`: nowhere.
    pub collector: Option<Collector>,
    /// Whom to trust there.
    pub trust: Trust,
}

/// Why recording cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The spool cannot be opened.
    #[error("opening the spool of request records in {folder}")]
    Spool {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tally cannot be kept.
    #[error("keeping the tally of request records in {folder}")]
    Tally {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody can be trusted at the collector of traces.
    #[error("connecting to the collector of traces over TLS")]
    Collector(#[source] TrustError),
    /// No thread.
    #[error("starting the recorder's thread")]
    Thread(#[source] io::Error),
}

/// The running recorder.
#[derive(Debug)]
pub struct Recording {
    /// Where worker threads leave records: a ring for each.
    pub rings: Vec<Arc<Ring>>,
    thread: thread::JoinHandle<()>,
}

impl Recording {
    /// Waits for the recorder to end after its token was cancelled: what cannot be sent soon is spooled.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the recorder ended in a panic");
        }
    }
}

/// Starts the recorder on a thread of its own.
///
/// # Errors
/// See [`RecordError`].
pub fn spawn(
    config: &RecordConfig,
    identity: &Identity,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> Result<Recording, RecordError> {
    let folder = config.data_dir.join("spool");
    let spool = Spool::open(&folder, config.spool_max_bytes)
        .map_err(|source| RecordError::Spool { folder, source })?;
    let folder = config.data_dir.join("tallies");
    let unkept = |source| RecordError::Tally {
        folder: folder.clone(),
        source,
    };
    let ended = tally::take_ended(&folder).map_err(unkept)?;
    let tally = Tally::create(&folder, identity.incarnation, config.workers).map_err(unkept)?;
    let rings: Vec<_> = (0..config.workers)
        .map(|worker| Arc::new(Ring::new(tally.cell(worker))))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RecordError::Thread)?;
    let exporter = config.collector.as_ref().map(|collector| {
        let _within = runtime.enter();
        Exporter::start(collector, &config.trust, identity, &metrics)
    });
    let exporter = exporter.transpose().map_err(RecordError::Collector)?;
    let counting = Counting::start().map_err(RecordError::Thread)?;
    let (nats, identity, drained) = (config.nats.clone(), identity.clone(), rings.clone());
    let thread = thread::Builder::new()
        .name("recorder".into())
        .spawn(move || {
            let recorder = Recorder::new(identity, drained, spool, metrics, counting, exporter);
            runtime.block_on(recorder.run(&nats, tally, ended, shutdown));
            // A name that is being looked up keeps nobody: nothing is left to be sent.
            runtime.shutdown_background();
        })
        .map_err(RecordError::Thread)?;
    Ok(Recording { rings, thread })
}

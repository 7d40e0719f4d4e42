//! The server: one thread accepts connections and hands them round; each worker thread serves its own from beginning to
//! end, with its own connections to providers, so that no request ever crosses from one core to another.
//!
//! - [`worker`]: what a worker thread has;
//! - [`route`]: which path is served by what;
//! - [`complete`]: a request for a model, from its arrival to its answer;
//! - [`attempts`]: one target after another, until one answers;
//! - [`passing`], [`response`]: the answer;
//! - [`body`], [`keys`], [`models`], [`strangers`]: parts of these;
//! - [`converse`], [`stream`], [`tls`]: a caller's connection; [`http1`], [`streams`]: in either version of HTTP, and
//!   [`incoming`]: the bodies of its requests.

pub mod attempts;
pub mod body;
pub mod complete;
pub mod converse;
pub mod http1;
pub mod incoming;
pub mod keys;
pub mod models;
pub mod passing;
pub mod response;
pub mod route;
pub mod strangers;
pub mod stream;
pub mod streams;
pub mod tls;
pub mod worker;

use std::{
    future::pending, io, net::TcpStream as StdTcpStream, rc::Rc, sync::Arc, thread, time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::TrySendError},
    },
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    converse::{Accepted, Signals, converse},
    tls::Certificate,
    worker::{Shared, Stage, Worker},
};
use crate::record::ring::Ring;

/// How many accepted connections may wait for a worker thread.
const BACKLOG: usize = 1_024;
/// The pause after a connection could not be accepted: mostly, there are no file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How often worker threads forget what nobody uses any more.
const SWEEP: Duration = Duration::from_secs(10);

/// What is still under way when the time to drain is over is told so, and gets this long to say it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How the server ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Cancelled: no new connections, and requests under way go on.
    pub drain: CancellationToken,
    /// For how long.
    pub patience: Duration,
    /// Cancelled: not even that long.
    pub hurry: CancellationToken,
}

/// What a caller may take its time for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long it may take nothing of an answer.
    pub write: Duration,
    /// How long its connection may be idle, and a request's head may take to come.
    pub idle: Duration,
}

/// How callers come in.
#[derive(Clone)]
pub struct Door {
    /// How many connections they may have.
    pub connections: usize,
    /// What they may take their time for.
    pub bounds: Bounds,
    /// The certificate that they are shown; `None`: they come in plain text.
    pub certificate: Option<Certificate>,
}

/// A connection for a worker thread, and its place among those that callers may have.
type Arrival = (StdTcpStream, OwnedSemaphorePermit);

/// The running worker threads.
pub struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    doors: Vec<mpsc::Sender<Arrival>>,
    places: Arc<Semaphore>,
    certificate: Option<Certificate>,
}

impl Workers {
    /// Starts a worker thread for each ring.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        shared: &Shared,
        rings: &[Arc<Ring>],
        door: &Door,
        ending: &Ending,
    ) -> io::Result<Self> {
        let mut workers = Self {
            threads: Vec::new(),
            doors: Vec::new(),
            places: Arc::new(Semaphore::new(
                door.connections.clamp(1, Semaphore::MAX_PERMITS),
            )),
            certificate: door.certificate.clone(),
        };
        for (index, ring) in rings.iter().enumerate() {
            let (sender, arrivals) = mpsc::channel(BACKLOG);
            let (shared, ring, ending) = (shared.clone(), Arc::clone(ring), ending.clone());
            let door = door.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = thread::Builder::new()
                .name(format!("worker {index}"))
                .spawn(move || {
                    let metrics = shared.metrics.worker(index);
                    let worker = Rc::new(Worker::new(shared, metrics, ring));
                    let work = work(worker, arrivals, door, ending);
                    LocalSet::new().block_on(&runtime, work);
                    // Not waiting for what blocks elsewhere, as looking up a host's name may.
                    runtime.shutdown_background();
                })?;
            workers.threads.push(thread);
            workers.doors.push(sender);
        }
        Ok(workers)
    }

    /// Accepts connections and hands them round, for ever; shows callers another certificate when it changes.
    pub async fn accept(&self, listener: &TcpListener) {
        let follow = async {
            match &self.certificate {
                Some(certificate) => certificate.follow().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.accept_all(listener) => {}
            () = follow => {}
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let mut is_full = false;
        for next in (0..self.doors.len()).cycle() {
            if self.places.available_permits() > 0 {
                is_full = false;
            } else if !std::mem::replace(&mut is_full, true) {
                tracing::warn!("callers have as many connections as they may: more have to wait");
            }
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let handed = listener.accept().await.and_then(|(stream, _)| {
                stream.set_nodelay(true)?;
                stream.into_std()
            });
            match handed {
                Ok(stream) => self.hand_over(next, (stream, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// Gives a connection to a worker thread, or to the next one that takes it. When all have full backlogs, all are
    /// stuck: the caller had better try again.
    fn hand_over(&self, first: usize, mut arrival: Arrival) {
        for at in 0..self.doors.len() {
            let door = &self.doors[(first + at) % self.doors.len()];
            arrival = match door.try_send(arrival) {
                Ok(()) => return,
                Err(TrySendError::Full(arrival) | TrySendError::Closed(arrival)) => arrival,
            };
        }
        tracing::warn!("no worker thread takes a connection");
    }

    /// Waits for the worker threads to end.
    pub fn join(self) {
        drop(self.doors);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread ended in a panic");
            }
        }
    }
}

/// A worker thread's life.
async fn work(
    worker: Rc<Worker>,
    mut arrivals: mpsc::Receiver<Arrival>,
    door: Door,
    ending: Ending,
) {
    let connections = TaskTracker::new();
    let signals = Signals {
        // Its own, so that connections of several threads do not meet there.
        drain: ending.drain.child_token(),
        end: CancellationToken::new(),
    };
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            arrived = arrivals.recv() => {
                let Some((stream, place)) = arrived else { break };
                match TcpStream::from_std(stream) {
                    Ok(stream) => {
                        let accepted = Accepted {
                            stream,
                            place,
                            bounds: door.bounds,
                            certificate: door.certificate.clone(),
                        };
                        let conversation = converse(Rc::clone(&worker), accepted, signals.clone());
                        connections.spawn_local(conversation);
                    }
                    Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
                }
            }
            _ = sweep.tick() => {
                worker.accounts.sweep();
                worker.under_way.sweep();
                worker.health.sweep();
            }
            () = ending.drain.cancelled() => break,
        }
    }
    worker.stage.set(Stage::Draining);
    connections.close();
    tokio::select! {
        () = connections.wait() => return,
        () = sleep(ending.patience) => {}
        () = ending.hurry.cancelled() => {}
    }
    tracing::warn!(
        connections = connections.len(),
        "the time to drain is over: requests under way are cut off"
    );
    worker.stage.set(Stage::Ending);
    signals.end.cancel();
    // Who does not even read that is not waited for.
    let _over = timeout(LAST_WORDS, connections.wait()).await;
}

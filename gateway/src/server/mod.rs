//! The server: one thread accepts connections and hands them round; each worker thread serves its own from beginning to
//! end, with its own connections to providers, so that no request ever crosses from one core to another.
//!
//! - [`worker`]: what a worker thread has;
//! - [`route`]: which path is served by what;
//! - [`complete`]: a request for a model, from its arrival to its answer;
//! - [`passing`], [`response`]: the answer;
//! - [`body`], [`keys`], [`models`]: parts of these.

pub mod body;
pub mod complete;
pub mod keys;
pub mod models;
pub mod passing;
pub mod response;
pub mod route;
pub mod worker;

use std::{
    io, net::TcpStream as StdTcpStream, pin::pin, rc::Rc, sync::Arc, thread, time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::worker::{Shared, Worker};
use crate::{clock, record::ring::Ring};

/// How many accepted connections may wait for a worker thread.
const BACKLOG: usize = 1_024;
/// How long a connection may be idle, and a request's head may take to come: as nginx has it.
const IDLE: Duration = Duration::from_secs(75);
/// The longest head of a request, and the size of the buffer into which bodies are read.
const READ_BUFFER: usize = 128 * 1024;
/// The pause after a connection could not be accepted: mostly, there are no file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How often worker threads forget what nobody uses any more.
const SWEEP: Duration = Duration::from_secs(10);

/// The running worker threads.
pub struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    doors: Vec<mpsc::Sender<StdTcpStream>>,
}

impl Workers {
    /// Starts a worker thread for each ring. Cancelled, they finish what is under way, for `drain` at most.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        shared: &Shared,
        rings: &[Arc<Ring>],
        drain: Duration,
        shutdown: &CancellationToken,
    ) -> io::Result<Self> {
        let mut workers = Self {
            threads: Vec::new(),
            doors: Vec::new(),
        };
        for (index, ring) in rings.iter().enumerate() {
            let (door, arrivals) = mpsc::channel(BACKLOG);
            let (shared, ring, shutdown) =
                (shared.clone(), Arc::clone(ring), shutdown.child_token());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = thread::Builder::new()
                .name(format!("worker {index}"))
                .spawn(move || {
                    let metrics = shared.metrics.worker(index);
                    let worker = Rc::new(Worker::new(shared, metrics, ring));
                    LocalSet::new().block_on(&runtime, work(worker, arrivals, drain, shutdown));
                })?;
            workers.threads.push(thread);
            workers.doors.push(door);
        }
        Ok(workers)
    }

    /// Accepts connections and hands them round until `shutdown`.
    pub async fn accept(&self, listener: TcpListener, shutdown: CancellationToken) {
        for next in (0..self.doors.len()).cycle() {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let handed = accepted.and_then(|(stream, _)| {
                stream.set_nodelay(true)?;
                stream.into_std()
            });
            match handed {
                // A worker with a full backlog is stuck: the caller had better try again.
                Ok(stream) => drop(self.doors[next].try_send(stream)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
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
    mut arrivals: mpsc::Receiver<StdTcpStream>,
    drain: Duration,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            arrived = arrivals.recv() => match arrived.map(TcpStream::from_std) {
                Some(Ok(stream)) => {
                    connections.spawn_local(converse(Rc::clone(&worker), stream, shutdown.clone()));
                }
                Some(Err(error)) => tracing::warn!(%error, "a connection could not be taken over"),
                None => break,
            },
            _ = sweep.tick() => {
                worker.accounts.sweep();
                worker.counters.sweep(clock::now());
            }
            () = shutdown.cancelled() => break,
        }
    }
    worker.draining.set(true);
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests under way were cut off: the time to drain is over"
        );
    }
}

/// Serves one connection until its end; after `shutdown`, until the request under way is answered.
async fn converse(worker: Rc<Worker>, stream: TcpStream, shutdown: CancellationToken) {
    let metrics = Arc::clone(&worker.metrics);
    metrics.connections.up();
    let service = service_fn(move |request| route::serve(Rc::clone(&worker), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a caller's connection ended");
    }
    metrics.connections.down();
}

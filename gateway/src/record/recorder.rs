//! The task that moves records from the rings to `USAGE`, by way of the disk when NATS does not take them.
//!
//! Either nothing is on disk, and what the rings hold goes straight to NATS; or something is, and everything goes behind
//! it. So records always arrive in the order of their numbers. The message that is on its way when the disk comes into
//! play goes there too, as the first one: whether it arrived is found out when it is sent again.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    batch::{Batch, Batcher},
    ring::Ring,
    send::{SendError, Usage},
    spool::Spool,
    tally::{Ended, Tally},
};
use crate::{
    metrics::Metrics,
    nats::{self, Link},
    report::Identity,
};

/// How often the rings are emptied: half of the 50 ms that a record may wait at most.
const TICK: Duration = Duration::from_millis(25);
/// How many messages may wait in memory: 16 MiB of them.
const MAX_WAITING: usize = 64;
/// How long the oldest message may wait in memory.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The pause after a message that was not taken.
const PAUSE: Duration = Duration::from_millis(250);
/// How long sending may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(2);

/// The recorder's state.
pub(super) struct Recorder {
    identity: Identity,
    rings: Vec<Arc<Ring>>,
    room: Vec<events_schema::usage::UsageRecord>,
    batcher: Batcher,
    /// Messages in memory, the first of them perhaps on its way. Empty while the spool is not.
    waiting: VecDeque<Batch>,
    spool: Spool,
    metrics: Arc<Metrics>,
    on_its_way: Option<OnItsWay>,
    not_before: Instant,
    disk_fails: bool,
}

/// A message that the sender has.
struct OnItsWay {
    id: BatchId,
    since: Instant,
    /// Whether it has arrived.
    arrived: oneshot::Receiver<bool>,
}

/// What tells a message from any other: an incarnation and its first number.
type BatchId = (uuid::Uuid, u64);

const fn id(batch: &Batch) -> BatchId {
    (batch.incarnation, batch.first_number)
}

/// A message for the sender, and where to say whether it arrived.
type Job = (Batch, oneshot::Sender<bool>);

impl Recorder {
    pub(super) fn new(
        identity: Identity,
        rings: Vec<Arc<Ring>>,
        spool: Spool,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            batcher: Batcher::new(identity.clone()),
            identity,
            rings,
            room: Vec::new(),
            waiting: VecDeque::new(),
            spool,
            metrics,
            on_its_way: None,
            not_before: Instant::now(),
            disk_fails: false,
        }
    }

    /// Moves records until `shutdown`; then sends for a little while what is left, and spools the rest.
    pub(super) async fn run(
        mut self,
        nats_url: &str,
        tally: Tally,
        ended: Vec<Ended>,
        shutdown: CancellationToken,
    ) {
        self.tell_of(ended);
        let (jobs, sender) = self.sender(nats_url).await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_cancelled() {
            tokio::select! {
                _ = tick.tick() => self.empty_rings(),
                arrived = answered(&mut self.on_its_way) => self.settle(arrived),
                () = shutdown.cancelled() => {}
            }
            self.send_next(&jobs);
        }
        self.empty_rings();
        self.say_farewell(&jobs).await;
        sender.abort();
        self.spool_waiting();
        self.show();
        if let Err(error) = tally.remove() {
            tracing::warn!(%error, "the tally of this life could not be removed");
        }
    }

    /// Says of each life that was killed how many records it had made, behind what it left on disk.
    fn tell_of(&mut self, ended: Vec<Ended>) {
        for life in ended {
            let closing = Batch::closing(&self.identity, life.incarnation, life.made);
            let told = self
                .spool
                .append(&closing)
                .map(|dropped| self.count_dropped(dropped));
            if let Err(error) = told.and_then(|()| life.forget()) {
                tracing::error!(%error, "what an earlier life of this gateway left could not be told");
            }
        }
    }

    /// Starts the task that owns the connection.
    async fn sender(&self, nats_url: &str) -> (mpsc::Sender<Job>, tokio::task::JoinHandle<()>) {
        let (jobs, inbox) = mpsc::channel(1);
        let name = format!(
            "sluice-gateway {} records",
            self.identity.gateway.as_simple()
        );
        let task = match nats::connect(nats_url, &name).await {
            Ok(link) => {
                let usage = Usage::new(link.client.clone(), self.identity.incarnation);
                tokio::spawn(send_all(inbox, usage, link))
            }
            Err(error) => {
                tracing::error!(%error, "the NATS URL cannot be used: request records stay on disk");
                tokio::spawn(refuse_all(inbox))
            }
        };
        (jobs, task)
    }

    /// Takes what worker threads have left.
    fn empty_rings(&mut self) {
        let Self {
            rings,
            room,
            batcher,
            metrics,
            ..
        } = self;
        let mut batches = Vec::new();
        for ring in rings {
            let dropped = ring.swap(room);
            batcher.write(room, |batch| batches.push(batch));
            batcher.skip(dropped);
            metrics.record.dropped_ring.add(dropped);
        }
        for batch in batches {
            if self.spool.is_empty() {
                self.waiting.push_back(batch);
            } else {
                self.spool_one(&batch);
            }
        }
        let late = self
            .on_its_way
            .as_ref()
            .is_some_and(|it| it.since.elapsed() > MAX_WAIT);
        if self.waiting.len() > MAX_WAITING || late {
            self.spool_waiting();
        }
        self.show();
    }

    /// Hands the oldest message to the sender, if that has none.
    fn send_next(&mut self, jobs: &mpsc::Sender<Job>) {
        if self.on_its_way.is_some() || Instant::now() < self.not_before {
            return;
        }
        let next = match self.waiting.front() {
            Some(batch) => Some(batch.clone()),
            None => self
                .spool
                .front()
                .map(Option::<&Batch>::cloned)
                .unwrap_or_else(|error| {
                    tracing::error!(%error, "the spool of request records cannot be read");
                    None
                }),
        };
        let Some(batch) = next else { return };
        let (reply, arrived) = oneshot::channel();
        let on_its_way = OnItsWay {
            id: id(&batch),
            since: Instant::now(),
            arrived,
        };
        if jobs.try_send((batch, reply)).is_ok() {
            self.on_its_way = Some(on_its_way);
        }
    }

    /// The message on its way has arrived, or has not.
    fn settle(&mut self, arrived: bool) {
        let Some(OnItsWay { id, .. }) = self.on_its_way.take() else {
            return;
        };
        if !arrived {
            self.not_before = Instant::now() + PAUSE;
            self.spool_waiting();
            return;
        }
        let sent = self.take_out(id).unwrap_or_else(|error| {
            tracing::error!(%error, "the spool of request records cannot be read");
            0
        });
        self.metrics.record.sent.add(sent);
        self.show();
    }

    /// Takes a message that has arrived out of where it waits: it is the first there, if it was not dropped meanwhile.
    fn take_out(&mut self, sent: BatchId) -> io::Result<u64> {
        if let Some(batch) = self.waiting.pop_front_if(|batch| id(batch) == sent) {
            return Ok(batch.count);
        }
        let front = self.spool.front()?.filter(|front| id(front) == sent);
        match front.map(|front| front.count) {
            Some(count) => self.spool.pop().map(|()| count),
            None => Ok(0),
        }
    }

    /// Moves what waits in memory to the disk, in order.
    fn spool_waiting(&mut self) {
        while let Some(batch) = self.waiting.pop_front() {
            self.spool_one(&batch);
        }
    }

    fn spool_one(&mut self, batch: &Batch) {
        let appended = self.spool.append(batch);
        self.count_dropped(*appended.as_ref().unwrap_or(&batch.count));
        let failed = appended.err();
        if let Some(error) = failed.as_ref().filter(|_| !self.disk_fails) {
            tracing::error!(%error, "request records cannot be spooled: they are dropped until the disk takes them again");
        }
        self.disk_fails = failed.is_some();
    }

    fn count_dropped(&self, records: u64) {
        self.metrics.record.dropped_spool.add(records);
    }

    fn show(&self) {
        let waiting = self.waiting.iter().map(|batch| batch.count).sum();
        self.metrics.record.in_ring.set(waiting);
        self.metrics.record.spool_bytes.set(self.spool.bytes());
    }

    /// Sends what is left for as long as it is taken, but not for long.
    async fn say_farewell(&mut self, jobs: &mpsc::Sender<Job>) {
        let deadline = Instant::now() + FAREWELL;
        loop {
            self.send_next(jobs);
            if self.on_its_way.is_none() {
                return;
            }
            match timeout_at(deadline, answered(&mut self.on_its_way)).await {
                Ok(true) => self.settle(true),
                Ok(false) | Err(_) => return,
            }
        }
    }
}

/// Whether the message on its way has arrived; never, when there is none.
async fn answered(on_its_way: &mut Option<OnItsWay>) -> bool {
    match on_its_way {
        Some(it) => (&mut it.arrived).await.unwrap_or(false),
        None => std::future::pending().await,
    }
}

async fn send_all(mut inbox: mpsc::Receiver<Job>, mut usage: Usage, link: Link) {
    let mut said = String::new();
    while let Some((batch, reply)) = inbox.recv().await {
        let sent = if link.connected.borrow().is_some() {
            Some(usage.send(&batch).await)
        } else {
            None
        };
        let arrived = matches!(sent, Some(Ok(())));
        said = say(sent, &said);
        // The recorder may have ended: then nobody waits.
        let _gone = reply.send(arrived);
    }
}

/// Says why records are not taken, once for each reason, and when they are again.
fn say(sent: Option<Result<(), SendError>>, said: &str) -> String {
    let now = match sent {
        Some(Ok(())) => String::new(),
        Some(Err(error)) => chain(&error),
        None => "NATS is away".to_owned(),
    };
    match (said.is_empty(), now.is_empty()) {
        (false, true) => tracing::info!("request records are taken again"),
        (_, false) if now != said => {
            tracing::warn!(why = now, "request records are spooled on disk")
        }
        _ => {}
    }
    now
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error
        .source()
        .map(|source| format!(": {}", chain(source)))
        .unwrap_or_default();
    format!("{error}{source}")
}

async fn refuse_all(mut inbox: mpsc::Receiver<Job>) {
    while let Some((_, reply)) = inbox.recv().await {
        sleep(PAUSE).await;
        let _gone = reply.send(false);
    }
}

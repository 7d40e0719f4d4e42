//! The task that moves records from the rings to `USAGE`, by way of the disk when NATS does not take them.
//!
//! One message is on its way at a time; what the rings hold meanwhile gathers in the next one. Either nothing is on disk,
//! and messages go straight to NATS; or something is, and everything goes behind it. So records always arrive in the
//! order of their numbers. The message that is on its way when the disk comes into
//! play goes there too, as the first one: whether it arrived is found out when it is sent again.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    batch::{Batch, Batcher},
    counting::Counting,
    ring::{Left, Ring, Waiting, Written},
    send::{SendError, Usage},
    spool::Spool,
    tally::{Ended, Tally},
};
use crate::{
    metrics::Metrics,
    nats::{self, Link},
    report::Identity,
    trace::{export::Exporter, spans},
};

/// How often the rings are emptied: half of the 50 ms that a record may wait at most.
const TICK: Duration = Duration::from_millis(25);
/// How many messages may wait in memory: 16 MiB of them.
const MAX_WAITING: usize = 64;
/// How long the oldest message may wait in memory.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How long records gather before they go to the disk: small messages would come faster than a distant NATS takes them.
const GATHER: Duration = Duration::from_millis(200);
/// The pause after a message that was not taken.
const PAUSE: Duration = Duration::from_millis(250);
/// How long sending may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(2);

/// The recorder's state.
pub(super) struct Recorder {
    identity: Identity,
    rings: Vec<Arc<Ring>>,
    room: Waiting,
    counting: Counting,
    /// `None`: there is no collector of traces.
    exporter: Option<Exporter>,
    batcher: Batcher,
    /// Messages in memory, the first of them perhaps on its way. What is in the spool is older.
    waiting: VecDeque<Batch>,
    spool: Spool,
    metrics: Arc<Metrics>,
    on_its_way: Option<OnItsWay>,
    not_before: Instant,
    /// Since when the open message gathers records.
    gathering_since: Instant,
    disk_fails: bool,
    spool_unreadable: bool,
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
        counting: Counting,
        exporter: Option<Exporter>,
    ) -> Self {
        Self {
            counting,
            exporter,
            batcher: Batcher::new(identity.clone()),
            identity,
            rings,
            room: Waiting::default(),
            waiting: VecDeque::new(),
            spool,
            metrics,
            on_its_way: None,
            not_before: Instant::now(),
            gathering_since: Instant::now(),
            disk_fails: false,
            spool_unreadable: false,
        }
    }

    /// Moves records until `shutdown`; then sends for a little while what is left, and spools the rest.
    pub(super) async fn run(
        mut self,
        nats: &nats::Server,
        tally: Tally,
        ended: Vec<Ended>,
        shutdown: CancellationToken,
    ) {
        self.tell_of(ended);
        let (jobs, sender) = self.sender(nats).await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_cancelled() {
            tokio::select! {
                _ = tick.tick() => self.empty_rings(),
                Some(counted) = self.counting.next() => self.write(counted),
                arrived = answered(&mut self.on_its_way) => self.settle(arrived),
                () = shutdown.cancelled() => {}
            }
            self.send_next(&jobs);
        }
        self.empty_rings();
        for counted in self.counting.finish().await {
            self.write(counted);
        }
        self.say_farewell(&jobs).await;
        sender.abort();
        self.waiting.extend(self.batcher.close());
        self.spool_waiting();
        self.show();
        if let Some(exporter) = self.exporter.take() {
            exporter.end().await;
        }
        if !self.waiting.is_empty() {
            let records: u64 = self.waiting.iter().map(|batch| batch.count).sum();
            tracing::error!(
                records,
                "request records are lost: neither NATS nor the disk took them"
            );
            // The tally stays: the next life tells the ledger how many there should be.
            return;
        }
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
    async fn sender(
        &self,
        nats: &nats::Server,
    ) -> (mpsc::Sender<Job>, tokio::task::JoinHandle<()>) {
        let (jobs, inbox) = mpsc::channel(1);
        let name = format!(
            "sluice-gateway {} records",
            self.identity.gateway.as_simple()
        );
        let task = match nats::connect(nats, &name).await {
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
        let mut room = std::mem::take(&mut self.room);
        for at in 0..self.rings.len() {
            self.rings[at].swap(&mut room);
            self.add(&room.written);
            room.written.clear();
            for left in room.left.drain(..) {
                self.sort(left);
            }
            let dropped = std::mem::take(&mut room.dropped);
            self.waiting.extend(self.batcher.skip(dropped));
            self.metrics.record.dropped_ring.add(dropped);
        }
        self.room = room;
        if let Some(exporter) = &mut self.exporter {
            exporter.tick();
        }
        let late = self
            .on_its_way
            .as_ref()
            .is_some_and(|it| it.since.elapsed() > MAX_WAIT);
        if late || !self.spool.is_empty() {
            if self.gathering_since.elapsed() > GATHER {
                self.waiting.extend(self.batcher.close());
            }
            self.spool_waiting();
        } else if self.waiting.len() > MAX_WAITING {
            self.spool_waiting();
        }
        self.show();
    }

    /// A record goes on its way at once, or is counted first.
    fn sort(&mut self, left: Left) {
        if left.lacking.is_none() {
            return self.write(left);
        }
        if let Some(left) = self.counting.take(left) {
            self.metrics.record.uncounted.add(1);
            self.write(left);
        }
    }

    /// A record that is finished: its spans are told, and it is numbered.
    fn write(&mut self, left: Left) {
        let Left {
            record,
            lacking: _,
            traced,
        } = left;
        if let (Some(exporter), Some(traced)) = (&mut self.exporter, traced) {
            exporter.add(spans::count(&record), || spans::of(&record, &traced));
        }
        let mut written = Written::default();
        written.add(&record);
        self.add(&written);
    }

    /// Numbers records that are written.
    fn add(&mut self, written: &Written) {
        for record in written.iter() {
            if self.batcher.gathered() == 0 {
                self.gathering_since = Instant::now();
            }
            self.waiting.extend(self.batcher.add(record));
        }
    }

    /// Hands the oldest message to the sender, if that has none.
    fn send_next(&mut self, jobs: &mpsc::Sender<Job>) {
        if self.on_its_way.is_some() || Instant::now() < self.not_before {
            return;
        }
        let Some(batch) = self.oldest() else { return };
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

    /// The oldest message: on disk, else in memory, else the one that gathers, which is closed for that.
    fn oldest(&mut self) -> Option<Batch> {
        let spooled = self.spool.front().map(Option::<&Batch>::cloned);
        match spooled {
            Ok(Some(batch)) => return Some(batch),
            Ok(None) => self.spool_unreadable = false,
            Err(error) => {
                self.unreadable(&error);
                return None;
            }
        }
        if self.waiting.is_empty() {
            self.waiting.extend(self.batcher.close());
        }
        self.waiting.front().cloned()
    }

    /// The spool cannot be read: it is tried again, and said once.
    fn unreadable(&mut self, error: &io::Error) {
        self.not_before = Instant::now() + PAUSE;
        if !std::mem::replace(&mut self.spool_unreadable, true) {
            tracing::error!(%error, "the spool of request records cannot be read");
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
        match self.take_out(id) {
            Ok(sent) => self.metrics.record.sent.add(sent),
            Err(error) => self.unreadable(&error),
        }
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

    /// Moves what waits in memory to the disk, in order. What the disk does not take goes on waiting in memory, as far as
    /// there is room; beyond that the oldest is dropped.
    fn spool_waiting(&mut self) {
        while let Some(batch) = self.waiting.front() {
            match self.spool.append(batch) {
                Ok(dropped) => {
                    self.count_dropped(dropped);
                    self.waiting.pop_front();
                    self.disk_fails = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.disk_fails, true) {
                        tracing::error!(%error, "request records cannot be spooled: they wait in memory, and beyond that the oldest are dropped");
                    }
                    break;
                }
            }
        }
        while self.waiting.len() > MAX_WAITING {
            let dropped = self.waiting.pop_front().map_or(0, |oldest| oldest.count);
            self.count_dropped(dropped);
        }
    }

    fn count_dropped(&self, records: u64) {
        self.metrics.record.dropped_spool.add(records);
    }

    fn show(&self) {
        let waiting: u64 = self.waiting.iter().map(|batch| batch.count).sum();
        let in_memory = waiting + self.batcher.gathered();
        self.metrics.record.in_ring.set(in_memory);
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

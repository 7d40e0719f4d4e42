//! A thread that counts what records lack, so that nothing else waits for it: neither requests, nor the records that lack
//! nothing.
//!
//! Texts are bounded where they are kept, by bytes; here their number is. What has no room goes on with its estimates.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tokio::{
    sync::mpsc,
    time::{Duration, Instant, timeout_at},
};

use super::ring::Left;

/// How many records may wait to be counted.
const MOST: usize = 4_096;
/// How long counting may go on after the end was asked for; then what still waits goes on with its estimates.
const FAREWELL: Duration = Duration::from_secs(1);

/// The way to the thread and back.
pub(super) struct Counting {
    jobs: SyncSender<Left>,
    done: mpsc::Receiver<Left>,
    under_way: usize,
    /// Nothing is counted any more.
    hurry: Arc<AtomicBool>,
}

impl Counting {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, inbox) = sync_channel(MOST);
        // There is room for all that may be under way: the thread never waits.
        let (outbox, done) = mpsc::channel(MOST);
        let hurry = Arc::<AtomicBool>::default();
        let hurried = Arc::clone(&hurry);
        thread::Builder::new()
            .name("counter".into())
            .spawn(move || count_all(&inbox, &outbox, &hurried))?;
        Ok(Self {
            jobs,
            done,
            under_way: 0,
            hurry,
        })
    }

    /// Takes a record to count what it lacks; gives it back when there is no room.
    pub(super) fn take(&mut self, left: Left) -> Option<Left> {
        if self.under_way >= MOST {
            return Some(left);
        }
        match self.jobs.try_send(left) {
            Ok(()) => {
                self.under_way += 1;
                None
            }
            Err(TrySendError::Full(left) | TrySendError::Disconnected(left)) => Some(left),
        }
    }

    /// Waits for the next record that was counted; `None`: none is under way.
    pub(super) async fn next(&mut self) -> Option<Left> {
        if self.under_way == 0 {
            return None;
        }
        let next = self.done.recv().await;
        self.under_way = match next {
            Some(_) => self.under_way - 1,
            // The thread is gone, and what it had with it.
            None => 0,
        };
        next
    }

    /// All that are under way: counted, as far as there is time for it.
    pub(super) async fn finish(&mut self) -> Vec<Left> {
        let deadline = Instant::now() + FAREWELL;
        let mut all = Vec::new();
        let in_time = async {
            while let Some(next) = self.next().await {
                all.push(next);
            }
        };
        if timeout_at(deadline, in_time).await.is_err() {
            self.hurry.store(true, Relaxed);
            while let Some(next) = self.next().await {
                all.push(next);
            }
        }
        all
    }
}

fn count_all(inbox: &Receiver<Left>, outbox: &mpsc::Sender<Left>, hurry: &AtomicBool) {
    while let Ok(mut left) = inbox.recv() {
        if let Some(mut lacking) = left.lacking.take()
            && !hurry.load(Relaxed)
        {
            let filling = AssertUnwindSafe(|| lacking.fill(&mut left.record));
            if catch_unwind(filling).is_err() {
                // Records come first: whatever text it was, its estimates are good enough.
                tracing::error!(request = %left.record.request, "a text could not be counted");
            }
        }
        if outbox.try_send(left).is_err() {
            return;
        }
    }
}

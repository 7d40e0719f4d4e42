//! Alerts of budgets: compares what is told of their use with the thresholds of the policies, and has the log say once which are
//! reached.
//!
//! What was raised stands in the log's own state and nowhere else, and a command is decided on the state that it is appended to. So
//! any number of processes may compare, and hear everything twice or after a loss, and each threshold is told of once. What
//! nobody hears is told again by the worker in office, in turns.

mod due;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Client, Message};
use events_schema::{
    actor::{Actor, System},
    subjects,
    totals::LimitTotals,
};
use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::due::Due;
pub use self::due::{MOST_AT_ONCE, MOST_WAITING, budget_use};
use crate::{
    clock,
    control::{Control, Submission, SubmitError},
    fresh,
};

/// How often alerts are raised.
const EVERY: Duration = Duration::from_secs(1);
/// How long to wait before subscribing again when the subscription ended.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// How raising alerts goes, for whoever wants to see it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Alerts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    raised: AtomicU64,
    waiting: AtomicU64,
}

impl Alerts {
    /// How many events this process has had written.
    #[must_use]
    pub fn raised(&self) -> u64 {
        self.0.raised.load(Relaxed)
    }

    /// Of how many counters alerts are due that are not written yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Relaxed)
    }

    /// Raises alerts for as long as the task lives.
    pub async fn raise(self, control: Control, nats: Client) {
        let mut due = Due::default();
        let mut trouble = None;
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut told = match nats.subscribe(subjects::BUDGETS_USED).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(%error, subject = subjects::BUDGETS_USED, "subscribing failed");
                    sleep(RESUBSCRIBE_AFTER).await;
                    continue;
                }
            };
            loop {
                tokio::select! {
                    message = told.next() => match message {
                        Some(message) => hear(&mut due, &control, &message),
                        None => break,
                    },
                    _ = tick.tick() => {
                        let error = self.write(&mut due, &control).await.err();
                        let error = error.map(|error| error.to_string());
                        if error != trouble && let Some(error) = &error {
                            tracing::warn!(error, "alerts of budgets wait");
                        }
                        trouble = error;
                    }
                }
                self.0.waiting.store(due.len() as u64, Relaxed);
            }
            sleep(RESUBSCRIBE_AFTER).await;
        }
    }

    /// Has the most important ones written.
    async fn write(&self, due: &mut Due, control: &Control) -> Result<(), SubmitError> {
        let (keys, orders) = due.next(&control.live().state);
        if orders.is_empty() {
            return Ok(());
        }
        let submission = Submission {
            command_id: fresh::id(),
            actor: Actor::System(System::Commands),
            correlation: None,
            why: None,
            request_hash: fresh::bytes(),
            made_at: None,
            orders: orders.into_iter().map(Into::into).collect(),
        };
        // Where it is not known whether they were written, the state says so the next time.
        let outcome = control.submit(submission).await?;
        due.done(&keys);
        self.0
            .raised
            .fetch_add(outcome.events.len() as u64, Relaxed);
        Ok(())
    }
}

fn hear(due: &mut Due, control: &Control, message: &Message) {
    match serde_json::from_slice::<LimitTotals>(&message.payload) {
        Ok(told) => due.hear(&control.live().state, &told.totals, clock::now()),
        Err(error) => tracing::warn!(%error, "what is used of budgets cannot be read"),
    }
}

//! How limits and budgets stand over all gateways: what the worker that is in office for them told last.
//!
//! It is told over core NATS once a second. Nothing is stored: after a start the picture is whole again within a second.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use async_nats::Client;
use events_schema::{subjects, time::Timestamp, totals::LimitTotals};
use futures_util::StreamExt as _;
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock;

/// What was told so long ago says nothing of now: 10 s.
const FRESH_US: i64 = 10_000_000;
/// How long to wait before subscribing again when the subscription ended.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_millis(500);

/// What was told last, and when it came in.
type Told = RwLock<Option<(Arc<LimitTotals>, Timestamp)>>;

/// What was told last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    rates: Arc<Told>,
    budgets: Arc<Told>,
    /// Who is asked for more.
    nats: Arc<OnceLock<Client>>,
}

impl Totals {
    /// Notes what is told for as long as the task lives.
    pub async fn listen(self, nats: Client) {
        let _ = self.nats.set(nats.clone());
        tokio::join!(
            listen_to(&nats, subjects::LIMITS_TOTALS, &self.rates),
            listen_to(&nats, subjects::BUDGETS_TOTALS, &self.budgets),
        );
    }

    /// How rate limits stand; `None`: nobody has told of late.
    #[must_use]
    pub fn rates(&self, now: Timestamp) -> Option<Arc<LimitTotals>> {
        fresh(&self.rates, now)
    }

    /// How budgets stand; `None`: nobody has told of late.
    #[must_use]
    pub fn budgets(&self, now: Timestamp) -> Option<Arc<LimitTotals>> {
        fresh(&self.budgets, now)
    }
}

impl Totals {
    /// How the counters of one rate-limit policy or key stand, and those of one budget policy: what is told to everybody may lack
    /// them, since they are not among those that are used most. `None`: nobody answers.
    pub async fn of(&self, rule: Uuid) -> [Option<Arc<LimitTotals>>; 2] {
        let Some(nats) = self.nats.get() else {
            return [None, None];
        };
        let (rates, budgets) = tokio::join!(
            ask(nats, subjects::LIMITS_TOTALS_OF, rule),
            ask(nats, subjects::BUDGETS_TOTALS_OF, rule),
        );
        [rates, budgets].map(|it| it.map(Arc::new))
    }
}

async fn ask(nats: &Client, subject: &'static str, rule: Uuid) -> Option<LimitTotals> {
    let asked = async {
        let inbox = nats.new_inbox();
        let unique = inbox.rsplit('.').next().unwrap_or_default();
        // Not an inbox: there the server itself answers, and nobody else may.
        let to = subjects::limits_answer(unique);
        let mut answers = nats.subscribe(to.clone()).await.ok()?;
        let question = rule.as_bytes().to_vec().into();
        let sent = nats.publish_with_reply(subject, to, question).await;
        sent.ok()?;
        answers.next().await
    };
    let answer = timeout(ANSWER, asked).await.ok()??;
    serde_json::from_slice(&answer.payload).ok()
}

async fn listen_to(nats: &Client, subject: &'static str, told: &Told) {
    loop {
        match nats.subscribe(subject).await {
            Ok(mut messages) => {
                while let Some(message) = messages.next().await {
                    note(told, &message.payload, clock::now());
                }
            }
            Err(error) => tracing::warn!(%error, subject, "subscribing failed"),
        }
        tokio::time::sleep(RESUBSCRIBE_AFTER).await;
    }
}

fn note(told: &Told, payload: &[u8], now: Timestamp) {
    match serde_json::from_slice::<LimitTotals>(payload) {
        Ok(totals) => {
            let mut told = told.write().unwrap_or_else(PoisonError::into_inner);
            *told = Some((Arc::new(totals), now));
        }
        Err(error) => tracing::warn!(%error, "how limits stand cannot be read"),
    }
}

fn fresh(told: &Told, now: Timestamp) -> Option<Arc<LimitTotals>> {
    let told = told.read().unwrap_or_else(PoisonError::into_inner);
    let (totals, came_in) = told.as_ref()?;
    let is_fresh = now.micros() - came_in.micros() < FRESH_US;
    is_fresh.then(|| Arc::clone(totals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_long_ago_is_not_told_again() {
        let (totals, now) = (Totals::default(), clock::now());
        assert_eq!(totals.rates(now), None);
        let said = LimitTotals::of([], now);
        let json = serde_json::to_vec(&said).expect("JSON");
        note(&totals.rates, &json, now);
        note(&totals.rates, b"{", now);
        assert_eq!(totals.rates(now).as_deref(), Some(&said));
        assert_eq!(totals.budgets(now), None);
        assert_eq!(totals.rates(now.plus_micros(FRESH_US)), None);
    }
}

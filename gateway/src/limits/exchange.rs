//! What this gateway tells the projections of its counters and purses, and hears of all gateways'. Without it, limits go by the
//! shares that this gateway was dealt last, and no request waits for it; for the lease of a budget it waits for a moment.

use std::{sync::Arc, time::Duration};

use async_nats::Subscriber;
use events_schema::subjects;
use futures_util::StreamExt as _;
use gateway_policy::limits::{
    lease::Leases,
    message::Broadcast,
    wire::{MOST_BYTES, Pieces, Unreadable, Written},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Limits, QUIET};
use crate::{metrics::Metrics, nats::Link};

/// How often all is reported, while there are not too many counters.
pub(super) const REPORT: Duration = Duration::from_millis(100);
/// Between two reports of purses that are made since something of them is urgent: what is asked for meanwhile goes together.
const TOGETHER: Duration = Duration::from_millis(5);
/// A report that cannot be handed over in this time is dropped: the next one says all that it said.
const SEND: Duration = Duration::from_millis(500);
/// Between two attempts to hear what is told.
const AGAIN: Duration = Duration::from_millis(500);
/// Whose pieces are put together: those of whoever is in office.
const OFFICE: u128 = 0;

/// Reports and listens until `shutdown`, and then reports that this gateway has left.
pub async fn run(
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    incarnation: Uuid,
    mut link: Link,
    shutdown: CancellationToken,
) {
    let mut sender = Sender {
        link: link.clone(),
        metrics,
        is_failing: false,
    };
    let talk = async {
        loop {
            let nth = link.up().await;
            let mut lost = link.clone();
            tokio::select! {
                () = lost.lost(nth) => {}
                () = talk(&limits, incarnation, &mut sender) => sleep(AGAIN).await,
            }
        }
    };
    tokio::select! {
        () = talk => {}
        () = shutdown.cancelled() => {
            if link.connected.borrow().is_some() {
                let most = sender.most_bytes();
                sender.send(subjects::limits_report(incarnation), limits.leave(most)).await;
                sender.send(subjects::limits_purses(incarnation), limits.leave_purses(most)).await;
                let _flushed = timeout(SEND, link.client.flush()).await;
            }
        }
    }
}

/// Over one connection, until something is wrong with it.
async fn talk(limits: &Limits, incarnation: Uuid, sender: &mut Sender) {
    let told = listen(&sender.link, subjects::limits_told(incarnation)).await;
    let lent = listen(&sender.link, subjects::limits_leases(incarnation)).await;
    let (Some(mut told), Some(mut lent)) = (told, lent) else {
        tracing::warn!("what is told of limits cannot be heard");
        return;
    };
    let (mut told_pieces, mut lent_pieces) = (Pieces::default(), Pieces::default());
    let most = sender.most_bytes();
    let mut due = Box::pin(sleep(Duration::ZERO));
    let mut purses_due = Box::pin(sleep(Duration::ZERO));
    let (mut greeted, mut not_before) = (None::<Instant>, Instant::now());
    let purses = || subjects::limits_purses(incarnation);
    loop {
        let urged = async {
            limits.urged().await;
            sleep_until(not_before).await;
        };
        tokio::select! {
            message = told.next() => {
                let Some(message) = message else { return };
                match told_pieces.read::<Broadcast>(OFFICE, &message.payload) {
                    Ok(parts) => limits.hear(&parts),
                    Err(Unreadable) => tracing::warn!("what is told of limits cannot be read"),
                }
            }
            message = lent.next() => {
                let Some(message) = message else { return };
                match lent_pieces.read::<Leases>(OFFICE, &message.payload) {
                    // Of a message of which this is a piece, more is to come.
                    Ok(parts) if parts.is_empty() => {}
                    Ok(parts) => limits.hear_leases(&parts),
                    Err(Unreadable) => tracing::warn!("what is told of leases cannot be read"),
                }
            }
            () = urged => {
                sender.send(purses(), limits.report_urgent(most)).await;
                not_before = Instant::now() + TOGETHER;
            }
            () = &mut due => {
                let now = Instant::now();
                let reports = limits.report(now.into_std(), most);
                sender.send(subjects::limits_report(incarnation), reports).await;
                due.as_mut().reset(now + limits.pause());
            }
            () = &mut purses_due => {
                let now = Instant::now();
                let greets = greeted.is_none_or(|last| now.duration_since(last) >= QUIET);
                if greets {
                    greeted = Some(now);
                }
                sender.send(purses(), limits.report_purses(greets, most)).await;
                purses_due.as_mut().reset(now + limits.pause_of_purses());
            }
        }
    }
}

async fn listen(link: &Link, subject: String) -> Option<Subscriber> {
    let subscribed = timeout(SEND, link.client.subscribe(subject)).await;
    subscribed.ok()?.ok()
}

/// Sends what is reported.
struct Sender {
    link: Link,
    metrics: Arc<Metrics>,
    /// Whether the last message could not be sent: that is said once.
    is_failing: bool,
}

impl Sender {
    /// How long a message may be, as the server says, in bytes.
    fn most_bytes(&self) -> usize {
        match self.link.client.server_info().max_payload {
            0 => MOST_BYTES,
            most => most,
        }
    }

    /// Sends messages until one is not taken: those after it are pieces of the same, or wait for as long; and the next report says
    /// all that they said.
    async fn send(&mut self, subject: String, written: Written) {
        let Written { messages, too_long } = written;
        if too_long > 0 {
            self.fails(too_long, "there are more counters than a message holds");
        }
        let mut unsent = messages.len() as u64;
        for message in messages {
            let client = &self.link.client;
            let sent = timeout(SEND, client.publish(subject.clone(), message.into())).await;
            let why = match sent {
                Ok(Ok(())) => {
                    unsent -= 1;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it takes too long".to_owned(),
            };
            self.fails(unsent, &why);
            return;
        }
        self.is_failing = too_long > 0;
    }

    fn fails(&mut self, messages: u64, why: &str) {
        self.metrics.limits.unsent.add(messages);
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                why,
                messages,
                "what is counted of limits cannot be reported"
            );
        }
    }
}

//! What this gateway tells the projections of its counters and purses, and hears of all gateways'. Without it, limits go by the
//! shares that this gateway was dealt last, and no request waits for it; for the lease of a budget it waits for a moment.

use std::{sync::Arc, time::Duration};

use async_nats::Subscriber;
use events_schema::subjects;
use futures_util::StreamExt as _;
use gateway_policy::limits::{lease::Leases, message::Broadcast, wire};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Limits, QUIET};
use crate::nats::Link;

/// How often all is reported, while there are not too many counters.
pub(super) const REPORT: Duration = Duration::from_millis(100);
/// Between two reports of purses that are made since something of them is urgent: what is asked for meanwhile goes together.
const TOGETHER: Duration = Duration::from_millis(5);
/// A report that cannot be handed over in this time is dropped: the next one says all that it said.
const SEND: Duration = Duration::from_millis(500);
/// Between two attempts to hear what is told.
const AGAIN: Duration = Duration::from_millis(500);

/// Reports and listens until `shutdown`, and then reports that this gateway has left.
pub async fn run(
    limits: Arc<Limits>,
    incarnation: Uuid,
    mut link: Link,
    shutdown: CancellationToken,
) {
    let talk = async {
        loop {
            let nth = link.up().await;
            let mut lost = link.clone();
            tokio::select! {
                () = lost.lost(nth) => {}
                () = talk(&limits, incarnation, &link) => sleep(AGAIN).await,
            }
        }
    };
    tokio::select! {
        () = talk => {}
        () = shutdown.cancelled() => {
            if link.connected.borrow().is_some() {
                send(&link, subjects::limits_report(incarnation), limits.leave()).await;
                send(&link, subjects::limits_purses(incarnation), limits.leave_purses()).await;
                let _flushed = timeout(SEND, link.client.flush()).await;
            }
        }
    }
}

/// Over one connection, until something is wrong with it.
async fn talk(limits: &Limits, incarnation: Uuid, link: &Link) {
    let told = listen(link, subjects::limits_told(incarnation)).await;
    let lent = listen(link, subjects::limits_leases(incarnation)).await;
    let (Some(mut told), Some(mut lent)) = (told, lent) else {
        tracing::warn!("what is told of limits cannot be heard");
        return;
    };
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
                match wire::read::<Broadcast>(&message.payload) {
                    Ok(parts) => limits.hear(&parts),
                    Err(wire::Unreadable) => tracing::warn!("what is told of limits cannot be read"),
                }
            }
            message = lent.next() => {
                let Some(message) = message else { return };
                match wire::read::<Leases>(&message.payload) {
                    Ok(parts) => limits.hear_leases(&parts),
                    Err(wire::Unreadable) => tracing::warn!("what is told of leases cannot be read"),
                }
            }
            () = urged => {
                send(link, purses(), limits.report_urgent()).await;
                not_before = Instant::now() + TOGETHER;
            }
            () = &mut due => {
                let now = Instant::now();
                let reports = limits.report(now.into_std());
                send(link, subjects::limits_report(incarnation), reports).await;
                due.as_mut().reset(now + limits.pause());
            }
            () = &mut purses_due => {
                let now = Instant::now();
                let greets = greeted.is_none_or(|last| now.duration_since(last) >= QUIET);
                if greets {
                    greeted = Some(now);
                }
                send(link, purses(), limits.report_purses(greets)).await;
                purses_due.as_mut().reset(now + limits.pause_of_purses());
            }
        }
    }
}

async fn listen(link: &Link, subject: String) -> Option<Subscriber> {
    let subscribed = timeout(SEND, link.client.subscribe(subject)).await;
    subscribed.ok()?.ok()
}

async fn send(link: &Link, subject: String, messages: Vec<Vec<u8>>) {
    for message in messages {
        let sent = timeout(SEND, link.client.publish(subject.clone(), message.into())).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("a report on limits was dropped");
        }
    }
}

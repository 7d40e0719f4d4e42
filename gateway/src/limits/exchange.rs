//! What this gateway tells the aggregator of its counters, and hears of all gateways'. Requests never wait for it: without it,
//! limits go by the shares that this gateway was dealt last.

use std::{sync::Arc, time::Duration};

use events_schema::subjects;
use futures_util::StreamExt as _;
use gateway_policy::limits::{message::Broadcast, wire};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Limits;
use crate::nats::Link;

/// How often all is reported, while there are not too many counters.
pub(super) const REPORT: Duration = Duration::from_millis(100);
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
                send(&link, incarnation, limits.leave()).await;
                let _flushed = timeout(SEND, link.client.flush()).await;
            }
        }
    }
}

/// Over one connection, until something is wrong with it.
async fn talk(limits: &Limits, incarnation: Uuid, link: &Link) {
    let told = subjects::limits_told(incarnation);
    let subscribed = timeout(SEND, link.client.subscribe(told)).await;
    let Ok(Ok(mut told)) = subscribed else {
        tracing::warn!("what is told of limits cannot be heard");
        return;
    };
    let mut due = Box::pin(sleep(Duration::ZERO));
    loop {
        tokio::select! {
            message = told.next() => {
                let Some(message) = message else { return };
                match wire::read::<Broadcast>(&message.payload) {
                    Ok(parts) => limits.hear(&parts),
                    Err(wire::Unreadable) => tracing::warn!("what is told of limits cannot be read"),
                }
            }
            () = &mut due => {
                let now = Instant::now();
                send(link, incarnation, limits.report(now.into_std())).await;
                due.as_mut().reset(now + limits.pause());
            }
        }
    }
}

async fn send(link: &Link, incarnation: Uuid, messages: Vec<Vec<u8>>) {
    for message in messages {
        let subject = subjects::limits_report(incarnation);
        let sent = timeout(SEND, link.client.publish(subject, message.into())).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("a report on limits was dropped");
        }
    }
}

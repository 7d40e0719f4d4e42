//! What this gateway says about itself: once a second and after each swap, over core NATS.
//!
//! A report that cannot be sent at once is dropped: the next one says more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use events_schema::{
    id::ModelId,
    report::{GatewayReport, ReportedTarget},
    subjects,
    time::Timestamp,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use uuid::Uuid;

use crate::{
    clock,
    health::Told,
    nats::Link,
    view::{View, ViewHandle, ViewStatus},
};

/// How often a gateway reports when nothing changes.
const EVERY: Duration = Duration::from_secs(1);
/// The least time between two reports, however often the view is swapped: at most 20 a second.
const LEAST: Duration = Duration::from_millis(50);
/// How long a report may wait for the client's queue.
const SEND: Duration = Duration::from_millis(100);

/// Which gateway this is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The gateway: the same over restarts.
    pub gateway: Uuid,
    /// This life of its process.
    pub incarnation: Uuid,
    /// Where it runs.
    pub region: String,
    /// When the process started.
    pub started_at: Timestamp,
}

/// The part of the report that the request path knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests since the start.
    pub requests: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Request records that wait in memory.
    pub records_in_ring: u64,
    /// Bytes of request records that wait on disk.
    pub spool_bytes: u64,
    /// Request records that were dropped since the start.
    pub records_dropped: u64,
    /// How models fare.
    pub targets: Vec<Told>,
}

/// Reports until it is dropped.
pub(crate) async fn run(
    mut link: Link,
    identity: Identity,
    figures: impl Fn() -> Figures,
    view: ViewHandle,
    mut status: watch::Receiver<ViewStatus>,
) {
    let subject = subjects::gateway_report(identity.gateway);
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swaps = status.borrow().swaps;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            swapped = status.wait_for(|now| now.swaps != swaps) => {
                if swapped.is_err() {
                    return;
                }
            }
        }
        link.up().await;
        let now = status.borrow().clone();
        swaps = now.swaps;
        let report = compose(&identity, figures(), &view.load(), &now, clock::now());
        let json = serde_json::to_vec(&report).expect("a report holds nothing that JSON cannot");
        let sent = link.client.publish(subject.clone(), json.into());
        if !matches!(timeout(SEND, sent).await, Ok(Ok(()))) {
            tracing::debug!("a state report was dropped");
        }
        tokio::time::sleep(LEAST).await;
    }
}

fn compose(
    identity: &Identity,
    figures: Figures,
    view: &Arc<View>,
    status: &ViewStatus,
    at: Timestamp,
) -> GatewayReport {
    let Figures {
        requests,
        in_flight,
        records_in_ring,
        spool_bytes,
        records_dropped,
        targets,
    } = figures;
    GatewayReport {
        gateway: identity.gateway,
        incarnation: identity.incarnation,
        region: identity.region.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at,
        started_at: identity.started_at,
        epoch: view.epoch,
        position: view.position,
        lacks_from: view.lacks_from,
        entries: view.entries(),
        entries_digest: view.entries_digest(),
        unproven: view.unproven,
        from_disk: view.from_disk,
        stream_silent_ms: silent_ms(identity, status, at),
        refused_entries: status.refused,
        requests,
        in_flight,
        records_in_ring,
        spool_bytes,
        records_dropped,
        targets: Some(targets.into_iter().map(reported).collect()),
    }
}

fn reported(told: Told) -> ReportedTarget {
    let Told {
        model,
        name,
        health,
    } = told;
    ReportedTarget {
        model: ModelId::from_bytes(model),
        name,
        health,
    }
}

/// Milliseconds since the stream was heard; since the start, where it never was.
fn silent_ms(identity: &Identity, status: &ViewStatus, at: Timestamp) -> u64 {
    match status.heard_at {
        Some(heard) => u64::try_from(Instant::now().saturating_duration_since(heard).as_millis())
            .unwrap_or(u64::MAX),
        None => at.micros_since(identity.started_at) / 1_000,
    }
}

//! What gateways say about themselves: the last report of each, and waiting until all serve a position.
//!
//! Reports come over core NATS once a second and at each swap. Nothing is stored: after a start the picture is
//! whole again within a second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::Client;
use events_schema::{
    api::status::{GatewayItem, Served},
    envelope::Epoch,
    report::GatewayReport,
    subjects,
    time::Timestamp,
};
use futures_util::StreamExt as _;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::clock;

/// A gateway counts as alive this long after its last report: 10 s.
const ALIVE_US: i64 = 10_000_000;
/// A gateway is forgotten this long after its last report: 24 h.
const FORGOTTEN_US: i64 = 24 * 60 * 60 * 1_000_000;
/// A bound on memory: reports of more gateways than this are not kept.
const AT_MOST: usize = 10_000;
/// How long to wait before subscribing again when the subscription ended.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// The gateways seen. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateways {
    seen: Arc<Mutex<BTreeMap<Uuid, Seen>>>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Clone)]
struct Seen {
    report: GatewayReport,
    at: Timestamp,
}

impl Default for Gateways {
    fn default() -> Self {
        Self {
            seen: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Gateways {
    /// Notes reports for as long as the task lives.
    pub async fn listen(self, nats: Client) {
        loop {
            match nats.subscribe(subjects::GATEWAY_REPORTS).await {
                Ok(mut messages) => {
                    while let Some(message) = messages.next().await {
                        self.note(&message.payload, clock::now());
                    }
                }
                Err(error) => tracing::warn!(%error, "subscribing to the gateways' reports failed"),
            }
            tokio::time::sleep(RESUBSCRIBE_AFTER).await;
        }
    }

    fn note(&self, payload: &[u8], now: Timestamp) {
        match serde_json::from_slice::<GatewayReport>(payload) {
            Ok(report) => self.insert(report, now),
            Err(error) => tracing::warn!(%error, "a gateway's report cannot be read"),
        }
    }

    fn insert(&self, report: GatewayReport, now: Timestamp) {
        let mut seen = self.lock();
        seen.retain(|_, it| now.micros() - it.at.micros() < FORGOTTEN_US);
        if seen.len() < AT_MOST || seen.contains_key(&report.gateway) {
            seen.insert(report.gateway, Seen { report, at: now });
        }
        drop(seen);
        self.changed.send_replace(());
    }

    /// The gateways seen within a day, by region and id, against the log's head.
    #[must_use]
    pub fn list(&self, head: u64, now: Timestamp) -> Vec<GatewayItem> {
        let mut items: Vec<_> = self
            .lock()
            .values()
            .map(|seen| GatewayItem {
                lag: head.saturating_sub(seen.report.position),
                live: seen.is_alive(now),
                seen_at: seen.at,
                report: seen.report.clone(),
            })
            .collect();
        items.sort_by(|one, other| {
            (&one.report.region, one.report.gateway)
                .cmp(&(&other.report.region, other.report.gateway))
        });
        items
    }

    /// Whether every gateway seen in the last 10 s serves `position` of this epoch or a later one. Waits for it, at
    /// most `timeout`. Where no gateway is seen, none serves.
    pub async fn served(&self, epoch: Option<Epoch>, position: u64, timeout: Duration) -> Served {
        let deadline = Instant::now() + timeout;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let served = self.served_now(epoch, position, clock::now());
            if served.served
                || tokio::time::timeout_at(deadline, changed.changed())
                    .await
                    .is_err()
            {
                return served;
            }
        }
    }

    fn served_now(&self, epoch: Option<Epoch>, position: u64, now: Timestamp) -> Served {
        let seen = self.lock();
        let alive: Vec<_> = seen.values().filter(|seen| seen.is_alive(now)).collect();
        // A gateway in an older epoch serves none of this one's positions.
        let positions = alive.iter().map(|seen| {
            if seen.report.epoch < epoch {
                0
            } else {
                seen.report.served_to()
            }
        });
        let lowest_position = positions.min();
        Served {
            served: lowest_position.is_some_and(|lowest| lowest >= position),
            gateways: alive.len() as u64,
            lowest_position,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    const fn is_alive(&self, now: Timestamp) -> bool {
        now.micros() - self.at.micros() < ALIVE_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(gateway: u8, epoch_seconds: u64, position: u64) -> GatewayReport {
        let at = clock::now();
        GatewayReport {
            gateway: Uuid::from_bytes([gateway; 16]),
            incarnation: Uuid::nil(),
            region: "default".into(),
            version: "0".into(),
            at,
            started_at: at,
            epoch: Some(Epoch {
                seconds: epoch_seconds,
                id: Uuid::nil(),
            }),
            position,
            lacks_from: None,
            entries: 0,
            entries_digest: String::new(),
            unproven: false,
            from_disk: false,
            stream_silent_ms: 0,
            refused_entries: 0,
            requests: 0,
            in_flight: 0,
            records_in_ring: 0,
            spool_bytes: 0,
            records_dropped: 0,
            targets: None,
        }
    }

    const EPOCH: Option<Epoch> = Some(Epoch {
        seconds: 5,
        id: Uuid::nil(),
    });

    #[test]
    fn a_position_is_served_when_every_gateway_alive_serves_it() {
        let (gateways, now) = (Gateways::default(), clock::now());
        let check = |position, now, served, lowest_position, alive| {
            let expected = Served {
                served,
                gateways: alive,
                lowest_position,
            };
            assert_eq!(gateways.served_now(EPOCH, position, now), expected);
        };
        check(0, now, false, None, 0);
        gateways.insert(report(1, 5, 7), now);
        gateways.insert(report(2, 5, 9), now);
        check(7, now, true, Some(7), 2);
        check(8, now, false, Some(7), 2);
        gateways.insert(report(2, 4, 9), now);
        check(1, now, false, Some(0), 2);
        let mut lacking = report(2, 5, 9);
        lacking.lacks_from = Some(6);
        gateways.insert(lacking, now);
        check(5, now, true, Some(5), 2);
        check(6, now, false, Some(5), 2);
        check(7, now.plus_micros(ALIVE_US), false, None, 0);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_report_that_was_waited_for() {
        let gateways = Gateways::default();
        let waiting = tokio::spawn({
            let gateways = gateways.clone();
            async move { gateways.served(EPOCH, 3, Duration::from_secs(30)).await }
        });
        tokio::task::yield_now().await;
        gateways.insert(report(1, 5, 3), clock::now());
        assert!(waiting.await.expect("no panic").served);
    }
}

//! What must hold after each round, when everything is back and nobody works.

mod doors;
mod ledger;
mod log;
mod things;
mod tight;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use events_schema::api::history::VerifyReport;
use events_schema::api::status::{GatewayItem, Status};
use events_schema::keyring::KeyRing;
use events_schema::snapshot::{Frame, Heartbeat};
use events_schema::subjects;
use tokio::time::{Instant, sleep};

pub(super) use log::Folded;

use super::draw::{Excuses, GATEWAYS};
use super::facts::Notebook;
use super::work::Place;
use crate::api::Api;
use crate::dice::Dice;
use crate::failure::{Doing as _, Failure, Outcome};

/// How long the parts may take to agree.
const AGREE_WITHIN: Duration = Duration::from_secs(45);

/// How often it is looked whether they do.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Findings of one kind that are spelled out.
const SHOWN: usize = 3;

/// The eye that looks.
pub(super) struct Checker {
    pub(super) place: Place,
    pub(super) postgres: sqlx::PgPool,
    pub(super) clickhouse: clickhouse::Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) ring: KeyRing,
    /// Everything up to here was there before the run.
    pub(super) base: u64,
    /// The history as it was read from `EVENTS`, folded here.
    pub(super) folded: Folded,
    /// Whether a gateway was ever killed: only then may records be missing.
    pub(super) killed: bool,
}

// === impl Checker ===

impl Checker {
    /// Waits until all agree on one position, then checks what was promised. Returns the position.
    pub(super) async fn check(&mut self, excuses: &Excuses, dice: &mut Dice) -> Outcome<u64> {
        self.killed |= GATEWAYS.iter().any(|gateway| excuses.killed(gateway));
        let notebook = Arc::clone(&self.place.notebook);
        let position = self.until_all_agree_on_the_history(&notebook).await?;
        self.commands_are_in_the_log(&notebook).await?;
        self.alerts_are_told_once(&notebook).await?;
        self.requests_are_recorded(&notebook).await?;
        self.things_are_as_they_were_left(&notebook).await?;
        self.gateways_do_what_they_should(&notebook).await?;
        self.small_policies_hold(excuses, dice).await?;
        let report: VerifyReport = self.api().post("/verify").await?;
        if !report.ok {
            notebook.found(format!("verify: {:?}", report.findings));
        }
        Ok(position)
    }

    /// Alerts of budgets are events that nobody's command waits for: when one comes while it is looked, it is looked again.
    async fn until_all_agree_on_the_history(&mut self, notebook: &Notebook) -> Outcome<u64> {
        let deadline = Instant::now() + AGREE_WITHIN;
        loop {
            let position = self.until_all_agree().await?;
            if self.fold_to(position, notebook).await? {
                return Ok(position);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new("the log grows, and nobody gives commands"));
            }
        }
    }

    async fn until_all_agree(&self) -> Outcome<u64> {
        let deadline = Instant::now() + AGREE_WITHIN;
        loop {
            match self.do_all_agree().await {
                Ok(Ok(position)) => return Ok(position),
                Ok(Err(why)) if Instant::now() >= deadline => {
                    return Err(Failure::new(format!(
                        "no agreement after {} s: {why}",
                        AGREE_WITHIN.as_secs()
                    )));
                }
                Err(failure) if Instant::now() >= deadline => return Err(failure),
                Ok(Err(_)) | Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// The position that all parts are at, or who is not.
    async fn do_all_agree(&self) -> Outcome<Result<u64, String>> {
        let status: Status = self.api().get("/status").await?;
        if let Some(why) = status.appends_stopped {
            return Ok(Err(format!("appends are stopped: {why}")));
        }
        if let Some(why) = status.ledger_error {
            return Ok(Err(format!("the ledger cannot be asked: {why}")));
        }
        let position = status.position;
        let other: Status = self.place.apis[1].get("/status").await?;
        if let Some(why) = other.appends_stopped {
            return Ok(Err(format!("appends are stopped at commands-2: {why}")));
        }
        if (other.position, &other.state_digest) != (position, &status.state_digest) {
            return Ok(Err(format!(
                "commands is at {position} with {}, commands-2 at {} with {}",
                status.state_digest, other.position, other.state_digest
            )));
        }
        let at = |what: &str, is: u64| {
            if is == position {
                None
            } else {
                Some(format!("{what} is at {is}, the log at {position}"))
            }
        };
        let events = self.stream(subjects::EVENTS).await?;
        let heartbeat = self.heartbeat().await?;
        let trail = self.count("SELECT count() FROM admin_events FINAL").await?;
        let highest = self.count("SELECT max(position) FROM admin_events").await?;
        let behind = at("EVENTS", events.cached_info().state.last_sequence)
            .or_else(|| at("the last heartbeat", heartbeat.position))
            .or_else(|| at("the audit trail's count", trail))
            .or_else(|| at("the audit trail", highest));
        if let Some(behind) = behind {
            return Ok(Err(behind));
        }
        let gateways: Vec<GatewayItem> = self.api().get("/gateways").await?;
        let live: Vec<_> = gateways.iter().filter(|gateway| gateway.live).collect();
        if live.len() != GATEWAYS.len() {
            return Ok(Err(format!("{} gateways are seen", live.len())));
        }
        let digest = hex::encode(heartbeat.entries_digest);
        for GatewayItem { report, .. } in live {
            let agrees = report.position == position
                && report.entries_digest == digest
                && report.entries == heartbeat.entries
                && !report.unproven
                && !report.from_disk
                && report.records_in_ring == 0
                && report.spool_bytes == 0;
            if !agrees {
                return Ok(Err(format!(
                    "a gateway disagrees with {heartbeat:?}: {report:?}"
                )));
            }
            if report.refused_entries > 0 || report.records_dropped > 0 {
                return Ok(Err(format!("a gateway refused or dropped: {report:?}")));
            }
        }
        let missing = self.missing_requests().await?;
        let lost = self.numbers_in_gaps().await?;
        if u64::try_from(missing.len()).is_ok_and(|missing| missing > lost) {
            return Ok(Err(format!(
                "{} requests are not in the ledger, and {lost} are counted as lost: {:?}",
                missing.len(),
                &missing[..missing.len().min(SHOWN)]
            )));
        }
        let unaccounted = self.unaccounted_numbers().await?;
        if !unaccounted.is_empty() {
            return Ok(Err(unaccounted.join("; ")));
        }
        Ok(Ok(position))
    }

    fn api(&self) -> &Api {
        &self.place.apis[0]
    }

    async fn stream(&self, name: &str) -> Outcome<Stream> {
        self.jetstream
            .get_stream(name)
            .await
            .doing(|| format!("asking for {name}"))
    }

    async fn heartbeat(&self) -> Outcome<Heartbeat> {
        let stream = self.stream(subjects::SNAPSHOTS).await?;
        let message = stream
            .get_last_raw_message_by_subject(subjects::HEARTBEAT)
            .await
            .doing(|| "reading the last heartbeat".into())?;
        let frame = Frame::open(&self.ring, subjects::HEARTBEAT, &message.payload)
            .doing(|| "opening the last heartbeat".into())?;
        serde_json::from_slice(frame.payload).doing(|| "reading the last heartbeat".into())
    }

    async fn count(&self, question: &str) -> Outcome<u64> {
        self.clickhouse
            .query(question)
            .fetch_one()
            .await
            .doing(|| question.to_owned())
    }
}

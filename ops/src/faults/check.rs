//! What must hold after each round, when everything is back and nobody works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use clickhouse::Row;
use events_schema::api::history::VerifyReport;
use events_schema::api::status::{GatewayItem, Status};
use events_schema::envelope::{EventRow, GENESIS};
use events_schema::id::CommandId;
use events_schema::keyring::KeyRing;
use events_schema::snapshot::{Frame, Heartbeat};
use events_schema::state::Organisation;
use events_schema::subjects;
use http::StatusCode;
use serde::Deserialize;
use sqlx::Row as _;
use tokio::time::{Instant, sleep};

use super::draw::{Excuses, GATEWAYS};
use super::facts::{KeyState, Notebook};
use super::work::{Place, call, gateway_port};
use crate::api::Api;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::stack::services::url;

/// How long the parts may take to agree.
const AGREE_WITHIN: Duration = Duration::from_secs(45);

/// How often it is looked whether they do.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Keys of one state that are tried at each gateway, the newest; what became of the others the state's digest proves.
const TRIED: usize = 100;

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

/// A fold of our own.
#[derive(Default)]
pub(super) struct Folded {
    organisation: Organisation,
    hashes: Vec<[u8; 32]>,
}

#[derive(Row, Deserialize)]
struct Counted {
    incarnation: String,
    records: u64,
    numbers: u64,
    highest: u64,
}

#[derive(Row, Deserialize)]
struct Gap {
    incarnation: String,
    numbers: u64,
    highest: u64,
}

// === impl Checker ===

impl Checker {
    /// Waits until all agree on one position, then checks what was promised. Returns the position.
    pub(super) async fn check(&mut self, excuses: &Excuses) -> Outcome<u64> {
        self.killed |= GATEWAYS.iter().any(|gateway| excuses.killed(gateway));
        let notebook = Arc::clone(&self.place.notebook);
        let position = self.until_all_agree().await?;
        self.fold_to(position, &notebook).await?;
        self.commands_are_in_the_log(&notebook).await?;
        self.requests_are_recorded(&notebook).await?;
        self.keys_do_what_they_should(&notebook).await?;
        let report: VerifyReport = self.api().post("/verify").await?;
        if !report.ok {
            notebook.found(format!("verify: {:?}", report.findings));
        }
        Ok(position)
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

    /// Reads what is new on `EVENTS`, checks the chain, compares each row with Postgres', and the state with `commands`'.
    async fn fold_to(&mut self, position: u64, notebook: &Notebook) -> Outcome {
        let stream = self.stream(subjects::EVENTS).await?;
        let from = self.folded.organisation.position();
        for sequence in from + 1..=position {
            let message = stream
                .get_raw_message(sequence)
                .await
                .doing(|| format!("reading event {sequence}"))?;
            let (_, envelope) =
                EventRow::parse(&message.payload).doing(|| format!("reading event {sequence}"))?;
            let before = *self.folded.hashes.last().unwrap_or(&GENESIS);
            envelope
                .check_follows(sequence - 1, &before)
                .doing(|| format!("the chain at {sequence}"))?;
            self.folded
                .organisation
                .apply(&envelope)
                .doing(|| format!("folding event {sequence}"))?;
            self.folded.hashes.push(envelope.hash);
        }
        let rows = sqlx::query("SELECT position, hash FROM events ORDER BY position")
            .fetch_all(&self.postgres)
            .await
            .doing(|| "reading the log".into())?;
        let theirs: Vec<Vec<u8>> = rows.iter().map(|row| row.get("hash")).collect();
        let gapless = rows
            .iter()
            .zip(1_i64..)
            .all(|(row, at)| row.get::<i64, _>("position") == at);
        let same = theirs.len() == self.folded.hashes.len()
            && theirs
                .iter()
                .zip(&self.folded.hashes)
                .all(|(one, other)| one == other);
        if !gapless || !same {
            notebook.found(format!(
                "the log has {} rows (gapless: {gapless}), EVENTS {}; the same: {same}",
                theirs.len(),
                self.folded.hashes.len()
            ));
        }
        let status: Status = self.api().get("/status").await?;
        let ours = self.folded.organisation.state_digest().to_string();
        if status.state_digest != ours {
            notebook.found(format!(
                "the state's digest is {} at commands, {ours} as folded from EVENTS",
                status.state_digest
            ));
        }
        Ok(())
    }

    /// Each acknowledged command is in the log once, where it was said to be; and nothing else is.
    async fn commands_are_in_the_log(&self, notebook: &Notebook) -> Outcome {
        let rows = sqlx::query(
            "SELECT cause, max(position) AS last, count(*) AS events, bool_or(actor LIKE 'operator:%') AS ours \
             FROM events WHERE position > $1 GROUP BY cause",
        )
        .bind(i64::try_from(self.base).unwrap_or(i64::MAX))
        .fetch_all(&self.postgres)
        .await
        .doing(|| "reading the log's commands".into())?;
        let facts = notebook.facts();
        let mut seen = BTreeSet::new();
        for row in rows {
            let cause = CommandId::from_uuid(row.get("cause"));
            let (last, events): (i64, i64) = (row.get("last"), row.get("events"));
            match facts.commands.get(&cause) {
                Some(promised) => {
                    seen.insert(cause);
                    let kept = i64::try_from(promised.position) == Ok(last)
                        && i64::try_from(promised.events) == Ok(events);
                    if !kept {
                        notebook.found(format!(
                            "command {cause} was answered {promised:?}, and the log has {events} events up to {last}"
                        ));
                    }
                }
                None if row.get("ours") => {
                    notebook.found(format!("the log has command {cause}, which nobody gave"));
                }
                None => {}
            }
        }
        let lost: Vec<_> = facts
            .commands
            .iter()
            .filter(|(id, promised)| promised.events > 0 && !seen.contains(id))
            .collect();
        if !lost.is_empty() {
            notebook.found(format!(
                "{} acknowledged commands are not in the log: {:?}",
                lost.len(),
                &lost[..lost.len().min(SHOWN)]
            ));
        }
        let keys = self.folded.organisation.keys();
        for (id, known) in &facts.keys {
            let is = match keys.get(id) {
                None => KeyState::Revoked,
                Some(key) if key.disabled => KeyState::Disabled,
                Some(_) => KeyState::Works,
            };
            if is != known.state {
                notebook.found(format!(
                    "key {id} should be {:?} and is {is:?} in the state",
                    known.state
                ));
            }
        }
        Ok(())
    }

    /// No request is in the ledger twice; what a killed gateway lost is counted; the rollup agrees.
    async fn requests_are_recorded(&self, notebook: &Notebook) -> Outcome {
        let doubled = self
            .count("SELECT toUInt64(count() - uniqExact(request)) FROM requests")
            .await?;
        if doubled > 0 {
            notebook.found(format!(
                "{doubled} requests are in the ledger more than once"
            ));
        }
        let requests = self.count("SELECT count() FROM requests").await?;
        let rolled_up = self
            .count("SELECT toUInt64(sum(requests)) FROM usage_1m")
            .await?;
        if requests != rolled_up {
            notebook.found(format!(
                "the ledger has {requests} requests, its rollup {rolled_up}"
            ));
        }
        let gaps = self.numbers_in_gaps().await?;
        if gaps > 0 && !self.killed {
            notebook.found(format!(
                "{gaps} records are lost, and no gateway was killed"
            ));
        }
        Ok(())
    }

    /// At every gateway a key that works works, and one that was revoked or disabled does not.
    async fn keys_do_what_they_should(&self, notebook: &Notebook) -> Outcome {
        for state in [KeyState::Works, KeyState::Disabled, KeyState::Revoked] {
            let keys = notebook.facts().secrets(state);
            let keys = &keys[keys.len().saturating_sub(TRIED)..];
            let expected = match state {
                KeyState::Works => StatusCode::OK,
                KeyState::Disabled | KeyState::Revoked => StatusCode::UNAUTHORIZED,
            };
            for gateway in GATEWAYS {
                let address = url(gateway_port(self.place.ports, gateway));
                for (id, secret) in keys {
                    let status = call(&address, "/v1/models", secret, None).await?.status;
                    if status != expected {
                        notebook.found(format!(
                            "{gateway} answers {status} to key {id}, which is {state:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
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

    /// How many records are counted as lost.
    async fn numbers_in_gaps(&self) -> Outcome<u64> {
        self.count("SELECT toUInt64(sum(last_number - first_number + 1)) FROM ledger_gaps")
            .await
    }

    /// The answered requests that the ledger does not have.
    async fn missing_requests(&self) -> Outcome<Vec<String>> {
        let recorded: Vec<String> = self
            .clickhouse
            .query("SELECT toString(request) FROM requests")
            .fetch_all()
            .await
            .doing(|| "reading the ledger's requests".into())?;
        let recorded: BTreeSet<String> = recorded.into_iter().collect();
        let facts = self.place.notebook.facts();
        Ok(facts
            .requests
            .keys()
            .filter(|id| !recorded.contains(*id))
            .cloned()
            .collect())
    }

    /// Each number of each life of a gateway is in the ledger once, or in a gap once.
    async fn unaccounted_numbers(&self) -> Outcome<Vec<String>> {
        let counted: Vec<Counted> = self
            .clickhouse
            .query(
                "SELECT toString(incarnation) AS incarnation, count() AS records, \
                 uniqExact(number) AS numbers, max(number) AS highest FROM requests GROUP BY incarnation",
            )
            .fetch_all()
            .await
            .doing(|| "counting the ledger's numbers".into())?;
        let gaps: Vec<Gap> = self
            .clickhouse
            .query(
                "SELECT toString(incarnation) AS incarnation, \
                 toUInt64(sum(last_number - first_number + 1)) AS numbers, max(last_number) AS highest \
                 FROM ledger_gaps GROUP BY incarnation",
            )
            .fetch_all()
            .await
            .doing(|| "counting the ledger's gaps".into())?;
        let gaps: BTreeMap<String, Gap> = gaps
            .into_iter()
            .map(|gap| (gap.incarnation.clone(), gap))
            .collect();
        Ok(counted
            .into_iter()
            .filter_map(|counted| {
                let gap = gaps.get(&counted.incarnation);
                let lost = gap.map_or(0, |gap| gap.numbers);
                let highest = gap.map_or(0, |gap| gap.highest).max(counted.highest);
                let all = counted.records + lost;
                (counted.records != counted.numbers || all != highest).then(|| {
                    format!(
                        "of incarnation {} there are {} records of {} numbers and {lost} in gaps, up to {highest}",
                        counted.incarnation, counted.records, counted.numbers
                    )
                })
            })
            .collect())
    }
}

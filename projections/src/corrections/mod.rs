//! Corrections of prices: what requests cost by them, in ClickHouse.
//!
//! What was decided is read from the audit trail, when it can be believed (see [`crate::trail`]). What was written down of a
//! request first stays as it is; beside it, `cost_corrections` says what is added to it. Whoever adds up costs adds these
//! rows.
//!
//! A *pass* makes some requests' rows agree with what was decided: it compares what each costs by the corrections that hold
//! with what is known of it until then, and adds the difference. So a pass that is made twice adds nothing the second time, and
//! what was not decided after all, since the log was restored, is taken back in the same way. Rows of a pass hold once
//! it stands in `correction_passes`, which is one row, written last; a worker that is killed before leaves rows that nobody
//! sees. The place of each pass in their order is taken by one worker only, so that of two at work one has worked in vain.
//!
//! A pass looks at the requests of a correction that is new, and of batches of the ledger that came since the pass before: so records that
//! were spooled, and come late, are corrected as well. Requests that are past their time, or were once, are left alone:
//! their rows may be gone while they are not, or the other way round.

pub mod budgets;
mod decided;
mod passes;
mod plan;
mod rest;
mod status;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::Context;
use events_schema::time::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::decided::Decided;
use self::passes::{Claim, Pass};
use self::plan::Plan;
use crate::feed::chain;
use crate::ledger::pass::{StandingError, standing};
use crate::log_head::{Head, LogHead, LogHeadError};
use crate::retention;
use crate::trail::{self, TrailError};
use crate::warehouse::{RetentionError, Warehouse, WarehouseError};

pub use self::budgets::{newest, of_budgets};
pub(crate) use self::rest::begin_anew;
use self::status::Trouble;
pub use self::status::{CorrectionsPart, Status};

/// How often it is looked whether there is something to correct: a few small questions to ClickHouse, Postgres and NATS.
const LOOK: Duration = Duration::from_secs(2);

/// What the worker works with.
pub struct Config {
    /// JetStream.
    pub jetstream: Context,
    /// ClickHouse.
    pub warehouse: Warehouse,
    /// Postgres.
    pub log_head: LogHead,
    /// Reads the clock.
    pub now: fn() -> Timestamp,
    /// This process, at random.
    pub worker: Uuid,
    /// Where the worker counts.
    pub status: Arc<Status>,
}

/// Why there was no look.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// What was decided cannot be read.
    #[error(transparent)]
    Decided(#[from] RetentionError),
    /// ClickHouse did not do its part.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// Postgres did not say where the log ends.
    #[error("reading where the log ends")]
    LogHead(#[from] LogHeadError),
    /// NATS did not do its part.
    #[error("{0}")]
    Feed(String),
    /// What an earlier pass wrote down of itself cannot be read.
    #[error("what pass {ordinal} has corrected cannot be read")]
    Pass {
        /// The pass's place.
        ordinal: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl From<TrailError> for LookError {
    fn from(error: TrailError) -> Self {
        match error {
            TrailError::Warehouse(error) => Self::Warehouse(error),
            TrailError::LogHead(error) => Self::LogHead(error),
        }
    }
}

impl From<StandingError> for LookError {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::Warehouse(error) => Self::Warehouse(error),
            StandingError::Feed(error) => Self::Feed(chain(&error)),
        }
    }
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// The trail does not hold the log's head, or nobody works at the ledger, or it rests: nothing can be said now.
    Waits,
    /// Everything is as was decided, as far as the ledger is.
    Agrees,
    /// What an earlier worker had begun was cleared away.
    Cleared,
    /// Some requests were corrected.
    Corrected,
    /// Another worker was first.
    Another,
}

/// What a worker remembers from look to look.
#[derive(Debug, Default)]
pub struct Seen {
    head: Option<Head>,
    /// How many passes it has begun.
    begun: u128,
    /// Whether what was left behind, by earlier workers or by a pass of its own that failed, was cleared away.
    cleared: bool,
    /// Since which pass, up to which batch nothing was to be corrected.
    quiet: Option<(u64, u64)>,
    /// What was decided, up to which position.
    decided: Option<(u64, Vec<Decided>)>,
}

/// Works until `stop`.
pub async fn run(config: Config, stop: CancellationToken) {
    let mut seen = Seen::default();
    while !stop.is_cancelled() {
        match look(&config, &mut seen).await {
            Ok(Looked::Cleared) => {
                config.status.set_trouble(None);
                continue;
            }
            // What comes late comes for a while: its passes have as much time between them as looks.
            Ok(Looked::Waits | Looked::Agrees | Looked::Corrected | Looked::Another) => {
                config.status.set_trouble(None);
            }
            Err(error) => {
                let trouble = Some(Trouble {
                    what: chain(&error),
                    is_postgres: matches!(error, LookError::LogHead(_)),
                });
                if config.status.trouble() != trouble {
                    tracing::warn!(error = chain(&error), "corrections of prices wait");
                }
                config.status.set_trouble(trouble);
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// One look, and one pass if there is something to correct.
///
/// # Errors
/// See [`LookError`]; what was not corrected is corrected at the next look.
pub async fn look(config: &Config, seen: &mut Seen) -> Result<Looked, LookError> {
    let warehouse = &config.warehouse;
    if seen.head.is_none() {
        // This may come before there are tables.
        warehouse.migrate().await?;
    }
    let believed = trail::believed(warehouse, &config.log_head, &mut seen.head).await?;
    let Some(end) = believed else {
        return Ok(Looked::Waits);
    };
    // Before it is looked whether the ledger rests: whoever has it rest takes the next pass's place first.
    let newest = passes::newest(warehouse).await?;
    let Some(ledger) = standing(&config.jetstream, warehouse).await? else {
        return Ok(Looked::Waits);
    };
    if ledger.rests {
        return Ok(Looked::Waits);
    }
    if !seen.cleared {
        let pass = config.fresh_pass(seen);
        let cleared = passes::clear(warehouse, newest.as_ref(), pass).await?;
        seen.cleared = cleared != Some(Claim::Lost);
        match cleared {
            None => {}
            Some(Claim::Taken) => return Ok(Looked::Cleared),
            Some(Claim::Lost) => return Ok(Looked::Another),
        }
    }
    let quiet = seen.quiet;
    let decided = seen.decided_until(warehouse, end).await?;
    let plan = Plan::new(newest.as_ref(), decided, ledger.settled, quiet);
    let Some(plan) = plan else {
        config.status.agrees(decided);
        return Ok(Looked::Agrees);
    };
    let kept = warehouse.requests_kept((config.now)()).await?;
    let slices = plan
        .slices(warehouse, retention::whole_since(&kept))
        .await?;
    if slices.is_empty() && !plan.changes_what_holds() {
        seen.quiet = Some((plan.after(), plan.through()));
        config.status.agrees(plan.decided());
        return Ok(Looked::Agrees);
    }
    let pass = Pass {
        ordinal: plan.after() + 1,
        id: config.fresh_pass(seen),
        through_batch: plan.through(),
        holds: plan.decided().iter().map(Decided::told).collect(),
    };
    // If it fails on the way, its rows are cleared away before the next one leaves its own.
    seen.cleared = false;
    for slice in &slices {
        plan.correct(warehouse, *slice, &pass).await?;
    }
    let claimed = passes::claim(warehouse, &pass).await?;
    if claimed == Claim::Lost && !slices.is_empty() {
        // By itself, since clearing takes a place: two at work would take each other's for ever.
        passes::remove(warehouse, &[pass.id.to_string()]).await?;
    }
    seen.cleared = true;
    if claimed == Claim::Lost {
        return Ok(Looked::Another);
    }
    let requests: u64 = slices.iter().map(|slice| slice.requests).sum();
    tracing::info!(
        pass = pass.ordinal,
        requests,
        repricings = pass.holds.len(),
        "requests were compared with the corrections of prices"
    );
    config.status.passes.fetch_add(1, Ordering::Relaxed);
    config.status.agrees(plan.decided());
    Ok(Looked::Corrected)
}

// === impl Config ===

impl Config {
    /// The id of a pass that nobody has begun.
    fn fresh_pass(&self, seen: &mut Seen) -> Uuid {
        seen.begun += 1;
        Uuid::from_u128(self.worker.as_u128().wrapping_add(seen.begun))
    }
}

// === impl Seen ===

impl Seen {
    /// What was decided up to a position.
    async fn decided_until(
        &mut self,
        warehouse: &Warehouse,
        end: u64,
    ) -> Result<&[Decided], RetentionError> {
        if self.decided.as_ref().is_none_or(|(until, _)| *until != end) {
            self.decided = Some((end, warehouse.repricings_decided(end).await?));
        }
        Ok(self.decided.as_ref().map_or(&[], |(_, decided)| decided))
    }
}

//! Whether the audit trail says what was decided.
//!
//! A trail is believed only when it holds the head of the log itself, as Postgres says it, and no further than that. One
//! that is being filled again passes through what was valid once; one that is longer than the log, or has forked, tells of
//! decisions that nobody took.

use crate::audit;
use crate::log_head::{Head, LogHead, LogHeadError};
use crate::warehouse::{Warehouse, WarehouseError};

/// Why it is not known whether it can be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrailError {
    /// ClickHouse did not say.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// Postgres did not say where the log ends.
    #[error("reading where the log ends")]
    LogHead(#[from] LogHeadError),
}

/// Up to which position the trail can be believed; `None`: not at all now. `before`: where the log ended at the look before; at a
/// busy moment the trail has come so far and no further.
pub(crate) async fn believed(
    warehouse: &Warehouse,
    log_head: &LogHead,
    before: &mut Option<Head>,
) -> Result<Option<u64>, TrailError> {
    let before_that = before.take();
    // The trail first: it follows the log, so it cannot be longer.
    let end = audit::position(warehouse).await?;
    let now = log_head.read().await?;
    *before = Some(now.clone());
    if end > now.position {
        return Ok(None);
    }
    for head in [Some(now), before_that].into_iter().flatten() {
        if audit::holds(warehouse, head.position, &head.hash).await? {
            return Ok(Some(head.position));
        }
    }
    Ok(None)
}

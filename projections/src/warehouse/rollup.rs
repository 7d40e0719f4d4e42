//! The rollup `usage_1m` follows from `requests`, and is mended from it.
//!
//! ClickHouse keeps the two together as long as a batch that broke off is inserted again. Where that
//! cannot be, because `USAGE` has lost the batch, the minutes that it touched are compared and, if they
//! differ, added up anew.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Warehouse, WarehouseError,
    migrations::{BY_MINUTE, SUMS},
    within,
};

/// A minute, in seconds since 1970.
#[derive(Row, Deserialize)]
struct Minute {
    minute: u32,
}

/// The minutes in which batch `ordinal` has requests, and in which `requests` and `usage_1m` differ.
const DIFFERENT: &str = "
SELECT toUnixTimestamp(minute) AS minute FROM (
    SELECT toStartOfMinute(toDateTime(received_at, 'UTC')) AS minute, count() AS counted, 0 AS rolled
    FROM requests GROUP BY minute
    UNION ALL
    SELECT minute, 0 AS counted, sum(requests) AS rolled FROM usage_1m GROUP BY minute
)
WHERE minute IN (
    SELECT toStartOfMinute(toDateTime(received_at, 'UTC')) FROM requests
    WHERE ledger_batch = {ordinal:UInt64}
)
GROUP BY minute
HAVING sum(counted) != sum(rolled)
ORDER BY minute";

impl Warehouse {
    /// Makes the rollup agree with `requests` in the minutes that this batch of the ledger has touched. Returns
    /// how many did not. May be broken off and begun again.
    ///
    /// # Errors
    /// What ClickHouse said.
    pub(crate) async fn mend_rollup(&self, ordinal: u64) -> Result<usize, WarehouseError> {
        let query = self.client().query(DIFFERENT).param("ordinal", ordinal);
        let minutes: Vec<Minute> = within("comparing the rollup", query.fetch_all()).await?;
        for Minute { minute } in &minutes {
            let remove = "ALTER TABLE usage_1m DELETE WHERE minute = toDateTime({minute:UInt32}, 'UTC') \
                          SETTINGS mutations_sync = 1";
            let query = self.client().query(remove).param("minute", minute);
            within("mending the rollup", query.execute()).await?;
            let add = format!(
                "INSERT INTO usage_1m {SUMS} FROM requests \
                 WHERE toStartOfMinute(toDateTime(received_at, 'UTC')) = toDateTime({{minute:UInt32}}, 'UTC') \
                 {BY_MINUTE} SETTINGS insert_deduplicate = 0"
            );
            let query = self.client().query(&add).param("minute", minute);
            within("mending the rollup", query.execute()).await?;
        }
        Ok(minutes.len())
    }
}

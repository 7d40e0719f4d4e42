//! What corrections of prices change of what was spent of budgets.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use events_schema::time::Timestamp;
use serde::Deserialize;

use crate::warehouse::{Warehouse, WarehouseError, within};

/// How many budgets are asked for in one statement: their names fill 70 KiB.
const AT_ONCE: usize = 1_000;

#[derive(Row, Deserialize)]
struct AmountRow {
    budget: String,
    all_amount: i128,
}

/// What corrections add to what was spent of these budgets by requests that arrived from `begins` on and before `ends`, in
/// nano-dollars, also less than nothing. Budgets are named as in the ledger, `<policy>:<segment>`, each 32 hexadecimal digits; one
/// of which nothing was corrected is not named. An amount that does not fit is the largest, or the least.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn of_budgets(
    warehouse: &Warehouse,
    (begins, ends): (Timestamp, Timestamp),
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, i64>, WarehouseError> {
    let sql = "SELECT budget, sum(amount) AS all_amount FROM corrections ARRAY JOIN budgets AS budget \
               WHERE received_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC') \
               AND received_at < fromUnixTimestamp64Micro({ends:Int64}, 'UTC') \
               AND budget IN {names:Array(String)} GROUP BY budget HAVING all_amount != 0";
    let names: Vec<String> = names.iter().cloned().collect();
    let mut all = BTreeMap::new();
    for some in names.chunks(AT_ONCE) {
        let query = warehouse
            .client()
            .query(sql)
            .param("begins", begins.micros())
            .param("ends", ends.micros())
            .param("names", some);
        let rows: Vec<AmountRow> =
            within("adding up what was corrected", query.fetch_all()).await?;
        all.extend(
            rows.into_iter()
                .map(|row| (row.budget, fitting(row.all_amount))),
        );
    }
    Ok(all)
}

/// The place of the newest pass: while it is the same, so is what corrections add. 0: there was none.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn newest(warehouse: &Warehouse) -> Result<u64, WarehouseError> {
    let query = warehouse
        .client()
        .query("SELECT max(ordinal) FROM correction_passes");
    within("looking for the newest pass", query.fetch_one()).await
}

fn fitting(amount: i128) -> i64 {
    let beyond = if amount < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(amount).unwrap_or(beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_that_does_not_fit_is_the_largest_or_the_least() {
        assert_eq!(fitting(-5), -5);
        assert_eq!(fitting(i128::MAX), i64::MAX);
        assert_eq!(fitting(i128::MIN), i64::MIN);
    }
}
